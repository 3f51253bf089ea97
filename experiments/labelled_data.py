"""Readers of data sets with class labels. Each returns `(x_train, y_train), (x_test, y_test), class_names`."""

import gzip
import math
import os
import pathlib
import warnings
import zlib

import numpy as np
import tensorflow as tf
from PIL import Image
from sklearn.model_selection import train_test_split

__all__ = ["idx_folder", "npz_file", "photographs", "split"]

_IMAGES = (".bmp", ".gif", ".jpeg", ".jpg", ".png")
_ARRAYS = ("x_train", "y_train", "x_test", "y_test")
_IDX = {"x_train": "train-images-idx3", "y_train": "train-labels-idx1", "x_test": "t10k-images-idx3"}
_IDX["y_test"] = "t10k-labels-idx1"
# A file may declare arrays of at most _EXPANSION times its own size, or of _SMALL bytes if that is more. Real data
# compress about tenfold, but a malicious file can expand a thousandfold.
_EXPANSION, _SMALL = 100, 2**26


def split(x, y, class_names, seed, test_size=0.2):
    """Splits rows at random into training and test rows, stratified by class."""
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=test_size, random_state=seed, stratify=y)
    return (x_train, y_train), (x_test, y_test), list(class_names)


def photographs(folder, size, seed):
    """Reads images from a folder with one subfolder per class. 20% of them become test rows.

    Images are cropped to squares and resized to `size` x `size` pixels.
    """
    folder = _existing(folder)
    if not folder.is_dir():
        raise ValueError(f"--data {folder} is a file: give an .npz file or a folder with a subfolder for each class.")
    classes = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    files = {
        c: sorted(path for path in c.iterdir() if path.is_file() and path.suffix.lower() in _IMAGES) for c in classes
    }
    if len(classes) < 2 or any(len(found) < 5 for found in files.values()):
        found = ", ".join(f"{c.name} ({len(paths)})" for c, paths in files.items()) or "no subfolder"
        raise ValueError(
            f"--data {folder} must hold a subfolder for each class with at least 5 images ({' '.join(_IMAGES)}) in it; "
            f"it holds {found}."
        )
    x = np.stack([_read_image(path, size) for paths in files.values() for path in paths])
    y = np.repeat(np.arange(len(classes)), [len(paths) for paths in files.values()])
    names = [os.fsencode(c.name).decode(errors="replace") for c in classes]  # so that every name can be printed
    return split(x, y, names, seed)


def npz_file(path):
    """Reads an `.npz` file of `x_train`, `y_train`, `x_test` and `y_test`. The labels are 0, 1, and so on."""
    path = _existing(path)
    if not path.is_file():
        raise ValueError(f"--data {path} is not a file: give an .npz file or a folder with a subfolder for each class.")
    try:
        with path.open("rb") as file, np.lib.npyio.NpzFile(file) as archive:
            names = archive.files
            members = [member for member in archive.zip.infolist() if member.filename.removesuffix(".npy") in _ARRAYS]
            _check_claim(path, sum(member.file_size for member in members))
            arrays = {name: archive[name] for name in _ARRAYS if name in names}
    except Exception as error:  # damaged files raise many types of exceptions
        if "allow_pickle" in str(error):
            raise ValueError(f"An array in --data {path} holds Python objects: save arrays of numbers.") from None
        raise ValueError(f"--data {path} is not a complete .npz file: {_one_line(error)}") from None
    raw = [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]
    if raw:  # NumPy returns raw bytes for a member that is not an array
        raise ValueError(f"--data {path} holds {raw[0]}, which is not an array: write the file with `np.savez`.")
    missing = [name for name in _ARRAYS if name not in names]
    if missing:
        raise ValueError(f"--data {path} lacks {', '.join(missing)}; it holds {', '.join(names) or 'nothing'}.")
    return _pairs(arrays, path)


def idx_folder(folder):
    """Reads a folder with the four IDX files of MNIST or Fashion-MNIST. They may be gzipped."""
    folder = _existing(folder)
    return _pairs({name: _read_idx(folder, f"{stem}-ubyte") for name, stem in _IDX.items()}, folder)


def _existing(path):
    path = pathlib.Path(path)
    if not path.exists():
        raise ValueError(f"--data {path} does not exist.")
    return path


