"""Functions on models that use only public names of both Keras versions."""

import functools
import itertools
import re
import types
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from nllfit.adapters import Model, adapter_of
from nllfit.adapters.tensorflow import trace

__all__ = [
    "build_training",
    "is_keras_code",
    "is_plain",
    "parts_of",
    "trace_call",
    "trainable_flags",
    "training_variables",
    "variable_of",
    "variables_of",
]


def variable_of(weight: Any) -> tf.Variable:
    """Returns the `tf.Variable` of a weight: in tf_keras the weight itself, and in Keras 3 its attribute `value`."""
    return weight if isinstance(weight, tf.Variable) else weight.value


def variables_of(model: Model) -> list[tf.Variable]:
    """Returns the variables of a model, without lookup tables, which have no dtype."""
    return [variable_of(weight) for weight in model.variables if hasattr(weight, "dtype")]


def trace_call(model: Model, specs: Any) -> None:
    """Traces a call of the model on inputs of these specs. The trace builds the model if necessary."""
    with model.distribute_strategy.scope():
        trace(tf.function(lambda x: model(x, training=False)), specs)


def parts_of(model: Model, weight: Any) -> tuple[tf.Variable, ...]:
    """Returns the variables of a weight, one for each replica of the model in this process."""
    return model.distribute_strategy.experimental_local_results(variable_of(weight))


def training_variables(model: Model) -> list[tf.Variable]:
    """Returns all variables that a training step may use.

    They belong to the model, its optimizer, its metrics and its random generators.
    """
    optimizer = model.optimizer
    slots = optimizer.variables() if callable(optimizer.variables) else optimizer.variables
    rates = [value for value in vars(optimizer).values() if isinstance(value, tf.Variable)]
    metrics = [v for metric in model.metrics for v in metric.variables]
    variables = [*model.variables, *slots, *rates, *metrics, *adapter_of(model).random_states]
    # A lookup table has no dtype.
    variables = [part for v in variables if hasattr(v, "dtype") for part in parts_of(model, v)]
    return list({id(variable): variable for variable in variables}.values())


def trainable_flags(model: Model) -> tuple:
    """Returns whether each layer and each variable of a model is trainable. A program is valid only for these flags."""
    return tuple(getattr(part, "trainable", None) for part in [*adapter_of(model).layers, *model.variables])


def build_training(model: Model, y: Any) -> None:
    """Creates the variables that the first training step on outcomes `y` would create.

    The model must fulfil `is_plain`.
    """
    with model.distribute_strategy.scope(), tf.variable_creator_scope(_with_equal_names()):
        # An optimizer of tf_keras has no `built`. A second call of its `build` does nothing.
        if not getattr(model.optimizer, "built", False):
            model.optimizer.build(model.trainable_variables)
    adapter_of(model).build_metrics(y)


def _with_equal_names():
    """Returns a variable creator. Corresponding variables of models with the same architecture get the same name.

    Keras counts layers and optimizers across models (`dense`, `dense_1`), so the variables of each model have new
    names. TensorFlow creates and keeps an operation for each new name. Creating the operation takes five times as long
    as creating the variable.
    """
    counter = itertools.count()

    def create(next_creator, **kwargs):
        name = re.sub(r"_\d+(?=[/_])", "", kwargs.get("name") or "")
        with tf.name_scope("optimizer/"):  # the slash makes it a top-level scope
            return next_creator(**kwargs | {"name": f"{name}_{next(counter)}"})

    return create


def is_plain(model: Model) -> bool:
    """Whether a model is a Keras `Sequential` or functional model with one output tensor. Subclasses do not count."""
    untyped_model: Any = model
    keras = adapter_of(model).keras
    if type(model) is _functional(keras):
        return not tf.nest.is_nested(untyped_model.output)
    return type(model) is keras.Sequential and len(getattr(untyped_model, "outputs", None) or []) == 1


@functools.cache
def _functional(keras: types.ModuleType) -> type:
    """Returns Keras's class of functional models. It has no public name in either Keras version."""
    inputs = keras.Input([1], name="inputs")
    outputs = keras.layers.Identity(name="outputs")(inputs)  # Keras 3.12 refuses a model without a layer
    return type(keras.Model(inputs, outputs, name="functional"))


def is_keras_code(function: Callable) -> bool:
    """Whether `function`, a function or class, is defined in tf_keras or Keras 3."""
    return function.__module__.startswith(("keras.", "tf_keras."))
