"""`FamilyOf`, the base class of families that modify another family, and functions that these families use."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.families.arguments import refuse_with_family
from nllfit.families.facts import Facts, names_with_exact_tails
from nllfit.families.family import Family
from nllfit.families.family_base import ParametricFamily
from nllfit.families.law import law_of
from nllfit.families.search_policy import SearchPolicy
from nllfit.families.tfp_classes import INDEPENDENT, over_event, unwrapped

__all__ = ["FamilyOf", "as_family", "checked_cdf", "elementwise", "innermost"]


class FamilyOf(ParametricFamily):
    """A family that modifies another family: it changes the distribution of each element of an outcome.

    Args:
      family: the other family. It is a family object, a class of `tfp.distributions`, or the name of a class.
      event_shape, kwargs: arguments of `Family`, if `family` is a class or name.
    """

    has_unit = False

    def __init__(self, family: Any, event_shape: int | Sequence[int] | None = None, **kwargs: Any):
        if isinstance(family, ParametricFamily):
            refuse_with_family({"event_shape": event_shape, **kwargs})
            self.family = family
        else:
            self.family = Family(family, () if event_shape is None else event_shape, **kwargs)
        self.records, self.fixed = self.family.records, self.family.fixed
        self.floor, self.link = self.family.floor, self.family.link
        self.num_classes, self.is_discrete = self.family.num_classes, self.family.is_discrete

    def representatives(self, y: np.ndarray) -> np.ndarray:
        return self.family.representatives(y)

    def exact_outcomes(self, y: np.ndarray) -> np.ndarray:
        return self.family.exact_outcomes(y)

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self.element_shape + ((self.columns,) if self.columns else ())

    @property
    def element_shape(self) -> tuple[int, ...]:
        """The shape of an outcome's elements."""
        return self.family.element_shape if isinstance(self.family, FamilyOf) else self.family.event_shape

    @property
    def facts(self) -> Facts:
        return self.family.facts

    @property
    def search(self) -> SearchPolicy:
        # The `statistics` of the inner family, `self.family`, do not maximise the likelihood of `self`. The maximum may
        # be at any outcome that is known exactly, or between two such outcomes. So `of_component` clears `statistics`
        # and `corner`, and lists their parameters in `kinks`. If `kinks` has only one parameter,
        # this parameter becomes the `corner`.
        inner_policy, policy = self.family.search, self.family.search.of_component
        policy = dataclasses.replace(policy, several_maxima=inner_policy.several_maxima)
        if self.component_shape or len(policy.kinks) != 1:
            return policy
        return dataclasses.replace(
            policy, corner=policy.kinks[0], has_corners=inner_policy.has_corners or _always, kinks=()
        )

    @property
    def name(self) -> str:
        return f"{type(self).__name__} {self.family.name}"

    @property
    def label(self) -> str:
        return f"{type(self).__name__}({', '.join([self.family.label, *self._options])})"

    @property
    def arguments(self) -> dict[str, Any]:
        return {"family": self.family}

    @property
    def _options(self) -> list[str]:
        return [f"{name}={value!r}" for name, value in self.arguments.items() if name != "family" and value is not None]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join([repr(self.family), *self._options])})"


def _always(parameters):
    return True


def elementwise(
    distribution: tfd.Distribution, make: Callable[[tfd.Distribution], tfd.Distribution]
) -> tfd.Distribution:
    """Applies `make` to the distribution of each element of an outcome. Returns the distribution of whole outcomes."""
    if not isinstance(distribution, INDEPENDENT):
        return make(distribution)
    inner = distribution.distribution
    modified = elementwise(inner, make)
    return over_event(modified, modified.event_shape.rank + distribution.event_shape.rank - inner.event_shape.rank)


def checked_cdf(family: ParametricFamily) -> None:
    """Raises a `ValueError` if the elements of a family's outcomes have no exact CDF."""
    example = family.unshared()
    with tf.init_scope():
        element = unwrapped(example.distribution(tf.zeros([example.params_size], tf.float64)), INDEPENDENT)
    known = ", ".join(sorted(names_with_exact_tails()))
    if family.facts.search.circular:
        raise ValueError(
            f"{family.name} is a family of angles. Angles that differ by 2 pi are the same, so they have no CDF on the "
            f"whole line: fit the angles themselves by {family.name}, or choose one of {known}."
        )
    if not law_of(element).has_exact_tails:
        raise ValueError(
            f"{family.name} of outcomes of shape {family.event_shape} has no CDF of single numbers that is exact in "
            f"both tails, which the probability of an interval needs: choose one of {known}, a mixture of one of them "
            f"for outcomes of shape (), or a class of your own that has a `_cdf`."
        )


def innermost(family: ParametricFamily) -> ParametricFamily:
    """Returns the family inside all `FamilyOf`s."""
    return innermost(family.family) if isinstance(family, FamilyOf) else family


def as_family(distribution: Any, event_shape: Sequence[int], **options: Any) -> ParametricFamily:
    """Returns a family object unchanged. From a class of distributions, or the name of a class, it makes a `Family`."""
    if isinstance(distribution, ParametricFamily):
        return distribution
    return Family(distribution, event_shape, **options)
