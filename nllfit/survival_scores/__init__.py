"""Scores of predicted risks and survival probabilities for right-censored times.

If a row is censored before a time `t`, it is not known whether its event happened by `t`. The Brier score, the AUC and
Uno's concordance therefore use inverse probability of censoring weights, `1 / G`. `G(t)` is the Kaplan-Meier estimate
of the probability that a row is still uncensored at time `t`. `G` is estimated from the times and events in the
argument `train`, by default from the scored rows.
"""

from nllfit.survival_scores.accuracy import CalibrationAtTime, brier_score, calibration_at, integrated_brier_score
from nllfit.survival_scores.discrimination import auc, concordance
from nllfit.survival_scores.nonparametric_curves import SurvivalCurve, cumulative_incidence, kaplan_meier

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
