"""The log-likelihood of a model's weights: its derivatives, and what each row of the data adds to them."""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from nllfit.adapters import Model
from nllfit.losses import counted, log_loss
from nllfit.outputs import as_distribution
from nllfit.training.loss_surface import Surface, assign

__all__ = ["Likelihood"]

_BLOCK = 64  # rows whose scores are computed at once, each by a pass over all of them


class Likelihood(Surface):
    """The negative log-likelihood of all the data as a function of a model's weights, in nats: a sum over the rows.

    It asks the head, so that it does not matter which mean the compiled loss takes, or what is added to it.
    """

    def __init__(self, model: Model, is_shared: bool = False):
        super().__init__(model, is_shared)
        self._scores = tf.function(self._block_of_scores, autograph=False)

    def objective(self, model: Model, data: tuple) -> tf.Tensor:
        return tf.reduce_sum(_losses(model, data))

    def scores(self, w: np.ndarray) -> Iterator[np.ndarray]:
        """The gradients of the rows' negative log-likelihoods at weights `[p]`, in blocks `[rows, p]`."""
        position = tf.constant(w, self.dtype)
        program = self._scores.get_concrete_function(self._specs, position)
        for start in range(0, self.num_rows, _BLOCK):
            rows = tf.nest.map_structure(lambda t, start=start: t[start : start + _BLOCK], self._data)
            yield program(rows, position).numpy().astype(np.float64)

    def _block_of_scores(self, data, position):
        assign(self._weights, position)
        with tf.GradientTape() as tape:
            losses = _losses(self._model, data)
        zero = tf.UnconnectedGradients.ZERO
        parts = tape.jacobian(losses, self._weights, unconnected_gradients=zero)
        rows = tf.shape(losses)[0]
        return tf.concat([tf.cast(tf.reshape(part, [rows, -1]), self.dtype) for part in parts], 1)


def _losses(model, data):
    """The negative log-likelihood of each row, `[n]`, times its weight."""
    x, y, sample_weight = [*data, None][:3]
    output = model(x, training=False)
    distribution = as_distribution(output, "The model's output")
    if y.shape.rank == distribution.batch_shape.rank == 1 and distribution.event_shape == [1]:
        y = y[:, None]  # as both Kerases give a loss
    outcomes, weights = counted(y, output, sample_weight)
    losses = log_loss(outcomes, distribution)
    if weights is not None:
        weights = tf.cast(weights, losses.dtype)
        losses = tf.where(weights != 0, losses, tf.zeros_like(losses)) * weights
    return tf.reduce_sum(losses, range(1, losses.shape.rank))
