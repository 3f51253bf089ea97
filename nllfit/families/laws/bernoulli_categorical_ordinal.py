"""Families with finitely many outcomes."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf
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


def _ranked_probability_score(d: tfd.OrderedLogistic | tfd.StoppingRatioLogistic, y: tf.Tensor) -> tf.Tensor:
    probs = d.categorical_probs()
    return _crps_of_finite(tf.range(tf.shape(probs)[-1], dtype=probs.dtype), probs, y)


def _crps_of_finite(outcomes, probs, y):
    to_outcome = tf.reduce_sum(probs * tf.abs(outcomes - y[..., None]), -1)
    distances = tf.abs(outcomes[..., :, None] - outcomes[..., None, :])
    return to_outcome - tf.reduce_sum(probs * tf.linalg.matvec(distances, probs), -1) / 2


def _probs_of_categorical(d):
    return d.probs_parameter()


def _probs_of_ordered(d):
    return d.categorical_probs()


# The parameter is the vector of cutpoints between classes. A label's shape does not show the number of cutpoints.
_ORDERED = Facts(
    class_axis=lambda num_classes: num_classes - 1,
    center=_probs_of_ordered,
    cdf=_cdf_of_classes(_probs_of_ordered),
    crps=_ranked_probability_score,
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
        ends=lambda d: (-math.inf, math.inf),  # TFP's bijector onto a point fails with NumPy 2.4
        crps=lambda d, y: tf.abs(y - d.loc),
    ),
    tfd.FiniteDiscrete: Facts(crps=lambda d, y: _crps_of_finite(d.outcomes, d.probs_parameter(), y)),
    tfd.OrderedLogistic: _ORDERED,
    tfd.ProbitBernoulli: Facts(cdf=_probit_bernoulli_cdf, crps=_brier_score),
    tfd.StoppingRatioLogistic: _ORDERED,
}
