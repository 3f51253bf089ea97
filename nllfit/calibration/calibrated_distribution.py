"""The base class of calibrated scalar distributions. Quantiles, samples and moments come from Normal scores.

The Normal score of a probability `p` is `Phi^-1(p)`. A score is precise in both tails. A probability is not: in
float64, `1 - 1e-17` is rounded to 1.
"""

import abc
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd
from tensorflow_probability import util as tfpu

from nllfit.families.discreteness import is_discrete, line
from nllfit.families.law import law_of
from nllfit.families.wrapped_distribution import DistributionOf

__all__ = ["CalibratedDistribution", "normal", "quantiles_at", "scores_of", "with_knots"]

_LARGEST_SCORE = 37.0  # `P(Z > 37)` is 6e-300, near the smallest positive float64
_MOMENT_SCORES = np.arange(-7, 7.25, 0.25)  # a moment is a weighted sum over the quantiles at these scores
_MOMENT_WEIGHTS = np.exp(-(_MOMENT_SCORES**2) / 2) / np.exp(-(_MOMENT_SCORES**2) / 2).sum()


def normal() -> tfd.Normal:
    """The standard Normal, in float64."""
    return tfd.Normal(tf.zeros([], tf.float64), 1.0)


def scores_of(distribution: tfd.Distribution, y: Any) -> tf.Tensor:
    """Returns the Normal scores `Phi^-1(F(y))` of outcomes under a scalar distribution, in float64."""
    tails = law_of(distribution).cdf()(tf.cast(y, distribution.dtype))
    below, above = (tf.cast(part, tf.float64) for part in tails)
    return _clipped(tf.where(below < above, tf.math.ndtri(below), -tf.math.ndtri(above)))


def quantiles_at(distribution: tfd.Distribution, scores: tf.Tensor) -> tf.Tensor:
    """Returns the quantiles of a scalar distribution, in float64. Their probabilities are given as Normal scores."""
    scores = _clipped(scores)
    return tf.cast(law_of(distribution).quantile(normal().cdf(scores), normal().cdf(-scores)), tf.float64)


def with_knots(*names: str) -> dict[str, Any]:
    """Returns the `_parameter_properties` of a calibrated distribution.

    The parameters are `distribution`, and a vector `[*batch, k]` of knots for each of `names`. Knots are points through
    which a correction passes.
    """
    knots = dict.fromkeys(names, tfpu.ParameterProperties(event_ndims=1))
    return {"distribution": tfpu.BatchedComponentProperties(), **knots}


def _clipped(scores):
    return tf.clip_by_value(scores, -_LARGEST_SCORE, _LARGEST_SCORE)


class CalibratedDistribution(DistributionOf):
    """A scalar distribution that transforms another one. The results are computed in float64 and cast to `dtype`.

    A subclass defines `_log_prob`, `_cdf`, `_survival_function` and `_at_scores`.
    """

    @abc.abstractmethod
    def _at_scores(self, scores):
        """Returns the quantiles in float64. Their probabilities are given as Normal scores."""

    def _quantile(self, q):
        return tf.cast(self._at_scores(tf.math.ndtri(tf.cast(q, tf.float64))), self.dtype)

    def _sample_n(self, n, seed=None):
        shape = tf.concat([[n], self.batch_shape_tensor()], 0)
        return tf.cast(self._at_scores(normal().sample(shape, seed)), self.dtype)

    def _moments(self):
        shape = [-1, *[1] * self.batch_shape.rank]
        y, weights = (
            self._at_scores(tf.constant(_MOMENT_SCORES.reshape(shape))),
            tf.constant(_MOMENT_WEIGHTS.reshape(shape)),
        )
        mean = tf.reduce_sum(weights * y, 0)
        return mean, tf.reduce_sum(weights * tf.square(y - mean), 0)

    def _mean(self):
        return self._where_finite(self.distribution.mean(), self._moments()[0])

    def _variance(self):
        return self._where_finite(self.distribution.variance(), self._moments()[1])

    def _where_finite(self, uncalibrated_moment, moment):
        return tf.cast(tf.where(tf.math.is_finite(uncalibrated_moment), moment, np.nan), self.dtype)

    def _default_event_space_bijector(self):
        return None if is_discrete(self.distribution) else line(self.distribution) or tfb.Identity()
