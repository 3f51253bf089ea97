"""Multilayer perceptrons that predict the parameters of a family, and the compiled program that trains them.

`nllfit.fit` trains any Keras model, and compiles a program for each architecture, optimizer and number of rows. Each
compilation takes about 3 CPU seconds. In this module, the weight decay, the learning rates and the batches are
arguments of the program, and all weights are one vector. So all trials and ensembles with the same layer sizes, family,
loss and batch size share one program. Its compilation takes 0.7 s.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from nllfit.outcome_losses import log_loss, variance_weighted_log_loss

__all__ = ["Perceptron", "Trainer", "batches_of"]

# Training is compiled with XLA if it has at least this number of steps. With fewer steps, compilation takes more time
# than it saves.
_MIN_STEPS_FOR_XLA = 500
# One call of the program gets at most `_CALL_ROWS` rows, whose inputs have at most `_CALL_NUMBERS` elements in total.
# Only a call with a single batch may exceed these limits. A call must be short, because Ctrl-C cannot interrupt it.
_CALL_ROWS, _CALL_NUMBERS = 2**14, 2**22
_RATE, _DECAY_1, _DECAY_2, _EPSILON = 0.01, 0.9, 0.999, 1e-7  # constants of Adam
_MOST_PROGRAMS = 32


@dataclasses.dataclass(frozen=True)
class Perceptron:
    """The architecture and the loss of a network with hidden swish layers and a linear output layer.

    The weights are not stored here but are an argument of the methods: one vector of all kernels and biases. The
    unconstrained parameters of the family are `offset + step * output`, with the `offset` and the `step` of a `Target`.

    Args:
      sizes: the number of inputs, followed by the number of units of each hidden layer.
      family: the family of the outcomes in training.
      beta: the loss is `BetaNLL(beta)`; for 0 it is the negative log-likelihood.
    """

    sizes: tuple[int, ...]
    family: Any
    beta: float = 0.0

    def shapes(self) -> list[tuple[int, int]]:
        """The shape of each layer's kernel."""
        return list(itertools.pairwise([*self.sizes, self.family.params_size]))

    def initial(self, rng: np.random.Generator, zero_outputs: bool) -> np.ndarray:
        """Returns initial weights: Glorot uniform kernels, and biases of 0. With `zero_outputs`, the outputs are 0."""
        kernels = [rng.uniform(-1, 1, shape) * math.sqrt(6 / sum(shape)) for shape in self.shapes()]
        kernels[-1] *= not zero_outputs
        parts = [part for kernel in kernels for part in (kernel.ravel(), np.zeros(kernel.shape[1]))]
        return np.concatenate(parts).astype("float32")

    def __call__(self, weights: Any, x: Any) -> tf.Tensor:
        """Returns the outputs `[n, params_size]` for inputs `[n, inputs]`. `weights` is one vector of all weights."""
        kernels = self.shapes()
        parts = tf.split(weights, [size for before, after in kernels for size in (before * after, after)])
        hidden = tf.convert_to_tensor(x, tf.float32)
        for i, shape in enumerate(kernels):
            hidden = tf.matmul(hidden, tf.reshape(parts[2 * i], shape)) + parts[2 * i + 1]
            if i < len(kernels) - 1:
                hidden = tf.nn.silu(hidden)
        return hidden

    def loss(self, weights: tf.Tensor, step: tf.Tensor, offset: tf.Tensor, x: Any, y: Any, factors: Any) -> tf.Tensor:
        """Returns the mean of `factor * loss` over the rows of a batch. `factors` are `[n]`."""
        distribution = self.family.holding({"validate_args": False}).distribution(offset + step * self(weights, x))
        losses = variance_weighted_log_loss(y, distribution, self.beta) if self.beta else log_loss(y, distribution)
        return tf.reduce_mean(factors * losses)


