"""The heads of both Keras versions: a table of mix-ins, each with docstring, arguments and family.

`nllfit.heads` and `nllfit.keras3.heads` put each mix-in before a layer of their Keras. A new head needs a line here and
one in each of the two stubs `heads.pyi`, which editors and type checkers read.
"""

from nllfit.families import catalogue, compound, function_family, head_base

__all__ = ["HEADS"]

HEADS: tuple[type[head_base.Head], ...] = (
    catalogue.Bernoulli,
    catalogue.Beta,
    catalogue.Categorical,
    compound.Censored,
    head_base.DistributionHead,
    function_family.DistributionLambda,
    catalogue.Gamma,
    compound.Hurdle,
    catalogue.Laplace,
    catalogue.LogNormal,
    catalogue.Mixture,
    catalogue.MultivariateNormalTriL,
    catalogue.NegativeBinomial,
    catalogue.Normal,
    catalogue.OneHotCategorical,
    catalogue.Poisson,
    catalogue.StudentT,
    compound.Truncated,
    compound.ZeroInflated,
)
