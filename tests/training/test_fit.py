"""`fit` gives the same numbers as `model.fit`, in Keras 2 and Keras 3, and refuses bad input before any step."""

import collections
import csv
import functools
import gc
import itertools
import threading
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import nllfit
from nllfit import caches
from nllfit.adapters.models import training_variables, variable_of
from nllfit.data import as_tensors
from nllfit.training import batches, dataset_readers, graph_or_xla, loops, runs, streams
from nllfit.training.failures import not_finite
from nllfit.training.programs import Program
from tests.keras_versions import KERAS_VERSIONS, KITS, by_keras, in_turn, mainly, set_precision

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # Keras 3's variables
    pytest.mark.filterwarnings("ignore:.shuffle=True. was passed:UserWarning"),  # Keras 3's own default
]
ROWS, BATCH = 128, 32  # four batches
PARTIAL = 130  # with a partial batch of two rows, which has its own trace


def crossentropy(k):
    return k.losses.SparseCategoricalCrossentropy(from_logits=True)


def sequential(k, shape, layers, dtype="float32", **compiled):
    k.utils.set_random_seed(0)
    model = k.Sequential([k.layers.Input(shape, dtype=dtype), *layers(), k.layers.Dense(3)])
    # SGD has fewer operations than Adam and, unlike Adam, depends on the scale of a gradient.
    usual = {"optimizer": k.optimizers.SGD(0.1, momentum=0.9), "loss": crossentropy(k), "metrics": ["accuracy"]}
    model.compile(**usual | {"jit_compile": False} | compiled)  # by default XLA would compile Keras 3's references
    return model


def dense(k, **compiled):
    return sequential(k, (8,), lambda: [k.layers.Dense(16, activation="relu")], **compiled)


def batch_norm(k, **compiled):
    # No bias before it: its gradient is 0, and Adam would follow the rounding errors.
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


def rows_of(model, n=ROWS, seed=0):
    rng = np.random.default_rng(seed)
    shape = (n, *model.inputs[0].shape[1:])
    x = rng.normal(size=shape).astype("float32")
    if "embedding" in model.layers[0].name:
        x = rng.integers(0, 20, shape).astype("int32")
    return x, rng.integers(0, 3, n), rng.uniform(0.5, 2.0, n).astype("float32")


