"""Families of counts.

The CRPS of a Poisson, Binomial or NegativeBinomial is computed as `E|X - y| - E|X - X'| / 2`, where `X` and `X'` are
independent draws. `E|X - y|` follows from the CDF and the probability of `y`. For a Binomial and a NegativeBinomial,
`E|X - X'|` is computed from the characteristic function.

Source: Jordan, Krueger and Lerch, Evaluating probabilistic forecasts with scoringRules, 2019, appendix A. They express
`E|X - X'|` by a Bessel or a hypergeometric function.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from nllfit.families.bessel_and_zeta import log_bessel_series, zeta
from nllfit.families.facts import Facts, Tails
from nllfit.families.incomplete_functions import beta_tails, gamma_tails
from nllfit.families.log_kernels import log_beta_kernel, log_gamma_kernel
from nllfit.families.numerics import across
from nllfit.families.search_policy import SearchPolicy

__all__ = ["COUNTS"]

_NUM_SQUARES = 32  # for the CRPS of a Zipf, the terms of counts below this are summed one by one
_STEP = 0.2  # the step of the trapezoidal rule in `_half_mean_difference`
_LOGS = np.arange(-28, 28 + _STEP / 2, _STEP)


def _binomial_cdf(d: tfd.Binomial, k: tf.Tensor) -> Tails:
    logits = d.logits_parameter()
    return beta_tails(d.total_count - k, k + 1, tf.sigmoid(-logits), tf.sigmoid(logits))


def _beta_binomial_cdf(d: tfd.BetaBinomial, k: tf.Tensor) -> Tails:
    """Computes both tails as sums of probabilities, because TFP has no CDF.

    Each tail is a sum over the counts from 0 to the largest `total_count` of all rows. Counts that do not belong to the
    tail of a row add 0.
    """
    counts = tf.range(tf.reduce_max(d.total_count) + 1, dtype=k.dtype)
    counts = tf.reshape(counts, tf.concat([[-1], tf.ones([tf.rank(k + d.total_count)], tf.int32)], 0))
    probs = tf.where(counts <= d.total_count, tf.exp(d.log_prob(tf.minimum(counts, d.total_count))), 0.0)
    below = tf.reduce_sum(tf.where(counts <= k, probs, 0.0), 0)
    above = tf.reduce_sum(tf.where(counts > k, probs, 0.0), 0)
    return below, above


def _negative_binomial_cdf(d: tfd.NegativeBinomial, k: tf.Tensor) -> Tails:
    return beta_tails(d.total_count, k + 1, tf.sigmoid(-d.logits_parameter()), d.probs_parameter())


def _skellam_cdf(d: tfd.Skellam, k: tf.Tensor) -> Tails:
    """Computes the CDF of the difference of two Poisson counts.

    The counts are `N1` and `N2`. The CDF of the count with the larger rate is averaged over 128 values of the other
    count. If the smaller rate is large, these values are more than 1 apart. The average is nevertheless exact to
    rounding, because the probabilities are then a smooth function of the count.
    """
    first, second = d.rate1_parameter()[..., None], d.rate2_parameter()[..., None]
    k = k[..., None]
    smaller_rate, larger_rate = tf.minimum(first, second), tf.maximum(first, second)
    low = tf.nn.relu(tf.math.floor(smaller_rate - 10 * tf.sqrt(smaller_rate)))
    stride = tf.math.ceil((smaller_rate + 10 * tf.sqrt(smaller_rate) + 20 - low) / 128)
    j = low + stride * tf.range(128, dtype=k.dtype)
    weights = stride * tf.exp(j * tf.math.log(smaller_rate) - smaller_rate - tf.math.lgamma(j + 1))
    upper = tf.where(first >= second, k + j, j - k - 1)  # N1 - N2 <= k if N1 <= k + N2, that is, if N2 > N1 - k - 1
    is_valid = upper >= 0
    above, below = gamma_tails(tf.nn.relu(upper) + 1, larger_rate)
    poisson = tf.where(is_valid, below, 0.0), tf.where(is_valid, above, 1.0)
    below, above = (tf.reduce_sum(weights * tail, -1) for tail in poisson)
    swapped = (first < second)[..., 0]
    return tf.where(swapped, above, below), tf.where(swapped, below, above)


def _skellam_log_prob(d: tfd.Skellam, y: tf.Tensor) -> tf.Tensor:
    """Returns `log sum_j Poisson(y + j; rate1) Poisson(j; rate2)`. TFP's derivatives are wrong for `y < 0`."""
    first, second, k = (tf.cast(value, tf.float64) for value in (d.rate1_parameter(), d.rate2_parameter(), y))
    log_first, log_second = tf.math.log(first), tf.math.log(second)
    order, log_rate = tf.abs(k), tf.where(k < 0, log_second, log_first)
    series = log_bessel_series(order, log_first + log_second)
    log_prob = series + tf.math.multiply_no_nan(log_rate, order) - first - second
    return tf.cast(log_prob, d.dtype)


