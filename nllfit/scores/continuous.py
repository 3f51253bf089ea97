"""CRPS of continuous families in closed form: `(distribution, y) -> crps`, all `[*batch]` in float64.

Source: Jordan, Krueger and Lerch, Evaluating probabilistic forecasts with scoringRules, 2019, appendix A, if no other
is named.
"""

import math

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.scores.mixtures import expected_distance

__all__ = ["CONTINUOUS"]


def _normal(d: tfd.Normal, y: tf.Tensor) -> tf.Tensor:
    return expected_distance(y - d.loc, d.scale) - d.scale / math.sqrt(math.pi)


CONTINUOUS = {
    "Normal": _normal,
}
