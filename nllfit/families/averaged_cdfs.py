"""Both tails of distributions whose CDF is a sum or an integral: `(distribution, y) -> (P(Y <= y), P(Y > y))`."""

import math

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.families.incomplete_functions import gamma_tails

__all__ = ["beta_binomial", "horseshoe", "normal_inverse_gaussian", "skellam"]

Tails = tuple[tf.Tensor, tf.Tensor]

_ROOT_2 = math.sqrt(2)
_NODES, _WEIGHTS = (np.polynomial.legendre.leggauss(128) + np.array([[1.0], [0.0]])) / 2
_NEGLIGIBLE = 40.0  # nats
_FAR = 350.0  # `cosh` of twice as much is near the largest number


def beta_binomial(d: tfd.BetaBinomial, k: tf.Tensor) -> Tails:
    """A sum over all counts, of which every row has as many; TFP has no CDF."""
    counts = tf.range(tf.reduce_max(d.total_count) + 1, dtype=k.dtype)
    counts = tf.reshape(counts, tf.concat([[-1], tf.ones([tf.rank(k + d.total_count)], tf.int32)], 0))
    probs = tf.where(counts <= d.total_count, tf.exp(d.log_prob(tf.minimum(counts, d.total_count))), 0.0)
    below = tf.reduce_sum(tf.where(counts <= k, probs, 0.0), 0)
    above = tf.reduce_sum(tf.where(counts > k, probs, 0.0), 0)
    return below, above


def horseshoe(d: tfd.Horseshoe, y: tf.Tensor) -> Tails:
    """The Normal CDF averaged over a half-Cauchy scale, by the trapezoidal rule in the logarithm of that scale."""
    u = tf.constant(np.arange(-40, 40, 0.125), y.dtype)
    weights = 0.125 / (math.pi * tf.cosh(u))
    z = y[..., None] / d.scale[..., None] * tf.exp(-u)
    return tf.linalg.matvec(_normal_cdf(z), weights), tf.linalg.matvec(_normal_cdf(-z), weights)


def normal_inverse_gaussian(d: tfd.NormalInverseGaussian, y: tf.Tensor) -> Tails:
    """The integral of the density of `s = asinh((y - loc) / scale)` over the tail on whose side `y` is of the center.

    With `shape = scale sqrt(tailweight^2 - skewness^2)` and `center = atanh(skewness / tailweight)` that density is
    `tailweight scale / pi K1(x) exp(x) exp(-shape (cosh(s - center) - 1))`, where `x = tailweight scale cosh(s)`.
    """
    sum_, difference = d.tailweight + d.skewness, d.tailweight - d.skewness
    shape, center = d.scale * tf.sqrt(sum_ * difference), tf.math.log(sum_ / difference) / 2
    start = tf.asinh((y - d.loc) / d.scale)
    distance = tf.clip_by_value(start - center, -_FAR, _FAR)
    right, outwards = distance > 0, tf.abs(tf.stop_gradient(distance))
    reach = tf.math.acosh(tf.cosh(outwards) + _NEGLIGIBLE / tf.stop_gradient(shape)) - outwards
    steps = tf.where(right, reach, -reach)[..., None] * tf.constant(_NODES, y.dtype)
    height = (d.tailweight * d.scale)[..., None]
    density = height / math.pi * tf.math.special.bessel_k1e(height * tf.cosh(start[..., None] + steps))
    density *= tf.exp(-2 * shape[..., None] * tf.square(tf.sinh((distance[..., None] + steps) / 2)))
    tail = tf.reduce_sum(density * tf.constant(_WEIGHTS, y.dtype), -1) * reach
    return tf.where(right, 1 - tail, tail), tf.where(right, tail, 1 - tail)


def skellam(d: tfd.Skellam, k: tf.Tensor) -> Tails:
    """The CDF of the Poisson count with the larger rate, averaged over 128 values of the other.

    At a large rate these are counts at equal distances: probabilities are then so smooth that the sum is exact.
    """
    first, second = d.rate1_parameter()[..., None], d.rate2_parameter()[..., None]
    k = k[..., None]
    rate, other = tf.minimum(first, second), tf.maximum(first, second)
    low = tf.nn.relu(tf.math.floor(rate - 10 * tf.sqrt(rate)))
    stride = tf.math.ceil((rate + 10 * tf.sqrt(rate) + 20 - low) / 128)
    j = low + stride * tf.range(128, dtype=k.dtype)
    weights = stride * tf.exp(j * tf.math.log(rate) - rate - tf.math.lgamma(j + 1))
    upper = tf.where(first >= second, k + j, j - k - 1)  # K <= k: N1 <= k + N2, or N2 > N1 - k - 1
    known = upper >= 0
    above, below = gamma_tails(tf.nn.relu(upper) + 1, other)
    poisson = tf.where(known, below, 0.0), tf.where(known, above, 1.0)
    below, above = (tf.reduce_sum(weights * part, -1) for part in poisson)
    swapped = (first < second)[..., 0]
    return tf.where(swapped, above, below), tf.where(swapped, below, above)


def _normal_cdf(z):
    return tf.math.erfc(-z / _ROOT_2) / 2
