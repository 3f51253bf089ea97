"""`fit` gives the same numbers as `model.fit`, in Keras 2 and Keras 3."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import nllfit
from nllfit.training import batches, graph_or_xla
from tests.keras_versions import alternately, by_keras, in_turn, mainly, set_precision
from tests.training.networks import BATCH, PARTIAL, ROWS, X, assert_same_run, dense, rows_of, sequential

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # raised by Keras 3's variables
    pytest.mark.filterwarnings("ignore:.shuffle=True. was passed:UserWarning"),  # Keras 3 warns about its own default
]


def batch_norm(k, **compiled):
    # No bias: the normalization removes it, so its gradient is 0 up to rounding errors, which Adam would follow.
    def layers():
        return [k.layers.Dense(16, use_bias=False), k.layers.BatchNormalization(), k.layers.ReLU()]

    return sequential(k, (8,), layers, **compiled)


def recurrent(k, **compiled):
    return sequential(k, (4, 2), lambda: [k.layers.LSTM(6)], **compiled)


def embedding(k, **compiled):
    def layers():
        return [k.layers.Embedding(20, 5), k.layers.GlobalAveragePooling1D()]

    return sequential(k, (4,), layers, "int32", **compiled)


def convolutional(k, **compiled):
    def layers():
        return [k.layers.Conv2D(4, 3, activation="relu"), k.layers.MaxPool2D(), k.layers.Flatten()]

    return sequential(k, (8, 8, 1), layers, **compiled)


@pytest.mark.thorough(but="tf_keras-embedding")
@pytest.mark.parametrize(
    ("kit", "case"),
    [
        *in_turn([("embedding", embedding, "graph", PARTIAL), ("recurrent", recurrent, "graph", ROWS)]),
        # One Keras version for each case, because these cases test the code of `fit` and not that of Keras.
        *alternately(
            [
                ("xla and partial batches", batch_norm, "xla", PARTIAL),
                ("xla and an embedding", embedding, "xla", ROWS),
                ("convolutional", convolutional, "graph", ROWS),
            ]
        ),
    ],
)
def test_fit_matches_keras(kit, case):
    k, (_, make, compile, rows) = kit.keras, case
    model, reference = (
        make(
            k,
            optimizer=k.optimizers.Adam(0.01),
            weighted_metrics=[k.metrics.SparseCategoricalCrossentropy(from_logits=True)],
        )
        for _ in range(2)
    )
    x, y, w = rows_of(model, rows)
    arguments = {"sample_weight": w, "batch_size": BATCH, "epochs": 2, "shuffle": False, "verbose": 0}
    arguments["validation_data"] = rows_of(model, 64 + rows % BATCH, seed=1)
    expected = by_keras(reference, x, y, **arguments)
    history = nllfit.fit(model, x, y, compile=compile, **arguments).history
    assert_same_run(history, expected, model, reference)


@pytest.mark.thorough  # covered by `test_arguments.py` and `test_class_weights.py`
@mainly(keras, "k")
def test_fit_options_match_keras(k):
    x, y, _ = rows_of(dense(k), PARTIAL)  # 97 rows to train and 33 to evaluate, each with a partial batch of one row
    arguments = {"validation_split": 0.25, "validation_freq": 2, "validation_batch_size": 16, "initial_epoch": 1}
    arguments |= {"class_weight": {0: 1.0, 1: 2.0, 2: 0.5}, "epochs": 5, "shuffle": False, "verbose": 0}
    model, reference = dense(k), dense(k)
    expected = by_keras(reference, x, y, **arguments)
    history = nllfit.fit(model, x, y, compile="graph", **arguments)
    assert_same_run(history.history, expected, model, reference)
    assert history.epoch == [1, 2, 3, 4]
    assert history is model.history


@pytest.mark.thorough(but="keras")
@pytest.mark.parametrize(("kit", "way"), in_turn(["in order", "by name"]))
def test_models_with_several_inputs_and_outputs_match_keras(kit, way):
    k = kit.keras

    def make():
        k.utils.set_random_seed(0)
        a, b = k.Input((4,), name="a"), k.Input((3,), name="b")
        joined = k.layers.Dense(8, activation="tanh")(k.layers.Concatenate()([a, b]))
        outputs = [k.layers.Dense(1, name="u")(joined), k.layers.Dense(2, name="v")(joined)]
        model = k.Model([a, b], outputs)
        model.compile(k.optimizers.SGD(0.1), loss=["mse", "mae"], loss_weights=[1.0, 0.5])
        return model

    # Full batches only: Keras 3 averages `u_loss` over batches and gives a partial batch the weight of a full one.
    rng = np.random.default_rng(0)
    a, b, u, v = (rng.normal(size=(64, size)).astype("float32") for size in (4, 3, 1, 2))
    weights = list(rng.uniform(size=(2, 64)).astype("float32"))
    arguments = {"sample_weight": weights, "epochs": 3, "shuffle": False, "verbose": 0}
    model, reference = make(), make()
    expected = by_keras(reference, [a, b], [u, v], **arguments)
    x = {"a": a, "b": b} if way == "by name" else [a, b]
    history = nllfit.fit(model, x, [u, v], compile="graph", **arguments).history
    assert_same_run(history, expected, model, reference)


def test_targets_may_be_given_by_output_name():
    inputs = tf_keras.Input((8,))
    hidden = tf_keras.layers.Dense(4, activation="tanh")(inputs)
    count = nllfit.heads.Poisson(name="count")(tf_keras.layers.Dense(1)(hidden))
    label = nllfit.heads.Categorical(3, name="label")(tf_keras.layers.Dense(3)(hidden))
    model = tf_keras.Model(inputs, {"count": count, "label": label})
    model.compile("adam", nllfit.negative_log_likelihood, metrics={"count": nllfit.metrics.NegativeLogLikelihood()})
    x, y, _ = rows_of(dense(tf_keras))
    counts = np.arange(ROWS, dtype="float32")[:, None] % 4
    outcomes = {"label": y, "count": counts}
    history = nllfit.fit(model, x, outcomes, epochs=5, verbose=0, seed=0, compile="graph").history
    assert history["loss"][-1] < history["loss"][0]
    counts[17] = -1
    with pytest.raises(ValueError, match="`y` holds, at row 17"):
        nllfit.fit(model, x, outcomes, verbose=0)


@pytest.mark.thorough(but="keras")
@pytest.mark.parametrize(("kit", "compile"), in_turn(["xla", "graph"]))
def test_dropout_draws_a_new_mask_in_each_step(kit, compile):
    # With probability 1/2 dropout keeps the only unit, and the loss of the step is 4. Otherwise the loss is 0. So the
    # mean over 400 steps is 2, with a standard error of 0.1. If all steps had the same mask, the mean would be 0 or 4.
    k = kit.keras
    k.utils.set_random_seed(1)
    model = k.Sequential([k.layers.Input((1,)), k.layers.Dropout(0.5), k.layers.Dense(1, use_bias=False)])
    model.compile(k.optimizers.SGD(0.0), "mse")
    model.set_weights([np.ones((1, 1))])
    data = np.ones((400, 1)), np.zeros((400, 1))
    losses = nllfit.fit(model, *data, batch_size=1, epochs=3, verbose=0, compile=compile).history["loss"]
    np.testing.assert_allclose(losses, 2.0, atol=0.5)
    assert len(set(losses)) > 1


@pytest.mark.thorough(but="keras")
@pytest.mark.parametrize(("kit", "compile"), in_turn(["xla", "graph"]))
def test_a_custom_training_step_and_a_schedule_match_keras(kit, compile):
    k = kit.keras

    class Scaled(k.Model):
        def __init__(self):
            super().__init__()
            self.layer = k.layers.Dense(1)

        def call(self, x):
            return self.layer(x)

        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                error = tf.reduce_mean((self(x, training=True) - y) ** 2)
            gradients = tape.gradient(error, self.trainable_variables)
            self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
            return {"last_error": error}

    def run(train):
        k.utils.set_random_seed(0)
        model = Scaled()
        model.compile(k.optimizers.SGD(k.optimizers.schedules.ExponentialDecay(0.1, 3, 0.5)))
        return model, train(model)

    x, y = np.random.default_rng(0).normal(size=(2, 64, 1)).astype("float32")
    reference, expected = run(lambda m: by_keras(m, x, y, epochs=4, shuffle=False))
    model, history = run(lambda m: nllfit.fit(m, x, y, epochs=4, shuffle=False, verbose=0, compile=compile).history)
    assert_same_run(history, expected, model, reference)


@pytest.mark.thorough
def test_a_loss_of_the_models_own_needs_no_outcomes():  # only Keras 3 supports such a loss
    class Autoencoder(keras.Sequential):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, **kwargs):
            return tf.reduce_mean((x - y_pred) ** 2)

    model = Autoencoder([keras.layers.Input((8,)), keras.layers.Dense(8)])
    model.compile("adam", "mse")
    losses = nllfit.fit(model, X, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


@pytest.mark.thorough
@mainly(keras)  # `test_outcomes_may_have_no_last_axis` tests shapes of outcomes with tf_keras
def test_class_labels_may_have_a_column_axis(kit):
    k = kit.keras
    x, y, _ = rows_of(dense(k))

    def loss(labels):
        k.utils.set_random_seed(0)
        model = k.Sequential([k.layers.Input((8,)), k.layers.Dense(3), kit.heads.Categorical(3)])
        model.compile("adam", kit.loss)
        return nllfit.fit(model, x, labels, shuffle=False, verbose=0, compile="graph").history["loss"]

    assert loss(y) == loss(y[:, None])


@pytest.mark.thorough  # tests of `fit_lbfgs` that are in every run also compute in float64
@pytest.mark.parametrize("compile", ["graph", "xla"])
def test_float64_stays_float64(compile):
    set_precision("float64")
    try:
        model, reference = dense(tf_keras), dense(tf_keras)
    finally:
        set_precision("float32")
    x, y, _ = rows_of(model)
    x = x + 1e-12  # float32 would lose the 1e-12
    nllfit.fit(model, x, y, epochs=2, shuffle=False, verbose=0, compile=compile)
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(32)
    by_keras(reference, dataset, epochs=2)
    for weight, other in zip(model.get_weights(), reference.get_weights(), strict=True):
        np.testing.assert_allclose(weight, other, rtol=1e-11, atol=1e-13)


def test_an_epoch_of_many_calls_matches_one_call(monkeypatch):
    model, reference = dense(tf_keras), dense(tf_keras)
    x, y, _ = rows_of(model)
    arguments = {"epochs": 3, "batch_size": 8, "verbose": 0, "seed": 5, "compile": "graph"}
    expected = nllfit.fit(reference, x, y, **arguments).history
    monkeypatch.setattr(graph_or_xla, "MAX_CALL_SECONDS", 0.0)  # each call of the program trains one step
    history = nllfit.fit(model, x, y, **arguments).history
    assert_same_run(history, expected, model, reference)


def test_seed_and_epoch_determine_the_permutation():
    x = np.arange(10.0)[:, None]

    def order(seed, epoch):
        chunk = batches.Arrays((tf.constant(x),), 4, seed=seed).chunk(epoch)
        return [*chunk.order[0, : chunk.bounds.last].flat, *chunk.rest[0]]

    assert sorted(order(0, 0)) == list(range(10))
    assert order(0, 0) == order(0, 0)
    assert len({tuple(order(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4
    assert order(None, 3) == list(range(10))


@pytest.mark.thorough
@mainly(tf_keras, "k")  # `test_killed_runs_resume.py` also resumes runs, with both versions
def test_a_resumed_run_equals_one_that_never_stopped(k):
    whole, halves = dense(k), dense(k)
    x, y, _ = rows_of(whole)
    arguments = {"seed": 7, "verbose": 0, "compile": "graph"}
    history = nllfit.fit(whole, x, y, epochs=4, **arguments).history["loss"]
    first = nllfit.fit(halves, x, y, epochs=2, **arguments).history["loss"]
    second = nllfit.fit(halves, x, y, epochs=4, initial_epoch=2, **arguments).history["loss"]
    assert first + second == history
    for weight, other in zip(whole.get_weights(), halves.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, other)


def test_keras_seed_determines_the_order():
    def losses():
        model = dense(tf_keras)  # this calls `set_random_seed(0)`
        return nllfit.fit(model, *rows_of(model)[:2], verbose=0, compile="graph").history["loss"]

    assert losses() == losses()


def test_a_support_that_depends_on_the_row_is_accepted():
    model = tf_keras.Sequential(
        [tf_keras.layers.Input((1,)), nllfit.heads.DistributionHead("Pareto", 1, concentration=2.0)]
    )
    model.compile(tf_keras.optimizers.SGD(0.0), nllfit.negative_log_likelihood)
    x = np.array([[9.0], [-3.0]])  # the supports begin at 9.0 and at softplus(-3) = 0.05
    assert np.isfinite(nllfit.fit(model, x, np.array([[20.0], [0.5]]), verbose=0).history["loss"][0])


@pytest.mark.thorough
@mainly(tf_keras)
def test_stateful_recurrent_layers_match_keras(kit):
    k = kit.keras

    def model():
        k.utils.set_random_seed(0)
        inputs = k.layers.Input(batch_shape=(4, 5, 2))
        made = k.Model(inputs, kit.heads.Normal()(k.layers.Dense(2)(k.layers.SimpleRNN(3, stateful=True)(inputs))))
        made.compile("sgd", kit.loss)
        return made

    x = np.random.default_rng(0).normal(size=(16, 5, 2)).astype("float32")
    arguments = {"batch_size": 4, "epochs": 2, "shuffle": False, "verbose": 0}
    expected = by_keras(model(), x, x[:, 0, :1], **arguments)["loss"]
    np.testing.assert_allclose(nllfit.fit(model(), x, x[:, 0, :1], **arguments).history["loss"], expected, rtol=1e-5)