def _half_mean_difference(log_square: Callable[[tf.Tensor], tf.Tensor], scale: tf.Tensor) -> tf.Tensor:
    """Computes `E|X - X'| / 2` of a count from the characteristic function `phi` of the count.

    The result is `1 / (2 pi) integral of (1 - |phi(t)|^2) / (1 - cos t) dt` from 0 to pi. As a function of
    `log tan(t / 2)`, the integrand decreases exponentially on both sides, so the trapezoidal rule is exact to about
    1e-12.

    Args:
      log_square: maps `sin(t / 2)^2` to `log |phi(t)|^2`.
      scale: about the standard deviation of the count. The integrand is largest at angles near `1 / scale`.
    """
    logs = tf.constant(_LOGS.reshape([-1, *[1] * scale.shape.rank]), scale.dtype) - tf.math.log1p(scale)
    squared = tf.exp(2 * logs)
    complement = -tf.math.expm1(log_square(squared / (1 + squared)))
    return _STEP / (2 * math.pi) * tf.reduce_sum(complement * tf.exp(-logs), 0)


def _clip_and_floor(y, largest):
    """Clips outcomes to `[0, largest]`. Returns the clipped outcomes, and the clipped outcomes rounded down."""
    inside = tf.minimum(tf.nn.relu(y), largest)
    return inside, tf.math.floor(inside)


def _poisson_crps(d: tfd.Poisson, y: tf.Tensor) -> tf.Tensor:
    rate = d.rate_parameter()
    inside, count = _clip_and_floor(y, np.inf)
    above, below = gamma_tails(count + 1, rate)
    to_outcome = (inside - rate) * (below - above) + 2 * tf.exp(log_gamma_kernel(count + 1, rate))
    scaled = 2 * rate
    half_mean_difference = rate * (tf.math.bessel_i0e(scaled) + tf.math.bessel_i1e(scaled))
    return tf.abs(y - inside) + to_outcome - half_mean_difference


def _negative_binomial_crps(d: tfd.NegativeBinomial, y: tf.Tensor) -> tf.Tensor:
    logits = d.logits_parameter() + tf.zeros_like(y)
    total_count, failure, success = d.total_count + tf.zeros_like(y), tf.sigmoid(-logits), tf.sigmoid(logits)
    odds, (inside, count) = tf.exp(logits), _clip_and_floor(y, np.inf)
    mean = total_count * odds
    below, above = beta_tails(total_count, count + 1, failure, success)
    to_outcome = (inside - mean) * (below - above)
    to_outcome += 2 * tf.exp(log_beta_kernel(total_count, count + 1, failure, success)) / failure
    ratio = 4 * odds * (1 + odds)
    half_mean_difference = _half_mean_difference(
        lambda squared_sine: -total_count * tf.math.log1p(ratio * squared_sine), tf.sqrt(mean * (1 + odds))
    )
    return tf.abs(y - inside) + to_outcome - half_mean_difference


