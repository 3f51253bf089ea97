"""A run that was interrupted, even by SIGKILL during a write, resumes and ends like an uninterrupted run."""

import contextlib
import os
import pathlib
import random
import resource
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tensorflow.python.lib.io import file_io

import nllfit
from nllfit.training.backups import _Memory
from tests.keras_versions import KERAS_VERSIONS, KITS, mainly

EPOCHS = 14
ONE = pytest.mark.parametrize("k", [keras, pytest.param(tf_keras, marks=pytest.mark.thorough)])
RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 3)).astype("float32")  # two full batches, because a partial one needs another trace
Y = (X[:, :1] + RNG.normal(size=(64, 1))).astype("float32")


def network(k, units=8):
    """A model with random layers and with non-trainable weights that change in each step."""
    k.utils.set_random_seed(0)
    (kit,) = (kit for kit in KITS if kit.keras is k)
    layers = [k.layers.Dense(units, "relu"), k.layers.Dropout(0.3), k.layers.BatchNormalization(), k.layers.Dense(2)]
    model = k.Sequential([k.Input((3,)), *layers, kit.heads.Normal()])
    model.compile(k.optimizers.Adam(0.01), kit.loss)
    return model


def train(model, k, *callbacks, **arguments):
    """Trains with a decaying rate and early stopping, which have a state; returns the epochs of this call."""
    patient = k.callbacks.ReduceLROnPlateau(patience=2, factor=0.5, monitor="loss", min_delta=0.05)
    stopping = k.callbacks.EarlyStopping("loss", patience=9, min_delta=0.1, restore_best_weights=True)
    arguments = {"epochs": EPOCHS, "seed": 7, "verbose": 0, "compile": "graph"} | arguments
    return nllfit.fit(model, X, Y, callbacks=[*callbacks, patient, stopping], **arguments).epoch


@contextlib.contextmanager
def generators():
    """A context in which layers of tf_keras use stateful random generators, which is not the default."""
    tf_keras.backend.experimental.enable_tf_random_generator()
    yield
    tf_keras.backend.experimental.disable_tf_random_generator()


@pytest.fixture(autouse=True)
def with_generators():
    with generators():
        yield


def raises_at(k, epoch):
    def cut(at, logs):
        if at == epoch:
            raise KeyboardInterrupt

    return k.callbacks.LambdaCallback(on_epoch_begin=cut)


