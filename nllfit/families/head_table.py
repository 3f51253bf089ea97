"""The list of the classes of all heads. The classes do not depend on the Keras version.

`nllfit.heads` and `nllfit.keras3.heads` make a layer from each class. To add a head, add its class to this list, and a
line to each of the two stub files `heads.pyi`, which editors and type checkers read.
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