def _binomial_crps(d: tfd.Binomial, y: tf.Tensor) -> tf.Tensor:
    total_count, logits = d.total_count + tf.zeros_like(y), d.logits_parameter() + tf.zeros_like(y)
    success, failure = tf.sigmoid(logits), tf.sigmoid(-logits)
    inside, count = _clip_and_floor(y, total_count)
    mean, is_last = total_count * success, count >= total_count
    remaining = tf.where(is_last, tf.ones_like(y), total_count - count)
    below, above = beta_tails(remaining, count + 1, failure, success)
    density = tf.exp(log_beta_kernel(remaining, count + 1, failure, success))
    to_outcome = tf.where(is_last, inside - mean, (inside - mean) * (below - above) + 2 * density)
    variance = mean * failure
    # `factor` is at most 1. `factor * squared_sine` is kept under 1, because `log1p(-1)` is infinite.
    factor = 4 * success * failure
    half_mean_difference = _half_mean_difference(
        lambda squared_sine: total_count * tf.math.log1p(-tf.minimum(factor * squared_sine, 1 - 2.0**-53)),
        tf.sqrt(variance),
    )
    return tf.abs(y - inside) + to_outcome - half_mean_difference


def _geometric_crps(d: tfd.Geometric, y: tf.Tensor) -> tf.Tensor:
    logits = d.logits_parameter()
    success, log_failure = tf.sigmoid(logits), tf.math.log_sigmoid(-logits)
    inside, count = _clip_and_floor(y, np.inf)
    failure = tf.exp(log_failure)
    # The CRPS at `y` is the CRPS at 0 (the last term) plus the integral of `1 - 2 S` from 0 to `y`. `S` is the survival
    # function. The integral up to `count` is a sum over counts.
    up_to_count = count + 2 * failure * tf.math.expm1(count * log_failure) / success
    after_count = (inside - count) * (1 - 2 * tf.exp((count + 1) * log_failure))
    return tf.abs(y - inside) + up_to_count + after_count + tf.square(failure) / (success * (1 + failure))


def _zipf_log_prob(d: tfd.Zipf, y: tf.Tensor) -> tf.Tensor:
    """Returns `-power log y - log zeta(power)`. TFP's log-density has no derivative with respect to `power`."""
    y = tf.cast(y, d.power.dtype)
    is_possible = (y >= 1) & (y == tf.math.floor(y))
    log_normalizer = tf.math.log(zeta(d.power, tf.ones_like(d.power)))
    log_prob = -d.power * tf.math.log(tf.where(is_possible, y, tf.ones_like(y))) - log_normalizer
    return tf.where(is_possible, log_prob, tf.constant(-np.inf, d.power.dtype))


def _zipf_cdf(d: tfd.Zipf, k: tf.Tensor) -> Tails:
    normalizer = zeta(d.power, tf.ones_like(k))
    above = tf.where(k < 1, tf.ones_like(normalizer), zeta(d.power, tf.maximum(k, 1.0) + 1) / normalizer)
    below = tf.where(k < 2, 1 / normalizer, 1 - above)
    return tf.where(k < 1, tf.zeros_like(below), below), above


def _zipf_crps(d: tfd.Zipf, y: tf.Tensor) -> tf.Tensor:
    """Computes the CRPS, which is finite for a power above 3/2.

    The survival function is `S(k) = zeta(power, k + 1) / zeta(power)`.
    """
    power = d.power + tf.zeros_like(y)
    is_finite = power > 1.5
    power = tf.where(is_finite, power, 2.5)
    inside, ones = tf.maximum(y, 1.0), tf.ones_like(y)
    count = tf.math.floor(inside)
    normalizer, tail = zeta(power, ones), zeta(power, count)
    # `moment` is the sum of k^(1 - power) over k < count. Where `power` is 2, both values of `zeta` are infinite, but
    # their difference, which is this sum, is finite. So `across` interpolates where `power` is near 2.
    moment = across(lambda p: zeta(p, ones) - zeta(p, count), power - 1, 1.0)
    survivals = moment / normalizer - 1 + count * tail / normalizer  # S(1) + ... + S(count - 1)
    slope = 1 - 2 * (tail - count**-power) / normalizer
    score = count - 1 - 2 * survivals + _sum_of_squares(power) / tf.square(normalizer)
    return tf.where(is_finite, inside - y + score + (inside - count) * slope, np.inf)


