"""Metrics that compare an outcome with a predicted distribution, for Keras 3 models.

`nllfit.metrics` defines the same metrics for tf_keras.
"""

import functools
from typing import Any

import keras

from nllfit import shared_metrics
from nllfit.adapters.keras3 import set_minimized
from nllfit.keras3.losses import scored
from nllfit.outcome_losses import counted
from nllfit.shared_classes import completed

__all__ = ["CRPS", "NegativeLogLikelihood"]


class _MeanScore(keras.metrics.Mean):
    def __init__(self, name: str, dtype: Any):
        super().__init__(name, dtype)
        set_minimized(self)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        outcomes, weights = counted(y_true, y_pred, sample_weight)
        return super().update_state(scored(self.score, outcomes, y_pred), weights)


_metric = functools.partial(completed, keras=keras, module=__name__, package="nllfit.metrics")
NegativeLogLikelihood = _metric(shared_metrics.NegativeLogLikelihood, _MeanScore)
CRPS = _metric(shared_metrics.CRPS, _MeanScore)
