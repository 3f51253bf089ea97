"""The private names of tf_keras that `nllfit` uses, and what breaks without each."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tf_keras

# Without `in_safe_mode`, `nllfit.safety` could not stop TFP's layers from running code from a model file.
from tf_keras.src.saving.serialization_lib import in_safe_mode

from nllfit.adapters.adapter import Adapter, Model

__all__ = ["Drawing", "Keras2", "in_safe_mode"]


class Keras2(Adapter):
    """A model of tf_keras.

    `Adapter` says what each method does. If a method uses a private name of tf_keras, the method's docstring here says
    why the method needs this name.
    """

    keras = tf_keras
    namespace = "nllfit"
    loss_text = "nllfit.negative_log_likelihood"
    step_reduction = "SUM"

    @property
    def layers(self) -> list:
        """Without `_flatten_layers`, inner layers would be missing: `model.layers` has only the outermost layers."""
        return list(self._model._flatten_layers())

    @property
    def made_by_compile(self) -> list:
        """Returns the optimizer and `compiled_loss`.

        A second `compile` may keep the optimizer. Without `compiled_loss`, we would not notice the second `compile`,
        and training would use the old loss.
        """
        return [getattr(self._model, "optimizer", None), vars(self._model).get("compiled_loss")]

    @property
    def compile_arguments(self) -> dict:
        """Without `_compile_config`, models could not share a program.

        The public `get_compile_config` does not suffice, because it returns serialized objects.
        """
        return dict(self._model._compile_config.config)

    @property
    def random_states(self) -> list:
        """Without `_random_generator._generator`, a resumed run would draw other dropout masks than a full run."""
        wrappers = [getattr(layer, "_random_generator", None) for layer in self.layers]
        # A Keras layer wraps its generator. The `_random_generator` of a head is the generator itself.
        generators = [getattr(wrapper, "_generator", wrapper) for wrapper in wrappers]
        return [generator.state for generator in generators if isinstance(generator, tf.random.Generator)]

    @property
    def excludes_from_weight_decay(self) -> bool:
        """Only the attributes `_exclude_from_weight_decay*` show that the optimizer excludes weights from decay.

        If we did not read them, the model could get the program of another model, which decays these weights.
        """
        names = ("_exclude_from_weight_decay", "_exclude_from_weight_decay_names")
        return any(getattr(self._model.optimizer, name, None) for name in names)

    @staticmethod
    def repeats_a_layer(sequential: Model) -> bool:
        # `layers` contains a repeated layer only once. But such a layer has an inbound node for each of its calls.
        return any(len(layer.inbound_nodes) > 1 for layer in sequential.layers)

    @property
    def penalties(self) -> list[Callable[[], Any]]:
        """Reads `_callable_losses`, because this list does not contain the regularizers that Keras ignores."""
        return [penalty for layer in self.layers for penalty in layer._callable_losses]

    @staticmethod
    def is_unknown_variable(error: Exception) -> bool:
        return isinstance(error, KeyError) and "optimizer cannot recognize variable" in str(error)

    def compile_in_float64(self, twin: Model) -> None:
        self.compile_copy(twin)

    def build_metrics(self, y: Any) -> None:
        """Calls `build` of `compiled_loss` and `compiled_metrics` to create the variables of the loss and the metrics.

        A program for several models needs these variables before the first training step.
        """
        (y_pred,) = self._model.outputs
        if not self._model.compiled_loss.built:
            self._model.compiled_loss.build(y_pred)
        if not self._model.compiled_metrics.built:
            self._model.compiled_metrics.build(y_pred, y)

    def build_replicas(self, batch: tuple) -> None:
        pass

    @staticmethod
    def set_start(bar: Any, seconds: float) -> None:
        """Without `_start`, the progress bar would show wrong times for epochs that ran together in one call."""
        bar.progbar._start = bar.progbar._time_at_epoch_start = seconds


class Drawing:
    """The base class of layers that draw random numbers. `Keras2.random_states` reads their generators."""

    def _start_draws(self, seed):
        with tf.init_scope():
            self._random_generator = tf.random.Generator.from_seed(seed)

    def _next_seed(self):
        return tf.cast(self._random_generator.make_seeds()[:, 0], tf.int32)
