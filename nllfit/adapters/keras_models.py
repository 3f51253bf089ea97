"""Functions on models that use only public names of both Keras versions."""

import contextlib
import functools
import itertools
import re
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from nllfit.adapters import Model, adapter_of
from nllfit.adapters.tensorflow import reason_of, trace

__all__ = [
    "build_training",
    "by_input",
    "check_shapes",
    "float_dtype",
    "inputs_of",
    "is_keras_code",
    "is_plain",
    "parts_of",
    "refusal_of",
    "sparse_if_taken",
    "trace_call",
    "trainable_flags",
    "training_variables",
    "variable_of",
    "variables_of",
]


def float_dtype(model: Model) -> str:
    """Returns the dtype to which the model's NumPy inputs are cast.

    It is float64 if a variable or layer of the model has this dtype, and otherwise Keras's `floatx`.
    """
    keras = adapter_of(model).keras
    parts = model.variables if model.built else model.layers
    is_float64 = any(getattr(part, "dtype", None) == "float64" for part in parts)
    return "float64" if is_float64 else keras.backend.floatx()


def variable_of(weight: Any) -> tf.Variable:
    """Returns the `tf.Variable` of a weight: in tf_keras the weight itself, and in Keras 3 its attribute `value`."""
    return weight if isinstance(weight, tf.Variable) else weight.value


def variables_of(model: Model) -> list[tf.Variable]:
    """Returns the variables of a model, without lookup tables, which have no dtype."""
    return [variable_of(weight) for weight in model.variables if hasattr(weight, "dtype")]


def inputs_of(element: Any) -> Any:
    """Returns the inputs in an element of a dataset, which may be a tuple with outcomes and weights."""
    return element[0] if isinstance(element, tuple) else element


def by_input(model: Model, x: Any) -> list:
    """Returns the arrays of `x` in the order of `model.inputs`, as Keras feeds them.

    If `x` is a dict, Keras looks up the array for each input by a key. If the model was created with a dict of inputs,
    the keys of that dict are used. Otherwise the key for an input is the name of the input.
    """
    input_structure, inputs = getattr(model, "input", None), getattr(model, "inputs", None) or []
    keys = sorted(input_structure) if isinstance(input_structure, Mapping) else [tensor.name for tensor in inputs]
    has_all_keys = isinstance(x, Mapping) and keys and all(key in x for key in keys)
    return tf.nest.flatten([x[key] for key in keys] if has_all_keys else x)


def trace_call(model: Model, specs: Any) -> None:
    """Traces a call of the model on inputs of these specs. The trace builds the model if necessary."""
    with model.distribute_strategy.scope():
        trace(tf.function(lambda x: model(x, training=False)), specs)


def check_shapes(model: Model, arrays: Sequence) -> None:
    """Raises a `ValueError` if rows have another shape than the model's inputs, or are strings instead of numbers."""
    inputs = tf.nest.flatten(getattr(model, "inputs", None) or [])
    if len(inputs) != len(arrays):
        return
    for array, tensor in zip(arrays, inputs, strict=True):
        row, expected = np.shape(array)[1:], tf.TensorShape(tensor.shape)[1:]
        # Keras adds or drops a last axis of length 1. Rows may have more leading axes than the model's inputs, because
        # layers and heads treat such axes like a batch.
        accepted_shapes = [row, (*row, 1), *([row[:-1]] if row[-1:] == (1,) else [])]
        accepted_shapes += [row[-expected.rank :]] if expected.rank else []
        if not any(map(expected.is_compatible_with, accepted_shapes)):
            raise ValueError(
                f"`x` has rows of shape {tuple(row)}, but the model takes rows of shape {tuple(expected)}: give the "
                f"columns that it was trained on."
            )
        if array.dtype == tf.string and tf.as_dtype(tensor.dtype) != tf.string:
            raise ValueError(
                "`x` holds strings, and the model takes numbers: encode the strings, for example by Keras's "
                "`StringLookup`."
            )


@contextlib.contextmanager
def sparse_if_taken(model: Model, x: Any) -> Iterator[None]:
    """Runs a block that calls the model on `x`, and explains an error if the model does not accept sparse rows.

    If the block fails and `x` is sparse, the model is traced with dense rows. If this trace succeeds, a `ValueError`
    says that the model accepts only dense rows. If the trace fails, its error is raised.
    """
    try:
        yield
    except Exception:  # layers differ in the type of error that they raise for a sparse tensor
        leaves = tf.nest.flatten(x)
        if not any(isinstance(leaf, tf.SparseTensor) for leaf in leaves):
            raise
        specs = [tf.TensorSpec([None, *leaf.shape[1:]], leaf.dtype) for leaf in leaves]
        dense = tf.nest.pack_sequence_as(x, specs)
        trace_call(model, dense)  # raises if sparse rows are not the reason
        raise ValueError(
            "`x` is sparse, but the first layers of the model take only dense rows: begin the model with a `Dense`, or "
            "give `x.toarray()`."
        ) from None


@contextlib.contextmanager
def refusal_of(rows: str) -> Iterator[None]:
    """Runs a block that calls a model, and explains TensorFlow's error about inputs that a layer cannot take.

    Args:
      rows: the name of the inputs in the message.

    Raises:
      ValueError: in place of TensorFlow's error.
    """
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        raise ValueError(f"The model cannot take {rows}: {reason_of(error)}.") from None


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
    """Returns a variable creator that gives equal names to the variables of all models of an architecture.

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
