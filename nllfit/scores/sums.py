"""CRPS of any count by its CDF: a sum over counts."""

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.families.cdfs import cdf_and_survival
from nllfit.families.inversion import inverse_cdf
from nllfit.families.marginals import constant

__all__ = ["crps_by_sum"]

_LEVELS = np.array([1e-12, 1 - 1e-12])
_NUM = 512


def crps_by_sum(distribution: tfd.Distribution, y: tf.Tensor) -> tf.Tensor:
    """`sum of F(k)^2 below y, and of (1 - F(k))^2 from y on`, of a scalar distribution of counts, or a mixture of such.

    All counts are summed where there are up to 512 on a side of the outcome that have a probability; of more, every
    second, third, ... with a correction for the ends, to a relative error of about 1e-8 where probabilities vary as
    smoothly as they do in a sum of many independent events, and not in a tail like a `Zipf`'s.

    Args:
      distribution: of batch `[*batch]`, without assertions, as `marginals` gives it.
      y: `[*batch]`, in float64.
    """
    both = cdf_and_survival(distribution)
    levels = tf.constant(_LEVELS.reshape([-1, *[1] * distribution.batch_shape.rank]))
    low, high = tf.unstack(inverse_cdf(constant(distribution), levels), num=2)
    # Farther out the score grows as the distance, and nothing is left to sum over.
    inside = tf.clip_by_value(y, tf.math.floor(low) - 1, tf.math.floor(high) + 1)
    distance, y = tf.abs(y - inside), inside
    count = tf.math.floor(y)
    step = both(count)
    within = (y - count) * tf.square(step[0]) + (count + 1 - y) * tf.square(step[1])
    below = _sum(lambda k: tf.square(both(k)[0]), count - 1, low, -1.0)
    return distance + within + below + _sum(lambda k: tf.square(both(k)[1]), count + 1, high, 1.0)


def _sum(function, start, end, towards):
    """`function(start) + function(start + towards) + ...`, as good as 0 beyond `end`, by Euler and Maclaurin."""
    stride = tf.maximum(tf.math.ceil((end - start) * towards / _NUM), 1.0)
    steps = tf.constant(np.arange(_NUM + 1.0).reshape([-1, *[1] * start.shape.rank]), start.dtype)
    values = function(start + towards * stride * steps)
    first, second, third = values[0], function(start + towards), function(start + 2 * towards)
    slope = (4 * second - third - 3 * first) / 2
    trapezoids = stride * (tf.reduce_sum(values, 0) - (values[0] + values[-1]) / 2)
    return trapezoids + (first + values[-1]) / 2 + (tf.square(stride) - 1) / 12 * slope
