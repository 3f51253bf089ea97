"""Log-densities in the place of those of TFP that are wrong, slow, or have no derivative, or a wrong one."""

import math

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.families.numerics import FAR, log1p_ratio, log_bessel_series, log_mills, log_normal_cdf, zeta

__all__ = [
    "beta",
    "chi",
    "chi2",
    "dirichlet",
    "exponentially_modified_gaussian",
    "gamma",
    "gamma_gamma",
    "generalized_extreme_value",
    "generalized_pareto",
    "kumaraswamy",
    "noncentral_chi2",
    "normal_inverse_gaussian",
    "on_the_sphere",
    "relaxed_bernoulli",
    "skellam",
    "weibull",
    "within_bounds",
    "zipf",
]


def beta(distribution: tfd.Beta, y: tf.Tensor) -> tf.Tensor:
    """TFP's, with the derivatives that it lacks where a concentration is 1."""
    of_1 = _lacking(distribution.concentration1 - 1, y)
    return tfd.Beta._log_prob(distribution, y) + of_1 + _lacking(distribution.concentration0 - 1, 1 - y)


def chi(distribution: tfd.Chi, y: tf.Tensor) -> tf.Tensor:
    """TFP's, with the derivative that it lacks where `df` is 2."""
    return tfd.Chi._log_prob(distribution, y) + _lacking(distribution.df / 2 - 1, tf.square(y))


def chi2(distribution: tfd.Chi2, y: tf.Tensor) -> tf.Tensor:
    """TFP's, with the derivative that it lacks where `df` is 2."""
    return tfd.Chi2._log_prob(distribution, y) + _lacking(distribution.df / 2 - 1, y)


def dirichlet(distribution: tfd.Dirichlet, y: tf.Tensor) -> tf.Tensor:
    """TFP's, with the derivatives that it lacks where a concentration is 1."""
    lacking = tf.reduce_sum(_lacking(distribution.concentration - 1, y), -1)
    return tfd.Dirichlet._log_prob(distribution, y) + lacking


def exponentially_modified_gaussian(distribution: tfd.ExponentiallyModifiedGaussian, y: tf.Tensor) -> tf.Tensor:
    """`log rate + log P(Z > t) + (t^2 - z^2) / 2`: `z = (y - loc) / scale`, `t = rate scale - z`, and `Z` is a Normal.

    TFP's terms of the size of `(rate scale)^2` cancel where the distribution is nearly a Normal: at a rate of 1e9 its
    log-density is 64 where -1.2 is right. There `P(Z > t)` is Mills' ratio times the Normal's density.
    """
    z, width = (y - distribution.loc) / distribution.scale, distribution.rate * distribution.scale
    t = width - z
    far = t > FAR
    product = tf.where(far, tf.zeros_like(t), width * (width / 2 - z))
    near = product + log_normal_cdf(-tf.minimum(t, FAR))
    ratio = log_mills(tf.where(far, t, FAR * tf.ones_like(t))) - tf.square(z) / 2 - math.log(2 * math.pi) / 2
    return tf.math.log(distribution.rate) + tf.where(far, ratio, near)


def gamma(distribution: tfd.Gamma, y: tf.Tensor) -> tf.Tensor:
    """TFP's, with the derivative that it lacks where the concentration is 1."""
    return tfd.Gamma._log_prob(distribution, y) + _lacking(distribution.concentration - 1, y)


def gamma_gamma(distribution: tfd.GammaGamma, y: tf.Tensor) -> tf.Tensor:
    """TFP's, with the derivative that it lacks where the concentration is 1."""
    return tfd.GammaGamma._log_prob(distribution, y) + _lacking(distribution.concentration - 1, y)


def kumaraswamy(distribution: tfd.Kumaraswamy, y: tf.Tensor) -> tf.Tensor:
    """TFP's, with the derivatives that it lacks where a concentration is 1."""
    of_1 = _lacking(distribution.concentration1 - 1, y)
    rest = -tf.math.expm1(distribution.concentration1 * tf.math.log(y))
    return tfd.Kumaraswamy._log_prob(distribution, y) + of_1 + _lacking(distribution.concentration0 - 1, rest)


def relaxed_bernoulli(distribution: tfd.RelaxedBernoulli, y: tf.Tensor) -> tf.Tensor:
    """TFP's, with the derivative that it lacks where the temperature is 1."""
    right = distribution.temperature * (tf.math.log(y) - tf.math.log1p(-y)) > distribution.logits_parameter()
    lacking = _lacking(distribution.temperature - 1, tf.where(right, 1 - y, y))
    return tfd.RelaxedBernoulli._log_prob(distribution, y) + lacking


def weibull(distribution: tfd.Weibull, y: tf.Tensor) -> tf.Tensor:
    """TFP's, with the derivative that it lacks where the concentration is 1."""
    return tfd.Weibull._log_prob(distribution, y) + _lacking(distribution.concentration - 1, y)


