"""The log-likelihood of a network, and its gradient and Fisher information with respect to some of the weights."""

from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.adapters import Model
from nllfit.adapters.tensorflow import trace
from nllfit.bayes.divergences import estimated_divergence, exact_divergence
from nllfit.families.broadcast_checks import unchecked_log_prob
from nllfit.families.facts import facts_of
from nllfit.families.family_base import ParametricFamily
from nllfit.families.head_base import Origin
from nllfit.families.law import law_of
from nllfit.families.tfp_classes import parts_of
from nllfit.inference.likelihood_derivatives import Likelihood, weighted_losses
from nllfit.prediction import origin_of
from nllfit.training.loss_surface import assign

__all__ = ["Fisher", "derivatives"]

# Without a formula of TFP, a divergence is estimated from `_DRAWS` draws. If the density has a corner, the Fisher
# information is estimated from `_DRAWS_AT_CORNERS` draws.
_DRAWS, _DRAWS_AT_CORNERS = 100, 400
_SEED = 0, 0


class Fisher(Likelihood):
    """The negative log-likelihood of all the data, in nats, and the Fisher information about some of the weights.

    The information is `sum_i J_i' F_i J_i`. `J_i` is the Jacobian of `u_i`, the head's inputs in row `i`, with respect
    to the weights. `F_i` is the information of an outcome about these inputs: the Hessian of
    `KL(p(. | u_i) || p(. | u))` at `u = u_i`. The information has no negative eigenvalue. The information equals the
    Hessian of the loss if two conditions hold: the head's inputs are linear in the weights, and the Hessian of a row's
    loss with respect to these inputs does not depend on the outcome. The second condition holds for a Bernoulli, a
    Categorical, a Poisson, and a Normal of fixed scale.
    """

    def __init__(self, model: Model, data: tuple | None = None):
        super().__init__(model, data)
        self._expansion = tf.function(self._second_order, autograph=False)

    @property
    def ends(self) -> np.ndarray:
        """The index at which each variable ends in the vector of all trainable weights."""
        return np.cumsum([weight.shape.num_elements() for weight in self._weights])

    def second_order(self, w: np.ndarray, chosen: tuple[int, ...]) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
        """Returns the negative log-likelihood at weights `[p]`, its gradient and two curvatures.

        Args:
          w: all trainable weights, `[p]`.
          chosen: the indices of the trainable variables for which derivatives are computed. These variables have `q`
            elements in total.

        Returns:
          The negative log-likelihood.
          Its gradient, `[q]`.
          The Fisher information, `[q, q]`.
          The generalised Gauss-Newton matrix, `[q, q]`: the Hessian without the second derivatives of the network.
        """
        position = tf.constant(w, self.dtype)
        program = trace(self._expansion, self._specs, position, chosen)
        parts = [program(rows, position, chosen) for rows in self._blocks()]
        sums = [np.sum(np.asarray(part, np.float64), 0) for part in zip(*parts, strict=True)]
        loss, gradient, fisher, gauss_newton = sums
        return float(loss), gradient, fisher, gauss_newton

    def _second_order(self, data, position, chosen):
        assign(self._weights, position)
        with tf.GradientTape(persistent=True) as tape:
            with tf.GradientTape() as inner:
                output = self._model(data[0], training=False)
                origin = origin_of(output)
                losses, counts = weighted_losses(output, data)
                loss = tf.reduce_sum(losses)
            gradients = inner.gradient(loss, origin.params)
            # A row's loss depends only on the head's inputs of this row. So the gradient of a sum over rows contains
            # the derivatives of each row's loss.
            gradient_sums = [tf.reduce_sum(column) for column in tf.unstack(gradients, axis=-1)]
        hessians = _gradients(tape, gradient_sums, origin.params)
        jacobians = derivatives(tape, origin.params, [self._weights[index] for index in chosen])
        information = _information(origin)
        if counts is not None:
            information *= tf.cast(counts, information.dtype)[..., None, None]
        size, length = jacobians.shape[-2], tf.shape(jacobians)[-1]
        jacobians = tf.reshape(jacobians, [-1, size, length])
        matrices = [tf.reshape(matrix, [-1, size, size]) for matrix in (information, hessians)]
        gradient = tf.einsum("nd,ndp->p", tf.reshape(gradients, [-1, size]), jacobians)
        return loss, gradient, *(tf.einsum("ndp,nde,neq->pq", jacobians, matrix, jacobians) for matrix in matrices)


