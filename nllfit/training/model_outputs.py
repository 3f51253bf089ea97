"""Finds the names, heads and masks of a model's outputs by calling the model on one row."""

import dataclasses
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from nllfit.adapters import Model, adapter_of
from nllfit.adapters.keras_models import is_keras_code, trace_call
from nllfit.adapters.tensorflow import as_raised, mask_of
from nllfit.data_checks import rows_of, specs_of_rows
from nllfit.head_outputs import distribution_of
from nllfit.model_caches import kept_for
from nllfit.model_inputs import refusal_of, sparse_if_taken

__all__ = ["Output", "by_output", "known_outputs", "names_of", "outputs_of"]


@dataclasses.dataclass(frozen=True)
class Output:
    """An output of a model.

    Attributes:
      name: the name of the output, or its index if it has no name.
      head: the distribution that a head, or a layer of TFP, returned for one row. None if the output is only a tensor,
        or is one joint distribution of all rows, such as a Gaussian process.
      is_masked: whether the output has a Keras mask.
    """

    name: str | int
    head: tfp.distributions.Distribution | None
    is_masked: bool


def outputs_of(model: Model, x: Any, row: int = 0) -> list[Output]:
    """Returns the outputs of a model for one row of its inputs.

    The list is empty if the model does not accept single rows.
    """
    try:
        with refusal_of(f"row {row} of `x`"), sparse_if_taken(model, x):
            if not model.built:
                trace_call(model, specs_of_rows(x))  # builds the model for any number of rows
            outputs = model(rows_of(x, row, row + 1), training=False)
    except NotImplementedError:  # a model with a training step but without `call`
        return []
    except (TypeError, ValueError, tf.errors.OpError) as error:
        if any(t.dtype == tf.string for t in tf.nest.flatten(x)):
            raise ValueError(
                "`x` holds strings, and the model takes numbers: encode them, as a layer such as `StringLookup` does."
            ) from None
        if any(t.shape[0] is not None for t in tf.nest.flatten(getattr(model, "inputs", None) or [])):
            return []  # the batch size is fixed, often because the first call was on an array
        raise as_raised(error) from None
    names, outputs = names_of(model, outputs), tf.nest.flatten(outputs)
    heads = [distribution_of(output) for output in outputs]
    if any(head is not None and not hasattr(head, "origin") for head in heads):
        heads = [head if of_rows else None for head, of_rows in zip(heads, _are_of_rows(model, x, row), strict=True)]
    return [
        Output(name, head, mask_of(output) is not None)
        for name, head, output in zip(names, heads, outputs, strict=True)
    ]


def names_of(model: Model, outputs: Any) -> list:
    """Returns the name of each output that a call of the model returned, or its index if the outputs have no names."""
    names = sorted(outputs) if isinstance(outputs, dict) else getattr(model, "output_names", None) or []
    indices = range(len(tf.nest.flatten(outputs)))
    return list(names if len(names) == len(indices) else indices)


def _are_of_rows(model, x, row):
    """Returns, for each output, whether it has a separate distribution for each row.

    A Gaussian process has only one joint distribution of all rows.
    """
    two_rows = tf.nest.map_structure(lambda t: tf.gather(t, [row, row]), x)
    heads = map(distribution_of, tf.nest.flatten(model(two_rows, training=False)))
    return [head is not None and head.batch_shape[:1] == [2] for head in heads]


def known_outputs(model: Model, x: Any) -> tuple[list[Output], bool]:
    """Returns the outputs of a model, and whether this call computed them.

    The outputs are cached for inputs of the same shapes and dtypes, because one eager call of a small model takes as
    long as a hundred training steps in a compiled program. The list is empty for a model that returns only tensors, or
    that keeps a state from batch to batch.
    """
    cached, row_specs = kept_for("outputs", dict, model), tuple((*t.shape[1:], t.dtype) for t in tf.nest.flatten(x))
    is_new = row_specs not in cached
    if is_new:
        cached[row_specs] = [] if _keeps_state(model) or _gives_tensors(model, x) else outputs_of(model, x)
    return cached[row_specs], is_new


def _keeps_state(model):
    """Returns whether a layer keeps a state from batch to batch. Such a model does not accept single rows."""
    return any(getattr(layer, "stateful", False) for layer in adapter_of(model).layers)


def _gives_tensors(model, x):
    """Returns whether a model certainly returns only tensors.

    The result is True if the model is built, has only Keras's own layers, and gets no strings.
    """
    kinds = {type(layer) for layer in adapter_of(model).layers}
    are_keras_code = all(is_keras_code(kind) and "Lambda" not in kind.__name__ for kind in kinds)
    return model.built and are_keras_code and not any(t.dtype == tf.string for t in tf.nest.flatten(x))


def by_output(values: Any, outputs: list) -> dict:
    """Returns a dict that maps the name of each output to its value.

    `values` is a dict of this form, a list with one value for each output, or one value for all outputs.
    """
    if isinstance(values, dict) and set(values) & set(outputs):
        return values
    if isinstance(values, (dict, list, tuple)):
        values = tf.nest.flatten(values)
        return dict(zip(outputs, values, strict=True)) if len(values) == len(outputs) else {}
    return dict.fromkeys(outputs, values)
