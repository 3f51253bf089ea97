"""The closed form of the CRPS of a mixture of Normals, LogNormals or Gammas."""

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

__all__ = ["crps_by_pairs", "expected_distance"]

_BLOCK = 16  # to limit memory, the matrix of all pairs of components is computed in blocks of this many rows


def crps_by_pairs(
    components: Any, probs: tf.Tensor, y: tf.Tensor, mean_minimum: Callable[[Any, Any], tf.Tensor]
) -> tf.Tensor:
    """Returns the CRPS of a mixture, `[*batch]`: `sum_k p_k (CRPS_k - m_kk) + sum_kl p_k p_l m_kl`.

    Here `m_kl` is the mean of `min(X, X')` for a draw `X` from component `k` and an independent draw `X'` from
    component `l`. The formula for the CRPS of a mixture follows from the definition of the CRPS,
    `E|X - y| - E|X - X'| / 2`, and from `|X - X'| = X + X' - 2 min(X, X')`.

    Args:
      components: the `Law` of the components, of batch `[*batch, num_components]`.
      probs: the weights of the components, `[*batch, num_components]`.
      y: `[*batch]`, in float64.
      mean_minimum: `Facts.mean_minimum` of the components' family.

    Source: Grimit, Gneiting, Berrocal and Johnson, The continuous ranked probability score for circular variables and
    its application to mesoscale forecast ensemble verification, 2006.
    """
    d = components.distribution
    # A component of weight 0 may have an infinite score.
    score = tf.reduce_sum(tf.math.multiply_no_nan(components.crps(y[..., None]) - mean_minimum(d, d), probs), -1)
    size = d.batch_shape[-1]
    for block in [slice(i, i + _BLOCK) for i in range(0, size, _BLOCK)] if size else [slice(None)]:
        minima = mean_minimum(d[..., block, tf.newaxis], d[..., tf.newaxis, :])
        weights = probs[..., block, tf.newaxis] * probs[..., tf.newaxis, :]
        score += tf.reduce_sum(tf.math.multiply_no_nan(minima, weights), [-2, -1])
    return score


def expected_distance(mean: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """Returns the mean of `|X|` for a Normal `X`."""
    z = mean / (scale * math.sqrt(2))
    return mean * tf.math.erf(z) + scale * math.sqrt(2 / math.pi) * tf.exp(-tf.square(z))
