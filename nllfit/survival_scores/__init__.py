"""Scores of predicted risks and survival probabilities where some times are censored.

A row whose time is censored before `t` says nothing of what happened by `t`. The scores weight the other rows by
`1 / G`, where `G` is Kaplan and Meier's probability of not being censored by then, so that on average nothing is lost.
`G` is that of `train`, the times and events of the rows that were fitted; by default that of the rows that are scored.
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
