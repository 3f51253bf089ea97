"""Refuses arrays that NumPy or TensorFlow would misread: masked, sparse and ragged ones, dates and durations."""

import datetime
from typing import Any

import numpy as np
import tensorflow as tf

from nllfit.adapters.tensorflow import untouched
from nllfit.families.scipy_censored_data import is_censored_data

__all__ = ["holds_dates", "refuse_dates", "refuse_misread", "refuse_shapeless"]


def holds_dates(values: Any) -> bool:
    """Whether any value is a date, a time of day or a duration, of Python, NumPy or pandas."""
    kind = getattr(getattr(values, "dtype", None), "kind", "O")  # "M" also for pandas's dates with a time zone
    try:
        objects: Any = np.ravel(np.asarray(values, object)) if kind == "O" else []
    except ValueError:  # arrays of different shapes, which another check refuses
        return False
    dates = datetime.date | datetime.time | datetime.timedelta | np.datetime64 | np.timedelta64
    return kind in "mM" or any(isinstance(value, dates) for value in objects)


def refuse_dates(label: str, values: Any) -> None:
    """Raises a `ValueError` for dates and durations. NumPy would convert some of them to numbers of nanoseconds."""
    if holds_dates(values):
        raise ValueError(f"{label} holds dates or durations: give numbers, such as the number of days.")


def refuse_misread(label: str, values: Any) -> None:
    """Raises a `ValueError` for data that NumPy and TensorFlow would misread.

    NumPy and TensorFlow would use the values under a mask, and would treat a sparse matrix as a single object. SciPy's
    `CensoredData` sorts outcomes by kind of censoring, so the outcomes no longer match the rows of other arrays.
    """
    problem = ""
    if is_censored_data(values):
        problem = (
            "is SciPy's `CensoredData`, which does not keep the order of outcomes, so they would be compared with "
            "other rows: give pairs `[n, 2]`, made by `nllfit.right_censored(time, observed)` or "
            "`nllfit.interval_censored(lower, upper)`"
        )
    elif hasattr(values, "toarray"):
        problem = f"is a sparse {type(values).__name__}: give an array, as its `.toarray()` makes it"
    elif isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        problem = f"has {np.ma.count_masked(values)} masked values: leave their rows out, here and in the other arrays"
    if problem:
        raise untouched(ValueError(f"{label} {problem}."))


def refuse_shapeless(label: str, kind: type) -> None:
    """Raises a `ValueError` if `kind` is a class of ragged or sparse tensors."""
    if issubclass(kind, (tf.RaggedTensor, tf.SparseTensor)):
        dense = "its `.to_tensor()`" if issubclass(kind, tf.RaggedTensor) else "`tf.sparse.to_dense`"
        raise ValueError(
            f"{label} holds a {kind.__name__}, which has no fixed shape: convert it to a tensor by {dense}."
        )
