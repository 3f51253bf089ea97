"""Functions that need only public names of both Keras versions: a model's variables, and which code is Keras's."""

import contextlib
import functools
import itertools
import re
import types
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from nllfit.adapters import Model, adapter_of
from nllfit.adapters.tensorflow import trace

__all__ = [
    "build_training",
    "float_dtype",
    "is_keras_code",
    "is_plain",
    "parts_of",
    "sparse_if_taken",
    "training_variables",
    "variable_of",
]


def float_dtype(model: Model) -> str:
    """The dtype for NumPy's floats: Keras's default, or float64 where the model computes in it."""
    keras = adapter_of(model).keras
    parts = model.variables if model.built else model.layers
    is_float64 = any(getattr(part, "dtype", None) == "float64" for part in parts)
    return "float64" if is_float64 else keras.backend.floatx()


def variable_of(weight: Any) -> tf.Variable:
    """The `tf.Variable` behind a weight."""
    return weight if isinstance(weight, tf.Variable) else weight.value


@contextlib.contextmanager
def sparse_if_taken(model: Model, x: Any) -> Iterator[None]:
    """Replaces the error of a call of the model by a `ValueError` if it takes only the dense form of sparse `x`."""
    try:
        yield
    except Exception:  # each layer raises another type for a sparse tensor
        leaves = tf.nest.flatten(x)
        if not any(isinstance(leaf, tf.SparseTensor) for leaf in leaves):
            raise
        specs = [tf.TensorSpec([None, *leaf.shape[1:]], leaf.dtype) for leaf in leaves]
        dense = tf.nest.pack_sequence_as(x, specs)
        trace(tf.function(lambda x: model(x, training=False)), dense)  # raises if sparse rows are not the reason
        raise ValueError(
            "`x` is sparse, but the first layers of the model take only dense rows: begin the model with a `Dense`, or "
            "give `x.toarray()`."
        ) from None


def parts_of(model: Model, weight: Any) -> tuple[tf.Variable, ...]:
    """The variables behind a weight, one for each of this process's replicas of the model."""
    return model.distribute_strategy.experimental_local_results(variable_of(weight))


def training_variables(model: Model) -> list[tf.Variable]:
    """Every variable that a training step may use: the model's, its optimizer's and its metrics', each once."""
    optimizer = model.optimizer
    slots = optimizer.variables() if callable(optimizer.variables) else optimizer.variables
    rates = [value for value in vars(optimizer).values() if isinstance(value, tf.Variable)]
    metrics = [v for metric in model.metrics for v in metric.variables]
    found = [*model.variables, *slots, *rates, *metrics, *adapter_of(model).random_states]
    found = [part for v in found if hasattr(v, "dtype") for part in parts_of(model, v)]  # tf_keras also lists tables
    return list({id(variable): variable for variable in found}.values())


def build_training(model: Model, y: Any) -> None:
    """Makes the variables that the first training step of a plain model on outcomes `y` would make."""
    with model.distribute_strategy.scope(), tf.variable_creator_scope(_with_equal_names()):
        if not getattr(model.optimizer, "built", False):  # tf_keras's optimizer builds its slots only once
            model.optimizer.build(model.trainable_variables)
    adapter_of(model).build_metrics(y)


def _with_equal_names():
    """A creator of variables that gives them the same names in each model of an architecture.

    Keras numbers the names of layers and optimizers over all models. For each new name TensorFlow creates an operation
    and keeps it, which takes five times as long as creating the variable.
    """
    numbers = itertools.count()

    def create(next_creator, **kwargs):
        name = re.sub(r"_\d+(?=[/_])", "", kwargs.get("name") or "")
        with tf.name_scope("optimizer/"):  # instead of the current scope
            return next_creator(**kwargs | {"name": f"{name}_{next(numbers)}"})

    return create


def is_plain(model: Model) -> bool:
    """Whether a model is a `Sequential` or functional model, not of a user's class, whose output is one tensor."""
    known: Any = model
    keras = adapter_of(model).keras
    if type(model) is _functional(keras):
        return not tf.nest.is_nested(known.output)
    return type(model) is keras.Sequential and len(getattr(known, "outputs", None) or []) == 1


@functools.cache
def _functional(keras: types.ModuleType) -> type:
    """The class of a graph of layers, which has no public name in either Keras."""
    inputs = keras.Input([1], name="inputs")
    outputs = keras.layers.Identity(name="outputs")(inputs)  # Keras 3.12 refuses a model without a layer
    return type(keras.Model(inputs, outputs, name="functional"))


def is_keras_code(function: Callable) -> bool:
    """Whether a function or class belongs to tf_keras or Keras 3, and is not a user's."""
    return function.__module__.startswith(("keras.", "tf_keras."))
