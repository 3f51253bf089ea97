"""Checks of a regression's table, and of its columns of weights, offsets and clusters."""

import decimal
import numbers
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from nllfit.families.arguments import as_labels, label_indices
from nllfit.regression.optional_packages import pandas as pd

__all__ = [
    "as_clusters",
    "as_column",
    "as_frame",
    "as_numbers",
    "as_times",
    "as_weights",
    "check_present",
    "holds_labels",
    "named_columns",
]

_SHOWN = 3  # the maximum number of rows that a message lists


def as_frame(data: Any) -> Any:
    """Returns `data` as a `DataFrame` whose numbers, booleans and texts have dtypes that formulaic supports.

    Raises:
      TypeError: if `data` is not a table.
      ValueError: if `data` has no rows, two columns of one name, or columns of different lengths.
    """
    if isinstance(data, Mapping):
        if data and all(map(np.isscalar, data.values())):
            raise ValueError("`data` has one value per column: give a list per column, such as `{'x': [1.0]}`.")
        try:
            data = pd.DataFrame(data)
        except ValueError as error:
            raise ValueError(f"`data` is not a table: {error}") from None
    if not isinstance(data, pd.DataFrame):
        library = "polars " if type(data).__module__.startswith("polars") else ""
        raise TypeError(f"`data` is a {library}{type(data).__name__}: give a pandas DataFrame or a dict of columns.")
    if not len(data):
        raise ValueError("`data` has no rows: give one row for each observation.")
    if not data.columns.is_unique:
        twice = data.columns[data.columns.duplicated()][0]
        raise ValueError(f"`data` has two columns named {twice!r}: rename one of them.")
    return _with_numpy_dtypes(data)


def _with_numpy_dtypes(data: Any) -> Any:
    """Converts columns to the dtypes that formulaic supports: int64, float64, booleans, text and categories."""
    converted = {name: _with_numpy_dtype(data[name]) for name in data.columns}
    converted = {name: column for name, column in converted.items() if column.dtype != data[name].dtype}
    if not converted:
        return data
    data = data.copy(deep=False)
    for name, column in converted.items():
        data[name] = column
    return data


def _with_numpy_dtype(column: Any) -> Any:
    """Converts a column of numbers to int64 or float64, and a column of a pandas string dtype to dtype object.

    formulaic would treat numbers of dtype object as labels. It would treat texts as numbers if the missing value of
    their dtype is `pandas.NA`. In a small or unsigned dtype, an expression such as `x - 200` or `x**2` would wrap
    around or overflow.
    """
    if getattr(column.dtype, "na_value", None) is pd.NA or column.dtype == object:
        column = column.astype(object).infer_objects()
    if column.dtype == object:
        missing = pd.isna(column)
        if not missing.all() and all(isinstance(value, numbers.Real | decimal.Decimal) for value in column[~missing]):
            column = column.mask(missing, np.nan).astype(np.float64)
    if column.dtype.kind in "iuf" and column.dtype not in (np.int64, np.float64):
        is_wide = column.dtype.kind == "f" or column.max() > np.iinfo(np.int64).max
        column = column.astype(np.float64 if is_wide else np.int64)
    return column


def as_column(name: str, value: Any, data: Any) -> np.ndarray:
    """Returns an argument as an array `[n]` without missing values.

    The argument is the name of a column, or has one value for each row.
    """
    if isinstance(value, str):
        if value not in data.columns:
            raise ValueError(f"`{name}` is {value!r}, but the columns of `data` are {_listed(data.columns)}.")
        value = data[value]
    values = as_labels(name, value)
    if values.shape != (len(data),):
        raise ValueError(f"`{name}` has shape {values.shape}, but `data` has {len(data)} rows: give one value a row.")
    if pd.isna(values).any():
        raise ValueError(f"`{name}` is missing in {_rows(pd.isna(values), data)}: fill it in or drop such rows.")
    return values


def as_numbers(name: str, value: Any, data: Any) -> np.ndarray:
    """Returns an argument as `as_column` does, in float64. Raises a `ValueError` if a number is not finite."""
    values = as_column(name, value, data)
    if values.dtype.kind not in "buif":
        raise ValueError(f"`{name}` holds values of dtype {values.dtype}: give one number per row.")
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError(f"`{name}` is not finite in {_rows(~np.isfinite(values), data)}: give finite numbers.")
    return values


def as_times(times: Any) -> np.ndarray:
    """Returns one time or several times as an array `[k]`. Raises a `ValueError` if one is missing or not numeric."""
    array = np.atleast_1d(times)
    is_numeric = array.dtype.kind in "uif"
    if not is_numeric or np.isnan(array).any():
        fault = "NaN" if is_numeric else f"values of dtype {array.dtype}"
        raise ValueError(f"`times` has {fault}: give a number or a list of numbers.")
    return array


def as_weights(value: Any, data: Any) -> np.ndarray:
    """Returns the weights of the rows, `[n]`. Raises a `ValueError` if one is negative or all are 0."""
    weights = as_numbers("weights", value, data)
    if (weights < 0).any() or not weights.any():
        raise ValueError(
            "`weights` are negative in some row, or 0 in all rows: give the number of times that each row counts."
        )
    return weights


def as_clusters(value: Any, data: Any, weights: np.ndarray | None = None) -> np.ndarray:
    """Returns the index of each row's cluster, `[n]`. The labels of rows with weight 0 are ignored."""
    labels = as_column("cluster", value, data)
    has_weight = np.ones(len(data), bool) if weights is None else weights > 0
    clusters = label_indices(labels, has_weight)
    if clusters.max() == 0:
        raise ValueError(
            f"`cluster` has only the label {labels[has_weight][0]}: a sandwich covariance needs at least two clusters."
        )
    return clusters


def holds_labels(column: Any) -> bool:
    """Whether a column of a `DataFrame` holds texts or categories, and not numbers, booleans or times."""
    return column.dtype.kind == "O"


def named_columns(text: str, data: Any) -> list:
    """Returns the names of the columns of `data` that occur in a formula.

    The names of functions (`log(`), attributes (`.sum`) and keyword arguments (`df=`) are not columns.
    """
    return [c for c in data.columns if re.search(rf"(?<![\w.]){re.escape(str(c))}(?!\w|\s*\(|\s*=(?!=))", text)]


def check_present(text: str, data: Any) -> None:
    """Raises a `ValueError` if a column of `data` that occurs in a formula has missing values."""
    for column in named_columns(text, data):
        missing = np.asarray(pd.isna(data[column]))
        if missing.any():
            raise ValueError(
                f"Column `{column}` of `data` is missing in {_rows(missing, data)}: fill it in, or drop such rows "
                f"with `data.dropna(subset=[{column!r}])`."
            )


def _rows(mask: np.ndarray, data: Any) -> str:
    """Describes the rows that a mask selects: their number, and the index labels of the first ones."""
    labels = data.index[mask]
    return f"{len(labels)} of {len(data)} rows (index {_listed(labels[:_SHOWN])}{', ...' * (len(labels) > _SHOWN)})"


def _listed(names: Iterable) -> str:
    return ", ".join(map(str, names))
