"""Families: from unconstrained numbers to a distribution.

`protocol` is what the rest of `nllfit` asks of a family; `family` and `mixture` keep it, by `links` that TFP names and
`facts` that it does not know. `layer` and `catalogue` are the heads as far as they do not depend on Keras.
"""

from nllfit.families import known, structures  # noqa: F401  # which tell `law_of` of the classes they know
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
