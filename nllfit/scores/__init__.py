"""Proper scores of a predicted distribution and an outcome, other than its likelihood."""

from nllfit.scores.crps_of_outcomes import crps

__all__ = ["crps"]
