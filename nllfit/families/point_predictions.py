"""Point predictions: the tensor that stands for a head's distribution."""

from typing import Any

import tensorflow as tf

__all__ = ["central_value"]


def central_value(law: Any) -> tf.Tensor:
    """The mean of a distribution, given its `Law`, or the probabilities of classes.

    If the mean is undefined or infinite (a `StudentT` with `df <= 1`, a `Cauchy`), it is the median, or the mode if TFP
    has no median. It is never a sample.

    Returns:
      A tensor `[*batch, *event]`; `[*batch, *event, num_classes]` for class labels. If an outcome is an interval or has
      a window, it is the prediction of the number itself.

    Raises:
      NotImplementedError: if TFP gives the family no mean, median or mode.
    """
    if law.has_class_labels:
        return law.center()
    try:
        mean = law.mean()
    except NotImplementedError:
        return law.center()
    if mean.dtype.is_integer:
        return mean
    value = mean if law.has_finite_mean else _with_fallback(law, mean)
    value.set_shape(law.distribution.batch_shape + law.distribution.event_shape)  # some means lose it
    return value


def _with_fallback(law, mean):
    """The mean where it is finite, and elsewhere the law's center."""
    finite = tf.math.is_finite(mean)
    if tf.executing_eagerly() and tf.reduce_all(finite):
        return mean  # without a copy of the distribution
    # TFP's quantiles have no gradient in a branch. TensorFlow would need it if a tape watched an input of the branch,
    # or a gradient reached its output.
    constant_law, constant_mean = law.constant(), tf.stop_gradient(mean)

    def elsewhere():
        try:
            value = tf.cast(constant_law.center(), mean.dtype)
        except NotImplementedError:
            return constant_mean
        return tf.where(tf.math.is_nan(value), constant_mean, value)  # both overflow the dtype

    # A median can be costly: compute it only where it is needed.
    fallback = tf.cond(tf.reduce_all(finite), lambda: constant_mean, elsewhere)
    return tf.where(finite, mean, tf.stop_gradient(fallback))
