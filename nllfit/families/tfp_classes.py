"""Functions about classes of distributions: TFP's classes, users' classes, and subclasses that `nllfit` derives."""

from collections.abc import Mapping
from typing import Any

from tensorflow_probability import distributions as tfd

from nllfit.adapters.tensorflow_probability import DISCRETE

__all__ = [
    "DISCRETE",
    "INDEPENDENT",
    "MIXTURE",
    "MIXTURE_SAME_FAMILY",
    "TRANSFORMED",
    "defines",
    "derived",
    "is_own",
    "over_event",
    "parameter_properties",
    "parts_of",
    "plain_class",
    "unwrapped",
]

# If a component is not a `CompositeTensor`, `tfd.Independent(...)` and similar calls return an object of a private base
# class. Most users' classes are not `CompositeTensor`s. The constants below are the private base classes.
INDEPENDENT: type[tfd.Distribution] = tfd.Independent.__mro__[1]
MIXTURE: type[tfd.Distribution] = tfd.Mixture.__mro__[1]
MIXTURE_SAME_FAMILY: type[tfd.Distribution] = tfd.MixtureSameFamily.__mro__[1]
TRANSFORMED: type[tfd.Distribution] = tfd.TransformedDistribution.__mro__[1]

_ORIGINALS: dict[type, Any] = {}  # maps each result of `derived` to the class from which it was derived


def derived(cls: Any, mixins: tuple[type, ...] = (), methods: Mapping[str, Any] | None = None) -> Any:
    """Derives a subclass with the same name from a class of distributions. `plain_class` returns the original class."""
    # Objects of a subclass of `tfd.TransformedDistribution` are `CompositeTensor`s, but TensorFlow fails to find their
    # tensors. Objects of a subclass of the private base class are no `CompositeTensor`s, so TensorFlow does not
    # search for tensors.
    cls = TRANSFORMED if cls is tfd.TransformedDistribution else cls
    metaclass: Any = type(cls)
    subclass = metaclass(
        cls.__name__, (*mixins, cls), {"__module__": cls.__module__, "__doc__": cls.__doc__, **(methods or {})}
    )
    _ORIGINALS[subclass] = cls
    return subclass


def plain_class(cls: Any) -> Any:
    """Returns the original class if `derived` made `cls` in one or more calls. Otherwise returns `cls`."""
    while cls in _ORIGINALS:
        cls = _ORIGINALS[cls]
    return cls


def defines(cls: type, name: str) -> bool:
    """Whether a class of distributions, or one of its bases other than `tfd.Distribution`, defines a method."""
    bases = cls.__mro__[: cls.__mro__.index(tfd.Distribution)]
    return any(name in vars(base) for base in bases)


def is_own(cls: type) -> bool:
    """Whether a class of distributions is a user's own, that is, neither from TFP nor from `nllfit`."""
    return not cls.__module__.startswith(("tensorflow_probability.", "tfp.", "nllfit."))


def over_event(distribution: tfd.Distribution, rank: int) -> tfd.Distribution:
    """Wraps a distribution in a `tfd.Independent` of the same name, so that outcomes have `rank` axes."""
    added, checks = rank - distribution.event_shape.rank, distribution.validate_args
    return tfd.Independent(distribution, added, checks, name=distribution.name) if added else distribution


def unwrapped(distribution: Any, wrappers: Any = (INDEPENDENT, MIXTURE_SAME_FAMILY)) -> Any:
    """Returns the distribution inside all `Independent`s and, by default, inside all `MixtureSameFamily`s."""
    while isinstance(distribution, wrappers):
        is_mixture = isinstance(distribution, MIXTURE_SAME_FAMILY)
        distribution = distribution.components_distribution if is_mixture else distribution.distribution
    return distribution


def parts_of(distribution: tfd.Distribution) -> list[tfd.Distribution]:
    """Returns the distributions of which a distribution consists, except `Deterministic`s.

    A `Deterministic` is left out, because it does not show whether outcomes are counts or real numbers.
    """
    arguments: Any = distribution.parameters.values()
    if isinstance(distribution, MIXTURE):  # the `parameters` of some mixtures do not contain their arguments
        arguments = [distribution.components]
    items = [part for value in arguments for part in (value if isinstance(value, (list, tuple)) else [value])]
    return [part for part in items if isinstance(part, tfd.Distribution) and not isinstance(part, tfd.Deterministic)]


def parameter_properties(cls: type[tfd.Distribution], dtype: Any = None) -> dict[str, Any]:
    """Returns TFP's description of a class's parameters, by name.

    Raises a `NotImplementedError` that says how to write a description, if a class has none.
    """
    try:
        return dict(cls.parameter_properties() if dtype is None else cls.parameter_properties(dtype=dtype))
    except NotImplementedError:
        raise NotImplementedError(
            f"{cls.__name__} does not describe its parameters, so it cannot be rebuilt: give it the class method "
            f"`_parameter_properties(cls, dtype, num_classes=None)`, which returns a `tfp.util.ParameterProperties` "
            f"for each by name."
        ) from None
