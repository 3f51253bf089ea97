"""Losses that compare an outcome with a predicted distribution, for tf_keras models."""

import functools
from typing import Any

import tensorflow as tf
import tf_keras
from tensorflow_probability import distributions as tfd

from nllfit import shared_losses
from nllfit.adapters.tensorflow import mask_of
from nllfit.families.outcome_shapes import as_outcomes
from nllfit.head_outputs import as_distribution, no_distribution
from nllfit.outcome_losses import counted
from nllfit.shared_classes import completed

__all__ = ["CRPS", "BetaNLL", "DistributionLoss", "NegativeLogLikelihood", "negative_log_likelihood"]

_ABSENT = object()
_REDUCTIONS = tf_keras.losses.Reduction


class DistributionLoss(tf_keras.losses.Loss):
    """The base class of tf_keras losses that are functions of an outcome and its predicted distribution.

    A subclass defines `score(y_true, distribution)`, which returns the loss of each outcome, `[*batch]`. Before `score`
    is called, masked outcomes and outcomes of weight 0 are replaced by outcomes in the support.
    """

    takes_padding = True  # outcomes that are masked or have weight 0 may be outside the support

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> tf.Tensor:
        distribution, mask = _tf_keras_distribution(y_pred), mask_of(y_pred)
        outcomes, weights = counted(y_true, y_pred, sample_weight)
        is_mean = self.reduction in (_REDUCTIONS.AUTO, _REDUCTIONS.SUM_OVER_BATCH_SIZE)
        if is_mean and mask is not None and weights is not None:
            # If all outcomes are masked, Keras's mean over the unmasked outcomes is NaN. So Keras gets no mask. Instead
            # we scale the weights, so that the mean over all outcomes equals the mean over the unmasked outcomes.
            valid = tf.cast(mask, weights.dtype)
            weights = weights * tf.math.divide_no_nan(tf.cast(tf.size(mask), weights.dtype), tf.reduce_sum(valid))
        return super().__call__(outcomes, distribution, weights)

    def call(self, y_true: Any, y_pred: Any) -> tf.Tensor:
        return self.score(y_true, _tf_keras_distribution(y_pred))

    def score(self, y_true: Any, distribution: tfd.Distribution) -> tf.Tensor:
        raise NotImplementedError(f"{type(self).__name__} has no `score`.")


def _tf_keras_distribution(y_pred):
    # Even a tensor with a distribution is refused. It is the output of a Keras 3 head, and only the losses of
    # `nllfit.keras3` handle its mask.
    if tf.is_tensor(y_pred):
        raise no_distribution(y_pred)
    return as_distribution(y_pred)


class _OfEachOutcome:
    """A mix-in: a call `loss(y_true, y_pred)` without `sample_weight` returns the loss of each outcome, `[*batch]`."""

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = _ABSENT) -> tf.Tensor:
        if sample_weight is not _ABSENT:
            return super().__call__(y_true, y_pred, sample_weight)  # type: ignore[misc]  # the next base is a loss
        # `counted` reshapes outcomes `[n]` to `[n, 1]`, as Keras does in training. A direct call refuses them.
        outcomes, weights = counted(as_outcomes(y_true, _tf_keras_distribution(y_pred)), y_pred)
        losses = self.call(outcomes, y_pred)  # type: ignore[attr-defined]
        return losses if weights is None else tf.where(weights != 0, losses, tf.zeros_like(losses))


_loss = functools.partial(completed, keras=tf_keras, module=__name__, package="nllfit.losses")
NegativeLogLikelihood = _loss(shared_losses.NegativeLogLikelihood, _OfEachOutcome, DistributionLoss)
CRPS = _loss(shared_losses.CRPS, DistributionLoss)
BetaNLL = _loss(shared_losses.BetaNLL, DistributionLoss)

negative_log_likelihood: Any = NegativeLogLikelihood()
# Files that earlier versions saved refer to a function of this name.
tf_keras.saving.register_keras_serializable("nllfit", "negative_log_likelihood")(negative_log_likelihood)
