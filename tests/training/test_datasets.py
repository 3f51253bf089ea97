"""`fit` reads datasets, sequences and iterables as `model.fit` does. Errors name the batch that is wrong."""

import itertools
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import nllfit
from nllfit.data_checks import as_tensors
from nllfit.training import dataset_readers, streams
from tests.keras_versions import KITS, by_keras, in_turn, mainly
from tests.training.networks import BATCH, PARTIAL, ROWS, X, Y, assert_same_run, bad, dense, head_model, rows_of

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # raised by Keras 3's variables
    pytest.mark.filterwarnings("ignore:.shuffle=True. was passed:UserWarning"),  # Keras 3 warns about its own default
]


@pytest.mark.parametrize(("kit", "way"), in_turn([("repeated", 3), ("whole", None)], left_out=[("whole", None)]))
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


STEPS = [("cycle", PARTIAL, {"batch_size": BATCH}), ("shares", ROWS, {})]


@pytest.mark.thorough
@pytest.mark.parametrize(("kit", "way"), [(KITS[0], STEPS[0]), (KITS[1], STEPS[0]), (KITS[1], STEPS[1])])
def test_steps_per_epoch_divide_or_continue_the_data(kit, way):
    k, (_, rows, size) = kit.keras, way
    # Without `batch_size`, the rows are divided among the steps. With `batch_size`, there are five batches for epochs
    # of three steps. The first epoch takes three batches. The second takes the other two, and then the first batch
    # again. If the data are arrays, Keras 3 would end the second epoch after two batches. So the reference is trained
    # on a repeated dataset.
    model, reference = dense(k), dense(k)
    x, y, _ = rows_of(model, rows)
    validation = {"validation_data": (x[:ROWS], y[:ROWS]), "validation_steps": 3}
    arguments = {"steps_per_epoch": 3, "epochs": 2, "shuffle": False, "verbose": 0} | validation | size
    if k is keras and size:
        repeated = tf.data.Dataset.from_tensor_slices((x, y)).batch(BATCH).repeat()
        expected = by_keras(reference, repeated, **arguments | {"batch_size": None, "validation_batch_size": BATCH})
    else:
        expected = by_keras(reference, x, y, **arguments)
    history = nllfit.fit(model, x, y, compile="graph", **arguments).history
    assert_same_run(history, expected, model, reference)


@mainly(keras, "k")
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


@pytest.mark.thorough  # covered by the test above, which also reads a sequence
@mainly(keras)
def test_a_sequence_begins_each_epoch_where_keras_does(kit):
    k = kit.keras

    class Batches(getattr(k.utils, "PyDataset", None) or k.utils.Sequence):
        def __len__(self):
            return len(x) // BATCH

        def __getitem__(self, i):
            return x[i * BATCH : (i + 1) * BATCH], y[i * BATCH : (i + 1) * BATCH]

    model, reference = dense(k), dense(k)
    x, y, _ = rows_of(model)
    # tf_keras begins each epoch at the first batch. Keras 3 continues after the last batch of the previous epoch.
    arguments = {"steps_per_epoch": len(x) // BATCH // 2, "epochs": 3 if k is tf_keras else 2, "shuffle": False}
    expected = by_keras(reference, Batches(), **arguments)
    history = nllfit.fit(model, Batches(), verbose=0, compile="graph", **arguments).history
    assert_same_run(history, expected, model, reference)


@pytest.mark.thorough  # covered by `test_class_weights_multiply_the_weights_of_batches_once`
@mainly(tf_keras, "k")
def test_the_weights_of_a_batch_may_be_none(k):
    model, reference = dense(k), dense(k)
    x, y, _ = rows_of(model)

    def batches():
        return ((x[i : i + BATCH], y[i : i + BATCH], None) for i in range(0, len(x), BATCH))

    expected = by_keras(reference, batches(), steps_per_epoch=len(x) // BATCH)
    history = nllfit.fit(model, batches(), verbose=0, compile="graph").history
    assert_same_run(history, expected, model, reference)


@pytest.mark.thorough
def test_an_infinite_validation_loss_leaves_the_other_metrics_complete():
    model = tf_keras.Sequential([tf_keras.layers.Input((8,)), tf_keras.layers.Dense(1, kernel_initializer="zeros")])
    model.compile(tf_keras.optimizers.SGD(0.0), "mse", metrics=["mae"])
    dataset = tf.data.Dataset.from_tensor_slices((X, bad(Y, 1e30, row=0))).batch(2)  # (1e30)^2 overflows in float32
    history = nllfit.fit(model, X, Y, validation_data=dataset, verbose=0, compile="graph").history
    assert history["val_loss"] == [np.inf]
    assert history["val_mae"] == pytest.approx([1e30 / len(X)])


def test_the_length_of_an_iterable_may_be_unknown():
    class Loader:
        def __len__(self):
            raise TypeError("object of type 'IterableDataset' has no len()")  # PyTorch's `DataLoader` raises this error

        def __iter__(self):
            return iter([(tf.constant(X), tf.constant(Y))])

    assert streams.Stream(Loader(), tuple, tuple, lambda *_: lambda *data, where: data).steps is None


@pytest.mark.thorough
def test_a_shuffled_dataset_is_iterated_once_per_epoch():
    model, reference = dense(tf_keras), dense(tf_keras)
    x, y, _ = rows_of(model)

    def dataset():
        return tf.data.Dataset.from_tensor_slices((x, y)).shuffle(ROWS, seed=3).batch(BATCH)

    expected = by_keras(reference, dataset(), epochs=3)
    history = nllfit.fit(model, dataset(), epochs=3, verbose=0, compile="graph").history
    assert_same_run(history, expected, model, reference)


@pytest.mark.thorough
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


@pytest.mark.thorough
@pytest.mark.parametrize(("kit", "way"), [(KITS[0], ("one", 1)), (KITS[1], ("one", 1)), (KITS[1], ("four", 4))])
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
        # Reads at most four batches; the third has another size.
        take, found = (
            dataset_readers.reader_of(batches, lambda batch: as_tensors(batch, "float32", ""))(4),
            [],
        )
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


@pytest.mark.thorough
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
    monkeypatch.setattr(streams, "_MAX_CHUNK_STEPS", 2)  # a chunk has two batches, and the error is in the second chunk
    dataset = tf.data.Dataset.from_tensor_slices((bad(x, np.nan, 100), y)).batch(BATCH)
    with pytest.raises(ValueError, match=r"`x` has nan at row 4 of batch 3 of epoch 1.*8 numbers"):
        nllfit.fit(model, dataset, verbose=0, compile="graph")
    for weight, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, other)


@pytest.mark.thorough  # in every run, `test_failures.py` tests impossible outcomes in arrays
def test_errors_name_the_row_of_an_impossible_outcome_in_a_dataset(monkeypatch):
    monkeypatch.setattr(streams, "_MAX_CHUNK_STEPS", 2)  # a chunk has two batches, and the error is in the second chunk
    model = head_model()
    before = model.get_weights()
    dataset = tf.data.Dataset.from_tensor_slices((X, bad(Y, 2.0, 30))).batch(8)
    with pytest.raises(ValueError, match="`y` holds, at row 6 of batch 3 of epoch 1"):
        nllfit.fit(model, dataset, verbose=0, compile="graph")
    for weight, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, other)
