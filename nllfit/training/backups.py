"""Crash-safe backups: a killed `fit` resumes from its last complete backup.

Keras 3's `BackupAndRestore` overwrites its file, so a process that is killed during a write leaves no backup. Neither
Keras version saves the state of random generators or of other callbacks. So `fit` itself writes TensorFlow checkpoints
into the folder of the `BackupAndRestore`. A checkpoint is complete before the previous one is deleted.
"""

import contextlib
import io
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from nllfit.adapters import Model
from nllfit.adapters.keras_models import is_keras_code

__all__ = ["Backup"]

_SEED = "seed/.ATTRIBUTES/VARIABLE_VALUE"
# The attributes in which callbacks of tf_keras and Keras 3 keep state from one epoch to the next.
_CALLBACK_STATE = {
    "EarlyStopping": ("best", "best_epoch", "best_weights", "stopped_epoch", "wait"),
    "ModelCheckpoint": ("best",),
    "ReduceLROnPlateau": ("best", "cooldown_counter", "wait"),
}


class Backup:
    """Writes the state of a run after each epoch to the folder of a `BackupAndRestore`, and restores it.

    If several workers share the folder, only the first one writes.

    Args:
      callback: a `BackupAndRestore` of either Keras version.
      model: the model in training.
      variables: the variables that a step reads or changes.
      callbacks: the other callbacks of the run.
      seed: the seed of the run, or None.
    """

    def __init__(
        self,
        callback: Any,
        model: Model,
        variables: Sequence[tf.Variable],
        callbacks: Sequence,
        seed: int | None = None,
    ):
        self._seed = str(seed)  # as text, because it may have any number of digits
        self._folder = os.path.join(callback.backup_dir, "fit")
        self._ended_folder = f"{self._folder}-ended"
        self._writes = model.distribute_strategy.extended.should_checkpoint
        self._deletes = self._writes and callback.delete_checkpoint
        self._epoch = tf.Variable(0, trainable=False, dtype=tf.int64)
        self._memory = _Memory(model, callbacks)
        trackables = {"epoch": self._epoch, "memory": self._memory, "variables": list(variables)}
        self._state = tf.train.Checkpoint(seed=tf.Variable(self._seed, trainable=False), **trackables)
        with self._errors_explained():
            if self._deletes and tf.io.gfile.isdir(self._ended_folder):
                tf.io.gfile.rmtree(self._ended_folder)
            self._manager = _manager_of(self._state, self._folder)

    def begin(self, initial_epoch: int) -> tuple[int, dict | None]:
        """Restores the last backup, or writes the first one if there is none.

        Returns:
          The epoch to begin with.
          The logs of the previous epoch, or None if there was no backup.
        """
        path = self._manager.latest_checkpoint
        if path is None:
            self.save(initial_epoch)  # raises before the first step if the folder cannot be written
            return initial_epoch, None
        with self._errors_explained():
            checkpoint = tf.train.load_checkpoint(path)
            shapes, dtypes = checkpoint.get_variable_to_shape_map(), checkpoint.get_variable_to_dtype_map()
            names = [name for name in shapes if name.startswith("variables/")]
            key = "variables/{}/.ATTRIBUTES/VARIABLE_VALUE".format
            fits = len(names) == len(self._state.variables) and all(
                shapes.get(key(i)) == v.shape and dtypes[key(i)] == v.dtype for i, v in enumerate(self._state.variables)
            )
            if not fits:
                raise ValueError(
                    f"{self._folder} holds the backup of a run of another model or optimizer: name another "
                    f"`backup_dir`, or delete this one to train from the first epoch."
                )
            seed = checkpoint.get_tensor(_SEED).decode() if checkpoint.has_tensor(_SEED) else self._seed
            if seed != self._seed:
                raise ValueError(
                    f"{self._folder} holds the backup of a run with `seed={seed}`, and this run has "
                    f"`seed={self._seed}`: give the same seed to resume it, name another `backup_dir`, or delete this "
                    f"one to train from the first epoch."
                )
            self._state.restore(path)
        return int(self._epoch), self._memory.logs

    def save(self, epoch: int, logs: dict | None = None) -> None:
        """Writes the state of the run at the start of `epoch`. `logs` are the logs of the previous epoch."""
        if not self._writes:
            return
        self._epoch.assign(epoch)
        self._memory.logs = logs
        with self._errors_explained():
            self._manager.save()

    def end(self) -> None:
        """Deletes the backup of a run that has ended, unless the callback has `delete_checkpoint=False`.

        The folder is renamed before its files are deleted. So a process that is killed during the deletion leaves no
        incomplete backup under the original name.
        """
        if self._deletes:
            tf.io.gfile.rename(self._folder, self._ended_folder)
            tf.io.gfile.rmtree(self._ended_folder)

    @contextlib.contextmanager
    def _errors_explained(self) -> Iterator[None]:
        try:
            yield
        except (tf.errors.OpError, IndexError) as error:  # `IndexError`: a file is too short
            reason = getattr(error, "message", str(error)).partition("\n")[0].rstrip(".")
            raise OSError(
                f"The backup in {self._folder} cannot be read or written: {reason}. The previous backup, if there is "
                f"one, is intact: fix the cause and run the same command again, or give another `backup_dir`."
            ) from error


