"""Checks of the arguments of training, before any weight changes."""

import numbers
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from nllfit.adapters import Model, adapter_of
from nllfit.families.arguments import as_count

__all__ = ["as_integers", "check_options", "check_trainable", "check_verbose"]


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
