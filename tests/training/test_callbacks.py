"""Callbacks that act once per epoch work as in `model.fit`. Callbacks that need each batch raise an error."""

import csv
import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import nllfit
from nllfit.training import graph_or_xla
from tests.keras_versions import KERAS_VERSIONS, by_keras, mainly
from tests.training.networks import assert_same_run, dense, rows_of

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # raised by Keras 3's variables
    pytest.mark.filterwarnings("ignore:.shuffle=True. was passed:UserWarning"),  # Keras 3 warns about its own default
]


@mainly(keras, "k")
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
    assert len(history.epoch) == 3  # early stopping ended the run, and restored the weights of the first epoch
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


@pytest.mark.thorough
@mainly(keras, "k")
def test_a_callback_may_change_the_model_for_its_evaluation(k):
    class Zeros(k.callbacks.Callback):  # Keras 3's `SwapEMAWeights` also changes the weights for evaluations
        def on_test_begin(self, logs=None):
            self.kept = self.model.get_weights()
            self.model.set_weights([np.zeros_like(weight) for weight in self.kept])

        def on_test_end(self, logs=None):
            self.model.set_weights(self.kept)

    model, reference = dense(k), dense(k)
    x, y, _ = rows_of(model)
    arguments = {"epochs": 3, "validation_data": (x, y), "validation_freq": 2, "shuffle": False, "verbose": 0}
    history = nllfit.fit(model, x, y, callbacks=[Zeros()], compile="graph", **arguments).history
    assert_same_run(history, by_keras(reference, x, y, callbacks=[Zeros()], **arguments), model, reference)
    assert history["val_loss"] == pytest.approx([np.log(3)])


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


@mainly(tf_keras, "k")
def test_the_progress_bar_equals_keras_own(k, capfd, monkeypatch):
    model = dense(k)
    x, y, _ = rows_of(model)
    monkeypatch.setattr(graph_or_xla, "MAX_CALL_SECONDS", 0.0)
    nllfit.fit(model, x, y, epochs=2, batch_size=8, compile="graph")
    shown = capfd.readouterr().out
    assert "Epoch 2/2" in shown
    assert "16/16" in shown
    assert "accuracy: " in shown


@pytest.mark.thorough  # covered by `test_every_callback_of_an_epoch_works`, which also has an `EarlyStopping`
@mainly(keras, "k")
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
    monkeypatch.setattr(graph_or_xla, "UNTIMED_CALL_STEPS", 1000)  # one call of the program trains all epochs
    model, reference = dense(k), dense(k)
    x, y, _ = rows_of(model)
    nllfit.fit(reference, x, y, epochs=3, seed=0, verbose=0, compile="graph")
    with pytest.raises(KeyboardInterrupt):
        nllfit.fit(model, x, y, epochs=9, seed=0, verbose=0, compile="graph", callbacks=[k.callbacks.TerminateOnNaN()])
    for weight, other in zip(model.get_weights(), reference.get_weights(), strict=True):
        np.testing.assert_allclose(weight, other, rtol=1e-6)
