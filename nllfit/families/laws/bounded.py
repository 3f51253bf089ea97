"""Families of numbers between two bounds (Betas, Uniforms, triangles), and families made from a Beta."""

from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd

from nllfit.families.facts import Facts, Tails
from nllfit.families.incomplete_functions import beta_tails
from nllfit.families.interval_probability import by_quadrature
from nllfit.families.law import law_of
from nllfit.families.laws.exponential_logistic_pareto_extreme_value import logistic
from nllfit.families.laws.half_and_two_piece import distance, with_rest
from nllfit.families.laws.power_derivatives import at_power_zero
from nllfit.families.links import HIGH, PEAK
from nllfit.families.log_kernels import log_beta_kernel
from nllfit.families.numerics import expm1_ratio, log1mexp, where_safe
from nllfit.families.search_policy import SearchPolicy, largest, smallest

__all__ = ["BOUNDED"]

_TINY = 1e-300  # replaces 0, whose logarithm is infinite
_TINY_TAIL = 1e-250  # probabilities below this may have lost digits by underflow
_LAST = 1 - 2.0**-53  # the largest number below 1


def _logit(y):
    return tf.math.log(y) - tf.math.log1p(-y)


def _beta_log_tails(logit: Callable[[tf.Tensor], tf.Tensor]) -> Callable:
    """Returns a function that computes the log-tails of a `Beta` or a `SigmoidBeta`.

    The log-tails are the logarithms of the CDF and of the survival function. Where the CDF or the survival function is
    tiny, the returned function integrates the density of the logit of the Beta variable. `logit` maps an outcome to
    this logit.
    """

    def tails(d, y):
        below, above = law_of(d).cdf()(y)
        left = below < above
        smaller = tf.where(left, below, above)
        integrated = by_quadrature(law_of(tfd.SigmoidBeta(d.concentration1, d.concentration0)), logit(y))
        log_smaller = where_safe(smaller >= _TINY_TAIL, tf.math.log, smaller, 1.0, tf.where(left, *integrated))
        log_larger = tf.math.log1p(-smaller)
        return tf.where(left, log_smaller, log_larger), tf.where(left, log_larger, log_smaller)

    return tails


def _beta_crps_of(a, b, y):
    inside = tf.clip_by_value(y, _TINY, _LAST)
    below, _ = beta_tails(a, b, inside, 1 - inside)
    mean, density = a / (a + b), tf.exp(log_beta_kernel(a, b, inside, 1 - inside))
    beta_ratio = tf.exp(tfp.math.lbeta(2 * a, 2 * b) - 2 * tfp.math.lbeta(a, b))
    return tf.abs(y - inside) + (inside - mean) * (2 * below - 1) + 2 * (density - beta_ratio) / (a + b)


def _pert_concentrations(d: tfd.PERT) -> tuple[tf.Tensor, tf.Tensor]:
    width = d.high - d.low
    return 1 + d.temperature * (d.peak - d.low) / width, 1 + d.temperature * (d.high - d.peak) / width


def _pert_cdf(d: tfd.PERT, y: tf.Tensor) -> Tails:
    width, (a, b) = d.high - d.low, _pert_concentrations(d)
    return beta_tails(a, b, (y - d.low) / width, (d.high - y) / width)


def _pert_tails(d: tfd.PERT, y: tf.Tensor) -> Tails:
    """Computes the log-tails by quadrature.

    `by_quadrature` needs a support whose ends do not depend on parameters, so the outcome and the PERT are rescaled to
    the interval [0, 1].
    """
    width = d.high - d.low
    unit = tfd.PERT(tf.zeros_like(width), (d.peak - d.low) / width, tf.ones_like(width), d.temperature)
    return by_quadrature(law_of(unit), (y - d.low) / width)


def _pert_log_prob(d: tfd.PERT, y: tf.Tensor) -> tf.Tensor:
    """Returns TFP's log-density within the bounds, and `-inf` outside.

    Without `validate_args`, TFP's log-density outside the bounds is finite.
    """
    inside = (y >= d.low) & (y <= d.high)
    return tf.where(inside, tfd.PERT._log_prob(d, y), tf.constant(-np.inf, y.dtype))


def _pert_crps(d: tfd.PERT, y: tf.Tensor) -> tf.Tensor:
    width, (a, b) = d.high - d.low, _pert_concentrations(d)
    return width * _beta_crps_of(a, b, (y - d.low) / width)


def _kumaraswamy_powers(d, y):
    one_minus_power = -tf.math.expm1(d.concentration1 * tf.math.log(y))
    return [(d.concentration1 - 1, y), (d.concentration0 - 1, one_minus_power)]


def _kumaraswamy_log_tails(d: tfd.Kumaraswamy, y: tf.Tensor) -> Tails:
    log_survival = d.concentration0 * log1mexp(-d.concentration1 * tf.math.log(y))
    return log1mexp(-log_survival), log_survival


def _continuous_bernoulli_log_tails(d: tfd.ContinuousBernoulli, y: tf.Tensor) -> Tails:
    logits = d.logits_parameter()
    below, above = _continuous_bernoulli_log_cdf(logits, y), _continuous_bernoulli_log_cdf(-logits, 1 - y)
    left = below < above
    return with_rest(tf.where(left, below, above), left)


