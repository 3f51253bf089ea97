"""Scores of predicted risks and survival probabilities for right-censored times.

If a row is censored before `t`, it is not known whether its event happened by `t`. The scores therefore use inverse
probability of censoring weights: the other rows have the weight `1 / G`, where `G` is the Kaplan-Meier estimate of the
probability of not being censored before the row's event, or before `t` if the event comes later. The argument `train`,
the times and events of the training rows, determines `G`; by default the scored rows do.
"""

from nllfit.survival_scores.accuracy import CalibrationAtTime, brier_score, calibration_at, integrated_brier_score
from nllfit.survival_scores.curves import SurvivalCurve, cumulative_incidence, kaplan_meier
from nllfit.survival_scores.discrimination import auc, concordance

__all__ = [
    "CalibrationAtTime",
    "SurvivalCurve",
    "auc",
    "brier_score",
    "calibration_at",
    "concordance",
    "cumulative_incidence",
    "integrated_brier_score",
    "kaplan_meier",
]
