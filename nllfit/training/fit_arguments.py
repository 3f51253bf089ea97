"""Checks of the arguments of training, before any weight changes."""

import numbers
import os
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from nllfit.adapters import Model, adapter_of
from nllfit.adapters.keras_models import is_keras_code
from nllfit.families.arguments import as_count

__all__ = ["as_integers", "check_options", "check_trainable", "check_verbose", "epoch_callbacks", "only_reads"]

_READERS = "CSVLogger", "EarlyStopping", "ModelCheckpoint", "TerminateOnNaN"
_BATCH_HOOKS = [f"on_{kind}batch_{end}" for kind in ("", "train_", "test_") for end in ("begin", "end")]


def check_trainable(model: Model, strategies: Sequence[str] = ()) -> None:
    """Raises a `ValueError` if a model is not compiled, or if only `model.fit` can train it.

    Args:
      model: a model of either Keras version.
      strategies: the names of the strategies in `tf.distribute` that the model may use.
    """
    adapter = adapter_of(model)
    if getattr(model, "optimizer", None) is None:
        suggested = f'`model.compile("adam", {adapter.loss_text})`'
        raise ValueError(f"The model is not compiled: call {suggested} first.")
    _check_versions(model, adapter)
    if model.run_eagerly:
        raise ValueError("The model is compiled with `run_eagerly=True`, and `fit` runs no Python: use `model.fit`.")
    strategy = model.distribute_strategy
    allowed = tuple(getattr(tf.distribute, name) for name in strategies)
    # The replicas of a `ParameterServerStrategy` are not in sync, so its `num_replicas_in_sync` is 1.
    several = strategy.num_replicas_in_sync > 1 or isinstance(strategy, tf.distribute.ParameterServerStrategy)
    if several and not isinstance(strategy, allowed):
        raise ValueError(
            f"The model is distributed over several devices by a {type(strategy).__name__}: "
            + (f"give one of {', '.join(strategies)}, or " if strategies else "")
            + "use `model.fit`."
        )


def _check_versions(model, adapter):
    """Raises a `TypeError` for a loss or metric of the other Keras version, which would fail or give wrong numbers."""
    keras = adapter.keras.__name__
    for argument in ("loss", "metrics", "weighted_metrics"):
        for part in tf.nest.flatten(adapter.compile_arguments.get(argument)):
            packages = {base.__module__.partition(".")[0] for base in type(part).__mro__}
            if other := packages & ({"keras", "tf_keras"} - {keras}):
                raise TypeError(
                    f"`{argument}` of `model.compile` holds a {type(part).__name__} of `{other.pop()}`, and the model "
                    f"is of `{keras}`: give one of `{keras}.{'losses' if argument == 'loss' else 'metrics'}`, or of "
                    f"`{adapter.namespace}`."
                )


def as_integers(lowest: int = 1, optional: bool = False, **numbers: Any) -> list:
    """Converts the arguments to Python integers, because NumPy integers can overflow and lack some methods.

    Raises:
      ValueError: if an argument is not an integer >= `lowest`. With `optional`, None is allowed.
    """
    return [as_count(name, number, lowest, optional) for name, number in numbers.items()]


def check_options(validation_split: Any, validation_freq: Any, verbose: Any, shuffle: Any, compile: Any) -> None:
    """Raises a `ValueError` if one of these arguments of `fit` has an invalid value."""
    is_number = isinstance(validation_split, numbers.Real) and not isinstance(validation_split, bool)
    if not (is_number and 0 <= validation_split < 1):
        raise ValueError(
            f"`validation_split` is {validation_split!r}: give the fraction of rows to hold out, between 0 and 1."
        )
    frequencies = validation_freq if isinstance(validation_freq, Collection) else [validation_freq]
    for frequency in frequencies:
        as_count("validation_freq", frequency, 1)
    check_verbose(verbose)
    if not isinstance(shuffle, (bool, np.bool_)):
        raise ValueError(f"`shuffle` is {shuffle!r}: give True or False.")
    if compile not in ("auto", "xla", "graph"):
        raise ValueError(f'`compile` is {compile!r}: give "auto", "xla" or "graph".')


def check_verbose(verbose: Any) -> None:
    """Raises a `ValueError` if `verbose` is not one of Keras's values."""
    if not (isinstance(verbose, (str, numbers.Integral)) and verbose in ("auto", 0, 1, 2)):
        raise ValueError(f'`verbose` is {verbose!r}: give 0, 1, 2 or "auto".')


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
