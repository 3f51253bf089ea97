"""Mixtures of distributions of one family, addressed like a `Family` by a vector of real numbers."""

import copy

import tensorflow as tf
import tensorflow_probability as tfp

from nllfit.families.arguments import as_count, as_params
from nllfit.families.family import Family

tfd = tfp.distributions

__all__ = ["MixtureFamily"]


class MixtureFamily:
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

    shared = ()
    shared_size = 0

    def __init__(self, component, num_components, event_shape=(), **kwargs):
        self.num_components = as_count("num_components", num_components, 1)
        if kwargs.get("shared"):
            raise ValueError("A mixture's components share no parameters: drop `shared`.")
        self.component = Family(component, event_shape, **kwargs)
        self.name = f"Mixture of {self.num_components} {self.component.name}"
        self.event_shape = self.component.event_shape
        self.parameter_names = ("mixture_logits", *self.component.parameter_names)
        self.params_size = self.num_components * (1 + self.component.params_size)

    def parameters(self, params, shared=None):
        """The constrained parameters by name; every one has a component axis after the batch `[...]`."""
        logits, rest = self._split(params)
        return {"mixture_logits": logits} | self.component.parameters(rest)

    def distribution(self, params, shared=None):
        """The distribution of batch `[...]` and event `event_shape` at `params` `[..., params_size]`."""
        values = self.parameters(params)
        return self.build(values, values["mixture_logits"].dtype)

    def build(self, parameters, dtype):
        """The distribution at constrained `parameters`, a dict of tensors by name."""
        components = {name: value for name, value in parameters.items() if name != "mixture_logits"}
        components = self.component.build(components, dtype)
        return tfd.MixtureSameFamily(
            tfd.Categorical(logits=parameters["mixture_logits"]), components, validate_args=components.validate_args
        )

    def holding(self, values):
        """The mixture of components that hold `values` in place of what they are; unchecked."""
        held = copy.copy(self)
        held.component = self.component.holding(values)
        return held

    def __eq__(self, other):
        return isinstance(other, MixtureFamily) and self._identity() == other._identity()

    def __hash__(self):
        return hash(self._identity())

    def _identity(self):
        return self.num_components, self.component

    @property
    def is_discrete(self):
        """Whether outcomes are counts or labels, which have a probability each and not a density."""
        return self.component.is_discrete

    @property
    def label(self):
        """The name, with all that was given for the components."""
        return f"Mixture of {self.num_components} {self.component.label}"

    def __repr__(self):
        return f"MixtureFamily({self.component!r}, {self.num_components})"

    @property
    def layout(self):
        """How the numbers of `params` are dealt out, in words."""
        return f"{self.num_components} logits and {self.component.params_size} for each component"

    def _split(self, params):
        params = as_params(self, params)
        logits, rest = tf.split(params, [self.num_components, -1], axis=-1)
        shape = tf.concat([tf.shape(params)[:-1], [self.num_components, self.component.params_size]], 0)
        return logits, tf.reshape(rest, shape)
