"""Prediction: the distributions that a trained model predicts for a whole data set."""

import functools
import sys
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from nllfit.adapters import Model
from nllfit.adapters.models import float_dtype
from nllfit.adapters.tensorflow import mask_of, seen_by_autograph, with_mask
from nllfit.caches import kept_for
from nllfit.data import as_inputs, check_cardinality, num_rows
from nllfit.families.arguments import as_count
from nllfit.families.layer import Origin, traced_distribution
from nllfit.outputs import distribution_of, kind_of

__all__ = ["joined_origins", "origin_of", "predict_distribution"]

_MAX_CALL_BATCHES = 256  # Ctrl-C waits for the end of a call


def predict_distribution(model: Model, x: Any, batch_size: int = 32) -> Any:
    """The distribution of every row of a data set, computed in batches.

    It is `model(x)` for data that are too many for one call. A loop over the batches in a TensorFlow graph gathers the
    heads' parameters, from which the distribution of all rows is made. The graph is traced once for a model, until it
    is compiled again. On a small model it takes a tenth of the time of `model.predict`, or less. A layer that draws at
    random (Monte Carlo dropout) draws again in every call. Keras's mask comes with the distribution, so that masked
    outcomes do not count in a score.

    `evaluate` refuses NaN in `x`. Here, a row with NaN does not change other rows. Its parameters are NaN, or those of
    another row, because TensorFlow's `Dense` with a ReLU turns NaN into 0.

    Score it by `nllfit.negative_log_likelihood(y, distribution)`, which gives a number for each row, or by
    `nllfit.evaluate(distribution, y=y)`. TFP's own `log_prob`, `prob`, `cdf` and the like would broadcast: theirs take
    `[..., n, *event]`, or one outcome `[*event]` for all rows, and refuse other shapes.

    Args:
      model: a model of tf_keras or of Keras 3 that ends in one head or several; an `Ensemble`; a model with a map of
        `nllfit.calibration`.
      x: inputs as `predict` takes them: arrays, a structure of them, or a `tf.data.Dataset` of batches. NumPy's floats
        are cast to Keras's `floatx`, or to float64 if the model computes in it.
      batch_size: rows of a batch. A dataset has its own batches.

    Returns:
      A `tfd.Distribution` of batch `[n]` and the head's event; for several outputs the model's own structure of them,
      with the tensor `[n, ...]` of an output that is no head's.

    Raises:
      TypeError: if no output of the model is a head's, or `x` is neither arrays nor a dataset.
      ValueError: if `x` has no rows, is sparse or ragged, or holds other than real numbers or strings; if it has rows
        of another shape than the model was built for; or if `batch_size` is no int of at least 1.

    Example:
      >>> predict_distribution(model, x, batch_size=1024).stddev().shape
      TensorShape([4, 1])
      >>> nllfit.negative_log_likelihood(y, predict_distribution(model, x)).shape
      TensorShape([4])
    """
    if hasattr(model, "predict_distribution"):  # it is more than one model of Keras
        return model.predict_distribution(x, batch_size)
    (outputs,) = _joined([model], x, batch_size)
    return tf.nest.map_structure(
        lambda o: with_mask(traced_distribution(o.family, o.params, o.shared), o.mask) if isinstance(o, Origin) else o,
        outputs,
    )


def joined_origins(models: Sequence[Model], x: Any, batch_size: int = 32) -> list:
    """For each model the origins of its heads' distributions, with the parameters of all rows in one tensor.

    The models, all of one Keras, see the same rows in one pass, as they must where a dataset shuffles.

    Raises:
      TypeError: if an output is no head's.
      ValueError: if `x` has no rows.
    """
    joined = _joined(models, x, batch_size)
    for output in tf.nest.flatten(joined):
        if not isinstance(output, Origin):
            origin_of(output)  # raises
    return joined


def origin_of(output: Any) -> Origin:
    """What a head made the distribution of its output of; a `TypeError` for the output of any other layer."""
    origin = _origin(output)
    if origin is None:
        raise _no_head(output)
    return origin


def _no_head(output):
    return TypeError(
        f"The model's output is {kind_of(output)}, not a distribution: end the model in a head, such as "
        f"`nllfit.heads.Normal(1)`."
    )


def _origin(output):
    return getattr(distribution_of(output), "origin", None)


