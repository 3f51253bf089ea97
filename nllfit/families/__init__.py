"""Families: from unconstrained numbers to a distribution, and laws: what can be asked of a distribution.

A family (`parametric_family`) is a tuple of `parameters` and a method that builds a distribution of their values;
`family`, `mixture` and others are its kinds. `law.law_of` answers questions about a distribution; `structures`,
`windows`, `inflated_distribution` and `observed` hold the laws of distributions that are made of others. `laws` holds a
row of facts for each family of TFP. `head_base` and `catalogue` have the code of heads that both Keras versions share.
"""

from nllfit.families import laws, structures  # noqa: F401  # they register their laws with `law_of`
from nllfit.families.by_mean import ByMean
from nllfit.families.censored import Censored, interval_censored, left_censored, right_censored
from nllfit.families.family import Family
from nllfit.families.inflated import Hurdle, ZeroInflated
from nllfit.families.mixture import MixtureFamily
from nllfit.families.truncated import Truncated

__all__ = [
    "ByMean",
    "Censored",
    "Family",
    "Hurdle",
    "MixtureFamily",
    "Truncated",
    "ZeroInflated",
    "interval_censored",
    "left_censored",
    "right_censored",
]
