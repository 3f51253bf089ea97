"""`KLDivergence`: a term of the loss, the divergence of a head's distribution from a prior."""

from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from nllfit.adapters.tensorflow import mask_of, untouched
from nllfit.bayes.divergences import check_comparable, estimated_divergence, exact_divergence, in_dtype_of
from nllfit.bayes.priors import as_prior, from_keras, to_keras
from nllfit.families.arguments import as_count
from nllfit.families.configs import plain
from nllfit.families.family_base import ParametricFamily
from nllfit.families.head_arguments import HeadRegularizer, check_differentiable, example_of
from nllfit.families.registered_names import registered
from nllfit.head_outputs import as_distribution, distribution_of, kind_of

__all__ = ["KLDivergence"]


@tf_keras.saving.register_keras_serializable(package="nllfit")
class KLDivergence(HeadRegularizer):
    """The mean divergence of a head's distributions from a prior: `weight * mean over rows of KL(q_i || prior)`.

    `q_i` is the head's distribution for row `i`. Give a `KLDivergence` to a head as `activity_regularizer`. The head
    then adds the divergence to the loss once for each batch, in nats. Let a decoder predict `y` from the head's draw
    `z`, and let the loss be the negative log-likelihood of `y`. Then the total loss is the negative evidence lower
    bound (ELBO), averaged over rows. For one row, the negative ELBO is
    `E_q[-log p(y | z)] + KL(q(z | x) || p(z))`. If `y` is a sequence of `T` steps and `z` is one vector, the loss of
    `y` is a mean over the steps. With `weight=1 / T`, the total loss is then `1 / T` times the negative ELBO.

    The divergence is exact if TFP has a formula for the pair of distributions. TFP also has formulas for vectors of
    independent Normals. If there is no formula, the divergence is estimated by the mean of `log q(z) - log p(z)` over
    draws. If the head returns a draw and `num_samples` is None, the estimate uses this draw. `is_exact` tells whether
    the divergence is exact.

    The mean is over all rows and steps that Keras does not mask. Sample weights have no effect on this mean.

    Args:
      prior: one prior for all rows. It is one of:
        - a `tfd.Distribution` with the event shape of the head;
        - a `Family` without `shared`, whose unconstrained parameters are learned as weights of the head and start
          near 0;
        - or a Keras model that ends in a head and is called on `tf.ones([1, 1])`.
      weight: the factor of the divergence (the beta of a beta-VAE), by default 1. It is one of:
        - a number of at least 0;
        - a variable, which a callback may change;
        - or a schedule: a function of the number of training steps so far, such as Keras's `PolynomialDecay`.
      num_samples: the number of draws for an estimate. If `num_samples` is given, the divergence is estimated even if
        there is a formula. By default, one draw is used if there is no formula.

    Raises:
      ValueError: from the constructor, if one of these is true:
        - An argument has the wrong type.
        - `weight` is negative or not finite, or `num_samples` is not an integer of at least 1.
        - The prior is a `tfd.Distribution` with a trainable variable, which Keras would not train.
      ValueError: when the head is created or at its first batch, if one of these is true:
        - The prior has another event shape than the head, or is a batch of several distributions.
        - The prior's support is bounded on a side on which the support of the head's family is unbounded.
        - The divergence must be estimated, but draws of the head's family have no gradient.
      NotImplementedError: when the model is saved or cloned, if the prior is a `tfd.Distribution` that contains
        variables or a bijector.

    Example:
      >>> prior = tfd.MultivariateNormalDiag(tf.zeros(2))
      >>> head = nllfit.heads.Normal(2, as_tensor="sample", activity_regularizer=KLDivergence(prior))
      >>> z = head(tf.zeros([8, 4]))
      >>> [float(loss) for loss in head.losses] == [float(KLDivergence(prior)(z))]
      True

    Source: Kingma and Welling, Auto-encoding variational Bayes, 2014; Higgins et al., beta-VAE, 2017.
    """

    def __init__(self, prior: Any, weight: Any = 1.0, num_samples: int | None = None):
        self.prior = as_prior(prior)
        self.weight = _as_weight(weight)
        self.num_samples = as_count("num_samples", num_samples, 1, True)
        self.layers, self.num_learned = self.prior.layers, self.prior.num_learned
        self.counts_steps = callable(self.weight)

    def __call__(self, output: Any, seed: Any = None) -> tf.Tensor:
        """Returns `weight` times the mean divergence of a head's output, or of a distribution, from the prior.

        Pass the result to `add_loss` in your own layer or model. If `weight` is a schedule, its value at step 0 is
        used.

        Raises:
          TypeError: if `output` has no distribution.
          ValueError: if the prior is a `Family`, or does not fit the distribution.
        """
        q = distribution_of(output)
        if q is None:
            raise untouched(
                TypeError(
                    f"`KLDivergence` is called on {kind_of(output)}, but measures a distribution: give it to a head as "
                    f"`activity_regularizer`, as in `nllfit.heads.Normal(2, activity_regularizer=...)`."
                )
            )
        return self.term(q, mask_of(output), seed, None, tf.constant(0, tf.int64))

    def is_exact(self, output: Any) -> bool:
        """Returns whether the divergence of a head's output, or of a distribution, is exact and not an estimate."""
        q = as_distribution(output, "The argument of `is_exact`")
        p = self.prior.example()
        p = self.prior.distribution(None) if p is None else p
        return self.num_samples is None and exact_divergence(q, in_dtype_of(p, q)) is not None

    def check(self, family: ParametricFamily, is_sampled: bool) -> None:
        p = self.prior.example()
        if p is not None:
            q = example_of(family)
            check_comparable(q, p)
            if not self.is_exact(q):
                self._check_draws(family, p)

    def build(self) -> None:
        for layer in self.layers:
            if not layer.built:
                layer(tf.ones([1, 1]))

    def term(self, distribution, mask, seed, learned, step):
        p = in_dtype_of(self.prior.distribution(learned), distribution)
        check_comparable(distribution, p)
        divergence = exact_divergence(distribution, p) if self.num_samples is None else None
        if divergence is None:
            if hasattr(distribution, "origin"):  # `distribution` is a head's output, so its family is known
                self._check_draws(distribution.origin.family, p)
            divergence = estimated_divergence(distribution, p, self._draws(distribution, seed))
        return self._weight_at(step, divergence.dtype) * _mean(divergence, mask)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments as plain values. A variable becomes its value."""
        if callable(self.weight):
            weight = to_keras(self.weight) if hasattr(self.weight, "get_config") else plain(self.weight)
        else:
            weight = float(tf.convert_to_tensor(self.weight))
        return {"prior": self.prior.config(), "weight": weight, "num_samples": self.num_samples}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "KLDivergence":
        weight = from_keras(config["weight"])
        return cls(**config | {"weight": registered(weight) if isinstance(weight, str) else weight})

    def __repr__(self) -> str:
        return f"KLDivergence({self.prior.given!r}, weight={self.weight!r}, num_samples={self.num_samples})"

    @staticmethod
    def _check_draws(family, p):
        check_differentiable(family, f"`KLDivergence` from a {p.name}, which is estimated here,")

    def _draws(self, distribution, seed):
        """Returns draws `[n, *batch, *event]`.

        If `num_samples` is None and the head returned a draw, the result is this draw. Otherwise the draws are new.
        """
        head_draw = getattr(getattr(distribution, "origin", None), "draw", None)
        if self.num_samples is None and head_draw is not None:
            return head_draw[tf.newaxis]
        return distribution.sample(self.num_samples or 1, seed=seed)

    def _weight_at(self, step, dtype):
        weight = self.weight(step) if callable(self.weight) else self.weight
        return tf.cast(weight, dtype) if tf.is_tensor(weight) else tf.convert_to_tensor(weight, dtype)


def _mean(values, mask):
    """Returns the mean of values `[B, ...]` where the mask is True. The mask may lack the last axes of the values."""
    if mask is None:
        return tf.reduce_mean(values)
    mask = tf.reshape(mask, tf.concat([tf.shape(mask), tf.ones([tf.rank(values) - tf.rank(mask)], tf.int32)], 0))
    counts = tf.cast(tf.broadcast_to(mask, tf.shape(values)), values.dtype)
    kept = tf.where(counts > 0, values, tf.zeros_like(values))
    return tf.math.divide_no_nan(tf.reduce_sum(kept), tf.reduce_sum(counts))


def _as_weight(weight):
    """Returns the argument `weight` as a number, a `tf.Variable` or a function of the step.

    A variable of Keras 3 is replaced by the `tf.Variable` that it contains.
    """
    if isinstance(weight, tf.Variable) or (callable(weight) and not hasattr(weight, "assign")):
        return weight
    if hasattr(weight, "assign"):  # a variable of Keras 3
        return weight.value
    if not np.ndim(weight) and np.asarray(weight).dtype.kind in "iuf" and np.isfinite(weight) and weight >= 0:
        return float(weight)
    raise ValueError(
        f"`weight` is {weight!r}: give a number of at least 0, a variable, or a function of the number of steps."
    )
