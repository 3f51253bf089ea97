"""Families related to the Normal: a Normal plus an Exponential, Normals of random scale, first-passage times."""

import math
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from nllfit.families.facts import Facts, Tails
from nllfit.families.laws.normal import phi
from nllfit.families.log_normal_cdf import FAR, log_mills, log_normal_cdf
from nllfit.families.search_policy import SearchPolicy

__all__ = ["NORMAL_COMPOUNDS"]

_ROOT_2 = math.sqrt(2)
_NODES, _WEIGHTS = (np.polynomial.legendre.leggauss(128) + np.array([[1.0], [0.0]])) / 2
_NEGLIGIBLE = 40.0  # nats: we integrate until the log-density is this much lower than at the start
_MAX_DISTANCE = 350.0  # `cosh(2 * 350)` is near the largest float64


def _modified_gaussian_log_prob(d: tfd.ExponentiallyModifiedGaussian, y: tf.Tensor) -> tf.Tensor:
    """Returns the log-density `log rate + log P(Z > t) + (t^2 - z^2) / 2`.

    `Z` is a standard Normal, `z = (y - loc) / scale` and `t = rate scale - z`. If the distribution is nearly a Normal,
    large terms of TFP's formula cancel: at a rate of 1e9, TFP's log-density is 64 instead of -1.2. In this case we
    write `P(Z > t)` as Mills' ratio times the Normal density.
    """
    z, width = (y - d.loc) / d.scale, d.rate * d.scale
    t = width - z
    far = t > FAR
    product = tf.where(far, tf.zeros_like(t), width * (width / 2 - z))
    near = product + log_normal_cdf(-tf.minimum(t, FAR))
    ratio = log_mills(tf.where(far, t, FAR * tf.ones_like(t))) - tf.square(z) / 2 - math.log(2 * math.pi) / 2
    return tf.math.log(d.rate) + tf.where(far, ratio, near)


def _modified_gaussian_cdf(d: tfd.ExponentiallyModifiedGaussian, y: tf.Tensor) -> Tails:
    # TFP's log-tails lose all digits if `rate * scale` is large. Far to the left they are NaN.
    z, v = (y - d.loc) / d.scale, d.rate * d.scale
    right = z > v
    far = tf.exp(-v * tf.where(right, z, v) + tf.square(v) / 2) * phi(z - v)
    near = tf.exp(-tf.square(z) / 2) * tfp.math.erfcx(tf.where(right, tf.zeros_like(z), v - z) / _ROOT_2) / 2
    tail = tf.where(right, far, near)
    left = tf.exp(-tf.square(z) / 2) * (tfp.math.erfcx(tf.nn.relu(-z) / _ROOT_2) / 2) - near
    return tf.where(z < 0, left, phi(z) - tail), phi(-z) + tail


def _horseshoe_cdf(d: tfd.Horseshoe, y: tf.Tensor) -> Tails:
    """Averages the Normal CDF over a half-Cauchy scale, by the trapezoidal rule in the logarithm of the scale."""
    u = tf.constant(np.arange(-40, 40, 0.125), y.dtype)
    weights = 0.125 / (math.pi * tf.cosh(u))
    z = y[..., None] / d.scale[..., None] * tf.exp(-u)
    return tf.linalg.matvec(phi(z), weights), tf.linalg.matvec(phi(-z), weights)


def _inverse_gaussian_cdf(d: tfd.InverseGaussian, y: tf.Tensor) -> Tails:
    # TFP's CDF is NaN if `exp(2 concentration / loc)` overflows, and its survival function is inaccurate in the tail.
    root = tf.sqrt(d.concentration / y)
    z, z_plus = root * (y / d.loc - 1), root * (y / d.loc + 1)
    half = tf.exp(-tf.square(z) / 2) / 2
    second_term = half * tfp.math.erfcx(z_plus / _ROOT_2)
    survival = half * tfp.math.erfcx(tf.nn.relu(z) / _ROOT_2) - second_term
    return phi(z) + second_term, tf.where(z > 0, survival, phi(-z) - second_term)


