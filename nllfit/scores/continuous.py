"""CRPS of continuous families in closed form: `(distribution, y) -> crps`, all `[*batch]` in float64.

Most begin at `E|X - y| - E|X - X'| / 2`. Where the mean is infinite and the score is not, the two infinities cancel:
formulas hold as long as the score is finite, and are infinite beyond. An outcome below or above the support adds its
distance to the score of the end.

Source: Jordan, Krueger and Lerch, Evaluating probabilistic forecasts with scoringRules, 2019, appendix A, if no other
is named.
"""

import math
from collections.abc import Callable, Mapping

import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd

from nllfit.families.incomplete_functions import beta_tails, gamma_tails, log_beta_kernel, log_gamma_kernel
from nllfit.families.normal_mixtures import expected_distance
from nllfit.families.numerics import across, expm1_ratio, log1p_ratio

__all__ = ["CONTINUOUS"]

_TINY = 1e-300  # where a logarithm of 0 would have no derivative
_INFINITE = math.inf


def _positive(y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The outcomes within a positive support, and how far they are from it; at 0 with the derivative of that."""
    return tf.where(y < _TINY, tf.ones_like(y) * _TINY, y), tf.where(y <= 0, -y, 0.0)


def _distance(y):
    """`|y|`, at 0 with the derivative from the right, which that of what is subtracted from it goes with."""
    return tf.where(y < 0, -y, y)


def _normal(d: tfd.Normal, y: tf.Tensor) -> tf.Tensor:
    return expected_distance(y - d.loc, d.scale) - d.scale / math.sqrt(math.pi)


def _standard_normal(z):
    return expected_distance(z, tf.ones_like(z)) - 1 / math.sqrt(math.pi)


def _laplace(d: tfd.Laplace, y: tf.Tensor) -> tf.Tensor:
    z = tf.abs(y - d.loc) / d.scale
    return d.scale * (z + tf.exp(-z) - 0.75)


def _logistic(d: tfd.Logistic, y: tf.Tensor) -> tf.Tensor:
    z = (y - d.loc) / d.scale
    return d.scale * (z + 2 * tf.math.softplus(-z) - 1)


def _standard_student_t(df, z):
    """`|z| P(|T| < |z|) + 2 (f(z) (df + z^2) - c(df)) / (df - 1)`, whose last term is 0 / 0 at `df = 1`.

    It is `(exp(e) - 1) / (df - 1)` times a number, and `e` is a multiple of `df - 1`. Finite for `df > 1/2`.
    """
    finite = df > 0.5
    df = tf.where(finite, df, 2.0)
    squared = tf.maximum(tf.square(z), _TINY)
    within, _ = beta_tails(tf.ones_like(squared) / 2, df / 2, squared / (df + squared), df / (df + squared))

    def log_beta(other):
        return tfp.math.lbeta(tf.ones_like(other) / 2, other)

    rate = across(lambda df: (log_beta(df / 2) - log_beta(df - 0.5)) / (df - 1), df, 1.0)
    rate -= tf.math.log1p(squared / df) / 2
    log_factor = log_beta(df - 0.5) - 2 * log_beta(df / 2)
    rest = 2 * tf.sqrt(df) * tf.exp(log_factor) * rate * expm1_ratio((df - 1) * rate)
    return tf.where(finite, tf.abs(z) * within + rest, _INFINITE)


def _student_t(d: tfd.StudentT, y: tf.Tensor) -> tf.Tensor:
    return d.scale * _standard_student_t(d.df + tf.zeros_like(y), (y - d.loc) / d.scale)


def _cauchy(d: tfd.Cauchy, y: tf.Tensor) -> tf.Tensor:
    return d.scale * _standard_student_t(tf.ones_like(y), (y - d.loc) / d.scale)


def _two_piece(standard: Callable, y: tf.Tensor, left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """Halves of a symmetric distribution stretched by `left` below 0 and `right` above, as high as each other at 0.

    On the side of `y` its CDF is a multiple of the symmetric one's, whose integral from 0 to `y` the score of the
    symmetric distribution contains. `left = 0` is the upper half alone.
    """
    at_mode = standard(tf.zeros_like(y))
    scale, distance = tf.where(y < 0, left, right), _distance(y)
    z = tf.where(scale > 0, distance, 0.0) / tf.where(scale > 0, scale, 1.0)
    both = (left**3 + right**3) / tf.square(left + right)
    tail = tf.square(scale) / (left + right) * (at_mode + z - standard(z))
    return tf.where(tf.math.is_inf(at_mode), at_mode, 2 * at_mode * both + distance - 2 * tail)


def _two_piece_normal(d: tfd.TwoPieceNormal, y: tf.Tensor) -> tf.Tensor:
    return _two_piece(_standard_normal, y - d.loc, d.scale / d.skewness, d.scale * d.skewness)


def _two_piece_student_t(d: tfd.TwoPieceStudentT, y: tf.Tensor) -> tf.Tensor:
    df = d.df + tf.zeros_like(y)
    return _two_piece(lambda z: _standard_student_t(df, z), y - d.loc, d.scale / d.skewness, d.scale * d.skewness)


def _half(standard: Callable, y: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    return _two_piece(standard, y, tf.zeros_like(scale), scale)


def _half_student_t(d: tfd.HalfStudentT, y: tf.Tensor) -> tf.Tensor:
    df = d.df + tf.zeros_like(y)
    return _half(lambda z: _standard_student_t(df, z), y - d.loc, d.scale)


def _half_cauchy(d: tfd.HalfCauchy, y: tf.Tensor) -> tf.Tensor:
    return _half(lambda z: _standard_student_t(tf.ones_like(z), z), y - d.loc, d.scale)


def _truncated_normal(d: tfd.TruncatedNormal, y: tf.Tensor) -> tf.Tensor:
    far = 50 * d.scale  # as good as infinite, and with a derivative
    low = tf.where(tf.math.is_finite(d.low), d.low, d.loc - far)
    high = tf.where(tf.math.is_finite(d.high), d.high, d.loc + far)
    inside = tf.clip_by_value(y, low, high)
    low, high, z = ((end - d.loc) / d.scale for end in (low, high, inside))
    # In the upper tail it is mirrored into the lower, where the CDF has its digits.
    flip = low > -high
    low, high, z = tf.where(flip, -high, low), tf.where(flip, -low, high), tf.where(flip, -z, z)
    standard = tfd.Normal(tf.zeros([], y.dtype), 1.0)
    log_low, log_high = standard.log_cdf(low), standard.log_cdf(high)
    log_window = log_high + tf.math.log1p(-tf.exp(log_low - log_high))

    def share(log_part):
        return tf.exp(log_part - log_window)

    to_outcome = z * (2 * share(standard.log_cdf(z)) - share(log_high) - share(log_low)) + 2 * share(
        standard.log_prob(z)
    )
    below, up_to = (share(standard.log_cdf(end * math.sqrt(2)) - log_window) for end in (low, high))
    apart = (up_to - below) / math.sqrt(math.pi)
    return tf.abs(y - inside) + d.scale * (to_outcome - apart)


def _gamma_of(shape, rate, y):
    inside, distance = _positive(y)
    x, mean = inside * rate, shape / rate
    below, _ = gamma_tails(shape, x)
    density = tf.exp(log_gamma_kernel(shape, x))
    apart = tf.exp(-tfp.math.lbeta(tf.ones_like(shape) / 2, shape)) / rate
    return distance + (inside - mean) * (2 * below - 1) + 2 * density / rate - apart


def _gamma(d: tfd.Gamma, y: tf.Tensor) -> tf.Tensor:
    return _gamma_of(d.concentration, tf.exp(d.log_rate) if d.rate is None else d.rate, y)


def _chi2(d: tfd.Chi2, y: tf.Tensor) -> tf.Tensor:
    return _gamma_of(d.df / 2, tf.constant(0.5, y.dtype), y)


def _exponential(d: tfd.Exponential, y: tf.Tensor) -> tf.Tensor:
    return _distance(y) + (2 * tf.math.expm1(-d.rate * tf.where(y < 0, tf.zeros_like(y), y)) + 0.5) / d.rate


def _weibull(d: tfd.Weibull, y: tf.Tensor) -> tf.Tensor:
    """`integral of S^2 + y - 2 integral of S up to y`, of `S = exp(-(y / scale)^concentration)`."""
    inside, distance = _positive(y)
    power = 1 / d.concentration + tf.zeros_like(y)
    up_to = tf.math.igamma(power, tf.maximum(tf.exp(d.concentration * tf.math.log(inside / d.scale)), _TINY))
    mean = d.scale * tf.exp(tf.math.lgamma(1 + power))
    return distance + inside + mean * (2**-power - 2 * up_to)


def _log_normal(d: tfd.LogNormal, y: tf.Tensor) -> tf.Tensor:
    inside, distance = _positive(y)
    z, standard = (tf.math.log(inside) - d.loc) / d.scale, tfd.Normal(tf.zeros([], y.dtype), 1.0)
    log_mean = d.loc + tf.square(d.scale) / 2
    parts = [tf.exp(log_mean + standard.log_cdf(x)) for x in (z - d.scale, -d.scale / math.sqrt(2))]
    return distance + inside * tf.math.erf(z / math.sqrt(2)) - 2 * (parts[0] - parts[1])


def _beta_of(a, b, y):
    inside = tf.clip_by_value(y, _TINY, 1 - 2.0**-53)
    below, _ = beta_tails(a, b, inside, 1 - inside)
    mean, density = a / (a + b), tf.exp(log_beta_kernel(a, b, inside, 1 - inside))
    apart = tf.exp(tfp.math.lbeta(2 * a, 2 * b) - 2 * tfp.math.lbeta(a, b))
    return tf.abs(y - inside) + (inside - mean) * (2 * below - 1) + 2 * (density - apart) / (a + b)


def _beta(d: tfd.Beta, y: tf.Tensor) -> tf.Tensor:
    return _beta_of(d.concentration1, d.concentration0, y)


def _pert(d: tfd.PERT, y: tf.Tensor) -> tf.Tensor:
    width = d.high - d.low
    a, b = (1 + d.temperature * part / width for part in (d.peak - d.low, d.high - d.peak))
    return width * _beta_of(a, b, (y - d.low) / width)


def _uniform(d: tfd.Uniform, y: tf.Tensor) -> tf.Tensor:
    z = (y - d.low) / (d.high - d.low)
    below = tf.clip_by_value(z, 0.0, 1.0)
    return (d.high - d.low) * (tf.abs(z - below) + tf.square(below) - below + 1 / 3)


def _triangular(d: tfd.Triangular, y: tf.Tensor) -> tf.Tensor:
    """On either side of the peak the CDF, or what remains, is a share times the square of a distance."""
    left, right, width, distance = d.peak - d.low, d.high - d.peak, d.high - d.low, _distance(y - d.peak)
    at_peak = (left**3 + right**3) / (5 * tf.square(width))
    side = tf.where(y < d.peak, left, right)
    outside = tf.nn.relu(1 - distance / tf.where(side > 0, side, 1.0))
    return at_peak + distance - 2 / 3 * tf.square(side) / width * (1 - outside**3)


def _pareto_of(shape, z):
    """A generalized Pareto distribution from 0 in units of its scale; finite for a shape below 2."""
    finite = shape < 2
    shape = tf.where(finite, shape, 0.5)
    above = tf.where(z < 0, tf.zeros_like(z), z)
    log_survival = -above * log1p_ratio(tf.maximum(shape * above, -1 + 1e-15))
    up_to = -log_survival * expm1_ratio((1 - shape) * log_survival)
    return tf.where(finite, _distance(z) - 2 * up_to + 1 / (2 - shape), _INFINITE)


def _generalized_pareto(d: tfd.GeneralizedPareto, y: tf.Tensor) -> tf.Tensor:
    return d.scale * _pareto_of(d.concentration, (y - d.loc) / d.scale)


def _pareto(d: tfd.Pareto, y: tf.Tensor) -> tf.Tensor:
    scale = d.scale / d.concentration
    return scale * _pareto_of(1 / d.concentration, (y - d.scale) / scale)


def _extreme_value_of(shape, z):
    """Finite for a shape below 2; a quotient that is 0 / 0 at the shapes 0 and 1, where it is interpolated."""

    def direct(shape):
        x = tf.maximum(shape * z, -1 + 1e-15)
        reduced = tf.clip_by_value(x / shape * log1p_ratio(x), -30.0, 600.0)
        rate = tf.exp(-reduced)  # -log F
        below = tf.exp(-rate)
        gamma = tf.exp(tf.math.lgamma(2 - shape))
        part = 2 * gamma * tf.math.igamma(2 - shape, rate) + 2 * tf.exp((shape - 1) * reduced - rate) - 2**shape * gamma
        return ((1 + x) * (2 * below - 1) + part / (1 - shape)) / shape + tf.nn.relu(tf.abs(z) - tf.abs(x / shape))

    finite = shape < 2
    shape = tf.where(finite, shape, 0.5)
    return tf.where(finite, across(direct, shape, tf.where(shape < 0.5, tf.zeros_like(z), tf.ones_like(z))), _INFINITE)


def _generalized_extreme_value(d: tfd.GeneralizedExtremeValue, y: tf.Tensor) -> tf.Tensor:
    return d.scale * _extreme_value_of(d.concentration + tf.zeros_like(y), (y - d.loc) / d.scale)


def _gumbel(d: tfd.Gumbel, y: tf.Tensor) -> tf.Tensor:
    return d.scale * _extreme_value_of(tf.zeros_like(y), (y - d.loc) / d.scale)


CONTINUOUS: Mapping[type, Callable[[tfd.Distribution, tf.Tensor], tf.Tensor]] = {
    tfd.Beta: _beta,
    tfd.Cauchy: _cauchy,
    tfd.Chi2: _chi2,
    tfd.Deterministic: lambda d, y: tf.abs(y - d.loc),
    tfd.Exponential: _exponential,
    tfd.Gamma: _gamma,
    tfd.GeneralizedExtremeValue: _generalized_extreme_value,
    tfd.GeneralizedPareto: _generalized_pareto,
    tfd.Gumbel: _gumbel,
    tfd.HalfCauchy: _half_cauchy,
    tfd.HalfNormal: lambda d, y: _half(_standard_normal, y, d.scale),
    tfd.HalfStudentT: _half_student_t,
    tfd.Laplace: _laplace,
    tfd.LogNormal: _log_normal,
    tfd.Logistic: _logistic,
    tfd.Normal: _normal,
    tfd.PERT: _pert,
    tfd.Pareto: _pareto,
    tfd.StudentT: _student_t,
    tfd.Triangular: _triangular,
    tfd.TruncatedNormal: _truncated_normal,
    tfd.TwoPieceNormal: _two_piece_normal,
    tfd.TwoPieceStudentT: _two_piece_student_t,
    tfd.Uniform: _uniform,
    tfd.Weibull: _weibull,
}
