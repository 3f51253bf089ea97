"""The prediction that a distribution stands for, as a head's tensor."""

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.families.facts import facts_of, has_class_labels
from nllfit.families.inversion import inverse_cdf
from nllfit.families.kinds import INDEPENDENT, MIXTURE_SAME_FAMILY, TRANSFORMED
from nllfit.families.marginals import constant, latent, marginals, with_parameters

__all__ = ["central_value"]


def central_value(distribution: tfd.Distribution) -> tf.Tensor:
    """The prediction a distribution stands for: its mean, or the probabilities of classes.

    Where the mean is undefined or infinite (a `StudentT` with `df <= 1`, a `Cauchy`) it is the median, and where TFP
    has none of these the mode. It is never a sample.

    Args:
      distribution: of batch `[...]` and event `[*event]`.

    Returns:
      A tensor `[..., *event]`; `[..., *event, num_classes]` for class labels. Where an outcome is an interval, or comes
      with a window, it is that of the number itself.

    Raises:
      NotImplementedError: if TFP gives the family no mean, median or mode.
    """
    distribution = latent(distribution)
    if isinstance(distribution, INDEPENDENT):
        return central_value(distribution.distribution)
    if isinstance(distribution, MIXTURE_SAME_FAMILY):
        components = central_value(distribution.components_distribution)
        weights = distribution.mixture_distribution.probs_parameter()
        rank = components.shape.rank - weights.shape.rank
        weights = tf.reshape(weights, tf.concat([tf.shape(weights), [1] * rank], 0))
        return tf.reduce_sum(weights * components, -1 - rank)
    distribution = _without_assertions(distribution)
    if has_class_labels(distribution):
        return _without_mean(distribution)
    facts = facts_of(type(distribution).__name__)
    try:
        mean = (facts.mean or type(distribution).mean)(distribution)
    except NotImplementedError:
        return _without_mean(distribution)
    if mean.dtype.is_integer or _has_finite_mean(distribution):
        return mean
    finite = tf.math.is_finite(mean)
    # TFP's quantiles have no gradient in a branch, and TensorFlow asks for it as soon as a tape watches what goes in,
    # or a gradient comes to what goes out.
    constant, constant_mean = _without_assertions(distribution, tf.stop_gradient), tf.stop_gradient(mean)

    def elsewhere():
        try:
            value = tf.cast(_without_mean(constant), mean.dtype)
        except NotImplementedError:
            return constant_mean
        return tf.where(tf.math.is_nan(value), constant_mean, value)  # where both are beyond what the dtype holds

    # A median can be costly: only where it is needed.
    fallback = tf.cond(tf.reduce_all(finite), lambda: constant_mean, elsewhere)
    value = tf.where(finite, mean, tf.stop_gradient(fallback))
    value.set_shape(distribution.batch_shape + distribution.event_shape)  # which some means and quantiles lose
    return value


def _has_finite_mean(distribution):
    while hasattr(distribution, "zero_probs"):  # some more zeros leave it finite
        distribution = distribution.distribution
    return facts_of(type(distribution).__name__).finite_mean


def _without_assertions(distribution, change=lambda value: value):
    """A copy whose operations TensorFlow can prune from training, where nobody asks for the prediction."""
    try:
        return with_parameters(distribution, lambda value, _: change(value), validate_args=False)
    except TypeError:  # ZeroInflatedNegativeBinomial does not keep all of its arguments
        return distribution


def _without_mean(distribution):
    if hasattr(distribution, "log_interval"):  # it is made of another, and has a CDF
        median = inverse_cdf(marginals(constant(distribution)), 0.5)
        median.set_shape(distribution.batch_shape)  # which a search loses
        if hasattr(distribution, "window"):  # where the numbers before truncation are beyond what the dtype holds
            middle = tf.cast(central_value(distribution.distribution), median.dtype)
            ends = (tf.cast(end, median.dtype) for end in distribution.window())
            median = tf.where(tf.math.is_nan(median), tf.clip_by_value(middle, *ends), median)
        return tf.cast(median, distribution.dtype)
    center = facts_of(type(distribution).__name__).center
    if center:
        return center(distribution)
    for probabilities in ("categorical_probs", "probs_parameter"):
        if hasattr(distribution, probabilities):
            return getattr(distribution, probabilities)()
    for value in (lambda: distribution.quantile(0.5), distribution.mode):
        try:
            return value()
        except NotImplementedError:
            continue
    if isinstance(distribution, TRANSFORMED):  # a flow of whole outcomes
        return distribution.bijector.forward(central_value(distribution.distribution))
    raise NotImplementedError(f"TFP gives {distribution.name} no mean, median or mode, so it cannot predict.")
