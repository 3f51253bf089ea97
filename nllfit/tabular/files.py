"""Writes and reads the files of fitted estimators. The files contain only JSON and arrays, so reading runs no code."""

import json
import os
import pathlib
import zipfile
from typing import Any

import keras
import numpy as np
from tensorflow_probability import distributions as tfd

from nllfit.families.family_base import ParametricFamily
from nllfit.keras3 import heads
from nllfit.saved_models import new_folder
from nllfit.tabular.class_and_value_target import Classes
from nllfit.tabular.column_encoding import Column, Columns
from nllfit.tabular.forest import Forest, ForestInputs
from nllfit.tabular.histogram_target import Histogram
from nllfit.tabular.network_architectures import Network
from nllfit.tabular.network_inputs import Bins, Inputs
from nllfit.tabular.networks_and_forests import Networks, Trees
from nllfit.tabular.perceptron import Perceptron
from nllfit.tabular.standardised_target import LocationScale
from nllfit.tabular.trials_and_spread import Predictor, Trial
from nllfit.tabular.unscaled_target import OwnUnit

__all__ = ["read", "write"]

_CLASSES = {
    kind.__name__: kind
    for kind in (
        *(Bins, Classes, Column, Columns, Forest, ForestInputs, Histogram, Inputs, LocationScale),
        *(Network, Networks, OwnUnit, Perceptron, Predictor, Trees, Trial),
    )
}
_VALUES, _ARRAYS = "estimator.json", "arrays.npz"


def write(folder: str | os.PathLike, values: Any) -> None:
    """Writes numbers, text, arrays, families and objects of this package to a new or empty folder.

    Raises:
      TypeError: if a value has another type.
      ValueError: if the folder is not empty.
    """
    arrays: dict[str, np.ndarray] = {}
    plain = json.dumps(_plain(values, arrays))
    with new_folder(folder) as path:
        np.savez(path / _ARRAYS, **arrays)  # type: ignore[arg-type]
        (path / _VALUES).write_text(plain)


def read(folder: str | os.PathLike) -> Any:
    """Reads the values that `write` wrote.

    Raises:
      ValueError: if the folder does not exist, or a file in it is damaged.
    """
    folder = pathlib.Path(folder)
    try:
        plain = json.loads((folder / _VALUES).read_text())
        with np.load(folder / _ARRAYS, allow_pickle=False) as arrays:
            return _restored(plain, dict(arrays))
    except (AttributeError, EOFError, KeyError, OSError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"`folder` {folder} does not contain a complete estimator: give one that `save` wrote. "
            f"({type(error).__name__}: {error})"
        ) from error


def _plain(value, arrays):
    """Converts a value to JSON's types. Each array is stored in the dict `arrays`, and replaced by its key."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray | np.generic):
        name = f"array_{len(arrays)}"
        arrays[name] = value.astype(str) if value.dtype == object else np.asarray(value)
        return {"array": name}
    if isinstance(value, list):
        return [_plain(item, arrays) for item in value]
    if isinstance(value, tuple):
        return {"tuple": [_plain(item, arrays) for item in value]}
    if isinstance(value, dict):
        return {"dict": [[_plain(key, arrays), _plain(item, arrays)] for key, item in value.items()]}
    if type(value) in _CLASSES.values():
        return {"class": type(value).__name__, "state": _plain(vars(value), arrays)}
    if isinstance(value, type) and issubclass(value, tfd.Distribution):
        return value.__name__  # the argument `distribution` accepts the name of a class as well as the class
    if isinstance(value, ParametricFamily):
        return {"family": keras.saving.serialize_keras_object(heads.DistributionHead(value))}
    raise TypeError(f"A {type(value).__name__} cannot be saved: {value!r}.")


def _restored(plain, arrays):
    if isinstance(plain, list):
        return [_restored(item, arrays) for item in plain]
    if not isinstance(plain, dict):
        return plain
    if "array" in plain:
        return arrays[plain["array"]][()]  # an array without axes becomes a number
    if "tuple" in plain:
        return tuple(_restored(plain["tuple"], arrays))
    if "dict" in plain:
        return {_restored(key, arrays): _restored(item, arrays) for key, item in plain["dict"]}
    if "family" in plain:
        return keras.saving.deserialize_keras_object(plain["family"], safe_mode=True).family
    kind, state = _CLASSES[plain["class"]], _restored(plain["state"], arrays)
    made: Any = object.__new__(kind)
    made.__dict__.update(state)
    return made