def assert_same_run(history, expected, model, reference):
    """Compares losses and weights to 1e-5; the order of float32 sums causes about 1e-6 after 25 steps of Adam."""
    assert list(history) == list(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(history[name], values, rtol=1e-5, err_msg=name)
    for weight, other in zip(model.get_weights(), reference.get_weights(), strict=True):
        np.testing.assert_allclose(weight, other, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize(
    ("kit", "case"),
    [
        *in_turn(
            [
                ("recurrent", recurrent, "graph", ROWS),
                ("batch_norm in xla", batch_norm, "xla", ROWS),
                ("embedding", embedding, "graph", PARTIAL),
            ]
        ),
        *(
            pytest.param(kit, case, id=f"{kit.keras.__name__}-{case[0]}", marks=pytest.mark.thorough)
            for case in (
                ("convolutional", convolutional, "graph", ROWS),
                ("embedding in xla", embedding, "xla", ROWS),
                ("partial batches in xla", batch_norm, "xla", PARTIAL),
            )
            for kit in KITS
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

    # Full batches, because Keras 3 averages `u_loss` over batches with equal weights if their size is not static.
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


@pytest.mark.parametrize(("kit", "compile"), in_turn(["xla", "graph"]))
def test_dropout_draws_a_new_mask_in_each_step(kit, compile):
    # A unit kept with probability 1/2 gives a loss of 0 or 4, so 400 steps give a mean of 2 +- 0.1. One mask for all
    # steps of a call would give 0 or 4.
    k = kit.keras
    k.utils.set_random_seed(1)
    model = k.Sequential([k.layers.Input((1,)), k.layers.Dropout(0.5), k.layers.Dense(1, use_bias=False)])
    model.compile(k.optimizers.SGD(0.0), "mse")
    model.set_weights([np.ones((1, 1))])
    data = np.ones((400, 1)), np.zeros((400, 1))
    losses = nllfit.fit(model, *data, batch_size=1, epochs=3, verbose=0, compile=compile).history["loss"]
    np.testing.assert_allclose(losses, 2.0, atol=0.5)
    assert len(set(losses)) > 1


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


def test_a_loss_of_the_models_own_needs_no_outcomes():  # only Keras 3 supports this
    class Autoencoder(keras.Sequential):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, **kwargs):
            return tf.reduce_mean((x - y_pred) ** 2)

    model = Autoencoder([keras.layers.Input((8,)), keras.layers.Dense(8)])
    model.compile("adam", "mse")
    losses = nllfit.fit(model, X, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


@mainly(keras)  # `test_outcomes_may_have_no_last_axis` covers tf_keras
def test_class_labels_may_have_a_column_axis(kit):
    k = kit.keras
    x, y, _ = rows_of(dense(k))

    def loss(labels):
        k.utils.set_random_seed(0)
        model = k.Sequential([k.layers.Input((8,)), k.layers.Dense(3), kit.heads.Categorical(3)])
        model.compile("adam", kit.loss)
        return nllfit.fit(model, x, labels, shuffle=False, verbose=0, compile="graph").history["loss"]

    assert loss(y) == loss(y[:, None])


@pytest.mark.parametrize("compile", ["graph", pytest.param("xla", marks=pytest.mark.thorough)])
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


# Data sets


@pytest.mark.parametrize(("kit", "way"), in_turn([("whole", None), ("repeated", 3)]))
def test_datasets_match_keras(kit, way):
    k, (_, steps) = kit.keras, way
    x, y, w = rows_of(dense(k), ROWS if steps else PARTIAL)
    dataset = tf.data.Dataset.from_tensor_slices((x, y, w)).batch(BATCH)
    dataset = dataset.repeat() if steps else dataset
    arguments = {"epochs": 2, "steps_per_epoch": steps, "verbose": 0, "validation_data": dataset}
    arguments |= {"validation_steps": steps}
    model, reference = dense(k), dense(k)
    expected = by_keras(reference, dataset, **arguments)
    history = nllfit.fit(model, dataset, compile="graph", **arguments).history
    assert_same_run(history, expected, model, reference)


@pytest.mark.parametrize(
    ("kit", "way"),
    in_turn([("cycle", PARTIAL, {"batch_size": BATCH}), ("shares", ROWS, {})]),
)
def test_steps_per_epoch_divide_or_continue_the_data(kit, way):
    k, (_, rows, size) = kit.keras, way
    # Without a batch size the rows are divided among the steps. With one, an epoch continues where the last stopped:
    # the second epoch takes the last two of five batches (one has two rows) and then starts again.
    model, reference = dense(k), dense(k)
    x, y, _ = rows_of(model, rows)
    validation = {"validation_data": (x[:ROWS], y[:ROWS]), "validation_steps": 3}
    arguments = {"steps_per_epoch": 3, "epochs": 4, "shuffle": False, "verbose": 0} | validation | size
    expected = by_keras(reference, x, y, **arguments)
    history = nllfit.fit(model, x, y, compile="graph", **arguments).history
    assert_same_run(history, expected, model, reference)


@KERAS_VERSIONS
def test_sequences_are_notified_of_each_epoch(k):
    class Batches(getattr(k.utils, "PyDataset", None) or k.utils.Sequence):
        def __init__(self):
            super().__init__()
            self.told = []

        def __len__(self):
            return 2

        def __getitem__(self, i):
            return np.full((4, 8), i, "float32"), np.zeros(4)

        def on_epoch_end(self):
            self.told.append("end")

    batches = Batches()
    nllfit.fit(dense(k), batches, epochs=3, verbose=0, compile="graph")
    assert batches.told == ["end"] * 3


def test_a_shuffled_dataset_is_iterated_once_per_epoch():
    model, reference = dense(tf_keras), dense(tf_keras)
    x, y, _ = rows_of(model)

    def dataset():
        return tf.data.Dataset.from_tensor_slices((x, y)).shuffle(ROWS, seed=3).batch(BATCH)

    expected = by_keras(reference, dataset(), epochs=3)
    history = nllfit.fit(model, dataset(), epochs=3, verbose=0, compile="graph").history
    assert_same_run(history, expected, model, reference)


def test_any_iterable_may_yield_batches_of_any_size():
    model, reference = dense(tf_keras), dense(tf_keras)
    x, y, _ = rows_of(model)
    cuts = [0, 32, 64, 70, 102]

    def pieces():
        while True:
            yield from ((x[a:b], y[a:b]) for a, b in itertools.pairwise(cuts))

    expected = by_keras(reference, pieces(), epochs=2, steps_per_epoch=4)
    history = nllfit.fit(model, pieces(), epochs=2, steps_per_epoch=4, verbose=0, compile="graph").history
    assert_same_run(history, expected, model, reference)


@pytest.mark.parametrize(("kit", "way"), in_turn([("one", 1), ("four", 4)]))
def test_workers_read_a_sequence_in_order(kit, way):
    k, (_, workers) = kit.keras, way
    x, y, _ = rows_of(dense(k), PARTIAL)
    threads = set()

    class Batches(getattr(k.utils, "PyDataset", None) or k.utils.Sequence):
        def __len__(self):
            return 5

        def __getitem__(self, i):
            threads.add(threading.current_thread().name.partition("_")[0])
            return x[BATCH * i : BATCH * (i + 1)], y[BATCH * i : BATCH * (i + 1)]

    batches = Batches()
    if k is keras:
        batches.workers = workers
    model, reference = dense(k), dense(k)
    expected = by_keras(reference, x, y, batch_size=BATCH, epochs=2, shuffle=False)
    history = nllfit.fit(model, batches, epochs=2, verbose=0, compile="graph").history
    assert_same_run(history, expected, model, reference)
    assert ("nllfit-sequence" in threads) == (k is keras and workers > 1)


def test_batches_are_joined_into_chunks_without_changes():
    x, y, w = rows_of(dense(tf_keras))
    cuts = [0, 32, 64, 70, 102, 128]

    def read(batches, count=3):
        take, found = (
            dataset_readers.reader_of(batches, lambda batch: as_tensors(batch, "float32", ""))(4),
            [],
        )  # the third batch of four has another size
        while stacks := take(count):
            assert sum(stack.steps for stack in stacks) <= count
            for data, steps, size in stacks:
                assert all(len(part) == steps * size for part in data)
                found += zip(*(np.split(np.asarray(part), steps) for part in data), strict=True)
        return found

    expected = [(x[a:b], y[a:b], w[a:b]) for a, b in itertools.pairwise(cuts)]
    of_rows = tf.data.Dataset.from_generator(
        lambda: iter(expected),
        output_signature=tuple(tf.TensorSpec([None, *a.shape[1:]], a.dtype) for a in (x, y, w)),
    )
    of_equal = of_rows.take(2).map(lambda *parts: tuple(tf.ensure_shape(part, [32, *part.shape[1:]]) for part in parts))
    for count in (1, 2, 3):
        for one, other in zip(read(of_equal, count), expected[:2], strict=True):
            np.testing.assert_array_equal(one[0], other[0])
    of_lists = [tuple(part.tolist() for part in batch) for batch in expected]
    of_tensors = (tuple(map(tf.constant, batch)) for batch in expected)
    for source in (of_rows, iter(expected), expected, of_tensors, of_lists):
        for one, other in zip(read(source), expected, strict=True):
            for part, values in zip(one, other, strict=True):
                np.testing.assert_array_equal(part, values)


def test_an_epoch_of_many_calls_matches_one_call(monkeypatch):
    model, reference = dense(tf_keras), dense(tf_keras)
    x, y, _ = rows_of(model)
    arguments = {"epochs": 3, "batch_size": 8, "verbose": 0, "seed": 5, "compile": "graph"}
    expected = nllfit.fit(reference, x, y, **arguments).history
    monkeypatch.setattr(graph_or_xla, "MAX_CALL_SECONDS", 0.0)  # so that each call does one step
    history = nllfit.fit(model, x, y, **arguments).history
    assert_same_run(history, expected, model, reference)


# Order and resumption


def test_seed_and_epoch_determine_the_permutation():
    x = np.arange(10.0)[:, None]

    def order(seed, epoch):
        chunk = batches.Arrays((tf.constant(x),), 4, seed=seed).chunk(epoch)
        return [*chunk.order[0, : chunk.bounds.last].flat, *chunk.rest[0]]

    assert sorted(order(0, 0)) == list(range(10))
    assert order(0, 0) == order(0, 0)
    assert len({tuple(order(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4
    assert order(None, 3) == list(range(10))


@mainly(tf_keras, "k")  # `test_backups` tests both versions with the whole state of a run
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
        model = dense(tf_keras)  # it sets Keras's seed
        return nllfit.fit(model, *rows_of(model)[:2], verbose=0, compile="graph").history["loss"]

    assert losses() == losses()


# Callbacks


@KERAS_VERSIONS
def test_every_callback_of_an_epoch_works(k, tmp_path):
    pytest.importorskip("tensorboard")

    def callbacks(folder):
        return [
            k.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.9),
            k.callbacks.ReduceLROnPlateau("val_loss", patience=1, min_delta=10.0, factor=0.5),
            k.callbacks.ModelCheckpoint(str(folder / "{epoch}.weights.h5"), save_weights_only=True),
            k.callbacks.CSVLogger(str(folder / "log.csv")),
            k.callbacks.TensorBoard(str(folder / "board")),
            k.callbacks.EarlyStopping("val_loss", patience=2, min_delta=10.0, restore_best_weights=True),
        ]

    model, reference = dense(k), dense(k)
    x, y, _ = rows_of(model)
    arguments = {"epochs": 10, "validation_split": 0.25, "shuffle": False, "verbose": 0}
    folders = tmp_path / "ours", tmp_path / "theirs"
    for folder in folders:
        folder.mkdir()
    history = nllfit.fit(model, x, y, callbacks=callbacks(folders[0]), compile="graph", **arguments)
    expected = by_keras(reference, x, y, callbacks=callbacks(folders[1]), **arguments)
    assert_same_run(history.history, expected, model, reference)
    assert len(history.epoch) == 3  # early stopping restores the weights of the first epoch
    ours, theirs = (sorted(p.name for p in folder.glob("*.weights.h5")) for folder in folders)
    assert ours == theirs == [f"{epoch}.weights.h5" for epoch in (1, 2, 3)]
    logs = [list(csv.DictReader((folder / "log.csv").read_text().splitlines())) for folder in folders]
    assert [row["epoch"] for row in logs[0]] == ["0", "1", "2"]
    for row, other in zip(*logs, strict=True):
        np.testing.assert_allclose([float(v) for v in row.values()], [float(v) for v in other.values()], rtol=1e-5)
    boards = [scalars(folder / "board") for folder in folders]
    assert boards[0].keys() == boards[1].keys()
    for tag, values in boards[1].items():
        np.testing.assert_allclose(boards[0][tag], values, rtol=1e-5, err_msg=tag)


def stop_at_three(callback, epoch, logs=None):
    if epoch == 2:
        raise KeyboardInterrupt


def scalars(board):
    """The `(step, value)` pairs of each tag in a TensorBoard folder."""
    found = {}
    for path in sorted(board.rglob("events*")):
        for record in tf.compat.v1.train.summary_iterator(str(path)):
            for value in record.summary.value:
                if value.HasField("tensor") and value.tensor.dtype == tf.float32.as_datatype_enum:
                    pair = (record.step, float(tf.make_ndarray(value.tensor)))
                    found.setdefault((path.parent.name, value.tag), []).append(pair)
    return found


@KERAS_VERSIONS
def test_callbacks_that_need_batches_are_refused(k, tmp_path):
    class PerBatch(k.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            pass

    model = dense(k)
    x, y, _ = rows_of(model)
    for callback in [
        PerBatch(),
        k.callbacks.LambdaCallback(on_train_batch_end=print),
        k.callbacks.ModelCheckpoint(str(tmp_path / "m.keras"), save_freq=3),
        k.callbacks.TensorBoard(str(tmp_path), update_freq="batch"),
        k.callbacks.BackupAndRestore(str(tmp_path), save_freq=3),
    ]:
        with pytest.raises(ValueError, match=f"{type(callback).__name__} acts on every batch.*`model.fit`"):
            nllfit.fit(model, x, y, callbacks=[callback], verbose=0)
    (other,) = {tf_keras, keras} - {k}
    for stranger in (other.callbacks.EarlyStopping(), "EarlyStopping"):
        with pytest.raises(TypeError, match=f"the model is of `{k.__name__}`"):
            nllfit.fit(model, x, y, callbacks=[stranger], verbose=0)


@KERAS_VERSIONS
def test_the_progress_bar_equals_keras_own(k, capfd, monkeypatch):
    model = dense(k)
    x, y, _ = rows_of(model)
    monkeypatch.setattr(graph_or_xla, "MAX_CALL_SECONDS", 0.0)
    nllfit.fit(model, x, y, epochs=2, batch_size=8, compile="graph")
    shown = capfd.readouterr().out
    assert "Epoch 2/2" in shown
    assert "16/16" in shown
    assert "accuracy: " in shown


# Programs


@pytest.fixture
def traced(monkeypatch):
    """A list of the programs that the test traces, starting from empty caches."""
    monkeypatch.setattr(caches, "_SHARED", caches.LeastRecentlyUsed(32))
    programs, init = [], Program.__init__

    def listed(program, *args):
        init(program, *args)
        programs.append(program)

    monkeypatch.setattr(Program, "__init__", listed)
    return programs


@mainly(tf_keras, "k")
def test_fitting_again_traces_nothing(k, traced):
    model = dense(k)
    x, y, w = rows_of(model)
    arguments = {"epochs": 2, "verbose": 0, "validation_split": 0.25, "sample_weight": w}
    nllfit.fit(model, x, y, **arguments)
    count = len(traced)
    nllfit.fit(model, x, y, **arguments)
    nllfit.fit(model, x, y, callbacks=[k.callbacks.LearningRateScheduler(lambda epoch: 0.1)], **arguments)
    assert len(traced) == count == 1


def test_no_range_depends_on_the_number_of_steps_so_xla_compiles_once(traced):
    """XLA compiles a `Range` again for each value of its limit, which therefore is a constant of its function."""
    model = dense(tf_keras, metrics=["mae"])
    x, y, _ = rows_of(model)
    nllfit.fit(model, x, y, validation_data=(x, y), verbose=0, compile="graph")
    (program,) = traced
    graph = program._graph.graph.as_graph_def()
    functions = [graph.node, *(function.node_def for function in graph.library.function)]
    assert sum(node.op in ("While", "StatelessWhile") for nodes in functions for node in nodes) >= 3
    for nodes in functions:
        constants = {node.name for node in nodes if node.op == "Const"}
        limits = [node.input[1].partition(":")[0] for node in nodes if node.op == "Range"]
        assert constants.issuperset(limits)


@KERAS_VERSIONS
def test_another_model_of_an_architecture_reuses_the_trace_and_matches_keras(k, traced):
    x, y, _ = rows_of(dense(k))
    arguments = {"epochs": 1, "shuffle": False, "verbose": 0}
    names = []
    for seed in range(2):
        model, reference = (dense(k, optimizer=k.optimizers.Adam(0.01)) for _ in range(2))
        weights = [w + 0.01 * seed for w in model.get_weights()]
        model.set_weights(weights)
        reference.set_weights(weights)
        expected = by_keras(reference, x, y, **arguments)
        assert_same_run(nllfit.fit(model, x, y, compile="graph", **arguments).history, expected, model, reference)
        # TensorFlow creates and keeps an operation for each new variable name, at five times the cost of a variable.
        weights = {id(variable_of(w)) for w in model.variables}
        slots = [v for v in training_variables(model) if v.shape.rank and id(v) not in weights]
        names.append([v.name for v in slots])
    assert len(traced) == 1
    assert names[0] == names[1]
    assert len(set(names[0])) == len(names[0]) == 8  # two for each weight


@KERAS_VERSIONS
def test_different_architectures_never_share_a_trace(k, monkeypatch):
    class Dense(k.layers.Dense):
        pass

    def frozen(model):
        model.layers[0].trainable = False
        return model

    def models():
        yield dense(k)
        yield dense(k, optimizer=k.optimizers.Adam(0.01, beta_1=0.8))
        yield dense(k, metrics=[])
        yield dense(k, loss="mse")
        yield frozen(dense(k))
        yield sequential(k, (8,), lambda: [k.layers.Dense(16, activation="tanh")])
        for _ in range(2):  # user code is never assumed to be the same
            yield sequential(k, (8,), lambda: [Dense(16, activation="relu")])
            yield sequential(k, (8,), lambda: [k.layers.Dense(16, activation=lambda u: u)])
            yield dense(k, loss=lambda y_true, y_pred: tf.reduce_mean(y_pred**2, -1))

    made = []

    class Untraced:
        """A stand-in for a program that is neither traced nor run."""

        def __init__(self, model, mode, layout, is_known):
            self.is_shared = is_known
            made.append(self)

        def changed(self, variables):
            raise InterruptedError

    monkeypatch.setattr(caches, "_SHARED", caches.LeastRecentlyUsed(32))
    monkeypatch.setattr(runs, "Program", Untraced)
    count = 0
    for count, model in enumerate(models(), 1):
        with pytest.raises(InterruptedError):
            nllfit.fit(model, X, Y, verbose=0, compile="graph")
        assert len(made) == count
    with pytest.raises(InterruptedError):
        nllfit.fit(dense(k), X, Y, verbose=0, compile="graph")
    assert len(made) == count  # the program of the first model is reused


@pytest.mark.thorough  # `test_every_callback_of_an_epoch_works` stops early, too
@mainly(keras, "k")  # `test_every_callback_of_an_epoch_works` covers both versions
def test_early_stopping_and_checkpoints_see_the_weights_of_their_epoch(k, tmp_path):
    def run(fit, folder):
        model = dense(k, optimizer=k.optimizers.Adam(0.1))
        x, y, _ = rows_of(model)
        stopping = k.callbacks.EarlyStopping(patience=3, restore_best_weights=True)
        files = str(folder / "{epoch}.weights.h5")
        saving = k.callbacks.ModelCheckpoint(files, "val_loss", save_weights_only=True, save_best_only=True)
        data = {"validation_data": (x[64:], y[64:]), "callbacks": [stopping, saving]}
        history = fit(model, x[:64], y[:64], epochs=60, shuffle=False, **data)
        assert stopping.model is saving.model is model
        return model, history

    folders = tmp_path / "ours", tmp_path / "theirs"
    for folder in folders:
        folder.mkdir()
    ours = functools.partial(nllfit.fit, verbose=0, compile="graph")
    model, history = run(lambda *args, **arguments: ours(*args, **arguments).history, folders[0])
    reference, expected = run(by_keras, folders[1])
    assert len(history["loss"]) < 60
    assert_same_run(history, expected, model, reference)
    saved = [sorted(file.name for file in folder.iterdir()) for folder in folders]
    assert saved[0] == saved[1]
    for name in saved[0]:
        model.load_weights(folders[0] / name)
        reference.load_weights(folders[1] / name)
        assert_same_run({}, {}, model, reference)


@mainly(tf_keras, "k")
def test_a_callback_that_fails_leaves_the_weights_of_its_epoch(k, monkeypatch):
    monkeypatch.setattr(k.callbacks.TerminateOnNaN, "on_epoch_end", stop_at_three, raising=False)
    monkeypatch.setattr(graph_or_xla, "UNTIMED_CALL_STEPS", 1000)  # so that one call does all epochs
    model, reference = dense(k), dense(k)
    x, y, _ = rows_of(model)
    nllfit.fit(reference, x, y, epochs=3, seed=0, verbose=0, compile="graph")
    with pytest.raises(KeyboardInterrupt):
        nllfit.fit(model, x, y, epochs=9, seed=0, verbose=0, compile="graph", callbacks=[k.callbacks.TerminateOnNaN()])
    for weight, other in zip(model.get_weights(), reference.get_weights(), strict=True):
        np.testing.assert_allclose(weight, other, rtol=1e-6)


@mainly(tf_keras, "k")  # `test_a_model_with_its_own_metrics_can_be_compiled_again` covers Keras 3
def test_a_model_that_is_compiled_again_gets_new_traces(k):
    model = dense(k)
    x, y, _ = rows_of(model)
    nllfit.fit(model, x, y, verbose=0, compile="graph")
    before = model.get_weights()
    model.compile(k.optimizers.SGD(0.0), crossentropy(k), metrics=[k.metrics.SparseTopKCategoricalAccuracy(2, "top2")])
    assert set(nllfit.fit(model, x, y, verbose=0, compile="graph").history) == {"loss", "top2"}
    for weight, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, other)


def test_small_variables_are_packed_and_unpacked_without_changes():
    shapes = [2, 3], [4], [300, 300], [0, 5], []
    variables = [tf.Variable(tf.fill(shape, float(i))) for i, shape in enumerate(shapes)]
    variables += [tf.Variable(7, dtype=tf.int64), tf.Variable([[8.0, 9.0]], shape=tf.TensorShape([1, None]))]
    joined = loops._joined(variables)
    assert [t.shape.num_elements() for t in joined[:2]] == [2 * 3 + 4 + 0 + 1, 300 * 300]
    after = loops.split([np.stack([t.numpy(), t.numpy() + 1]) for t in joined], variables)
    for state, variable in zip(after, variables, strict=True):
        np.testing.assert_array_equal(state, [variable.numpy(), variable.numpy() + 1], strict=True)


@mainly(tf_keras, "k")  # the next test covers Keras 3
def test_traces_are_freed_with_their_model(k):
    model = dense(k)
    x, y, _ = rows_of(model)
    nllfit.fit(model, x, y, verbose=0, compile="graph")
    alive = weakref.ref(model)
    del model
    k.backend.clear_session()
    gc.collect()
    assert alive() is None


@pytest.mark.thorough
@mainly(keras, "k")  # the test above covers tf_keras, and `test_memory` both with 200 models
def test_four_models_in_turn_leave_no_more_objects_than_two(k, traced):
    def alive():
        for thread in threading.enumerate():
            if thread.name == "nllfit-xla":  # it compiles for other tests and holds variables
                thread.join()
        gc.collect()
        kinds = tf.Variable, tf.Graph, k.Model, k.optimizers.Optimizer, k.callbacks.Callback, Program
        types = collections.Counter(map(type, gc.get_objects()))
        return collections.Counter({t: number for t, number in types.items() if issubclass(t, kinds)})

    x, y, _ = rows_of(dense(k))
    counts = []
    for _ in range(2):
        for _ in range(2):
            nllfit.fit(dense(k), x, y, verbose=0, validation_data=(x[:32], y[:32]))
        counts.append(alive())
    assert not counts[1] - counts[0]
    assert len(traced) == 1


def large_convolutions():
    return sequential(tf_keras, (28, 28, 1), lambda: [tf_keras.layers.Conv2D(64, 3), tf_keras.layers.Flatten()])


def test_auto_uses_xla_when_compiled_unless_it_is_slower(monkeypatch, traced):
    monkeypatch.setattr(graph_or_xla, "MIN_GRAPH_SECONDS_FOR_XLA", 0.0)
    monkeypatch.setattr(graph_or_xla, "MIN_STEPS_FOR_SLOW_CONVOLUTIONS", 0)
    model, reference = dense(tf_keras), dense(tf_keras)
    x, y, _ = rows_of(model)
    losses, fitted, compiles = [], threading.Event(), Program._compile
    monkeypatch.setattr(Program, "_compile", lambda program, tensors: fitted.wait() and compiles(program, tensors))

    def fit():
        losses.extend(nllfit.fit(model, x, y, epochs=3, shuffle=False, verbose=0).history["loss"])

    fit()
    (program,) = traced
    assert "xla" not in program.timings.calls
    fitted.set()
    program.compiling.join()
    fit()
    assert program.timings.calls["xla"] > 0
    for faster in ("xla", "graph"):  # given timings, because real ones are random on a busy machine
        calls = {**program.timings.calls, "xla": 99}
        program.timings = graph_or_xla.Timings({"xla": 1e-3, "graph": 1e-3} | {faster: 1e-9}, calls, 1.0, "ready")
        fit()
        assert {way for way in calls if program.timings.calls[way] > calls[way]} == {faster}
    # The measurement leaves no trace of its own.
    expected = nllfit.fit(reference, x, y, epochs=12, shuffle=False, verbose=0, compile="graph").history
    assert_same_run({"loss": losses}, {"loss": expected["loss"]}, model, reference)


def test_auto_never_compiles_strings_with_xla(monkeypatch, traced):
    monkeypatch.setattr(graph_or_xla, "MIN_GRAPH_SECONDS_FOR_XLA", 0.0)
    words = tf_keras.layers.StringLookup(vocabulary=["a", "b"], output_mode="one_hot")
    model = sequential(tf_keras, (1,), lambda: [words], "string")
    nllfit.fit(model, np.array([["a"], ["b"]] * 64), rows_of(dense(tf_keras))[1], verbose=0, epochs=99)
    assert [program.compiling for program in traced] == [None]


def test_auto_does_not_try_xla_on_a_few_steps_of_large_convolutions(monkeypatch, traced):
    monkeypatch.setattr(graph_or_xla, "MIN_GRAPH_SECONDS_FOR_XLA", 0.0)
    monkeypatch.setattr(graph_or_xla, "SLOW_CONVOLUTION_STEP_SECONDS", 0.0)
    model = large_convolutions()
    nllfit.fit(model, *rows_of(model)[:2], verbose=0, epochs=2)
    assert [program.compiling for program in traced] == [None]


def test_auto_after_xla_times_the_graph_before_it_compares(monkeypatch, traced):
    monkeypatch.setattr(graph_or_xla, "MIN_GRAPH_SECONDS_FOR_XLA", 0.0)
    model = dense(tf_keras)
    x, y, _ = rows_of(model)
    for compile in ("xla", "xla", "xla", "xla", "auto"):
        nllfit.fit(model, x, y, verbose=0, compile=compile)
    (program,) = traced
    program.compiling.join()
    assert program.timings.calls == {"xla": 4, "graph": 1}
    nllfit.fit(model, x, y, verbose=0)
    assert program.timings.calls == {"xla": 4, "graph": 2}


def test_a_seeded_run_switches_to_xla_at_a_fixed_epoch(monkeypatch, traced):
    monkeypatch.setattr(graph_or_xla, "REPEATABLE_GRAPH_STEPS", 8)  # the steps of two epochs
    monkeypatch.setattr(graph_or_xla, "MIN_GRAPH_SECONDS_FOR_XLA", 0.0)
    x, y, _ = rows_of(dense(tf_keras))
    ways, run = [], Program.run

    def listed(program, chunk, variables, way):
        ways.extend([way] * chunk.bounds.epochs)
        return run(program, chunk, variables, way)

    monkeypatch.setattr(Program, "run", listed)

    def fit(model=None, **arguments):
        model = model or dense(tf_keras, optimizer=tf_keras.optimizers.Adam(0.05))
        nllfit.fit(model, x, y, seed=1, verbose=0, **{"epochs": 5} | arguments)
        return model

    whole = fit()
    assert ways == ["graph"] * 2 + ["xla"] * 3
    (program,) = traced
    for faster in ("xla", "graph"):  # given timings
        program.timings = graph_or_xla.Timings(
            {"xla": 1e-3, "graph": 1e-3} | {faster: 1e-9}, {"xla": 99, "graph": 9}, 9.0, "ready"
        )
        ways.clear()
        resumed = fit(fit(epochs=3), initial_epoch=3)
        assert ways == ["graph"] * 2 + ["xla"] * 3
        for weight, other in zip(resumed.get_weights(), whole.get_weights(), strict=True):
            np.testing.assert_array_equal(weight, other)


# Bad input


def head_model():
    model = tf_keras.Sequential([tf_keras.layers.Input((8,)), tf_keras.layers.Dense(1), nllfit.heads.Bernoulli()])
    model.compile("adam", nllfit.negative_log_likelihood)
    return model


def bad(array, value, row=20):
    array = np.array(array, "float32")
    array[row] = value
    return array


X, Y, W = np.ones((40, 8), "float32"), np.ones((40, 1), "float32"), np.ones(40, "float32")


@pytest.mark.parametrize("name", ["Gamma", "LogNormal", "Beta"])
def test_an_outcome_on_the_edge_of_an_open_support_is_refused_with_the_weights_untouched(name):
    head = getattr(nllfit.heads, name)()
    model = tf_keras.Sequential([tf_keras.layers.Input((8,)), tf_keras.layers.Dense(head.params_size()), head])
    model.compile("adam", nllfit.negative_log_likelihood)
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"at row 20, \[0.\], which .* cannot have: Its log-likelihood is not finite"):
        nllfit.fit(model, X, bad(Y / 2, 0.0), verbose=0)
    for weight, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, other)


@KERAS_VERSIONS
def test_models_that_only_keras_can_fit_are_refused(k):
    model = dense(k, run_eagerly=True)
    x, y, _ = rows_of(model)
    with pytest.raises(ValueError, match=r"use .model.fit."):
        nllfit.fit(model, x, y, verbose=0)
    with pytest.raises(ValueError, match="not compiled"):
        nllfit.fit(k.Sequential([k.layers.Dense(1)]), x, y)
    with pytest.raises(TypeError, match="not a Keras model"):
        nllfit.fit(object(), x, y)


@pytest.mark.parametrize("x", [None, "data.csv", 3])
def test_empty_data_are_refused(x):
    with pytest.raises(TypeError, match=f"`x` is a {type(x).__name__}: give arrays"):
        nllfit.fit(head_model(), x, Y, verbose=0)


def test_a_support_that_depends_on_the_row_is_accepted():
    model = tf_keras.Sequential(
        [tf_keras.layers.Input((1,)), nllfit.heads.DistributionHead("Pareto", 1, concentration=2.0)]
    )
    model.compile(tf_keras.optimizers.SGD(0.0), nllfit.negative_log_likelihood)
    x = np.array([[9.0], [-3.0]])  # supports above 9.0 and above 0.05
    assert np.isfinite(nllfit.fit(model, x, np.array([[20.0], [0.5]]), verbose=0).history["loss"][0])


@pytest.mark.parametrize("compile", ["graph", pytest.param("xla", marks=pytest.mark.thorough)])
def test_diverging_parameters_raise_and_the_model_is_restored(compile):
    tf_keras.utils.set_random_seed(0)  # with some seeds the huge step gives a huge scale and a finite loss
    model = tf_keras.Sequential([tf_keras.layers.Dense(2, input_shape=(3,)), nllfit.heads.Normal()])
    model.compile(tf_keras.optimizers.SGD(1e25), nllfit.negative_log_likelihood)
    x = np.random.default_rng(0).normal(size=[40, 3])
    with pytest.raises(FloatingPointError, match=r"the loss is (nan|inf)(, and `dense.*` is| with finite weights)"):
        nllfit.fit(model, x, x[:, :1], epochs=3, verbose=0, compile=compile)
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


def test_an_overflow_in_float16_is_explained():
    model = tf_keras.Sequential([tf_keras.layers.Dense(2, dtype="float16", name="half"), nllfit.heads.Normal()])
    model.compile("adam", nllfit.negative_log_likelihood)
    with pytest.raises(FloatingPointError, match="`half` computes in float16, which ends at 65504: try bfloat16"):
        nllfit.fit(model, np.full([4, 3], 6e4, "float32"), np.zeros([4, 1], "float32"), verbose=0, compile="graph")
    assert not_finite(model, 0, np.nan).startswith(
        "Epoch 1: the loss is nan with finite weights. The model is as it was"
    )


@pytest.mark.parametrize(("kit", "compile"), in_turn(["xla", "graph"]))
def test_a_non_finite_loss_stops_the_run_and_restores_the_epoch(kit, compile):
    k = kit.keras

    class Explode(k.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                self.model.optimizer.learning_rate.assign(1e38)

        def on_epoch_end(self, epoch, logs=None):
            self.kept = self.model.get_weights()

    model = dense(k, optimizer=k.optimizers.SGD(0.01))
    x, y, _ = rows_of(model)
    explode = Explode()
    with pytest.raises(FloatingPointError, match=f"Epoch 3: the loss is .*`{model.layers[0].name}`"):
        nllfit.fit(model, x, y, epochs=5, callbacks=[explode], verbose=0, compile=compile)
    assert len(model.history.epoch) == 2
    for weight, other in zip(model.get_weights(), explode.kept, strict=True):
        np.testing.assert_array_equal(weight, other)


def test_errors_name_the_batch_of_a_bad_dataset(monkeypatch):
    model = dense(tf_keras)
    x, y, _ = rows_of(model, PARTIAL)
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(BATCH)
    with pytest.raises(
        ValueError, match=r"ran out after 1 batches of epoch 2, of 4: make the dataset longer with `.rep"
    ):
        nllfit.fit(model, dataset, steps_per_epoch=4, epochs=3, verbose=0, compile="graph")
    with pytest.raises(
        ValueError, match="ran out after 0 batches of epoch 2, of all: a generator is read only once, so"
    ):
        nllfit.fit(model, iter([(x[:BATCH], y[:BATCH])]), epochs=2, verbose=0, compile="graph")
    before = model.get_weights()
    monkeypatch.setattr(streams, "_MAX_CHUNK_STEPS", 2)  # the error is in the second chunk, after two steps
    dataset = tf.data.Dataset.from_tensor_slices((bad(x, np.nan, 100), y)).batch(BATCH)
    with pytest.raises(ValueError, match=r"`x` has nan at row 4 of batch 3 of epoch 1.*8 numbers"):
        nllfit.fit(model, dataset, verbose=0, compile="graph")
    for weight, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, other)


def test_errors_name_the_row_of_an_impossible_outcome_in_a_dataset(monkeypatch):
    monkeypatch.setattr(streams, "_MAX_CHUNK_STEPS", 2)
    model = head_model()
    before = model.get_weights()
    dataset = tf.data.Dataset.from_tensor_slices((X, bad(Y, 2.0, 30))).batch(8)
    with pytest.raises(ValueError, match="`y` holds, at row 6 of batch 3 of epoch 1"):  # a chunk has 16 rows
        nllfit.fit(model, dataset, verbose=0, compile="graph")
    for weight, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, other)


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
