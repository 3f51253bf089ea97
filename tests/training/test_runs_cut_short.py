"""After a run that ends early, the model has the state at the end of a complete epoch.

Callbacks get the same calls as in Keras.
"""

import functools
import pathlib
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import nllfit
from nllfit.training import graph_or_xla, streams
from nllfit.training.epoch_programs import Program
from tests.keras_versions import KERAS_VERSIONS, in_turn, mainly

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 4)).astype("float32")
Y = RNG.normal(size=(64, 1)).astype("float32")


def line(k):
    k.utils.set_random_seed(0)
    model = k.Sequential([k.layers.Input((4,)), k.layers.Dense(1)])
    model.compile(k.optimizers.SGD(0.1, momentum=0.9), "mse")
    return model


def state(model):
    slots = model.optimizer.variables
    return [np.array(v) for v in [*model.weights, *(slots() if callable(slots) else slots)]]


def assert_same_state(model, expected):
    for one, other in zip(state(model), expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.thorough  # in every run, `test_failures.py` checks the weights after an epoch whose loss is not finite
@pytest.mark.parametrize("error", [OSError, KeyError, KeyboardInterrupt])
@mainly(keras, "k")
def test_data_that_raise_restore_the_last_complete_epoch(k, error, monkeypatch):
    monkeypatch.setattr(streams, "_MAX_CHUNK_STEPS", 2)  # two steps of the epoch run before the error

    def batches():
        for _ in range(10):
            yield X[:8], Y[:8]
        raise error("in the third epoch")

    model, reference = line(k), line(k)
    nllfit.fit(reference, X[:8], Y[:8], epochs=8, shuffle=False, verbose=0, compile="graph")
    with pytest.raises(error, match="in the third epoch"):
        nllfit.fit(model, batches(), steps_per_epoch=4, epochs=3, verbose=0, compile="graph")
    assert model.history.epoch == [0, 1]
    assert_same_state(model, state(reference))


@pytest.mark.thorough  # covered by `test_a_callback_that_fails_leaves_the_weights_of_its_epoch`
@pytest.mark.parametrize(("kit", "hook"), in_turn(["on_epoch_begin", "on_test_begin", "on_test_end", "on_epoch_end"]))
def test_a_callback_that_raises_leaves_the_same_state_as_in_keras(kit, hook):
    k = kit.keras
    models = line(k), line(k)
    for model, train in zip(models, (functools.partial(nllfit.fit, compile="graph"), k.Model.fit), strict=True):
        calls = []

        def third(*args, calls=calls, **kwargs):
            calls.append(args)
            if len(calls) == 3:
                raise LookupError

        callback = k.callbacks.Callback()
        setattr(callback, hook, third)
        with pytest.raises(LookupError):
            train(model, X, Y, epochs=5, shuffle=False, verbose=0, validation_data=(X, Y), callbacks=[callback])
    ours, theirs = models
    assert ours.history.epoch == theirs.history.epoch == [0, 1]
    assert (
        int(ours.optimizer.iterations) == int(theirs.optimizer.iterations) == 2 * (2 if hook == "on_epoch_begin" else 3)
    )
    for one, other in zip(state(ours), state(theirs), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


@pytest.mark.thorough
def test_validation_data_that_raise_restore_the_last_epoch_of_the_history():
    class Fails(keras.utils.PyDataset):
        begun = 0

        def __len__(self):
            return 1

        def __getitem__(self, index):
            Fails.begun += 1
            if Fails.begun == 4:  # `fit` reads the validation data once before the training, and once in each epoch
                raise OSError("in the third evaluation")
            return X, Y

    model, reference = line(keras), line(keras)
    with pytest.raises(OSError, match="in the third evaluation"):
        nllfit.fit(model, X, Y, epochs=5, seed=0, verbose=0, compile="graph", validation_data=Fails())
    assert model.history.epoch == [0, 1]
    nllfit.fit(reference, X, Y, epochs=2, seed=0, verbose=0, compile="graph")
    assert_same_state(model, state(reference))


@mainly(tf_keras, "k")
def test_a_callback_that_raises_leaves_no_proxy_of_the_model(k):
    def stops(epoch, logs):
        raise LookupError

    model = line(k)
    stopping = k.callbacks.EarlyStopping("loss")
    with pytest.raises(LookupError):
        nllfit.fit(
            model,
            X,
            Y,
            verbose=0,
            compile="graph",
            callbacks=[stopping, k.callbacks.LambdaCallback(on_epoch_end=stops)],
        )
    assert model.history.model is stopping.model is model


class Batches(keras.utils.PyDataset):
    """Batches that depend only on their index."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return X[8 * index :][:8], Y[8 * index :][:8]


@pytest.mark.thorough(but=("whole", "arrays"))
@pytest.mark.parametrize("data", ["arrays", "PyDataset", "whole Dataset", "part of a Dataset"])
def test_a_resumed_run_reads_the_same_data(data, tmp_path):
    batches = tf.data.Dataset.from_tensor_slices((X, Y)).batch(8)
    x, arguments = {
        "arrays": ((X, Y), {"batch_size": 8, "steps_per_epoch": 3}),
        "PyDataset": ((Batches(),), {}),
        "whole Dataset": ((batches,), {}),
        "part of a Dataset": ((batches.repeat(),), {"steps_per_epoch": 3}),
    }[data]
    arguments |= {"epochs": 3, "seed": 0, "verbose": 0, "compile": "graph"}
    whole, cut = line(keras), line(keras)
    nllfit.fit(whole, *x, **arguments)
    stop = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: 1 / (1 - epoch))
    with pytest.raises(ZeroDivisionError):
        nllfit.fit(cut, *x, callbacks=[keras.callbacks.BackupAndRestore(tmp_path), stop], **arguments)
    nllfit.fit(cut, *x, callbacks=[keras.callbacks.BackupAndRestore(tmp_path)], **arguments)
    if data == "part of a Dataset":  # a resumed run begins again at the first batch of a dataset
        whole = line(keras)
        for epochs in (1, 2):
            nllfit.fit(whole, *x, **arguments | {"epochs": epochs})
    assert_same_state(cut, state(whole))


@mainly(keras, "k")
def test_a_missing_or_damaged_backup_index_is_an_error_and_can_be_restored(k, tmp_path):
    def train(model):
        backup = k.callbacks.BackupAndRestore(tmp_path, delete_checkpoint=False)
        return nllfit.fit(model, X, Y, epochs=3, verbose=0, compile="graph", callbacks=[backup]).epoch

    model, file = line(k), tmp_path / "fit" / "checkpoint"
    train(model)
    trained, text = state(model), file.read_bytes()
    files = {path.name for path in file.parent.iterdir()}
    for content in (None, text[:16], b"", b"\xff\xfe\x00"):
        file.unlink() if content is None else file.write_bytes(content)
        told = rf"{re.escape(str(file))}, .* is {'missing' if content is None else 'damaged'}.*delete"
        with pytest.raises(OSError, match=told) as raised:
            train(model)
        assert_same_state(model, trained)
        assert {path.name for path in file.parent.iterdir()} | {"checkpoint"} == files
    file.write_text(re.search("'(model_checkpoint_path: .*)'", str(raised.value))[1])
    model = line(k)
    assert train(model) == []
    assert_same_state(model, trained)


@pytest.mark.thorough
@mainly(tf_keras, "k")
def test_a_run_killed_before_its_backup_is_deleted_keeps_its_losses(k, tmp_path, monkeypatch):
    def killed(path):
        raise KeyboardInterrupt

    arguments = {"epochs": 3, "seed": 0, "verbose": 0, "compile": "graph", "validation_data": (X, Y)}
    expected = nllfit.fit(line(k), X, Y, **arguments).history
    noting = k.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(note=object()))
    with monkeypatch.context() as patch:
        patch.setattr(tf.io.gfile, "rename", lambda *paths: killed(paths))
        with pytest.raises(KeyboardInterrupt):
            nllfit.fit(line(k), X, Y, callbacks=[k.callbacks.BackupAndRestore(tmp_path), noting], **arguments)
    resumed = nllfit.fit(line(k), X, Y, callbacks=[k.callbacks.BackupAndRestore(tmp_path)], **arguments)
    assert resumed.history == {name: values[-1:] for name, values in expected.items()}
    assert resumed.epoch == []


def trained(k, model, **arguments):
    """Trains the model with `fit`. Returns a list of the epochs of this run."""
    arguments = {"epochs": 2, "seed": 0, "verbose": 0, "compile": "graph"} | arguments
    return nllfit.fit(model, X, Y, **arguments).epoch


@mainly(tf_keras, "k")
def test_a_run_killed_while_its_backup_is_deleted_leaves_no_half_of_it(k, tmp_path, monkeypatch):
    def killed(path):
        next(pathlib.Path(path).glob("checkpoint")).unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tf.io.gfile, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            trained(k, line(k), callbacks=[k.callbacks.BackupAndRestore(tmp_path)])
    assert trained(k, line(k), callbacks=[k.callbacks.BackupAndRestore(tmp_path)]) == [0, 1]
    assert not list(tmp_path.iterdir())


@mainly(keras, "k")
def test_a_backup_is_resumed_only_with_its_seed(k, tmp_path):
    backup = k.callbacks.BackupAndRestore(tmp_path, delete_checkpoint=False)
    trained(k, line(k), callbacks=[backup], seed=10**40)
    model = line(k)
    before = model.get_weights()
    for seed in (None, 2):
        with pytest.raises(
            ValueError, match=rf"with `seed=1{'0' * 40}`, and this run has `seed={seed}`: give the same"
        ):
            trained(k, model, callbacks=[backup], seed=seed, epochs=3)
    for one, weight in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, weight)
    assert trained(k, model, callbacks=[backup], seed=10**40, epochs=3) == [2]


@KERAS_VERSIONS
def test_the_epochs_of_one_call_share_its_time(k, capfd, monkeypatch):
    seconds = []

    def timed(program, *args):
        stretch = run(program, *args)
        seconds.append(stretch.seconds)
        return stretch

    run = Program.run
    monkeypatch.setattr(Program, "run", timed)
    monkeypatch.setattr(graph_or_xla, "UNTIMED_CALL_STEPS", 1000)  # one call trains all epochs
    nllfit.fit(line(k), X, Y, epochs=5, verbose=2, compile="graph")
    unit = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
    shown = [float(t) * unit[u] for t, u in re.findall(r"(\d+)(s|ms|us)/step", capfd.readouterr().out)]
    assert len(shown) == 5
    assert len(seconds) == 1
    assert min(shown) >= 0.7 * seconds[0] / 10  # five epochs of two steps; the progress bar rounds times
