"""The Normal family, and families made from a Normal: transformed, half, two-piece and truncated ones."""

import math
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.families.crps_of_mixtures import expected_distance
from nllfit.families.facts import Facts, Tails
from nllfit.families.laws.half_and_two_piece import (
    crps_of_half,
    crps_of_two_pieces,
    positive_part,
    two_pieces,
    with_rest,
)
from nllfit.families.links import HIGH
from nllfit.families.log_normal_cdf import log_normal_cdf
from nllfit.families.numerics import where_safe
from nllfit.families.search_policy import SearchPolicy, largest, smallest

__all__ = ["NORMAL", "phi"]

_LOG_2 = math.log(2)
_ROOT_2 = math.sqrt(2)
_LOG_ROOT_2_PI = math.log(2 * math.pi) / 2


def phi(z: tf.Tensor) -> tf.Tensor:
    """Returns `P(Z <= z)` of a standard Normal."""
    return tf.math.erfc(-z / _ROOT_2) / 2


def _tails(z):
    return phi(z), phi(-z)  # as accurate as `exp(_log_tails(z))`, but three times as fast


def _log_tails(z):
    return tuple(tf.unstack(log_normal_cdf(tf.stack([z, -z]))))  # one call, so the continued fraction is traced once


def _standard(d, y):
    return (y - d.loc) / d.scale


def _standard_log(d, y):
    return (tf.math.log(y) - d.loc) / d.scale


def _standard_logit(d, y):
    return (tf.math.log(y) - tf.math.log1p(-y) - d.loc) / d.scale


def _log_erf(z):
    """Returns `log P(|Z| < z)` of a standard Normal."""
    near = tf.math.log(tf.math.erf(tf.minimum(z, 1.0) / _ROOT_2))
    return tf.where(z < 1, near, tf.math.log1p(-tf.math.erfc(tf.maximum(z, 1.0) / _ROOT_2)))


def _half_log_tails(d: tfd.HalfNormal, y: tf.Tensor) -> Tails:
    z = y / d.scale
    return _log_erf(z), _LOG_2 + log_normal_cdf(-z)


def _moyal_log_tails(d: tfd.Moyal, y: tf.Tensor) -> Tails:
    log_root = -_standard(d, y) / 2
    root = tf.exp(log_root)
    right = where_safe(log_root >= -20, _log_erf, root, 1.0, log_root + math.log(2 / math.pi) / 2)
    return _LOG_2 + log_normal_cdf(-root), right


def _sinh_arcsinh_log_tails(d: tfd.SinhArcsinh, y: tf.Tensor) -> Tails:
    stretched = _standard(d, y) * tf.sinh(math.asinh(2) * d.tailweight) / 2
    return _log_tails(tf.sinh(tf.asinh(stretched) / d.tailweight - d.skewness))


def _doublesided_maxwell_cdf(d: tfd.DoublesidedMaxwell, y: tf.Tensor) -> Tails:
    z = _standard(d, y)
    density = z * tf.exp(-tf.square(z) / 2) / math.sqrt(2 * math.pi)
    return phi(z) - density, phi(-z) + density


def _doublesided_maxwell_log_tails(d: tfd.DoublesidedMaxwell, y: tf.Tensor) -> Tails:
    z = _standard(d, y)
    distance = tf.abs(z)
    tiny = distance < 1e-8  # at 0 each tail is 1/2, and the log-density is infinite
    inside = tf.where(tiny, tf.ones_like(z), distance)
    density = tf.math.log(inside) - tf.square(inside) / 2 - _LOG_ROOT_2_PI
    normal = log_normal_cdf(-inside)
    tail = tf.where(tiny, tf.constant(-_LOG_2, z.dtype), normal + tf.math.softplus(density - normal))
    return with_rest(tail, z < 0)


def _standard_crps(z):
    return expected_distance(z, tf.ones_like(z)) - 1 / math.sqrt(math.pi)


def _crps(d: tfd.Normal, y: tf.Tensor) -> tf.Tensor:
    return expected_distance(y - d.loc, d.scale) - d.scale / math.sqrt(math.pi)


def _log_normal_crps(d: tfd.LogNormal, y: tf.Tensor) -> tf.Tensor:
    inside, distance = positive_part(y)
    z, standard = (tf.math.log(inside) - d.loc) / d.scale, tfd.Normal(tf.zeros([], y.dtype), 1.0)
    log_mean = d.loc + tf.square(d.scale) / 2
    partial_means = [tf.exp(log_mean + standard.log_cdf(x)) for x in (z - d.scale, -d.scale / math.sqrt(2))]
    return distance + inside * tf.math.erf(z / math.sqrt(2)) - 2 * (partial_means[0] - partial_means[1])


def _mean_minimum(a: tfd.Normal, b: tfd.Normal) -> tf.Tensor:
    return -expected_distance(a.loc - b.loc, tf.sqrt(tf.square(a.scale) + tf.square(b.scale))) / 2


