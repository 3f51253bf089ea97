"""The Gamma and chi-squared families, and families of powers, inverses, logarithms and mixtures of their variables."""

import math
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd

from nllfit.families.bessel_and_zeta import log_bessel_series
from nllfit.families.facts import Facts, Tails
from nllfit.families.incomplete_functions import beta_tails, gamma_tails
from nllfit.families.interval_probability import by_quadrature
from nllfit.families.law import law_of
from nllfit.families.laws.half_and_two_piece import positive_part
from nllfit.families.laws.power_derivatives import at_power_zero
from nllfit.families.log_kernels import log_gamma_kernel
from nllfit.families.search_policy import SearchPolicy

__all__ = ["GAMMA"]


def _rate(d):
    return tf.exp(d.log_rate) if d.rate is None else d.rate


def _exp_gamma_cdf(d: tfd.ExpGamma, y: tf.Tensor) -> Tails:
    return gamma_tails(d.concentration, tf.exp(y + (tf.math.log(d.rate) if d.log_rate is None else d.log_rate)))


def _exp_inverse_gamma_cdf(d: tfd.ExpInverseGamma, y: tf.Tensor) -> Tails:
    log_scale = tf.math.log(d.scale) if d.log_scale is None else d.log_scale
    return gamma_tails(d.concentration, tf.exp(log_scale - y))[::-1]


def _gamma_gamma_cdf(d: tfd.GammaGamma, y: tf.Tensor) -> Tails:
    below, above = y / (y + d.mixing_rate), d.mixing_rate / (y + d.mixing_rate)
    return beta_tails(d.concentration, d.mixing_concentration, below, above)


def _chi_tails(d: tfd.Chi, y: tf.Tensor) -> Tails:
    # We integrate the density of `y^2`, because TFP's density of a Chi is infinite where `y^2` underflows.
    return by_quadrature(law_of(tfd.Chi2(d.df)), tf.square(y))


def _noncentral_chi2_log_prob(d: tfd.NoncentralChi2, y: tf.Tensor) -> tf.Tensor:
    """Returns `log sum_j Poisson(j; noncentrality / 2) Chi2(y; df + 2 j)`.

    TFP's derivative with respect to `df` is wrong.
    """
    df, noncentrality, x = (tf.cast(value, tf.float64) for value in (d.df, d.noncentrality, y))
    order, log_x = df / 2 - 1, tf.math.log(x)
    series = log_bessel_series(order, tf.math.log(noncentrality) + log_x - math.log(4))
    log_prob = series + order * (log_x - math.log(2)) - (x + noncentrality) / 2 - math.log(2)
    return tf.cast(log_prob, y.dtype)


def _gamma_crps(shape, rate, y):
    inside, distance = positive_part(y)
    x, mean = inside * rate, shape / rate
    below, _ = gamma_tails(shape, x)
    density = tf.exp(log_gamma_kernel(shape, x))
    half_mean_difference = tf.exp(-tfp.math.lbeta(tf.ones_like(shape) / 2, shape)) / rate
    return distance + (inside - mean) * (2 * below - 1) + 2 * density / rate - half_mean_difference


def _gamma_mean_minimum(a: tfd.Gamma, b: tfd.Gamma) -> tf.Tensor:
    """Returns `-E|X - X'| / 2`, which `Facts.mean_minimum` allows in place of `E[min(X, X')]`.

    `E|X - X'| = E[X sign(X - X')] + E[X' sign(X' - X)]`.

    The first term is `E[X] E[sign(X* - X')]`, where `X*` is a Gamma with the rate of `X` and with the concentration of
    `X` plus 1. `X* > X'` means `Z < rate' / (rate + rate')`, where `rate` and `rate'` are the rates of `X` and `X'`.
    The variable `Z = rate' X' / (rate' X' + rate X*)` has a Beta distribution.
    """

    def term(d, other):
        rate, other_rate = _rate(d), _rate(other)
        total = rate + other_rate
        larger, smaller = beta_tails(other.concentration, d.concentration + 1, other_rate / total, rate / total)
        return d.concentration / rate * (larger - smaller)

    return -(term(a, b) + term(b, a)) / 2


GAMMA: Mapping[type, Facts] = {
    tfd.Chi: Facts(
        log_prob=at_power_zero(tfd.Chi, lambda d, y: [(d.df / 2 - 1, tf.square(y))]),
        cdf=lambda d, y: gamma_tails(d.df / 2, tf.square(y) / 2),
        integrated_tails=_chi_tails,
    ),
    tfd.Chi2: Facts(
        log_prob=at_power_zero(tfd.Chi2, lambda d, y: [(d.df / 2 - 1, y)]),
        cdf=lambda d, y: gamma_tails(d.df / 2, y / 2),
        has_exact_cdf=True,
        crps=lambda d, y: _gamma_crps(d.df / 2, tf.constant(0.5, y.dtype), y),
    ),
    # The outcome is the logarithm of a Gamma or InverseGamma variable. The parameters describe this variable.
    tfd.ExpGamma: Facts(cdf=_exp_gamma_cdf, has_exact_cdf=True, search=SearchPolicy(transform=np.exp)),
    tfd.ExpInverseGamma: Facts(cdf=_exp_inverse_gamma_cdf, has_exact_cdf=True, search=SearchPolicy(transform=np.exp)),
    tfd.Gamma: Facts(
        finite_mean=True,
        log_prob=at_power_zero(tfd.Gamma, lambda d, y: [(d.concentration - 1, y)]),
        cdf=lambda d, y: gamma_tails(d.concentration, y * _rate(d)),
        has_exact_cdf=True,
        crps=lambda d, y: _gamma_crps(d.concentration, _rate(d), y),
        mean_minimum=_gamma_mean_minimum,
    ),
    tfd.GammaGamma: Facts(
        # The center is the mode, because the mean is infinite for some parameters, and TFP has no median.
        center=lambda d: d.mixing_rate * tf.nn.relu(d.concentration - 1) / (d.mixing_concentration + 1),
        log_prob=at_power_zero(tfd.GammaGamma, lambda d, y: [(d.concentration - 1, y)]),
        cdf=_gamma_gamma_cdf,
        has_exact_cdf=True,
        search=SearchPolicy(scales=("mixing_rate",)),
    ),
    tfd.InverseGamma: Facts(cdf=lambda d, y: gamma_tails(d.concentration, d.scale / y)[::-1], has_exact_cdf=True),
    tfd.NoncentralChi2: Facts(log_prob=_noncentral_chi2_log_prob),
}
