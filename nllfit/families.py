"""Families: from unconstrained numbers to a distribution.

A network, an optimizer and a grid all produce real numbers; a distribution wants a positive scale, ordered
cutpoints, a lower-triangular matrix. A `Family` is the map between the two. TFP knows nearly all of it
(`Distribution.parameter_properties`): which parameters a distribution prefers, the bijector onto each one's domain and
each one's shape. This module asks TFP, and adds only the few facts that TFP leaves out.
"""

import inspect
import math
import re

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

tfb = tfp.bijectors
tfd = tfp.distributions

__all__ = ["Family", "MixtureFamily", "assertion_text", "family_class", "has_class_labels"]

# Links of parameters bounded by other parameters, which TFP leaves open; `p` holds the parameters before them.
_DEPENDENT_LINKS = {
    "high": lambda p: tfb.Chain([tfb.Shift(p["low"]), tfb.Softplus()]),
    "peak": lambda p: tfb.Sigmoid(p["low"], p["high"]),
    "skewness": lambda p: tfb.Sigmoid(-p["tailweight"], p["tailweight"]),
}

# Families whose outcome is the index of a class: their last parameter axis is no axis of the outcome.
_CLASS_LABELS = {"Categorical": 0, "OrderedLogistic": -1, "StoppingRatioLogistic": -1}


