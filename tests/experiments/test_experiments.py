"""The experiments: their numbers, their run folders, and one clear line for each fault of the user's."""

import dataclasses
import gzip
import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from experiments import binary, common, equivalence, multiclass, regression
from tests.files import data_file, downloaded

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:sklearn", "ignore::DeprecationWarning:matplotlib")


each_keras = pytest.mark.parametrize("keras", ["2", "3"])


def files(folder):
    return {path.name for path in folder.iterdir()}


@each_keras
def test_regression(tmp_path, keras):
    metrics = regression.main(["--keras", keras, "--out", str(tmp_path / "run")])
    for noise in ("constant", "growing"):
        squares, fits = metrics[noise]["least_squares"], metrics[noise]
        for form in ("fixed", "shared"):  # Adam with shrinking steps stops a few 1e-8 from the optimum
            assert fits[form]["slope"] == pytest.approx(squares["slope"], abs=1e-6)
            assert fits[form]["intercept"] == pytest.approx(squares["intercept"], abs=1e-6)
        assert fits["shared"]["sigma"] == pytest.approx(squares["residual_sigma"], abs=1e-6)
    assert metrics["growing"]["network"]["mean_nll"] < metrics["growing"]["shared"]["mean_nll"] - 0.1
    # statsmodels' least squares on the same data; the digits that the README promises.
    assert metrics["diabetes"]["sigma"] == pytest.approx(53.476128764, abs=5e-4)
    assert metrics["diabetes"]["mean_nll"] == pytest.approx(5.3981738962, abs=5e-6)
    saved = {f"{noise}-{form}.keras" for noise in regression.NOISES for form in regression.FORMS}
    assert files(tmp_path / "run") == saved | {"diabetes.keras", "regression.png", "config.json", "metrics.json"}
    assert json.loads((tmp_path / "run" / "metrics.json").read_text()) == metrics
    tools = common.toolkit(int(keras))
    loaded = tools.keras.models.load_model(tmp_path / "run" / "constant-shared.keras")
    sigma = float(tools.distribution(loaded(np.zeros([1, 1]))).stddev()[0, 0])
    assert sigma == pytest.approx(metrics["constant"]["shared"]["sigma"], rel=1e-14)  # which is a mean of equal numbers


@each_keras
def test_twins_stay_together(tmp_path, keras):
    metrics = equivalence.main(["--keras", keras, "--out", str(tmp_path / "run")])
    assert len(metrics) == 4
    for row in metrics.values():
        assert row["loss_difference"] <= 1e-12
        assert row["gradient_difference"] <= 1e-12
        assert row["weight_difference"] <= 1e-9
    assert files(tmp_path / "run") == {"config.json", "metrics.json"}


def test_twins_with_another_factor_do_not(tmp_path, monkeypatch):
    wrong = [dataclasses.replace(row, scale=lambda size, s: 2 + 1e-6) for row in equivalence.EQUIVALENCES]
    monkeypatch.setattr(equivalence, "EQUIVALENCES", wrong)
    row = equivalence.main(["--out", str(tmp_path / "run"), "--epochs", "2"])["MeanSquaredError()"]
    assert row["loss_difference"] > 1e-12
    assert row["gradient_difference"] > 1e-12
    assert row["weight_difference"] > 1e-9


@each_keras
def test_binary(tmp_path, keras):
    metrics = binary.main(["--keras", keras, "--out", str(tmp_path / "run"), "--epochs", "30"])
    assert metrics["nll"] < 0.2 < metrics["class_share"]["nll"]
    assert metrics["accuracy"] > 0.93  # of 114, three standard errors below the 97 % expected
    assert files(tmp_path / "run") == {"config.json", "metrics.json", "binary.png", "model.keras"}


@each_keras
def test_multiclass(tmp_path, keras):
    metrics = multiclass.main(["--keras", keras, "--out", str(tmp_path / "run"), "--epochs", "15"])
    assert metrics["nll"] < 0.5 * metrics["guessing_nll"]
    assert metrics["accuracy"] > 0.9
    assert files(tmp_path / "run") == {"config.json", "metrics.json", "multiclass.png", "mistakes.png", "model.keras"}


def write_photographs(folder, count=8):
    rng = np.random.default_rng(0)
    for name, shade in (("cats", 60), ("dogs", 180)):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            image = rng.integers(shade - 50, shade + 50, [20 + i, 30, 3]).astype("uint8")
            data = tf.io.encode_jpeg(image) if i % 2 else tf.io.encode_png(image)
            (folder / name / f"{i}.{'jpg' if i % 2 else 'png'}").write_bytes(data.numpy())


