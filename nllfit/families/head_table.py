"""The list of the classes of all heads. The classes do not depend on the Keras version.

`nllfit.heads` and `nllfit.keras3.heads` make a layer from each class. To add a head, add its class to this list, and a
line to each of the two stub files `heads.pyi`, which editors and type checkers read.
"""

from tensorflow_probability import distributions as tfd

from nllfit.families import catalogue, compound, function_family, head_base

__all__ = ["HEADS", "no_head"]

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


def no_head(module: str, name: str) -> AttributeError:
    """Returns the error for a name that is not in a module of heads.

    If the name is the name of a family, the message says how to make a head of this family.
    """
    advice = f": give `DistributionHead({name!r})`" if name in dir(tfd) else ""
    return AttributeError(f"module {module!r} has no attribute {name!r}{advice}")
