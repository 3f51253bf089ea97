"""The protocol of a family: what heads, losses and estimation ask of it, and nothing else."""

import abc
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from nllfit.families.facts import Facts
from nllfit.families.links import Softmax

__all__ = ["Measure", "Numbers", "ParametricFamily"]

Numbers = dict[str, Any]
"""Values by a parameter's name: numbers, arrays or tensors."""


class Measure(NamedTuple):
    """What the likelihood of an outcome is a density of: two likelihoods can be compared only if this is the same.

    Attributes:
      columns: the numbers of an outcome: `("y",)`, or the ends of an interval or of a window as well.
      points: the outcomes that have a probability: "all", "0" or "none". The others have a density, and its unit.
      surface: the surface on which the outcomes lie and which the density is per unit of; empty for the whole space.
    """

    columns: tuple[str, ...] = ("y",)
    points: str = "none"
    surface: str = ""

    def __str__(self) -> str:
        kind = {"all": "probabilities", "0": "densities and a probability of 0", "none": "densities"}[self.points]
        what = f" of `[{', '.join(self.columns)}]`" if len(self.columns) > 1 else ""
        return kind + what + (f" on {self.surface}" if self.surface else "")


class ParametricFamily(abc.ABC):
    """Distributions `p(y | theta)` of one kind, addressed by a vector of real numbers.

    A parameter has three forms. The vector `params` holds its unconstrained numbers; `build` takes the constrained
    value, under the name that TFP prefers, such as `log_rate` or `logits`; a statistician reads the natural one, its
    twin, such as `rate` or `probs`.

    A family that is made of another (a mixture) answers where it differs, and asks the other for the rest.

    Attributes:
      name: what an error message calls it.
      label: the name with all that was given beside it: what tells families of one name apart.
      event_shape: shape of one outcome.
      parameter_names: the free parameters, in the order of the vector.
      params_size: the length of the vector.
      layout: how its numbers are dealt out, in words.
      shared, shared_size: the parameters that are the same for all inputs, and the length of the vector of theirs.
      fixed, floor: what was given by name: values, and lowest values, in the unit of the outcomes.
      link: the links that were chosen, by name.
      component_shape: the axes of components that a parameter has before its own.
      num_classes: the number of classes where outcomes are their labels; else None.
      is_discrete: whether outcomes are counts or labels, which have a probability each and not a density.
      facts: what TFP does not know of it.
      positive: the free parameters that take every positive value.
      logarithms: which numbers of the vector are logarithms of positive parameters, `[params_size]`.
      columns: how many numbers an outcome has for each element, on the last axis of `event_shape`; 0 where it is one.
      has_unit: whether log-likelihoods of all outcomes change by one constant with their unit, as those of a density do
        and probabilities of intervals do not.
      takes_infinity: whether a number of an outcome may be infinite, as the end of an interval.
    """

    name: str
    label: str
    event_shape: tuple[int, ...]
    parameter_names: tuple[str, ...]
    params_size: int
    layout: str
    shared: tuple[str, ...] = ()
    shared_size: int = 0
    fixed: Numbers
    floor: Mapping[str, float]
    link: Mapping[str, str]
    component_shape: tuple[int, ...] = ()
    num_classes: int | None
    is_discrete: bool
    facts: Facts
    positive: tuple[str, ...]
    logarithms: np.ndarray
    columns: int = 0
    has_unit: bool = True
    takes_infinity: bool = False

    @abc.abstractmethod
    def parameters(self, params: Any, shared: tf.Tensor | None = None) -> dict[str, tf.Tensor]:
        """The constrained parameters by name, from `params` `[..., params_size]` and `shared` `[shared_size]`."""

    @abc.abstractmethod
    def unconstrained(self, parameters: Numbers, dtype: tf.DType = tf.float64, shared: bool = False) -> tf.Tensor:
        """The inverse of `parameters`: the vector `[..., params_size]`, or `[shared_size]`, from all values by name."""

    @abc.abstractmethod
    def build(self, parameters: Numbers, dtype: tf.DType) -> tfd.Distribution:
        """The distribution at constrained `parameters`, with the fixed ones filled in."""

    @abc.abstractmethod
    def holding(self, values: Numbers) -> "ParametricFamily":
        """The family with `values`, parameters or other arguments by name, in place of what they are; unchecked."""

    @abc.abstractmethod
    def logarithmic(self) -> "ParametricFamily":
        """The family whose vector holds the logarithm of every positive parameter."""

    @abc.abstractmethod
    def twin(self, name: str) -> tuple[str, tfb.Bijector | Softmax]:
        """The natural name of a parameter, and the link from its constrained value to the natural one."""

    @property
    @abc.abstractmethod
    def arguments(self) -> dict[str, Any]:
        """The arguments by name that make the family; another family may be one of them."""

    @abc.abstractmethod
    def _identity(self) -> tuple:
        """All that makes it the family it is, as something hashable."""

    def distribution(self, params: Any, shared: tf.Tensor | None = None) -> tfd.Distribution:
        """The distribution of batch `[...]` and event `event_shape` at `params` `[..., params_size]`."""
        values = self.parameters(params, shared)
        return self.build(values, next(iter(values.values())).dtype)

    @property
    def measure(self) -> Measure:
        """What the family assigns to its outcomes, probabilities or densities, and of what."""
        points = "all" if self.is_discrete else "0" if self.facts.has_share else "none"
        return Measure(points=points, surface=self.facts.surface)

    def _replaced(self, **attributes: Any) -> Any:
        """A copy of the family with other attributes."""
        made = object.__new__(type(self))
        vars(made).update(vars(self) | attributes)
        return made

    def unshared(self) -> "ParametricFamily":
        """The family whose shared parameters are in the vector like the others."""
        return self

    def stand_ins(self, y: np.ndarray) -> np.ndarray:
        """Finite numbers, one for each element, by which to judge the place and the size of a sample's outcomes."""
        return y

    def seen(self, y: np.ndarray) -> np.ndarray:
        """Those outcomes `[m, *elements]` of a sample that were seen exactly, as the family under this one has them."""
        return y

    def closed_form(self, y: tf.Tensor) -> Numbers | None:
        """TFP's own estimate from a sample `[n, *event]`, all of a distribution's parameters by name; None without."""
        return None

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())
