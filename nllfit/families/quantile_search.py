"""Computes quantiles of scalar distributions: by TFP's method, or as the root of `CDF - level` if TFP is inaccurate."""

from typing import Any

import numpy as np
import tensorflow as tf

from nllfit.families.copies import real_dtype

__all__ = ["root_of"]

_ROUNDING = 1e4  # the accepted relative error of the CDF at TFP's quantile, in units of the dtype's precision


def root_of(law: Any, levels: Any, rests: Any = None) -> tf.Tensor:
    """Implements `Law.quantile`: returns the least number at which the CDF reaches each level."""
    tails, distribution = law.cdf(), law.distribution
    dtype = real_dtype(distribution)
    levels = tf.convert_to_tensor(levels, tf.float64)
    # Above level 0.5 we compare the survival function with `1 - level`, because a smaller number has a smaller rounding
    # error.
    is_lower, level, rest = (
        levels <= 0.5,
        tf.cast(levels, dtype),
        tf.cast(1 - levels if rests is None else rests, dtype),
    )
    zeros = tf.zeros(tf.broadcast_dynamic_shape(tf.shape(levels), distribution.batch_shape_tensor()), dtype)

    def excess(y):
        """Returns a number that increases with `y`. It is at least 0 where the CDF has reached the level."""
        below, above = tails(y)
        return tf.where(is_lower, below - level, rest - above)

    if not tf.executing_eagerly():  # so that a graph contains the CDF only once
        excess = tf.function(excess, autograph=False)

    def root():
        noise = 4 * np.finfo(dtype.as_numpy_dtype).eps * tf.where(is_lower, level, rest)
        return _root(excess, zeros, noise, law.is_discrete)

    try:
        tfp_quantile = distribution.quantile(level) + zeros
    except NotImplementedError:
        return root()
    # Some of TFP's quantiles are series or searches that do not always converge. Others lose digits at small levels.
    tolerance = _ROUNDING * np.finfo(dtype.as_numpy_dtype).eps
    is_accurate = tf.abs(excess(tfp_quantile)) <= tolerance * tf.where(is_lower, level, rest)
    return tf.cond(
        tf.reduce_all(is_accurate), lambda: tfp_quantile, lambda: tf.where(is_accurate, tfp_quantile, root())
    )


def _root(excess, zeros, noise, is_discrete):
    """Finds the least numbers at which a rising function is at least 0. It uses Chandrupatla's method.

    All numbers of the dtype are indexed in increasing order, and the search divides intervals of indices. An index is
    computed from the bit pattern of the number. So the number of iterations hardly depends on the scale of the root,
    and the first bracket can reach from 0 to the largest number.

    If `is_discrete` is True, the function is a step function with steps at whole numbers, and the search evaluates it
    only at whole numbers. `noise` is the rounding error of the function.
    """
    dtype = zeros.dtype
    integer = tf.int64 if dtype == tf.float64 else tf.int32
    normal = tf.bitcast(tf.constant(dtype.as_numpy_dtype(np.finfo(dtype.as_numpy_dtype).tiny)), integer)
    least_normal = tf.cast(normal, tf.int64) - 1  # TensorFlow treats smaller numbers as 0

    def number_at(index):
        magnitude = tf.bitcast(tf.cast(tf.abs(index) + least_normal, integer), dtype)
        return tf.where(index == 0, tf.zeros([], dtype), tf.where(index < 0, -magnitude, magnitude))

    def index_of(y):
        magnitude = tf.cast(tf.bitcast(tf.abs(y), integer), tf.int64)
        magnitude = tf.maximum(magnitude - least_normal, 0)
        return tf.where(y < 0, -magnitude, magnitude)

    def distance(a, b):
        return tf.cast(a - b, tf.float64)  # `a` and `b` have the same sign or are 0, so nothing overflows

    def step(fraction, x1, x2, f1, f2):
        """Takes a step from the newest point `x1` towards `x2`. The root is between `x1` and `x2`."""
        y = number_at(x1 + tf.cast(fraction * distance(x2, x1), tf.int64))
        y = tf.math.floor(y) if is_discrete else y
        f = tf.cast(excess(y), tf.float64)
        f = tf.where(tf.math.is_nan(f), tf.cast(tf.sign(y), tf.float64), f)  # a CDF may overflow to NaN
        x = index_of(y) if not is_discrete else tf.where(f < 0, index_of(y + 1) - 1, index_of(y))
        same_sign = (f >= 0) == (f1 >= 0)
        x3, f3 = tf.where(same_sign, x1, x2), tf.where(same_sign, f1, f2)
        x2, f2 = tf.where(same_sign, x2, x1), tf.where(same_sign, f2, f1)
        x_ratio, f_ratio = distance(x, x2) / distance(x3, x2), (f - f2) / (f3 - f2)
        use_parabola = (f_ratio**2 < x_ratio) & ((1 - f_ratio) ** 2 < 1 - x_ratio)
        parabola = f / (f2 - f) * f3 / (f2 - f3)
        parabola += distance(x3, x) / distance(x2, x) * f / (f3 - f) * f2 / (f3 - f2)
        least_fraction = same_end_distance / tf.maximum(tf.abs(distance(x2, x)), 2.0 * same_end_distance)
        fraction = tf.where(use_parabola, tf.clip_by_value(parabola, least_fraction, 1 - least_fraction), 0.5)
        return fraction, x, x2, f, f2

    def unfinished(fraction, x1, x2, f1, f2):
        """Whether the ends of a bracket still differ.

        Ends that are close together count as equal if the function at one of them is within `noise` of 0.
        """
        is_close = (tf.minimum(tf.abs(f1), tf.abs(f2)) <= noise) & (tf.abs(x1 - x2) <= same_end_distance)
        return tf.reduce_any((tf.abs(x1 - x2) > 1) & ~is_close)

    noise = tf.cast(noise, tf.float64)
    same_end_distance = 1 if is_discrete else 2 ** (np.finfo(dtype.as_numpy_dtype).nmant // 2)
    at_zero = tf.cast(excess(zeros), tf.float64)
    far = tf.where(at_zero < 0, zeros + dtype.max, zeros + dtype.min)
    state = tf.ones_like(at_zero) / 2, index_of(zeros), index_of(far), at_zero, tf.sign(tf.cast(far, tf.float64))
    _, x1, x2, f1, f2 = tf.while_loop(unfinished, step, state, maximum_iterations=100)
    # The result is the end of the bracket at which the function is at least 0. There is one exception: if the
    # distribution is continuous, and the function is within `noise` of 0 only at the other end, the result is that end.
    reached = f1 >= 0
    other_end_is_root = (tf.abs(tf.where(reached, f2, f1)) <= noise) & (tf.abs(tf.where(reached, f1, f2)) > noise)
    root = number_at(tf.where(reached ^ (other_end_is_root & (not is_discrete)), x1, x2))
    return tf.where(tf.math.is_nan(excess(root)), tf.constant(np.nan, dtype), root)
