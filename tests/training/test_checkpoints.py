"""The file of a `ModelCheckpoint` is a complete model even if a write fails, or a kill interrupts the write."""

import os
import pathlib
import signal
import subprocess
import sys

import h5py
import keras
import numpy as np
import pytest
import tf_keras

import nllfit
from tests.keras_versions import in_turn, mainly

VERSIONS = (tf_keras, keras)
X = np.random.default_rng(0).normal(size=(16, 3)).astype("float32")


def network(k):
    k.utils.set_random_seed(0)
    model = k.Sequential([k.layers.Input((3,)), k.layers.Dense(1)])
    model.compile(k.optimizers.SGD(0.01), "mse")
    return model


def train(k, path, *callbacks, epochs=3):
    model = network(k)
    checkpoint = k.callbacks.ModelCheckpoint(str(path), save_weights_only="weights" in str(path))
    options = {"epochs": epochs, "seed": 0, "verbose": 0, "compile": "graph"}
    nllfit.fit(model, X, X[:, :1], **options, callbacks=[checkpoint, *callbacks])
    return model.get_weights()


def read(k, path):
    """The weights in a model file."""
    if "weights" not in str(path):
        return k.models.load_model(path).get_weights()
    model = network(k)
    model.load_weights(path)
    return model.get_weights()


@pytest.mark.thorough(but="tf_keras")
@pytest.mark.parametrize(("kit", "case"), in_turn([("model.keras", True), ("model.weights.h5", False)]))
def test_a_failed_write_keeps_the_last_good_model(kit, case, tmp_path, monkeypatch):
    k, (name, acts) = kit.keras, case

    def full(group, *args, **kwargs):
        create(group, *args, **kwargs)
        raise OSError("No space left on device")

    path, create = tmp_path / name, h5py.Group.create_dataset
    good = train(k, path, epochs=2)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    others = [k.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None)] if acts else []
    with monkeypatch.context() as patch:
        patch.setattr(h5py.Group, "create_dataset", full)
        with pytest.raises(OSError, match=f"{name} cannot be written: No space left.*previous file is intact"):
            train(k, path, *others, epochs=1)
    for one, other in zip(read(k, path), good, strict=True):
        np.testing.assert_array_equal(one, other)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    train(k, path)
    assert not np.array_equal(read(k, path)[0], good[0])


@mainly(keras, "k")
def test_a_folder_of_the_same_name_raises_keras_error(k, tmp_path):
    (tmp_path / "model.keras").mkdir()
    with pytest.raises(OSError, match=r"model\.keras"):
        train(k, tmp_path / "model.keras")


def train_to_be_killed(k, path):
    """Trains, and kills this process while it closes the second model file, before the file's index is written."""
    import zipfile

    close, closed = zipfile.ZipFile.close, []

    def killed(file):
        closed.append(file)
        if len(closed) == 2:
            file.fp.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        close(file)

    zipfile.ZipFile.close = killed
    train(k, path)


@pytest.mark.thorough
def test_a_process_killed_during_a_write_keeps_the_last_good_model(tmp_path):
    """One program does all imports, which take longer than the training. It forks a process for each Keras version."""
    command = [sys.executable, "-m", "tests.training.test_checkpoints", str(tmp_path)]
    ends = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    for k, end in zip(VERSIONS, ends, strict=True):
        folder = tmp_path / k.__name__
        assert int(end) == signal.SIGKILL
        assert {p.name for p in folder.iterdir()} == {"model.keras", ".partial-model.keras"}
        expected = train(k, tmp_path / f"expected-{k.__name__}.keras", epochs=1)
        for one, other in zip(read(k, folder / "model.keras"), expected, strict=True):
            np.testing.assert_array_equal(one, other)


def kill_each(folder):
    """Prints the signal that ended the training of each Keras version."""
    for k in VERSIONS:
        (folder / k.__name__).mkdir()
        process = os.fork()
        if not process:
            train_to_be_killed(k, folder / k.__name__ / "model.keras")
            os._exit(0)
        print(os.waitpid(process, 0)[1], flush=True)


if __name__ == "__main__":
    kill_each(pathlib.Path(sys.argv[1]))
