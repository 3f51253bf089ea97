"""The CRPS and the energy score, which compare an outcome with its predicted distribution."""

from nllfit.scores.ranked_probability import crps

__all__ = ["crps"]
