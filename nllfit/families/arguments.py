"""Checks the arguments of families, heads and likelihoods. The error messages show the argument that was given."""

import copy
import math
import numbers
import sys
from collections.abc import Mapping
from typing import Any, overload

import numpy as np
import tensorflow as tf

from nllfit.adapters.tensorflow import untouched
from nllfit.families.masked_and_sparse_arrays import refuse_misread
from nllfit.families.scipy_censored_data import is_censored_data, pairs_of

__all__ = [
    "array_of_frame",
    "as_array",
    "as_count",
    "as_labels",
    "as_names",
    "as_numbers",
    "as_shape",
    "as_size",
    "as_text",
    "check_size",
    "is_missing",
    "label_indices",
    "own_copy",
    "refuse_with_family",
]

MOST_NUMBERS = 2**23  # the maximum size of one outcome or one vector of parameters; in float64 it takes 64 MiB
_NON_REAL_KINDS = "cmMOSU"  # NumPy's dtype kinds of complex numbers, durations, dates, objects, bytes and text


def as_array(y: Any, dtype: Any = None, name: str = "y") -> np.ndarray:
    """Converts a sample to an array. Raises a `ValueError` if the conversion fails.

    SciPy's `CensoredData` is converted to pairs `[lower, upper]`.
    """
    y = pairs_of(y) if is_censored_data(y) else y
    refuse_misread(f"`{name}`", y)
    try:
        return np.asarray(y, dtype)
    except (TypeError, ValueError):
        problem = "is not an array of numbers: give one row of numbers for each observation"
        raise ValueError(f"`{name}` {problem}.") from None


@overload
def as_count(name: str, value: Any, lowest: int, *, highest: int | None = None) -> int: ...
@overload
def as_count(name: str, value: Any, lowest: int, optional: bool, *, highest: int | None = None) -> int | None: ...
def as_count(name: str, value: Any, lowest: int, optional: bool = False, *, highest: int | None = None) -> int | None:
    """Returns `value` as an int. Raises a `ValueError` if it is not an integer from `lowest` to `highest`.

    If `optional` is True, None is also allowed.
    """
    if optional and value is None:
        return None
    is_int = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not is_int or value < lowest or (highest is not None and value > highest):
        most = "" if highest is None else f" and <= {highest}"
        raise ValueError(f"`{name}` is {value!r}: give an int >= {lowest}{most}{', or None' * optional}.")
    return int(value)


def as_names(argument: str, names: Any) -> tuple[str, ...]:
    """Converts one name or a sequence of names to a tuple without duplicates.

    Raises a `ValueError` for other values.
    """
    given = (names,) if isinstance(names, str) or not np.iterable(names) else tuple(names)
    if not all(isinstance(name, str) for name in given):
        raise ValueError(f"`{argument}` is {names!r}: give names of parameters, such as ('scale',).")
    return tuple(dict.fromkeys(given))


def as_numbers(name: str, values: Any, dtype_hint: tf.DType | None = None) -> tf.Tensor:
    """Converts values to a tensor. Raises a `ValueError` if they are not real numbers, or rows differ in length."""
    refuse_misread(f"`{name}`", values)
    try:  # checks the dtype first: with a dtype hint, TensorFlow would convert text and drop imaginary parts
        kind = "f" if any(map(tf.is_tensor, tf.nest.flatten(values))) else np.asarray(values).dtype.kind
        tensor = None if kind in _NON_REAL_KINDS else tf.convert_to_tensor(values, dtype_hint=dtype_hint)
    except (TypeError, ValueError):
        tensor = None
    if tensor is not None and (tensor.dtype.is_floating or tensor.dtype.is_integer or tensor.dtype.is_bool):
        return tensor
    dtype = getattr(values, "dtype", None)
    given = f"a {type(values).__name__}" if dtype is None else f"of dtype {getattr(dtype, 'name', dtype)}"
    raise untouched(ValueError(f"`{name}` is {given}, not an array of numbers: give numbers, in rows of equal length."))


