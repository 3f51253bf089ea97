"""Metrics that see the distribution, for tf_keras models."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tf_keras

from nllfit.losses import counted, log_loss
from nllfit.outputs import as_distribution
from nllfit.scores import crps

__all__ = ["CRPS", "NegativeLogLikelihood"]


class _MeanScore(tf_keras.metrics.Mean):
    score: Callable[[Any, Any], tf.Tensor]  # `(y_true, distribution) -> [B]`, of the class

    @tf.autograph.experimental.do_not_convert  # as in a head: AutoGraph would write all that is under it anew
    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        distribution = as_distribution(y_pred)
        outcomes, weights = counted(y_true, y_pred, sample_weight)
        return super().update_state(type(self).score(outcomes, distribution), weights)


@tf_keras.saving.register_keras_serializable(package="nllfit")
class NegativeLogLikelihood(_MeanScore):
    """The mean negative log-likelihood of the outcomes seen so far, in nats, weighted by `sample_weight`.

    Keras hands a metric *function* the tensor and a metric *object* what the model returned, so this one sees the
    distribution, beside any of Keras's own metrics, which see its mean.

    Example:
      >>> model.compile("adam", nllfit.negative_log_likelihood, metrics=[nllfit.metrics.NegativeLogLikelihood(), "mae"])
    """

    score = staticmethod(log_loss)

    def __init__(self, name: str = "nll", dtype: Any = None):
        super().__init__(name, dtype)


@tf_keras.saving.register_keras_serializable(package="nllfit.metrics")
class CRPS(_MeanScore):
    """The mean `nllfit.crps` of the outcomes seen so far, in their unit, weighted by `sample_weight`.

    Example:
      >>> model.compile("adam", nllfit.negative_log_likelihood, metrics=[nllfit.metrics.CRPS()])
    """

    score = staticmethod(crps)

    def __init__(self, name: str = "crps", dtype: Any = None):
        super().__init__(name, dtype)
