"""The CRPS of any distribution of counts, as a sum over the counts."""

from typing import Any

import tensorflow as tf

from nllfit.families.tail_sums import likely_counts, sums_between

__all__ = ["crps_by_sums"]


def crps_by_sums(law: Any, y: tf.Tensor) -> tf.Tensor:
    """Returns the CRPS `[*batch]` of counts: the integral of `F^2` below `y` plus that of `(1 - F)^2` above `y`."""
    low, high = likely_counts(law)
    # Outside the likely counts, the CDF is nearly 0 or 1, so the score grows by the distance of `y` from these counts.
    inside = tf.clip_by_value(y, tf.math.floor(low) - 1, tf.math.floor(high) + 1)
    count = tf.math.floor(inside)
    below, above = law.cdf()(count)
    # The integral from `count` to `count + 1`.
    near_y = (inside - count) * tf.square(below) + (count + 1 - inside) * tf.square(above)
    return tf.abs(y - inside) + near_y + sum(sums_between(law, count, lambda p, _: tf.square(p), low, high))
