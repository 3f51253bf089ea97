"""The energy score, which generalizes the CRPS to outcomes that are vectors. It is estimated from draws."""

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

__all__ = ["energy_score"]


def energy_score(distribution: tfd.Distribution, y: tf.Tensor, num_samples: int = 256, seed: int = 0) -> tf.Tensor:
    """Estimates the energy score of each outcome from draws: `E|X - y| - E|X - X'| / 2`.

    `|...|` is the Euclidean norm. The mean of `|X - X'|` is taken over pairs of successive draws. The two draws of a
    pair are independent, so the estimate is unbiased. The cost is proportional to `num_samples`. The error of the
    estimate is about the standard deviation of the distribution divided by `sqrt(num_samples)`.

    Args:
      distribution: a distribution of batch `[*batch]` and event `[*event]`.
      y: outcomes, `[*batch, *event]`.
      num_samples: the number of draws.
      seed: the seed of the draws. The same seed gives the same draws in each call.

    Returns:
      The scores `[*batch]`. They have a gradient if TFP's draws from the distribution have one.

    Source: Gneiting and Raftery, Strictly proper scoring rules, prediction, and estimation, 2007.
    """
    draws = distribution.sample(num_samples, seed=tf.constant([seed, 0], tf.int32))
    axes = list(range(-distribution.event_shape.rank, 0))

    def distance(difference):
        squared = tf.reduce_sum(tf.square(difference), axes)
        # The derivative of the square root at 0 is infinite, and the gradient of a distance of 0 would be NaN.
        return tf.sqrt(tf.maximum(squared, np.finfo(squared.dtype.as_numpy_dtype).tiny))

    to_outcome = tf.reduce_mean(distance(draws - y), 0)
    return to_outcome - tf.reduce_mean(distance(draws - tf.roll(draws, 1, 0)), 0) / 2
