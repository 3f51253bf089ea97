"""`predict_distribution`: the distributions that a model predicts for all rows of a data set."""

import functools
import sys
import weakref
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.adapters import Model
from nllfit.adapters.tensorflow import mask_of, seen_by_autograph, trace, with_mask
from nllfit.data_checks import as_inputs, check_dataset, num_rows, specs_of_rows
from nllfit.families.arguments import as_count
from nllfit.families.family_base import ParametricFamily
from nllfit.families.head_base import Origin, traced_distribution
from nllfit.families.mixture import mixture_of
from nllfit.head_outputs import distribution_of, kind_of, refuse_estimators
from nllfit.model_caches import kept_for
from nllfit.model_inputs import by_input, check_shapes, float_dtype, inputs_of, refusal_of

__all__ = [
    "check_one_shape",
    "check_same_family",
    "dataset_inputs",
    "joined_origins",
    "mixture_of_origins",
    "origin_of",
    "predict_distribution",
]

# The maximum number of batches in one call of the traced loop. There is a limit, because Ctrl-C has no effect before
# the call ends.
_MAX_CALL_BATCHES = 256


def predict_distribution(model: Model, x: Any, batch_size: int = 32, num_samples: int = 1) -> Any:
    """The predicted distribution of every row of a data set, computed in batches.

    The result equals the distribution of `model(x)`, also for data that are too large for one call of the model. The
    result carries Keras's mask, so masked outcomes do not count in a score. TensorFlow traces the loop over the batches
    on the first call, and again if the model is compiled again or the rows of `x` have another shape or dtype. For a
    small model, later calls take at most a tenth of the time of `model.predict`.

    Score the result by `nllfit.negative_log_likelihood(y, distribution)`, which gives a number for each row, or by
    `nllfit.evaluate(distribution, y=y)`. The methods `log_prob`, `prob` and `cdf` of the result accept outcomes
    `[..., n, *event]`, or one outcome `[*event]` for all rows. Other shapes, which TFP would broadcast, raise an error.

    A model is random if it has a head with `as_tensor="sample"`, uncertain weights, or dropout that is called with
    `training=True`. For such a model, `num_samples` averages over the draws: the model is called `num_samples` times
    for each batch, and the result is the equal mixture `sum_s p(y | x, draw s) / num_samples`. To evaluate or calibrate
    such predictions, give `nllfit.Ensemble([model], num_samples=...)` in place of the model.

    A row with NaN in `x` does not change other rows. The predicted parameters of this row are NaN or meaningless
    numbers, because a `Dense` layer with a ReLU may turn NaN into 0. (`evaluate` raises an error for NaN in `x`.)

    Args:
      model: a model of tf_keras or Keras 3 that ends in one or several heads; an `Ensemble`, a `Laplace`, or a model
        calibrated by `nllfit.calibration`.
      x: inputs as `predict` takes them: arrays, a structure of them, or a `tf.data.Dataset` of batches. NumPy's floats
        are cast to Keras's `floatx`, or to float64 if the model computes in float64.
      batch_size: the number of rows in a batch; ignored for a dataset, whose elements are batches.
      num_samples: the number of times that the model is called on each batch.

    Returns:
      A `tfd.Distribution` with the batch shape `[n]` and the head's event shape. It is a mixture if `num_samples` is
      more than 1. For a model with several outputs, the result is a structure of distributions, like the structure of
      the outputs. For an output without a head, the result contains its tensor `[n, ...]`, averaged over the calls.

    Raises:
      TypeError: if one of these is true:
        - `model` is a regression, an estimator of `nllfit.tabular`, or no model at all.
        - None of the model's outputs has a head.
        - `x` is neither arrays nor a dataset.
      ValueError: if one of these is true:
        - `x` has no rows, is an infinite dataset, is sparse or ragged, or contains values other than real numbers and
          strings.
        - The rows of `x` do not have the shape that the model was built for, or a layer refuses such rows.
        - `batch_size` or `num_samples` is not an integer of at least 1.
        - `num_samples` is more than 1, and the model is an `Ensemble`, a `Laplace` or a calibrated model.

    Example:
      >>> predict_distribution(model, x, batch_size=1024).stddev().shape
      TensorShape([4, 1])
      >>> nllfit.negative_log_likelihood(y, predict_distribution(model, x)).shape
      TensorShape([4])
    """
    num_samples = as_count("num_samples", num_samples, 1)
    refuse_estimators(model)
    if hasattr(model, "predict_distribution"):  # an ensemble or another wrapper of Keras models
        if num_samples > 1:
            raise ValueError(
                f"`num_samples` is {num_samples}, but only a Keras model takes it, and `model` is a "
                f"{type(model).__name__}: give a Keras model, or, to calibrate its mixtures, calibrate "
                f"`nllfit.Ensemble([model], num_samples={num_samples})`."
            )
        return model.predict_distribution(x, batch_size)
    passes = _joined([model], x, batch_size, num_samples)

    def mixed(*outputs):
        first = outputs[0]
        if not isinstance(first, Origin):
            return tf.reduce_mean(tf.stack(outputs), 0) if num_samples > 1 else first
        if num_samples > 1:
            return mixture_of_origins(*outputs)
        return with_mask(traced_distribution(first.family, first.params, first.shared), first.mask)

    return tf.nest.map_structure(mixed, *passes)


