"""Functions that TensorFlow does not have, or computes with fewer digits or without a derivative."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

__all__ = [
    "FAR",
    "across",
    "expm1_ratio",
    "log1mexp",
    "log1p_ratio",
    "log_bessel_series",
    "log_mills",
    "log_normal_cdf",
    "where_safe",
    "zeta",
]

FAR = 6.0  # for arguments of at least this, `log_mills` is accurate to all digits

_LEVELS = 16  # the number of levels of the continued fraction in `log_mills`
_LOG_2, _ROOT_2 = math.log(2), math.sqrt(2)
_LOG_ROOT_2_PI = math.log(2 * math.pi) / 2

_STEP = 3e-3  # the unit of `_NODES`, the interpolation nodes of `across`
_TERMS = 128  # the number of terms in `log_bessel_series`
_NODES = np.array([-3.0, -2.0, -1.0, 1.0, 2.0, 3.0])


def where_safe(
    condition: tf.Tensor, function: Callable[[tf.Tensor], tf.Tensor], x: tf.Tensor, safe: Any, otherwise: Any
) -> tf.Tensor:
    """Returns `function(x)` where a condition holds, and `otherwise` elsewhere. This is the double where.

    The gradient of the branch that `tf.where` does not select is 0 times the derivative of the branch. If this
    derivative is infinite or NaN, the product is NaN. So where the condition is False, the function is called with
    `safe` instead of `x`.
    """
    return tf.where(condition, function(tf.where(condition, x, safe)), otherwise)


def expm1_ratio(x: tf.Tensor) -> tf.Tensor:
    """Returns `(exp(x) - 1) / x`, which is 1 at 0."""
    near = 1 + x / 2 + tf.square(x) / 6
    return where_safe(tf.abs(x) >= 1e-5, lambda x: tf.math.expm1(x) / x, x, 1.0, near)


def log1p_ratio(x: tf.Tensor) -> tf.Tensor:
    """Returns `log(1 + x) / x`, which is 1 at 0."""
    near = 1 - x / 2 + tf.square(x) / 3
    return where_safe(tf.abs(x) >= 1e-5, lambda x: tf.math.log1p(x) / x, x, 1.0, near)


def log1mexp(x: tf.Tensor) -> tf.Tensor:
    """Returns `log(1 - exp(-x))` for `x >= 0`."""
    small = x < _LOG_2
    far = tf.math.log1p(-tf.exp(-tf.where(small, tf.ones_like(x), x)))
    return where_safe(small, lambda x: tf.math.log(-tf.math.expm1(-x)), x, 1.0, far)


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


def across(function: Callable[[tf.Tensor], tf.Tensor], x: tf.Tensor, hole: tf.Tensor | float) -> tf.Tensor:
    """Evaluates a smooth function whose formula is 0 / 0 at `hole` and inexact near `hole`.

    Within 0.003 of the hole, the function is interpolated by a polynomial through six points around the hole. The
    error is about 1e-13 if the function changes little over distances below 0.5.
    """
    hole = hole + tf.zeros_like(x)
    near = tf.abs(x - hole) < _STEP
    offset = tf.where(near, x - hole, 0.0) / _STEP
    polynomial = tf.zeros_like(x)
    for node in _NODES:
        factors = [(offset - other_node) / (node - other_node) for other_node in _NODES if other_node != node]
        polynomial += tf.reduce_prod(tf.stack(factors), 0) * function(hole + node * _STEP)
    return tf.where(near, polynomial, function(tf.where(near, hole + _STEP, x)))


def log_bessel_series(order: tf.Tensor, log_q: tf.Tensor) -> tf.Tensor:
    """Returns `log sum_j q^j / (j! Gamma(j + order + 1))` for `order > -1`, in float64.

    The result equals `log(I_order(2 sqrt(q)) / q^(order / 2))`, where `I` is the modified Bessel function. The result
    has derivatives with respect to `order` and `log_q`.

    Only terms around the largest one are summed. As a function of `j`, the terms resemble a Normal density whose
    standard deviation is `width`. If the width is large, only every `stride`-th term is summed, and the sum is
    multiplied by `stride`. This costs no accuracy: a stride above 1 is less than `width / 2`, and the trapezoidal rule
    with this step is exact to rounding for a Normal density.
    """
    order, log_q = order[..., None], log_q[..., None]
    half_order = tf.stop_gradient(order) / 2
    peak = tf.sqrt(tf.square(half_order) + tf.exp(tf.stop_gradient(log_q))) - half_order
    width = tf.sqrt(peak * (peak + 2 * half_order + 1) / (2 * peak + 2 * half_order + 1))
    first = tf.nn.relu(tf.math.floor(peak - 10 * width - 10))
    stride = tf.math.ceil((peak + 10 * width + 20 - first) / _TERMS)
    j = first + stride * tf.range(_TERMS, dtype=log_q.dtype)
    terms = tf.math.multiply_no_nan(log_q, j) - tf.math.lgamma(j + 1) - tf.math.lgamma(j + order + 1)
    return tf.reduce_logsumexp(terms, -1) + tf.math.log(stride[..., 0])


def zeta(power: tf.Tensor, first: tf.Tensor) -> tf.Tensor:
    """Returns the sum of `k^-power` over `k = first, first + 1, ...`.

    Unlike TensorFlow's `zeta`, this function has a derivative with respect to `power`. It sums the first twelve terms,
    and computes the sum of the other terms with the Euler-Maclaurin formula.
    """
    terms = tf.reduce_sum((first[..., None] + tf.range(12, dtype=first.dtype)) ** -power[..., None], -1)
    q = first + 12
    total, term = q / (power - 1) + 0.5, power / q
    for order, factor in enumerate((1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160, -691 / 1307674368000)):
        total += factor * term
        term *= (power + 2 * order + 1) * (power + 2 * order + 2) / tf.square(q)
    return terms + total * q**-power
