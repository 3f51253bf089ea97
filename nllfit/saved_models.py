"""Reads `.keras` files of Keras 2 and Keras 3, and creates the folders in which models are saved."""

import contextlib
import json
import os
import pathlib
import shutil
import zipfile
from collections.abc import Iterator

import tf_keras

from nllfit.adapters import Model

__all__ = ["load_model", "new_folder"]

_ERRORS_OF_DAMAGED_FILES = (
    AttributeError,  # Keras 3.12 raises it if a value of the config has the wrong type
    KeyError,
    OSError,
    RuntimeError,
    json.JSONDecodeError,
    UnicodeDecodeError,
    zipfile.BadZipFile,
)


@contextlib.contextmanager
def new_folder(folder: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Creates a folder to write files to. If an error ends the `with` block, the folder is emptied.

    Raises a `ValueError` if the folder exists and is not empty.
    """
    folder = pathlib.Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"`folder` {folder} holds something already: name a new folder.")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    except BaseException:  # also Ctrl-C
        for part in folder.iterdir():
            shutil.rmtree(part) if part.is_dir() else part.unlink()
        raise


def load_model(path: pathlib.Path) -> Model:
    """Loads a `.keras` file of Keras 2 or Keras 3 in safe mode. Raises a `ValueError` if the file is damaged."""
    try:
        return _keras_of_file(path).models.load_model(path)
    except _ERRORS_OF_DAMAGED_FILES as error:
        raise ValueError(
            f"{path} is not a complete .keras file: save it again. ({type(error).__name__}: {error})"
        ) from error


def _keras_of_file(path):
    """Returns the package that can load a file: `tf_keras` for files of Keras 2, otherwise `keras`.

    Raises a `BadZipFile` if a checksum of the file is wrong.
    """
    with zipfile.ZipFile(path) as archive:
        # From Python 3.13 on, `zipfile` does not check a file's checksum after a seek, and h5py seeks to the weights.
        if damaged := archive.testzip():
            raise zipfile.BadZipFile(f"the checksum of {damaged} is wrong")
        version = json.loads(archive.read("metadata.json"))["keras_version"]
    if version.startswith("2."):
        return tf_keras
    import keras

    import nllfit.keras3  # noqa: F401 - registers the heads of Keras 3

    return keras