def mixture_of_origins(*origins: Origin) -> tfd.Distribution:
    """Returns a mixture, with equal weights, of the distributions that `origins` describe.

    An `Origin` holds the family and the parameters of a distribution. All origins must describe the same rows. The
    mixture carries the mask of the first origin.

    Raises:
      ValueError: if the families of the origins differ.
    """
    check_same_family([origin.family for origin in origins])
    params, shared = zip(*[(origin.params, origin.shared) for origin in origins], strict=True)
    return with_mask(mixture_of(origins[0].family, params, shared), origins[0].mask)


def check_same_family(families: Sequence[ParametricFamily]) -> None:
    """Raises a `ValueError` if the families of the heads to be mixed are not equal."""
    other = next((family for family in families if family != families[0]), None)
    if other is not None:
        raise ValueError(
            f"One member's head has the family {families[0]!r}, another's {other!r}: give members that differ only in "
            f"their weights."
        )


def joined_origins(models: Sequence[Model], x: Any, batch_size: int = 32, num_samples: int = 1) -> list:
    """Calls several models on all rows and returns one structure of `Origin`s for each call of each model.

    All models must belong to one Keras version. The data are read only once, so that all models see the rows in the
    same order even if a dataset shuffles.

    Args:
      models: the models. Each of their outputs must come from a head.
      x, batch_size: as in `predict_distribution`.
      num_samples: the number of calls of each model for each batch.

    Raises:
      TypeError: if an output has no head.
      ValueError: if `x` has no rows.
    """
    joined = _joined(models, x, batch_size, num_samples)
    for output in tf.nest.flatten(joined):
        if not isinstance(output, Origin):
            origin_of(output)  # raises a `TypeError` if the output has no head
    return joined


def origin_of(output: Any) -> Origin:
    """Returns the `Origin` of a head's output. It contains the family and the parameters of the distribution.

    Raises a `TypeError` for other outputs.
    """
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


def _joined(models, x, batch_size, num_samples):
    """Returns the result of `joined_origins`, but with the tensor itself for an output without a head."""
    batch_size = as_count("batch_size", batch_size, 1)
    is_dataset = isinstance(x, tf.data.Dataset)
    if is_dataset:
        calls = ((inputs, sys.maxsize) for inputs in dataset_inputs(x))
    else:
        x = as_inputs(x)
        check_shapes(models[0], by_input(models[0], x))
        floatx, rows = float_dtype(models[0]), num_rows(x)
        batch_size = min(batch_size, rows)
        max_rows = _MAX_CALL_BATCHES * batch_size
        parts = (tf.nest.map_structure(lambda leaf, i=i: leaf[i : i + max_rows], x) for i in range(0, rows, max_rows))
        calls = ((tf.nest.map_structure(functools.partial(_tensor, floatx), part), batch_size) for part in parts)
    call_results, heads = [], None
    for inputs, size in calls:
        specs = specs_of_rows(inputs)
        flat = tf.nest.flatten(specs)
        key = str(tf.nest.map_structure(lambda spec: 0, specs)), tuple((tuple(s.shape), s.dtype) for s in flat)
        program, heads = kept_for(("parameters", key), functools.partial(_program, models, specs), *models)
        with refusal_of("a batch of `x`"):
            call_results.append(program(inputs, tf.constant(min(size, num_rows(inputs))), tf.constant(num_samples)))
    if not call_results:
        raise ValueError("The dataset in `x` is empty: there is nothing to predict.")
    check_one_shape([tensor.shape[1:] for tensor in part] for part in call_results)
    arrays = [tf.concat(parts, 1) if parts[1:] else parts[0] for parts in zip(*call_results, strict=True)]
    passes = [iter(of_pass) for of_pass in zip(*map(tf.unstack, arrays), strict=True)]

    def origin_or_tensor(head, arrays):
        array = next(arrays)
        return Origin(head.family, array, head.shared, next(arrays) if head.mask else None) if head else array

    # `of_passes[k][i]` is the output of model `i` in pass `k`.
    of_passes = [tf.nest.map_structure(lambda head, a=a: origin_or_tensor(head, a), heads) for a in passes]
    return [of_pass[i] for i in range(len(models)) for of_pass in of_passes]


