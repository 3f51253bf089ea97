"""Losses: what a distribution thinks of an outcome."""

from typing import Any

import tensorflow as tf
import tf_keras

from nllfit.families.outcomes import as_outcomes
from nllfit.families.refusal import assertion_text
from nllfit.kerases import as_distribution, no_distribution

__all__ = ["negative_log_likelihood"]


@tf_keras.saving.register_keras_serializable(package="nllfit")
def negative_log_likelihood(y_true: Any, y_pred: Any) -> tf.Tensor:
    """The negative log-likelihood of each outcome, `-y_pred.log_prob(y_true)`, for any head.

    It never broadcasts: `y_true` has the shape `[*batch, *event]` of the distribution's outcomes, or it is an error at
    trace time. (A batch `[B]` against targets `[B, 1]` would give `[B, B]`, which trains to nonsense in silence.) The
    one exception is Keras's own: class labels `[B]`, which `fit` turns into `[B, 1]`, mean the same either way.

    Args:
      y_true: outcomes, `[B, *event]`.
      y_pred: the output of a head, or any `tfd.Distribution` of batch `[B]` and event `[*event]`.

    Returns:
      `[B]` in nats, a sum over the event; Keras takes the mean over the batch. A mean over the event too, as Keras's
      own losses take it, is this number divided by the event's size.

    Raises:
      TypeError: if `y_pred` is no distribution.
      ValueError: if the shape of `y_true` is not that of the outcomes (both are named); in eager mode also if an
        outcome is not finite, is outside the support of a distribution with `validate_args`, as heads have it, or has
        no finite likelihood. In a graph the first two are a `tf.errors.InvalidArgumentError`; XLA does not check.

    Example:
      >>> head = nllfit.heads.Normal(scale=1.0)
      >>> negative_log_likelihood(tf.constant([[1.0]]), head(tf.constant([[0.0]]))).numpy()  # 1/2 + log(2 pi)/2
      array([1.4189385], dtype=float32)

    Source: Fisher, On the mathematical foundations of theoretical statistics, 1922.
    """
    if tf.is_tensor(y_pred):  # of a Keras 3 head as well, whose masks and weights its own loss knows
        raise no_distribution(y_pred)
    distribution = as_distribution(y_pred)
    outcomes = as_outcomes(y_true, distribution)
    try:
        # NaN, and the edge of an open support, pass TFP's own assertions. In a graph the likelihood is left alone, as
        # an optimizer may try parameters where it is not finite, and step back.
        checked = distribution.validate_args
        if checked and outcomes.dtype.is_floating:
            outcomes = tf.debugging.check_numerics(outcomes, "It is not finite.")
        log_prob = distribution.log_prob(outcomes)
        if checked and tf.executing_eagerly():
            log_prob = tf.debugging.check_numerics(log_prob, "Its log-likelihood is not finite.")
        return -log_prob
    except tf.errors.InvalidArgumentError as error:
        raise ValueError(
            f"`y_true` holds an outcome that {distribution.name} cannot have: {assertion_text(error)} Look for "
            f"mislabelled rows, or choose a head whose domain they are in."
        ) from None
