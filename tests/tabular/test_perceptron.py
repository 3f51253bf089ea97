"""The program that trains networks gives the same results as Keras, and is shared by many networks."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

import nllfit
from nllfit.keras3 import heads
from nllfit.keras3.losses import BetaNLL
from nllfit.tabular import DistributionRegressor, Network, networks_and_forests, perceptron
from nllfit.tabular.perceptron import Perceptron, Trainer, batches_of

RNG = np.random.default_rng(0)
X = RNG.normal(size=[10, 2]).astype("float32")
Y = (X[:, :1] + 0.3 * RNG.normal(size=[10, 1])).astype("float32")
WEIGHTS = RNG.uniform(0.5, 1.5, 10).astype("float32")
NORMAL = Perceptron((2, 5, 4), nllfit.Family("Normal", 1, floor={"scale": 1e-3}), beta=0.5)
NO_SCALING = np.ones(2), np.zeros(2)
NO_SCALING_32 = np.ones(2, "float32"), np.zeros(2, "float32")


def layers(weights, shapes):
    """The kernels and biases in a vector of weights."""
    for before, after in shapes:
        yield weights[: before * after].reshape(before, after)
        yield weights[before * after :][:after]
        weights = weights[(before + 1) * after :]


def test_training_matches_keras():
    """Keras trains with the loss `BetaNLL`. The rows have weights. The third, last batch of an epoch has two rows."""
    first = NORMAL.initial(np.random.default_rng(1), zero_outputs=False)
    head = heads.Normal(1, floor={"scale": 1e-3})
    dense = [keras.layers.Dense(5, "swish"), keras.layers.Dense(4, "swish"), keras.layers.Dense(2)]
    model = keras.Sequential([keras.layers.Input([2]), *dense, head])
    model.set_weights(list(layers(first, NORMAL.shapes())))
    rate = keras.optimizers.schedules.CosineDecay(0.01, 9)
    model.compile(keras.optimizers.AdamW(rate, 2.0), BetaNLL(), run_eagerly=True)
    for rows, factors in batches_of(10, 4, 3, np.random.default_rng(2)):
        rows = rows[factors > 0]
        model.train_on_batch(X[rows], Y[rows], sample_weight=WEIGHTS[rows])
    trainer = Trainer(NORMAL, first, NO_SCALING, 4, num_steps=9, weight_decay=2.0)
    trainer.train((X, Y, WEIGHTS), 3, np.random.default_rng(2))
    found = trainer.weights()
    assert np.abs(found - first).max() > 0.02
    for ours, theirs in zip(layers(found, NORMAL.shapes()), model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-6)
    np.testing.assert_allclose(NORMAL(found, X), keras.Sequential([*dense])(X), atol=1e-5)


def test_first_weights_are_those_of_keras():
    kernel, bias, *_, last, _ = layers(NORMAL.initial(np.random.default_rng(0), True), NORMAL.shapes())
    assert np.abs(kernel).max() <= np.sqrt(6 / 7)
    assert np.abs(kernel).max() > 0.5
    assert not bias.any()
    assert not last.any()


def test_each_row_is_in_one_batch_of_an_epoch(rng):
    batches = list(batches_of(10, 4, 2, rng))
    assert len(batches) == 6
    for epoch in (batches[:3], batches[3:]):
        assert sorted(np.concatenate([rows[factors > 0] for rows, factors in epoch])) == list(range(10))
    np.testing.assert_array_equal(batches[2][1], [2, 2, 0, 0])  # factors of a batch with two rows


def test_one_program_serves_trials_and_ensembles(rng):
    """The two trials, each on the first 4/5 of the rows, and the ensemble, on all rows, share one trace."""
    model = DistributionRegressor(network=Network((6,)), num_members=3, max_epochs=2, shuffle=False, random_state=0)
    # The held-out rows vary more than the other rows, so the first trial is overconfident, and there is a second trial.
    y = rng.normal(size=40) * np.where(np.arange(40) < 32, 1.0, 3.0)
    model.fit(rng.normal(size=[40, 4]), y)
    assert len(model.trials_) == 2
    program = perceptron._program(model.predictor_.model.perceptron, False, 2 ** round((np.log2(40) + 1) / 2))
    assert program.experimental_get_tracing_count() == 1


@dataclasses.dataclass(frozen=True)
class _InPython(Perceptron):
    """A network with an operation that XLA cannot compile."""

    def loss(self, *arguments):
        loss = super().loss(*arguments)
        return loss + 0 * tf.numpy_function(np.positive, [tf.stop_gradient(loss)], tf.float32)


@pytest.mark.thorough
def test_without_xla_the_graph_trains():
    first, ways = NORMAL.initial(np.random.default_rng(1), zero_outputs=False), []
    for network in (NORMAL, _InPython(NORMAL.sizes, NORMAL.family, NORMAL.beta)):
        trainer = Trainer(network, first, NO_SCALING, 5, 500, 0.0)
        trainer.train((X, Y, WEIGHTS), 250, np.random.default_rng(2))
        ways.append(trainer.weights())
    np.testing.assert_allclose(*ways, atol=0.02)  # XLA rounds differently


def test_weights_that_are_not_finite_are_reported(rng):
    weights = NORMAL.initial(np.random.default_rng(1), zero_outputs=False)
    with pytest.raises(FloatingPointError, match="look for extreme values in `X` or `y`"):
        Trainer(NORMAL, weights, NO_SCALING, 5, 4, 0.0).train((X * 1e38, Y, WEIGHTS), 2, rng)


def test_a_member_in_a_bad_optimum_is_left_out():
    good = [NORMAL.initial(np.random.default_rng(i), zero_outputs=True) for i in range(4)]
    bad = good[0] + np.float32(3)
    found = networks_and_forests._successful(NORMAL, [*good[:2], bad, *good[2:]], NO_SCALING_32, (X, Y, WEIGHTS))
    assert [id(each) for each in found] == [id(each) for each in good]
