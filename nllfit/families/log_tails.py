"""Formulas for the logarithms of both tails of a distribution, `log P(Y <= y)` and `log P(Y > y)`.

TFP's are as exact in few families, and their derivatives at ordinary numbers are NaN or missing in some: in those of
ExpGamma, GeneralizedExtremeValue, Gumbel, JohnsonSU, Kumaraswamy, Moyal, SinhArcsinh, TruncatedCauchy and Weibull. Here
either logarithm has all of its digits, and all derivatives, as far out as numbers reach; `y` lies within the support.
"""

import math
from collections.abc import Callable, Mapping

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.families.numerics import expm1_ratio, log1p_ratio, log_normal_cdf

__all__ = ["LOG_TAILS", "Tails", "log1mexp", "two_pieces"]

Tails = tuple[tf.Tensor, tf.Tensor]
"""`log P(Y <= y)` and `log P(Y > y)`."""

_LOG_2 = math.log(2)
_ROOT_2 = math.sqrt(2)
_LOG_ROOT_2_PI = math.log(2 * math.pi) / 2


def log1mexp(x: tf.Tensor) -> tf.Tensor:
    """`log(1 - exp(-x))` for `x >= 0`."""
    small = x < _LOG_2
    near = tf.math.log(-tf.math.expm1(-tf.where(small, x, tf.ones_like(x))))
    return tf.where(small, near, tf.math.log1p(-tf.exp(-tf.where(small, tf.ones_like(x), x))))


def _with_survival(x):
    """Of a distribution with `log P(Y > y) = -x`."""
    return log1mexp(x), -x


def _exponential(log_x):
    """`-x` and `log(1 - exp(-x))` by the logarithm of `x`, which can be too small a number."""
    tiny = log_x < -40
    x = tf.exp(log_x)
    return -x, tf.where(tiny, log_x - x / 2, log1mexp(tf.where(tiny, tf.ones_like(x), x)))


def _log_erf(z):
    """`log P(|Z| < z)` of a standard Normal."""
    near = tf.math.log(tf.math.erf(tf.minimum(z, 1.0) / _ROOT_2))
    return tf.where(z < 1, near, tf.math.log1p(-tf.math.erfc(tf.maximum(z, 1.0) / _ROOT_2)))


def _normal(z):
    return tuple(tf.unstack(log_normal_cdf(tf.stack([z, -z]))))  # one trace of the continued fraction for both


def _logistic(z):
    return -tf.math.softplus(-z), -tf.math.softplus(z)


def _cauchy(z):
    one = tf.ones_like(z)
    return tf.math.log(tf.atan2(one, -z) / math.pi), tf.math.log(tf.atan2(one, z) / math.pi)


def _logit(y):
    return tf.math.log(y) - tf.math.log1p(-y)


def _standard(d, y):
    return (y - d.loc) / d.scale


def _halves(left: tf.Tensor, z: tf.Tensor, log_tail: Callable[[tf.Tensor], tf.Tensor]) -> Tails:
    """Of a distribution that has the probability `left` below 0, with `log_tail(|z|)` of either half beyond `|z|`."""
    below = z < 0
    tail = tf.math.log(tf.where(below, left, 1 - left)) + log_tail(tf.where(below, -z, z))
    rest = log1mexp(-tail)
    return tf.where(below, tail, rest), tf.where(below, rest, tail)


def two_pieces(d: tfd.Distribution, y: tf.Tensor, log_survival: Callable[[tf.Tensor], tf.Tensor]) -> Tails:
    """Of the halves of a standard distribution, symmetric around 0, that are stretched by `skewness`."""
    distance = (y - d.loc) / d.scale
    z = distance * tf.where(distance < 0, d.skewness, 1 / d.skewness)
    return _halves(1 / (1 + tf.square(d.skewness)), z, lambda z: _LOG_2 + log_survival(z))


def _two_piece_normal(d: tfd.TwoPieceNormal, y: tf.Tensor) -> Tails:
    return two_pieces(d, y, lambda z: log_normal_cdf(-z))


def _continuous_bernoulli(d: tfd.ContinuousBernoulli, y: tf.Tensor) -> Tails:
    logits = d.logits_parameter()
    below, above = _exponential_share(logits, y), _exponential_share(-logits, 1 - y)
    left = below < above
    tail = tf.where(left, below, above)
    rest = log1mexp(-tail)
    return tf.where(left, tail, rest), tf.where(left, rest, tail)


def _exponential_share(slope, y):
    """`log((exp(slope y) - 1) / (exp(slope) - 1))`."""
    rises = slope >= 0
    up = tf.where(rises, slope, tf.zeros_like(slope))  # of which the exponential overflows
    size = tf.where(rises, slope, -slope)  # `tf.abs` has no derivative at 0
    parts = expm1_ratio(-size * y) / expm1_ratio(-size)
    return tf.math.log(y) + up * y - up + tf.math.log(parts)


def _doublesided_maxwell(d: tfd.DoublesidedMaxwell, y: tf.Tensor) -> Tails:
    z = _standard(d, y)
    distance = tf.abs(z)
    tiny = distance < 1e-8  # at 0, where the density is 0, too
    inside = tf.where(tiny, tf.ones_like(z), distance)
    density = tf.math.log(inside) - tf.square(inside) / 2 - _LOG_ROOT_2_PI
    normal = log_normal_cdf(-inside)
    tail = tf.where(tiny, tf.constant(-_LOG_2, z.dtype), normal + tf.math.softplus(density - normal))
    rest = log1mexp(-tail)
    return tf.where(z < 0, tail, rest), tf.where(z < 0, rest, tail)


