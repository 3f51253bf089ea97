"""The modified Bessel function and the zeta function, with derivatives that TensorFlow's functions lack."""

import tensorflow as tf

__all__ = ["log_bessel_series", "zeta"]

_TERMS = 128  # the number of terms in `log_bessel_series`


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
