"""CDFs of numbers that are some others: those within a window, and those beside a point at 0."""

from collections.abc import Callable

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.families.cdfs import cdf_and_survival
from nllfit.families.intervals import log_interval

__all__ = ["Both", "beside_zero", "within_ends"]

Both = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
"""What `cdf_and_survival` returns."""

_NARROW = 1e-3  # of a tail, below which the difference of two tails loses digits


def within_ends(distribution: tfd.Distribution, low: tf.Tensor, high: tf.Tensor) -> Both:
    """That of a scalar distribution given that it lies between `low` and `high`, either of which may be infinite."""
    whole = cdf_and_survival(distribution)
    start, end = whole(low), whole(high)

    def share(first, last):
        """By the smaller tail, in which nothing cancels unless an interval is narrow."""
        return tf.where(last[0] <= first[1], last[0] - first[0], first[1] - last[1])

    def by_tails(y):
        at = whole(tf.clip_by_value(y, low, high))
        return share(start, at) / window, share(at, end) / window

    def by_logarithms(y):
        y, zeros = tf.clip_by_value(y, low, high), tf.zeros_like(y)
        both = tf.stack([low + zeros, y]), tf.stack([y, high + zeros])
        log_probability = log_interval(distribution)
        return tuple(tf.unstack(tf.exp(log_probability(*both) - log_probability(low, high))))

    window = share(start, end)
    # A window that is narrow, or far out, has no digits in a CDF.
    known = tf.reduce_all(window > _NARROW * tf.minimum(end[0], start[1]))
    return lambda y: tf.cond(known, lambda: by_tails(y), lambda: by_logarithms(y))


def beside_zero(distribution: tfd.Distribution, logits: tf.Tensor) -> Both:
    """That of 0 with the probability `sigmoid(logits)`, else an outcome of a scalar distribution."""
    own, share, rest = cdf_and_survival(distribution), tf.sigmoid(logits), tf.sigmoid(-logits)

    def both(y):
        zero = tf.cast(y >= 0, y.dtype)
        return tuple(rest * part + share * point for part, point in zip(own(y), (zero, 1 - zero), strict=True))

    return both
