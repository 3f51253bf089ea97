"""TFP's log-densities with the derivatives that they lack.

TFP's derivative by a concentration is wrong where the concentration is 1, as it is at first if a network sets it by
the link `exp`: `tf.math.xlogy(a - 1, y)` has the derivative 0 there, and `log y` is right.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

__all__ = ["at_power_zero", "lacking"]

LogProb = Callable[[Any, tf.Tensor], tf.Tensor]


def lacking(exponent: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """0, with the derivative `log y` where the exponent is 0."""
    there = (exponent == 0) & (y > 0)
    # Double where: the logarithm of 0 would make the gradient of the branch not taken NaN.
    return tf.where(there, exponent * tf.math.log(tf.where(there, y, tf.ones_like(y))), tf.zeros_like(y))


def at_power_zero(
    cls: type[tfd.Distribution], powers: Callable[[Any, tf.Tensor], list[tuple[tf.Tensor, tf.Tensor]]]
) -> LogProb:
    """TFP's log-density of a class, with its derivatives where an exponent is 0.

    Args:
      cls: of the distributions.
      powers: from a distribution and outcomes to the pairs of an exponent and its base in the density.
    """

    def log_prob(distribution, y):
        return sum((lacking(*power) for power in powers(distribution, y)), cls._log_prob(distribution, y))

    return log_prob
