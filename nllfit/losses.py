"""Losses: what a distribution thinks of an outcome."""

import functools
from typing import Any

import tensorflow as tf
import tf_keras
from tensorflow_probability import distributions as tfd

from nllfit.adapters.tensorflow import mask_of
from nllfit.families.arguments import as_numbers
from nllfit.families.law import law_of
from nllfit.families.outcomes import (
    as_outcomes,
    finite_part,
    has_finite_likelihoods,
    weights_of_outcomes,
    where_counted,
)
from nllfit.families.refusal import assertion_text
from nllfit.families.rowwise import checking
from nllfit.families.tfp_classes import INDEPENDENT
from nllfit.outputs import as_distribution, distribution_of, no_distribution
from nllfit.scores import crps

__all__ = [
    "CRPS",
    "BetaNLL",
    "DistributionLoss",
    "NegativeLogLikelihood",
    "as_beta",
    "counted",
    "log_loss",
    "negative_log_likelihood",
    "variance_weighted_log_loss",
]

_ABSENT = object()
_REDUCTIONS = tf_keras.losses.Reduction


@tf.autograph.experimental.do_not_convert
def counted(y_true: Any, y_pred: Any, sample_weight: Any = None) -> tuple[Any, tf.Tensor | None]:
    """Outcomes and their weights, so that what has a weight of 0, or is masked by Keras, can be anything.

    Args:
      y_true: outcomes, `[*batch, *event]`.
      y_pred: the output of a head, with Keras's mask.
      sample_weight: None, or weights of rows or of outcomes: `[B]` up to `[*batch]`.

    Returns:
      The outcomes, with one of the distribution's support in place of each that does not count, and weights `[*batch]`,
      0 there; None if all count alike.

    Raises:
      ValueError: if the weights are of another shape.
    """
    distribution, mask = distribution_of(y_pred), mask_of(y_pred)
    if tf.is_tensor(y_pred) and distribution is not None:  # Keras 3 leaves to its losses what tf_keras does before
        y_true = as_numbers("y_true", y_true, distribution.dtype if distribution.dtype.is_floating else None)
        y_true = (
            y_true[:, None] if y_pred.shape[1:] == [1] and y_true.shape.is_compatible_with(y_pred.shape[:1]) else y_true
        )
    if distribution is None or (mask is None and sample_weight is None):
        return y_true, sample_weight
    shapes = distribution.batch_shape, distribution.batch_shape_tensor()
    given = [weights_of_outcomes(values, *shapes) for values in (sample_weight, mask) if values is not None]
    weights = functools.reduce(lambda a, b: a * tf.cast(b, a.dtype), given)
    return where_counted(as_outcomes(y_true, distribution), distribution, weights != 0), weights


class DistributionLoss(tf_keras.losses.Loss):
    """A loss of tf_keras that sees the distribution; a subclass gives `call(y_true, distribution)`, one number each.

    What has a weight of 0 or is masked does not matter to it, whatever it is: see `counted`.
    """

    takes_padding = True

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> tf.Tensor:
        distribution, mask = _of_tf_keras(y_pred), mask_of(y_pred)
        outcomes, weights = counted(y_true, y_pred, sample_weight)
        is_mean = self.reduction in (_REDUCTIONS.AUTO, _REDUCTIONS.SUM_OVER_BATCH_SIZE)
        if is_mean and mask is not None and weights is not None:
            # A mean over what is not masked; Keras's own is NaN where all is, so it is not given the mask.
            valid = tf.cast(mask, weights.dtype)
            weights = weights * tf.math.divide_no_nan(tf.cast(tf.size(mask), weights.dtype), tf.reduce_sum(valid))
        return super().__call__(outcomes, distribution, weights)


def _of_tf_keras(y_pred):
    if tf.is_tensor(y_pred):  # of a Keras 3 head as well, whose masks and weights its own loss knows
        raise no_distribution(y_pred)
    return as_distribution(y_pred)