def derivatives(tape: tf.GradientTape, params: tf.Tensor, weights: list) -> tf.Tensor:
    """Returns the derivatives `[*batch, d, q]` of a head's inputs `[*batch, d]` with respect to `q` weights.

    Args:
      tape: a persistent tape that recorded how `params` are computed from the weights.
      params: the head's inputs.
      weights: the variables, which have `q` elements in total.
    """
    parts = tape.jacobian(params, weights, unconnected_gradients="zero")
    shape = tf.shape(params)
    return tf.concat([tf.reshape(tf.cast(part, params.dtype), tf.concat([shape, [-1]], 0)) for part in parts], -1)


def _information(origin: Origin) -> tf.Tensor:
    """Returns the Fisher information `[*batch, d, d]` of one outcome about a head's inputs `[*batch, d]`."""
    unchecked, params = origin.family.holding({"validate_args": False}), tf.stop_gradient(origin.params)
    # The information is the Hessian of `KL(reference || other)` with respect to the parameters of `other`, which are
    # `params`. `reference` must be constant, so `reference` is built from a copy of `params`.
    reference = unchecked.distribution(tf.stop_gradient(params), origin.shared)
    if law_of(reference).latent() is not reference:  # true for censored outcomes and for outcomes with a window
        raise ValueError(
            f"`model` predicts a {reference.name}, whose outcomes are intervals or come with a window, so their "
            f"Fisher information depends on how outcomes are censored or selected. Use "
            f"`nllfit.standard_errors`, which uses the curvature at the observed outcomes."
        )
    method = _covariance_of_scores if _has_corner(reference) else _curvature_of_divergence
    return method(reference, unchecked, params, origin.shared)


def _has_corner(distribution: tfd.Distribution) -> bool:
    return bool(facts_of(type(distribution)).density_corner) or any(map(_has_corner, parts_of(distribution)))


def _curvature_of_divergence(
    reference: tfd.Distribution, family: ParametricFamily, params: tf.Tensor, shared: Any
) -> tf.Tensor:
    with tf.GradientTape(persistent=True) as outer:
        outer.watch(params)
        with tf.GradientTape() as inner:
            inner.watch(params)
            divergence = tf.reduce_sum(_divergence(reference, family.distribution(params, shared)))
        gradients = tf.unstack(inner.gradient(divergence, params), axis=-1)
        sums = [tf.reduce_sum(column) for column in gradients]
    return _gradients(outer, sums, params)


def _covariance_of_scores(
    reference: tfd.Distribution, family: ParametricFamily, params: tf.Tensor, shared: Any
) -> tf.Tensor:
    """Estimates the information as the mean of `s s'` over draws, where `s` is the gradient of the log-density.

    The estimate needs no second derivative of the density. If the density has a corner, as a Laplace has at `loc`, the
    computed second derivative is wrong, because it lacks the curvature at the corner.
    """
    draws = reference.sample(_DRAWS_AT_CORNERS, seed=tf.constant(_SEED))
    repeated = tf.repeat(params[tf.newaxis], _DRAWS_AT_CORNERS, 0)
    with tf.GradientTape() as tape:
        tape.watch(repeated)
        log_prob = unchecked_log_prob(family.distribution(repeated, shared), draws)
    scores = tape.gradient(log_prob, repeated)
    return tf.einsum("n...d,n...e->...de", scores, scores) / _DRAWS_AT_CORNERS


def _gradients(tape, targets, source):
    """Returns the gradient of each target with respect to `source`, stacked on a new last axis."""
    return tf.stack([tape.gradient(target, source, unconnected_gradients="zero") for target in targets], -1)


def _divergence(p: tfd.Distribution, q: tfd.Distribution) -> tf.Tensor:
    """Returns `KL(p || q)`. If TFP has no formula, the divergence is estimated from draws of `p`."""
    exact = exact_divergence(p, q)
    return estimated_divergence(p, q, p.sample(_DRAWS, seed=tf.constant(_SEED))) if exact is None else exact
