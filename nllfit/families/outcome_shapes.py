"""Checks the shapes of outcomes and weights, and converts them to tensors. Outcomes do not broadcast."""

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike
from tensorflow_probability import distributions as tfd

from nllfit.adapters.tensorflow import untouched
from nllfit.families.arguments import as_numbers
from nllfit.families.law import law_of

__all__ = [
    "as_column",
    "as_outcomes",
    "finite_part",
    "has_finite_likelihoods",
    "weights_of_outcomes",
    "where_counted",
]


def as_column(y: tf.Tensor, distribution: tfd.Distribution) -> tf.Tensor:
    """Reshapes outcomes `[n]` to `[n, 1]` if the distribution has event shape `[1]` and batch shape `[n]`.

    Keras does the same if the output of the model has the shape `[n, 1]`. Outcomes of unknown rank count as `[n]`.
    """
    has_columns = distribution.batch_shape.rank == 1 and distribution.event_shape == [1]
    return y[:, None] if has_columns and y.shape.rank in (None, 1) else y


def as_outcomes(
    y_true: ArrayLike, distribution: tfd.Distribution, name: str = "y_true", rows: int | None = None
) -> tf.Tensor:
    """Converts outcomes to a tensor. Raises a `ValueError` if their shape is wrong.

    The tensor has the distribution's dtype. But if the distribution has an integer dtype, floating-point outcomes keep
    their dtype. If `y_true` is only a slice of a user's array, `rows` is the number of rows of the whole array. The
    error message then shows the shape of the whole array.
    """
    floating = distribution.dtype.is_floating
    outcomes = as_numbers(name, y_true, distribution.dtype if floating else None)
    expected = distribution.batch_shape.concatenate(distribution.event_shape)
    # If the distribution has an integer dtype, floating-point outcomes are not cast, because the cast would hide
    # fractions from TFP's assertions.
    if floating or not outcomes.dtype.is_floating:
        outcomes = tf.cast(outcomes, distribution.dtype)
    if law_of(distribution).has_class_labels and outcomes.shape.rank == expected.rank + 1 and outcomes.shape[-1] == 1:
        outcomes = tf.squeeze(outcomes, -1)
    if not outcomes.shape.is_compatible_with(expected) or outcomes.shape.rank is None:
        raise untouched(ValueError(_shape_message(name, outcomes.shape, expected, distribution, rows)))
    if not (outcomes.shape.is_fully_defined() and expected.is_fully_defined()):
        shape = tf.concat([distribution.batch_shape_tensor(), distribution.event_shape_tensor()], 0)
        tf.debugging.assert_equal(tf.shape(outcomes), shape, f"`{name}` would broadcast.")
    return outcomes


def finite_part(outcomes: tf.Tensor, distribution: tfd.Distribution) -> tf.Tensor:
    """Replaces infinite numbers in outcomes by 0, if the outcomes contain ends of intervals or windows.

    Infinite ends are valid. After the replacement, a check for numbers that are not finite finds only errors.
    """
    if distribution.event_shape.rank and law_of(distribution).latent() is not distribution:
        return tf.where(tf.math.is_inf(outcomes), tf.zeros_like(outcomes), outcomes)
    return outcomes


def weights_of_outcomes(weights: Any, batch_shape: tf.TensorShape, batch_shape_tensor: Any) -> tf.Tensor:
    """Returns one weight for each outcome, `[*batch]`.

    `weights` contains a number or a boolean for each row or for each outcome. Row weights `[B]` are repeated over
    further batch axes: with batch shape `[B, T]`, all `T` steps of a row get the weight of the row. (Keras would
    broadcast `[B]` along the last axis, the axis of the steps.)
    """
    weights = as_numbers("sample_weight", weights)
    weights = weights if weights.dtype.is_floating else tf.cast(weights, tf.float32)
    rank = weights.shape.rank  # None in Keras 3 if the rank differs from call to call
    if rank == batch_shape.rank + 1 and weights.shape[-1] == 1:
        weights, rank = tf.squeeze(weights, -1), batch_shape.rank
    if rank is not None and not (rank <= batch_shape.rank and _broadcasts(weights.shape, batch_shape)):
        raise untouched(
            ValueError(
                f"`sample_weight` has shape {tuple(weights.shape)}, but the outcomes are a batch of shape "
                f"{tuple(batch_shape)}: give one weight for each row, or for each outcome."
            )
        )
    new_axes = tf.ones([batch_shape.rank - tf.rank(weights)], tf.int32)
    weights = tf.reshape(weights, tf.concat([tf.shape(weights), new_axes], 0))
    return tf.broadcast_to(weights, batch_shape_tensor)


