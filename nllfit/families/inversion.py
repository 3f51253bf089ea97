"""Quantiles of scalar distributions: TFP's where its own CDF confirms them, else the CDF inverted."""

from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.families.cdfs import cdf_and_survival
from nllfit.families.marginals import constant, marginals, real_dtype
from nllfit.families.support import is_discrete

__all__ = ["drawn", "inverse_cdf"]


def inverse_cdf(distribution: tfd.Distribution, levels: Any, rests: Any = None) -> tf.Tensor:
    """The least numbers at which a scalar distribution of batch `[*batch]` reaches the probabilities `levels`.

    Args:
      distribution: a scalar one, without assertions, as `marginals` gives it.
      levels: in float64, of a shape that broadcasts with the batch, such as `[num, 1, 1]`.
      rests: `1 - levels`, where they are known to more digits.

    Returns:
      Of the shape that the two have together.
    """
    both, dtype = cdf_and_survival(distribution), real_dtype(distribution)
    levels = tf.convert_to_tensor(levels, tf.float64)
    # The smaller of the two probabilities has digits that the larger has lost.
    lower, level, rest = levels <= 0.5, tf.cast(levels, dtype), tf.cast(1 - levels if rests is None else rests, dtype)
    zeros = tf.zeros(tf.broadcast_dynamic_shape(tf.shape(levels), distribution.batch_shape_tensor()), dtype)

    def excess(y):
        """It rises with `y`, and is not negative any more where the level is reached."""
        below, above = both(y)
        return tf.where(lower, below - level, rest - above)

    def root():
        return _root(excess, zeros, is_discrete(distribution))

    try:
        formula = distribution.quantile(level) + zeros
    except NotImplementedError:
        return root()
    # Some of TFP's are series or searches, which do not always arrive.
    near = tf.reduce_all(tf.abs(excess(formula)) <= 1e-3 * tf.where(lower, level, rest))
    return tf.cond(near, lambda: formula, root)


def drawn(distribution: tfd.Distribution, n: Any, seed: Any) -> tf.Tensor:
    """Draws `[n, *batch]` of a scalar distribution: TFP's, or those by its CDF where a class has no other."""
    try:
        return distribution.sample(n, seed=seed)
    except NotImplementedError:
        shape = tf.concat([[n], distribution.batch_shape_tensor()], 0)
        levels = tfd.Uniform(tf.constant(0.0, tf.float64), 1.0).sample(shape, seed=seed)
        return tf.cast(inverse_cdf(marginals(constant(distribution)), levels), distribution.dtype)


def _root(excess, zeros, counts):
    """The least numbers at which a rising function is not negative, by Chandrupatla's method.

    It searches over the numbers of a dtype in their order, which is that of their bits: every scale is as near as
    another, no bracket is to be found, and an end is an end. A staircase, with steps at `counts`, is only halved.
    """
    dtype = zeros.dtype
    integer = tf.int64 if dtype == tf.float64 else tf.int32

    def number(index):
        size = tf.bitcast(tf.cast(tf.abs(index), integer), dtype)
        return tf.where(index < 0, -size, size)

    def index_of(y):
        size = tf.cast(tf.bitcast(tf.abs(y), integer), tf.int64)
        return tf.where(y < 0, -size, size)

    def distance(a, b):
        return tf.cast(a - b, tf.float64)  # of one sign or 0, so that nothing overflows

    def step(share, x1, x2, f1, f2):
        """One step from the newest point `x1` towards the end `x2` on the other side of the root."""
        y = number(x1 + tf.cast(share * distance(x2, x1), tf.int64))
        y = tf.math.floor(y) if counts else y
        value = tf.cast(excess(y), tf.float64)
        value = tf.where(tf.math.is_nan(value), tf.cast(tf.sign(y), tf.float64), value)  # a formula overflows, far out
        x = index_of(y) if not counts else tf.where(value < 0, index_of(y + 1) - 1, index_of(y))
        same = (value >= 0) == (f1 >= 0)
        x3, f3 = tf.where(same, x1, x2), tf.where(same, f1, f2)
        x2, f2 = tf.where(same, x2, x1), tf.where(same, f2, f1)
        place, height = distance(x, x2) / distance(x3, x2), (value - f2) / (f3 - f2)
        smooth = (height**2 < place) & ((1 - height) ** 2 < 1 - place)
        parabola = value / (f2 - value) * f3 / (f2 - f3)
        parabola += distance(x3, x) / distance(x2, x) * value / (f3 - value) * f2 / (f3 - f2)
        least = 1 / tf.maximum(tf.abs(distance(x2, x)), 2.0)
        share = tf.where(smooth, tf.clip_by_value(parabola, least, 1 - least), 0.5)
        return share, x, x2, value, f2

    def unfinished(share, x1, x2, f1, f2):
        return tf.reduce_any(tf.abs(x1 - x2) > 1)

    at_zero = tf.cast(excess(zeros), tf.float64)
    far = tf.where(at_zero < 0, zeros + dtype.max, zeros + dtype.min)
    state = tf.ones_like(at_zero) / 2, index_of(zeros), index_of(far), at_zero, tf.sign(tf.cast(far, tf.float64))
    _, x1, x2, f1, _ = tf.while_loop(unfinished, step, state, maximum_iterations=100)
    root = number(tf.where(f1 >= 0, x1, x2))
    return tf.where(tf.math.is_nan(excess(root)), tf.constant(np.nan, dtype), root)
