"""Files of models, whole at any moment: Keras writes over the one before, and killed in a write it leaves neither."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

__all__ = ["whole_file"]


@contextlib.contextmanager
def whole_file(path: Any) -> Iterator[Any]:
    """A path to write a `.keras` or `.h5` file to, beside its own, whose place it takes once it is written.

    What a format of several files is written to, such as TensorFlow's, is the path itself.
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
        raise OSError(f"{path} cannot be written: {str(error).rstrip('.')}. What it was before is whole.") from error
    finally:
        if tf.io.gfile.exists(partial):
            tf.io.gfile.remove(partial)
