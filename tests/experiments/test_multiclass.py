"""The multiclass experiment on digits and on IDX files."""

import types

import numpy as np
import pytest

from experiments import classifier, common, multiclass
from tests.experiments.samples import files, write_idx

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:sklearn", "ignore::DeprecationWarning:matplotlib")


PICTURES = "multiclass.png", "mistakes.png", "calibration.png"


@pytest.mark.thorough
def test_the_multiclass_experiment_runs_on_digits(tmp_path):
    metrics = multiclass.main(["--keras", "2", "--out", str(tmp_path / "run"), "--epochs", "10", "--members", "2"])
    assert metrics["nll"] < 0.5 * metrics["guessing_nll"]
    assert metrics["accuracy"] > 0.9
    assert files(tmp_path / "run") == {"config.json", "metrics.json", *PICTURES, "model.keras", "ensemble"}
    before, after, *_ = metrics["evaluation"].values()
    assert after["accuracy"] == before["accuracy"]
    names = ["one network"] * 2 + ["ensemble of 2"] * 2
    assert [name.partition(",")[0] for name in metrics["evaluation"]] == names


@pytest.mark.parametrize("compress", [True, False])
def test_idx_files_are_read(tmp_path, compress):
    write_idx(tmp_path / "idx", compress=compress, side=8)
    arguments = multiclass.common.parser("", "multiclass").parse_args([])
    arguments.data = tmp_path / "idx"
    (x, y), (x_test, y_test), names = multiclass.load(arguments)
    assert (x.shape, x.dtype, x_test.shape) == ((60, 8, 8, 1), np.uint8, (20, 8, 8, 1))
    np.testing.assert_array_equal(x[..., 0], np.random.default_rng(0).integers(0, 255, [60, 8, 8]))
    np.testing.assert_array_equal(y.argmax(-1), np.arange(60) % 10)
    np.testing.assert_array_equal(y_test.argmax(-1), np.arange(20) % 10)
    assert names == [str(number) for number in range(10)]


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_images_become_numbers_from_0_to_1(dtype):
    tools, top = common.toolkit("2"), np.iinfo(dtype).max
    images = np.array([0, top], dtype).reshape([2, 1, 1, 1]) * np.ones([1, 8, 8, 1], dtype)
    first = classifier.network(tools, images, tools.heads.Categorical(3), 3).layers[0]
    np.testing.assert_allclose(first(images.astype("float32"))[:, 0, 0, 0], [0, 1], rtol=1e-6)


@pytest.mark.thorough  # `test_idx_files_are_read`, which is in every run, reads such files
def test_the_multiclass_experiment_runs_on_idx_files(tmp_path):
    write_idx(tmp_path / "idx", side=8)  # for images of 8 x 8 pixels, the network has one block
    arguments = ["--data", str(tmp_path / "idx"), "--epochs", "1", "--members", "1", "--keras", "3"]
    metrics = multiclass.main([*arguments, "--out", str(tmp_path / "run")])
    assert files(tmp_path / "run") == {"config.json", "metrics.json", *PICTURES, "model.keras"}
    assert [name.partition(",")[0] for name in metrics["evaluation"]] == ["one network"] * 2
    assert (metrics["num_test"], metrics["guessing_nll"]) == (20, np.log(10))


def test_a_class_without_test_rows_keeps_its_label(tmp_path):
    history = types.SimpleNamespace(epoch=[0], history={"loss": [1.0]})
    one_hot = np.eye(3)
    multiclass.plot(history, one_hot[[0, 0, 2]], one_hot[[0, 2, 2]], ["ant", "bee", "cat"], tmp_path / "figure.png")
    assert (tmp_path / "figure.png").exists()