def _continuous_bernoulli_log_cdf(logits, y):
    """Returns the log-CDF `log((exp(logits y) - 1) / (exp(logits) - 1))`."""
    is_positive = logits >= 0
    # `exp(logits)` may overflow if `logits` is positive, so we factor it out.
    positive_logits = tf.where(is_positive, logits, tf.zeros_like(logits))
    magnitude = tf.where(is_positive, logits, -logits)  # not `tf.abs`, whose derivative at 0 is 0
    ratio = expm1_ratio(-magnitude * y) / expm1_ratio(-magnitude)
    return tf.math.log(y) + positive_logits * y - positive_logits + tf.math.log(ratio)


def _relaxed_bernoulli_powers(d, y):
    # TFP's formula contains a power of `1 - y` where `right` is True, and a power of `y` elsewhere.
    right = d.temperature * _logit(y) > d.logits_parameter()
    return [(d.temperature - 1, tf.where(right, 1 - y, y))]


def _triangular_log_tails(d: tfd.Triangular, y: tf.Tensor) -> Tails:
    width, below = d.high - d.low, y < d.peak
    side = tf.where(below, d.peak - d.low, d.high - d.peak)
    away = tf.where(below, y - d.low, d.high - y)
    tail = 2 * tf.math.log(away) - tf.math.log(width * tf.where(side > 0, side, tf.ones_like(side)))
    return with_rest(tail, below)


def _triangular_crps(d: tfd.Triangular, y: tf.Tensor) -> tf.Tensor:
    """Computes the CRPS: the integral of the squared CDF below `y` and of the squared survival function above `y`.

    Below the peak, the CDF is a multiple of the squared distance from `low`. Above the peak, the survival function is a
    multiple of the squared distance from `high`.
    """
    left, right, width, from_peak = d.peak - d.low, d.high - d.peak, d.high - d.low, distance(y - d.peak)
    at_peak = (left**3 + right**3) / (5 * tf.square(width))
    side = tf.where(y < d.peak, left, right)
    share_to_end = tf.nn.relu(1 - from_peak / tf.where(side > 0, side, 1.0))
    return at_peak + from_peak - 2 / 3 * tf.square(side) / width * (1 - share_to_end**3)


def _uniform_log_tails(d: tfd.Uniform, y: tf.Tensor) -> Tails:
    width = d.high - d.low
    return tf.math.log((y - d.low) / width), tf.math.log((d.high - y) / width)


def _uniform_crps(d: tfd.Uniform, y: tf.Tensor) -> tf.Tensor:
    z = (y - d.low) / (d.high - d.low)
    cdf = tf.clip_by_value(z, 0.0, 1.0)
    return (d.high - d.low) * (tf.abs(z - cdf) + tf.square(cdf) - cdf + 1 / 3)


BOUNDED: Mapping[type, Facts] = {
    tfd.Beta: Facts(
        finite_mean=True,
        log_prob=at_power_zero(tfd.Beta, lambda d, y: [(d.concentration1 - 1, y), (d.concentration0 - 1, 1 - y)]),
        cdf=lambda d, y: beta_tails(d.concentration1, d.concentration0, y, 1 - y),
        integrated_tails=_beta_log_tails(_logit),
        crps=lambda d, y: _beta_crps_of(d.concentration1, d.concentration0, y),
    ),
    # TFP's mean is NaN for `concentration1_denominator <= 1`, and TFP has no median or mode. If the mean is NaN, the
    # prediction is the quotient of the means of the two Betas.
    tfd.BetaQuotient: Facts(
        center=lambda d: (
            tfd.Beta(d.concentration1_numerator, d.concentration0_numerator).mean()
            / tfd.Beta(d.concentration1_denominator, d.concentration0_denominator).mean()
        ),
        # TFP's density is the series `tfp.math.hypergeometric`. https://github.com/tensorflow/probability/issues/1861
        search=SearchPolicy(unfit="TFP's series for its density does not end at some parameters"),
    ),
    tfd.ContinuousBernoulli: Facts(log_tails=_continuous_bernoulli_log_tails),
    tfd.Kumaraswamy: Facts(
        log_prob=at_power_zero(tfd.Kumaraswamy, _kumaraswamy_powers), log_tails=_kumaraswamy_log_tails
    ),
    tfd.PERT: Facts(
        links=PEAK,
        log_prob=_pert_log_prob,
        cdf=_pert_cdf,
        integrated_tails=_pert_tails,
        crps=_pert_crps,
        search=SearchPolicy(locations=("loc", "low", "high", "peak")),
    ),
    tfd.RelaxedBernoulli: Facts(
        center=lambda d: d.probs_parameter(),
        log_prob=at_power_zero(tfd.RelaxedBernoulli, _relaxed_bernoulli_powers),
        log_tails=lambda d, y: logistic(d.temperature * _logit(y) - d.logits_parameter()),
    ),
    tfd.SigmoidBeta: Facts(
        cdf=lambda d, y: beta_tails(d.concentration1, d.concentration0, tf.sigmoid(y), tf.sigmoid(-y)),
        integrated_tails=_beta_log_tails(lambda y: y),
    ),
    # As a function of `peak`, the likelihood has a corner at every observation. The maximum may be at
    # one of these corners, or at `low` or `high`.
    tfd.Triangular: Facts(
        links=PEAK,
        log_tails=_triangular_log_tails,
        density_corner="peak",
        crps=_triangular_crps,
        search=SearchPolicy(locations=("loc", "low", "high", "peak"), corner="peak", bounds=("low", "high")),
    ),
    # The likelihood is largest for the narrowest interval that contains the sample.
    tfd.Uniform: Facts(
        links=HIGH,
        log_tails=_uniform_log_tails,
        crps=_uniform_crps,
        search=SearchPolicy(statistics={"low": smallest, "high": largest}),
    ),
}
