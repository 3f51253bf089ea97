"""Formulas for half and two-piece families, which consist of halves of a symmetric distribution."""

import math
from collections.abc import Callable

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.families.facts import Tails
from nllfit.families.numerics import log1mexp

__all__ = ["crps_of_half", "crps_of_two_pieces", "distance", "halves", "positive_part", "two_pieces", "with_rest"]

_LOG_2 = math.log(2)
_TINY = 1e-300  # replaces 0, whose logarithm has no derivative


def distance(y: tf.Tensor) -> tf.Tensor:
    """`|y|`, whose derivative at 0 is 1 and not TensorFlow's 0, to match the terms that are subtracted from it."""
    return tf.where(y < 0, -y, y)


def positive_part(y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """`y`, but at least a tiny positive number, and the distance of a negative `y` from 0."""
    return tf.where(y < _TINY, tf.ones_like(y) * _TINY, y), tf.where(y <= 0, -y, 0.0)


def with_rest(tail: tf.Tensor, is_left: tf.Tensor) -> Tails:
    """Both log-tails, from one of them: the left one if `is_left`, else the right one."""
    rest = log1mexp(-tail)
    return tf.where(is_left, tail, rest), tf.where(is_left, rest, tail)


def halves(left: tf.Tensor, z: tf.Tensor, log_tail: Callable[[tf.Tensor], tf.Tensor]) -> Tails:
    """The log-tails at `z` of a distribution that consists of two halves and has the probability `left` below 0.

    `log_tail(a)` is the log-probability of `|Z| > a`, conditional on either half.
    """
    below = z < 0
    return with_rest(tf.math.log(tf.where(below, left, 1 - left)) + log_tail(tf.where(below, -z, z)), below)


def two_pieces(d: tfd.Distribution, y: tf.Tensor, log_survival: Callable[[tf.Tensor], tf.Tensor]) -> Tails:
    """The log-tails of a two-piece family, whose halves are those of a symmetric one, stretched by `skewness`.

    `log_survival` is the log-survival function of the symmetric distribution with location 0 and scale 1.
    """
    z = (y - d.loc) / d.scale
    z = z * tf.where(z < 0, d.skewness, 1 / d.skewness)
    return halves(1 / (1 + tf.square(d.skewness)), z, lambda z: _LOG_2 + log_survival(z))


def crps_of_two_pieces(d: tfd.Distribution, y: tf.Tensor, standard: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    """The CRPS of a two-piece family, from the CRPS `standard` of the symmetric distribution, as in `two_pieces`."""
    return _of_stretched(standard, y - d.loc, d.scale / d.skewness, d.scale * d.skewness)


def crps_of_half(standard: Callable[[tf.Tensor], tf.Tensor], y: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """The CRPS of `scale * |X|`, where `X` is symmetric around 0 and has the CRPS `standard`."""
    return _of_stretched(standard, y, tf.zeros_like(scale), scale)


def _of_stretched(standard, y, left, right):
    """The CRPS of a distribution whose halves are stretched by `left` below 0 and by `right` above 0.

    The density is continuous at 0. On the side of `y`, the CDF is a multiple of the CDF of the symmetric distribution,
    and its integral from 0 to `y` follows from the CRPS of the symmetric distribution. With `left = 0` only the upper
    half remains.
    """
    at_mode = standard(tf.zeros_like(y))
    scale, far = tf.where(y < 0, left, right), distance(y)
    z = tf.where(scale > 0, far, 0.0) / tf.where(scale > 0, scale, 1.0)
    both = (left**3 + right**3) / tf.square(left + right)
    tail = tf.square(scale) / (left + right) * (at_mode + z - standard(z))
    return tf.where(tf.math.is_inf(at_mode), at_mode, 2 * at_mode * both + far - 2 * tail)
