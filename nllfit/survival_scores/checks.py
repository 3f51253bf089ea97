"""Checks of times, events and predictions, and their conversion to arrays."""

from typing import Any

import numpy as np

from nllfit.families.arguments import is_missing
from nllfit.families.masked_and_sparse_arrays import refuse_dates, refuse_misread

__all__ = ["as_floats", "as_times", "check_probabilities", "check_shape", "checked"]

_ROUNDING = 1e-6  # the largest rounding error of a probability that was computed in float32


def checked(time: Any, event: Any, **others: Any) -> Any:
    """Returns the arguments as arrays `[n]`. `event` becomes booleans, and the others become floats.

    Raises:
      ValueError: if an array is invalid, or the arrays differ in length.
    """
    refuse_misread("`event`", event)
    time, event = _floats("time", time), np.asarray(event)
    if time.ndim != 1 or not len(time):
        raise ValueError(f"`time` has shape {time.shape}: give at least one number, one for each row.")
    if not np.isfinite(time).all():
        row = np.flatnonzero(~np.isfinite(time))[0]
        raise ValueError(f"`time` is {time[row]} in row {row}: give finite numbers.")
    check_shape("event", event, time.shape)
    missing = is_missing(event)
    unknown = missing if missing.any() else ~np.isin(event, (0, 1))
    if unknown.any():
        raise ValueError(f"`event` holds {event[unknown].tolist()[0]!r}: give 1 for an event and 0 for a censored row.")
    return time, event.astype(bool), *(as_floats(name, values, time.shape) for name, values in others.items())


def as_floats(name: str, values: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Returns an argument as an array of floats. Raises a `ValueError` if its shape is wrong or a number is NaN."""
    values = _floats(name, values)
    check_shape(name, values, shape)
    if np.isnan(values).any():
        raise ValueError(f"`{name}` is NaN in row {np.argwhere(np.isnan(values))[0][0]}: give numbers.")
    return values


def _floats(name, values):
    refuse_misread(f"`{name}`", values)
    refuse_dates(f"`{name}`", values)
    try:
        return np.asarray(values, float)
    except (TypeError, ValueError) as error:  # text or pandas's NA
        raise ValueError(f"`{name}` has values that are not numbers ({error}): give numbers.") from None


def as_times(times: Any) -> np.ndarray:
    """Returns the times as an array of floats, `[k]`. Raises a `ValueError` if a time is not finite."""
    times = np.atleast_1d(_floats("times", times))
    if times.ndim != 1 or not np.isfinite(times).all():
        raise ValueError(f"`times` has shape {times.shape}: give a list of finite times.")
    return times


def check_probabilities(name: str, values: np.ndarray) -> None:
    """Raises a `ValueError` if a number is not a probability."""
    bad = values[~((values >= -_ROUNDING) & (values <= 1 + _ROUNDING))]
    if len(bad):
        raise ValueError(f"`{name}` has {bad[0]:g}: give probabilities, which are between 0 and 1.")


def check_shape(name: str, values: np.ndarray, shape: tuple[int, ...]) -> None:
    """Raises a `ValueError` if an array does not have the given shape."""
    if values.shape != shape:
        raise ValueError(f"`{name}` has shape {values.shape}, but {shape} is expected.")
