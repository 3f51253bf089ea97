"""Outcomes as a distribution takes them: of its shape and dtype, never to be broadcast."""

import tensorflow as tf
from numpy.typing import ArrayLike
from tensorflow_probability import distributions as tfd

from nllfit.families.facts import has_class_labels

__all__ = ["as_outcomes"]


def as_outcomes(y_true: ArrayLike, distribution: tfd.Distribution, name: str = "y_true") -> tf.Tensor:
    """Outcomes as a tensor of the distribution's dtype, if they have the shape of its own; else a `ValueError`."""
    floating = distribution.dtype.is_floating
    outcomes = tf.convert_to_tensor(y_true, dtype_hint=distribution.dtype if floating else None)
    expected = distribution.batch_shape.concatenate(distribution.event_shape)
    if floating or not outcomes.dtype.is_floating:  # a fraction given as a label is for TFP to refuse
        outcomes = tf.cast(outcomes, distribution.dtype)
    if has_class_labels(distribution) and outcomes.shape.rank == expected.rank + 1 and outcomes.shape[-1] == 1:
        outcomes = tf.squeeze(outcomes, -1)
    if not outcomes.shape.is_compatible_with(expected) or outcomes.shape.rank is None:
        raise ValueError(_shape_message(name, outcomes.shape, expected, distribution))
    if not (outcomes.shape.is_fully_defined() and expected.is_fully_defined()):
        shape = tf.concat([distribution.batch_shape_tensor(), distribution.event_shape_tensor()], 0)
        tf.debugging.assert_equal(tf.shape(outcomes), shape, f"`{name}` would broadcast.")
    return outcomes


def _shape_message(name, given, expected, distribution):
    given, expected = given.as_list() if given.rank is not None else None, expected.as_list()
    advice = "give outcomes of that shape, or the head an `event_shape` that fits them"
    if given is None:
        text = "of unknown rank"
    else:
        text = str(tuple(given))
        if has_class_labels(distribution) and given[:-1] == expected:
            advice = "give one label a row, such as `y.argmax(-1)`, or use a `OneHotCategorical` head"
        elif isinstance(distribution, tfd.OneHotCategorical) and given in (expected[:-1], [*expected[:-1], 1]):
            advice = "give one-hot rows, such as `tf.one_hot(y, num_classes)`, or use a `Categorical` head"
        elif [*given, 1] == expected:
            advice = "reshape it with `y[..., None]`" if len(given) > 1 else "reshape it with `y[:, None]`"
        elif given == [*expected, 1]:
            advice = "reshape it with `y[..., 0]`, or give the head `event_shape=1`"
    return f"`{name}` has shape {text}, but the head models outcomes of shape {tuple(expected)}: {advice}."
