"""Tests the reading of data, the run folder, and the experiment `binary` on a table and on photographs."""

import numpy as np
import pytest

import nllfit
from experiments import binary, classifier
from tests.experiments.samples import files, npz_arrays, write_photographs
from tests.files import data_file, downloaded

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:sklearn", "ignore::DeprecationWarning:matplotlib")


def fail(*args):
    raise OSError("the disk is full")


@pytest.mark.thorough
@pytest.mark.parametrize("keras", ["2", pytest.param("3", marks=pytest.mark.thorough)])
def test_an_interrupted_binary_run_is_resumed(tmp_path, keras, monkeypatch, capsys):
    out = tmp_path / "run"
    arguments = ["--keras", keras, "--epochs", "30", "--members", "1", "--out", str(out)]
    with monkeypatch.context() as broken:
        broken.setattr(classifier, "compared", fail)
        with pytest.raises(OSError, match="the disk is full"):
            binary.main(arguments)
    assert files(out) == {"config.json", "unfinished"}
    assert f"the same command with --out {out} resumes this run" in capsys.readouterr().err
    with pytest.raises(ValueError, match="holds an unfinished run with --seed 0, not 1"):
        binary.main([*arguments, "--seed", "1"])
    monkeypatch.setattr(classifier, "train", fail)  # the resumed run must not train, because all models are saved
    metrics = binary.main(arguments)
    assert metrics["nll"] < 0.2 < metrics["class_share"]["nll"]
    assert metrics["accuracy"] > 0.93  # the usual 97.4% minus three standard errors, for 114 test rows
    assert files(out) == {"config.json", "metrics.json", "binary.png", "model.keras"}
    with pytest.raises(ValueError, match="is not empty"):
        binary.main(arguments)


@pytest.mark.thorough
def test_the_binary_experiment_runs_on_photographs(tmp_path):
    """Trains one network with one convolutional block. The test of the multiclass experiment trains an ensemble."""
    write_photographs(tmp_path / "photographs")
    arguments = ["--data", str(tmp_path / "photographs"), "--size", "8", "--epochs", "1", "--members", "1"]
    metrics = binary.main([*arguments, "--out", str(tmp_path / "run")])
    assert metrics["num_test"] == 4
    assert [name.partition(",")[0] for name in metrics["evaluation"]] == ["one network"] * 2
    assert "mistakes.png" in files(tmp_path / "run")


def test_npz_arrays_are_read(tmp_path):
    np.savez(tmp_path / "data.npz", **(given := npz_arrays()))
    arguments = binary.common.parser("", "binary").parse_args([])
    arguments.data = tmp_path / "data.npz"
    (x, y), (x_test, y_test), names = binary.load(arguments)
    for found, name in ((x, "x_train"), (y[:, 0], "y_train"), (x_test, "x_test"), (y_test[:, 0], "y_test")):
        np.testing.assert_array_equal(found, given[name])
    assert names == ["0", "1"]


@pytest.mark.thorough(but="data_file")
@pytest.mark.parametrize(("where", "cats", "dogs"), [(data_file, 6, 6), (downloaded, 120, 250)])
def test_folders_of_photographs_are_read(where, cats, dogs):
    folder = where("cats_dogs")
    if not folder.exists():
        pytest.skip("the whole of cats_dogs is a download of your own: see tests/data/README.md")
    arguments = binary.common.parser("", "binary").parse_args([])
    arguments.data, arguments.size = folder, 32
    (x, y), (x_test, y_test), names = binary.load(arguments)
    assert (len(x) + len(x_test), y.sum() + y_test.sum(), names) == (cats + dogs, dogs, ["cats", "dogs"])
    assert x.dtype == np.uint8
    assert x.shape[1:] == (32, 32, 3)


@pytest.mark.thorough
def test_a_resumed_run_ends_with_the_same_numbers(tmp_path, monkeypatch):
    arguments = ["--epochs", "3", "--members", "2", "--out"]

    def compared(models, x, y, x_test, y_test):  # omits the temperature scaling, which other tests of `binary` run
        return {"ensemble of 2": nllfit.evaluate(nllfit.Ensemble(models), x_test, y_test)}

    monkeypatch.setattr(classifier, "compared", compared)
    monkeypatch.setattr(binary, "plot", lambda *_: None)  # a figure does not depend on the interruption
    expected = binary.main([*arguments, str(tmp_path / "whole")])
    train, trained = classifier.train, []

    def second_fails(*args):
        trained.append(args)
        return fail() if len(trained) == 2 else train(*args)

    monkeypatch.setattr(classifier, "train", second_fails)
    with pytest.raises(OSError, match="the disk is full"):
        binary.main([*arguments, str(tmp_path / "run")])
    (tmp_path / "run" / "unfinished" / "network-2.part").write_bytes(b"half of a file")
    assert binary.main([*arguments, str(tmp_path / "run")]) == expected
    assert len(trained) == 3


def test_a_run_folder_is_never_overwritten(tmp_path):
    (tmp_path / "kept.txt").write_text("mine")
    with pytest.raises(ValueError, match="is not empty"):
        binary.main(["--out", str(tmp_path), "--epochs", "1"])
    assert files(tmp_path) == {"kept.txt"}