class Family:
    """A family of distributions, addressed by a vector of real numbers.

    The vector is cut into one block for each free parameter, in the order of `parameter_names`; each block is reshaped
    and sent through the parameter's link, the bijector that TFP names as its default: the identity for a `loc` or
    `logits`, `softplus(u) + eps` for a `scale` or a `rate`, with `eps` the resolution of the dtype, and so on.

    Args:
      distribution: a subclass of `tfd.Distribution`, or its name.
      event_shape: shape of one outcome, an int or a tuple. A scalar family becomes `tfd.Independent` over it; a vector
        family (`MultivariateNormalTriL`, `OneHotCategorical`) takes its vector from the last axis.
      shared: names of parameters that are the same for all inputs. They are no part of `params`; their `shared_size`
        unconstrained numbers are the second argument of `distribution`.
      floor: `{name: lowest value}` for parameters with a softplus link, in place of `eps`.
      num_classes: the number of classes, for families of class labels such as `Categorical`, which have no event axis
        to read it from.
      **fixed: parameters held at a value (`scale=1.0`, `total_count=10`, `low=0.0`), and other arguments of the
        distribution's constructor. `validate_args` is True by default, so that an outcome outside the support is an
        error; `validate_args=False` scores soft labels, such as a Bernoulli's 0.1 and 0.9.

    Raises:
      ValueError: for a distribution TFP does not have, a parameter the family does not have, a fixed value outside its
        domain, or a family with a parameter that has no default link and is not fixed.

    Example:
      >>> family = Family("Normal", event_shape=2)
      >>> family.parameter_names, family.params_size
      (('loc', 'scale'), 4)
      >>> family.distribution(tf.zeros([8, 4])).log_prob(tf.zeros([8, 2])).shape
      TensorShape([8])

    Source: `tfp.util.ParameterProperties`, TensorFlow Probability.
    """

    def __init__(self, distribution, event_shape=(), *, shared=(), floor=None, num_classes=None, **fixed):
        self.distribution_class = family_class(distribution)
        self.name = self.distribution_class.__name__
        self.event_shape = _as_shape(event_shape)
        self.shared = (shared,) if isinstance(shared, str) else tuple(shared)
        self.floor = dict(floor or {})
        self.num_classes = num_classes
        self.fixed = fixed
        self._signature = inspect.signature(self.distribution_class.__init__).parameters

        known = self.distribution_class.parameter_properties(dtype=tf.float64)
        self._check_names(known)
        replaced = {other for name in fixed for other in (f"log_{name}", *_log_odds(name))}
        free = [n for n, p in known.items() if p.is_preferred and n not in fixed and n not in replaced]
        self._check_free(free)
        if not free:
            raise ValueError(f"Every parameter of {self.name} is fixed, so there is nothing to learn: leave one free.")
        self.parameter_names = tuple(n for n in free if n not in self.shared)
        self._order = free
        self._shapes = {name: self._unconstrained_shape(name, known[name]) for name in free}
        self.params_size = sum(math.prod(self._shapes[n]) for n in self.parameter_names)
        self.shared_size = sum(math.prod(self._shapes[n]) for n in self.shared)
        self._check_builds()

    def parameters(self, params, shared=None):
        """The constrained free parameters by name, from `params` `[..., params_size]` and `shared` `[shared_size]`."""
        blocks = dict(zip(self.parameter_names, self._split(params, self.parameter_names), strict=True))
        if self.shared:
            blocks |= zip(self.shared, self._split(tf.cast(shared, params.dtype), self.shared), strict=True)
        values = {}
        for name in self._order:
            values[name] = self._link(name, params.dtype, values).forward(blocks[name])
        return values

    def unconstrained(self, parameters, dtype=tf.float64):
        """The inverse of `parameters` where nothing is shared: a vector `[..., params_size]` from values by name."""
        values, blocks = {}, []
        for name in self._order:
            values[name] = tf.convert_to_tensor(parameters[name], dtype)
            block = self._link(name, dtype, values).inverse(values[name])
            batch = block.shape[: block.shape.rank - len(self._shapes[name])]
            blocks.append(tf.reshape(block, [*batch, math.prod(self._shapes[name])]))
        return tf.concat(blocks, -1)

    def distribution(self, params, shared=None):
        """The distribution of batch `[...]` and event `event_shape` at `params` `[..., params_size]`."""
        params = tf.convert_to_tensor(params)
        if params.shape[-1] != self.params_size:
            raise ValueError(
                f"`params` has shape {tuple(params.shape)}, but {self.name} with event_shape {self.event_shape} takes "
                f"{self.params_size} numbers on the last axis: {self._layout()}. "
                f"Give the layer before it {self.params_size} units."
            )
        return self.build(self.parameters(params, shared), params.dtype)

    def build(self, parameters, dtype):
        """The distribution at constrained `parameters`, a dict of tensors by name, with the fixed ones filled in."""
        arguments = {"validate_args": True} | self.fixed | self._fixed_numbers(dtype) | parameters
        if getattr(getattr(self._signature.get("dtype"), "default", None), "is_floating", False):
            arguments.setdefault("dtype", dtype)
        if "require_integer_total_count" in self._signature:  # as it need not be, once a network sets it
            arguments.setdefault("require_integer_total_count", False)
        distribution = self.distribution_class(**arguments)
        outer = len(self.event_shape) - distribution.event_shape.rank
        return tfd.Independent(distribution, outer, validate_args=distribution.validate_args) if outer else distribution

    def _fixed_numbers(self, dtype):
        known = self.distribution_class.parameter_properties(dtype=dtype)
        numbers = {n: v for n, v in self.fixed.items() if n in known and np.asarray(v).dtype.kind in "fiu"}
        return {name: tf.convert_to_tensor(value, dtype) for name, value in numbers.items()}

    def _split(self, vector, names):
        if not names:
            return []
        sizes = [math.prod(self._shapes[name]) for name in names]
        blocks = tf.split(vector, sizes, axis=-1)
        return [
            tf.reshape(block, tf.concat([tf.shape(vector)[:-1], self._shapes[name]], 0))
            for name, block in zip(names, blocks, strict=True)
        ]

    def _link(self, name, dtype, values):
        if name in self.floor:
            return tfb.Softplus(low=tf.convert_to_tensor(self.floor[name], dtype))
        bijector = self._default_link(name, dtype)
        if bijector is None:
            bijector = _DEPENDENT_LINKS[name](self._fixed_numbers(dtype) | values)
        return bijector

    def _default_link(self, name, dtype):
        try:
            return self.distribution_class.parameter_properties(dtype=dtype)[name].default_constraining_bijector_fn()
        except (NotImplementedError, TypeError):  # TypeError: it is itself a distribution, or a simplex
            return None

    def _unconstrained_shape(self, name, properties):
        bijector = self._default_link(name, tf.float64)
        if bijector is None and name not in _DEPENDENT_LINKS:
            raise ValueError(
                f"{self.name} has no default link for its parameter `{name}`: hold it at a value, `{name}=...`."
            )
        if self.name in _CLASS_LABELS and properties.event_ndims == 1:
            shape = [*self.event_shape, self.num_classes + _CLASS_LABELS[self.name]]
        else:
            try:
                shape = properties.shape_fn(list(self.event_shape))
            except NotImplementedError:
                raise ValueError(
                    f"The shape of {self.name}'s parameter `{name}` does not follow from an outcome's shape: "
                    f"hold it at a value, `{name}=...`."
                ) from None
        link = bijector or _DEPENDENT_LINKS[name]({"low": 0.0, "high": 1.0, "tailweight": 1.0})
        return [int(size) for size in link.inverse_event_shape(shape)]

    def _layout(self):
        return " + ".join(f"{math.prod(self._shapes[n])} for `{n}`" for n in self.parameter_names) or "none is free"

    def _check_names(self, known):
        options = sorted(set(known) | set(self._signature) - {"self", "name"})
        for name in [*self.fixed, *self.shared, *self.floor]:
            if name not in options:
                raise ValueError(f"{self.name} has no parameter `{name}`. It has {', '.join(options)}.")
        needs_classes = self.name in _CLASS_LABELS
        if needs_classes != (self.num_classes is not None):
            raise ValueError(
                f"{self.name} needs `num_classes`, the number of classes its labels name."
                if needs_classes
                else f"{self.name} takes no `num_classes`: its size is its `event_shape`."
            )
        if needs_classes and (int(self.num_classes) != self.num_classes or self.num_classes < 2):
            raise ValueError(f"`num_classes` is {self.num_classes}, but classes are at least two: give an int >= 2.")

    def _check_free(self, free):
        for argument, names in (("shared", self.shared), ("floor", self.floor)):
            for name in names:
                if name not in free:
                    raise ValueError(
                        f"`{argument}` names `{name}`, but the free parameters of {self.name} are {', '.join(free)}."
                    )
        for name, value in self.floor.items():
            if not isinstance(self._default_link(name, tf.float64), tfb.Softplus):
                raise ValueError(f"`floor` names `{name}`, but only parameters with a softplus link have a floor.")
            if not value >= 0:
                raise ValueError(f"The floor of `{name}` is {value}: give a number >= 0.")

    def _check_builds(self):
        """Builds the distribution once, so that a fixed value out of its domain raises here and not in training."""
        with tf.init_scope():
            try:
                shared = tf.zeros([self.shared_size], tf.float64)
                built = self.distribution(tf.zeros([self.params_size], tf.float64), shared)
            except tf.errors.InvalidArgumentError as error:
                given = ", ".join(f"{name}={value!r}" for name, value in self.fixed.items())
                raise ValueError(f"{self.name} cannot be built with {given}: {assertion_text(error)}") from None
            except (TypeError, ValueError, NotImplementedError) as error:
                raise ValueError(f"{self.name} cannot be built from {self._layout()}: {error}") from None
        if built.event_shape != self.event_shape:
            raise ValueError(
                f"{self.name} with `event_shape` {self.event_shape} has events of shape {tuple(built.event_shape)}: "
                f"give that shape, or values of that shape."
            )


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
        if int(num_components) != num_components or num_components < 1:
            raise ValueError(f"`num_components` is {num_components}: give an int >= 1.")
        if kwargs.get("shared"):
            raise ValueError("A mixture's components share no parameters: drop `shared`.")
        self.component = Family(component, event_shape, **kwargs)
        self.num_components = int(num_components)
        self.name = f"Mixture of {self.num_components} {self.component.name}"
        self.event_shape = self.component.event_shape
        self.parameter_names = ("logits", *self.component.parameter_names)
        self.params_size = self.num_components * (1 + self.component.params_size)

    def parameters(self, params, shared=None):
        """The constrained parameters by name; every one has a component axis after the batch `[...]`."""
        logits, rest = self._split(params)
        return {"logits": logits} | self.component.parameters(rest)

    def distribution(self, params, shared=None):
        """The distribution of batch `[...]` and event `event_shape` at `params` `[..., params_size]`."""
        params = tf.convert_to_tensor(params)
        if params.shape[-1] != self.params_size:
            raise ValueError(
                f"`params` has shape {tuple(params.shape)}, but a {self.name} takes {self.params_size} numbers on the "
                f"last axis: {self.num_components} logits and {self.component.params_size} for each component. "
                f"Give the layer before it {self.params_size} units."
            )
        logits, rest = self._split(params)
        return tfd.MixtureSameFamily(
            tfd.Categorical(logits=logits), self.component.distribution(rest), validate_args=True
        )

    def _split(self, params):
        logits, rest = tf.split(params, [self.num_components, -1], axis=-1)
        shape = tf.concat([tf.shape(params)[:-1], [self.num_components, self.component.params_size]], 0)
        return logits, tf.reshape(rest, shape)


