"""Mixtures of distributions of one family, addressed like a `Family` by a vector of real numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from nllfit.families.arguments import as_params, as_size, check_size
from nllfit.families.facts import Facts
from nllfit.families.family import Family
from nllfit.families.links import Softmax
from nllfit.families.protocol import Numbers, ParametricFamily
from nllfit.families.rowwise import rowwise

__all__ = ["MixtureFamily", "equal_mixture"]

_LOGITS = "mixture_logits"  # by a name of their own: a component may have `logits`


class MixtureFamily(ParametricFamily):
    """A mixture of `num_components` distributions of one family, with weights from the same vector.

    The density is `sum_k softmax(logits)_k p(y | parameters_k)`. The vector holds the `num_components` logits, then
    each component's parameters in turn, as in `tfp.layers.MixtureSameFamily`.

    Args:
      component: the components' class of `tfp.distributions`, or its name.
      num_components: their number, at least 1.
      event_shape: shape of one outcome.
      **kwargs: further arguments of the components' `Family`.

    Example:
      >>> MixtureFamily("Normal", 3, event_shape=1).params_size
      9

    Source: Bishop, Mixture density networks, 1994.
    """

    def __init__(
        self,
        component: str | type[tfd.Distribution],
        num_components: int,
        event_shape: int | Sequence[int] = (),
        **kwargs: Any,
    ):
        self.num_components = as_size("num_components", num_components, 1)
        if kwargs.get("shared"):
            raise ValueError("A mixture's components share no parameters: drop `shared`.")
        self.component = Family(component, event_shape, **kwargs)
        self.name = f"Mixture of {self.num_components} {self.component.name}"
        self.event_shape = self.component.event_shape
        self.num_classes = self.component.num_classes
        self.is_discrete = self.component.is_discrete
        check_size(f"The vector of parameters of a {self.name}", self.params_size)

    def parameters(self, params: Any, shared: tf.Tensor | None = None) -> dict[str, tf.Tensor]:
        """The constrained parameters by name; every one has a component axis after the batch `[...]`."""
        params = as_params(self, params)
        logits, rest = tf.split(params, [self.num_components, -1], axis=-1)
        shape = tf.concat([tf.shape(params)[:-1], [self.num_components, self.component.params_size]], 0)
        return {_LOGITS: logits} | self.component.parameters(tf.reshape(rest, shape))

    def unconstrained(self, parameters: Numbers, dtype: tf.DType = tf.float64, shared: bool = False) -> tf.Tensor:
        logits = tf.convert_to_tensor(parameters[_LOGITS], dtype)
        components = self.component.unconstrained(parameters, dtype)
        size = self.num_components * self.component.params_size
        return tf.concat([logits, tf.reshape(components, [*logits.shape[:-1], size])], -1)

    def build(self, parameters: Numbers, dtype: tf.DType) -> tfd.Distribution:
        components = {name: value for name, value in parameters.items() if name != _LOGITS}
        components = self.component.build(components, dtype)
        return tfd.MixtureSameFamily(
            tfd.Categorical(logits=parameters[_LOGITS]), components, validate_args=components.validate_args
        )

    def holding(self, values: Numbers) -> "MixtureFamily":
        return self._of(self.component.holding(values))

    def logarithmic(self) -> "MixtureFamily":
        return self._of(self.component.logarithmic())

    def twin(self, name: str) -> tuple[str, tfb.Bijector | Softmax]:
        return ("mixture_probs", Softmax()) if name == _LOGITS else self.component.twin(name)

    @property
    def parameter_names(self) -> tuple[str, ...]:
        return (_LOGITS, *self.component.parameter_names)

    @property
    def component_shape(self) -> tuple[int, ...]:
        return (self.num_components,)

    @property
    def params_size(self) -> int:
        return self.num_components * (1 + self.component.params_size)

    @property
    def fixed(self) -> Numbers:
        return self.component.fixed

    @property
    def floor(self) -> Mapping[str, float]:
        return self.component.floor

    @property
    def link(self) -> Mapping[str, str]:
        return self.component.link

    @property
    def facts(self) -> Facts:
        return self.component.facts.of_a_part

    @property
    def positive(self) -> tuple[str, ...]:
        return self.component.positive

    @property
    def logarithms(self) -> np.ndarray:
        components = np.tile(self.component.logarithms, self.num_components)
        return np.concatenate([np.zeros(self.num_components, bool), components])

    @property
    def label(self) -> str:
        return f"Mixture of {self.num_components} {self.component.label}"

    @property
    def layout(self) -> str:
        return f"{self.num_components} logits and {self.component.params_size} for each component"

    def __repr__(self) -> str:
        return f"MixtureFamily({self.component!r}, {self.num_components})"

    @property
    def arguments(self) -> dict[str, Any]:
        options = dict(self.component.arguments)
        return {"component": options.pop("distribution"), "num_components": self.num_components} | options

    def _identity(self) -> tuple:
        return self.num_components, self.component

    def _of(self, component: Family) -> "MixtureFamily":
        return self._replaced(component=component)


def equal_mixture(
    family: ParametricFamily, params: Sequence[tf.Tensor], shared: Sequence[tf.Tensor | None]
) -> tfd.MixtureSameFamily:
    """The mixture, in equal parts, of several distributions of one family: `p(y) = sum_m p_m(y) / M`.

    Args:
      family: of all of them. The components of mixtures become components of the one that is returned.
      params: the vector of each, `[*batch, params_size]`.
      shared: of each, `[shared_size]` or None.

    Returns:
      A mixture of batch `[*batch]` and event `family.event_shape`, `rowwise`.
    """
    members = [family.parameters(*vectors) for vectors in zip(params, shared, strict=True)]
    batch = tf.shape(params[0])[:-1]
    for values in members:
        for name in family.shared:
            values[name] = tf.broadcast_to(values[name], tf.concat([batch, tf.shape(values[name])], 0))
        if isinstance(family, MixtureFamily):
            values[_LOGITS] = tf.nn.log_softmax(values[_LOGITS])
    axis, dtype = params[0].shape.rank - 1, params[0].dtype
    if isinstance(family, MixtureFamily):
        return rowwise(family.build({name: tf.concat([m[name] for m in members], axis) for name in members[0]}, dtype))
    components = family.build({name: tf.stack([m[name] for m in members], axis) for name in members[0]}, dtype)
    logits = tf.zeros(tf.concat([batch, [len(members)]], 0), dtype)
    mixture = tfd.MixtureSameFamily(tfd.Categorical(logits), components, validate_args=components.validate_args)
    return rowwise(mixture)
