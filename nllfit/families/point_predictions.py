"""Point predictions. Keras's `predict` returns them instead of a head's distribution."""

from typing import Any

import tensorflow as tf

__all__ = ["central_value"]


def central_value(law: Any) -> tf.Tensor:
    """Returns the mean of the distribution of a `Law`. For class labels, it returns the probabilities of the classes.

    If the mean is undefined or infinite (a `StudentT` with `df <= 1`, a `Cauchy`), the result is `Facts.center` of the
    family. By default, this is the median, or the mode if TFP has no median. The result is never a sample. For a
    mixture, it is the weighted mean of the predictions of the components; for angles, the mean direction.

    Returns:
      A tensor `[*batch, *event]`, or `[*batch, *event, num_classes]` for class labels. If an outcome contains
      the ends of an interval or a window, the result predicts only the number before
      censoring or truncation, and not the ends.

    Raises:
      NotImplementedError: if TFP has no mean, median or mode of the family.
    """
    if law.has_class_labels:
        return law.center()
    try:
        mean = law.mean()
    except NotImplementedError:
        return _broadcast_to_rows(law, law.center())
    if mean.dtype.is_integer:
        return mean
    return _broadcast_to_rows(law, mean if law.has_finite_mean else _with_fallback(law, mean))


def _broadcast_to_rows(law, value):
    """Broadcasts values to `[*batch, *event]`. A mean that depends only on a shared parameter lacks the batch axes."""
    d = law.distribution
    if value.shape == d.batch_shape + d.event_shape:  # the usual case, without further operations
        return value
    value = tf.broadcast_to(value, tf.concat([d.batch_shape_tensor(), d.event_shape_tensor()], 0))
    value.set_shape(d.batch_shape + d.event_shape)  # some means lose their static shape
    return value


def _with_fallback(law, mean):
    """Returns the mean where it is finite, and `law.center()` elsewhere."""
    is_finite = tf.math.is_finite(mean)
    if tf.executing_eagerly() and tf.reduce_all(is_finite):
        return mean  # avoids the copy that `law.constant()` makes
    # Inside a `tf.cond`, TFP's quantiles have no gradient, and TensorFlow raises an error if a gradient is needed. So
    # the inputs and the output of the branch `elsewhere` are constants.
    constant_law, constant_mean = law.constant(), tf.stop_gradient(mean)

    def elsewhere():
        try:
            value = tf.cast(constant_law.center(), mean.dtype)
        except NotImplementedError:
            return constant_mean
        return tf.where(tf.math.is_nan(value), constant_mean, value)  # the center may overflow, too

    # A median can be costly, so it is computed only if a mean is not finite.
    fallback = tf.cond(tf.reduce_all(is_finite), lambda: constant_mean, elsewhere)
    return tf.where(is_finite, mean, tf.stop_gradient(fallback))
