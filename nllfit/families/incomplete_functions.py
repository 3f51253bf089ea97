"""Regularized incomplete gamma and beta functions. They are accurate in both tails and for parameters of any size.

TensorFlow's functions sum a fixed number of terms and subtract values of `lgamma`, so they are inaccurate for large
parameters. Near the mean, the absolute error of `tf.math.igamma` is 4e-6 at shape 2e5 and 0.26 at shape 1e7. So this
module uses TensorFlow's functions only for small parameters. For large parameters it uses one of two methods:

- If the gamma shape is large, or both beta parameters are large, it uses quadrature. The density of `log x` (for a
  Beta, of the logit of `x`) is close to a Normal density. Gauss-Legendre quadrature integrates this density over the
  smaller tail. The relative error from rounding is about `1e-16 sqrt(shape) z`, at `z` standard deviations from the
  mean.
- If only one beta parameter is large, it uses an incomplete gamma function and two correction terms; see
  `_beta_by_gamma`.

All functions compute in float64 and return the dtype of `x`. Values and derivatives are computed by `tf.function`s that
take vectors. TensorFlow traces each of them only once in a process. This saves time, because the Hessian of a censored
likelihood calls them about thirty times.

Source: DiDonato and Morris, Algorithm 708: Significant digit computation of the incomplete beta function ratios, 1992,
for the expansion in incomplete gamma functions.
"""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from nllfit.families.log_kernels import (
    LARGE,
    beta_stirling,
    gamma_stirling,
    in_float64,
    log_beta_kernel,
    log_gamma_kernel,
)
from nllfit.families.traced_formulas import traced_once, without_slopes

__all__ = ["beta_tails", "gamma_tails"]

Tails = tuple[tf.Tensor, tf.Tensor]

_LARGE_SHAPE = 1e3  # up to this gamma shape, TensorFlow's result has 12 correct digits
_LARGE_PARAMETER = 1e5  # if neither beta parameter exceeds this, TensorFlow's result has 9 correct digits
_NODES, _WEIGHTS = (np.polynomial.legendre.leggauss(24) + np.array([[1.0], [0.0]])) / 2
_NATS = 50.0  # nats: an integral ends where the log-density is this much lower than at the start of the tail
_TINY = np.finfo(np.float64).tiny
_DISTANCE_FROM_INTEGERS = 1e-8  # derivatives are computed this far from integers; see `_derivatives_only`


def gamma_tails(shape: tf.Tensor, x: tf.Tensor) -> Tails:
    """Returns `P(X <= x)` and `P(X > x)` of a Gamma distribution of rate 1.

    Derivatives of any order with respect to `x` exist, but only the first derivative with respect to `shape`. A small
    tail has full relative accuracy.

    Args:
      shape: the shape parameters, positive; they broadcast with `x`.
      x: the outcomes, not negative.
    """
    return _cast_tails(x.dtype, _gamma(*in_float64(shape, x)))


def beta_tails(a: tf.Tensor, b: tf.Tensor, x: tf.Tensor, rest: tf.Tensor) -> Tails:
    """Returns `P(X <= x)` and `P(X > x)` of a Beta distribution.

    Derivatives of any order with respect to `x` exist, but only the first derivative with respect to `a` and `b`. A
    small tail has full relative accuracy.

    Args:
      a, b: the parameters, positive; they broadcast with `x`.
      x: the outcomes, between 0 and 1.
      rest: `1 - x`. The caller may know it with more digits than the subtraction would give.
    """
    a, b, value, rest = in_float64(a, b, x, rest)
    swapped = value > rest
    first, second = tf.where(swapped, b, a), tf.where(swapped, a, b)
    value, rest = tf.maximum(tf.where(swapped, rest, value), _TINY), tf.where(swapped, value, rest)
    below, above = _beta(first, second, value, rest)
    return _cast_tails(x.dtype, (tf.where(swapped, above, below), tf.where(swapped, below, above)))


def _cast_tails(dtype, tails):
    return tf.cast(tails[0], dtype), tf.cast(tails[1], dtype)


@tf.custom_gradient
def _gamma(shape, x):
    def gradients(upstream_below, upstream_above):
        upstream = upstream_below - upstream_above
        density = tf.exp(log_gamma_kernel(shape, x)) / tf.maximum(x, _TINY)
        return upstream * _gamma_derivative(shape, x), upstream * density

    return _gamma_values(shape, x), gradients


@traced_once
def _gamma_values(shape, x):
    large = shape >= _LARGE_SHAPE
    return _if_any(large, lambda any_large: _gamma_tails_by_size(large, any_large, shape, x))