@tf.autograph.experimental.do_not_convert
def log_loss(y_true: Any, distribution: tfd.Distribution) -> tf.Tensor:
    """`-distribution.log_prob(y_true)` for outcomes of the distribution's shape and in its support."""
    outcomes = as_outcomes(y_true, distribution)
    distribution = checking(distribution)
    try:
        # NaN, and the edge of an open support, pass TFP's own assertions. In a graph the likelihood is left alone, as
        # an optimizer may try parameters where it is not finite, and step back.
        checked = distribution.validate_args
        if checked and outcomes.dtype.is_floating:
            finite = tf.debugging.check_numerics(finite_part(outcomes, distribution), "It is not finite.")
            with tf.control_dependencies([finite]):
                outcomes = tf.identity(outcomes)
        log_prob = distribution.log_prob(outcomes)
        if checked and tf.executing_eagerly():
            log_prob = tf.debugging.check_numerics(log_prob, "Its log-likelihood is not finite.")
        return -log_prob
    except tf.errors.InvalidArgumentError as error:
        if tf.executing_eagerly() and not has_finite_likelihoods(distribution):
            raise ValueError(
                f"`y_pred` is a {distribution.name} under which no outcome has a finite likelihood, as where a rate "
                f"overflows or a parameter is NaN: standardise the inputs, begin with "
                f"`nllfit.initialize(model, x, y)`, or lower the learning rate."
            ) from None
        raise ValueError(
            f"`y_true` holds an outcome that {distribution.name} cannot have: {assertion_text(error)} Look for "
            f"mislabelled rows, or choose a head whose domain they are in."
        ) from None


