"""Standard errors of a fitted network's weights, from the curvature of the likelihood and from its rows' scores."""

import functools
from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from nllfit.adapters import Model
from nllfit.adapters.models import float_dtype, variable_of
from nllfit.data import num_rows
from nllfit.inference.coefficients import Coefficients
from nllfit.inference.likelihood import Likelihood
from nllfit.inference.names import feature_names
from nllfit.inference.parameters import named_parameters
from nllfit.optimum.curvature import Axes, axes_of, drops_around
from nllfit.outputs import distribution_of
from nllfit.training.arguments import check_trainable
from nllfit.training.batches import Arrays, batches_of
from nllfit.training.loss_surface import flat_weights, set_weights, surface_over
from nllfit.training.outcomes import outcome_check

__all__ = ["standard_errors"]

_MOST = 2000  # weights, whose Hessian is quickly written down
_NEAR = 0.1  # standard errors that the weights may be from the optimum
_POLISHES = 3  # steps of Newton's method, with one Hessian, from rounded weights to where they are rounded from
_LEAST_DROP = 1e-4  # nats by which the log-likelihood must fall one standard error from a maximum, where 1/2 is usual
_ROUNDINGS = 8  # of a log-likelihood, by which it must fall at least
_MOST_NOISE = 0.1  # nats: of a true maximum the log-likelihood falls by about 1/2
_IDLE = 1e-4  # of a number's derivative that lies in flat directions, from which on it is idle
_SHOWN = 6  # names in a message
_KINDS = {"information": "observed information", "sandwich": "sandwich"}


def standard_errors(
    model: Model,
    x: Any,
    y: Any,
    *,
    sample_weight: ArrayLike | None = None,
    covariance: str = "information",
    groups: ArrayLike | None = None,
) -> Coefficients:
    """How sure one can be of the weights of a small model that was fitted by maximum likelihood, as by `fit_lbfgs`.

    A dense layer under a head is a regression: linear under a `Normal`, logistic under a `Bernoulli`, and so on; this
    is its table. With `l_i` the negative log-likelihood of row `i`, and `H` the exact Hessian of their sum, the
    covariance is

        information:  inv(H)
        sandwich:     inv(H) (sum_i grad l_i grad l_i') inv(H)

    of which the first holds if the model is true, and the second (HC0) in large samples also where the outcomes'
    distribution is not that of the head. What a head shares is shown as the parameter itself (`scale`), by the delta
    method. Weights that are not trainable, and statistics of normalisation, are taken for known. All is computed in
    float64.

    Args:
      model: a compiled model of either Keras that ends in one head, of at most 2000 trainable weights.
      x, y: the arrays that it was fitted to; the columns of a DataFrame name the weights of the first layer.
      sample_weight: how often each row counts, `[n]`, as it was fitted.
      covariance: "information" or "sandwich".
      groups: `[n]`, labels of clusters of rows that depend on each other, for the sandwich: scores are summed over each
        cluster before they are squared.

    Returns:
      A `Coefficients`. Look at its `converged` and `message` before its numbers: there are no errors at weights that
      are no maximum of the likelihood, as in a network that was not trained to the end, or under a regulariser; weights
      that the likelihood cannot tell from others, as of columns that depend on each other, have infinite ones.

    Raises:
      TypeError, ValueError: for a model or data that `fit_lbfgs` would not take, a model without a head, with several
        outputs or with too many weights, another `covariance`, or `groups` of another length.

    Example:
      >>> import tf_keras
      >>> logistic = tf_keras.Sequential([tf_keras.layers.Dense(1), nllfit.heads.Bernoulli()])
      >>> logistic.compile(loss=nllfit.negative_log_likelihood)
      >>> x, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([[0], [1], [0], [1]])
      >>> history = nllfit.fit_lbfgs(logistic, x, y)
      >>> coefficients = nllfit.standard_errors(logistic, x, y)
      >>> coefficients.names, coefficients.standard_errors.round(3)
      (['kernel', 'bias'], array([1.085, 1.975]))

    Source: White, Maximum likelihood estimation of misspecified models, 1982.
    """
    check_trainable(model)
    if covariance not in _KINDS:
        raise ValueError(f'`covariance` is {covariance!r}: give "information" or "sandwich".')
    data, family = _checked(model, x, y, sample_weight)
    frequencies = np.ones(num_rows(data))
    if np.size(data[-1]) == len(frequencies) and sample_weight is not None:  # and not of each step of a row
        frequencies = np.ravel(data[-1]).astype(np.float64)
    clusters = _as_clusters(groups, covariance, num_rows(data))
    names, estimates, jacobian = named_parameters(model, feature_names(x))
    weights = flat_weights(model)
    with surface_over(Likelihood, model, data) as likelihood:
        try:
            value, w, axes, fault = _maximum(likelihood, weights)
            steep = _steep(axes)
            spread = np.eye(steep.shape[1])
            if covariance == "sandwich" and fault is None:
                spread = _meat((block @ steep for block in likelihood.scores(w)), frequencies, clusters)
        finally:
            set_weights(model, weights)
    along = jacobian @ steep
    covariances = along @ spread @ along.T
    idle = _idle(axes, jacobian)
    covariances[idle] = covariances[:, idle] = np.nan
    covariances[idle, idle] = np.inf
    if fault:
        covariances[:] = np.nan
    return Coefficients(
        names=names,
        estimates=estimates,
        standard_errors=np.sqrt(np.diag(covariances)),
        covariance=covariances,
        kind=_KINDS[covariance] if clusters is None else f"sandwich, {clusters.max() + 1} groups",
        log_likelihood=-value,
        num_observations=float(frequencies.sum()),
        num_parameters=steep.shape[1],
        label=family.label,
        converged=fault is None,
        message=fault or _success([name for name, is_idle in zip(names, idle, strict=True) if is_idle]),
    )


