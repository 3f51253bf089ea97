"""The log-CDF of a standard Normal and Mills' ratio, accurate far out in the tail."""

import math

import tensorflow as tf

__all__ = ["FAR", "log_mills", "log_normal_cdf"]

FAR = 6.0  # for arguments of at least this, `log_mills` is accurate to all digits
_LEVELS = 16  # the number of levels of the continued fraction in `log_mills`
_ROOT_2, _LOG_ROOT_2_PI = math.sqrt(2), math.log(2 * math.pi) / 2


def log_mills(x: tf.Tensor) -> tf.Tensor:
    """Returns `log(P(Z > x) / phi(x))` for `x >= FAR`. `Z` is a standard Normal, and `phi` is its density.

    The function evaluates Laplace's continued fraction.
    """
    fraction = x
    for level in range(_LEVELS, 0, -1):
        fraction = x + level / fraction
    return -tf.math.log(fraction)


def log_normal_cdf(z: tf.Tensor) -> tf.Tensor:
    """Returns `log P(Z <= z)` of a standard Normal. TFP's function has only eight correct digits at -20."""
    far, near = z < -FAR, tf.maximum(z, -FAR)
    left = tf.math.log(tf.math.erfc(tf.minimum(-near, FAR) / _ROOT_2) / 2)
    right = tf.math.log1p(-tf.math.erfc(tf.nn.relu(near) / _ROOT_2) / 2)
    x = tf.where(far, -z, FAR * tf.ones_like(z))
    tail = log_mills(x) - tf.square(x) / 2 - _LOG_ROOT_2_PI
    # At 0, the result must be `left`, because the gradient of `right` is 0 there: it contains `relu`.
    return tf.where(far, tail, tf.where(z <= 0, left, right))
