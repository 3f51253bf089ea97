"""Estimators: functions that compute the outputs of a variational layer with random weights."""

from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.families.tfp_classes import INDEPENDENT, plain_class

__all__ = ["ESTIMATORS", "check_estimator"]


def reparameterized(layer: Any, posterior: tfd.Distribution, inputs: Any, seed: tf.Tensor) -> tf.Tensor:
    """Returns the outputs of a layer for one draw of its weights, the same for the whole batch."""
    return layer.activated(layer.linear(inputs, posterior.sample(seed=seed)))


def flipped(layer: Any, posterior: tfd.Distribution, inputs: Any, seed: tf.Tensor) -> tf.Tensor:
    """Returns a layer's outputs for one draw of its weights. In each row, the weights' deviations get random signs.

    The deviations are the differences of the weights from their means. If `E` is the draw of the deviations, a row gets
    the deviations `E * outer(signs of inputs, signs of outputs)`. If the weights are independent and symmetric about
    their means, the row's deviations have the same distribution as `E`. Different signs in each row reduce the noise of
    the gradient.
    """
    seeds = tf.random.experimental.stateless_split(seed, 3)
    means = posterior.mean()
    deviations = posterior.sample(seed=seeds[0]) - means
    outputs = layer.linear(inputs, means)
    if not layer.takes_indices:
        inputs = inputs * _signs(inputs, layer.channel_axis, seeds[1])
    return layer.activated(outputs + layer.linear(inputs, deviations) * _signs(outputs, layer.channel_axis, seeds[2]))


def locally_reparameterized(layer: Any, posterior: tfd.Distribution, inputs: Any, seed: tf.Tensor) -> tf.Tensor:
    """Returns the outputs of a layer for one draw of the values before its activation.

    Given the inputs, these values have Normal distributions. Their means and variances are computed from the means and
    variances of the weights.
    """
    means, variances = layer.linear(inputs, posterior.mean()), layer.linear(inputs**2, posterior.variance())
    # The gradient of the square root is infinite at 0, so variances have a lower bound.
    scales = tf.sqrt(tf.maximum(variances, np.finfo(variances.dtype.as_numpy_dtype).tiny))
    noise = tf.random.stateless_normal(tf.shape(means), seed, dtype=means.dtype)
    return layer.activated(means + scales * noise)


ESTIMATORS = {
    "flipout": flipped,
    "reparameterization": reparameterized,
    "local_reparameterization": locally_reparameterized,
}


def check_estimator(estimator: str, posterior: tfd.Distribution) -> None:
    """Raises a `ValueError` if an estimator does not support this posterior."""
    if posterior.reparameterization_type != tfd.FULLY_REPARAMETERIZED:
        raise ValueError(
            f"`posterior` is a {posterior.name}, through whose draws no gradient flows: give a family that TFP "
            f"reparameterizes, such as Normal."
        )
    is_normal = isinstance(posterior, INDEPENDENT) and plain_class(type(posterior.distribution)) is tfd.Normal
    if estimator != "reparameterization" and not is_normal:
        raise ValueError(
            f'`estimator` is "{estimator}", which is only for independent Normal weights, but `posterior` is a '
            f'{posterior.name}: give `estimator="reparameterization"`.'
        )


def _signs(tensor, channel_axis, seed):
    """Draws random signs for `[B, ...]`, one for each row and channel. All positions share it.

    Each bit of a random 32-bit word is one sign. Drawing one word for each sign would take ten times as long.
    """
    channels = tensor.shape[channel_axis]
    words = tf.random.stateless_uniform([tf.shape(tensor)[0], -(-channels // 32)], seed, None, None, tf.int32)
    sizes = [32] * (channels // 32) + [channels % 32] * (channels % 32 > 0)
    # We broadcast each word to its channels. If we combined words and masks into a matrix and reshaped it, XLA would
    # draw the words again for each element of the matrix.
    columns = [tf.broadcast_to(words[:, i : i + 1], [tf.shape(tensor)[0], size]) for i, size in enumerate(sizes)]
    masks = tf.constant(np.resize(np.left_shift(1, np.arange(32)).astype(np.uint32).astype(np.int32), channels))
    is_negative = tf.bitwise.bitwise_and(tf.concat(columns, 1), masks) != 0
    shape = [1] * tensor.shape.rank
    shape[0], shape[channel_axis] = -1, channels
    one = tf.ones([], tensor.dtype)
    return tf.reshape(tf.where(is_negative, -one, one), shape)
