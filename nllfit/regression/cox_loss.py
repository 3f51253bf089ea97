"""Cox's partial likelihood as a loss. The network predicts the logarithm of each row's hazard ratio."""

import tensorflow as tf
import tf_keras

__all__ = ["cox_loss"]


@tf_keras.saving.register_keras_serializable(package="nllfit")
def cox_loss(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
    """Returns the negative log partial likelihood of Cox's model, divided by the number of rows, in nats.

    Ties are treated by Efron's method. The likelihood compares each row that has an event with all rows at risk, so the
    batch must contain *all* rows: train with `batch_size=len(x)`, or with `fit_lbfgs`. A constant added to all
    predictions does not change the loss, so the last layer needs no bias. `cox_regression` fits the linear case, and
    also returns a coefficient table and baseline hazards.

    The sums are computed in float64. If the predictions of all rows at risk at an event are lower than the largest
    prediction by more than about 700, their exponentials underflow. The term of this event in the loss is then 0.

    Args:
      y_true: `[n, 2]`: the time, and 1 for an event or 0 for censoring.
      y_pred: `[n, 1]`, the logarithm of the hazard ratio. A Keras 2 or Keras 3 model without a head predicts it.

    Returns:
      A scalar, so Keras's `sample_weight` cannot give single rows a weight.

    Raises:
      ValueError: if `y_true` or `y_pred` has another shape.

    Example:
      >>> y = np.array([[6.0, 1.0], [7.0, 0.0], [10.0, 1.0]])
      >>> round(float(nllfit.cox_loss(y, np.zeros([3, 1]))), 4)  # log(3) / 3: at the last event, one row is at risk
      0.3662

    Source: Katzman et al., DeepSurv: personalized treatment recommender system using a Cox proportional hazards deep
    neural network, 2018.
    """
    y_true, y_pred = tf.convert_to_tensor(y_true), tf.convert_to_tensor(y_pred)
    if not y_true.shape.is_compatible_with([None, 2]) or y_pred.shape[1:].num_elements() not in (1, None):
        raise ValueError(
            f"`y_true` has shape {y_true.shape} and `y_pred` {y_pred.shape}, but `cox_loss` takes `[n, 2]` and "
            f"`[n, 1]`: give pairs of a time and an event, and a model with one output."
        )
    u = tf.cast(tf.reshape(y_pred, [-1]), tf.float64)  # in float32, ratios below exp(-100) would underflow
    order = tf.argsort(y_true[:, 0], direction="DESCENDING", stable=True)
    # Times keep their dtype, because rounding them to the dtype of `u` could make different times equal.
    time, event, u = (
        tf.gather(y_true[:, 0], order),
        tf.cast(tf.gather(y_true[:, 1], order), u.dtype),
        tf.gather(u, order),
    )
    largest = tf.stop_gradient(tf.reduce_max(u))
    risk = tf.exp(u - largest)
    group = tf.concat([[0], tf.cumsum(tf.cast(time[1:] != time[:-1], tf.int32))], 0)
    at_risk = tf.gather(tf.cumsum(tf.math.segment_sum(risk, group)), group)
    tied, count = (tf.gather(tf.math.segment_sum(part, group), group) for part in (risk * event, event))
    events_before = tf.cumsum(event) - event
    tie_fraction = (events_before - tf.gather(tf.math.segment_min(events_before, group), group)) / tf.maximum(count, 1)
    sums = at_risk - tie_fraction * tied
    # If a sum underflows to 0, `u - largest` replaces the logarithm of the sum, so the row's term is 0. The
    # double-where keeps the gradient finite.
    is_positive = sums > 0
    log_sums = tf.where(is_positive, tf.math.log(tf.where(is_positive, sums, tf.ones_like(sums))), u - largest)
    terms = tf.where(event > 0, u - largest - log_sums, tf.zeros_like(u))
    return tf.cast(-tf.reduce_sum(terms) / tf.cast(tf.shape(u)[0], u.dtype), y_pred.dtype)
