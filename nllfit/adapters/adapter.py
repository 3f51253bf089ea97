"""The interface of an adapter: operations on a model that depend on its Keras version."""

import abc
import copy
import types
from collections.abc import Callable
from typing import Any, ClassVar, TypeAlias

import tensorflow as tf

__all__ = ["FUNCTION_ARGUMENTS", "Adapter", "Model"]

FUNCTION_ARGUMENTS = "_fn_kwargs"
"""The attribute of a loss or metric with the arguments of its function, such as the `delta` of a Huber loss.

Some of these arguments are not in the config of the loss. If we compared only configs, Keras 3 models that differ in
such an argument would share a program.
"""

Model: TypeAlias = Any  # a model of tf_keras or Keras 3; the two have no common base class


class Adapter(abc.ABC):
    """The operations on one model that tf_keras and Keras 3 implement differently.

    Attributes:
      keras: the module `tf_keras` or `keras`.
      namespace: the name of the `nllfit` module with the heads, losses and metrics for this Keras version.
      loss_text: the loss that error messages suggest.
      step_reduction: how this Keras version combines the losses and metrics of replicas, "SUM" or "MEAN".
    """

    keras: ClassVar[types.ModuleType]
    namespace: ClassVar[str]
    loss_text: ClassVar[str]
    step_reduction: ClassVar[str]

    def __init__(self, model: Model):
        self._model = model

    @property
    @abc.abstractmethod
    def layers(self) -> list:
        """The model and all its layers, including layers inside layers."""

    @property
    @abc.abstractmethod
    def made_by_compile(self) -> list:
        """Objects that `compile` replaces. If one is no longer the same object, the model was compiled again."""

    @property
    @abc.abstractmethod
    def compile_arguments(self) -> dict:
        """The arguments that the user passed to `model.compile`."""

    @property
    @abc.abstractmethod
    def random_states(self) -> list:
        """The states of random generators, except the states that `model.variables` contains."""

    @property
    @abc.abstractmethod
    def excludes_from_weight_decay(self) -> bool:
        """Whether the optimizer's `exclude_from_weight_decay` was called. The optimizer's config does not show this."""

    @staticmethod
    @abc.abstractmethod
    def repeats_a_layer(sequential: Model) -> bool:
        """Whether a `Sequential` contains a layer twice. The config does not show this: it contains each layer once."""

    @property
    @abc.abstractmethod
    def penalties(self) -> list[Callable[[], Any]]:
        """Functions that return the penalties of the weights.

        A regularizer that was set after its layer was built is left out, because Keras ignores it. (The layer's config
        contains it, so a copy of the layer applies it.)
        """

    @staticmethod
    @abc.abstractmethod
    def is_unknown_variable(error: Exception) -> bool:
        """Whether the optimizer raised `error` because it has no state for a weight."""

    def clone(self, clone_layer: Callable[[Any], Any]) -> Model:
        """Returns a copy of the model in which `clone_layer(layer)` replaces each layer."""
        return self.keras.models.clone_model(self._model, clone_function=clone_layer)

    def compile_copy(self, copied: Model, copy_loss: Callable[[Any], Any] = copy.copy) -> list:
        """Compiles a copy of the model with copies of the model's losses. Returns the copied losses."""
        losses = tf.nest.map_structure(copy_loss, self._model.loss)
        copied.compile(loss=losses, loss_weights=self.compile_arguments["loss_weights"])
        return tf.nest.flatten(losses)

    @abc.abstractmethod
    def compile_in_float64(self, twin: Model) -> None:
        """Compiles `twin`, a float64 copy of the model, with the losses of the model."""

    @abc.abstractmethod
    def build_metrics(self, y: Any) -> None:
        """Creates the variables of the loss and the metrics.

        Otherwise the first training step on outcomes `y` would create them.
        """

    @abc.abstractmethod
    def build_replicas(self, batch: tuple) -> None:
        """Creates the variables of a training step on `batch`, if a trace for several replicas cannot create them."""

    @staticmethod
    @abc.abstractmethod
    def set_start(bar: Any, seconds: float) -> None:
        """Sets the time at which a `ProgbarLogger` starts to count the seconds of an epoch."""
