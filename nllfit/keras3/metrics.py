"""Metrics that see the distribution, for Keras 3 models."""

from typing import Any

import keras

from nllfit.adapters.keras3 import set_minimized
from nllfit.keras3 import losses
from nllfit.losses import counted

__all__ = ["CRPS", "NegativeLogLikelihood"]


class _MeanScore(keras.metrics.MeanMetricWrapper):
    def __init__(self, loss: losses.DistributionLoss, name: str, dtype: Any):
        super().__init__(loss.call, name, dtype)
        set_minimized(self)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        outcomes, weights = counted(y_true, y_pred, sample_weight)
        return super().update_state(outcomes, y_pred, weights)

    def get_config(self) -> dict[str, Any]:
        return keras.metrics.Metric.get_config(self)


@keras.saving.register_keras_serializable(package="nllfit.metrics")
class NegativeLogLikelihood(_MeanScore):
    """The mean negative log-likelihood of the outcomes seen so far, in nats, weighted by `sample_weight`.

    It stands beside any of Keras's own metrics, which see the prediction.

    Example:
      >>> from nllfit import keras3
      >>> model = keras.Sequential([keras.layers.Dense(2), keras3.heads.Normal()])
      >>> model.compile("adam", keras3.NegativeLogLikelihood(), metrics=[keras3.metrics.NegativeLogLikelihood(), "mae"])
    """

    def __init__(self, name: str = "nll", dtype: Any = None):
        super().__init__(losses.NegativeLogLikelihood(), name, dtype)


@keras.saving.register_keras_serializable(package="nllfit.metrics")
class CRPS(_MeanScore):
    """The mean `nllfit.crps` of the outcomes seen so far, in their unit, weighted by `sample_weight`.

    Example:
      >>> from nllfit import keras3
      >>> model = keras.Sequential([keras.layers.Dense(2), keras3.heads.Normal()])
      >>> model.compile("adam", keras3.NegativeLogLikelihood(), metrics=[keras3.metrics.CRPS()])
    """

    def __init__(self, name: str = "crps", dtype: Any = None):
        super().__init__(losses.CRPS(), name, dtype)
