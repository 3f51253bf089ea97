"""The closed form of the CRPS of a mixture of Normals, LogNormals or Gammas."""

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

__all__ = ["crps_by_pairs", "expected_distance"]

_BLOCK = 16  # to limit memory, the matrix of all pairs of components is computed in blocks of this many rows


def crps_by_pairs(
    components: Any, probs: tf.Tensor, y: tf.Tensor, mean_distance: Callable[[Any, Any], tf.Tensor]
) -> tf.Tensor:
    """Returns the CRPS `E|X - y| - E|X - X'| / 2` of a mixture, `[*batch]`.

    `X` and `X'` are independent draws. Each expectation is a weighted sum: over the components, and over all pairs of
    components. For one component, `E|X - y|` is its CRPS plus half of its own `E|X - X'|`.

    Args:
      components: the `Law` of the components, of batch `[*batch, num_components]`.
      probs: the weights of the components, `[*batch, num_components]`.
      y: `[*batch]`, in float64.
      mean_distance: `Facts.mean_distance` of the components' family.

    Source: Grimit, Gneiting, Berrocal and Johnson, The continuous ranked probability score for circular variables and
    its application to mesoscale forecast ensemble verification, 2006.
    """
    d = components.distribution
    score = tf.reduce_sum(probs * (components.crps(y[..., None]) + mean_distance(d, d) / 2), -1)
    size = d.batch_shape[-1]
    for block in [slice(i, i + _BLOCK) for i in range(0, size, _BLOCK)] if size else [slice(None)]:
        distances = mean_distance(d[..., block, tf.newaxis], d[..., tf.newaxis, :])
        weights = probs[..., block, tf.newaxis] * probs[..., tf.newaxis, :]
        score -= tf.reduce_sum(weights * distances, [-2, -1]) / 2
    return score


def expected_distance(mean: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """Returns the mean of `|X|` for a Normal `X`."""
    z = mean / (scale * math.sqrt(2))
    return mean * tf.math.erf(z) + scale * math.sqrt(2 / math.pi) * tf.exp(-tf.square(z))
