"""Log-densities of the logarithm of a Gamma variable and of the logit of a Beta variable.

They are accurate for parameters of any size. At large parameters, large terms of the usual formula cancel, and digits
are lost. For these parameters, unless the outcome is far from the mean, we use Stirling's formula, in which the large
terms do not occur.

Source: DiDonato and Morris, Algorithm 708: Significant digit computation of the incomplete beta function ratios, 1992.
"""

import math

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from nllfit.families.traced_formulas import traced_once

__all__ = ["LARGE", "beta_stirling", "gamma_stirling", "in_float64", "log_beta_kernel", "log_gamma_kernel"]

LARGE = 1e2  # for larger parameters, Stirling's formula has 13 correct digits, and the density is nearly Normal
_TINY = np.finfo(np.float64).tiny


def log_gamma_kernel(shape: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    """Returns `log(x^shape exp(-x) / Gamma(shape))`, the log-density of `log X`. `X` is a Gamma variable of rate 1."""
    return tf.cast(_log_gamma_kernel(*in_float64(shape, x)), x.dtype)


@traced_once
def _log_gamma_kernel(shape, x):
    large = (shape >= LARGE) & (x > shape / 2)
    direct = shape * tf.math.log(tf.maximum(x, _TINY)) - x - tf.math.lgamma(shape)
    stirling = gamma_stirling(tf.where(large, shape, LARGE), tf.where(large, x, LARGE))
    return tf.where(large, stirling, direct)


def log_beta_kernel(a: tf.Tensor, b: tf.Tensor, x: tf.Tensor, rest: tf.Tensor) -> tf.Tensor:
    """Returns `log(x^a rest^b / B(a, b))`, the log-density of the logit of a Beta variable. `rest` is `1 - x`."""
    return tf.cast(_log_beta_kernel(*in_float64(a, b, x, rest)), x.dtype)


@traced_once
def _log_beta_kernel(a, b, x, rest):
    large = (tf.minimum(a, b) >= LARGE) & (tf.minimum(x / a, rest / b) * (a + b) > 0.5)
    left = x < rest
    smaller = tf.where(left, x, rest)
    log_low, log_high = tf.math.log(tf.maximum(smaller, _TINY)), tf.math.log1p(-smaller)
    direct = a * tf.where(left, log_low, log_high) + b * tf.where(left, log_high, log_low) - tfp.math.lbeta(a, b)
    a, b = (tf.where(large, size, LARGE) for size in (a, b))
    x, rest = (tf.where(large, value, 0.5) for value in (x, rest))
    return tf.where(large, beta_stirling(a, b, x, rest), direct)


def in_float64(*values: tf.Tensor) -> list[tf.Tensor]:
    """Casts values to float64 and broadcasts them to one shape, because `tf.math.betainc` does not broadcast."""
    cast = [tf.cast(value, tf.float64) for value in values]
    zeros = tf.zeros_like(sum(cast[1:], cast[0]))
    return [value + zeros for value in cast]


def gamma_stirling(shape: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    """Computes `log_gamma_kernel` for a shape of at least `LARGE`."""
    excess = (tf.minimum(x, 1e300) - shape) / shape
    deviance = shape * (excess - tf.math.log1p(excess)) + _stirling_error(shape)
    return tf.math.log(shape / (2 * math.pi)) / 2 - deviance


def beta_stirling(a: tf.Tensor, b: tf.Tensor, x: tf.Tensor, rest: tf.Tensor) -> tf.Tensor:
    """Computes `log_beta_kernel` for two parameters of at least `LARGE`."""
    total, distance = a + b, b * x - a * rest
    excess_a, excess_b = (tf.maximum(excess, -1 + 2.0**-52) for excess in (distance / a, -distance / b))
    deviance = a * (excess_a - tf.math.log1p(excess_a)) + b * (excess_b - tf.math.log1p(excess_b))
    errors = _stirling_error(a) + _stirling_error(b) - _stirling_error(total)
    return tf.math.log(a / total * b / (2 * math.pi)) / 2 - deviance - errors


def _stirling_error(x):
    """Returns `log Gamma(x) - (x - 1/2) log x + x - log(2 pi) / 2`.

    For `x >= LARGE`, the result is accurate to 1e-13.
    """
    return (1 / 12 - 1 / (360 * tf.square(x))) / x