class Trainer:
    """Trains a network with AdamW. The learning rate falls to 0 along a cosine.

    Args:
      perceptron: the network.
      weights: the initial weights of the network, one vector.
      scaling: `step` and `offset` of the `Target`, `[params_size]` each.
      batch_size: the number of rows of a batch.
      num_steps: the number of batches in the whole training.
      weight_decay: AdamW's weight decay: each step multiplies all weights by `1 - learning rate * weight_decay`.
    """

    def __init__(
        self,
        perceptron: Perceptron,
        weights: np.ndarray,
        scaling: tuple[np.ndarray, np.ndarray],
        batch_size: int,
        num_steps: int,
        weight_decay: float,
    ):
        self.perceptron, self.batch_size, self.rates = perceptron, batch_size, _rates(num_steps)
        self.state = weights, np.zeros_like(weights), np.zeros_like(weights)
        self.constants = [np.asarray(value, "float32") for value in (weight_decay, *scaling)]
        self.compile, self.done = num_steps >= _MIN_STEPS_FOR_XLA, 0

    def train(self, data: tuple[np.ndarray, np.ndarray, np.ndarray], epochs: int, rng: np.random.Generator) -> None:
        """Trains on all rows. Each epoch draws a new order of the rows.

        Args:
          data: the inputs `[n, inputs]`, the outcomes `[n, ...]` and each row's weight `[n]`.
          epochs: the number of passes over the rows.
          rng: the random generator that draws the orders.

        Raises:
          FloatingPointError: if TensorFlow reports an error, for example because a variance is not finite.
        """
        call_rows = min(_CALL_ROWS, _CALL_NUMBERS // self.perceptron.sizes[0])
        per_call = max(1, call_rows // self.batch_size)
        batches = batches_of(len(data[0]), self.batch_size, epochs, rng)
        while call_batches := list(itertools.islice(batches, per_call)):
            rows, factors = map(np.stack, zip(*call_batches, strict=True))
            count, rows = len(rows), np.resize(rows, [per_call, self.batch_size])
            x, y, weights = (part[rows] for part in data)
            weights[:count] *= factors
            rates = np.resize(self.rates[self.done : self.done + count], [per_call, 2])
            self._call(count, rates, x, y, weights)
            self.done += count

    def _call(self, count, rates, x, y, weights):
        arguments = *self.state, count, rates, *self.constants, x, y, weights
        try:
            self.state = _program(self.perceptron, self.compile, self.batch_size)(*map(tf.convert_to_tensor, arguments))
        except tf.errors.OpError as error:
            if not self.compile:
                raise _not_finite() from error
            self.compile = False  # XLA may lack an operation, so repeat the call without XLA
            self._call(count, rates, x, y, weights)

    def weights(self) -> np.ndarray:
        """Returns the weights after the steps so far. Raises a `FloatingPointError` if a weight is not finite."""
        found = np.asarray(self.state[0])
        if not np.all(np.isfinite(found)):
            raise _not_finite()
        return found


def batches_of(
    num_rows: int, batch_size: int, epochs: int, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields two arrays `[batch_size]` for each batch: the indices of its rows, and the factors of the rows' losses.

    If the last batch of an epoch is not full, it is padded with rows of factor 0. The other rows of this batch have a
    factor above 1, so that the mean of `factor * loss` over the padded batch equals the mean loss of these other rows.
    """
    steps = -(-num_rows // batch_size)
    shape, last_size = [steps, batch_size], num_rows - (steps - 1) * batch_size
    factors = np.ones(shape, "float32")
    factors[-1] = np.where(np.arange(batch_size) < last_size, batch_size / last_size, 0)
    for _ in range(epochs):
        yield from zip(np.resize(rng.permutation(num_rows), shape), factors, strict=True)


def _not_finite():
    return FloatingPointError(
        "A network's weights became infinite or NaN in training: look for extreme values in `X` or `y`, or choose "
        "another `distribution`."
    )


def _rates(num_steps):
    """Returns `[steps, 2]`: the learning rate of each step, and its product with Adam's bias correction."""
    t = np.arange(num_steps)
    rates = _RATE * (1 + np.cos(np.pi * t / num_steps)) / 2
    corrected_rates = rates * np.sqrt(1 - _DECAY_2 ** (t + 1)) / (1 - _DECAY_1 ** (t + 1))
    return np.stack([rates, corrected_rates], axis=1).astype("float32")


@functools.lru_cache(_MOST_PROGRAMS)
def _program(perceptron, compile, batch_size):
    """Returns a TensorFlow function that performs several training steps in one call.

    `batch_size` is an argument only because it must be in the cache's key. The batch size determines the shapes of the
    tensors in a call. So each cached function is always called with the same shapes, and is traced once.
    """
    del batch_size

    def steps(weights, moment_1, moment_2, count, rates, weight_decay, step, offset, x, y, factors):
        def training_step(i, weights, moment_1, moment_2):
            with tf.GradientTape() as tape:
                tape.watch(weights)
                loss = perceptron.loss(weights, step, offset, x[i], y[i], factors[i])
            gradient = tape.gradient(loss, weights)
            moment_1 = moment_1 + (gradient - moment_1) * (1 - _DECAY_1)
            moment_2 = moment_2 + (gradient**2 - moment_2) * (1 - _DECAY_2)
            decayed = weights * (1 - rates[i, 0] * weight_decay)
            return i + 1, decayed - rates[i, 1] * moment_1 / (tf.sqrt(moment_2) + _EPSILON), moment_1, moment_2

        return tf.while_loop(lambda i, *_: i < count, training_step, (0, weights, moment_1, moment_2))[1:]

    return tf.function(steps, jit_compile=compile, autograph=False)
