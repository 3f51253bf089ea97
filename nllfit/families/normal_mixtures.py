"""The closed form of the CRPS of a mixture of Normals."""

import math

import tensorflow as tf
from tensorflow_probability import distributions as tfd

__all__ = ["expected_distance", "of_normals"]

_BLOCK = 16  # pairs of components form a matrix, of which this many rows are computed at once, to limit memory


def of_normals(mixture: tfd.MixtureSameFamily, y: tf.Tensor) -> tf.Tensor:
    """Returns the CRPS `E|X - y| - E|X - X'| / 2` of a mixture of Normals.

    `X` and `X'` are independent draws. `X - X'` follows a mixture of Normals, too, with one component for each pair of
    components of the mixture.

    Source: Grimit, Gneiting, Berrocal and Johnson, The continuous ranked probability score for circular variables and
    its application to mesoscale forecast ensemble verification, 2006.
    """
    probs, normal = mixture.mixture_distribution.probs_parameter(), mixture.components_distribution
    loc, scale = normal.loc + tf.zeros_like(normal.scale), normal.scale + tf.zeros_like(normal.loc)
    to_outcome = expected_distance(loc - y[..., None], scale)
    score = tf.reduce_sum(probs * to_outcome, -1)
    size = loc.shape[-1]
    for block in [slice(i, i + _BLOCK) for i in range(0, size, _BLOCK)] if size else [slice(None)]:
        mean, spread, share = (part[..., block, None] for part in (loc, scale, probs))
        apart = expected_distance(mean - loc[..., None, :], tf.sqrt(tf.square(spread) + tf.square(scale[..., None, :])))
        score -= tf.reduce_sum(share * probs[..., None, :] * apart, [-2, -1]) / 2
    return score


def expected_distance(mean: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """Returns the mean of `|X|` for a Normal `X`."""
    z = mean / (scale * math.sqrt(2))
    return mean * tf.math.erf(z) + scale * math.sqrt(2 / math.pi) * tf.exp(-tf.square(z))
