"""The negative log-likelihood as a function of a model's weights: value, derivatives, and the gradient of each row."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from nllfit.adapters import Model
from nllfit.adapters.tensorflow import trace
from nllfit.data_checks import rows_of
from nllfit.head_outputs import as_distribution
from nllfit.outcome_losses import counted, log_loss
from nllfit.training.loss_surface import Surface, assign

__all__ = ["Likelihood", "PenalizedLikelihood", "weighted_losses"]

# The number of rows in one Jacobian. The cost of a Jacobian grows with the square of this number, because the loss of
# each row is differentiated through the computation for all rows.
_BLOCK = 64


class Likelihood(Surface):
    """The negative log-likelihood of all the data as a function of a model's weights. It is a sum over rows, in nats.

    The likelihood is computed from the head's distribution, because the compiled loss may be a mean and may contain
    regularizers.
    """

    of = "likelihood"  # the name of the function in messages

    def __init__(self, model: Model, data: tuple | None = None):
        super().__init__(model, data)
        self._scores = tf.function(self._block_of_scores, autograph=False)

    def objective(self, model: Model, data: tuple) -> tf.Tensor:
        return tf.reduce_sum(weighted_losses(model(data[0], training=False), data)[0])

    def log_likelihood(self, w: np.ndarray) -> float:
        """Returns the log-likelihood of all the data at weights `[p]`, in nats."""
        return -self.value(w)

    def scores(self, w: np.ndarray) -> Iterator[np.ndarray]:
        """Yields the gradient of each row's negative log-likelihood at weights `[p]`, in blocks `[rows, p]`."""
        position = tf.constant(w, self.dtype)
        program = trace(self._scores, self._specs, position)
        for rows in self._blocks():
            yield program(rows, position).numpy().astype(np.float64)

    def _blocks(self):
        """Yields the data in blocks of rows."""
        return (rows_of(self._data, start, start + _BLOCK) for start in range(0, self.num_rows, _BLOCK))

    def _block_of_scores(self, data, position):
        assign(self._weights, position)
        with tf.GradientTape() as tape:
            losses, _ = weighted_losses(self._model(data[0], training=False), data)
            losses = tf.reduce_sum(losses, range(1, losses.shape.rank))
        zero = tf.UnconnectedGradients.ZERO
        jacobians = tape.jacobian(losses, self._weights, unconnected_gradients=zero)
        rows = tf.shape(losses)[0]
        return tf.concat([tf.cast(tf.reshape(jacobian, [rows, -1]), self.dtype) for jacobian in jacobians], 1)


class PenalizedLikelihood(Likelihood):
    """The negative log posterior of a model's weights, up to a constant. The regularizers determine the prior.

    Without regularizers, the compiled loss is the negative log-likelihood divided by a number `n`. If the loss is a
    mean, `n` is the number of outcomes. Keras adds the regularizers to this quotient, so `n` times the regularizers is
    the negative log prior.
    """

    of = "posterior"

    def __init__(self, model: Model, data: tuple | None = None):
        super().__init__(model, data)
        self._unpenalized = tf.function(self._without_penalty, autograph=False)

    def objective(self, model: Model, data: tuple) -> tf.Tensor:
        x, y, sample_weight = [*data, None][:3]
        output = model(x, training=False)
        loss = tf.reduce_sum(weighted_losses(output, data)[0])
        penalty = tf.cast(tf.add_n(model.losses), loss.dtype)
        compiled_loss = model.compute_loss(x=x, y=y, y_pred=output, sample_weight=sample_weight)
        divisor = tf.math.divide_no_nan(loss, tf.cast(compiled_loss, loss.dtype) - penalty)
        return loss + tf.stop_gradient(divisor) * penalty

    def log_likelihood(self, w: np.ndarray) -> float:
        position = tf.constant(w, self.dtype)
        return -float(trace(self._unpenalized, self._specs, position)(self._data, position))

    def _without_penalty(self, data, position):
        assign(self._weights, position)
        return super().objective(self._model, data)


def weighted_losses(output: Any, data: tuple) -> tuple[tf.Tensor, tf.Tensor | None]:
    """Returns the weighted negative log-likelihood of each outcome, `[*batch]`, in nats, and the weights or None.

    Args:
      output: the output of the model for the inputs in `data`.
      data: `(x, y)` or `(x, y, sample_weight)`.
    """
    _, y, sample_weight = [*data, None][:3]
    distribution = as_distribution(output, "The model's output")
    outcomes, weights = counted(y, output, sample_weight)
    losses = log_loss(outcomes, distribution)
    if weights is not None:
        weights = tf.cast(weights, losses.dtype)
        losses = tf.where(weights != 0, losses, tf.zeros_like(losses)) * weights
    return losses, weights