def _gumbel(d: tfd.Gumbel, y: tf.Tensor) -> Tails:
    return _exponential(-_standard(d, y))


def _generalized_extreme_value(d: tfd.GeneralizedExtremeValue, y: tf.Tensor) -> Tails:
    z = _standard(d, y)
    return _exponential(-z * log1p_ratio(d.concentration * z))


def _generalized_pareto(d: tfd.GeneralizedPareto, y: tf.Tensor) -> Tails:
    z = _standard(d, y)
    return _with_survival(z * log1p_ratio(d.concentration * z))


def _half_cauchy(d: tfd.HalfCauchy, y: tf.Tensor) -> Tails:
    z = _standard(d, y)
    return tf.math.log(tf.atan(z) * (2 / math.pi)), tf.math.log(tf.atan2(tf.ones_like(z), z) * (2 / math.pi))


def _half_normal(d: tfd.HalfNormal, y: tf.Tensor) -> Tails:
    z = y / d.scale
    return _log_erf(z), _LOG_2 + log_normal_cdf(-z)


def _kumaraswamy(d: tfd.Kumaraswamy, y: tf.Tensor) -> Tails:
    return _with_survival(-d.concentration0 * log1mexp(-d.concentration1 * tf.math.log(y)))


def _moyal(d: tfd.Moyal, y: tf.Tensor) -> Tails:
    log_root = -_standard(d, y) / 2
    tiny, root = log_root < -20, tf.exp(log_root)
    right = tf.where(tiny, log_root + math.log(2 / math.pi) / 2, _log_erf(tf.where(tiny, tf.ones_like(root), root)))
    return _LOG_2 + log_normal_cdf(-root), right


def _relaxed_bernoulli(d: tfd.RelaxedBernoulli, y: tf.Tensor) -> Tails:
    return _logistic(d.temperature * _logit(y) - d.logits_parameter())


def _sinh_arcsinh(d: tfd.SinhArcsinh, y: tf.Tensor) -> Tails:
    stretched = _standard(d, y) * tf.sinh(math.asinh(2) * d.tailweight) / 2
    return _normal(tf.sinh(tf.asinh(stretched) / d.tailweight - d.skewness))


def _triangular(d: tfd.Triangular, y: tf.Tensor) -> Tails:
    width, below = d.high - d.low, y < d.peak
    side = tf.where(below, d.peak - d.low, d.high - d.peak)
    distance = tf.where(below, y - d.low, d.high - y)
    tail = 2 * tf.math.log(distance) - tf.math.log(width * tf.where(side > 0, side, tf.ones_like(side)))
    rest = log1mexp(-tail)
    return tf.where(below, tail, rest), tf.where(below, rest, tail)


def _uniform(d: tfd.Uniform, y: tf.Tensor) -> Tails:
    width = d.high - d.low
    return tf.math.log((y - d.low) / width), tf.math.log((d.high - y) / width)


LOG_TAILS: Mapping[type, Callable[[tfd.Distribution, tf.Tensor], Tails]] = {
    tfd.Cauchy: lambda d, y: _cauchy(_standard(d, y)),
    tfd.ContinuousBernoulli: _continuous_bernoulli,
    tfd.DoublesidedMaxwell: _doublesided_maxwell,
    tfd.Exponential: lambda d, y: _with_survival(d.rate * y),
    tfd.GeneralizedExtremeValue: _generalized_extreme_value,
    tfd.GeneralizedPareto: _generalized_pareto,
    tfd.Gumbel: _gumbel,
    tfd.HalfCauchy: _half_cauchy,
    tfd.HalfNormal: _half_normal,
    tfd.JohnsonSU: lambda d, y: _normal(d.skewness + d.tailweight * tf.asinh(_standard(d, y))),
    tfd.Kumaraswamy: _kumaraswamy,
    tfd.Laplace: lambda d, y: _halves(tf.constant(0.5, y.dtype), _standard(d, y), lambda z: -z),
    tfd.LogLogistic: lambda d, y: _logistic((tf.math.log(y) - d.loc) / d.scale),
    tfd.LogNormal: lambda d, y: _normal((tf.math.log(y) - d.loc) / d.scale),
    tfd.Logistic: lambda d, y: _logistic(_standard(d, y)),
    tfd.LogitNormal: lambda d, y: _normal((_logit(y) - d.loc) / d.scale),
    tfd.Moyal: _moyal,
    tfd.Normal: lambda d, y: _normal(_standard(d, y)),
    tfd.Pareto: lambda d, y: _with_survival(d.concentration * (tf.math.log(y) - tf.math.log(d.scale))),
    tfd.RelaxedBernoulli: _relaxed_bernoulli,
    tfd.SinhArcsinh: _sinh_arcsinh,
    tfd.Triangular: _triangular,
    tfd.TwoPieceNormal: _two_piece_normal,
    tfd.Uniform: lambda d, y: (
        tf.math.log((y - d.low) / (d.high - d.low)),
        tf.math.log((d.high - y) / (d.high - d.low)),
    ),
    tfd.Weibull: lambda d, y: _exponential(d.concentration * (tf.math.log(y) - tf.math.log(d.scale)))[::-1],
}