def _sum_of_squares(power):
    """Returns `sum over k >= 1 of zeta(power, k + 1)^2`.

    The first terms are summed one by one. The sum of the other terms follows from an expansion in powers of `k + 1/2`.
    """
    last = tf.constant(_NUM_SQUARES, power.dtype) + tf.zeros_like(power)
    terms = tf.range(2.0, _NUM_SQUARES, dtype=power.dtype) ** -power[..., None]
    tails = tf.cumsum(terms, -1, reverse=True) + zeta(power, last)[..., None]
    expansion = [1 / (power - 1), -power / 24, 7 / 5760 * power * (power + 1) * (power + 2)]
    expansion.append(-31 / 967680 * power * (power + 1) * (power + 2) * (power + 3) * (power + 4))
    total = tf.reduce_sum(tf.square(tails), -1)
    for j in range(4):
        coefficient = sum(expansion[i] * expansion[j - i] for i in range(j + 1))
        total += coefficient * zeta(2 * power - 2 + 2 * j, last - 0.5)
    return total


def _twice_the_log_odds() -> tfb.Bijector:
    return tfb.Sigmoid()(tfb.Scale(tf.constant(2.0, tf.float64)))


COUNTS: Mapping[type, Facts] = {
    tfd.BetaBinomial: Facts(highest=lambda d: d.total_count, cdf=_beta_binomial_cdf, has_exact_cdf=True),
    tfd.Binomial: Facts(
        highest=lambda d: d.total_count,
        cdf=_binomial_cdf,
        has_exact_cdf=True,
        crps=_binomial_crps,
        by_row_of_head="If `total_count` differs between rows, use it as a weight; the likelihood is the same up to a "
        "constant: train the head `Bernoulli(validate_args=False)` on the shares `y / total_count` with "
        "`sample_weight=total_count`.",
        search=SearchPolicy(
            by_row="To estimate one probability for all rows, count successes and failures: "
            '`maximum_likelihood("Bernoulli", [1, 0], weights=[y.sum(), (total_count - y).sum()])`.'
        ),
    ),
    tfd.Geometric: Facts(has_exact_cdf=True, crps=_geometric_crps),
    # TFP asserts that `total_count` is an integer. We disable this assertion, because a network predicts a real number.
    tfd.NegativeBinomial: Facts(
        arguments={"require_integer_total_count": False},
        finite_mean=True,
        cdf=_negative_binomial_cdf,
        has_exact_cdf=True,
        crps=_negative_binomial_crps,
    ),
    tfd.Poisson: Facts(
        finite_mean=True,
        cdf=lambda d, k: gamma_tails(k + 1, d.rate_parameter())[::-1],
        has_exact_cdf=True,
        crps=_poisson_crps,
    ),
    tfd.Skellam: Facts(lowest=-math.inf, log_prob=_skellam_log_prob, cdf=_skellam_cdf, has_exact_cdf=True),
    # TFP computes the logits `[u, -u]` from `u = inflated_loc_logits`, so the log-odds of an additional zero are `2 u`.
    # TFP's class does not broadcast its parameters, so a parameter that is the same for all rows would raise an error.
    # Just as in a NegativeBinomial, `total_count` need not be an integer.
    tfd.ZeroInflatedNegativeBinomial: Facts(
        twins={"inflated_loc_logits": ("inflated_loc_probs", _twice_the_log_odds)},
        arguments={"require_integer_total_count": False},
        of_one_shape=True,
        has_share=True,
        has_exact_cdf=True,
    ),
    tfd.Zipf: Facts(lowest=1, log_prob=_zipf_log_prob, cdf=_zipf_cdf, has_exact_cdf=True, crps=_zipf_crps),
}