def dataset_inputs(data: tf.data.Dataset) -> Iterator[Any]:
    """Yields the inputs in each batch that has rows. Raises a `ValueError` if there are infinitely many batches."""
    check_dataset(data)
    return (inputs for inputs in map(inputs_of, data) if tf.nest.flatten(inputs)[0].shape[:1] != [0])


def check_one_shape(batches: Iterable[list[tf.TensorShape]]) -> None:
    """Raises a `ValueError` if the shapes of batches differ in an axis other than the first, the axis of rows."""
    if len({tuple(shape[1:] for shape in shapes) for shapes in batches}) > 1:
        raise ValueError(
            "The batches in `x` have distributions of different shapes, because their sequences differ in length: pad "
            "them to one length and mask the padding, or predict each batch separately."
        )


def _tensor(floatx, leaf):
    """Converts an array to a tensor, and NumPy's floats to `floatx`."""
    is_real = isinstance(leaf, np.ndarray) and leaf.dtype.kind == "f"
    return tf.convert_to_tensor(leaf.astype(floatx, copy=False) if is_real else leaf)


def _head(origin, output):
    """Returns an `Origin` without parameters, or None for an output without a head.

    The parameters are left out, because they differ between batches. The attribute `mask` is True if the output has a
    mask, and False otherwise.
    """
    return origin and Origin(origin.family, None, origin.shared, mask_of(output) is not None)


def _batch_tensors(origin, output):
    """Returns the tensors that differ between batches: a head's parameters and mask, or an output without a head."""
    if origin is None:
        return output
    mask = mask_of(output)
    return origin.params if mask is None else [origin.params, mask]


def _program(models, specs):
    """Traces a function that calls the models on all batches.

    Returns the function, and the result of `_head` for each output.

    The function takes inputs, a batch size and a number of passes. Each pass calls each model on all batches. The
    function returns the tensors of `_batch_tensors` for all rows, `[passes, rows, ...]`. The loop over the batches is
    in the graph, so no Python code runs between batches. The function holds only weak references to the models, so a
    cached function does not keep the models alive.
    """
    references = [weakref.ref(model) for model in models]
    heads: list = []

    def batch_tensors(inputs):
        alive: list[Any] = [reference() for reference in references]
        outputs = [model(inputs, training=False) for model in alive]
        origins = tf.nest.map_structure(_origin, outputs)
        if not any(tf.nest.flatten(origins)):
            raise _no_head(tf.nest.flatten(outputs)[0])
        heads[:] = tf.nest.map_structure(_head, origins, outputs)
        return tf.nest.flatten(tf.nest.map_structure(_batch_tensors, origins, outputs))

    traced = trace(tf.function(seen_by_autograph(batch_tensors)), specs)

    def batches(inputs, size, passes):
        count = (tf.shape(tf.nest.flatten(inputs)[0])[0] + size - 1) // size
        calls = passes * count
        arrays = [tf.TensorArray(t.dtype, calls, element_shape=t.shape, infer_shape=False) for t in traced.outputs]

        def one_batch(i, arrays):
            first = i % count * size
            batch = tf.nest.map_structure(lambda t: t[first : first + size], inputs)
            return i + 1, [array.write(i, t) for array, t in zip(arrays, traced(batch), strict=True)]

        _, arrays = tf.while_loop(lambda i, _: i < calls, one_batch, (0, arrays))
        rows = [array.concat() for array in arrays]
        return [tf.reshape(t, tf.concat([[passes, -1], tf.shape(t)[1:]], 0)) for t in rows]

    number = tf.TensorSpec([], tf.int32)
    return trace(tf.function(batches, autograph=False), specs, number, number), heads