def as_shape(event_shape: Any) -> tuple[int, ...]:
    """Converts `event_shape`, an integer or a sequence of integers, to a tuple."""
    is_sequence = isinstance(event_shape, (list, tuple, np.ndarray, tf.TensorShape)) and np.iterable(event_shape)
    sizes = tuple(event_shape) if is_sequence else (event_shape,)
    shape = tuple(as_size("event_shape", size, 1) for size in sizes)
    check_size(f"`event_shape` is {event_shape!r}, of which one outcome", math.prod(shape))
    return shape


def as_size(name: str, value: Any, lowest: int) -> int:
    """Returns `value`, a number of classes, components or elements, as an int.

    Raises a `ValueError` if it is not an integer from `lowest` to `MOST_NUMBERS`.
    """
    return as_count(name, value, lowest, highest=MOST_NUMBERS)


def as_text(value: Any) -> str:
    """Returns the `repr` of a value. Arrays and tensors are shown as lists."""
    return repr(np.asarray(value).tolist() if hasattr(value, "__array__") else value)


def check_size(subject: str, size: int) -> None:
    """Raises a `ValueError` if `size` exceeds `MOST_NUMBERS`.

    `subject` names the outcome or the vector of parameters that has `size` elements. The check runs before a tensor of
    this size is created. Without the check, a model file of one kilobyte could request all memory.
    """
    if size > MOST_NUMBERS:
        raise ValueError(
            f"{subject} has {size} numbers, but at most {MOST_NUMBERS} are allowed: give a smaller `event_shape`, "
            f"fewer classes or components, or hold parameters at a value."
        )


def own_copy(value: Any) -> Any:
    """Copies a list, dict or array: changes of the original do not affect the copy. Returns other values unchanged."""
    return copy.deepcopy(value) if isinstance(value, list | dict | np.ndarray) else value


def refuse_with_family(options: Mapping[str, Any]) -> None:
    """Raises a `ValueError` if arguments are given together with a family object. None means not given."""
    for name, value in options.items():
        if value is not None:
            raise ValueError(f"`{name}` is given together with a family object: give it to the family itself.")


def as_labels(name: str, values: Any) -> np.ndarray:
    """Converts labels of any type to an array.

    If a list contains both numbers and texts, NumPy converts the numbers to texts. To keep the numbers, the result of a
    list that contains a text has dtype object.
    """
    refuse_misread(f"`{name}`", values)
    array = np.asarray(values)
    return np.asarray(values, object) if array.dtype.kind in "US" and not hasattr(values, "dtype") else array


def is_missing(labels: np.ndarray) -> np.ndarray:
    """Whether each label is None, NaN, NaT or pandas's NA."""
    if labels.dtype != object:
        return labels != labels
    # A comparison with pandas's NA has no truth value, so NA is found by identity. A NaN differs from itself. Texts and
    # arrays are not missing. They are not compared, because the comparison of an array has no truth value.
    pandas_na = getattr(sys.modules.get("pandas"), "NA", None)
    flags = [
        label is None or label is pandas_na or (not hasattr(label, "__len__") and bool(label != label))
        for label in labels.flat
    ]
    return np.reshape(np.array(flags, bool), labels.shape)


def label_indices(labels: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Returns an index `[n]` for each label. Equal labels have the same index. Labels need not be sortable.

    Rows for which the mask `counted` `[n]` is False get the index 0, whatever their labels.
    """
    index_of_label: dict[Any, int] = {}
    indices = np.zeros(len(labels), int)
    indices[counted] = [index_of_label.setdefault(label, len(index_of_label)) for label in labels[counted].tolist()]
    return indices


def array_of_frame(values: Any) -> np.ndarray:
    """Converts values, such as a pandas frame, to an array.

    For a frame with columns of numbers and columns of booleans, NumPy returns an array of dtype object. This function
    returns an array of numbers.
    """
    array = np.asarray(values)
    column_names = list(getattr(values, "columns", []))
    if array.dtype == object and column_names and len(set(column_names)) == len(column_names):
        columns = [np.asarray(values[name]) for name in column_names]
        if all(column.dtype.kind in "biuf" for column in columns):
            return np.stack(columns, axis=1)
    return array