def _joined(models, x, batch_size):
    """For each model its outputs for all rows: the origins of heads' distributions, and other layers' tensors."""
    batch_size = as_count("batch_size", batch_size, 1)
    is_dataset = isinstance(x, tf.data.Dataset)
    if is_dataset:
        check_cardinality(x)
        calls = ((_inputs_of(element), sys.maxsize) for element in x)
    else:
        x = as_inputs(x)
        _check_shapes(models[0], tf.nest.flatten(x))
        floatx, rows = float_dtype(models[0]), num_rows(x)
        batch_size = min(batch_size, rows)
        most = _MAX_CALL_BATCHES * batch_size
        parts = (tf.nest.map_structure(lambda leaf, i=i: leaf[i : i + most], x) for i in range(0, rows, most))
        calls = ((tf.nest.map_structure(functools.partial(_tensor, floatx), part), batch_size) for part in parts)
    found, heads = [], None
    for inputs, size in calls:
        specs = tf.nest.map_structure(lambda t: tf.TensorSpec([None, *t.shape[1:]], t.dtype), inputs)
        flat = tf.nest.flatten(specs)
        key = str(tf.nest.map_structure(lambda spec: 0, specs)), tuple((tuple(s.shape), s.dtype) for s in flat)
        program, heads = kept_for(("parameters", key), functools.partial(_program, models, specs), *models)
        found.append(program(inputs, tf.constant(min(size, num_rows(inputs)))))
    if not found:
        raise ValueError("The dataset in `x` is empty: there is nothing to predict.")
    arrays = iter([tf.concat(parts, 0) if parts[1:] else parts[0] for parts in zip(*found, strict=True)])

    def whole(head):
        array = next(arrays)
        return Origin(head.family, array, head.shared, next(arrays) if head.mask else None) if head else array

    return tf.nest.map_structure(whole, heads)


def _tensor(floatx, leaf):
    """A tensor of an array, NumPy's floats in `floatx`."""
    is_real = isinstance(leaf, np.ndarray) and leaf.dtype.kind == "f"
    return tf.convert_to_tensor(leaf.astype(floatx, copy=False) if is_real else leaf)


def _inputs_of(element):
    """The inputs in an element of a dataset, which may have outcomes and weights as well."""
    return element[0] if isinstance(element, tuple) else element


def _head(head, output):
    """What is known of an output's head before its numbers are: of the mask, whether there is one."""
    return head and Origin(head.family, None, head.shared, mask_of(output) is not None)


def _numbers(head, output):
    """What is to be gathered of an output."""
    if head is None:
        return output
    mask = mask_of(output)
    return head.params if mask is None else [head.params, mask]


def _check_shapes(model, given):
    """Raises a `ValueError` where rows have another shape than the inputs that a model was built with."""
    taken = tf.nest.flatten(getattr(model, "inputs", None) or [])
    if len(taken) != len(given):
        return
    for part, tensor in zip(given, taken, strict=True):
        row, expected = np.shape(part)[1:], tf.TensorShape(tensor.shape)[1:]
        # Keras adds, or takes away, a last axis of one; layers and heads apply to each position of further axes.
        read = [row, (*row, 1), *([row[:-1]] if row[-1:] == (1,) else [])]
        read += [row[-expected.rank :]] if expected.rank else []
        if not any(map(expected.is_compatible_with, read)):
            raise ValueError(
                f"`x` has rows of shape {tuple(row)}, but the model takes rows of shape {tuple(expected)}: give the "
                f"columns that it was trained on."
            )
        if part.dtype == tf.string and tf.as_dtype(tensor.dtype) != tf.string:
            raise ValueError(
                "`x` holds strings, and the model takes numbers: encode them, as a layer such as `StringLookup` does."
            )


def _program(models, specs):
    """A function of inputs and a batch size that gathers the numbers of all heads, and a structure of these heads.

    Its loop over the batches is in the graph, so that Python does nothing between them. It holds no model, because it
    must not keep the models alive.
    """
    references = [weakref.ref(model) for model in models]
    heads: list = []

    def numbers(inputs):
        alive: list[Any] = [reference() for reference in references]
        outputs = [model(inputs, training=False) for model in alive]
        found = tf.nest.map_structure(_origin, outputs)
        if not any(tf.nest.flatten(found)):
            raise _no_head(tf.nest.flatten(outputs)[0])
        heads[:] = tf.nest.map_structure(_head, found, outputs)
        return tf.nest.flatten(tf.nest.map_structure(_numbers, found, outputs))

    traced = tf.function(seen_by_autograph(numbers)).get_concrete_function(specs)

    def batches(inputs, size):
        count = (tf.shape(tf.nest.flatten(inputs)[0])[0] + size - 1) // size
        arrays = [tf.TensorArray(t.dtype, count, element_shape=t.shape, infer_shape=False) for t in traced.outputs]

        def one_batch(i, arrays):
            batch = tf.nest.map_structure(lambda t: t[i * size : (i + 1) * size], inputs)
            return i + 1, [array.write(i, t) for array, t in zip(arrays, traced(batch), strict=True)]

        _, arrays = tf.while_loop(lambda i, _: i < count, one_batch, (0, arrays))
        return [array.concat() for array in arrays]

    return tf.function(batches, autograph=False).get_concrete_function(specs, tf.TensorSpec([], tf.int32)), heads