@traced_once
def _traced_gamma_derivative(shape, x):
    large = shape >= _LARGE_SHAPE

    def computed(any_large):
        with tf.GradientTape() as tape:
            tape.watch(shape)
            below, above = _gamma_tails_by_size(large, any_large, shape, x)
        return tape.gradient(below, shape), above

    return _if_any(large, computed)[0]


def _gamma_tails_by_size(large, any_large, shape, x):
    ordinary, inside = tf.where(~large, shape, 1.0), tf.where(~large, x, 1.0)
    tails = tf.math.igamma(ordinary, inside), tf.math.igammac(ordinary, inside)
    return _where(large, _gamma_by_quadrature(large, shape, x), tails) if any_large else tails


@without_slopes
def _gamma_derivative(shape, x):
    return _traced_gamma_derivative(shape, x)


@tf.custom_gradient
def _beta(a, b, x, rest):
    """Returns the tails for `x <= rest`. In the derivative with respect to `x`, `rest` is `1 - x`, not a constant."""

    def gradients(upstream_below, upstream_above):
        upstream = upstream_below - upstream_above
        density = tf.exp(log_beta_kernel(a, b, x, rest)) / (x * rest)
        by_a, by_b = _beta_derivatives(a, b, x, rest)
        return upstream * by_a, upstream * by_b, upstream * density, tf.zeros_like(rest)

    return _beta_values(a, b, x, rest), gradients


@traced_once
def _beta_values(a, b, x, rest):
    both, one = _large_masks(a, b)
    return _if_any(both | one, lambda any_large: _beta_tails_by_size(both, one, any_large, a, b, x, rest))


@traced_once
def _traced_beta_derivatives(a, b, x, rest):
    both, one = _large_masks(a, b)

    def computed(any_large):
        with tf.GradientTape() as tape:
            tape.watch([a, b])
            below, _ = _beta_tails_by_size(both, one, any_large, a, b, x, rest)
        return tape.gradient(below, [a, b])

    return _if_any(both | one, computed)


def _large_masks(a, b):
    # The first mask is True where both parameters are at least `LARGE`. The second mask is True where the first mask is
    # False and `b` is at least `_LARGE_PARAMETER`.
    both = tf.minimum(a, b) >= LARGE
    return both, ~both & (b >= _LARGE_PARAMETER)


def _beta_tails_by_size(both, one, any_large, a, b, x, rest):
    zeros = _derivatives_only(~both, a, b, x)

    def with_derivatives(tails):
        return tf.stop_gradient(tails[0]) + zeros, tf.stop_gradient(tails[1]) - zeros

    ordinary = with_derivatives(_beta_by_series(~(both | one), a, b, x, rest))
    if not any_large:
        return ordinary
    by_gamma = with_derivatives(_beta_by_gamma(one, a, b, x))
    return _where(both, _beta_by_quadrature(both, a, b, x, rest), _where(one, by_gamma, ordinary))


@without_slopes
def _beta_derivatives(a, b, x, rest):
    return _traced_beta_derivatives(a, b, x, rest)


def _if_any(rows: tf.Tensor, computed: Callable[[bool], Sequence[tf.Tensor]]) -> Tails:
    """Returns `computed(True)` if any row is selected, else `computed(False)`, which omits the costly quadrature.

    If derivatives are needed, `computed` must compute and return them itself, because XLA cannot compile the derivative
    of a `tf.cond` if the `tf.cond` is in a `tf.function` that another `tf.function` calls.
    """
    first, second = tf.cond(tf.reduce_any(rows), lambda: list(computed(True)), lambda: list(computed(False)))
    return first, second


def _where(rows, tails, others):
    return tf.where(rows, tails[0], others[0]), tf.where(rows, tails[1], others[1])


def _integral(log_ratio, slope, curvature, right):
    """Integrates `exp(log_ratio(v))` over the positive or the negative numbers `v`.

    Each element of `right` is True for the integral over the positive numbers, and False for the negative numbers.

    `log_ratio` is nearly quadratic. `log_ratio(0)` is 0, and `log_ratio` falls along the range of the integral. At 0,
    the absolute value of its first derivative is `abs(slope)`, and its second derivative is `-curvature`. From these
    numbers we compute the distance from 0 at which `log_ratio` is about `-_NATS`. The integral ends at this distance.
    """
    slope = tf.abs(slope)
    reach = 2 * _NATS / (slope + tf.sqrt(tf.square(slope) + 2 * _NATS * curvature))
    reach = tf.stop_gradient(reach)[..., None]
    values = tf.exp(log_ratio(tf.where(right[..., None], reach, -reach) * _NODES))
    return tf.reduce_sum(values * _WEIGHTS, -1) * reach[..., 0]