def test_binary_on_photographs(tmp_path):
    write_photographs(tmp_path / "photographs")
    arguments = ["--data", str(tmp_path / "photographs"), "--size", "16", "--epochs", "2"]
    metrics = binary.main([*arguments, "--out", str(tmp_path / "run")])
    assert metrics["num_test"] == 4
    assert "mistakes.png" in files(tmp_path / "run")


def npz_arrays(rows=40):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 255, [rows, 8, 8, 3]).astype("uint8"), np.arange(rows) % 2
    return {"x_train": x, "y_train": y, "x_test": x[:10], "y_test": y[:10]}


def test_binary_on_arrays(tmp_path):
    np.savez(tmp_path / "data.npz", **npz_arrays())
    metrics = binary.main(["--data", str(tmp_path / "data.npz"), "--epochs", "2", "--out", str(tmp_path / "run")])
    assert metrics["num_test"] == 10


def write_idx(folder, rows=60, compress=True):
    folder.mkdir()
    rng = np.random.default_rng(0)
    for part, count in (("train", rows), ("t10k", 20)):
        labels = (np.arange(count) % 10).astype("uint8")
        images = rng.integers(0, 255, [count, 28, 28]).astype("uint8")
        for name, array in ((f"{part}-images-idx3-ubyte", images), (f"{part}-labels-idx1-ubyte", labels)):
            header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
            content = header + array.tobytes()
            (folder / (name + ".gz" if compress else name)).write_bytes(gzip.compress(content) if compress else content)


@pytest.mark.parametrize("compress", [True, False])
def test_multiclass_on_idx_files(tmp_path, compress):
    write_idx(tmp_path / "idx", compress=compress)
    metrics = multiclass.main(["--data", str(tmp_path / "idx"), "--epochs", "1", "--out", str(tmp_path / "run")])
    assert (metrics["num_test"], metrics["guessing_nll"]) == (20, np.log(10))


@pytest.mark.parametrize(("where", "cats", "dogs"), [(data_file, 6, 6), (downloaded, 120, 250)])
def test_the_cats_and_dogs_are_read(where, cats, dogs):
    folder = where("cats_dogs")
    if not folder.exists():
        pytest.skip("the whole of cats_dogs is a download of your own: see tests/data/README.md")
    arguments = binary.common.parser("", "binary").parse_args([])
    arguments.data, arguments.size = folder, 32
    (x, y), (x_test, y_test), names = binary.load(arguments)
    assert (len(x) + len(x_test), y.sum() + y_test.sum(), names) == (cats + dogs, dogs, ["cats", "dogs"])
    assert x.dtype == np.uint8
    assert x.shape[1:] == (32, 32, 3)


def spoilt(tmp_path, kind):
    """Bad input of one kind, as the value of --data."""
    path = tmp_path / "bad"
    if kind in ("missing folder", "missing.npz"):
        return tmp_path / kind.replace(" ", "-")
    if kind == "no images":
        (path / "cats").mkdir(parents=True)
    elif kind == "one class":
        write_photographs(path)
        for file in (path / "dogs").iterdir():
            file.unlink()
        (path / "dogs").rmdir()
    elif kind == "three classes":
        write_photographs(path)
        (path / "cats").rename(path / "birds")
        write_photographs(tmp_path / "more")
        (tmp_path / "more" / "cats").rename(path / "cats")
    elif kind == "a broken image":
        write_photographs(path)
        (path / "cats" / "0.png").write_bytes(b"no image")
    elif kind.endswith(".npz"):
        path = tmp_path / kind.replace(" ", "-")
        arrays = npz_arrays()
        if kind == "lacks arrays.npz":
            del arrays["y_test"]
        elif kind == "labels out of support.npz":
            arrays["y_train"] = arrays["y_train"] * 2
        elif kind == "other length.npz":
            arrays["y_train"] = arrays["y_train"][1:]
        elif kind == "not a number.npz":
            arrays["x_train"] = np.full([40, 3], np.nan)
        elif kind == "no features.npz":
            arrays["x_train"] = arrays["x_train"].reshape(40, -1)[:, :0]
        elif kind == "other features.npz":
            arrays["x_test"] = np.zeros([10, 3])
        elif kind == "two channels.npz":
            arrays["x_train"] = arrays["x_train"][..., :2]
        elif kind == "text labels.npz":
            arrays["y_train"] = arrays["y_train"].astype(str)
        elif kind == "objects.npz":
            arrays["y_train"] = arrays["y_train"].astype(object)
        elif kind == "one class.npz":
            arrays["y_test"] = np.zeros_like(arrays["y_test"])
        np.savez(path, **arrays)
        if kind == "a text.npz":
            path.write_text("no arrays")
        if kind == "truncated.npz":
            path.write_bytes(path.read_bytes()[:500])
    else:
        write_idx(path)
        file = path / "train-images-idx3-ubyte.gz"
        if kind == "truncated gzip":
            file.write_bytes(file.read_bytes()[:500])
        elif kind == "truncated idx":
            file.write_bytes(gzip.compress(gzip.decompress(file.read_bytes())[:500]))
        elif kind == "no idx":
            file.write_bytes(gzip.compress(b"hello"))
        elif kind == "lacks idx":
            file.unlink()
    return path


