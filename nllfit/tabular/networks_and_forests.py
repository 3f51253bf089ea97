"""Models that map the columns of a table to outputs: an ensemble of networks, or a forest.

A `Target` (targets.py) turns the outputs into distributions.
"""

import abc
import dataclasses
import itertools
import math
import os
from collections.abc import Sequence
from typing import Any

import joblib
import numpy as np
import tensorflow as tf

from nllfit.tabular.forest import MOST_ROWS, Forest, grown
from nllfit.tabular.network_architectures import TREES, named_network
from nllfit.tabular.network_inputs import Inputs
from nllfit.tabular.perceptron import Perceptron, Trainer
from nllfit.tabular.table_rows import Rows, Settings, Stream
from nllfit.tabular.targets import Target

__all__ = ["Model", "Networks", "Trees", "model_class"]

# The weight decay is this number divided by the number of rows `n`. The decay acts like a Normal prior on the weights,
# and in a mean loss over `n` rows, the logarithm of a prior is divided by `n`.
DECAYS = {"weak": 50, "strong": 500}
# The minimum number of rows in a leaf, for a table of `n` rows. If `n` is large, this number is multiplied by an
# integer, so that all leaves of a tree together store at most `_MOST_NUMBERS` numbers.
LEAVES = {"weak": lambda n: 1, "strong": lambda n: 5, "strongest": lambda n: max(5, round(math.sqrt(n)))}
_MOST_NUMBERS = 2**17
_CHECKED_ROWS = 2000  # the maximum number of rows on which the losses of members are compared
_FAILED_NATS = 0.5  # a member has failed if its mean loss is above the median of all members by more than this, in nats


class Model(abc.ABC):
    """A trained model. It maps each row to outputs, and a target turns the outputs into a distribution.

    Args:
      rows: the training set.
      network: the name of a network, or a `Network`.
      regularization: one of the `regularizations` of the class.
      target: the target that was made from the outcomes of `rows`.
      settings: the arguments that control the training, such as the seed.
      members: a number for each network of an ensemble. The number determines the network's initial weights and the
        orders of its rows. Trees do not use it.
      batch_size: the number of rows of a batch.
      stream: all training rows, if `rows` are only a sample of them; otherwise None. Trees use only `rows`.

    Attributes:
      regularizations: the names of the regularizations, from the weakest to the strongest.
    """

    regularizations: tuple[str, ...]

    @abc.abstractmethod
    def __init__(
        self,
        rows: Rows,
        network: Any,
        regularization: str,
        target: Target,
        settings: Settings,
        members: Sequence[int],
        batch_size: int,
        stream: Stream | None = None,
    ): ...

    @abc.abstractmethod
    def outputs(self, x: np.ndarray) -> list[tf.Tensor]:
        """Returns the outputs `[n, params_size]` of each member for rows `[n, m]`."""


class Networks(Model):
    """An ensemble of networks of one architecture, with different initial weights and different orders of the rows.

    `joblib` trains the members, in threads by default; `joblib.parallel_config` selects processes or machines.
    """

    regularizations = tuple(DECAYS)

    def __init__(self, rows, network, regularization, target, settings, members, batch_size, stream=None):
        self.inputs, inputs = Inputs.fit(named_network(network), rows.x, rows.numbers(), rows.weights, settings.seed)
        sizes = inputs.shape[1], *named_network(network).units
        self.perceptron = Perceptron(sizes, target.trained_family, target.beta)
        num_rows = len(rows) if stream is None else sum(stream.sizes)
        epochs = int(min(round(900 / np.cbrt(num_rows)), settings.max_epochs or math.inf))
        num_steps = epochs * sum(-(-size // batch_size) for size in ([num_rows] if stream is None else stream.sizes))
        scaling = target.step.astype("float32"), target.offset.astype("float32")
        rngs = [np.random.default_rng([settings.seed, member]) for member in members]
        trainers = [
            Trainer(
                self.perceptron,
                self.perceptron.initial(rng, zero_outputs=target.marginal is not None),
                scaling,
                batch_size,
                num_steps,
                DECAYS[regularization] / num_rows,
            )
            for rng in rngs
        ]
        trained = list(zip(trainers, rngs, strict=True))
        if stream is None:
            trained = _trained(trained, _data(inputs, target, rows), epochs)
        else:
            for _, part in itertools.product(range(epochs), stream):
                trained = _trained(trained, _data(self.inputs(part.x), target, part), 1)
        stride = -(-len(rows) // _CHECKED_ROWS)
        checked_data = [part[::stride] for part in _data(inputs, target, rows)]
        self.weights = _successful(
            self.perceptron, [trainer.weights() for trainer, _ in trained], scaling, checked_data
        )

    def outputs(self, x: np.ndarray) -> list[tf.Tensor]:
        inputs = self.inputs(x)
        return [self.perceptron(weights, inputs) for weights in self.weights]


def _successful(perceptron, weights, scaling, data):
    """Returns the weights of the members that have not failed.

    A failed member is in a bad local optimum. Its predictions would spoil the mixture.
    """
    x, y, factors = data
    of_likelihood = dataclasses.replace(perceptron, beta=0.0)
    losses = [float(of_likelihood.loss(each, *scaling, x, y, factors)) for each in weights]
    return [each for each, loss in zip(weights, losses, strict=True) if loss <= np.median(losses) + _FAILED_NATS]


def _data(inputs, target, rows):
    weights = np.ones(len(rows)) if rows.weights is None else rows.weights
    return inputs, target.training_outcomes(rows.y), weights.astype("float32")


def _trained(members, data, epochs):
    """Trains the members for some epochs. Returns each member's trainer and random generator."""
    return joblib.Parallel(os.cpu_count(), prefer="threads")(
        joblib.delayed(_trained_member)(*member, data, epochs) for member in members
    )


def _trained_member(trainer, rng, data, epochs):
    trainer.train(data, epochs, rng)
    return trainer, rng


class Trees(Model):
    """A forest that predicts the means of a target's statistics, such as the probability of each class.

    Source: Meinshausen, Quantile regression forests, 2006.
    """

    regularizations = tuple(LEAVES)

    def __init__(self, rows, network, regularization, target, settings, members, batch_size, stream=None):
        self.target = target
        statistics = target.statistics(rows.y)
        num_rows = min(len(rows), MOST_ROWS)
        min_leaf_rows = LEAVES[regularization](num_rows) * math.ceil(num_rows * statistics.shape[1] / _MOST_NUMBERS)
        self.forest = Forest(*grown(rows.x, statistics, rows.weights, settings.seed, min_samples_leaf=min_leaf_rows))

    def outputs(self, x: np.ndarray) -> list[tf.Tensor]:
        return [self.target.outputs_of(self.forest(x))]


def model_class(network: Any) -> type[Model]:
    """Returns the `Model` class for a network: `Trees` for "trees", otherwise `Networks`."""
    return Trees if network == TREES else Networks
