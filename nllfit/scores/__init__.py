"""The CRPS and the energy score, which compare an outcome with its predicted distribution."""

from nllfit.scores.crps_of_outcomes import crps

__all__ = ["crps"]