@pytest.mark.parametrize(
    ("main", "kind", "message"),
    [
        (binary.main, "missing folder", "does not exist"),
        (binary.main, "missing.npz", "does not exist"),
        (binary.main, "no images", r"must hold a subfolder for each class .* it holds cats \(0\)"),
        (binary.main, "one class", r"it holds cats \(8\)"),
        (binary.main, "three classes", "has 3 classes, birds, cats, dogs: a Bernoulli has two"),
        (binary.main, "a broken image", "0.png is no image that can be read"),
        (binary.main, "truncated.npz", "is no whole .npz file"),
        (binary.main, "a text.npz", "a-text.npz is no whole .npz file"),
        (binary.main, "not a number.npz", "x_train holds float64 that are not all finite"),
        (binary.main, "no features.npz", r"x_train has shape \(40, 0\)"),
        (binary.main, "other features.npz", r"have shapes \(40, 8, 8, 3\) and \(10, 3\)"),
        (binary.main, "two channels.npz", "images of at least 8 x 8, of 1 or 3 channels"),
        (binary.main, "text labels.npz", "y_train holds <U.*: give class labels"),
        (binary.main, "objects.npz", "holds Python objects"),
        (binary.main, "one class.npz", "all of one class"),
        (binary.main, "lacks arrays.npz", "lacks y_test; it holds x_train, y_train, x_test"),
        (binary.main, "labels out of support.npz", "has 3 classes, 0, 1, 2"),
        (binary.main, "other length.npz", r"y_train \(39,\)"),
        (multiclass.main, "missing folder", "does not exist"),
        (multiclass.main, "truncated gzip", "is no whole gzip file"),
        (multiclass.main, "truncated idx", r"is cut short or too long: 484 bytes for an array of shape \(60, 28, 28\)"),
        (multiclass.main, "no idx", "is no IDX file of bytes: it starts with 68 65 6c 6c"),
        (multiclass.main, "lacks idx", "lacks train-images-idx3-ubyte.gz"),
    ],
)
def test_bad_data_is_one_clear_error_and_no_run_folder(tmp_path, main, kind, message):
    data = spoilt(tmp_path, kind)
    (tmp_path / "runs").mkdir()
    with pytest.raises(ValueError, match=message):
        main(["--data", str(data), "--out", str(tmp_path / "runs" / "run"), "--epochs", "1"])
    assert not files(tmp_path / "runs")


def test_a_run_that_fails_midway_leaves_nothing(tmp_path, monkeypatch):
    def fail(*args):
        raise OSError("the disk is full")

    monkeypatch.setattr(binary, "plot", fail)
    with pytest.raises(OSError, match="the disk is full"):
        binary.main(["--out", str(tmp_path / "run"), "--epochs", "1"])
    assert not files(tmp_path)


def test_a_run_folder_is_never_overwritten(tmp_path):
    (tmp_path / "kept.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds something already"):
        binary.main(["--out", str(tmp_path), "--epochs", "1"])
    assert files(tmp_path) == {"kept.txt"}


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--seed", "-1"], "error: --seed is -1: give at least 0."),
        (["--epochs", "0"], "error: --epochs is 0: give at least 1."),
        (["--epoch", "3"], "error: unrecognized arguments: --epoch 3"),
    ],
)
def test_a_fault_is_one_line_and_status_2(flags, text, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["binary", *flags])
    with pytest.raises(SystemExit) as exit:
        common.run(binary.main)
    assert exit.value.code == 2
    assert capsys.readouterr().err.strip().splitlines()[-1].endswith(text)


def test_the_command_line_prints_its_own_lines_only():
    command = [sys.executable, "-m", "experiments.binary", "--data", "nowhere"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "error: --data nowhere does not exist.\n"
