"""The continuous ranked probability score of an outcome under whatever a head returns."""

from typing import Any

import tensorflow as tf
from numpy.typing import ArrayLike
from tensorflow_probability import distributions as tfd

from nllfit.families.marginals import is_discrete, marginals, real_dtype
from nllfit.families.outcomes import as_outcomes
from nllfit.kerases import as_distribution
from nllfit.scores.continuous import CONTINUOUS
from nllfit.scores.mixtures import of_normals
from nllfit.scores.quadrature import crps_by_quadrature

__all__ = ["crps"]


def crps(y_true: ArrayLike, y_pred: Any) -> tf.Tensor:
    """The continuous ranked probability score of each outcome: how far its predicted distribution is from it.

    `integral of (F(z) - [y <= z])^2 dz = E|X - y| - E|X - X'| / 2`, with `F` the predicted CDF and `X`, `X'` two
    independent draws: an absolute error, in the unit of the outcome, which rewards a distribution for being narrow
    where it is right. It is a strictly proper score, less hard on outliers than the likelihood.

    Args:
      y_true: outcomes, `[B, *event]`; unlike of the likelihood, any number can be one.
      y_pred: the output of a head, or any `tfd.Distribution` of batch `[B]` and event `[*event]`.

    Returns:
      `[B]`, in the unit of the outcome, a sum over the event's elements, each scored by its own marginal distribution.
      It is computed in float64, has a gradient, and comes in the dtype of the distribution's parameters.

      Normal and mixtures of Normals have closed forms; of other continuous families, and their mixtures, the integral
      is computed from the CDF by `crps_by_quadrature`, to a relative error of about 1e-9.

    Raises:
      TypeError: if `y_pred` is no distribution.
      ValueError: if the shape of `y_true` is not that of the outcomes (both are named).
      NotImplementedError: if the elements have no distribution by themselves that TFP knows.

    Example:
      >>> nllfit.crps([0.0], tfd.Normal([0.0], 1.0)).numpy().round(6)  # (sqrt(2) - 1) / sqrt(pi)
      array([0.233695], dtype=float32)

    Source: Gneiting and Raftery, Strictly proper scoring rules, prediction, and estimation, 2007.
    """
    distribution = as_distribution(y_pred)
    y = as_outcomes(y_true, distribution)
    scalar = marginals(distribution)
    scores = _of_scalars(scalar, tf.cast(y, real_dtype(scalar)))
    scores = tf.reduce_sum(scores, range(scores.shape.rank - distribution.event_shape.rank, scores.shape.rank))
    return tf.cast(scores, real_dtype(distribution))


def _of_scalars(distribution, y):
    if isinstance(distribution, tfd.MixtureSameFamily):
        if isinstance(distribution.components_distribution, tfd.Normal):
            return of_normals(distribution, y)
    elif type(distribution).__name__ in CONTINUOUS:
        return CONTINUOUS[type(distribution).__name__](distribution, y)
    if is_discrete(distribution):
        raise NotImplementedError(f"{distribution.name} has no CRPS yet.")
    return crps_by_quadrature(distribution, y)
