"""Corrects a derivative of TFP's log-densities if the density contains a power of `y`.

TFP computes the logarithm of `y^(a - 1)` by `tf.math.xlogy(a - 1, y)`. At `a = 1`, TensorFlow's derivative of this term
with respect to `a` is 0 instead of `log y`. A network with the link `exp` often starts at `a = 1`.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.families.numerics import where_safe

__all__ = ["at_power_zero", "derivative_correction"]

LogProb = Callable[[Any, tf.Tensor], tf.Tensor]


def derivative_correction(exponent: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Returns zeros whose derivative with respect to the exponent is `log y` where the exponent is 0 and `y > 0`."""
    is_missing = (exponent == 0) & (y > 0)
    return where_safe(is_missing, lambda y: exponent * tf.math.log(y), y, 1.0, tf.zeros_like(y))


def at_power_zero(
    cls: type[tfd.Distribution], powers: Callable[[Any, tf.Tensor], list[tuple[tf.Tensor, tf.Tensor]]]
) -> LogProb:
    """Returns TFP's log-density of a class, with derivatives that are correct also where an exponent is 0.

    Args:
      cls: the class of the distributions.
      powers: maps a distribution and outcomes to one pair `(exponent, base)` for each power in the density.
    """

    def log_prob(distribution, y):
        return sum((derivative_correction(*power) for power in powers(distribution, y)), cls._log_prob(distribution, y))

    return log_prob
