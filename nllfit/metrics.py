"""Metrics that see the distribution, for tf_keras models."""

from typing import Any

import tf_keras

from nllfit.kerases import as_distribution
from nllfit.losses import counted, log_loss

__all__ = ["NegativeLogLikelihood"]


@tf_keras.saving.register_keras_serializable(package="nllfit")
class NegativeLogLikelihood(tf_keras.metrics.Mean):
    """The mean negative log-likelihood of the outcomes seen so far, in nats, weighted by `sample_weight`.

    Keras hands a metric *function* the tensor and a metric *object* what the model returned, so this one sees the
    distribution, beside any of Keras's own metrics, which see its mean.

    Example:
      >>> model.compile("adam", nllfit.negative_log_likelihood, metrics=[nllfit.metrics.NegativeLogLikelihood(), "mae"])
    """

    def __init__(self, name: str = "nll", dtype: Any = None):
        super().__init__(name, dtype)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        distribution = as_distribution(y_pred)
        outcomes, weights = counted(y_true, y_pred, sample_weight)
        return super().update_state(log_loss(outcomes, distribution), weights)
