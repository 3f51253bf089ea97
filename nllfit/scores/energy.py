"""The energy score: the CRPS of outcomes whose elements depend on each other, from samples."""

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

__all__ = ["energy_score"]


def energy_score(distribution: tfd.Distribution, y: tf.Tensor, num_samples: int = 256, seed: int = 0) -> tf.Tensor:
    """`E|X - y| - E|X - X'| / 2` with Euclidean distances, for one outcome of any shape, by `num_samples` draws.

    `X'` is the draw after `X`, so the estimate is unbiased, at a cost proportional to `num_samples`. Its error is about
    the spread of the distribution divided by `sqrt(num_samples)`. The same seed gives the same draws in each call.

    Args:
      distribution: of batch `[*batch]` and event `[*event]`.
      y: outcomes, `[*batch, *event]`.
      num_samples: the number of draws.
      seed: of the draws.

    Returns:
      `[*batch]`. It has a gradient where TFP's draws have one.

    Source: Gneiting and Raftery, Strictly proper scoring rules, prediction, and estimation, 2007.
    """
    draws = distribution.sample(num_samples, seed=tf.constant([seed, 0], tf.int32))
    axes = list(range(-distribution.event_shape.rank, 0))

    def distance(difference):
        squared = tf.reduce_sum(tf.square(difference), axes)
        return tf.sqrt(tf.maximum(squared, np.finfo(squared.dtype.as_numpy_dtype).tiny))  # 0 has no derivative

    to_outcome = tf.reduce_mean(distance(draws - y), 0)
    return to_outcome - tf.reduce_mean(distance(draws - tf.roll(draws, 1, 0)), 0) / 2
