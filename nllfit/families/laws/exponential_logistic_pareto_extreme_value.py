"""The Exponential and other families whose log-tails are elementary functions.

For Gumbel, GeneralizedExtremeValue and Weibull, the derivatives of TFP's log-tails are NaN or missing at ordinary
outcomes. Here both log-tails are accurate and have derivatives for all outcomes.
"""

import math
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.families.facts import Facts, Tails
from nllfit.families.laws.half_and_two_piece import distance, halves, positive_part
from nllfit.families.laws.power_derivatives import at_power_zero
from nllfit.families.numerics import across, expm1_ratio, log1mexp, log1p_ratio, where_safe
from nllfit.families.search_policy import SearchPolicy, median, smallest

__all__ = ["EXPONENTIAL", "logistic"]

_TINY = 1e-300


def _standard(d, y):
    return (y - d.loc) / d.scale


def _log_tails_of_hazard(hazard):
    """Returns the log-tails of a distribution from the cumulative hazard `-log P(Y > y)`."""
    return log1mexp(hazard), -hazard


def _log_tails_of_log(log_x):
    """Returns the log-tails of a distribution with `log P(Y <= y) = -x`.

    The argument is `log x`, because `x` may underflow to 0. Then `log P(Y > y)`, computed from `x`, would be infinite.
    """
    x = tf.exp(log_x)
    return -x, where_safe(log_x >= -40, log1mexp, x, 1.0, log_x - x / 2)


def logistic(z: tf.Tensor) -> Tails:
    """Returns the log-tails of a Logistic with location 0 and scale 1."""
    return -tf.math.softplus(-z), -tf.math.softplus(z)


def _generalized_extreme_value_log_tails(d: tfd.GeneralizedExtremeValue, y: tf.Tensor) -> Tails:
    z = _standard(d, y)
    return _log_tails_of_log(-z * log1p_ratio(d.concentration * z))


def _generalized_pareto_log_tails(d: tfd.GeneralizedPareto, y: tf.Tensor) -> Tails:
    z = _standard(d, y)
    return _log_tails_of_hazard(z * log1p_ratio(d.concentration * z))


def _generalized_extreme_value_log_prob(d: tfd.GeneralizedExtremeValue, y: tf.Tensor) -> tf.Tensor:
    """Computes the log-density. Its derivative is correct at concentration 0, where TFP's derivative is 0."""
    z = _standard(d, y)
    inside = d.concentration * z > -1
    reduced = _scaled_log1p(d.concentration, tf.where(inside, z, tf.zeros_like(z)))
    log_prob = -(1 + d.concentration) * reduced - tf.exp(-reduced) - tf.math.log(d.scale)
    return tf.where(inside, log_prob, tf.constant(-np.inf, y.dtype))


def _generalized_pareto_log_prob(d: tfd.GeneralizedPareto, y: tf.Tensor) -> tf.Tensor:
    """Computes the log-density, which is `-inf` outside the support. Its derivative is correct at concentration 0."""
    z = _standard(d, y)
    inside = (z >= 0) & (d.concentration * z > -1)
    hazard = _scaled_log1p(d.concentration, tf.where(inside, z, tf.zeros_like(z)))
    log_prob = -(1 + d.concentration) * hazard - tf.math.log(d.scale)
    return tf.where(inside, log_prob, tf.constant(-np.inf, y.dtype))


def _scaled_log1p(concentration, z):
    return z * log1p_ratio(concentration * z)


def _laplace_crps(d: tfd.Laplace, y: tf.Tensor) -> tf.Tensor:
    z = tf.abs(y - d.loc) / d.scale
    return d.scale * (z + tf.exp(-z) - 0.75)


def _logistic_crps(d: tfd.Logistic, y: tf.Tensor) -> tf.Tensor:
    z = _standard(d, y)
    return d.scale * (z + 2 * tf.math.softplus(-z) - 1)


def _exponential_crps(d: tfd.Exponential, y: tf.Tensor) -> tf.Tensor:
    return distance(y) + (2 * tf.math.expm1(-d.rate * tf.where(y < 0, tf.zeros_like(y), y)) + 0.5) / d.rate


def _weibull_crps(d: tfd.Weibull, y: tf.Tensor) -> tf.Tensor:
    """Returns the CRPS, which is `y + A - 2 B` for `y > 0`.

    `A` is the integral of `S^2` from 0 to infinity, and `B` is the integral of `S` from 0 to `y`. `S` is the survival
    function, `S(t) = exp(-(t / scale)^concentration)`.
    """
    inside, away = positive_part(y)
    power = 1 / d.concentration + tf.zeros_like(y)
    up_to = tf.math.igamma(power, tf.maximum(tf.exp(d.concentration * tf.math.log(inside / d.scale)), _TINY))
    mean = d.scale * tf.exp(tf.math.lgamma(1 + power))
    return away + inside + mean * (2**-power - 2 * up_to)


