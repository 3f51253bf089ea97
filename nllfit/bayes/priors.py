"""The prior of a `KLDivergence`: one distribution for all rows.

The prior is fixed, learned, or the output of layers.
"""

import abc
import sys
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.families.configs import plain, restored
from nllfit.families.copies import arguments_of, with_parameters
from nllfit.families.family_base import ParametricFamily
from nllfit.families.head_arguments import example_of
from nllfit.families.head_base import Head
from nllfit.families.tfp_classes import plain_class
from nllfit.head_outputs import as_distribution

__all__ = ["Prior", "as_prior", "from_keras", "to_keras"]

_DISTRIBUTION, _DTYPE, _KERAS = "distribution_class", "dtype_name", "keras"  # keys in a prior's config


class Prior(abc.ABC):
    """A prior distribution, possibly with learned parameters.

    Attributes:
      given: the distribution, family or layer that the user gave.
      layers: the Keras layers that compute the prior.
      num_learned: the length of the vector of learned parameters. The vector is a weight of the head.
    """

    layers: tuple[Any, ...] = ()
    num_learned: int = 0

    def __init__(self, given: Any):
        self.given = given

    @abc.abstractmethod
    def distribution(self, learned: tf.Tensor | None) -> tfd.Distribution:
        """Returns the distribution for a vector of learned parameters. Its batch shape is `[]` or `[1]`."""

    @abc.abstractmethod
    def example(self) -> tfd.Distribution | None:
        """Returns a distribution of the prior's class and shapes, or None if only a call of the layers reveals them."""

    @abc.abstractmethod
    def config(self) -> Any:
        """Returns plain values from which `as_prior` restores the prior.

        Raises a `NotImplementedError` if the prior cannot be saved.
        """


class _Fixed(Prior):
    def __init__(self, distribution):
        if not isinstance(distribution.event_shape, tf.TensorShape):
            raise ValueError(
                f"`prior` is a {distribution.name}, whose outcomes are several tensors: give a distribution of one "
                f"tensor, such as a `tfd.Blockwise` of its parts."
            )
        if distribution.trainable_variables:
            names = ", ".join(v.name for v in distribution.trainable_variables)
            raise ValueError(
                f"`prior` is a {distribution.name} with the variables {names}, which Keras would not train: give a "
                f'family, such as `nllfit.Family("Normal", 2)`, whose parameters are learned with the head.'
            )
        super().__init__(distribution)

    def distribution(self, learned):
        # Several models can share a traced program only if the program has captured no tensor. Arrays become constants
        # of the program instead, so the parameters are converted to arrays.
        return with_parameters(self.given, lambda value, _: _as_array(value))

    def example(self):
        return self.given

    def config(self):
        return _plain_distribution(self.given)


def _as_array(value):
    """Converts a constant tensor to an array. Returns any other value unchanged."""
    array = tf.get_static_value(value) if tf.is_tensor(value) and not isinstance(value, tf.Variable) else None
    return value if array is None else array


class _Learned(Prior):
    def __init__(self, family):
        if family.shared:
            raise ValueError(
                f"`prior` is a {family.name} with `shared` parameters, but all parameters of a prior are the same for "
                f"every row: leave `shared` out."
            )
        super().__init__(family)
        self.num_learned = family.params_size

    def distribution(self, learned):
        if learned is None:
            raise ValueError(
                "`prior` is a family, whose parameters are learned with a head: give the divergence to the head as "
                "`activity_regularizer`, or let `prior` be a distribution."
            )
        return self.given.holding({"validate_args": False}).distribution(learned)

    def example(self):
        return example_of(self.given)

    def config(self):
        return plain(self.given)


class _OfLayers(Prior):
    def __init__(self, layer):
        super().__init__(layer)
        self.layers = (layer,)

    def distribution(self, learned):
        return as_distribution(self.given(tf.ones([1, 1])), "What `prior` returns")

    def example(self):
        return None

    def config(self):
        return to_keras(self.given)


def as_prior(value: Any) -> Prior:
    """Returns the prior for a user's argument `prior`, or for the result of `Prior.config` in a saved file."""
    value = _restored_distribution(restored(from_keras(value)))
    if isinstance(value, ParametricFamily):
        return _Learned(value)
    if isinstance(value, tfd.Distribution):
        return _Fixed(value)
    if _keras_of(value) is not None and callable(value) and not isinstance(value, Head):
        return _OfLayers(value)
    raise ValueError(
        f"`prior` is a {'head' if isinstance(value, Head) else type(value).__name__}: give a distribution, such as "
        f'`tfd.MultivariateNormalDiag(tf.zeros(2))`, a family, such as `nllfit.Family("Normal", 2)`, whose parameters '
        f"are then learned, or a Keras model that ends in a head."
    )


def to_keras(value: Any) -> dict:
    """Serialises a layer or a schedule of Keras 2 or Keras 3 to a dict, from which `from_keras` restores it."""
    keras = _keras_of(value)
    return {_KERAS: keras, "object": sys.modules[keras].saving.serialize_keras_object(value)}


def from_keras(value: Any) -> Any:
    """Restores the layer or schedule from a dict that `to_keras` returned. Returns any other value unchanged."""
    if isinstance(value, dict) and value.keys() == {_KERAS, "object"}:
        return sys.modules[value[_KERAS]].saving.deserialize_keras_object(value["object"])
    return value


def _keras_of(value):
    """Returns "tf_keras" or "keras", the package that defines the object's class or a base class; otherwise None."""
    roots = [cls.__module__.partition(".")[0] for cls in type(value).__mro__]
    return next((root for root in roots if root in ("tf_keras", "keras")), None)


def _plain_distribution(value):
    """Converts a distribution to a dict that contains its class name and its arguments. Arrays keep their dtypes."""
    if isinstance(value, tfd.Distribution):
        cls = plain_class(type(value))
        name = cls.__name__.lstrip("_")
        if cls in getattr(tfd, name, object).__mro__[:2]:  # TFP's class, or its private base (see `tfp_classes`)
            arguments = {key: _plain_distribution(item) for key, item in arguments_of(value).items()}
            return {_DISTRIBUTION: name} | arguments
    elif isinstance(value, (str, bool, int, float)) or value is None:
        return value
    elif isinstance(value, (list, tuple)):
        return [_plain_distribution(item) for item in value]
    elif isinstance(value, tf.DType):
        return {_DTYPE: value.name}
    elif isinstance(value, (np.ndarray, np.generic)) or (tf.is_tensor(value) and not isinstance(value, tf.Variable)):
        array = np.asarray(value)
        return {_DTYPE: array.dtype.name, "values": array.tolist()}
    raise NotImplementedError(
        f"A prior with a {type(value).__name__} in it cannot be saved or cloned: give a distribution of TFP's whose "
        f"parameters are numbers, or a family, whose parameters are learned."
    )


def _restored_distribution(value):
    if isinstance(value, list):
        return [_restored_distribution(item) for item in value]
    if isinstance(value, dict) and value.keys() == {_DTYPE}:
        return tf.as_dtype(value[_DTYPE])
    if isinstance(value, dict) and _DTYPE in value:
        return np.array(value["values"], value[_DTYPE])
    if isinstance(value, dict) and _DISTRIBUTION in value:
        arguments = {key: _restored_distribution(item) for key, item in value.items() if key != _DISTRIBUTION}
        return getattr(tfd, value[_DISTRIBUTION])(**arguments)
    return value
