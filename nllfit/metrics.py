"""Metrics that compare an outcome with a predicted distribution, for tf_keras models."""

import functools
from typing import Any

import tensorflow as tf
import tf_keras

from nllfit import shared_metrics
from nllfit.head_outputs import as_distribution
from nllfit.outcome_losses import counted
from nllfit.shared_classes import completed

__all__ = ["CRPS", "NegativeLogLikelihood"]


class _MeanScore(tf_keras.metrics.Mean):
    @tf.autograph.experimental.do_not_convert  # AutoGraph would take long to convert the functions called here
    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        distribution = as_distribution(y_pred)
        outcomes, weights = counted(y_true, y_pred, sample_weight)
        return super().update_state(self.score(outcomes, distribution), weights)


_metric = functools.partial(completed, keras=tf_keras, module=__name__, package="nllfit.metrics")
# The package is "nllfit", because files that version 0.1 saved refer to `NegativeLogLikelihood` by this package name.
NegativeLogLikelihood = _metric(shared_metrics.NegativeLogLikelihood, _MeanScore, package="nllfit")
CRPS = _metric(shared_metrics.CRPS, _MeanScore)
