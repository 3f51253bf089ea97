"""Sums over the tails of any distribution of counts."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

__all__ = ["likely_counts", "sums_between", "tail_sums"]

_LEVELS = np.array([1e-12, 1 - 1e-12])
_NUM = 512


def tail_sums(
    law: Any, count: tf.Tensor, function: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns two sums: of `f(F(k), count - k)` over `k < count`, and of `f(1 - F(k), k - count)` over `k > count`.

    `F` is the CDF. If at most 512 counts on a side are likely, all of them are summed. If there are more, only every
    second, third, ... count is summed, and the sum is corrected at the ends. Then the relative error is about 1e-8 if
    the probabilities change slowly from count to count, as for a Poisson with a large rate. The error is larger for
    heavy tails, such as those of a `Zipf`.

    Args:
      law: the `Law` of a scalar distribution of counts, with the batch shape `[*batch]`.
      count: `[*batch]`, whole numbers in float64.
      function: the function `f` of a probability and a distance. It must be 0 if the probability is 0.
    """
    return sums_between(law, count, function, *likely_counts(law))


def sums_between(
    law: Any, count: tf.Tensor, function: Callable[[tf.Tensor, tf.Tensor], tf.Tensor], low: tf.Tensor, high: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the two sums of `tail_sums`, without the counts below `low` and above `high`."""
    tails = law.cdf()
    below = _sum(lambda k: function(tails(k)[0], count - k), count - 1, low, -1.0)
    return below, _sum(lambda k: function(tails(k)[1], k - count), count + 1, high, 1.0)


def likely_counts(law: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns two counts `[*batch]`. The probability that a count is not between them is at most 2e-12."""
    levels = tf.constant(_LEVELS.reshape([-1, *[1] * law.distribution.batch_shape.rank]))
    low, high = tf.unstack(law.constant().quantile(levels), num=2)
    return low, high


def _sum(function, start, end, direction):
    """Returns `function(start) + function(start + direction) + function(start + 2 direction) + ...`.

    Terms beyond `end` are negligible. If there are many terms before `end`, only some of them are computed, and the sum
    follows from the Euler-Maclaurin formula.
    """
    stride = tf.maximum(tf.math.ceil((end - start) * direction / _NUM), 1.0)
    steps = tf.constant(np.arange(_NUM + 1.0).reshape([-1, *[1] * start.shape.rank]), start.dtype)
    values = function(start + direction * stride * steps)
    first, second, third = values[0], function(start + direction), function(start + 2 * direction)
    slope = (4 * second - third - 3 * first) / 2
    trapezoids = stride * (tf.reduce_sum(values, 0) - (values[0] + values[-1]) / 2)
    return trapezoids + (first + values[-1]) / 2 + (tf.square(stride) - 1) / 12 * slope
