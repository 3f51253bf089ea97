"""Regularized incomplete gamma and beta functions: both tails, for parameters of any size.

TensorFlow's series stop after a fixed number of terms and subtract values of `lgamma`: near the mean `tf.math.igamma`
is wrong by 4e-6 at a shape of 2e5 and by 0.26 at 1e7. This module uses them for ordinary parameters only:

- A large gamma shape, or two large beta parameters: the density of `log x` (of the logit of `x`) is close to a Normal
  density. Gauss-Legendre quadrature integrates it over the smaller tail. Rounding leaves a relative error of about
  `1e-16 sqrt(shape)`, times the number of standard deviations from the mean.
- One large beta parameter: an incomplete gamma function and the first two terms of its asymptotic correction.

All functions compute in float64 and return the dtype of `x`. Their values and slopes are `tf.function`s of vectors,
which TensorFlow traces once in a process: the Hessian of a censored likelihood calls them some thirty times.

Source: DiDonato and Morris, Algorithm 708: Significant digit computation of the incomplete beta function ratios, 1992,
for Stirling's formula with its cancellation removed, and for the expansion in incomplete gamma functions.
"""

import functools
import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

__all__ = ["beta_tails", "gamma_tails", "log_beta_kernel", "log_gamma_kernel"]

Tails = tuple[tf.Tensor, tf.Tensor]

_LARGE_SHAPE = 1e3  # of a gamma distribution, where TensorFlow still has 12 digits
_LARGE_BOTH = 1e2  # of the smaller beta parameter, where the density of the logit is close to a Normal density
_LARGE_ONE = 1e5  # of the larger beta parameter, where TensorFlow still has 9 digits
_NODES, _WEIGHTS = (np.polynomial.legendre.leggauss(24) + np.array([[1.0], [0.0]])) / 2
_NATS = 50.0  # below the density at its start, a Normal tail has no more digits to give
_TINY = np.finfo(np.float64).tiny
_ASIDE = 1e-8


def _traced_once(function):
    """A function of float64 tensors of one shape, elementwise, as one program for all shapes."""
    programs = {}  # by the number of arguments, which is one

    @functools.wraps(function)
    def called(*values):
        if not programs:
            signature = [tf.TensorSpec([None], tf.float64)] * len(values)
            programs[len(values)] = tf.function(function, signature, autograph=False)
        results = programs[len(values)](*(tf.reshape(value, [-1]) for value in values))
        return tf.nest.map_structure(lambda result: _like(result, values[0]), results)

    return called


def _like(vector, tensor):
    result = tf.reshape(vector, tf.shape(tensor))
    result.set_shape(tensor.shape)
    return result


def _without_slopes(function):
    """A function whose derivatives are a `LookupError`: TensorFlow has none, or only after seconds of tracing."""

    @tf.custom_gradient
    def called(*values):
        def slopes(*_):
            raise LookupError("Incomplete functions have no second derivatives that involve a parameter.")

        return function(*map(tf.stop_gradient, values)), slopes

    return called


def gamma_tails(shape: tf.Tensor, x: tf.Tensor) -> Tails:
    """`P(X <= x)` and `P(X > x)` of a Gamma distribution of rate 1.

    They have all derivatives by `x`, and the first by `shape`; either has relative accuracy where it is small.

    Args:
      shape: positive, of a shape that broadcasts with that of `x`.
      x: not negative.
    """
    return _as(x.dtype, _gamma(*_in_float64(shape, x)))


def beta_tails(a: tf.Tensor, b: tf.Tensor, x: tf.Tensor, rest: tf.Tensor) -> Tails:
    """`P(X <= x)` and `P(X > x)` of a Beta distribution.

    They have all derivatives by `x`, and the first by `a` and `b`; either has relative accuracy where it is small.

    Args:
      a, b: positive, of shapes that broadcast with that of `x`.
      x: between 0 and 1.
      rest: `1 - x`, which the caller may know to more digits than the difference has.
    """
    a, b, value, rest = _in_float64(a, b, x, rest)
    swapped = value > rest
    first, second = tf.where(swapped, b, a), tf.where(swapped, a, b)
    value, rest = tf.maximum(tf.where(swapped, rest, value), _TINY), tf.where(swapped, value, rest)
    below, above = _beta(first, second, value, rest)
    return _as(x.dtype, (tf.where(swapped, above, below), tf.where(swapped, below, above)))


