"""Bad data raise one clear error and leave no run folder."""

import gzip
import zipfile

import numpy as np
import pytest
from PIL import Image

from experiments import binary, labelled_data, multiclass
from tests.experiments.samples import files, npz_arrays, write_idx, write_photographs

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:sklearn", "ignore::DeprecationWarning:matplotlib")


def spoilt(tmp_path, kind):
    """Writes invalid data of one kind, and returns the value for the option `--data`."""
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
        elif kind == "huge label.npz":
            arrays["y_train"][0] = 300_000_000
        elif kind == "huge numbers.npz":
            arrays["x_train"] = np.full([40, 3], 1e300)
        elif kind == "one class.npz":
            arrays["y_test"] = np.zeros_like(arrays["y_test"])
        np.savez(path, **arrays)
        if kind == "a text.npz":
            path.write_text("no arrays")
        if kind == "no magic.npz":
            with zipfile.ZipFile(path, "w") as archive:
                for name in arrays:
                    archive.writestr(f"{name}.npy", b"no magic number")
        if kind == "damaged.npz":
            path.write_bytes(path.read_bytes().replace(b"{'descr'", b"{'descr("))
        if kind == "truncated.npz":
            path.write_bytes(path.read_bytes()[:500])
    else:
        write_idx(path)
        file = path / "train-images-idx3-ubyte.gz"
        if kind == "truncated gzip":
            file.write_bytes(file.read_bytes()[:500])
        elif kind == "truncated idx":
            file.write_bytes(gzip.compress(gzip.decompress(file.read_bytes())[:500]))
        elif kind == "long idx":
            file.write_bytes(gzip.compress(gzip.decompress(file.read_bytes()) + bytes(10)))
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
        (binary.main, "three classes", "has 3 classes, birds, cats, dogs: give data with two"),
        (binary.main, "a broken image", "0.png is not a readable image"),
        (binary.main, "truncated.npz", "is not a complete .npz file"),
        (binary.main, "a text.npz", "a-text.npz is not a complete .npz file"),
        (binary.main, "no magic.npz", "holds x_train, which is not an array: write the file with `np.savez`"),
        (binary.main, "damaged.npz", "damaged.npz is not a complete .npz file"),
        (binary.main, "huge label.npz", "y_train holds the class 300000000, but there are 40 training rows"),
        (binary.main, "huge numbers.npz", "x_train holds float64 that are not all finite in float32"),
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
        (multiclass.main, "truncated gzip", "is not a complete IDX file: Compressed file ended"),
        (multiclass.main, "truncated idx", r"is not a complete IDX file: it holds 484 bytes for an array of shape"),
        (multiclass.main, "long idx", r"is not a complete IDX file: it holds more bytes for an array of shape"),
        (multiclass.main, "no idx", "is not a complete IDX file: it starts with 68 65 6c 6c, not with 00 00 08 03"),
        (multiclass.main, "lacks idx", "lacks train-images-idx3-ubyte.gz"),
    ],
)
def test_bad_data_is_one_clear_error_and_no_run_folder(tmp_path, main, kind, message):
    labelled_data = spoilt(tmp_path, kind)
    (tmp_path / "runs").mkdir()
    with pytest.raises(ValueError, match=message):
        main(["--data", str(labelled_data), "--out", str(tmp_path / "runs" / "run"), "--epochs", "1"])
    assert not files(tmp_path / "runs")


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1"])
def test_a_bitmap_has_the_colors_that_pillow_reads(tmp_path, mode):
    pixels = np.random.default_rng(0).integers(0, 256, [9, 9, 3]).astype("uint8")
    Image.fromarray(pixels).convert(mode).save(tmp_path / "image.bmp")
    with Image.open(tmp_path / "image.bmp") as image:
        known = np.array(image.convert("RGB"))
    np.testing.assert_array_equal(labelled_data._read_image(tmp_path / "image.bmp", 9), known)
