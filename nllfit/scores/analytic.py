"""Functions that formulas write as 0 / 0 somewhere, computed with all digits there."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

__all__ = ["across", "expm1_ratio", "log1p_ratio"]

_STEP = 3e-3
_NODES = np.array([-3.0, -2.0, -1.0, 1.0, 2.0, 3.0])


def expm1_ratio(x: tf.Tensor) -> tf.Tensor:
    """`(exp(x) - 1) / x`, 1 at 0."""
    small = tf.abs(x) < 1e-5
    safe = tf.where(small, tf.ones_like(x), x)
    return tf.where(small, 1 + x / 2 + tf.square(x) / 6, tf.math.expm1(safe) / safe)


def log1p_ratio(x: tf.Tensor) -> tf.Tensor:
    """`log(1 + x) / x`, 1 at 0."""
    small = tf.abs(x) < 1e-5
    safe = tf.where(small, tf.ones_like(x), x)
    return tf.where(small, 1 - x / 2 + tf.square(x) / 3, tf.math.log1p(safe) / safe)


def across(function: Callable[[tf.Tensor], tf.Tensor], x: tf.Tensor, hole: tf.Tensor | float) -> tf.Tensor:
    """`function(x)` of a function without a singularity, whose formula is 0 / 0 at `hole` and inexact around it.

    Nearer than 0.003 it is the polynomial through six points around: for a function that is smooth on a scale of 0.5
    both the error of the polynomial and that of the formula at those points are about 1e-13.
    """
    hole = hole + tf.zeros_like(x)
    near = tf.abs(x - hole) < _STEP
    place = tf.where(near, x - hole, 0.0) / _STEP
    total = tf.zeros_like(x)
    for node in _NODES:
        others = [(place - other) / (node - other) for other in _NODES if other != node]
        total += tf.reduce_prod(tf.stack(others), 0) * function(hole + node * _STEP)
    return tf.where(near, total, function(tf.where(near, hole + _STEP, x)))