def _checked(model, x, y, sample_weight):
    """The data as a tuple of tensors, and the family of the model's head; else an error."""
    batches = batches_of(
        *(x, y, sample_weight),
        check=functools.partial(outcome_check, model),
        floatx=float_dtype(model),
        batch_size=2**62,
    )
    if not isinstance(batches, Arrays):
        raise ValueError(f"`x` is a {type(x).__name__}, and the likelihood is of all the data at once: give arrays.")
    output = model(tf.nest.map_structure(lambda t: t[:1], batches.data[0]), training=False)
    if isinstance(output, (list, tuple, dict)):
        raise ValueError(f"The model has {len(output)} outputs: give one with one head.")
    origin = getattr(distribution_of(output), "origin", None)
    if origin is None:
        raise ValueError("The model does not end in a head, whose likelihood the errors are of.")
    size = sum(variable_of(w).shape.num_elements() for w in model.trainable_variables)
    if not size:
        raise ValueError("The model has no trainable weights, so that there is nothing to be unsure of.")
    if size > _MOST:
        raise ValueError(
            f"The model has {size} trainable weights, and their covariance is computed for at most {_MOST}: freeze "
            f"layers that you take for known (`layer.trainable = False`), or ask an `nllfit.Ensemble` how sure it is."
        )
    return batches.data, origin.family


def _as_clusters(groups, covariance, num_rows):
    """The number of each row's group, `[n]`; None without."""
    if groups is None:
        return None
    if covariance != "sandwich":
        raise ValueError('`groups` are for the sandwich: give `covariance="sandwich"` as well.')
    if np.shape(groups) != (num_rows,):
        raise ValueError(
            f"`groups` has shape {np.shape(groups)}, but there are {num_rows} rows: give a label for each."
        )
    return np.unique(np.asarray(groups), return_inverse=True)[1]