@tf_keras.saving.register_keras_serializable(package="nllfit.losses")  # the metric has the same name
class NegativeLogLikelihood(DistributionLoss):
    """The negative log-likelihood of each outcome, `-y_pred.log_prob(y_true)`, for any head.

    `nllfit.negative_log_likelihood(y_true, y_pred)` is a function of an outcome and a distribution, and what `compile`
    takes: Keras, which calls a loss with `sample_weight`, gets the weighted mean. What is masked or has a weight of 0
    counts as nothing there, whatever it is: padding need not be an outcome.

    It never broadcasts: `y_true` has the shape `[*batch, *event]` of the distribution's outcomes, or it is an error at
    trace time. (A batch `[B]` against targets `[B, 1]` would give `[B, B]`, which trains to nonsense in silence.) The
    one exception is Keras's own: class labels `[B]`, which `fit` turns into `[B, 1]`, mean the same either way.

    Args:
      y_true: outcomes, `[B, *event]`.
      y_pred: the output of a head, or any `tfd.Distribution` of batch `[B]` and event `[*event]`.

    Returns:
      `[B]` in nats, a sum over the event, 0 for what Keras's mask drops; Keras takes the mean over the batch. A mean
      over the event too, as Keras's own losses take it, is this number divided by the event's size.

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

    def __init__(self, reduction: str = "auto", name: str = "negative_log_likelihood"):
        super().__init__(reduction, name)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = _ABSENT) -> tf.Tensor:
        if sample_weight is not _ABSENT:
            return super().__call__(y_true, y_pred, sample_weight)
        outcomes, weights = counted(y_true, y_pred)
        losses = self.call(outcomes, y_pred)
        return losses if weights is None else tf.where(weights != 0, losses, tf.zeros_like(losses))

    def call(self, y_true: Any, y_pred: Any) -> tf.Tensor:
        return log_loss(y_true, _of_tf_keras(y_pred))


negative_log_likelihood = NegativeLogLikelihood()
# Files of earlier versions hold a function of this name.
tf_keras.saving.register_keras_serializable("nllfit", "negative_log_likelihood")(negative_log_likelihood)


@tf_keras.saving.register_keras_serializable(package="nllfit.losses")
class CRPS(DistributionLoss):
    """The continuous ranked probability score of each outcome, `nllfit.crps`, in its unit, as a loss.

    It is a mean of what `nllfit.crps` gives, a sum over the event, under Keras's masks and weights as in
    `NegativeLogLikelihood`. Outliers, which the likelihood of a Normal punishes by their square, count by their size.

    Args:
      reduction: as Keras's losses have it.
      name: name of the loss.

    Raises:
      TypeError, ValueError, NotImplementedError: as `nllfit.crps`.

    Example:
      >>> model.compile("adam", nllfit.losses.CRPS())

    Source: Gneiting, Raftery, Westveld and Goldman, Calibrated probabilistic forecasting using ensemble model output
    statistics and minimum CRPS estimation, 2005.
    """

    def __init__(self, reduction: str = "auto", name: str = "crps"):
        super().__init__(reduction, name)

    def call(self, y_true: Any, y_pred: Any) -> tf.Tensor:
        return crps(y_true, y_pred)


@tf_keras.saving.register_keras_serializable(package="nllfit.losses")
class BetaNLL(DistributionLoss):
    """The negative log-likelihood of each element of an outcome, weighted by its predicted variance to the power beta.

    `sum over the event of -log p(y_i) * stop_gradient(variance_i)^beta`. Under the likelihood alone (`beta=0`) a Normal
    head learns a mean slowly wherever it has taken a large variance to explain the errors; with `beta=1` the gradient
    of the mean is that of the squared error. It is a loss to train with and no score: its value means nothing.

    It is defined for heads of independent elements with a finite variance (not a `StudentT` with `df <= 2`), and for
    outcomes of one element, mixtures included.

    Args:
      beta: the power, from 0 to 1.
      reduction: as Keras's losses have it.
      name: name of the loss.

    Raises:
      ValueError: if `beta` is not between 0 and 1; if the elements of the outcome depend on each other, or are class
        labels; if a variance is infinite (XLA does not check); else as `nllfit.negative_log_likelihood`.
      NotImplementedError: if TFP knows no variance of the family.

    Example:
      >>> model.compile("adam", nllfit.losses.BetaNLL(0.5))

    Source: Seitzer, Tavakoli, Antic and Martius, On the pitfalls of heteroscedastic uncertainty estimation with
    probabilistic neural networks, 2022.
    """

    def __init__(self, beta: float = 0.5, reduction: str = "auto", name: str = "beta_nll"):
        super().__init__(reduction, name)
        self.beta = as_beta(beta)

    def call(self, y_true: Any, y_pred: Any) -> tf.Tensor:
        return variance_weighted_log_loss(y_true, _of_tf_keras(y_pred), self.beta)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"beta": self.beta}


def as_beta(beta: Any) -> float:
    """The `beta` of a `BetaNLL`, if it is one."""
    if isinstance(beta, bool) or not (isinstance(beta, (int, float)) and 0 <= beta <= 1):
        raise ValueError(f"`beta` is {beta!r}: give a number from 0, the likelihood, to 1.")
    return float(beta)


def variance_weighted_log_loss(y_true: Any, distribution: tfd.Distribution, beta: float) -> tf.Tensor:
    """`BetaNLL` for outcomes of the distribution's shape, `[*batch]`."""
    elements = distribution
    while isinstance(elements, INDEPENDENT):
        elements = elements.distribution
    if elements.event_shape.num_elements() != 1:
        raise ValueError(
            f"`BetaNLL` weights each element of an outcome by its variance, but those of {distribution.name}, of shape "
            f"{tuple(distribution.event_shape)}, depend on each other: use a head of independent elements."
        )
    if law_of(elements).has_class_labels:
        raise ValueError(
            f"`BetaNLL` weights an outcome by its variance, and the labels of {distribution.name} are no numbers: use "
            f"the negative log-likelihood."
        )
    losses = log_loss(as_outcomes(y_true, distribution), elements)
    variance = tf.stop_gradient(tf.reshape(_finite(elements.variance(), elements), tf.shape(losses)))
    rank = distribution.batch_shape.rank
    return tf.reduce_sum(losses * variance**beta, list(range(rank, losses.shape.rank)))


def _finite(variance, distribution):
    message = f"`BetaNLL` weights by the variance, which is infinite under these parameters of {distribution.name}: "
    message += "keep them from there, as by `floor={'df': 2.1}` of a StudentT."
    try:
        return tf.debugging.check_numerics(variance, message)
    except tf.errors.InvalidArgumentError:
        raise ValueError(message) from None