def _pareto_crps_of(shape, z):
    """Computes the CRPS of a GeneralizedPareto with location 0 and scale 1. It is finite for a shape below 2."""
    is_finite = shape < 2
    shape = tf.where(is_finite, shape, 0.5)
    excess = tf.where(z < 0, tf.zeros_like(z), z)
    log_survival = -excess * log1p_ratio(tf.maximum(shape * excess, -1 + 1e-15))
    up_to = -log_survival * expm1_ratio((1 - shape) * log_survival)
    return tf.where(is_finite, distance(z) - 2 * up_to + 1 / (2 - shape), math.inf)


def _pareto_crps(d: tfd.Pareto, y: tf.Tensor) -> tf.Tensor:
    scale = d.scale / d.concentration
    return scale * _pareto_crps_of(1 / d.concentration, (y - d.scale) / scale)


def _extreme_value_crps_of(shape, z):
    """Computes the CRPS of a GeneralizedExtremeValue with location 0 and scale 1. It is finite for a shape below 2.

    The formula is 0 / 0 at the shapes 0 and 1. Near these shapes, `across` interpolates the score.
    """

    def closed_form(shape):
        x = tf.maximum(shape * z, -1 + 1e-15)
        reduced = tf.clip_by_value(x / shape * log1p_ratio(x), -30.0, 600.0)
        rate = tf.exp(-reduced)  # -log F
        cdf = tf.exp(-rate)
        gamma = tf.exp(tf.math.lgamma(2 - shape))
        part = 2 * gamma * tf.math.igamma(2 - shape, rate) + 2 * tf.exp((shape - 1) * reduced - rate) - 2**shape * gamma
        return ((1 + x) * (2 * cdf - 1) + part / (1 - shape)) / shape + tf.nn.relu(tf.abs(z) - tf.abs(x / shape))

    is_finite = shape < 2
    shape = tf.where(is_finite, shape, 0.5)
    singular_shape = tf.where(shape < 0.5, tf.zeros_like(z), tf.ones_like(z))
    return tf.where(is_finite, across(closed_form, shape, singular_shape), math.inf)


EXPONENTIAL: Mapping[type, Facts] = {
    tfd.Exponential: Facts(log_tails=lambda d, y: _log_tails_of_hazard(d.rate * y), crps=_exponential_crps),
    tfd.GeneralizedExtremeValue: Facts(
        log_prob=_generalized_extreme_value_log_prob,
        log_tails=_generalized_extreme_value_log_tails,
        crps=lambda d, y: d.scale * _extreme_value_crps_of(d.concentration + tf.zeros_like(y), _standard(d, y)),
    ),
    # The likelihood rises with `loc` up to the smallest observation. For a larger `loc` it is 0. Without
    # `validate_args`, TFP's density is positive below `loc`. https://github.com/tensorflow/probability/issues/1370
    tfd.GeneralizedPareto: Facts(
        log_prob=_generalized_pareto_log_prob,
        log_tails=_generalized_pareto_log_tails,
        crps=lambda d, y: d.scale * _pareto_crps_of(d.concentration, _standard(d, y)),
        search=SearchPolicy(statistics={"loc": smallest}),
    ),
    tfd.Gumbel: Facts(
        log_tails=lambda d, y: _log_tails_of_log(-_standard(d, y)),
        crps=lambda d, y: d.scale * _extreme_value_crps_of(tf.zeros_like(y), _standard(d, y)),
    ),
    # As a function of `loc`, the likelihood has a corner at every observation and is largest at the median.
    tfd.Laplace: Facts(
        finite_mean=True,
        log_tails=lambda d, y: halves(tf.constant(0.5, y.dtype), _standard(d, y), lambda z: -z),
        density_corner="loc",
        crps=_laplace_crps,
        search=SearchPolicy(statistics={"loc": median}),
    ),
    # `loc` and `scale` are the location and the scale of the logarithm of an outcome.
    tfd.LogLogistic: Facts(
        log_tails=lambda d, y: logistic((tf.math.log(y) - d.loc) / d.scale), search=SearchPolicy(transform=np.log)
    ),
    tfd.Logistic: Facts(finite_mean=True, log_tails=lambda d, y: logistic(_standard(d, y)), crps=_logistic_crps),
    # The likelihood rises with `scale` up to the smallest observation. For a larger `scale` it is 0.
    tfd.Pareto: Facts(
        log_tails=lambda d, y: _log_tails_of_hazard(d.concentration * (tf.math.log(y) - tf.math.log(d.scale))),
        crps=_pareto_crps,
        search=SearchPolicy(statistics={"scale": smallest}),
    ),
    tfd.Weibull: Facts(
        mode=lambda d: tf.where(d.concentration <= 1, 0 * d.scale, d.mode()),
        log_prob=at_power_zero(tfd.Weibull, lambda d, y: [(d.concentration - 1, y)]),
        log_tails=lambda d, y: _log_tails_of_log(d.concentration * (tf.math.log(y) - tf.math.log(d.scale)))[::-1],
        crps=_weibull_crps,
    ),
}