def _maximum(likelihood: Likelihood, w: np.ndarray) -> tuple[float, np.ndarray, Axes, str | None]:
    """The negative log-likelihood at weights `[p]`, the maximum that they are rounded from, its axes, and any fault.

    A step aside from the maximum, if only by the last digit, bends what is flat there.
    """

    def log_likelihoods(points):
        values = -np.array([likelihood.value(point) for point in points])
        return np.where(np.isnan(values), -np.inf, values)  # outside of what the head takes

    value, gradient = likelihood.value_and_gradient(w)
    axes, top = _axes(likelihood, w), w
    distance = np.linalg.norm(_steep(axes).T @ gradient)
    if not distance < _NEAR:
        return (
            value,
            w,
            axes,
            (
                f"there are no standard errors, for the weights are {distance:.2g} of them from a maximum of the "
                f"likelihood: go on with `fit_lbfgs`, under the negative log-likelihood alone and without regularisers"
            ),
        )
    for _ in range(_POLISHES):
        top = top - _steep(axes) @ (_steep(axes).T @ gradient)
        _, gradient = likelihood.value_and_gradient(top)
    axes = _axes(likelihood, top)
    least = max(_LEAST_DROP, min(_ROUNDINGS * likelihood.eps * abs(value), _MOST_NOISE))
    fault = None
    if np.any(axes.bends < 0):
        fault = "there are no standard errors, for the likelihood has a saddle at the weights, and no maximum: train on"
    elif axes.flat.all():
        fault = "there are no standard errors, for no weight changes the likelihood"
    elif drops_around(log_likelihoods, top, -likelihood.value(top), _steep(axes))[0].min() < least:
        fault = (
            "there are no standard errors, because the log-likelihood does not fall one of them away: its maximum is "
            "elsewhere, or at infinity, as where classes can be separated or all outcomes of a group are equal"
        )
    return value, top, axes, fault


def _axes(likelihood, w):
    away = w * (1 + 2 * likelihood.eps * np.resize([1, -1], len(w)))
    try:
        return axes_of(likelihood.curvature, w, away, likelihood.curvature_eps)
    except np.linalg.LinAlgError:
        raise ValueError(
            f"The log-likelihood, {-likelihood.value(w):.4g}, or a second derivative of it is not finite at the "
            f"weights: look at them, and at the outcomes."
        ) from None


def _steep(axes):
    """The directions that change the likelihood, each one standard error long, `[p, r]`."""
    return axes.directions[:, ~axes.flat]


def _idle(axes: Axes, jacobian: np.ndarray) -> np.ndarray:
    """Which numbers change along directions that change no likelihood, `[q]`."""
    flat, _ = np.linalg.qr(axes.scales[:, None] * axes.directions[:, axes.flat])
    slopes = jacobian / axes.scales
    return np.linalg.norm(slopes @ flat, axis=1) > _IDLE * np.linalg.norm(slopes, axis=1)


def _meat(scores: Iterable[np.ndarray], frequencies: np.ndarray, clusters: np.ndarray | None) -> np.ndarray:
    """The sum over rows, or clusters of them, of the products of their scores, `[r, r]`, from blocks `[rows, r]`.

    A row that is there `f` times has `f` times its score in the block.
    """
    scores = np.concatenate(list(scores))
    if clusters is not None:
        sums = np.zeros([clusters.max() + 1, scores.shape[1]])
        np.add.at(sums, clusters, scores)
        return sums.T @ sums
    return scores.T @ (scores / np.where(frequencies > 0, frequencies, 1.0)[:, None])


def _success(idle: list[str]) -> str:
    """What is known of a maximum, in words."""
    if not idle:
        return "the weights are a maximum of the likelihood"
    shown = ", ".join(f"`{name}`" for name in idle[:_SHOWN]) + (", ..." if len(idle) > _SHOWN else "")
    return (
        f"the weights are a maximum of the likelihood, but not the only one: {shown} can change together without a "
        f"change of the likelihood, as where columns depend on each other or a unit is idle, so that their standard "
        f"errors are infinite"
    )
