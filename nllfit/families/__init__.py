"""Families, which map unconstrained numbers to a distribution, and laws, which compute its properties.

A *family* is a tuple of parameters and a method that builds a distribution from their values. `family_base` defines
the base class. `family`, `mixture`, `censored`, `truncated`, `inflated`, `by_mean` and `function_family` define
the kinds of families.

A *law* computes the probabilities, quantiles, scores and predictions of a distribution. The module `law` chooses the
law by the class of the distribution. `independent_and_mixture_laws`, `truncated_distribution`, `inflated_distribution`
and `observed_distribution` define the laws of distributions that are made from other distributions. `laws` lists facts
about TFP's families that TFP does not provide or gets wrong.

`head_base`, `named_heads` and `compound_heads` define heads, without the code that depends on the Keras version.
"""

# The import of these modules registers subclasses of `Law` for classes of distributions, and the `Facts` of families.
from nllfit.families import finite_discrete, independent_and_mixture_laws, laws, tfp_truncated  # noqa: F401
from nllfit.families.by_mean import ByMean
from nllfit.families.censored import Censored
from nllfit.families.censored_pairs import interval_censored, left_censored, right_censored
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
