"""CDFs of TFP's families that TFP does not have, or of which it loses digits or derivatives.

Each is `(distribution, y) -> P(Y <= y), P(Y > y)` within the support.
"""

import math

import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd

from nllfit.families.averaged_cdfs import beta_binomial, horseshoe, normal_inverse_gaussian, skellam
from nllfit.families.incomplete_functions import beta_tails, gamma_tails
from nllfit.families.numerics import zeta

__all__ = ["CDFS"]

_ROOT_2 = math.sqrt(2)


def _phi(z):
    return tf.math.erfc(-z / _ROOT_2) / 2


def _bernoulli(d, k):
    # TFP's is float32 in a graph, whatever it is given, and has no digits of a small probability.
    at_0 = tf.cast(k < 1, k.dtype)
    return tf.sigmoid(-d.logits_parameter()) * at_0 + (1 - at_0), tf.sigmoid(d.logits_parameter()) * at_0


def _beta(d, y):
    return beta_tails(d.concentration1, d.concentration0, y, 1 - y)


def _binomial(d, k):
    logits = d.logits_parameter()
    return beta_tails(d.total_count - k, k + 1, tf.sigmoid(-logits), tf.sigmoid(logits))


def _doublesided_maxwell(d, y):
    z = (y - d.loc) / d.scale
    density = z * tf.exp(-tf.square(z) / 2) / math.sqrt(2 * math.pi)
    return _phi(z) - density, _phi(-z) + density


def _exponentially_modified_gaussian(d, y):
    # TFP's logarithms lose all digits where `rate * scale` is large, and are NaN far to the left.
    z, v = (y - d.loc) / d.scale, d.rate * d.scale
    right = z > v
    far = tf.exp(-v * tf.where(right, z, v) + tf.square(v) / 2) * _phi(z - v)
    near = tf.exp(-tf.square(z) / 2) * tfp.math.erfcx(tf.where(right, tf.zeros_like(z), v - z) / _ROOT_2) / 2
    tail = tf.where(right, far, near)
    left = tf.exp(-tf.square(z) / 2) * (tfp.math.erfcx(tf.nn.relu(-z) / _ROOT_2) / 2) - near
    return tf.where(z < 0, left, _phi(z) - tail), _phi(-z) + tail


def _exp_gamma(d, y):
    return gamma_tails(d.concentration, tf.exp(y + (tf.math.log(d.rate) if d.log_rate is None else d.log_rate)))


def _exp_inverse_gamma(d, y):
    log_scale = tf.math.log(d.scale) if d.log_scale is None else d.log_scale
    return gamma_tails(d.concentration, tf.exp(log_scale - y))[::-1]


def _gamma(d, y):
    return gamma_tails(d.concentration, y * (tf.exp(d.log_rate) if d.rate is None else d.rate))


def _gamma_gamma(d, y):
    below, above = y / (y + d.mixing_rate), d.mixing_rate / (y + d.mixing_rate)
    return beta_tails(d.concentration, d.mixing_concentration, below, above)


def _half_student_t(d, y):
    # TFP's survival function is `1 - cdf`.
    squared = tf.square((y - d.loc) / d.scale)
    whole = d.df + squared
    return beta_tails(tf.ones_like(whole) / 2, d.df / 2, squared / whole, d.df / whole)


def _inverse_gaussian(d, y):
    # TFP's is NaN where `exp(2 concentration / loc)` overflows, and its survival function has no digits far out.
    root = tf.sqrt(d.concentration / y)
    z, other = root * (y / d.loc - 1), root * (y / d.loc + 1)
    half = tf.exp(-tf.square(z) / 2) / 2
    rest = half * tfp.math.erfcx(other / _ROOT_2)
    right = half * tfp.math.erfcx(tf.nn.relu(z) / _ROOT_2) - rest
    return _phi(z) + rest, tf.where(z > 0, right, _phi(-z) - rest)


def _negative_binomial(d, k):
    return beta_tails(d.total_count, k + 1, tf.sigmoid(-d.logits_parameter()), d.probs_parameter())


def _normal(z):
    return _phi(z), _phi(-z)  # a third of the time of the logarithms, with as many digits


def _pert(d, y):
    width, rest = d.high - d.low, d.high - y
    a, b = (1 + d.temperature * part / width for part in (d.peak - d.low, d.high - d.peak))
    return beta_tails(a, b, (y - d.low) / width, rest / width)


def _probit_bernoulli(d, k):
    probits = d.probits_parameter()
    return tf.where(k < 1, _phi(-probits), 1.0), tf.where(k < 1, _phi(probits), 0.0)


def _sigmoid_beta(d, y):
    return beta_tails(d.concentration1, d.concentration0, tf.sigmoid(y), tf.sigmoid(-y))


def _zipf(d, k):
    whole = zeta(d.power, tf.ones_like(k))
    above = tf.where(k < 1, tf.ones_like(whole), zeta(d.power, tf.maximum(k, 1.0) + 1) / whole)
    first = tf.where(k < 2, 1 / whole, 1 - above)
    return tf.where(k < 1, tf.zeros_like(first), first), above


CDFS = {
    tfd.Bernoulli: _bernoulli,
    tfd.Beta: _beta,
    tfd.BetaBinomial: beta_binomial,
    tfd.Binomial: _binomial,
    tfd.Chi: lambda d, y: gamma_tails(d.df / 2, tf.square(y) / 2),
    tfd.Chi2: lambda d, y: gamma_tails(d.df / 2, y / 2),
    tfd.DoublesidedMaxwell: _doublesided_maxwell,
    tfd.ExpGamma: _exp_gamma,
    tfd.ExpInverseGamma: _exp_inverse_gamma,
    tfd.ExponentiallyModifiedGaussian: _exponentially_modified_gaussian,
    tfd.Gamma: _gamma,
    tfd.GammaGamma: _gamma_gamma,
    tfd.HalfStudentT: _half_student_t,
    tfd.Horseshoe: horseshoe,
    tfd.InverseGamma: lambda d, y: gamma_tails(d.concentration, d.scale / y)[::-1],
    tfd.InverseGaussian: _inverse_gaussian,
    tfd.LogNormal: lambda d, y: _normal((tf.math.log(y) - d.loc) / d.scale),
    tfd.NegativeBinomial: _negative_binomial,
    tfd.Normal: lambda d, y: _normal((y - d.loc) / d.scale),
    tfd.NormalInverseGaussian: normal_inverse_gaussian,
    tfd.PERT: _pert,
    tfd.Poisson: lambda d, k: gamma_tails(k + 1, d.rate_parameter())[::-1],
    tfd.ProbitBernoulli: _probit_bernoulli,
    tfd.SigmoidBeta: _sigmoid_beta,
    tfd.Skellam: skellam,
    tfd.Zipf: _zipf,
}