def _read_image(path, size):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as file:  # reads only the header
                if file.format == "BMP":  # TensorFlow takes the palette indices of a BMP file as gray values
                    image = tf.constant(np.array(file.convert("RGB")))
                else:  # Pillow would clip 16-bit PNG files
                    image = tf.io.decode_image(path.read_bytes(), channels=3, expand_animations=False)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: {error} Give a smaller image.") from None
    except Exception:  # damaged images raise many types of exceptions
        raise ValueError(f"{path} is not a readable image: repair it or remove it from the folder.") from None
    height, width, _ = image.shape
    side = min(height, width)
    square = tf.image.resize_with_crop_or_pad(image, side, side)
    return tf.cast(tf.round(tf.image.resize(square, [size, size], antialias=True)), tf.uint8).numpy()


def _read_idx(folder, name):
    path = next((folder / file for file in (name + ".gz", name) if (folder / file).is_file()), None)
    if path is None:
        raise ValueError(f"--data {folder} lacks {name}.gz: give a folder with the four IDX files of MNIST.")
    rank = int(name.removesuffix("-ubyte")[-1])
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            start, sizes = file.read(4), file.read(4 * rank)
            if start != bytes([0, 0, 8, rank]) or len(sizes) < 4 * rank:
                raise ValueError(
                    f"it starts with {start.hex(' ') or 'nothing'}, not with 00 00 08 {rank:02} and sizes."
                )
            shape = tuple(map(int, np.frombuffer(sizes, ">u4")))
            _check_claim(path, math.prod(shape))
            content = file.read(math.prod(shape) + 1)  # limited, because a gzip file may expand to far more
        if len(content) != math.prod(shape):
            size = "more" if len(content) > math.prod(shape) else len(content)
            raise ValueError(f"it holds {size} bytes for an array of shape {shape}.")
    except (EOFError, OSError, ValueError, zlib.error) as error:
        raise ValueError(f"{path} is not a complete IDX file: {_one_line(error)}") from None
    return np.frombuffer(content, np.uint8).reshape(shape)


def _check_claim(path, num_bytes):
    """Raises a `ValueError` if a file declares far more bytes than its size justifies."""
    if num_bytes > max(_SMALL, _EXPANSION * path.stat().st_size):
        raise ValueError(f"it claims to hold {num_bytes} bytes, more than {_EXPANSION} times its own size.")


def _one_line(error):
    return " ".join(str(error).split()) or type(error).__name__


def _pairs(arrays, path):
    """Returns the arrays as training and test pairs. Raises a `ValueError` if a network cannot be trained on them."""
    for part in ("train", "test"):
        x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
        x, y = x[..., None] if x.ndim == 3 else x, y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
        if x.ndim not in (2, 4) or not x.size or y.shape != x.shape[:1]:
            raise ValueError(
                f"In {path}, x_{part} has shape {x.shape} and y_{part} {y.shape}: give [n, features] or images "
                f"[n, height, width, channels], and one label for each of the n rows."
            )
        if x.ndim == 4 and (x.shape[-1] not in (1, 3) or min(x.shape[1:3]) < 8):
            raise ValueError(
                f"In {path}, x_{part} has shape {x.shape}: give images of at least 8 x 8, of 1 or 3 channels."
            )
        if x.dtype.kind not in "iufb":
            raise ValueError(f"In {path}, x_{part} holds {x.dtype}: give real numbers.")
        if not (np.abs(x) <= np.finfo("float32").max).all():
            raise ValueError(
                f"In {path}, x_{part} holds {x.dtype} that are not all finite in float32: give finite numbers."
            )
        if y.dtype.kind not in "iub" or y.min() < 0:
            raise ValueError(f"In {path}, y_{part} holds {y.dtype}: give class labels 0, 1, and so on, as integers.")
        if y.max() >= len(arrays["y_train"]):
            raise ValueError(
                f"In {path}, y_{part} holds the class {y.max()}, but there are {len(arrays['y_train'])} training rows: "
                f"give class labels 0, 1, and so on, with rows of each."
            )
        arrays[f"x_{part}"], arrays[f"y_{part}"] = x, y.astype(int)
    if arrays["x_test"].shape[1:] != arrays["x_train"].shape[1:]:
        shapes = " and ".join(str(arrays[f"x_{part}"].shape) for part in ("train", "test"))
        raise ValueError(f"In {path}, x_train and x_test have shapes {shapes}: give rows of the same kind.")
    names = [str(label) for label in range(1 + arrays["y_train"].max())]
    if arrays["y_test"].max() >= len(names):
        raise ValueError(f"In {path}, y_test holds the class {arrays['y_test'].max()}, which y_train does not.")
    return (arrays["x_train"], arrays["y_train"]), (arrays["x_test"], arrays["y_test"]), names
