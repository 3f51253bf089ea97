"""`MixtureFamily`: mixtures of distributions of one family."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.families.arguments import as_size, check_size
from nllfit.families.broadcast_checks import rowwise
from nllfit.families.facts import Facts
from nllfit.families.family import Family
from nllfit.families.family_base import ParametricFamily
from nllfit.families.links import Softmax
from nllfit.families.parameters import Numbers, Parameter
from nllfit.families.search_policy import SearchPolicy
from nllfit.families.support_checks import mixed

__all__ = ["MixtureFamily", "mixture_of"]

_LOGITS = "mixture_logits"  # not `logits`, because a component may have a parameter of that name


class MixtureFamily(ParametricFamily):
    """A mixture of `num_components` distributions of one family. The weights of the components are parameters, too.

    The density is `sum_k softmax(logits)_k p(y | parameters_k)`. The parameter vector starts with the `num_components`
    logits. The parameters of the first component follow, then those of the second, and so on. This is also the order of
    `tfp.layers.MixtureSameFamily`.

    Args:
      component: the class of the components, a subclass of `tfd.Distribution`, or its name.
      num_components: the number of components, at least 1.
      event_shape: shape of one outcome.
      **kwargs: further arguments of the components' `Family`, except `shared`.

    Raises:
      ValueError: if `num_components` is not a positive integer, if `shared` is given, or for a reason stated
        at `Family`.

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
        self.num_classes, self.is_discrete = self.component.num_classes, self.component.is_discrete
        self.fixed, self.floor, self.link = self.component.fixed, self.component.floor, self.component.link
        components = (self.num_components,)
        logits = Parameter(_LOGITS, components, natural="mixture_probs", to_natural=Softmax)
        self.records = (logits, *(dataclasses.replace(p, components=components) for p in self.component.records))
        check_size(f"The vector of parameters of a {self.name}", self.params_size)

    def build(self, parameters: Numbers, dtype: tf.DType) -> tfd.Distribution:
        values = self.fixed | parameters
        logits = tf.convert_to_tensor(values.pop(_LOGITS), dtype)
        components = self.component.build(values, dtype)
        return mixed(tfd.MixtureSameFamily(tfd.Categorical(logits), components, validate_args=components.validate_args))

    @property
    def facts(self) -> Facts:
        return self.component.facts

    @property
    def search(self) -> SearchPolicy:
        return self.component.search.of_component

    @property
    def label(self) -> str:
        return f"Mixture of {self.num_components} {self.component.label}"

    def __repr__(self) -> str:
        return f"MixtureFamily({self.component!r}, {self.num_components})"

    @property
    def arguments(self) -> dict[str, Any]:
        options = dict(self.component.arguments)
        return {"component": options.pop("distribution"), "num_components": self.num_components} | options


def mixture_of(
    family: ParametricFamily,
    params: Sequence[tf.Tensor],
    shared: Sequence[tf.Tensor | None],
    weights: np.ndarray | None = None,
) -> tfd.MixtureSameFamily:
    """Mixes several distributions of one family: `p(y) = sum_m weights_m p_m(y)`.

    Args:
      family: the family of the distributions. If it is a mixture, its components become components of the result.
      params: the parameter vector of each distribution, `[*batch, params_size]`.
      shared: the shared vector of each distribution, `[shared_size]` or None.
      weights: positive numbers with sum 1, one for each distribution. None means equal weights.

    Returns:
      The mixture. Its batch shape is `[*batch]`, its event shape is `family.event_shape`, and its class has the mix-in
      `Rowwise`. If parameters of some rows are NaN, the mixture has no assertions.
    """
    try:
        return _mixture(family, params, shared, weights)
    except tf.errors.InvalidArgumentError:  # some rows have NaN as parameters
        return _mixture(family.holding({"validate_args": False}), params, shared, weights)


def _mixture(family, params, shared, weights):
    members = [family.parameters(*vectors) for vectors in zip(params, shared, strict=True)]
    batch = tf.shape(params[0])[:-1]
    log_weights = np.zeros(len(members)) if weights is None else np.log(weights)
    for values, log_weight in zip(members, log_weights, strict=True):
        for name in family.shared:
            values[name] = tf.broadcast_to(values[name], tf.concat([batch, tf.shape(values[name])], 0))
        if isinstance(family, MixtureFamily):
            values[_LOGITS] = tf.nn.log_softmax(values[_LOGITS]) + log_weight
    axis, dtype = params[0].shape.rank - 1, params[0].dtype
    if isinstance(family, MixtureFamily):
        return rowwise(family.build({name: tf.concat([m[name] for m in members], axis) for name in members[0]}, dtype))
    components = family.build({name: tf.stack([m[name] for m in members], axis) for name in members[0]}, dtype)
    logits = tf.broadcast_to(tf.constant(log_weights, dtype), tf.concat([batch, [len(members)]], 0))
    mixture = tfd.MixtureSameFamily(tfd.Categorical(logits), components, validate_args=components.validate_args)
    return rowwise(mixed(mixture))
