"""The interface of an adapter: operations on a model that depend on its Keras version."""

import abc
import types
from collections.abc import Callable
from typing import Any, ClassVar, TypeAlias

__all__ = ["Adapter", "Model"]

Model: TypeAlias = Any  # of tf_keras or Keras 3, whose models have no common class


class Adapter(abc.ABC):
    """A model, seen through its Keras version.

    Attributes:
      keras: the module `tf_keras` or `keras`.
      namespace: the name of the `nllfit` module with the heads, losses and metrics for this Keras version.
      loss_text: the loss that error messages suggest.
      step_reduction: "SUM" or "MEAN", the way in which this Keras version combines the logs of several replicas.
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
        """Objects that `compile` replaces; a new object shows that the model was compiled again."""

    @property
    @abc.abstractmethod
    def compile_arguments(self) -> dict:
        """The arguments of `model.compile`, as they were given."""

    @property
    @abc.abstractmethod
    def random_states(self) -> list:
        """The states of random generators that are not among `model.variables`."""

    @property
    @abc.abstractmethod
    def excludes_from_weight_decay(self) -> bool:
        """Whether the optimizer's `exclude_from_weight_decay` was called, which no config shows."""

    def clone(self, clone_layer: Callable[[Any], Any]) -> Model:
        """A copy of the model in which `clone_layer(layer)` replaces each layer."""
        return self.keras.models.clone_model(self._model, clone_function=clone_layer)

    @abc.abstractmethod
    def compile_in_float64(self, twin: Model) -> None:
        """Compiles a float64 copy of the model with the model's losses."""

    @abc.abstractmethod
    def build_metrics(self, y: Any) -> None:
        """Creates the variables of loss and metrics that the first training step on outcomes `y` would create."""

    @abc.abstractmethod
    def build_replicas(self, batch: tuple) -> None:
        """Creates the variables of the first training step on `batch`, if a program of several replicas cannot."""

    @staticmethod
    @abc.abstractmethod
    def set_start(bar: Any, seconds: float) -> None:
        """Sets the time from which a `ProgbarLogger` counts the seconds of an epoch."""
