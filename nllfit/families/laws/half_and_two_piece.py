"""Formulas for half and two-piece families, whose densities consist of halves of a symmetric density."""

import math
from collections.abc import Callable

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.families.facts import Tails
from nllfit.families.numerics import log1mexp

__all__ = ["crps_of_half", "crps_of_two_pieces", "distance", "halves", "positive_part", "two_pieces", "with_rest"]

_LOG_2 = math.log(2)
# The first result of `positive_part` is at least this number, because `log` has no derivative at 0.
_TINY = 1e-300


def distance(y: tf.Tensor) -> tf.Tensor:
    """Returns `|y|`. At 0, the derivative is 1, as the formulas of the CRPS require. With `tf.abs`, it would be 0."""
    return tf.where(y < 0, -y, y)


def positive_part(y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns two tensors: `max(y, 1e-300)` and `max(-y, 0)`."""
    return tf.where(y < _TINY, tf.ones_like(y) * _TINY, y), tf.where(y <= 0, -y, 0.0)


def with_rest(tail: tf.Tensor, is_left: tf.Tensor) -> Tails:
    """Returns both log-tails. `tail` is the left log-tail where `is_left` is True, and the right log-tail elsewhere."""
    rest = log1mexp(-tail)
    return tf.where(is_left, tail, rest), tf.where(is_left, rest, tail)


def halves(left: tf.Tensor, z: tf.Tensor, log_tail: Callable[[tf.Tensor], tf.Tensor]) -> Tails:
    """Returns the log-tails at `z` of a distribution that consists of two halves. `left` is `P(Z < 0)`.

    `log_tail(a)` is `log P(|Z| > a)`, given that `Z` is in one half. This probability must be the same for both halves.
    """
    below = z < 0
    return with_rest(tf.math.log(tf.where(below, left, 1 - left)) + log_tail(tf.where(below, -z, z)), below)


def two_pieces(d: tfd.Distribution, y: tf.Tensor, log_survival: Callable[[tf.Tensor], tf.Tensor]) -> Tails:
    """Returns the log-tails of a two-piece family: a symmetric distribution with halves stretched by `skewness`.

    `log_survival` is the log-survival function of the symmetric distribution with location 0 and scale 1.
    """
    z = (y - d.loc) / d.scale
    z = z * tf.where(z < 0, d.skewness, 1 / d.skewness)
    return halves(1 / (1 + tf.square(d.skewness)), z, lambda z: _LOG_2 + log_survival(z))


def crps_of_two_pieces(d: tfd.Distribution, y: tf.Tensor, standard: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    """Returns the CRPS of a two-piece family.

    `standard` computes the CRPS of the symmetric distribution with location 0 and scale 1.
    """
    return _stretched_crps(standard, y - d.loc, d.scale / d.skewness, d.scale * d.skewness)


def crps_of_half(standard: Callable[[tf.Tensor], tf.Tensor], y: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """Returns the CRPS of `scale * |X|`. `X` is symmetric around 0, and `standard` computes the CRPS of `X`."""
    return _stretched_crps(standard, y, tf.zeros_like(scale), scale)


def _stretched_crps(standard, y, left, right):
    """Returns the CRPS of a symmetric distribution whose halves are stretched by the factors `left` and `right`.

    The halves have the probabilities `left / (left + right)` and `right / (left + right)`, so the density is continuous
    at 0. On the side of `y`, the tail probability is a multiple of the tail probability of the symmetric distribution.
    So the integral of the tail from 0 to `y` follows from `standard`, the CRPS of the symmetric distribution. With
    `left = 0`, only the right half remains.
    """
    at_mode = standard(tf.zeros_like(y))
    scale, distance_to_mode = tf.where(y < 0, left, right), distance(y)
    z = tf.where(scale > 0, distance_to_mode, 0.0) / tf.where(scale > 0, scale, 1.0)
    factor = (left**3 + right**3) / tf.square(left + right)
    tail = tf.square(scale) / (left + right) * (at_mode + z - standard(z))
    return tf.where(tf.math.is_inf(at_mode), at_mode, 2 * at_mode * factor + distance_to_mode - 2 * tail)