def _lacking(exponent, y):
    """0, with the derivative `log y` where an exponent is 0: there that of `tf.math.xlogy` is 0."""
    there = (exponent == 0) & (y > 0)
    return tf.where(there, exponent * tf.math.log(tf.where(there, y, tf.ones_like(y))), tf.zeros_like(y))


def generalized_extreme_value(distribution: tfd.GeneralizedExtremeValue, y: tf.Tensor) -> tf.Tensor:
    """By `log(1 + c z) / c`, which has a derivative where the concentration `c` is 0, too."""
    concentration, z = distribution.concentration, (y - distribution.loc) / distribution.scale
    inside = concentration * z > -1
    power = _log1p_share(concentration, tf.where(inside, z, tf.zeros_like(z)))
    log_prob = -(1 + concentration) * power - tf.exp(-power) - tf.math.log(distribution.scale)
    return tf.where(inside, log_prob, tf.constant(-np.inf, y.dtype))


def generalized_pareto(distribution: tfd.GeneralizedPareto, y: tf.Tensor) -> tf.Tensor:
    """As that of a `generalized_extreme_value`, and `-inf` beyond the support."""
    concentration, z = distribution.concentration, (y - distribution.loc) / distribution.scale
    inside = (z >= 0) & (concentration * z > -1)
    power = _log1p_share(concentration, tf.where(inside, z, tf.zeros_like(z)))
    log_prob = -(1 + concentration) * power - tf.math.log(distribution.scale)
    return tf.where(inside, log_prob, tf.constant(-np.inf, y.dtype))


def _log1p_share(concentration, z):
    return z * log1p_ratio(concentration * z)


def noncentral_chi2(distribution: tfd.NoncentralChi2, y: tf.Tensor) -> tf.Tensor:
    """`log sum_j Poisson(j; noncentrality / 2) Chi2(y; df + 2 j)`."""
    df, noncentrality, x = _in_float64(distribution.df, distribution.noncentrality, y)
    order, log_x = df / 2 - 1, tf.math.log(x)
    series = log_bessel_series(order, tf.math.log(noncentrality) + log_x - math.log(4))
    log_prob = series + order * (log_x - math.log(2)) - (x + noncentrality) / 2 - math.log(2)
    return tf.cast(log_prob, y.dtype)


def normal_inverse_gaussian(distribution: tfd.NormalInverseGaussian, y: tf.Tensor) -> tf.Tensor:
    """By the Bessel function of order 1; TFP's is of any."""
    loc, scale = distribution.loc, distribution.scale
    tailweight, skewness = distribution.tailweight, distribution.skewness
    z = (y - loc) / scale
    size = tf.math.log1p(z**2) / 2
    height = tailweight * scale * tf.exp(size)
    slope = scale * tailweight * tf.exp(tf.math.log1p(-((skewness / tailweight) ** 2)) / 2)
    bessel = tf.math.log(tf.math.special.bessel_k1e(height))
    return bessel - size - height + scale * skewness * z + slope + tf.math.log(tailweight / np.pi)


def on_the_sphere(distribution: tfd.VonMisesFisher, y: tf.Tensor) -> tf.Tensor:
    """TFP's, and `-inf` off the sphere."""
    on = tf.abs(tf.norm(y, axis=-1) - 1) < 1e-6
    return tf.where(on, tfd.VonMisesFisher._log_prob(distribution, y), tf.constant(-np.inf, y.dtype))


def skellam(distribution: tfd.Skellam, y: tf.Tensor) -> tf.Tensor:
    """`log sum_j Poisson(y + j; rate1) Poisson(j; rate2)`."""
    first, second, k = _in_float64(distribution.rate1_parameter(), distribution.rate2_parameter(), y)
    log_first, log_second = tf.math.log(first), tf.math.log(second)
    order, log_larger = tf.abs(k), tf.where(k < 0, log_second, log_first)
    series = log_bessel_series(order, log_first + log_second)
    log_prob = series + tf.math.multiply_no_nan(log_larger, order) - first - second
    return tf.cast(log_prob, distribution.dtype)


def within_bounds(distribution: tfd.PERT, y: tf.Tensor) -> tf.Tensor:
    """TFP's, and `-inf` beyond the bounds."""
    inside = (y >= distribution.low) & (y <= distribution.high)
    return tf.where(inside, tfd.PERT._log_prob(distribution, y), tf.constant(-np.inf, y.dtype))


def zipf(distribution: tfd.Zipf, y: tf.Tensor) -> tf.Tensor:
    """`-power log y - log zeta(power)`."""
    power, y = distribution.power, tf.cast(y, distribution.power.dtype)
    possible = (y >= 1) & (y == tf.math.floor(y))
    whole = tf.math.log(zeta(power, tf.ones_like(power)))
    log_prob = -power * tf.math.log(tf.where(possible, y, tf.ones_like(y))) - whole
    return tf.where(possible, log_prob, tf.constant(-np.inf, power.dtype))


def _in_float64(*values):
    return [tf.cast(value, tf.float64) for value in values]
