"""Families: from unconstrained numbers to a distribution."""

from nllfit.families.family import Family
from nllfit.families.mixture import MixtureFamily

__all__ = ["Family", "MixtureFamily"]
