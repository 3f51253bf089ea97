"""Losses for Keras 3 models: the functions of `nllfit.losses` on the distribution that a prediction carries."""

from typing import Any

import keras
import tensorflow as tf

from nllfit import losses

__all__ = ["NegativeLogLikelihood", "negative_log_likelihood"]


def negative_log_likelihood(y_true: Any, y_pred: Any) -> tf.Tensor:
    """`nllfit.negative_log_likelihood` of a Keras 3 head's output `[B, *event]`: `[B]` in nats, without reduction.

    Raises:
      TypeError: if `y_pred` carries no distribution.
    """
    if not (tf.is_tensor(y_pred) and hasattr(y_pred, "distribution")):
        if _is_rehearsal():
            return tf.zeros(tf.shape(y_pred)[:1])
        raise TypeError(
            f"`y_pred` is a {type(y_pred).__name__} without a distribution: end the model in a head of "
            f"`nllfit.keras3`, such as `keras3.heads.Normal(1)`, and apply nothing after it."
        )
    return losses.log_loss(y_true, y_pred.distribution)


def _is_rehearsal():
    """Whether Keras, as before it trains on several devices, only tries shapes, on blanks in place of predictions."""
    with keras.SymbolicScope() as scope:
        return scope.original_scope is not None


@keras.saving.register_keras_serializable(package="nllfit.losses")  # the metric has the same name
class NegativeLogLikelihood(keras.losses.Loss):
    """The negative log-likelihood of each outcome, `-log_prob(y_true)`, for any Keras 3 head.

    It is `nllfit.negative_log_likelihood`, which never broadcasts, under Keras's own masks, weights and reduction: by
    default the mean over the batch, and over the steps that are not masked; a weight of a row is that of all its steps.
    What is masked or has a weight of 0 may be anything: padding need not be an outcome. It is computed in the dtype of
    the head.

    Args:
      reduction: as Keras's losses have it; None gives `[B]`, a sum over the event, in nats.
      name: name of the loss.

    Raises:
      TypeError, ValueError: as `nllfit.negative_log_likelihood`. Keras 3 compiles with XLA where it can, and XLA does
        not check outcomes against the support: `compile(jit_compile=False)` does.

    Example:
      >>> from nllfit import keras3
      >>> head = keras3.heads.Normal(scale=1.0)
      >>> keras3.NegativeLogLikelihood(reduction=None)([[1.0]], head(tf.constant([[0.0]]))).numpy()  # 1/2 + log(2 pi)/2
      array([1.4189385], dtype=float32)

    Source: Fisher, On the mathematical foundations of theoretical statistics, 1922.
    """

    # In place of Keras's `floatx`, to which it would cast the prediction before `call`: a copy has no distribution.
    dtype = None
    takes_padding = True

    def __init__(self, reduction: str | None = "sum_over_batch_size", name: str = "negative_log_likelihood"):
        super().__init__(name, reduction)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> tf.Tensor:
        outcomes, weights = losses.counted(y_true, y_pred, sample_weight)
        return super().__call__(outcomes, y_pred, weights)

    def call(self, y_true: Any, y_pred: Any) -> tf.Tensor:
        return negative_log_likelihood(y_true, y_pred)
