"""The list of the classes of all heads. The classes do not depend on the Keras version.

`nllfit.heads` and `nllfit.keras3.heads` make a layer from each class. To add a head, add its class to this list, and a
line to each of the two stub files `heads.pyi`, which editors and type checkers read.
"""

from tensorflow_probability import distributions as tfd

from nllfit.families import compound_heads, function_family, head_base, named_heads

__all__ = ["HEADS", "no_head"]

HEADS: tuple[type[head_base.Head], ...] = (
    named_heads.Bernoulli,
    named_heads.Beta,
    named_heads.Categorical,
    compound_heads.Censored,
    head_base.DistributionHead,
    function_family.DistributionLambda,
    named_heads.Gamma,
    compound_heads.Hurdle,
    named_heads.Laplace,
    named_heads.LogNormal,
    named_heads.Mixture,
    named_heads.MultivariateNormalTriL,
    named_heads.NegativeBinomial,
    named_heads.Normal,
    named_heads.OneHotCategorical,
    named_heads.Poisson,
    named_heads.StudentT,
    compound_heads.Truncated,
    compound_heads.ZeroInflated,
)


def no_head(module: str, name: str) -> AttributeError:
    """Returns the error for a name that is not in a module of heads.

    If the name is the name of a family, the message says how to make a head of this family.
    """
    advice = f": give `DistributionHead({name!r})`" if name in dir(tfd) else ""
    return AttributeError(f"module {module!r} has no attribute {name!r}{advice}")
