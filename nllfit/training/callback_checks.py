"""Checks of the callbacks of `fit`, before any weight changes."""

import os
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from nllfit.adapters import Model, adapter_of
from nllfit.adapters.keras_models import is_keras_code

__all__ = ["epoch_callbacks", "only_reads"]

_READERS = "CSVLogger", "EarlyStopping", "ModelCheckpoint", "TerminateOnNaN"
_BATCH_HOOKS = [f"on_{kind}batch_{end}" for kind in ("", "train_", "test_") for end in ("begin", "end")]


def epoch_callbacks(callbacks: Any, model: Model) -> Sequence:
    """Returns the callbacks as a list, after checking that `fit` can use them.

    Raises:
      TypeError: if a callback is not of the model's Keras version, or if the `backup_dir` of a `BackupAndRestore` is
        not a path.
      ValueError: if a callback acts on every batch or is a user's own subclass of `BackupAndRestore`, or if there are
        several `BackupAndRestore`.
    """
    keras = adapter_of(model).keras
    callbacks = tf.nest.flatten(callbacks) if callbacks is not None else []
    for callback in callbacks:
        if not isinstance(callback, keras.callbacks.Callback):
            raise TypeError(
                f"`callbacks` holds a {type(callback).__module__}.{type(callback).__name__}, and the model is of "
                f"`{keras.__name__}`: give callbacks of `{keras.__name__}.callbacks`."
            )
        if isinstance(callback, keras.callbacks.BackupAndRestore) and not is_keras_code(type(callback)):
            raise ValueError(
                f"{type(callback).__name__} is a BackupAndRestore of your own, and `nllfit.fit` writes the backups "
                f"itself: give `{keras.__name__}.callbacks.BackupAndRestore`, or train with `model.fit`."
            )
        folder = getattr(callback, "backup_dir", ".")
        if not (isinstance(folder, (str, os.PathLike)) and os.fspath(folder)):
            raise TypeError(
                f"`callbacks` holds a BackupAndRestore whose `backup_dir` is {folder!r}: give the path of a folder."
            )
        frequency = getattr(callback, "save_freq", getattr(callback, "update_freq", None))
        for hook in _BATCH_HOOKS:
            owner = next(c for c in type(callback).__mro__ if hook in vars(c))
            is_user_hook = hook in vars(callback) or not is_keras_code(owner)
            is_unneeded = owner is keras.callbacks.Callback or issubclass(owner, _classes_with_unneeded_hooks(keras))
            if is_user_hook or not (is_unneeded or frequency == "epoch"):
                raise ValueError(
                    f"{type(callback).__name__} acts on every batch (`{hook}`), and in `nllfit.fit` an epoch is one "
                    f"program: give a callback that acts once an epoch, or train with `model.fit`. (A loss that is not "
                    f"finite stops `nllfit.fit` without a callback.)"
                )
    if sum(isinstance(callback, keras.callbacks.BackupAndRestore) for callback in callbacks) > 1:
        raise ValueError("`callbacks` holds several BackupAndRestore: give one, because a run resumes from one backup.")
    return callbacks


def _classes_with_unneeded_hooks(keras):
    """Returns the callback classes whose batch hooks `fit` need not call.

    `fit` itself updates the progress bar and checks that the loss is finite.
    """
    return keras.callbacks.ProgbarLogger, keras.callbacks.TerminateOnNaN


def only_reads(callback: Any) -> bool:
    """Returns whether a callback only reads the model. It may stop the run, but does not change later epochs."""
    return type(callback).__name__ in _READERS and is_keras_code(type(callback))
