"""Losses: what a distribution thinks of an outcome."""

import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras

from nllfit.families.facts import has_class_labels
from nllfit.families.refusal import assertion_text
from nllfit.kerases import distribution_of

tfd = tfp.distributions

__all__ = ["negative_log_likelihood"]


@tf_keras.saving.register_keras_serializable(package="nllfit")
def negative_log_likelihood(y_true, y_pred):
    """The negative log-likelihood of each outcome, `-y_pred.log_prob(y_true)`, for any head.

    It never broadcasts: `y_true` has the shape `[*batch, *event]` of the distribution's outcomes, or it is an error at
    trace time. (A batch `[B]` against targets `[B, 1]` would give `[B, B]`, which trains to nonsense in silence.) The
    one exception is Keras's own: class labels `[B]`, which `fit` turns into `[B, 1]`, mean the same either way.

    Args:
      y_true: outcomes, `[B, *event]`.
      y_pred: the output of a head, or any `tfd.Distribution` of batch `[B]` and event `[*event]`.

    Returns:
      `[B]` in nats, a sum over the event; Keras takes the mean over the batch. A mean over the event too, as Keras's
      own losses take it, is this number divided by the event's size.

    Raises:
      TypeError: if `y_pred` is no distribution.
      ValueError: if the shape of `y_true` is not that of the outcomes (both are named); in eager mode also if an
        outcome is not finite, is outside the support of a distribution with `validate_args`, as heads have it, or has
        no finite likelihood. In a graph the first two are a `tf.errors.InvalidArgumentError`; XLA does not check.

    Example:
      >>> head = nllfit.heads.Normal(scale=1.0)
      >>> negative_log_likelihood(tf.constant([[1.0]]), head(tf.constant([[0.0]]))).numpy()  # 1/2 + log(2 pi)/2
      array([1.4189385], dtype=float32)

    Source: Fisher, On the mathematical foundations of theoretical statistics, 1922.
    """
    distribution = as_distribution(y_pred)
    outcomes = as_outcomes(y_true, distribution)
    try:
        # NaN, and the edge of an open support, pass TFP's own assertions. In a graph the likelihood is left alone, as
        # an optimizer may try parameters where it is not finite, and step back.
        checked = distribution.validate_args
        if checked and outcomes.dtype.is_floating:
            outcomes = tf.debugging.check_numerics(outcomes, "It is not finite.")
        log_prob = distribution.log_prob(outcomes)
        if checked and tf.executing_eagerly():
            log_prob = tf.debugging.check_numerics(log_prob, "Its log-likelihood is not finite.")
        return -log_prob
    except tf.errors.InvalidArgumentError as error:
        raise ValueError(
            f"`y_true` holds an outcome that {distribution.name} cannot have: {assertion_text(error)} Look for "
            f"mislabelled rows, or choose a head whose domain they are in."
        ) from None


def as_distribution(y_pred):
    """The distribution that `y_pred`, the output of a head of either Keras, stands for or is; else a `TypeError`."""
    distribution = distribution_of(y_pred)
    if distribution is None:
        raise TypeError(
            f"`y_pred` is a {type(y_pred).__name__}, but the loss needs a distribution: end the model in a head, "
            f"such as `nllfit.heads.Normal(1)`, and let `y_pred` be what it returns. In a Keras 3 model, `from "
            f"nllfit import keras3` and use `keras3.heads.Normal(1)` and the loss `keras3.NegativeLogLikelihood()`."
        )
    return distribution


def as_outcomes(y_true, distribution):
    """`y_true` as a tensor of the distribution's dtype, if it has the shape of its outcomes; else a `ValueError`."""
    floating = distribution.dtype.is_floating
    outcomes = tf.convert_to_tensor(y_true, dtype_hint=distribution.dtype if floating else None)
    expected = distribution.batch_shape.concatenate(distribution.event_shape)
    if floating or not outcomes.dtype.is_floating:  # a fraction given as a label is for TFP to refuse
        outcomes = tf.cast(outcomes, distribution.dtype)
    if has_class_labels(distribution) and outcomes.shape.rank == expected.rank + 1 and outcomes.shape[-1] == 1:
        outcomes = tf.squeeze(outcomes, -1)
    if not outcomes.shape.is_compatible_with(expected) or outcomes.shape.rank is None:
        raise ValueError(_shape_message(outcomes.shape, expected, distribution))
    if not (outcomes.shape.is_fully_defined() and expected.is_fully_defined()):
        shape = tf.concat([distribution.batch_shape_tensor(), distribution.event_shape_tensor()], 0)
        tf.debugging.assert_equal(tf.shape(outcomes), shape, "`y_true` would broadcast.")
    return outcomes


def _shape_message(given, expected, distribution):
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
    return f"`y_true` has shape {text}, but the head models outcomes of shape {tuple(expected)}: {advice}."