def _normal_inverse_gaussian_log_prob(d: tfd.NormalInverseGaussian, y: tf.Tensor) -> tf.Tensor:
    """Computes the log-density with TensorFlow's Bessel function of order 1.

    TFP uses a Bessel function for any order. Tracing the loops of that function takes 18 s.
    """
    z = (y - d.loc) / d.scale
    size = tf.math.log1p(z**2) / 2
    height = d.tailweight * d.scale * tf.exp(size)
    slope = d.scale * d.tailweight * tf.exp(tf.math.log1p(-((d.skewness / d.tailweight) ** 2)) / 2)
    bessel = tf.math.log(tf.math.special.bessel_k1e(height))
    return bessel - size - height + d.scale * d.skewness * z + slope + tf.math.log(d.tailweight / np.pi)


def _normal_inverse_gaussian_cdf(d: tfd.NormalInverseGaussian, y: tf.Tensor) -> Tails:
    """Integrates the density of `s = asinh((y - loc) / scale)` from the outcome outwards, away from `center`.

    With `shape = scale sqrt(tailweight^2 - skewness^2)` and `center = atanh(skewness / tailweight)`, and with
    `x = tailweight scale cosh(s)`, the density is
    `tailweight scale / pi K1(x) exp(x) exp(-shape (cosh(s - center) - 1))`.
    """
    sum_, difference = d.tailweight + d.skewness, d.tailweight - d.skewness
    shape, center = d.scale * tf.sqrt(sum_ * difference), tf.math.log(sum_ / difference) / 2
    start = tf.asinh((y - d.loc) / d.scale)
    distance = tf.clip_by_value(start - center, -_MAX_DISTANCE, _MAX_DISTANCE)
    right, outwards = distance > 0, tf.abs(tf.stop_gradient(distance))
    reach = tf.math.acosh(tf.cosh(outwards) + _NEGLIGIBLE / tf.stop_gradient(shape)) - outwards
    steps = tf.where(right, reach, -reach)[..., None] * tf.constant(_NODES, y.dtype)
    height = (d.tailweight * d.scale)[..., None]
    density = height / math.pi * tf.math.special.bessel_k1e(height * tf.cosh(start[..., None] + steps))
    density *= tf.exp(-2 * shape[..., None] * tf.square(tf.sinh((distance[..., None] + steps) / 2)))
    tail = tf.reduce_sum(density * tf.constant(_WEIGHTS, y.dtype), -1) * reach
    return tf.where(right, 1 - tail, tail), tf.where(right, tail, 1 - tail)


NORMAL_COMPOUNDS: Mapping[type, Facts] = {
    # The likelihood may have a maximum near each of the two limits, a Normal and a shifted Exponential.
    tfd.ExponentiallyModifiedGaussian: Facts(
        log_prob=_modified_gaussian_log_prob,
        cdf=_modified_gaussian_cdf,
        has_exact_cdf=True,
        search=SearchPolicy(several_maxima=True),
    ),
    tfd.Horseshoe: Facts(cdf=_horseshoe_cdf),
    # Both parameters have the unit of the outcomes.
    tfd.InverseGaussian: Facts(
        cdf=_inverse_gaussian_cdf,
        has_exact_cdf=True,
        search=SearchPolicy(scales=("loc", "concentration"), locations=()),
    ),
    # TFP has no link for `skewness`, because the bounds `-tailweight` and `tailweight` depend on another parameter.
    # `skewness` and `tailweight` have the unit `1 / y`.
    tfd.NormalInverseGaussian: Facts(
        links={"skewness": lambda p: tfb.Sigmoid(-p["tailweight"], p["tailweight"])},
        log_prob=_normal_inverse_gaussian_log_prob,
        cdf=_normal_inverse_gaussian_cdf,
        has_exact_cdf=True,
        search=SearchPolicy(rates=("tailweight", "skewness")),
    ),
}
