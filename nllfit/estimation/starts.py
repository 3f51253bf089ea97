"""Chooses starts for Newton's method: draws many parameter values at random and ranks them by their likelihood."""

import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb

from nllfit.estimation.objective import Objective

__all__ = ["starts"]

_CANDIDATES = 1000
_STARTS = 100
# Subsamples of these sizes suffice to rank the candidates, because the candidates' likelihoods differ by large factors.
_VERY_FEW_OBSERVATIONS = 20
_FEW_OBSERVATIONS = 200


def starts(objective: Objective) -> np.ndarray:
    """Returns random starts `[s, p]` at which a subsample has a positive likelihood, the most likely first.

    Up to a thousand candidates are drawn. A location is a quantile or the minimum of the sample, or a point outside the
    sample's range. A positive parameter is the product of a quantity and a random factor between about 1/16 and 16. The
    quantity is 1, the mean absolute value of the sample, the standard deviation of the sample, or the inverse of the
    mean absolute value or of the standard deviation. The coordinates of all other parameters are standard Normal draws.

    All candidates are ranked by the likelihood of 20 observations. The first hundred are ranked again by the likelihood
    of 200 observations. If fewer than 50 candidates have been found at which this likelihood is positive, the next
    hundred are ranked in the same way and appended, and so on. If this likelihood is 0 at all candidates, the only
    start is 0.1 in each coordinate.
    """
    subsample = objective.sample(_FEW_OBSERVATIONS)
    count = int(np.clip(4e6 / subsample.y.size, 50, _CANDIDATES))
    y = objective.coordinates.family.representatives(subsample.y)
    w = _candidates(objective.coordinates, objective.held, y, count, np.random.default_rng(0))
    w = _ranked(objective.sample(_VERY_FEW_OBSERVATIONS), w[np.isfinite(w).all(1)])
    likely = w[:0]
    for first in range(0, len(w), _STARTS):
        likely = np.concatenate([likely, _ranked(subsample, w[first : first + _STARTS])])
        if len(likely) >= _STARTS // 2:
            break
    return likely if len(likely) else np.full([1, objective.coordinates.size], 0.1)


def _ranked(objective, w):
    """Returns the rows of `w` at which the likelihood is positive, the most likely first."""
    values = objective.values(w)
    order = np.argsort(-values, kind="stable")
    return w[order[np.isfinite(values[order])]]


def _candidates(coordinates, held, y, count, rng):
    family = coordinates.family
    batch_rank = 1 + len(family.component_shape)  # candidates and, for a mixture, components
    drawn = coordinates.natural(tf.constant(rng.standard_normal([count, coordinates.size])), held)
    transformed = _transformed_rows(family.search.transform, y)
    for name, value in drawn.items():
        if name in family.search.kinks or (name in family.search.locations and not _is_positive(coordinates, name)):
            drawn[name] = _random_values(
                _location_values(transformed), 0, value.shape[:batch_rank], value.shape[batch_rank:], rng
            )
        elif _is_positive(coordinates, name):
            magnitudes = _scale_values(transformed if name in (*family.search.scales, *family.search.rates) else y)
            drawn[name] = _random_values(magnitudes, 1.2, value.shape[:batch_rank], value.shape[batch_rank:], rng)
    return coordinates.from_natural(drawn | held)


def _is_positive(coordinates, name):
    return isinstance(coordinates.domain(name), tfb.Exp)


def _transformed_rows(transform, y):
    """Applies `SearchPolicy.transform` to a sample: for a LogNormal, the logarithm. Drops rows that are not finite."""
    with np.errstate(divide="ignore", invalid="ignore"):
        transformed = transform(y)
    transformed = transformed[np.isfinite(transformed).reshape(len(transformed), -1).all(1)]
    return transformed if len(transformed) else np.zeros_like(y)


def _scale_values(y):
    """Returns values for scales, rates and concentrations.

    The values are 1, the standard deviation, the mean absolute value, and the inverses of the last two.
    """
    magnitude = np.abs(y).mean(0)
    magnitude = np.where(magnitude > 0, magnitude, 1.0)
    deviation = np.maximum(y.std(0), 1e-6 * magnitude)
    return np.stack([np.ones_like(magnitude), deviation, magnitude, 1 / deviation, 1 / magnitude])


def _location_values(y):
    """Returns values for locations and bounds: quantiles of the sample, its minimum, and points outside its range."""
    low, high = y.min(0), y.max(0)
    outside = [low, low - 0.05 * (high - low), high + 0.05 * (high - low), 2 * low - high, 2 * high - low]
    return np.stack([*np.quantile(y, [0.05, 0.25, 0.5, 0.75, 0.95], axis=0), *outside])


def _random_values(base_values, decades, batch_shape, shape, rng):
    """Draws values `[*batch_shape, *shape]`: random rows of `base_values` `[k, *event]` times random factors.

    The factors are between `10 ** -decades` and `10 ** decades`.
    """
    if base_values.shape[1:] != tuple(shape):
        base_values = np.ones(shape) * base_values.reshape(len(base_values), -1).mean(1).reshape(-1, *[1] * len(shape))
    factors = 10 ** rng.uniform(-decades, decades, batch_shape)
    return base_values[rng.integers(len(base_values), size=batch_shape)] * factors.reshape(
        *batch_shape, *[1] * len(shape)
    )