def log_gamma_kernel(shape: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    """`log(x^shape exp(-x) / Gamma(shape))`, the log-density of `log X` of a Gamma distribution of rate 1."""
    return tf.cast(_log_gamma_kernel(*_in_float64(shape, x)), x.dtype)


@_traced_once
def _log_gamma_kernel(shape, x):
    large = (shape >= _LARGE_BOTH) & (x > shape / 2)
    direct = shape * tf.math.log(tf.maximum(x, _TINY)) - x - tf.math.lgamma(shape)
    stirling = _gamma_stirling(tf.where(large, shape, _LARGE_BOTH), tf.where(large, x, _LARGE_BOTH))
    return tf.where(large, stirling, direct)


def log_beta_kernel(a: tf.Tensor, b: tf.Tensor, x: tf.Tensor, rest: tf.Tensor) -> tf.Tensor:
    """`log(x^a rest^b / B(a, b))`, the log-density of the logit of a Beta distribution."""
    return tf.cast(_log_beta_kernel(*_in_float64(a, b, x, rest)), x.dtype)


@_traced_once
def _log_beta_kernel(a, b, x, rest):
    large = (tf.minimum(a, b) >= _LARGE_BOTH) & (tf.minimum(x / a, rest / b) * (a + b) > 0.5)
    left = x < rest
    smaller = tf.where(left, x, rest)
    log_low, log_high = tf.math.log(tf.maximum(smaller, _TINY)), tf.math.log1p(-smaller)
    direct = a * tf.where(left, log_low, log_high) + b * tf.where(left, log_high, log_low) - tfp.math.lbeta(a, b)
    a, b = (tf.where(large, size, _LARGE_BOTH) for size in (a, b))
    x, rest = (tf.where(large, part, 0.5) for part in (x, rest))
    return tf.where(large, _beta_stirling(a, b, x, rest), direct)


def _in_float64(*values):
    cast = [tf.cast(value, tf.float64) for value in values]
    zeros = tf.zeros_like(sum(cast[1:], cast[0]))  # TensorFlow's functions do not broadcast
    return [value + zeros for value in cast]


def _as(dtype, tails):
    return tf.cast(tails[0], dtype), tf.cast(tails[1], dtype)


@tf.custom_gradient
def _gamma(shape, x):
    def slopes(by_below, by_above):
        by_tail = by_below - by_above
        density = tf.exp(log_gamma_kernel(shape, x)) / tf.maximum(x, _TINY)
        return by_tail * _gamma_by_shape(shape, x), by_tail * density

    return _gamma_values(shape, x), slopes


def _gamma_pair(shape, x):
    large = shape >= _LARGE_SHAPE
    ordinary, inside = tf.where(~large, shape, 1.0), tf.where(~large, x, 1.0)
    tails = tf.math.igamma(ordinary, inside), tf.math.igammac(ordinary, inside)
    return _if_any(large, lambda tails: _where(large, _gamma_by_quadrature(large, shape, x), tails), tails)


_gamma_values = _traced_once(_gamma_pair)


@_traced_once
def _gamma_slope(shape, x):
    with tf.GradientTape() as tape:
        tape.watch(shape)
        below, _ = _gamma_pair(shape, x)
    return tape.gradient(below, shape)


@_without_slopes
def _gamma_by_shape(shape, x):
    return _gamma_slope(shape, x)


@tf.custom_gradient
def _beta(a, b, x, rest):
    """For `x <= rest`. The derivative by `x` is that where `rest` is `1 - x`; that by `rest` is 0."""

    def slopes(by_below, by_above):
        by_tail = by_below - by_above
        density = tf.exp(log_beta_kernel(a, b, x, rest)) / (x * rest)
        by_a, by_b = _beta_by_parameters(a, b, x, rest)
        return by_tail * by_a, by_tail * by_b, by_tail * density, tf.zeros_like(rest)

    return _beta_values(a, b, x, rest), slopes


def _beta_pair(a, b, x, rest):
    both = tf.minimum(a, b) >= _LARGE_BOTH
    one = ~both & (b >= _LARGE_ONE)
    change = _without_value(~both, a, b, x)

    def moved(tails):
        return tf.stop_gradient(tails[0]) + change, tf.stop_gradient(tails[1]) - change

    def special(ordinary):
        by_gamma = moved(_beta_by_gamma(one, a, b, x))
        return _where(both, _beta_by_quadrature(both, a, b, x, rest), _where(one, by_gamma, ordinary))

    return _if_any(both | one, special, moved(_beta_by_series(~(both | one), a, b, x, rest)))


_beta_values = _traced_once(_beta_pair)


@_traced_once
def _beta_slopes(a, b, x, rest):
    with tf.GradientTape() as tape:
        tape.watch([a, b])
        below, _ = _beta_pair(a, b, x, rest)
    return tape.gradient(below, [a, b])


@_without_slopes
def _beta_by_parameters(a, b, x, rest):
    return _beta_slopes(a, b, x, rest)


def _if_any(rows: tf.Tensor, special: Callable[[Tails], Tails], tails: Tails) -> Tails:
    """`special(tails)` if there are such rows: it costs 24 densities for each element."""
    below, above = tf.cond(tf.reduce_any(rows), lambda: list(special(tails)), lambda: list(tails))
    return below, above


def _where(rows, tails, others):
    return tf.where(rows, tails[0], others[0]), tf.where(rows, tails[1], others[1])


def _gamma_stirling(shape, x):
    excess = (tf.minimum(x, 1e300) - shape) / shape
    deviance = shape * (excess - tf.math.log1p(excess)) + _stirling_error(shape)
    return tf.math.log(shape / (2 * math.pi)) / 2 - deviance


def _beta_stirling(a, b, x, rest):
    total, distance = a + b, b * x - a * rest
    first, second = (tf.maximum(part, -1 + 2.0**-52) for part in (distance / a, -distance / b))
    deviance = a * (first - tf.math.log1p(first)) + b * (second - tf.math.log1p(second))
    errors = _stirling_error(a) + _stirling_error(b) - _stirling_error(total)
    return tf.math.log(a / total * b / (2 * math.pi)) / 2 - deviance - errors


def _stirling_error(x):
    """`log Gamma(x) - (x - 1/2) log x + x - log(2 pi) / 2` from `_LARGE_BOTH` on, to 13 digits of a probability."""
    return (1 / 12 - 1 / (360 * tf.square(x))) / x


def _integral(log_ratio, slope, curvature, right):
    """`integral of exp(log_ratio(v))` from 0 outwards, of a density that is close to a Normal one there."""
    slope = tf.abs(slope)
    reach = 2 * _NATS / (slope + tf.sqrt(tf.square(slope) + 2 * _NATS * curvature))
    reach = tf.stop_gradient(reach)[..., None]
    values = tf.exp(log_ratio(tf.where(right[..., None], reach, -reach) * _NODES))
    return tf.reduce_sum(values * _WEIGHTS, -1) * reach[..., 0]


def _sides(tail, right):
    return tf.where(right, 1 - tail, tail), tf.where(right, tail, 1 - tail)


def _gamma_by_quadrature(rows, shape, x):
    shape = tf.where(rows, shape, _LARGE_SHAPE)
    x = tf.clip_by_value(tf.where(rows, x, _LARGE_SHAPE), shape / 20, shape * 8)  # beyond there is no probability
    right = x > shape
    of_nodes, size = x[..., None], shape[..., None]
    part = _integral(lambda v: size * v - of_nodes * tf.math.expm1(v), shape - x, x, right)
    return _sides(part * tf.exp(_gamma_stirling(shape, x)), right)


def _beta_by_quadrature(rows, a, b, x, rest):
    a, b = tf.where(rows, a, _LARGE_BOTH), tf.where(rows, b, _LARGE_BOTH)
    x, rest = tf.where(rows, x, 0.5), tf.where(rows, rest, 0.5)
    distance = b * x - a * rest
    right = distance > 0
    of_nodes, size, total = x[..., None], a[..., None], (a + b)[..., None]

    def log_ratio(v):
        return size * v - total * tf.math.log1p(of_nodes * tf.math.expm1(v))

    part = _integral(log_ratio, distance, (a + b) * x * rest, right)
    return _sides(part * tf.exp(_beta_stirling(a, b, x, rest)), right)


def _beta_by_series(rows, a, b, x, rest):
    """TensorFlow's. `x <= rest` has digits that `rest` has lost, so that only a tiny upper tail is that of `rest`."""
    a, b = (tf.stop_gradient(tf.where(rows, part, 1.0)) for part in (a, b))
    x, rest = (tf.stop_gradient(tf.where(rows, part, 0.5)) for part in (x, rest))
    below = tf.math.betainc(a, b, x)
    return below, tf.where(below < 0.999, 1 - below, tf.math.betainc(b, a, rest))


def _beta_by_gamma(rows, a, b, x):
    """`-log(1 - X)` is nearly a Gamma variable of shape `a` and rate `b + (a - 1) / 2`.

    Its density is that times `(sinh(t / 2) / (t / 2))^(a - 1) = 1 + c_1 t^2 + c_2 t^4 + ...`.
    """
    a, b, x = tf.where(rows, a, 1.0), tf.where(rows, b, _LARGE_ONE), tf.where(rows, x, 1 / _LARGE_ONE)
    rate = b + (a - 1) / 2
    u = -rate * tf.math.log1p(-x)
    terms = [tf.ones_like(u)]
    for j in (1, 2, 3):
        terms.append(terms[-1] * u / (a + j))
    squared = a * (a + 1) / tf.square(rate)  # of t, on average
    fourth = squared * (a + 2) * (a + 3) / tf.square(rate)
    first = (a - 1) / 24 * squared
    second = ((a - 1) / 1152 - 1 / 2880) * (a - 1) * fourth
    correction = first * sum(terms[:2]) + second * sum(terms)
    correction *= tf.exp(log_gamma_kernel(a, u)) / (a * (1 + first + second))
    return tf.math.igamma(a, u) - correction, tf.math.igammac(a, u) + correction


def _without_value(rows, a, b, x):
    """0, with the derivatives of the incomplete beta function in some rows.

    They are TFP's. At a whole number a term of its series is 0, at which the sum of the derivatives of all terms stops;
    there this function takes those at a distance of 1e-8, where that sum has seven digits.
    """
    a, b, x = tf.where(rows, a, 1.5), tf.where(rows, b, 1.5), tf.where(rows, x, 0.5)
    value = tfp.math.betainc(_aside(a), _aside(b), x)
    return value - tf.stop_gradient(value)


def _aside(x):
    fixed = tf.stop_gradient(x)
    whole = tf.round(fixed)
    return x + tf.where(tf.abs(fixed - whole) < _ASIDE, whole + _ASIDE - fixed, 0.0)
