"""Computes the mode of a distribution: by TFP's formula, or else by a search for the highest point of the density."""

import math
from typing import Any

import numpy as np
import tensorflow as tf

from nllfit.families.copies import real_dtype

__all__ = ["mode_of"]

# The first grid of a search consists of quantiles at `_LEVELS = P(Z <= z)`, for a standard Normal `Z` and each `z` in
# `_Z`. `_RESTS` are `1 - _LEVELS`. `_Z` starts at -8 but ends at 3.5, because TFP's quantile formulas take the level,
# not `1 - level`: the closer the level is to 1, the fewer digits of `1 - level` remain.
_Z = np.concatenate([np.arange(-8.0, -3.5), np.arange(-3.5, 3.75, 0.25)])
_LEVELS, _RESTS = (np.array([math.erfc(z / math.sqrt(2)) / 2 for z in side]) for side in (-_Z, _Z))
_NUM_PEAKS = 8  # finer grids are evaluated around this many local maxima of the first grid: the highest ones
_FRACTIONS = np.linspace(0, 1, 17)  # a finer grid divides a bracket at these fractions; the next bracket is 1/8 as wide
_ROUNDS = 18  # the number of finer grids; 8**18 is about 1 / the precision of float64


def mode_of(law: Any) -> tf.Tensor:
    """Returns the mode `[*batch, *event]` of the distribution of a `Law`. `nllfit.mode` calls this function."""
    distribution = law.distribution
    if law.has_class_labels:
        return tf.cast(tf.argmax(law.central_value(), -1), distribution.dtype)
    if distribution.event_shape.num_elements() == 1:
        return tf.cast(_mode_of_number(law.elements()), distribution.dtype)
    try:
        return distribution.mode()
    except NotImplementedError:
        raise NotImplementedError(
            f"{distribution.name} has outcomes of shape {tuple(distribution.event_shape)}, but TFP knows no mode: "
            f"use the mean, or the draw with the highest `log_prob`."
        ) from None


def _mode_of_number(law):
    """Returns the mode of a scalar distribution. Where TFP's formula gives NaN, the mode is found by a search."""
    if law.atoms is not None:
        return _most_probable(*law.atoms)
    formula = law.facts.mode or (lambda distribution: distribution.mode())
    try:
        mode = tf.cast(formula(law.distribution), real_dtype(law.distribution))
    except NotImplementedError:
        return _highest_point(law)
    is_valid = ~tf.math.is_nan(mode)
    return tf.cond(tf.reduce_all(is_valid), lambda: mode, lambda: tf.where(is_valid, mode, _highest_point(law)))


def _most_probable(points, probs):
    """Returns the most probable of the numbers `points` `[num, *batch]`. A number may occur several times."""
    totals = tf.reduce_sum(tf.where(points == points[:, None], probs, 0.0), 1)
    return tf.experimental.numpy.take_along_axis(points, tf.argmax(totals, 0)[None], 0)[0]


def _highest_point(law):
    """Returns the number with the highest density or probability.

    The first grid consists of quantiles of each component. Around the highest local maxima on this grid, the search
    evaluates finer and finer grids. For counts, the last grids contain every count near a maximum. If there are several
    maxima between two neighbouring points of the first grid, some may be missed. If several numbers are modes,
    the smallest is returned. If the density is 0 or NaN on all grids, the result is NaN.
    """
    is_discrete, rank, dtype = law.is_discrete, law.distribution.batch_shape.rank, real_dtype(law.distribution)
    infinity = tf.constant(math.inf, dtype)

    def log_density(y):
        values = law.log_prob(tf.cast(y, law.distribution.dtype))
        return tf.where(tf.math.is_nan(values), -infinity, values)

    def refine(low, best, high):
        points = low + (high - low) * tf.constant(_FRACTIONS.reshape([-1, *[1] * (rank + 1)]), dtype)
        points = tf.concat([tf.math.floor(points) if is_discrete else points, best[None]], 0)
        best, step = _highest(points, log_density(points)), (high - low) * _FRACTIONS[1]
        step = tf.math.ceil(step) if is_discrete else step
        return tf.maximum(best - step, low), best, tf.minimum(best + step, high)

    grid = _grid(law, dtype)
    peaks = _peaks(grid, log_density(grid))
    _, best, _ = tf.while_loop(lambda *_: True, refine, peaks, maximum_iterations=_ROUNDS)
    values = log_density(best)
    return tf.where(tf.reduce_all(values == -infinity, 0), tf.constant(math.nan, dtype), _highest(best, values))


def _grid(law, dtype):
    """Returns sorted points `[num, *batch]`: the quantiles of each component, and the finite ends of the support."""
    rank = law.distribution.batch_shape.rank
    levels, rests = (np.reshape(part, [-1, *[1] * rank]) for part in (_LEVELS, _RESTS))
    quantiles = law.component_quantiles(levels, rests)
    ends = [tf.where(tf.math.is_finite(end), end, quantiles[0])[None] for end in law.ends()]
    far = dtype.max / 4  # so that the difference of two points does not overflow
    return tf.sort(tf.clip_by_value(tf.concat([*ends, quantiles], 0), -far, far), 0)


def _peaks(grid, log_density):
    """Finds the highest local maxima on a sorted grid `[num, *batch]`.

    Returns the left neighbour of each maximum, the maximum and the right neighbour, each `[_NUM_PEAKS, *batch]`.
    """
    left, right = (tf.concat(arrays, 0) for arrays in ([grid[:1], grid[:-1]], [grid[1:], grid[-1:]]))
    log_density_left, log_density_right = (
        tf.concat(arrays, 0) for arrays in ([log_density[:1], log_density[:-1]], [log_density[1:], log_density[-1:]])
    )
    # Many quantiles of counts are equal. Among equal quantiles, only the first and the last can be peaks.
    is_peak = (log_density >= log_density_left) & (log_density >= log_density_right) & ((left < grid) | (grid < right))
    order = tf.argsort(tf.where(is_peak, -log_density, tf.constant(math.inf, log_density.dtype)), 0)[:_NUM_PEAKS]
    return tuple(tf.experimental.numpy.take_along_axis(values, order, 0) for values in (left, grid, right))


def _highest(points, log_density):
    """Returns the point with the largest log-density. If several points have it, returns the smallest of them."""
    infinity = tf.constant(math.inf, points.dtype)
    return tf.reduce_min(tf.where(log_density == tf.reduce_max(log_density, 0), points, infinity), 0)
