"""Data sets of classes, as arrays `(x_train, y_train), (x_test, y_test), class_names`, checked as they are read."""

import gzip
import pathlib
import zipfile

import numpy as np
import tensorflow as tf
from sklearn.model_selection import train_test_split

__all__ = ["idx_folder", "npz_file", "photographs", "split", "standardised"]

_IMAGES = (".bmp", ".gif", ".jpeg", ".jpg", ".png")
_IDX = {"x_train": "train-images-idx3", "y_train": "train-labels-idx1", "x_test": "t10k-images-idx3"}
_IDX["y_test"] = "t10k-labels-idx1"


def split(x, y, class_names, seed, test_size=0.2):
    """Splits rows at random into training and test, each with every class in proportion."""
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=test_size, random_state=seed, stratify=y)
    return (x_train, y_train), (x_test, y_test), list(class_names)


def standardised(x_train, x_test):
    """Both with the mean and deviation of the training rows taken out."""
    mean, deviation = x_train.mean(0), x_train.std(0)
    deviation = np.where(deviation > 0, deviation, 1)
    return (x_train - mean) / deviation, (x_test - mean) / deviation


def photographs(folder, size, seed):
    """A folder with a subfolder of images for each class, cropped to squares of `size` pixels; a fifth is the test."""
    folder = _existing(folder)
    classes = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    files = {c: sorted(path for path in c.rglob("*") if path.suffix.lower() in _IMAGES) for c in classes}
    if len(classes) < 2 or any(len(found) < 5 for found in files.values()):
        found = ", ".join(f"{c.name} ({len(paths)})" for c, paths in files.items()) or "no subfolder"
        raise ValueError(
            f"--data {folder} must hold a subfolder for each class with at least 5 images ({' '.join(_IMAGES)}) in it; "
            f"it holds {found}."
        )
    x = np.stack([_read_image(path, size) for paths in files.values() for path in paths])
    y = np.repeat(np.arange(len(classes)), [len(paths) for paths in files.values()])
    return split(x, y, [c.name for c in classes], seed)


def npz_file(path):
    """An `.npz` of `x_train`, `y_train`, `x_test` and `y_test`; labels are 0, 1, and so on."""
    path = _existing(path)
    try:
        with path.open("rb") as file, np.load(file) as archive:
            missing = sorted({"x_train", "y_train", "x_test", "y_test"} - set(archive.files))
            if missing:
                raise ValueError(
                    f"--data {path} lacks {', '.join(missing)}; it holds {', '.join(archive.files) or 'nothing'}."
                )
            arrays = {name: archive[name] for name in ("x_train", "y_train", "x_test", "y_test")}
    except (zipfile.BadZipFile, EOFError, OSError, AttributeError) as error:
        raise ValueError(f"--data {path} is no whole .npz file: {error}") from None
    return _pairs(arrays, path)


def idx_folder(folder):
    """A folder of the four IDX files of MNIST or Fashion-MNIST, gzipped or not."""
    folder = _existing(folder)
    return _pairs({name: _read_idx(folder, f"{stem}-ubyte") for name, stem in _IDX.items()}, folder)


def _existing(path):
    path = pathlib.Path(path)
    if not path.exists():
        raise ValueError(f"--data {path} does not exist.")
    return path


def _read_image(path, size):
    try:
        image = tf.io.decode_image(tf.io.read_file(str(path)), channels=3, expand_animations=False)
    except tf.errors.InvalidArgumentError:
        raise ValueError(f"{path} is no image that can be read: mend it or take it out of the folder.") from None
    height, width, _ = image.shape
    side = min(height, width)
    square = tf.image.resize_with_crop_or_pad(image, side, side)
    return tf.cast(tf.round(tf.image.resize(square, [size, size], antialias=True)), tf.uint8).numpy()


def _read_idx(folder, name):
    path = next((folder / file for file in (name + ".gz", name) if (folder / file).is_file()), None)
    if path is None:
        raise ValueError(f"--data {folder} lacks {name}.gz: give a folder with the four IDX files of MNIST.")
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, OSError, zipfile.zlib.error) as error:
        raise ValueError(f"{path} is no whole gzip file: {error}") from None
    rank = content[3] if len(content) > 3 else 0
    if content[:3] != b"\x00\x00\x08" or len(content) < 4 + 4 * rank:
        raise ValueError(f"{path} is no IDX file of bytes: it starts with {content[:4].hex(' ') or 'nothing'}.")
    shape = np.frombuffer(content, ">u4", rank, 4)
    if len(content) - 4 - 4 * rank != np.prod(shape):
        given, expected = len(content) - 4 - 4 * rank, tuple(map(int, shape))
        raise ValueError(f"{path} is cut short or too long: {given} bytes for an array of shape {expected}.")
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)


def _pairs(arrays, path):
    for part in ("train", "test"):
        x, y = arrays[f"x_{part}"], np.squeeze(arrays[f"y_{part}"])
        if x.ndim not in (2, 3, 4) or y.shape != x.shape[:1] or not len(x):
            raise ValueError(
                f"In {path}, x_{part} has shape {x.shape} and y_{part} {y.shape}: give [n, features] or images "
                f"[n, height, width, channels], and one label for each of the n rows."
            )
        if y.dtype.kind not in "iub" or y.min() < 0:
            raise ValueError(f"In {path}, y_{part} holds {y.dtype} from {y.min()}: give class labels 0, 1, and so on.")
        arrays[f"x_{part}"], arrays[f"y_{part}"] = x[..., None] if x.ndim == 3 else x, y.astype(int)
    names = [str(label) for label in range(1 + arrays["y_train"].max())]
    if arrays["y_test"].max() >= len(names):
        raise ValueError(f"In {path}, y_test holds the class {arrays['y_test'].max()}, which y_train does not.")
    return (arrays["x_train"], arrays["y_train"]), (arrays["x_test"], arrays["y_test"]), names
