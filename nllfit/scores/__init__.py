"""Proper scores, other than the log-likelihood, of an outcome under its predicted distribution."""

from nllfit.scores.crps_of_outcomes import crps

__all__ = ["crps"]
