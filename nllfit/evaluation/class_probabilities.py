"""Class probabilities of predicted distributions, and class labels of outcomes."""

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike
from tensorflow_probability import distributions as tfd

from nllfit.families.law import law_of
from nllfit.families.tfp_classes import INDEPENDENT, MIXTURE_SAME_FAMILY, unwrapped

__all__ = ["class_labels", "class_log_probs"]


def class_log_probs(distribution: tfd.Distribution) -> tf.Tensor | None:
    """Returns the log-probability of each class in float64, or None if the outcomes are not classes.

    Args:
      distribution: a distribution of class labels (`Categorical`, `OrderedLogistic`), of one-hot rows, or of outcomes 0
        and 1 (`Bernoulli`); or a mixture of these. The batch shape is `[*batch]`, and the event shape is `[*event]`.

    Returns:
      `[*batch, *event, num_classes]`. A `Bernoulli` has two classes. One-hot rows have `[*batch, num_classes]`.
    """
    if isinstance(distribution, INDEPENDENT):
        return class_log_probs(distribution.distribution)
    if isinstance(distribution, MIXTURE_SAME_FAMILY):
        log_probs = class_log_probs(distribution.components_distribution)
        if log_probs is None:
            return None
        log_weights = tf.nn.log_softmax(tf.cast(distribution.mixture_distribution.logits_parameter(), tf.float64))
        rank = log_probs.shape.rank - distribution.components_distribution.batch_shape.rank  # of [*event, num_classes]
        log_weights = tf.reshape(log_weights, tf.concat([tf.shape(log_weights), [1] * rank], 0))
        return tf.reduce_logsumexp(log_weights + log_probs, -1 - rank)
    if isinstance(distribution, (tfd.Categorical, tfd.OneHotCategorical)):
        return tf.nn.log_softmax(tf.cast(distribution.logits_parameter(), tf.float64))
    if isinstance(distribution, tfd.Bernoulli):
        logits = tf.cast(distribution.logits_parameter(), tf.float64)
        return tf.stack([tf.math.log_sigmoid(-logits), tf.math.log_sigmoid(logits)], -1)
    if isinstance(distribution, tfd.ProbitBernoulli):
        probits = tf.cast(distribution.probits_parameter(), tf.float64)
        return tfd.Normal(tf.zeros([], tf.float64), 1.0).log_cdf(tf.stack([-probits, probits], -1))
    if law_of(distribution).has_class_labels:
        return tf.cast(distribution.categorical_log_probs(), tf.float64)
    return None


def class_labels(y: ArrayLike, distribution: tfd.Distribution) -> np.ndarray:
    """Returns the class label of each outcome, `[*batch, *event]`. The shape is `[*batch]` for one-hot rows."""
    y = np.asarray(y)
    return y.argmax(-1) if isinstance(unwrapped(distribution), tfd.OneHotCategorical) else y.astype(int)
