"""Losses that compare an outcome with a predicted distribution, for Keras 3 models.

`nllfit.losses` defines the same losses for tf_keras.
"""

import functools
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit import shared_losses
from nllfit.adapters.keras3 import infers_shapes
from nllfit.head_outputs import kind_of
from nllfit.outcome_losses import counted
from nllfit.shared_classes import completed

__all__ = ["CRPS", "BetaNLL", "DistributionLoss", "NegativeLogLikelihood"]


class DistributionLoss(keras.losses.Loss):
    """The base class of Keras 3 losses that are functions of an outcome and its predicted distribution.

    A subclass defines `score(y_true, distribution)`, which returns the loss of each outcome, `[*batch]`. Before `score`
    is called, masked outcomes and outcomes of weight 0 are replaced by outcomes in the support.
    `reduction="auto"` means Keras's "sum_over_batch_size".
    """

    # Keras would cast predictions to the dtype of a loss. The result of a cast has no attribute `distribution`.
    dtype = None
    takes_padding = True  # masked outcomes and outcomes of weight 0 may be outside the support

    def __init__(self, name: str | None = None, reduction: str | None = "auto", dtype: Any = None):
        super().__init__(name, "sum_over_batch_size" if reduction == "auto" else reduction, dtype)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> tf.Tensor:
        outcomes, weights = counted(y_true, y_pred, sample_weight)
        return super().__call__(outcomes, y_pred, weights)

    def call(self, y_true: Any, y_pred: Any) -> tf.Tensor:
        return scored(self.score, y_true, y_pred)

    def score(self, y_true: Any, distribution: tfd.Distribution) -> tf.Tensor:
        raise NotImplementedError(f"{type(self).__name__} has no `score`.")


def scored(score: Any, y_true: Any, y_pred: Any) -> tf.Tensor:
    """Returns `score(y_true, y_pred.distribution)`.

    Raises a `TypeError` if `y_pred` has no distribution. But while Keras only infers shapes, `y_pred` never has a
    distribution. The result is then zeros.
    """
    if tf.is_tensor(y_pred) and hasattr(y_pred, "distribution"):
        return score(y_true, y_pred.distribution)
    if infers_shapes():
        return tf.zeros(tf.shape(y_pred)[:1])
    raise TypeError(
        f"`y_pred` is {kind_of(y_pred)}, without a distribution: end the model in a head of "
        f"`nllfit.keras3`, such as `keras3.heads.Normal(1)`, and apply nothing after it."
    )


_loss = functools.partial(completed, keras=keras, module=__name__, package="nllfit.losses")
NegativeLogLikelihood = _loss(shared_losses.NegativeLogLikelihood, DistributionLoss)
CRPS = _loss(shared_losses.CRPS, DistributionLoss)
BetaNLL = _loss(shared_losses.BetaNLL, DistributionLoss)
