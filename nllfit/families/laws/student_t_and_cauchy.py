"""The StudentT and Cauchy families, and the half, two-piece and truncated families made from them."""

import math
from collections.abc import Mapping

import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd

from nllfit.families.facts import Facts, Tails
from nllfit.families.incomplete_functions import beta_tails
from nllfit.families.interval_probability import by_quadrature
from nllfit.families.law import law_of
from nllfit.families.laws.half_and_two_piece import crps_of_half, crps_of_two_pieces, two_pieces
from nllfit.families.links import HIGH
from nllfit.families.numerics import across, expm1_ratio
from nllfit.families.search_policy import SearchPolicy, largest, smallest

__all__ = ["STUDENT_T"]

_TINY = 1e-300


def _standard(d, y):
    return (y - d.loc) / d.scale


def _cauchy_log_tails(d: tfd.Cauchy, y: tf.Tensor) -> Tails:
    z = _standard(d, y)
    one = tf.ones_like(z)
    return tf.math.log(tf.atan2(one, -z) / math.pi), tf.math.log(tf.atan2(one, z) / math.pi)


def _half_cauchy_log_tails(d: tfd.HalfCauchy, y: tf.Tensor) -> Tails:
    z = _standard(d, y)
    return tf.math.log(tf.atan(z) * (2 / math.pi)), tf.math.log(tf.atan2(tf.ones_like(z), z) * (2 / math.pi))


def _half_cdf(d: tfd.HalfStudentT, y: tf.Tensor) -> Tails:
    # TFP computes the survival function as `1 - cdf`, which has no correct digits far in the tail.
    squared = tf.square(_standard(d, y))
    total = d.df + squared
    return beta_tails(tf.ones_like(total) / 2, d.df / 2, squared / total, d.df / total)


# `by_quadrature` needs a support whose ends do not depend on parameters, and a density without a corner. So the next
# two functions call it with a distribution of location 0 and scale 1: a HalfStudentT, or a (symmetric) StudentT.


def _half_tails(d: tfd.HalfStudentT, y: tf.Tensor) -> Tails:
    standard = tfd.HalfStudentT(d.df, tf.zeros_like(d.df), tf.ones_like(d.df))
    return by_quadrature(law_of(standard), _standard(d, y))


def _two_piece_tails(d: tfd.TwoPieceStudentT, y: tf.Tensor) -> Tails:
    standard = law_of(tfd.StudentT(d.df, tf.zeros_like(d.df), tf.ones_like(d.df)))
    return two_pieces(d, y, lambda z: by_quadrature(standard, z)[1])


def _standard_crps(df, z):
    """Returns the CRPS `|z| P(|T| < |z|) + 2 (f(z) (df + z^2) - c) / (df - 1)`. It is finite for `df > 1/2`.

    `T` is a StudentT with density `f`, and `c = sqrt(df) B(1/2, df - 1/2) / B(1/2, df/2)^2`. The last term is 0 / 0 at
    `df = 1`. It equals `2 c rate (exp(e) - 1) / e`, where `rate = log(f(z) (df + z^2) / c) / (df - 1)` and
    `e = (df - 1) rate`. At `df = 1`, `across` computes the limit of `rate`, and `expm1_ratio` computes
    `(exp(e) - 1) / e`, which is 1.
    """
    is_finite = df > 0.5
    df = tf.where(is_finite, df, 2.0)
    squared = tf.maximum(tf.square(z), _TINY)
    within, _ = beta_tails(tf.ones_like(squared) / 2, df / 2, squared / (df + squared), df / (df + squared))

    def log_beta(b):
        return tfp.math.lbeta(tf.ones_like(b) / 2, b)

    rate = across(lambda df: (log_beta(df / 2) - log_beta(df - 0.5)) / (df - 1), df, 1.0)
    rate -= tf.math.log1p(squared / df) / 2
    log_factor = log_beta(df - 0.5) - 2 * log_beta(df / 2)
    last_term = 2 * tf.sqrt(df) * tf.exp(log_factor) * rate * expm1_ratio((df - 1) * rate)
    return tf.where(is_finite, tf.abs(z) * within + last_term, math.inf)


def _standard_crps_of(df, y):
    """Returns the function that maps an outcome to the CRPS of a StudentT with location 0 and scale 1."""
    df = df + tf.zeros_like(y)
    return lambda z: _standard_crps(df, z)


STUDENT_T: Mapping[type, Facts] = {
    # If `scale` is fixed at a small value, the likelihood has a maximum at nearly every observation.
    tfd.Cauchy: Facts(
        log_tails=_cauchy_log_tails,
        crps=lambda d, y: d.scale * _standard_crps(tf.ones_like(y), _standard(d, y)),
        search=SearchPolicy(scattered="loc"),
    ),
    # The likelihood rises with `loc` up to the smallest observation. For a larger `loc` it is 0.
    tfd.HalfCauchy: Facts(
        log_tails=_half_cauchy_log_tails,
        crps=lambda d, y: crps_of_half(_standard_crps_of(1.0, y), y - d.loc, d.scale),
        search=SearchPolicy(statistics={"loc": smallest}),
    ),
    # As in a HalfCauchy, the smallest observation is the estimate of `loc`. The mean is infinite for `df <= 1`. The
    # prediction is then the median, which TFP lacks.
    tfd.HalfStudentT: Facts(
        center=lambda d: d.loc + d.scale * tfd.StudentT(d.df, 0.0, 1.0).quantile(0.75),
        cdf=_half_cdf,
        integrated_tails=_half_tails,
        crps=lambda d, y: crps_of_half(_standard_crps_of(d.df, y), y - d.loc, d.scale),
        search=SearchPolicy(statistics={"loc": smallest}),
    ),
    # TFP's mean is NaN for `df <= 1`. The prediction is then `loc`, the median. If `df` or `scale` is fixed at a small
    # value, the likelihood has a maximum at nearly every observation.
    tfd.StudentT: Facts(
        center=lambda d: d.loc,
        has_exact_cdf=True,
        crps=lambda d, y: d.scale * _standard_crps(d.df + tf.zeros_like(y), _standard(d, y)),
        search=SearchPolicy(scattered="loc"),
    ),
    # The likelihood is largest for the narrowest interval that contains the sample. A user may hold an end at infinity.
    tfd.TruncatedCauchy: Facts(
        links=HIGH,
        endless=("low", "high"),
        has_exact_cdf=True,
        search=SearchPolicy(statistics={"low": smallest, "high": largest}),
    ),
    tfd.TwoPieceStudentT: Facts(
        integrated_tails=_two_piece_tails,
        density_corner="loc",
        crps=lambda d, y: crps_of_two_pieces(d, y, _standard_crps_of(d.df, y)),
    ),
}
