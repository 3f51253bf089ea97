"""CRPS of counts: `(distribution, y) -> crps`, all `[*batch]` in float64.

Each is `E|X - y| - E|X - X'| / 2`. The first part follows from the CDF and the probability of `y`; the second is, for a
count, an integral over its characteristic function.

Source: Jordan, Krueger and Lerch, Evaluating probabilistic forecasts with scoringRules, 2019, appendix A, where the
second part is a Bessel or a hypergeometric function.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.families.incomplete_functions import beta_tails, gamma_tails, log_beta_kernel, log_gamma_kernel
from nllfit.families.numerics import across, zeta

__all__ = ["COUNTS"]

_STEP = 0.2
_NUM_SQUARES = 32
_LOGS = np.arange(-28, 28 + _STEP / 2, _STEP)


def _apart(log_square: Callable[[tf.Tensor], tf.Tensor], spread: tf.Tensor) -> tf.Tensor:
    """`E|X - X'| / 2` of a count by the square of its characteristic function at angles `t`.

    It is `1 / (2 pi) integral of (1 - |phi(t)|^2) / (1 - cos t) dt` from 0 to pi; in the logarithm of `tan(t / 2)` the
    integrand falls exponentially on both sides, and the trapezoidal rule is exact to about 1e-12.

    Args:
      log_square: `sin(t / 2)^2` to `log |phi(t)|^2`.
      spread: about the standard deviation, around whose inverse the integrand is large.
    """
    logs = tf.constant(_LOGS.reshape([-1, *[1] * spread.shape.rank]), spread.dtype) - tf.math.log1p(spread)
    squared = tf.exp(2 * logs)
    missing = -tf.math.expm1(log_square(squared / (1 + squared)))
    return _STEP / (2 * math.pi) * tf.reduce_sum(missing * tf.exp(-logs), 0)


def _poisson(d: tfd.Poisson, y: tf.Tensor) -> tf.Tensor:
    rate = d.rate_parameter()
    inside, count = _counted(y, np.inf)
    above, below = gamma_tails(count + 1, rate)
    to_outcome = (inside - rate) * (below - above) + 2 * tf.exp(log_gamma_kernel(count + 1, rate))
    scaled = 2 * rate
    apart = rate * (tf.math.bessel_i0e(scaled) + tf.math.bessel_i1e(scaled))
    return tf.abs(y - inside) + to_outcome - apart


def _negative_binomial(d: tfd.NegativeBinomial, y: tf.Tensor) -> tf.Tensor:
    logits = d.logits_parameter() + tf.zeros_like(y)
    number, stop, go = d.total_count + tf.zeros_like(y), tf.sigmoid(-logits), tf.sigmoid(logits)
    odds, (inside, count) = tf.exp(logits), _counted(y, np.inf)
    mean = number * odds
    below, above = beta_tails(number, count + 1, stop, go)
    to_outcome = (inside - mean) * (below - above)
    to_outcome += 2 * tf.exp(log_beta_kernel(number, count + 1, stop, go)) / stop
    ratio = 4 * odds * (1 + odds)
    apart = _apart(lambda sine: -number * tf.math.log1p(ratio * sine), tf.sqrt(mean * (1 + odds)))
    return tf.abs(y - inside) + to_outcome - apart


def _binomial(d: tfd.Binomial, y: tf.Tensor) -> tf.Tensor:
    number, logits = d.total_count + tf.zeros_like(y), d.logits_parameter() + tf.zeros_like(y)
    success, failure = tf.sigmoid(logits), tf.sigmoid(-logits)
    inside, count = _counted(y, number)
    mean, is_last = number * success, count >= number
    left = tf.where(is_last, tf.ones_like(y), number - count)
    below, above = beta_tails(left, count + 1, failure, success)
    density = tf.exp(log_beta_kernel(left, count + 1, failure, success))
    to_outcome = tf.where(is_last, inside - mean, (inside - mean) * (below - above) + 2 * density)
    variance = mean * failure
    chance = 4 * success * failure  # at most 1, and the logarithm that of at least the smallest step below
    apart = _apart(lambda sine: number * tf.math.log1p(-tf.minimum(chance * sine, 1 - 2.0**-53)), tf.sqrt(variance))
    return tf.abs(y - inside) + to_outcome - apart


def _geometric(d: tfd.Geometric, y: tf.Tensor) -> tf.Tensor:
    logits = d.logits_parameter()
    stop, log_go = tf.sigmoid(logits), tf.math.log_sigmoid(-logits)
    inside, count = _counted(y, np.inf)
    go = tf.exp(log_go)
    # The sum over the counts below `y` of `1 - 2 S(k)`, and what is left of the step in which `y` is.
    steps = count + 2 * go * tf.math.expm1(count * log_go) / stop
    part = (inside - count) * (1 - 2 * tf.exp((count + 1) * log_go))
    return tf.abs(y - inside) + steps + part + tf.square(go) / (stop * (1 + go))


def _zipf(d: tfd.Zipf, y: tf.Tensor) -> tf.Tensor:
    """Finite for a power above 3/2; `S(k) = zeta(power, k + 1) / zeta(power)` is the survival function."""
    power = d.power + tf.zeros_like(y)
    finite = power > 1.5
    power = tf.where(finite, power, 2.5)
    inside, ones = tf.maximum(y, 1.0), tf.ones_like(y)
    count = tf.math.floor(inside)
    whole, rest = zeta(power, ones), zeta(power, count)
    # The sum over k < count of k^(1 - power), which is continuous where the power is 2 and the zeta function is not.
    moment = across(lambda p: zeta(p, ones) - zeta(p, count), power - 1, 1.0)
    survivals = moment / whole - 1 + count * rest / whole  # S(1) + ... + S(count - 1)
    slope = 1 - 2 * (rest - count**-power) / whole
    score = count - 1 - 2 * survivals + _sum_of_squares(power) / tf.square(whole)
    return tf.where(finite, inside - y + score + (inside - count) * slope, np.inf)


def _sum_of_squares(power):
    """`sum over k >= 1 of zeta(power, k + 1)^2`: 31 terms, and the rest by the expansion in powers of `k + 1/2`."""
    last = tf.constant(_NUM_SQUARES, power.dtype) + tf.zeros_like(power)
    steps = tf.range(2.0, _NUM_SQUARES, dtype=power.dtype) ** -power[..., None]
    tails = tf.cumsum(steps, -1, reverse=True) + zeta(power, last)[..., None]
    order = [1 / (power - 1), -power / 24, 7 / 5760 * power * (power + 1) * (power + 2)]
    order.append(-31 / 967680 * power * (power + 1) * (power + 2) * (power + 3) * (power + 4))
    total = tf.reduce_sum(tf.square(tails), -1)
    for j in range(4):
        coefficient = sum(order[i] * order[j - i] for i in range(j + 1))
        total += coefficient * zeta(2 * power - 2 + 2 * j, last - 0.5)
    return total


def _labels(d: tfd.Distribution, y: tf.Tensor) -> tf.Tensor:
    """Of classes in an order, the ranked probability score."""
    probs = d.categorical_probs()
    return _of_finite(tf.range(tf.shape(probs)[-1], dtype=probs.dtype), probs, y)


def _of_finite(outcomes, probs, y):
    to_outcome = tf.reduce_sum(probs * tf.abs(outcomes - y[..., None]), -1)
    distances = tf.abs(outcomes[..., :, None] - outcomes[..., None, :])
    return to_outcome - tf.reduce_sum(probs * tf.linalg.matvec(distances, probs), -1) / 2


def _categorical(d: tfd.Categorical, y: tf.Tensor) -> tf.Tensor:
    """Of classes without an order the Brier score, which a one-hot outcome has."""
    probs = d.probs_parameter()
    return tf.reduce_sum(
        tf.square(probs - tf.one_hot(tf.cast(y, tf.int32), tf.shape(probs)[-1], dtype=probs.dtype)), -1
    )


def _bernoulli(d: tfd.Bernoulli, y: tf.Tensor) -> tf.Tensor:
    return _of_event(d.probs_parameter(), y)


def _of_event(probability, y):
    """The Brier score; linear where an outcome is neither 0 nor 1."""
    return (1 - probability) * tf.abs(y) + probability * tf.abs(1 - y) - probability * (1 - probability)


def _counted(y, largest):
    """The outcomes within 0 and `largest`, and the counts that they reach."""
    inside = tf.minimum(tf.nn.relu(y), largest)
    return inside, tf.math.floor(inside)


COUNTS: Mapping[type, Callable[[tfd.Distribution, tf.Tensor], tf.Tensor]] = {
    tfd.Bernoulli: _bernoulli,
    tfd.Binomial: _binomial,
    tfd.Categorical: _categorical,
    tfd.FiniteDiscrete: lambda d, y: _of_finite(d.outcomes, d.probs_parameter(), y),
    tfd.Geometric: _geometric,
    tfd.NegativeBinomial: _negative_binomial,
    tfd.OrderedLogistic: _labels,
    tfd.Poisson: _poisson,
    tfd.ProbitBernoulli: _bernoulli,
    tfd.StoppingRatioLogistic: _labels,
    tfd.Zipf: _zipf,
}