@pytest.mark.thorough  # `test_a_resumed_run_reads_the_same_data` also interrupts and resumes a run
@mainly(keras, "k")
def test_an_interrupted_run_ends_like_one_that_never_stopped(k, tmp_path, monkeypatch):
    whole, begun, resumed = network(k), network(k), network(k)
    expected = train(whole, k)
    backup = k.callbacks.BackupAndRestore(tmp_path, delete_checkpoint=False)
    with pytest.raises(KeyboardInterrupt):
        train(begun, k, backup, raises_at(k, 3))
    write, calls = file_io.atomic_write_string_to_file, []

    def torn(*args, **kwargs):
        calls.append(args)
        if len(calls) == 5:  # interrupts the third backup after half of a file was written
            newest = max(tmp_path.glob("fit/*.data*"), key=os.path.getmtime)
            os.truncate(newest, newest.stat().st_size // 2)
            raise KeyboardInterrupt
        write(*args, **kwargs)

    monkeypatch.setattr(file_io, "atomic_write_string_to_file", torn)
    with pytest.raises(KeyboardInterrupt):
        train(begun, k, backup)
    assert train(resumed, k, backup) == expected[5:]
    for one, other in zip(resumed.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert train(resumed, k, backup) == []  # no epoch is left


@ONE
def test_a_backup_is_deleted_at_the_end_and_only_fits_its_model(k, tmp_path):
    model, other = (k.Sequential([k.Input((3,)), k.layers.Dense(units), k.layers.Dense(1)]) for units in (8, 9))
    for each in (model, other):  # they are smaller than `network(k)`, so tracing them takes less time
        each.compile("sgd", "mse")
    with pytest.raises(KeyboardInterrupt):
        train(model, k, k.callbacks.BackupAndRestore(tmp_path), raises_at(k, 1))
    before = other.get_weights()
    with pytest.raises(ValueError, match="holds the backup of a run of another model"):
        train(other, k, k.callbacks.BackupAndRestore(tmp_path))
    for one, weight in zip(other.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, weight)
    train(model, k, k.callbacks.BackupAndRestore(tmp_path), epochs=2)
    assert not list(tmp_path.iterdir())


@pytest.mark.thorough
@ONE
def test_a_run_that_a_callback_stopped_goes_on_only_without_it(k, tmp_path):
    def trained(*others, epochs):
        backup = k.callbacks.BackupAndRestore(tmp_path, delete_checkpoint=False)
        arguments = {"epochs": epochs, "seed": 7, "verbose": 0, "compile": "graph"}
        return nllfit.fit(network(k), X, Y, callbacks=[backup, *others], **arguments).epoch

    def stopping():
        return k.callbacks.EarlyStopping("loss", patience=1, min_delta=1e6)

    assert trained(stopping(), epochs=6) == [0, 1]
    assert trained(stopping(), epochs=6) == []
    checkpoint = k.callbacks.ModelCheckpoint(str(tmp_path / "best.keras"), monitor="loss", save_best_only=True)
    before = checkpoint.best
    trained(checkpoint, epochs=2)
    assert checkpoint.best == before  # it is not the `best` of `EarlyStopping`
    assert trained(epochs=4) == [2, 3]


@ONE
def test_an_unwritable_folder_is_refused_before_training(k, tmp_path):
    (tmp_path / "file").touch()
    model = network(k)
    before = model.get_weights()
    with pytest.raises(OSError, match=r"The backup in .*file.* cannot be read or written"):
        train(model, k, k.callbacks.BackupAndRestore(tmp_path / "file" / "folder"))
    for one, weight in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, weight)


@pytest.mark.thorough
@ONE
def test_a_full_disk_raises_and_keeps_the_last_backup(k, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    full = k.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: epoch == 2 and resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    )
    try:
        with pytest.raises(OSError, match=r"cannot be read or written: .*[Ff]ile too large"):
            train(network(k), k, k.callbacks.BackupAndRestore(tmp_path), full)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert train(network(k), k, k.callbacks.BackupAndRestore(tmp_path), epochs=4) == [2, 3]


@pytest.mark.thorough
def test_random_generators_that_cannot_be_saved_are_reported(tmp_path):
    tf_keras.backend.experimental.disable_tf_random_generator()
    with pytest.warns(UserWarning, match="draws random numbers from a state that no backup can hold"):
        train(network(tf_keras), tf_keras, tf_keras.callbacks.BackupAndRestore(tmp_path), epochs=1)


def test_a_backup_holds_the_best_weights_of_lookup_layers_and_in_bfloat16():
    stopper = tf_keras.callbacks.EarlyStopping()
    words, numbers = np.array([b"a", b"bc"], object), tf.constant([1.5], tf.bfloat16).numpy()
    stopper.best_weights = [words, numbers]
    memory = _Memory(tf_keras.Sequential(), [stopper])
    saved = memory.serialize()
    stopper.best_weights = None
    memory.deserialize(saved)
    assert [array.tolist() for array in stopper.best_weights] == [[b"a", b"bc"], [1.5]]


def test_a_subclass_of_the_backup_callback_is_refused(tmp_path):
    class Own(keras.callbacks.BackupAndRestore):
        pass

    with pytest.raises(ValueError, match=r"Own is a BackupAndRestore of your own"):
        train(network(keras), keras, Own(tmp_path))


# The next test kills training processes with SIGKILL. Their parent process is
# `python -m tests.training.test_killed_runs_resume`. For each line `KERAS FOLDER` of its input, the parent forks a
# process that trains. Only the parent imports TensorFlow and Keras, because the imports take longer than the training.


def train_in(k, folder):
    with generators():
        # The backup of a large model takes long to write, so the test can kill the process during a write.
        model = network(k, units=50_000)
        train(model, k, k.callbacks.BackupAndRestore(folder / "backup"))
        np.savez(folder / "weights.npz", *model.get_weights())


def serve():
    for line in sys.stdin:
        name, folder = line.split()
        process = os.fork()
        if not process:
            train_in({"tf_keras": tf_keras, "keras": keras}[name], pathlib.Path(folder))
            os._exit(0)
        print(process, flush=True)
        print(os.waitpid(process, 0)[1], flush=True)


@pytest.fixture(scope="module")
def server():
    command = [sys.executable, "-m", "tests.training.test_killed_runs_resume"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.stdin.close()


def written(folder, name):
    """The modification times of the files and folders called `name` in a backup, by path."""
    found = set()
    for path in folder.glob(f"backup/fit/{name}"):
        with contextlib.suppress(FileNotFoundError):
            found.add((path, path.stat().st_mtime_ns))
    return found


def trained(server, k, folder, awaited=None, seconds=0.0):
    """Trains in a new process. Returns whether the process finished.

    If `awaited` is given, the process is killed `seconds` after it wrote a file or folder of this name in its backup.
    """
    before = written(folder, awaited)
    print(k.__name__, folder, file=server.stdin, flush=True)
    process = int(server.stdout.readline())
    if awaited:
        while not written(folder, awaited) - before:
            time.sleep(0.001)
        time.sleep(seconds)
        os.kill(process, signal.SIGKILL)
    return int(server.stdout.readline()) == 0


@pytest.mark.thorough
@KERAS_VERSIONS
def test_a_process_killed_at_any_moment_ends_like_one_that_never_stopped(k, tmp_path, server):
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    assert trained(server, k, tmp_path / "whole")
    draws = random.Random(0)
    assert not trained(server, k, tmp_path / "killed", "checkpoint", draws.uniform(0, 0.2))
    assert not trained(server, k, tmp_path / "killed", "*_temp", draws.uniform(0, 0.01))  # during a write
    assert trained(server, k, tmp_path / "killed")
    with np.load(tmp_path / "whole" / "weights.npz") as one, np.load(tmp_path / "killed" / "weights.npz") as other:
        assert one.files
        for name in one.files:
            np.testing.assert_array_equal(one[name], other[name])


if __name__ == "__main__":
    serve()
