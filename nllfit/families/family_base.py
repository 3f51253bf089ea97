"""`ParametricFamily` is the base class of all families. `Measure` tells which likelihoods can be compared."""

import abc
import dataclasses
import math
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from nllfit.adapters.tensorflow import untouched
from nllfit.families.arguments import as_numbers
from nllfit.families.facts import Facts
from nllfit.families.links import Softmax, is_positive
from nllfit.families.parameters import Numbers, Parameter, blocks_of, exponential, vector_of
from nllfit.families.search_policy import SearchPolicy

__all__ = ["Measure", "ParametricFamily"]


class Measure(NamedTuple):
    """The measure of a likelihood. Two likelihoods can be compared only if their measures are equal.

    Attributes:
      columns: the names of the numbers in an outcome: `("y",)`, `("lower", "upper")` for an interval, and so on.
      points: which outcomes have a probability: "all", "0" (only the number 0) or "none". All other outcomes
        have a density.
      surface: the name of the surface on which outcomes lie. It is empty if the density is per unit of the whole space.
    """

    columns: tuple[str, ...] = ("y",)
    points: str = "none"
    surface: str = ""

    def __str__(self) -> str:
        kind = {"all": "probabilities", "0": "densities and a probability of 0", "none": "densities"}[self.points]
        what = f" of `[{', '.join(self.columns)}]`" if len(self.columns) > 1 else ""
        return kind + what + (f" on {self.surface}" if self.surface else "")


