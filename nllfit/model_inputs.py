"""The inputs of a model: their dtype and order, and errors for inputs that the model cannot take."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from nllfit.adapters import Model, adapter_of
from nllfit.adapters.keras_models import trace_call
from nllfit.adapters.tensorflow import reason_of

__all__ = ["by_input", "check_shapes", "float_dtype", "inputs_of", "refusal_of", "sparse_if_taken"]


def float_dtype(model: Model) -> str:
    """Returns the dtype to which the model's NumPy inputs are cast.

    It is float64 if a variable or layer of the model has this dtype, and otherwise Keras's `floatx`.
    """
    keras = adapter_of(model).keras
    parts = model.variables if model.built else model.layers
    is_float64 = any(getattr(part, "dtype", None) == "float64" for part in parts)
    return "float64" if is_float64 else keras.backend.floatx()


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
