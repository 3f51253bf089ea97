"""Families with finitely many outcomes."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd

from nllfit.families.facts import Facts, Tails
from nllfit.families.laws.normal import phi

__all__ = ["LABELS"]


def _bernoulli_cdf(d: tfd.Bernoulli, k: tf.Tensor) -> Tails:
    # In a graph, TFP computes the CDF in float32, which is inaccurate for small probabilities.
    at_0 = tf.cast(k < 1, k.dtype)
    return tf.sigmoid(-d.logits_parameter()) * at_0 + (1 - at_0), tf.sigmoid(d.logits_parameter()) * at_0


def _probit_bernoulli_cdf(d: tfd.ProbitBernoulli, k: tf.Tensor) -> Tails:
    probits = d.probits_parameter()
    return tf.where(k < 1, phi(-probits), 1.0), tf.where(k < 1, phi(probits), 0.0)


def _cdf_of_classes(probs_of: Callable[[Any], tf.Tensor]) -> Callable[[Any, tf.Tensor], Tails]:
    """Returns a CDF that sums the probabilities of each tail. TFP's survival function, `1 - cdf`, loses digits."""

    def cdf(d, k):
        probs = probs_of(d)
        reached = tf.range(tf.shape(probs)[-1], dtype=k.dtype) <= k[..., None]
        below, above = (tf.reduce_sum(tf.where(side, probs, 0.0), -1) for side in (reached, ~reached))
        return below, above

    return cdf


def _brier_score(d: tfd.Bernoulli | tfd.ProbitBernoulli, y: tf.Tensor) -> tf.Tensor:
    """The CRPS, which is the Brier score if `y` is 0 or 1."""
    probability = d.probs_parameter()
    return (1 - probability) * tf.abs(y) + probability * tf.abs(1 - y) - probability * (1 - probability)


def _brier_score_of_labels(d: tfd.Categorical, y: tf.Tensor) -> tf.Tensor:
    """Returns the Brier score for classes without an order. It is the squared distance from the one-hot outcome."""
    probs = d.probs_parameter()
    classes = tf.range(tf.shape(probs)[-1], dtype=y.dtype)
    outcome = tf.cast(classes == y[..., None], probs.dtype)
    return tf.reduce_sum(tf.square(probs - outcome), -1) + 0 * y  # NaN if `y` is NaN


def _crps_of_finite(outcomes, probs, y):
    to_outcome = tf.reduce_sum(probs * tf.abs(outcomes - y[..., None]), -1)
    distances = tf.abs(outcomes[..., :, None] - outcomes[..., None, :])
    return to_outcome - tf.reduce_sum(probs * tf.linalg.matvec(distances, probs), -1) / 2


def _probs_of_categorical(d):
    return d.probs_parameter()


def _log_probs_of_ordered_logistic(d: tfd.OrderedLogistic) -> tf.Tensor:
    """Returns the logarithms of `sigmoid(b) - sigmoid(a) = sigmoid(b) sigmoid(-a) (1 - exp(a - b))`, `[..., classes]`.

    `a` and `b` are the cutpoints on both sides of a class, minus `loc`. TFP computes the difference on the left. Its
    gradient is NaN if `loc` is farther than 36 from a cutpoint, or 17 in float32.
    """
    widths = d.cutpoints[..., 1:] - d.cutpoints[..., :-1]
    # At the width 0 the gradient is infinite. For an outcome in another class, it is multiplied by 0, which gives NaN.
    is_wide = widths > np.finfo(widths.dtype.as_numpy_dtype).tiny
    gaps = tf.where(is_wide, tfp.math.log1mexp(tf.where(is_wide, widths, 1.0)), -math.inf)
    below, above = _log_odds_tails(d)
    return _padded(below, 0, 1) + _padded(above, 1, 0) + _padded(gaps, 1, 1)


def _log_probs_of_stopping_ratio(d: tfd.StoppingRatioLogistic) -> tf.Tensor:
    below, above = _log_odds_tails(d)  # far from a cutpoint, the gradient of TFP's version is NaN
    return _padded(below, 0, 1) + _padded(tf.cumsum(above, -1), 1, 0)


def _log_odds_tails(d):
    """Returns `log sigmoid(cutpoints - loc)` and `log sigmoid(loc - cutpoints)`."""
    logits = d.cutpoints - d.loc[..., None]
    return tf.math.log_sigmoid(logits), tf.math.log_sigmoid(-logits)


def _padded(values, before, after):
    """Adds `before` zeros at the start of the last axis and `after` zeros at its end."""
    return tf.pad(values, [[0, 0]] * (len(values.shape) - 1) + [[before, after]])


def _facts_of_ordered_classes(log_probs: Callable[[Any], tf.Tensor]) -> Facts:
    """Returns the facts about a family of labels `0, 1, ...` from the logarithms of the labels' probabilities."""

    def log_prob(d, y):
        """Returns `log P(Y = y)`, which is -inf if there is no class `y`."""
        values = log_probs(d)
        exists = (y >= 0) & (y < tf.cast(tf.shape(values)[-1], y.dtype))
        found = tfd.Categorical(values).log_prob(tf.where(exists, y, tf.zeros_like(y)))
        return tf.where(exists, found, tf.constant(-math.inf, found.dtype))

    def probs(d):
        return tf.exp(log_probs(d))

    def ranked_probability_score(d, y):
        values = probs(d)
        return _crps_of_finite(tf.range(tf.shape(values)[-1], dtype=values.dtype), values, y)

    return Facts(
        # The parameter is the vector of cutpoints. A label's shape does not show the number of classes.
        class_axis=lambda num_classes: num_classes - 1,
        center=probs,
        log_prob=log_prob,
        cdf=_cdf_of_classes(probs),
        crps=ranked_probability_score,
    )


LABELS: Mapping[type, Facts] = {
    tfd.Bernoulli: Facts(cdf=_bernoulli_cdf, crps=_brier_score),
    tfd.Categorical: Facts(
        class_axis=lambda num_classes: num_classes,
        center=_probs_of_categorical,
        cdf=_cdf_of_classes(_probs_of_categorical),
        crps=_brier_score_of_labels,
    ),
    tfd.Deterministic: Facts(
        ends=lambda d: (-math.inf, math.inf),  # TFP's bijector to the support fails with NumPy 2.4
        crps=lambda d, y: tf.abs(y - d.loc),
    ),
    tfd.FiniteDiscrete: Facts(crps=lambda d, y: _crps_of_finite(d.outcomes, d.probs_parameter(), y)),
    tfd.OrderedLogistic: _facts_of_ordered_classes(_log_probs_of_ordered_logistic),
    tfd.ProbitBernoulli: Facts(cdf=_probit_bernoulli_cdf, crps=_brier_score),
    tfd.StoppingRatioLogistic: _facts_of_ordered_classes(_log_probs_of_stopping_ratio),
}