class ParametricFamily(abc.ABC):
    """A family of distributions `p(y | theta)`, parametrised by a vector of real numbers.

    A family is an ordered tuple of parameters and a method `build` that makes a distribution from their values. A
    parameter has three forms:

    - unconstrained numbers, which are elements of the vector `params`;
    - the constrained value, which `build` takes under the name that TFP prefers, such as `scale` or `log_rate`.
      Some constrained values, such as a `log_rate`, can be any number;
    - the value on the natural scale, such as `scale` or `rate`, which tables of estimates show.

    Attributes:
      name: the name in error messages.
      label: the name with the given arguments, except `event_shape`.
      event_shape: shape of one outcome.
      records: the parameters. The vector `params` contains those that are neither shared nor in `fixed`, in this order.
      fixed: the values at which parameters are held, and other arguments of the distribution's constructor, by name.
      floor: the lowest values of parameters, by name.
      link: maps the name of a parameter to the name of the link that replaces TFP's.
      num_classes: the number of classes if outcomes are class labels, else None.
      is_discrete: whether outcomes are counts or labels. These have probabilities instead of densities.
      facts: the `Facts` of the family, which TFP does not provide.
      search: the `SearchPolicy` of the likelihood.
      columns: the length of the last axis of an outcome, if each element of an outcome consists of several numbers,
        such as the ends of an interval. Otherwise it is 0.
      has_unit: whether a change of the unit of the outcomes changes all log-likelihoods by the same constant. This
        holds for densities, but not for probabilities of intervals.
      takes_infinity: whether a number in an outcome, such as the end of an interval, may be infinite.
    """

    name: str
    label: str
    event_shape: tuple[int, ...]
    records: tuple[Parameter, ...]
    fixed: Numbers
    floor: Mapping[str, float] = {}
    link: Mapping[str, str] = {}
    num_classes: int | None = None
    is_discrete: bool
    facts: Facts = Facts()
    search: SearchPolicy = SearchPolicy()
    columns: int = 0
    has_unit: bool = True
    takes_infinity: bool = False

    @abc.abstractmethod
    def build(self, parameters: Numbers, dtype: tf.DType) -> tfd.Distribution:
        """Builds the distribution from constrained `parameters`. They take precedence over `fixed`."""

    @property
    @abc.abstractmethod
    def arguments(self) -> dict[str, Any]:
        """The arguments of the family's constructor, by name. One of them may be another family."""

    def parameters(self, params: Any, shared: tf.Tensor | None = None) -> dict[str, tf.Tensor]:
        """Maps `params` `[..., params_size]` and `shared` `[shared_size]` to the constrained parameters, by name.

        The parameters of a mixture's components have the shape `[..., num_components, *parameter]`. Raises a
        `ValueError` if a vector has the wrong length.
        """
        params = self._as_params(params)
        blocks = blocks_of(params, self._row_parameters)
        if self.shared:
            if shared is None or shared.shape != [self.shared_size]:
                names = ", ".join(self.shared)
                raise ValueError(f"`shared` is {shared}: give the {self.shared_size} numbers of {names}.")
            blocks |= blocks_of(tf.cast(shared, params.dtype), self._shared_parameters)
        values = dict(self.fixed)
        for parameter in self._free_parameters:
            values[parameter.name] = parameter.link(values, params.dtype).forward(blocks[parameter.name])
        return {parameter.name: values[parameter.name] for parameter in self._free_parameters}

    def unconstrained(self, parameters: Numbers, dtype: tf.DType = tf.float64, shared: bool = False) -> tf.Tensor:
        """Maps constrained values to unconstrained numbers. It is the inverse of the method `parameters`.

        Returns the vector `params` `[..., params_size]`, or the vector `shared` `[shared_size]` if the argument
        `shared` is True.
        """
        values = {p.name: tf.convert_to_tensor(parameters[p.name], dtype) for p in self._free_parameters}
        wanted = self._shared_parameters if shared else self._row_parameters
        blocks = {p.name: p.link(self.fixed | values, dtype).inverse(values[p.name]) for p in wanted}
        return vector_of(blocks, wanted)

    def distribution(self, params: Any, shared: tf.Tensor | None = None) -> tfd.Distribution:
        """Builds the distribution of batch `[...]`. The arguments are those of the method `parameters`."""
        values = self.parameters(params, shared)
        return self.build(values, next(iter(values.values())).dtype)

    def holding(self, values: Numbers) -> Any:
        """Returns a copy in which parameters or other arguments are fixed at `values`. The values are not checked."""
        return self._replaced(fixed=self.fixed | values)

    def unshared(self) -> Any:
        """Returns a copy in which no parameter is shared. The vector `params` then contains all free parameters."""
        return self._changed(lambda parameter: {"shared": 0})

    def logarithmic(self) -> Any:
        """Returns a copy in which the parameters listed in `positive` have the link `exp`."""
        positive = self.positive
        return self._changed(lambda parameter: {"link": exponential} if parameter.name in positive else {})

    def twin(self, name: str) -> tuple[str, tfb.Bijector | Softmax]:
        """Returns a parameter's name on the natural scale (`rate` for `log_rate`), and the bijector to this scale."""
        (parameter,) = (parameter for parameter in self.records if parameter.name == name)
        return parameter.natural or name, parameter.to_natural()

    def natural(self, values: Numbers) -> dict[str, tf.Tensor]:
        """Converts constrained values to the natural scale. The keys of the result are the names on this scale."""
        twins = {name: self.twin(name) for name in values}
        return {natural: link.forward(values[name]) for name, (natural, link) in twins.items()}

    def from_natural(self, natural: Numbers, names: Iterable[str]) -> dict[str, tf.Tensor]:
        """Converts values on the natural scale to the constrained values of the parameters `names`, in float64."""
        twins = {name: self.twin(name) for name in names}
        return {name: link.inverse(tf.convert_to_tensor(natural[n], tf.float64)) for name, (n, link) in twins.items()}

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """The free parameters that are not shared, in the order of the vector."""
        return tuple(parameter.name for parameter in self._row_parameters)

    @property
    def params_size(self) -> int:
        """The length of the vector `params`."""
        return _total(self._row_parameters)

    @property
    def shared(self) -> tuple[str, ...]:
        """The free parameters that are the same for all inputs, in the order of the vector `shared`."""
        return tuple(parameter.name for parameter in self._shared_parameters)

    @property
    def shared_size(self) -> int:
        """The length of the vector `shared`."""
        return _total(self._shared_parameters)

    @property
    def layout(self) -> str:
        """A description of the elements of `params` in words. Error messages contain it."""
        if self.component_shape:
            size = _total(dataclasses.replace(p, components=()) for p in self._row_parameters if p.components)
            return f"{math.prod(self.component_shape)} logits and {size} for each component"
        return " + ".join(f"{p.size} for `{p.name}`" for p in self._row_parameters) or "none is free"

    @property
    def component_shape(self) -> tuple[int, ...]:
        """The leading axes of the parameters: `(num_components,)` for a mixture, and `()` for other families."""
        return next((parameter.components for parameter in self.records if parameter.components), ())

    @property
    def positive(self) -> tuple[str, ...]:
        """The free parameters, except shared ones, that have the link `softplus` or `exp` and no floor."""
        return tuple(parameter.name for parameter in self._row_parameters if self._is_positive(parameter))

    @property
    def logarithms(self) -> np.ndarray:
        """A mask `[params_size]`: True for an element that is a parameter's logarithm. A user's links are ignored."""
        with tf.init_scope():
            flags = {p.name: tf.fill([*p.components, *p.shape], p.is_logarithm) for p in self._row_parameters}
            return vector_of(flags, self._row_parameters).numpy() if flags else np.zeros(0, bool)

    @property
    def measure(self) -> Measure:
        """The measure of the family's likelihoods."""
        points = "all" if self.is_discrete else "0" if self.facts.has_share else "none"
        return Measure(points=points, surface=self.facts.surface)

    def representatives(self, y: np.ndarray) -> np.ndarray:
        """Returns one finite number for each element of an outcome, to estimate a sample's location and spread."""
        return y

    def exact_outcomes(self, y: np.ndarray) -> np.ndarray:
        """Returns the numbers `[m, *elements]` of a sample that are known exactly.

        If this family modifies another family, the numbers are outcomes of that other family. Censored rows, the ends
        of windows, and the zeros of a zero-inflated sample are left out.
        """
        return y

    def by_kind(self, y: np.ndarray) -> list[tuple["ParametricFamily", np.ndarray]]:
        """Groups the rows of a sample by kind, such as exact and censored.

        Returns a family and row indices for each kind. The family has the same parameters as `self`. For these rows,
        it computes the same likelihoods by a shorter formula.
        """
        return [(self, np.arange(len(y)))]

    def closed_form(self, y: tf.Tensor) -> Numbers | None:
        """Returns TFP's closed-form estimates from a sample `[n, *event]` by name, or None if there are none."""
        return None

    @property
    def _free_parameters(self):
        return [parameter for parameter in self.records if parameter.name not in self.fixed]

    @property
    def _row_parameters(self):
        return [parameter for parameter in self._free_parameters if not parameter.shared]

    @property
    def _shared_parameters(self):
        return sorted((parameter for parameter in self._free_parameters if parameter.shared), key=lambda p: p.shared)

    def _is_positive(self, parameter):
        try:
            return is_positive(parameter.link(self.fixed, tf.float64))
        except KeyError:  # the link depends on another free parameter
            return False

    def _as_params(self, params):
        """Converts `params` to a floating-point tensor. Raises a `ValueError` if its last axis has a wrong length."""
        params = as_numbers("params", params, tf.float32)
        if not params.dtype.is_floating or params.shape.rank == 0 or params.shape[-1] != self.params_size:
            raise untouched(
                ValueError(
                    f"`params` is {params.dtype.name} of shape {tuple(params.shape)}, but {self!r} takes "
                    f"{self.params_size} floating-point numbers on the last axis: {self.layout}. Give the layer before "
                    f"it {self.params_size} units."
                )
            )
        return params

    def _changed(self, changes: Callable[[Parameter], dict[str, Any]]) -> Any:
        """Returns a copy with changed parameters. `changes` takes a `Parameter` and returns its new attributes."""
        return self._replaced(records=tuple(dataclasses.replace(p, **changes(p)) for p in self.records))

    def _replaced(self, **attributes: Any) -> Any:
        """Returns a copy in which `attributes` are replaced."""
        copy = object.__new__(type(self))
        vars(copy).update(vars(self) | attributes)
        return copy

    def _identity(self) -> tuple:
        return _as_hashable(self.arguments), _as_hashable(self.fixed), self.records

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())


def _total(parameters):
    return sum(math.prod(parameter.components) * parameter.size for parameter in parameters)


def _as_hashable(value: Any) -> Hashable:
    """Converts an argument to a hashable value. Arrays of equal numbers get equal values, whatever their dtype is."""
    if isinstance(value, Mapping):
        return tuple((name, _as_hashable(item)) for name, item in sorted(value.items()))
    if isinstance(value, str | None | ParametricFamily) or callable(value):
        return value
    array = np.asarray(value)
    if array.dtype.kind in "fiub":
        array = array if array.dtype.kind == "b" else array.astype(np.float64)  # a saved file lacks the dtype
        return array.shape, array.dtype.str, array.tobytes()
    return tuple(map(_as_hashable, value)) if isinstance(value, list | tuple) else id(value)