def _tails_from(tail, right):
    return tf.where(right, 1 - tail, tail), tf.where(right, tail, 1 - tail)


def _gamma_by_quadrature(rows, shape, x):
    shape = tf.where(rows, shape, _LARGE_SHAPE)
    x = tf.clip_by_value(tf.where(rows, x, _LARGE_SHAPE), shape / 20, shape * 8)  # outside these bounds, one tail is 0
    right = x > shape
    x_column, shape_column = x[..., None], shape[..., None]
    integral = _integral(lambda v: shape_column * v - x_column * tf.math.expm1(v), shape - x, x, right)
    return _tails_from(integral * tf.exp(gamma_stirling(shape, x)), right)


def _beta_by_quadrature(rows, a, b, x, rest):
    a, b = tf.where(rows, a, LARGE), tf.where(rows, b, LARGE)
    x, rest = tf.where(rows, x, 0.5), tf.where(rows, rest, 0.5)
    distance = b * x - a * rest
    right = distance > 0
    x_column, a_column, total_column = x[..., None], a[..., None], (a + b)[..., None]

    def log_ratio(v):
        return a_column * v - total_column * tf.math.log1p(x_column * tf.math.expm1(v))

    integral = _integral(log_ratio, distance, (a + b) * x * rest, right)
    return _tails_from(integral * tf.exp(beta_stirling(a, b, x, rest)), right)


def _beta_by_series(rows, a, b, x, rest):
    """Computes the tails by TensorFlow's series.

    Because `x <= rest`, `x` has a smaller rounding error than `rest`. So the lower tail is computed from `x`, and the
    upper tail is 1 minus the lower tail. This subtraction loses digits if the upper tail is small. So an upper tail
    below 0.001 is computed from `rest`.
    """
    a, b = (tf.stop_gradient(tf.where(rows, part, 1.0)) for part in (a, b))
    x, rest = (tf.stop_gradient(tf.where(rows, part, 0.5)) for part in (x, rest))
    below = tf.math.betainc(a, b, x)
    return below, tf.where(below < 0.999, 1 - below, tf.math.betainc(b, a, rest))


def _beta_by_gamma(rows, a, b, x):
    """Computes the tails by an incomplete gamma function.

    `T = -log(1 - X)` is nearly a Gamma variable of shape `a` and rate `b + (a - 1) / 2`. The exact density of `T` at
    `t` is proportional to the Gamma density times `(sinh(t / 2) / (t / 2))^(a - 1) = 1 + c_1 t^2 + c_2 t^4 + ...`. We
    use the terms up to `t^4`.
    """
    a, b, x = tf.where(rows, a, 1.0), tf.where(rows, b, _LARGE_PARAMETER), tf.where(rows, x, 1 / _LARGE_PARAMETER)
    rate = b + (a - 1) / 2
    u = -rate * tf.math.log1p(-x)
    terms = [tf.ones_like(u)]
    for j in (1, 2, 3):
        terms.append(terms[-1] * u / (a + j))
    mean_t2 = a * (a + 1) / tf.square(rate)  # the mean of t^2 under the Gamma density; `mean_t4` is the mean of t^4
    mean_t4 = mean_t2 * (a + 2) * (a + 3) / tf.square(rate)
    term2 = (a - 1) / 24 * mean_t2
    term4 = ((a - 1) / 1152 - 1 / 2880) * (a - 1) * mean_t4
    correction = term2 * sum(terms[:2]) + term4 * sum(terms)
    correction *= tf.exp(log_gamma_kernel(a, u)) / (a * (1 + term2 + term4))
    return tf.math.igamma(a, u) - correction, tf.math.igammac(a, u) + correction


def _derivatives_only(rows, a, b, x):
    """Returns zeros whose derivatives in the selected `rows` are those of the incomplete beta function.

    The derivatives are TFP's. If `a` or `b` is an integer, a term of TFP's series is 0, and TFP stops adding
    derivatives at this term. So we differentiate 1e-8 away from integers, where the result has seven correct digits.
    """
    a, b, x = tf.where(rows, a, 1.5), tf.where(rows, b, 1.5), tf.where(rows, x, 0.5)
    value = tfp.math.betainc(_off_integers(a), _off_integers(b), x)
    return value - tf.stop_gradient(value)


def _off_integers(x):
    fixed = tf.stop_gradient(x)
    whole = tf.round(fixed)
    return x + tf.where(tf.abs(fixed - whole) < _DISTANCE_FROM_INTEGERS, whole + _DISTANCE_FROM_INTEGERS - fixed, 0.0)