def _log_normal_mean_minimum(a: tfd.LogNormal, b: tfd.LogNormal) -> tf.Tensor:
    """Returns `E[min(X, X')] = E[X; X < X'] + E[X'; X' < X]`, where `E[X; A]` is the integral of `X` over event `A`.

    `-E|X - X'| / 2` would give the same CRPS, because it differs from `E[min(X, X')]` by a term that cancels (see
    `Facts.mean_minimum`). But for a large scale, `E|X - X'|` is far larger than the CRPS. The CRPS would
    then lose all digits to rounding errors.
    """
    spread = tf.sqrt(tf.square(a.scale) + tf.square(b.scale))

    def term(d, other):
        variance = tf.square(d.scale)
        return tf.exp(d.loc + variance / 2 + log_normal_cdf((other.loc - d.loc - variance) / spread))

    return term(a, b) + term(b, a)


def _truncated_crps(d: tfd.TruncatedNormal, y: tf.Tensor) -> tf.Tensor:
    far = 50 * d.scale  # an infinite end has no derivative, so we move it to this distance from `loc`
    low = tf.where(tf.math.is_finite(d.low), d.low, d.loc - far)
    high = tf.where(tf.math.is_finite(d.high), d.high, d.loc + far)
    inside = tf.clip_by_value(y, low, high)
    low, high, z = ((end - d.loc) / d.scale for end in (low, high, inside))
    # We mirror a window that lies in the upper tail, because the CDF is accurate only in the lower tail.
    is_upper = low > -high
    low, high, z = tf.where(is_upper, -high, low), tf.where(is_upper, -low, high), tf.where(is_upper, -z, z)
    standard = tfd.Normal(tf.zeros([], y.dtype), 1.0)
    log_low, log_high = standard.log_cdf(low), standard.log_cdf(high)
    log_window = log_high + tf.math.log1p(-tf.exp(log_low - log_high))

    def conditional(log_value):
        return tf.exp(log_value - log_window)

    to_outcome = z * (
        2 * conditional(standard.log_cdf(z)) - conditional(log_high) - conditional(log_low)
    ) + 2 * conditional(standard.log_prob(z))
    below, up_to = (conditional(standard.log_cdf(end * math.sqrt(2)) - log_window) for end in (low, high))
    half_mean_difference = (up_to - below) / math.sqrt(math.pi)
    return tf.abs(y - inside) + d.scale * (to_outcome - half_mean_difference)


NORMAL: Mapping[type, Facts] = {
    tfd.DoublesidedMaxwell: Facts(
        cdf=_doublesided_maxwell_cdf,
        log_tails=_doublesided_maxwell_log_tails,
        # The density is 0 at `loc`, so the likelihood has a maximum between any two neighbouring observations.
        search=SearchPolicy(scattered="loc"),
    ),
    tfd.GeneralizedNormal: Facts(
        has_exact_cdf=True,
        density_corner="loc",
        # For a power below 1, the density has a sharp peak at `loc`, so the likelihood has a peak at each observation.
        # For a power from 1 to 1.3, Newton's method may stop between two observations, so we treat these powers like
        # powers below 1. The likelihood may have a second maximum at the largest power, where the distribution is
        # nearly uniform.
        search=SearchPolicy(
            corner="loc",
            has_corners=lambda p: bool(np.all(np.less_equal(p.get("power", 0.0), 1.3))),
            several_maxima=True,
        ),
    ),
    tfd.HalfNormal: Facts(log_tails=_half_log_tails, crps=lambda d, y: crps_of_half(_standard_crps, y, d.scale)),
    tfd.JohnsonSU: Facts(log_tails=lambda d, y: _log_tails(d.skewness + d.tailweight * tf.asinh(_standard(d, y)))),
    tfd.LambertWNormal: Facts(
        mean=lambda d: d.loc,  # when tf_keras builds a model, the batch size is unknown and TFP's mean fails
        has_exact_cdf=True,
    ),
    # `loc` and `scale` describe the logarithm of an outcome (LogNormal) or the logit of an outcome (LogitNormal).
    tfd.LogNormal: Facts(
        cdf=lambda d, y: _tails(_standard_log(d, y)),
        log_tails=lambda d, y: _log_tails(_standard_log(d, y)),
        crps=_log_normal_crps,
        mean_minimum=_log_normal_mean_minimum,
        search=SearchPolicy(transform=np.log),
    ),
    tfd.LogitNormal: Facts(
        log_tails=lambda d, y: _log_tails(_standard_logit(d, y)),
        search=SearchPolicy(transform=lambda y: np.log(y) - np.log1p(-y)),
    ),
    tfd.Moyal: Facts(log_tails=_moyal_log_tails),
    tfd.Normal: Facts(
        finite_mean=True,
        cdf=lambda d, y: _tails(_standard(d, y)),
        log_tails=lambda d, y: _log_tails(_standard(d, y)),
        crps=_crps,
        mean_minimum=_mean_minimum,
    ),
    tfd.SinhArcsinh: Facts(log_tails=_sinh_arcsinh_log_tails),
    # The likelihood is largest if `low` is the smallest outcome and `high` is the largest outcome. A user may also fix
    # `low` or `high` at a value, even at infinity.
    tfd.TruncatedNormal: Facts(
        links=HIGH,
        endless=("low", "high"),
        has_exact_cdf=True,
        crps=_truncated_crps,
        search=SearchPolicy(statistics={"low": smallest, "high": largest}),
    ),
    tfd.TwoPieceNormal: Facts(
        log_tails=lambda d, y: two_pieces(d, y, lambda z: log_normal_cdf(-z)),
        density_corner="loc",
        crps=lambda d, y: crps_of_two_pieces(d, y, _standard_crps),
    ),
}
