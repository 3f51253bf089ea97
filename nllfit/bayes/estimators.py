"""Estimators: how a layer computes with weights that are drawn from a Normal or another distribution."""

from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd

from nllfit.families.tfp_classes import INDEPENDENT, plain_class

__all__ = ["ESTIMATORS", "check_estimator"]


def reparameterized(layer: Any, posterior: tfd.Distribution, inputs: Any, seed: tf.Tensor) -> tf.Tensor:
    """One draw of the weights for the whole batch."""
    return layer.activated(layer.linear(inputs, posterior.sample(seed=seed)))


def flipped(layer: Any, posterior: tfd.Distribution, inputs: Any, seed: tf.Tensor) -> tf.Tensor:
    """One draw of the weights' deviations from their means, with random signs of inputs and outputs for each row.

    The signs make a draw of another matrix for each row, `E * outer(signs of inputs, signs of outputs)`, which has the
    same distribution as `E` if the weights are independent and symmetric about their means.
    """
    seeds = tf.random.experimental.stateless_split(seed, 3)
    means = posterior.mean()
    deviations = posterior.sample(seed=seeds[0]) - means
    outputs = layer.linear(inputs, means)
    if inputs.dtype.is_floating:
        inputs = inputs * _signs(inputs, layer.channel_axis, seeds[1])
    return layer.activated(outputs + layer.linear(inputs, deviations) * _signs(outputs, layer.channel_axis, seeds[2]))


def locally_reparameterized(layer: Any, posterior: tfd.Distribution, inputs: Any, seed: tf.Tensor) -> tf.Tensor:
    """A draw of each number before the activation, whose Normal distribution follows from that of the weights."""
    means, variances = layer.linear(inputs, posterior.mean()), layer.linear(inputs**2, posterior.variance())
    scales = tf.sqrt(tf.maximum(variances, np.finfo(variances.dtype.as_numpy_dtype).tiny))  # of finite slope at 0
    noise = tf.random.stateless_normal(tf.shape(means), seed, dtype=means.dtype)
    return layer.activated(means + scales * noise)


ESTIMATORS = {
    "flipout": flipped,
    "reparameterization": reparameterized,
    "local_reparameterization": locally_reparameterized,
}


def check_estimator(estimator: str, posterior: tfd.Distribution) -> None:
    """Raises a `ValueError` if an estimator is not for weights of this posterior."""
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
    """Random signs for each row and channel of `[B, ...]`, the same at all positions."""
    shape = tf.shape(tensor)
    rank = tensor.shape.rank
    ones = [1] * rank
    ones[0], ones[channel_axis] = shape[0], shape[channel_axis]
    return tfp.random.rademacher(tf.stack(ones), tensor.dtype, seed)