def where_counted(outcomes: tf.Tensor, distribution: tfd.Distribution, counts: tf.Tensor) -> tf.Tensor:
    """Replaces outcomes that have no weight by an outcome in the support.

    `outcomes` has shape `[*batch, *event]`. The boolean tensor `counts` has shape `[*batch]` and is False for outcomes
    to be replaced. An outcome without weight may be padding, so the log-density may be NaN. Because 0 times NaN is
    NaN, the loss and its gradient would be NaN, too.
    """
    event = tf.ones([distribution.event_shape.rank], tf.int32)
    counts = tf.reshape(counts, tf.concat([tf.shape(counts), event], 0))
    return tf.where(counts, outcomes, tf.cast(law_of(distribution).some_outcome(), outcomes.dtype))


def has_finite_likelihoods(distribution: tfd.Distribution) -> bool:
    """Whether the log-likelihood of `Law.some_outcome` is finite for every distribution of the batch.

    The result is False if a parameter is NaN or overflows.
    """
    try:
        log_prob = distribution.log_prob(law_of(distribution).some_outcome())
    except tf.errors.InvalidArgumentError:
        return False
    return bool(np.all(np.isfinite(log_prob)))


def _broadcasts(shape, batch):
    return all(a in (1, None) or b in (a, None) for a, b in zip(shape, batch, strict=False))


def _shape_message(name, received, expected, distribution, rows):
    received, expected = received.as_list() if received.rank is not None else None, expected.as_list()
    advice = "give outcomes of that shape, or the head an `event_shape` that fits them"
    if received is None:
        text = "of unknown rank"
    else:
        if rows is not None:
            received, expected = [rows, *received[1:]], [rows, *expected[1:]]
        text = str(tuple(received))
        if law_of(distribution).has_class_labels and received[:-1] == expected:
            advice = "give one label per row, such as `y.argmax(-1)`, or use a `OneHotCategorical` head"
        elif isinstance(distribution, tfd.OneHotCategorical) and received in (expected[:-1], [*expected[:-1], 1]):
            advice = "give one-hot rows, such as `tf.one_hot(y, num_classes)`, or use a `Categorical` head"
        elif [*received, 1] == expected:
            advice = "reshape it with `y[..., None]`" if len(received) > 1 else "reshape it with `y[:, None]`"
        elif received == [*expected, 1]:
            advice = "reshape it with `y[..., 0]`, or give the head `event_shape=1`"
        elif law_of(distribution).latent() is not distribution:
            advice = _advice_on_columns(received, expected)
    return f"`{name}` has shape {text}, but the head models outcomes of shape {tuple(expected)}: {advice}."


def _advice_on_columns(received, expected):
    """Returns advice for outcomes that contain the ends of an interval or of a window."""
    *elements, columns = expected
    if received == [*elements, 1, columns]:
        return "reshape it with `y[..., 0, :]`"
    if [*received[:-1], 1, received[-1]] == expected:
        return "reshape it with `y[..., None, :]`, or leave out the head's `event_shape`"
    return (
        f"each outcome is {columns} numbers on the last axis. For a `Censored` head these are pairs, as "
        f"`nllfit.right_censored(time, observed)` returns for arrays of shape {tuple(elements)}; for a `Truncated` "
        f"head, a number and the ends of its window"
    )
