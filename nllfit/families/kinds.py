"""Kinds of distribution: TFP's that are made of others, and a class that is a user's own."""

from typing import Any

from tensorflow_probability import distributions as tfd
from tensorflow_probability.python.distributions.distribution import DiscreteDistributionMixin

__all__ = [
    "DISCRETE",
    "INDEPENDENT",
    "MIXTURE",
    "MIXTURE_SAME_FAMILY",
    "TRANSFORMED",
    "is_own",
    "over_event",
    "parameter_properties",
    "parts_of",
]

# Where a part is of a class that TensorFlow cannot take apart, as most users' are, TFP makes no `tfd.Independent` of it
# and no `tfd.Mixture`, but one of the class below that, which has no public name.
INDEPENDENT: type[tfd.Distribution] = tfd.Independent.__mro__[1]
MIXTURE: type[tfd.Distribution] = tfd.Mixture.__mro__[1]
MIXTURE_SAME_FAMILY: type[tfd.Distribution] = tfd.MixtureSameFamily.__mro__[1]
TRANSFORMED: type[tfd.Distribution] = tfd.TransformedDistribution.__mro__[1]

DISCRETE: type = DiscreteDistributionMixin
"""What TFP's counts and labels derive from, and a user's own may."""


def is_own(cls: type) -> bool:
    """Whether a class of distributions is a user's own, of which nothing is known but what it says itself."""
    return not cls.__module__.startswith(("tensorflow_probability.", "tfp.", "nllfit."))


def over_event(distribution: tfd.Distribution, rank: int) -> tfd.Distribution:
    """The distribution of outcomes with that many axes, of independent elements; its name is that of the elements."""
    added, checks = rank - distribution.event_shape.rank, distribution.validate_args
    return tfd.Independent(distribution, added, checks, name=distribution.name) if added else distribution


def parts_of(distribution: tfd.Distribution) -> list[tfd.Distribution]:
    """The distributions that one was made of, but for points, which may be zeros of counts, or of numbers."""
    given: Any = distribution.parameters.values()
    if isinstance(distribution, MIXTURE):  # some do not keep what they were made of
        given = [distribution.components]
    found = [part for value in given for part in (value if isinstance(value, (list, tuple)) else [value])]
    return [part for part in found if isinstance(part, tfd.Distribution) and not isinstance(part, tfd.Deterministic)]


def parameter_properties(cls: type[tfd.Distribution], dtype: Any = None) -> dict[str, Any]:
    """What a class says of its parameters, by name; a `NotImplementedError` that says how, if it says nothing."""
    try:
        return dict(cls.parameter_properties() if dtype is None else cls.parameter_properties(dtype=dtype))
    except NotImplementedError:
        raise NotImplementedError(
            f"{cls.__name__} does not describe its parameters, so that none can be made anew: give it the class method "
            f"`_parameter_properties(cls, dtype, num_classes=None)`, which returns a `tfp.util.ParameterProperties` "
            f"for each by name."
        ) from None