def _manager_of(state, folder):
    """Returns the checkpoint manager for a folder.

    Raises:
      OSError: if the file `checkpoint`, which names the last backup, is damaged or lost. TensorFlow treats such a
        folder as empty, and would overwrite the backup.
    """
    # We list the files before the manager reads the folder. If we listed them afterwards, another worker could write
    # the first backup in between. The manager would miss this backup, and we would report it as damaged.
    files = tf.io.gfile.listdir(folder) if tf.io.gfile.isdir(folder) else []
    try:
        manager = tf.train.CheckpointManager(state, folder, max_to_keep=1)
    except ValueError:  # the file is empty or is not text
        manager = None
    if manager is not None and manager.latest_checkpoint is not None:
        return manager
    newest = max((int(match[1]) for name in files if (match := re.fullmatch(r"ckpt-(\d+)\.index", name))), default=0)
    # A run that was killed while it wrote its first backup leaves no file `checkpoint`. The first backup is written
    # before the first step, so nothing is lost if a new run begins in the folder.
    if "checkpoint" not in files and newest <= 1:
        return manager
    file, fault = os.path.join(folder, "checkpoint"), "damaged" if "checkpoint" in files else "missing"
    resume = f" To resume from the last backup, make 'model_checkpoint_path: \"ckpt-{newest}\"' its only line."
    raise OSError(
        f"{file}, which names the last backup, is {fault}.{resume if newest else ''} To train from the first epoch, "
        f"delete {folder}."
    )


class _Memory(tf.train.experimental.PythonState):
    """The state that a backup contains besides variables, converted to arrays.

    This state has three parts: the state of the callbacks, whether a callback stopped the run, and the logs of the last
    epoch. The second part is saved under a name that contains the classes of all callbacks. So if a stopped run is
    resumed with callbacks of other classes, the training continues. The state of a callback is restored only if the
    resumed run has a callback of the same class.
    """

    def __init__(self, model, callbacks):
        self.logs = None
        class_names = [type(callback).__name__ for callback in callbacks]
        self._saved_attributes = {
            f"{class_name} {class_names[:i].count(class_name)} {name}": (callback, name)
            for i, (class_name, callback) in enumerate(zip(class_names, callbacks, strict=True))
            if is_keras_code(type(callback))
            for name in _CALLBACK_STATE.get(class_name, ())
        } | {" ".join(["stopped", *class_names]): (model, "stop_training")}

    def serialize(self):
        logs = {f"logs/{name}": np.asarray(value) for name, value in (self.logs or {}).items()}
        # A callback may add logs that are not numbers.
        arrays: dict[str, Any] = {key: value for key, value in logs.items() if value.dtype.kind in "biuf"}
        for key, (owner, name) in self._saved_attributes.items():
            value = getattr(owner, name, None)
            if isinstance(value, list):  # the weights of a model
                arrays |= {f"{key} {i}": _without_pickle(array) for i, array in enumerate(value)}
            elif value is not None:
                arrays[key] = value
        file = io.BytesIO()
        np.savez(file, **arrays)
        return file.getvalue()

    def deserialize(self, string_value):
        arrays = np.load(io.BytesIO(string_value))  # without `allow_pickle`, so no code from the file runs
        self.logs = {
            key.removeprefix("logs/"): arrays[key].item() if arrays[key].ndim == 0 else arrays[key]
            for key in arrays.files
            if key.startswith("logs/")
        }
        for key, (owner, name) in self._saved_attributes.items():
            weights = [arrays[f"{key} {i}"] for i in range(len(arrays.files)) if f"{key} {i}" in arrays.files]
            if key in arrays.files or weights:
                setattr(owner, name, weights or arrays[key].item())


def _without_pickle(array):
    """Returns the array in a dtype that NumPy can load without running code from the file.

    Text becomes bytes, because NumPy would save it as objects. A 16-bit dtype that NumPy does not know, such as
    bfloat16, becomes float32.
    """
    if array.dtype == object:
        return array.astype("S")
    return array.astype("float32") if array.dtype.kind == "V" else array
