"""Prediction: the distributions that a trained model gives a whole data set."""

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from nllfit.adapters import Model, adapter_of
from nllfit.adapters.tensorflow import mask_of, with_mask
from nllfit.data import as_inputs, check_cardinality, num_rows
from nllfit.families.arguments import as_count
from nllfit.families.layer import Origin, traced_distribution
from nllfit.outputs import distribution_of, kind_of

__all__ = ["joined_origins", "origin_of", "predict_distribution"]

_KEPT: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()  # by the first of some models, their `Parameters`


def predict_distribution(model: Model, x: Any, batch_size: int = 32) -> Any:
    """The distribution of every row of a data set, computed in batches.

    It is `model(x)` for data that are too many for one call. Keras's `predict` does the batches; what it gathers are
    the heads' parameters, of which the distribution is then made anew. It costs what `predict` does, and is compiled
    once for a model. A layer that draws at random (Monte Carlo dropout) draws anew in every call. Keras's mask comes
    with the distribution, so that what is masked does not count in a score.

    `evaluate` refuses NaN in `x`; here such a row leaves the others alone, and has NaN for parameters, or those of
    another row, for TensorFlow's `Dense` with a ReLU turns NaN into 0.

    Score it by `nllfit.negative_log_likelihood(y, distribution)`, which gives a number for each row, or by
    `nllfit.evaluate(distribution, y=y)`. TFP's own `log_prob`, `prob`, `cdf` and the like would broadcast: theirs take
    `[..., n, *event]`, or one outcome `[*event]` for all rows, and refuse other shapes.

    Args:
      model: a model of tf_keras or of Keras 3 that ends in one head or several; an `Ensemble`; a model with a map of
        `nllfit.calibration`.
      x: inputs as `predict` takes them: arrays, a structure of them, or a `tf.data.Dataset`.
      batch_size: rows a call; for a dataset, which has its own batches, it is not used.

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
    if isinstance(x, tf.data.Dataset):
        check_cardinality(x)
    else:
        x = as_inputs(x)
        batch_size = min(batch_size, num_rows(x))
    given = x.element_spec if isinstance(x, tf.data.Dataset) else x
    # Keras would make one program for inputs of several ranks, which knows of none.
    ranks = tuple(len(part.shape) if hasattr(part, "shape") else np.ndim(part) for part in tf.nest.flatten(given))
    _check_shapes(models[0], tf.nest.flatten(given), isinstance(x, tf.data.Dataset))
    parameters, heads = _parameters_of(models, ranks)
    try:
        values = parameters.predict(x, batch_size=None if isinstance(x, tf.data.Dataset) else batch_size, verbose=0)
    except Exception:
        if heads and not any(tf.nest.flatten(heads[-1])):
            raise _no_head(tf.zeros([])) from None  # without Keras's words around it
        raise

    arrays = map(tf.convert_to_tensor, tf.nest.flatten(values))

    def whole(head):
        array = next(arrays)
        return Origin(head.family, array, head.shared, next(arrays) if head.mask else None) if head else array

    return tf.nest.map_structure(whole, heads[-1])


def _head(head, output):
    """What is known of an output's head before its numbers are: of the mask, whether there is one."""
    return head and Origin(head.family, None, head.shared, mask_of(output) is not None)


def _numbers(head, output):
    """What is to be gathered of an output."""
    if head is None:
        return output
    mask = mask_of(output)
    return head.params if mask is None else [head.params, mask]


def _check_shapes(model, given, in_batches):
    """Raises a `ValueError` where rows have another shape than the inputs that a model was built with."""
    taken = tf.nest.flatten(getattr(model, "inputs", None) or [])
    if in_batches or len(taken) != len(given):
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


def _parameters_of(models, ranks):
    """A model whose outputs are the numbers of the heads of these, made once for them, and a list of those heads.

    It lives as long as the models, so it must not keep them alive. One that is made for each call would begin with the
    same random numbers in each.
    """
    base: Any = adapter_of(models[0]).keras.Model
    kept = _KEPT.setdefault(models[0], {})
    compiled = [part for model in models for part in adapter_of(model).made_by_compile]
    references = tuple(map(weakref.ref, models))
    key = references, ranks
    if key in kept and all(a is b for a, b in zip(kept[key][0], compiled, strict=True)):
        return kept[key][1:]
    heads: list = []  # of the last batch that was traced

    class Parameters(base):
        predict_function: Any

        def call(self, inputs):
            alive: list[Any] = [reference() for reference in references]
            outputs = [model(inputs, training=False) for model in alive]
            found = tf.nest.map_structure(_origin, outputs)
            heads[:] = [tf.nest.map_structure(_head, found, outputs)]
            if not any(tf.nest.flatten(found)):
                raise _no_head(tf.nest.flatten(outputs)[0])
            return tf.nest.map_structure(_numbers, found, outputs)

        def make_predict_function(self, force=False):
            """A function of its own for each model: TensorFlow counts them as one that is traced again and again."""
            super().make_predict_function(force)  # in Keras 3 it returns nothing the first time
            function = self.predict_function
            if hasattr(function, "get_concrete_function"):  # TensorFlow does not warn of a concrete function
                self.predict_function = lambda batch: function.get_concrete_function(batch)(batch)
            return self.predict_function

    kept[key] = compiled, Parameters(), heads
    return kept[key][1:]
