"""Functions that TensorFlow does not have, or whose values or derivatives it computes inaccurately."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

__all__ = [
    "across",
    "expm1_ratio",
    "log1mexp",
    "log1p_ratio",
    "where_safe",
]


_LOG_2 = math.log(2)

# Near the point `hole`, where the formula of a function is 0 / 0, `across` interpolates between the values of the
# function at the points `hole + _STEP * _NODES`.
_STEP = 3e-3
_NODES = np.array([-3.0, -2.0, -1.0, 1.0, 2.0, 3.0])


def where_safe(
    condition: tf.Tensor, function: Callable[[tf.Tensor], tf.Tensor], x: tf.Tensor, safe: Any, otherwise: Any
) -> tf.Tensor:
    """Returns `function(x)` where a condition holds, and `otherwise` elsewhere. This is the double-where trick.

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


def across(function: Callable[[tf.Tensor], tf.Tensor], x: tf.Tensor, hole: tf.Tensor | float) -> tf.Tensor:
    """Evaluates a smooth function whose formula is 0 / 0 at `hole` and inexact near `hole`.

    `hole` is a removable singularity. Within 0.003 of `hole`, the function is interpolated by a polynomial through six
    points around `hole`. The error is about 1e-13 if the function changes little over distances below 0.5.
    """
    hole = hole + tf.zeros_like(x)
    near = tf.abs(x - hole) < _STEP
    offset = tf.where(near, x - hole, 0.0) / _STEP
    polynomial = tf.zeros_like(x)
    for node in _NODES:
        factors = [(offset - other_node) / (node - other_node) for other_node in _NODES if other_node != node]
        polynomial += tf.reduce_prod(tf.stack(factors), 0) * function(hole + node * _STEP)
    return tf.where(near, polynomial, function(tf.where(near, hole + _STEP, x)))
