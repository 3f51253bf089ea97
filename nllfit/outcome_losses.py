"""Functions that compute the loss of each outcome. The classes of `nllfit.losses` take the mean of these losses."""

import functools
from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.adapters.tensorflow import mask_of
from nllfit.adapters.tensorflow_probability import forget_graph
from nllfit.families.arguments import as_numbers
from nllfit.families.broadcast_checks import checking
from nllfit.families.law import law_of
from nllfit.families.outcome_shapes import (
    as_column,
    as_outcomes,
    finite_part,
    has_finite_likelihoods,
    weights_of_outcomes,
    where_counted,
)
from nllfit.families.support_checks import assertion_text
from nllfit.families.tfp_classes import INDEPENDENT, unwrapped
from nllfit.head_outputs import distribution_of

__all__ = ["counted", "log_loss", "variance_weighted_log_loss"]


@tf.autograph.experimental.do_not_convert
def counted(y_true: Any, y_pred: Any, sample_weight: Any = None) -> tuple[Any, tf.Tensor | None]:
    """Returns the outcomes and their weights. Outcomes that do not count are replaced with outcomes in the support.

    An outcome does not count if it is masked or has weight 0. The loss of its replacement is finite, so the product of
    loss and weight is 0 and not NaN.

    Args:
      y_true: outcomes, `[*batch, *event]`; for batch shape `[n]` and event shape `[1]` also `[n]`.
      y_pred: the output of a head, with Keras's mask.
      sample_weight: None, or weights of rows, `[B]`, or of outcomes, `[*batch]`.

    Returns:
      The outcomes, `[*batch, *event]`.
      The weights, `[*batch]`, which are 0 for replaced outcomes; None if there are neither weights nor a mask.
      If `y_pred` contains no distribution, `y_true` and `sample_weight` are returned unchanged.

    Raises:
      ValueError: if the weights fit neither `[B]` nor `[*batch]`; or if there are weights or a mask, and the outcomes
        do not fit `[*batch, *event]`.
    """
    distribution, mask = distribution_of(y_pred), mask_of(y_pred)
    if distribution is not None:
        y_true = as_numbers("y_true", y_true, distribution.dtype if distribution.dtype.is_floating else None)
        if y_true.shape.is_compatible_with(distribution.batch_shape):
            y_true = as_column(y_true, distribution)
    if distribution is None or (mask is None and sample_weight is None):
        return y_true, sample_weight
    shapes = distribution.batch_shape, distribution.batch_shape_tensor()
    given = [weights_of_outcomes(values, *shapes) for values in (sample_weight, mask) if values is not None]
    weights = functools.reduce(lambda a, b: a * tf.cast(b, a.dtype), given)
    return where_counted(as_outcomes(y_true, distribution), distribution, weights != 0), weights


@tf.autograph.experimental.do_not_convert
def log_loss(y_true: Any, distribution: tfd.Distribution) -> tf.Tensor:
    """Returns `-distribution.log_prob(y_true)`.

    Raises an error if the outcomes do not have the distribution's shape or are outside its support.
    """
    outcomes = as_outcomes(y_true, distribution)
    distribution = checking(distribution)
    try:
        # TFP's assertions accept NaN and the end of an open support. So we check that outcomes are finite and, in eager
        # mode, that log-likelihoods are finite. In a graph we do not check log-likelihoods, because an optimizer may
        # try parameters under which a log-likelihood is infinite, and then step back.
        checked = distribution.validate_args
        if checked and outcomes.dtype.is_floating:
            finite = tf.debugging.check_numerics(finite_part(outcomes, distribution), "It is not finite.")
            with tf.control_dependencies([finite]):
                outcomes = tf.identity(outcomes)
        log_prob = distribution.log_prob(outcomes)
        forget_graph()
        if checked and tf.executing_eagerly():
            log_prob = tf.debugging.check_numerics(log_prob, "Its log-likelihood is not finite.")
        return -log_prob
    except tf.errors.InvalidArgumentError as error:
        if tf.executing_eagerly() and not has_finite_likelihoods(distribution):
            raise ValueError(
                f"`y_pred` is a {distribution.name} under which no outcome has a finite likelihood, perhaps because a "
                f"rate overflows or a parameter is NaN: standardise the inputs, begin with "
                f"`nllfit.initialize(model, x, y)`, or lower the learning rate."
            ) from None
        raise ValueError(
            f"`y_true` holds an outcome that {distribution.name} cannot have: {assertion_text(error)} Look for "
            f"mislabelled rows, or choose a head whose domain contains them."
        ) from None


def variance_weighted_log_loss(y_true: Any, distribution: tfd.Distribution, beta: float) -> tf.Tensor:
    """Returns the losses `[*batch]` of `BetaNLL` for outcomes of the distribution's shape."""
    elements = unwrapped(checking(distribution), INDEPENDENT)
    if elements.event_shape.num_elements() != 1:
        raise ValueError(
            f"`BetaNLL` weights each element of an outcome by its variance, but the elements of {distribution.name}, "
            f"of shape {tuple(distribution.event_shape)}, depend on each other: use a head of independent elements."
        )
    if law_of(elements).has_class_labels:
        raise ValueError(
            f"`BetaNLL` weights an outcome by its variance, and the labels of {distribution.name} are not numbers: use "
            f"the negative log-likelihood."
        )
    losses = log_loss(as_outcomes(y_true, distribution), elements)
    variance = tf.stop_gradient(tf.reshape(_finite(law_of(elements).variance(), elements), tf.shape(losses)))
    rank = distribution.batch_shape.rank
    return tf.reduce_sum(losses * variance**beta, list(range(rank, losses.shape.rank)))


def _finite(variance, distribution):
    message = f"`BetaNLL` weights by the variance, which is infinite under these parameters of {distribution.name}: "
    message += "exclude such parameters, for example by `floor={'df': 2.1}` for a StudentT."
    try:
        return tf.debugging.check_numerics(variance, message)
    except tf.errors.InvalidArgumentError:
        raise ValueError(message) from None
