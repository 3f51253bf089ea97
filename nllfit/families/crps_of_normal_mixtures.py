"""The closed form of the CRPS of a mixture of Normals."""

import math

import tensorflow as tf
from tensorflow_probability import distributions as tfd

__all__ = ["expected_distance", "of_normals"]

_BLOCK = 16  # to limit memory, the matrix of all pairs of components is computed in blocks of this many rows


def of_normals(mixture: tfd.MixtureSameFamily, y: tf.Tensor) -> tf.Tensor:
    """Returns the CRPS `E|X - y| - E|X - X'| / 2` of a mixture of Normals.

    `X` and `X'` are independent draws. `X - X'` follows a mixture of Normals, too. This mixture has one component for
    each pair of components of the given mixture.

    Source: Grimit, Gneiting, Berrocal and Johnson, The continuous ranked probability score for circular variables and
    its application to mesoscale forecast ensemble verification, 2006.
    """
    probs, normal = mixture.mixture_distribution.probs_parameter(), mixture.components_distribution
    loc, scale = normal.loc + tf.zeros_like(normal.scale), normal.scale + tf.zeros_like(normal.loc)
    to_outcome = expected_distance(loc - y[..., None], scale)
    score = tf.reduce_sum(probs * to_outcome, -1)
    size = loc.shape[-1]
    for block in [slice(i, i + _BLOCK) for i in range(0, size, _BLOCK)] if size else [slice(None)]:
        block_loc, block_scale, block_probs = (array[..., block, None] for array in (loc, scale, probs))
        pair_distance = expected_distance(
            block_loc - loc[..., None, :], tf.sqrt(tf.square(block_scale) + tf.square(scale[..., None, :]))
        )
        score -= tf.reduce_sum(block_probs * probs[..., None, :] * pair_distance, [-2, -1]) / 2
    return score


def expected_distance(mean: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """Returns the mean of `|X|` for a Normal `X`."""
    z = mean / (scale * math.sqrt(2))
    return mean * tf.math.erf(z) + scale * math.sqrt(2 / math.pi) * tf.exp(-tf.square(z))
