"""The private names of Keras 3 that `nllfit` uses, and what breaks without each."""

import copy
import functools
import traceback
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

# Without `LossFunctionWrapper`, a loss given as a name or a function would have no dtype. It could then not be computed
# in float64.
from keras.src.losses.losses import LossFunctionWrapper

from nllfit.adapters.adapter import Adapter, Model

__all__ = ["Drawing", "Keras3", "infers_shapes", "set_minimized"]


class Keras3(Adapter):
    """A model of Keras 3.

    `Adapter` says what each method does. If a method uses a private name of Keras, the method's docstring here says
    why the method needs this name.
    """

    keras = keras
    namespace = "nllfit.keras3"
    loss_text = "nllfit.keras3.NegativeLogLikelihood()"
    step_reduction = "MEAN"

    @property
    def layers(self) -> list:
        """Without `_flatten_layers`, inner layers would be missing: `model.layers` has only the outermost layers."""
        return list(self._model._flatten_layers())

    @property
    def made_by_compile(self) -> list:
        """Returns the optimizer and `_loss_tracker`.

        A second `compile` may keep the optimizer. Without `_loss_tracker`, we would not notice the second `compile`,
        and training would use the old loss.
        """
        return [getattr(self._model, "optimizer", None), vars(self._model).get("_loss_tracker")]

    @property
    def compile_arguments(self) -> dict:
        """Without `_compile_config`, models could not share a program.

        The public `get_compile_config` does not suffice, because it returns serialized objects.
        """
        return dict(self._model._compile_config.config)

    @property
    def random_states(self) -> list:
        return []  # in Keras 3, `model.variables` contains all these states

    @property
    def excludes_from_weight_decay(self) -> bool:
        """Only the attributes `_exclude_from_weight_decay*` show that the optimizer excludes weights from decay.

        If we did not read them, the model could get the program of another model, which decays these weights.
        """
        names = ("_exclude_from_weight_decay", "_exclude_from_weight_decay_pattern")
        return any(getattr(self._model.optimizer, name, None) for name in names)

    @staticmethod
    def repeats_a_layer(sequential: Model) -> bool:
        return len({id(layer) for layer in sequential.layers}) < len(sequential.layers)

    @property
    def penalties(self) -> list[Callable[[], Any]]:
        weights = self._model.trainable_weights
        return [functools.partial(weight.regularizer, weight) for weight in weights if weight.regularizer is not None]

    @staticmethod
    def is_unknown_variable(error: Exception) -> bool:
        """Recognizes the error by the name `_check_variables_are_known` in its traceback.

        In a graph, Keras 3.12 raises another error while it composes the error's message. So we do not read the
        message.
        """
        return any(frame.name == "_check_variables_are_known" for frame in traceback.extract_tb(error.__traceback__))

    def clone(self, clone_layer: Callable[[Any], Any]) -> Model:
        """Passes `input_tensors` for sparse inputs, because `clone_model` would otherwise make them dense."""
        model = self._model
        if not any(t.sparse for t in model.inputs or []):
            return super().clone(clone_layer)
        inputs = keras.tree.map_structure(
            lambda t: keras.Input(batch_shape=t.shape, dtype=t.dtype, sparse=t.sparse, name=t.name),
            model.inputs[0] if isinstance(model, keras.Sequential) else model.input,
        )
        return keras.models.clone_model(model, input_tensors=inputs, clone_function=clone_layer)

    def compile_in_float64(self, twin: Model) -> None:
        """If we did not set the attribute `_dtype` of the losses, `twin` would silently compute its loss in float32."""
        losses = self.compile_copy(twin, _as_object)
        for loss in [twin._compile_loss, *losses]:
            if loss is not None:
                loss._dtype = "float64"

    def build_metrics(self, y: Any) -> None:
        """Calls `build` of `_compile_loss` and `_compile_metrics` to create the variables of the loss and the metrics.

        A program for several models needs these variables before the first training step.
        """
        (y_pred,) = self._model.outputs
        for container in (self._model._compile_loss, self._model._compile_metrics):
            if container is not None and not container.built:
                container.build(y, y_pred)

    def build_replicas(self, batch: tuple) -> None:
        """Creates the variables by `_maybe_symbolic_build`, because a trace for several replicas cannot create them."""
        if self._model.distribute_strategy.num_replicas_in_sync > 1:
            self._model._maybe_symbolic_build(data_batch=batch)

    @staticmethod
    def set_start(bar: Any, seconds: float) -> None:
        """Without `_start`, the progress bar would show wrong times for epochs that ran together in one call."""
        bar.progbar._start = bar.progbar._time_at_epoch_start = seconds


def _as_object(loss):
    """Returns a copy of a loss. A name or a function becomes an object, and None stays None."""
    loss = copy.copy(keras.losses.get(loss))
    return loss if loss is None or isinstance(loss, keras.losses.Loss) else LossFunctionWrapper(loss)


def infers_shapes() -> bool:
    """Whether Keras is only inferring shapes, for example before it trains on several devices.

    Keras then passes tensors without a distribution to the losses. Without `SymbolicScope.original_scope`, our losses
    raise an error for these tensors, and training on several devices fails.
    """
    with keras.SymbolicScope() as scope:
        return scope.original_scope is not None


def set_minimized(metric: Any) -> None:
    """Marks lower values of a metric as better. Without `_direction`, `EarlyStopping("val_nll")` raises an error."""
    metric._direction = "down"


class Drawing:
    """The base class of layers that draw random numbers. The state of the generator is a variable of the layer."""

    def _start_draws(self, seed):
        self.random_seeds = keras.random.SeedGenerator(seed)

    def _next_seed(self):
        seed, replica = tf.cast(self.random_seeds.next(), tf.int32), tf.distribute.get_replica_context()
        if replica is None or replica.num_replicas_in_sync == 1:
            return seed
        # Keras gives all replicas the same seed, so each replica combines the seed with its replica id.
        return tf.random.experimental.stateless_fold_in(seed, replica.replica_id_in_sync_group)
