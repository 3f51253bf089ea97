"""Computes quantiles of scalar distributions: TFP's, or the root of `CDF - level` where TFP's are inaccurate."""

from typing import Any

import numpy as np
import tensorflow as tf

from nllfit.families.copies import real_dtype

__all__ = ["root_of"]

_ROUNDING = 1e4  # the accepted relative error of the CDF at TFP's quantile, in units of the dtype's precision


def root_of(law: Any, levels: Any, rests: Any = None) -> tf.Tensor:
    """Implements `Law.quantile`: returns the least number at which the CDF reaches each level."""
    both, distribution = law.cdf(), law.distribution
    dtype = real_dtype(distribution)
    levels = tf.convert_to_tensor(levels, tf.float64)
    # Above level 0.5 we compare the survival function with `1 - level`, because the smaller number has more digits.
    lower, level, rest = levels <= 0.5, tf.cast(levels, dtype), tf.cast(1 - levels if rests is None else rests, dtype)
    zeros = tf.zeros(tf.broadcast_dynamic_shape(tf.shape(levels), distribution.batch_shape_tensor()), dtype)

    def excess(y):
        """Returns a number that increases with `y`. It is at least 0 where the CDF has reached the level."""
        below, above = both(y)
        return tf.where(lower, below - level, rest - above)

    if not tf.executing_eagerly():  # in a graph, the CDF is then traced only once
        excess = tf.function(excess, autograph=False)

    def root():
        noise = 4 * np.finfo(dtype.as_numpy_dtype).eps * tf.where(lower, level, rest)
        return _root(excess, zeros, noise, law.is_discrete)

    try:
        formula = distribution.quantile(level) + zeros
    except NotImplementedError:
        return root()
    # Some of TFP's quantiles are series or searches that do not always converge. Others lose digits at small levels.
    tolerance = _ROUNDING * np.finfo(dtype.as_numpy_dtype).eps
    near = tf.abs(excess(formula)) <= tolerance * tf.where(lower, level, rest)
    return tf.cond(tf.reduce_all(near), lambda: formula, lambda: tf.where(near, formula, root()))


def _root(excess, zeros, noise, counts):
    """Finds the least numbers at which a rising function is at least 0. It uses Chandrupatla's method.

    The search runs over the indices of all numbers of a dtype in increasing order. The indices are computed from the
    bit patterns of the numbers. So the number of iterations hardly depends on the scale of the root, and the first
    bracket can reach from 0 to the largest number. If `counts` is True, the function is a step function with steps at
    whole numbers, and the search evaluates it only at whole numbers. `noise` is the rounding error of the function.
    """
    dtype = zeros.dtype
    integer = tf.int64 if dtype == tf.float64 else tf.int32
    normal = tf.bitcast(tf.constant(dtype.as_numpy_dtype(np.finfo(dtype.as_numpy_dtype).tiny)), integer)
    least_normal = tf.cast(normal, tf.int64) - 1  # TensorFlow treats smaller numbers as 0

    def number(index):
        size = tf.bitcast(tf.cast(tf.abs(index) + least_normal, integer), dtype)
        return tf.where(index == 0, tf.zeros([], dtype), tf.where(index < 0, -size, size))

    def index_of(y):
        size = tf.cast(tf.bitcast(tf.abs(y), integer), tf.int64)
        size = tf.maximum(size - least_normal, 0)
        return tf.where(y < 0, -size, size)

    def distance(a, b):
        return tf.cast(a - b, tf.float64)  # both have the same sign or are 0, so nothing overflows

    def step(share, x1, x2, f1, f2):
        """Takes a step from the newest point `x1` towards `x2`. The root is between `x1` and `x2`."""
        y = number(x1 + tf.cast(share * distance(x2, x1), tf.int64))
        y = tf.math.floor(y) if counts else y
        value = tf.cast(excess(y), tf.float64)
        value = tf.where(tf.math.is_nan(value), tf.cast(tf.sign(y), tf.float64), value)  # a CDF may overflow to NaN
        x = index_of(y) if not counts else tf.where(value < 0, index_of(y + 1) - 1, index_of(y))
        same = (value >= 0) == (f1 >= 0)
        x3, f3 = tf.where(same, x1, x2), tf.where(same, f1, f2)
        x2, f2 = tf.where(same, x2, x1), tf.where(same, f2, f1)
        place, height = distance(x, x2) / distance(x3, x2), (value - f2) / (f3 - f2)
        smooth = (height**2 < place) & ((1 - height) ** 2 < 1 - place)
        parabola = value / (f2 - value) * f3 / (f2 - f3)
        parabola += distance(x3, x) / distance(x2, x) * value / (f3 - value) * f2 / (f3 - f2)
        least = same_end_distance / tf.maximum(tf.abs(distance(x2, x)), 2.0 * same_end_distance)
        share = tf.where(smooth, tf.clip_by_value(parabola, least, 1 - least), 0.5)
        return share, x, x2, value, f2

    def unfinished(share, x1, x2, f1, f2):
        """Whether a bracket's ends still differ. Close ends count as equal if the function is within `noise` of 0."""
        near = (tf.minimum(tf.abs(f1), tf.abs(f2)) <= noise) & (tf.abs(x1 - x2) <= same_end_distance)
        return tf.reduce_any((tf.abs(x1 - x2) > 1) & ~near)

    noise = tf.cast(noise, tf.float64)
    same_end_distance = 1 if counts else 2 ** (np.finfo(dtype.as_numpy_dtype).nmant // 2)
    at_zero = tf.cast(excess(zeros), tf.float64)
    far = tf.where(at_zero < 0, zeros + dtype.max, zeros + dtype.min)
    state = tf.ones_like(at_zero) / 2, index_of(zeros), index_of(far), at_zero, tf.sign(tf.cast(far, tf.float64))
    _, x1, x2, f1, f2 = tf.while_loop(unfinished, step, state, maximum_iterations=100)
    reached = f1 >= 0
    other = (tf.abs(tf.where(reached, f2, f1)) <= noise) & (tf.abs(tf.where(reached, f1, f2)) > noise)
    root = number(tf.where(reached ^ (other & (not counts)), x1, x2))
    return tf.where(tf.math.is_nan(excess(root)), tf.constant(np.nan, dtype), root)
