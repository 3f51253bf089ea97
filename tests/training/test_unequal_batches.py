"""A dataset may have empty batches, and the length of its sequences may differ from batch to batch."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from scipy import stats

import nllfit
from tests.keras_versions import KITS, by_keras, in_turn, mainly

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # raised by Keras 3's variables
    pytest.mark.filterwarnings("ignore:.shuffle=True. was passed:UserWarning"),  # Keras 3 warns about its own default
    # Keras 3 warns about datasets of unknown length.
    pytest.mark.filterwarnings("ignore:Your input ran out of data:UserWarning"),
]

X = np.random.default_rng(0).normal(size=(12, 2)).astype("float32")
Y = X.sum(1, keepdims=True)
NONE, FIRST, REST = slice(0, 0), slice(0, 5), slice(5, 12)


def dataset(batches, length=None):
    rows = [None] if length is None else [None, None]
    spec = (tf.TensorSpec([*rows, 2]), tf.TensorSpec([*rows, 1]))
    return tf.data.Dataset.from_generator(lambda: iter(batches), output_signature=spec)


class Sequence(tf_keras.utils.Sequence):
    def __init__(self, batches):
        self._batches = batches

    def __len__(self):
        return len(self._batches)

    def __getitem__(self, index):
        return self._batches[index]


def network(kit, shape=(2,), head=True):
    k = kit.keras
    last = [k.layers.Dense(2, kernel_initializer="ones"), kit.heads.Normal(1)] if head else [k.layers.Dense(1)]
    k.utils.set_random_seed(0)
    model = k.Sequential([k.layers.Input(shape), *last])
    model.compile(k.optimizers.SGD(0.05), kit.loss if head else "mse")
    return model


KINDS = [("dataset", True), ("generator", False), ("sequence", False), ("filtered", True)]


@pytest.mark.thorough  # covered by the next test, which also has batches without rows
@pytest.mark.parametrize(("kit", "case"), list(zip(KITS * 2, KINDS, strict=True)), ids=[name for name, _ in KINDS])
def test_batches_without_rows_are_skipped(kit, case):
    kind, head = case
    batches = [(X[rows], Y[rows]) for rows in (NONE, FIRST, NONE, NONE, REST, NONE)]
    x = {
        "dataset": lambda: dataset(batches),
        "generator": lambda: iter(batches),
        "sequence": lambda: Sequence(batches),
        "filtered": lambda: (
            tf.data.Dataset.from_tensor_slices((X, Y)).batch(4).map(lambda x, y: (x[y[:, 0] > 0.5], y[y[:, 0] > 0.5]))
        ),
    }[kind]
    kept = [tuple(map(np.asarray, batch)) for batch in x()]
    reference, model = network(kit, head=head), network(kit, head=head)
    expected = by_keras(reference, dataset([batch for batch in kept if len(batch[0])]))
    history = nllfit.fit(model, x(), verbose=0, compile="graph").history
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-5)
    np.testing.assert_allclose(model.get_weights()[0], reference.get_weights()[0], rtol=1e-5)


@mainly(tf_keras)
def test_predictions_skip_batches_without_rows(kit):
    model = network(kit)
    found = nllfit.predict_distribution(model, dataset([(X[rows], Y[rows]) for rows in (NONE, FIRST, NONE, REST)]))
    np.testing.assert_allclose(found.mean(), X.sum(1, keepdims=True), rtol=1e-5)
    with pytest.raises(ValueError, match="The dataset in `x` is empty: there is nothing to predict"):
        nllfit.predict_distribution(model, dataset([(X[NONE], Y[NONE])]))
    with pytest.raises(ValueError, match="The dataset in `x` is empty: there is nothing to train on"):
        nllfit.fit(model, dataset([(X[NONE], Y[NONE])]), verbose=0)


@pytest.mark.thorough
@pytest.mark.parametrize(("kit", "kind"), in_turn(["head", "late fault"]))
def test_sequences_of_batches_may_differ_in_length(kit, kind, rng):
    batches = [(x := rng.normal(size=(4, steps, 2)).astype("float32"), x[..., :1].copy()) for steps in (3, 5, 3)]
    model, weights = network(kit, (None, 2)), network(kit, (None, 2)).get_weights()
    if kind == "late fault":
        batches[1][1][2, 4] = np.inf
        with pytest.raises(ValueError, match="`y` has inf at row 2 of batch 1 of epoch 1"):
            nllfit.fit(model, dataset(batches, "any"), verbose=0)
        return
    model.optimizer.learning_rate = 0.0
    history = nllfit.fit(model, dataset(batches, "any"), verbose=0, compile="graph").history
    params = [x @ weights[0] + weights[1] for x, _ in batches]
    scale = [np.log1p(np.exp(p[..., 1:])) for p in params]
    losses = [-stats.norm.logpdf(y, p[..., :1], s) for (_, y), p, s in zip(batches, params, scale, strict=True)]
    np.testing.assert_allclose(history["loss"], np.mean([np.mean(loss) for loss in losses]), rtol=1e-4)
    with pytest.raises(ValueError, match="batches in `x` have distributions of different shapes, because"):
        nllfit.predict_distribution(model, dataset(batches, "any"))
    with pytest.raises(ValueError, match="batches in `x` have rows of different shapes: pad"):
        nllfit.evaluate(model, dataset(batches, "any"))
