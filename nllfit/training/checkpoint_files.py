"""Crash-safe checkpoint files: a killed process leaves the previous file of `ModelCheckpoint` intact."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

__all__ = ["atomic_file"]


@contextlib.contextmanager
def atomic_file(path: Any) -> Iterator[Any]:
    """A context manager that yields a temporary path, so that `path` never holds an incomplete file.

    If the block ends without an error, the file at the temporary path replaces the file at `path`.

    Without the temporary path, Keras would overwrite the previous file, so a process killed during a write would leave
    no complete file. Only `.keras` and `.h5` files get a temporary path. For formats with several files, such as
    TensorFlow's, the context manager yields `path` itself.
    """
    folder, name = os.path.split(os.fspath(path))
    if not name.endswith((".keras", ".h5")) or tf.io.gfile.isdir(path):
        yield path
        return
    partial = os.path.join(folder, f".partial-{name}")
    try:
        yield partial
        tf.io.gfile.rename(partial, path, overwrite=True)
    except (OSError, tf.errors.OpError) as error:
        raise OSError(f"{path} cannot be written: {str(error).rstrip('.')}. The previous file is intact.") from error
    finally:
        if tf.io.gfile.exists(partial):
            tf.io.gfile.remove(partial)
