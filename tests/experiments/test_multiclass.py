"""The multiclass experiment on digits and on IDX files."""

import types

import numpy as np
import pytest

from experiments import multiclass
from tests.experiments.samples import files, write_idx

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:sklearn", "ignore::DeprecationWarning:matplotlib")


PICTURES = "multiclass.png", "mistakes.png", "calibration.png"


@pytest.mark.parametrize("keras", [pytest.param("2", marks=pytest.mark.thorough), "3"])
def test_multiclass(tmp_path, keras):
    metrics = multiclass.main(["--keras", keras, "--out", str(tmp_path / "run"), "--epochs", "15", "--members", "1"])
    assert metrics["nll"] < 0.5 * metrics["guessing_nll"]
    assert metrics["accuracy"] > 0.9
    assert files(tmp_path / "run") == {"config.json", "metrics.json", *PICTURES, "model.keras"}


@pytest.mark.parametrize("compress", [True, pytest.param(False, marks=pytest.mark.thorough)])  # read in another test
def test_multiclass_on_idx_files(tmp_path, compress):
    write_idx(tmp_path / "idx", compress=compress, side=8)  # a network of one block
    arguments = ["--data", str(tmp_path / "idx"), "--epochs", "1", "--members", "2" if compress else "1"]
    metrics = multiclass.main([*arguments, "--out", str(tmp_path / "run")])
    assert set(PICTURES) < files(tmp_path / "run")
    before, after, *ensemble = metrics["evaluation"].values()
    assert after["accuracy"] == before["accuracy"]
    assert len(ensemble) == (2 if compress else 0)
    names = ["one network"] * 2 + ["ensemble of 2"] * len(ensemble)
    assert [name.partition(",")[0] for name in metrics["evaluation"]] == names
    assert ("ensemble" in files(tmp_path / "run")) == compress
    assert (metrics["num_test"], metrics["guessing_nll"]) == (20, np.log(10))


def test_a_class_that_no_test_row_has_keeps_its_place(tmp_path):
    history = types.SimpleNamespace(epoch=[0], history={"loss": [1.0]})
    one_hot = np.eye(3)
    multiclass.plot(history, one_hot[[0, 0, 2]], one_hot[[0, 2, 2]], ["ant", "bee", "cat"], tmp_path / "figure.png")
    assert (tmp_path / "figure.png").exists()