def family_class(distribution):
    """The `tfd.Distribution` subclass that `distribution`, a class or its name, stands for."""
    found = getattr(tfd, distribution, None) if isinstance(distribution, str) else distribution
    if not (inspect.isclass(found) and issubclass(found, tfd.Distribution)):
        raise ValueError(f"`distribution` is {distribution!r}: give a class of tfp.distributions or its name.")
    try:
        found.parameter_properties()
    except NotImplementedError:
        raise ValueError(f"TFP does not describe the parameters of {found.__name__}.") from None
    return found


def has_class_labels(distribution):
    """Whether outcomes are class labels, where `[B, 1]` can only mean one label a row, as in Keras's sparse losses."""
    return type(distribution).__name__ in _CLASS_LABELS


def _as_shape(event_shape):
    sizes = tuple(event_shape) if np.iterable(event_shape) else (event_shape,)
    for size in sizes:
        if not isinstance(size, (int, np.integer)) or size < 1:
            raise ValueError(f"`event_shape` is {event_shape!r}: give an int >= 1 or a tuple of them.")
    return tuple(int(size) for size in sizes)


def _log_odds(name):
    """The names under which TFP knows a probability on the real line."""
    return {name.replace("probs", "logits"), name.replace("probs", "probits")} - {name}


def assertion_text(error):
    """What a failed assertion of TFP says, without its frame and without the values it prints."""
    text = error.message.rpartition("}} ")[2].rpartition("Summarized data: b'")[2].partition("\n")[0]
    return re.sub(r"`\[.*?(\]`|$)", "the value", text).rstrip(" .'") + "."
