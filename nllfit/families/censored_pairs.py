"""Makes the pairs `[lower, upper]` of censored outcomes from times and flags, or from the ends of intervals."""

import numpy as np
from numpy.typing import ArrayLike

from nllfit.families.arguments import as_labels, is_missing
from nllfit.families.masked_and_sparse_arrays import refuse_dates, refuse_misread

__all__ = ["interval_censored", "left_censored", "right_censored"]


def right_censored(time: ArrayLike, observed: ArrayLike) -> np.ndarray:
    """Converts times and event indicators to pairs `[lower, upper]` for a `Censored` family.

    Args:
      time: `[n]`, the time of the event, or the time at which observation ended before the event.
      observed: `[n]`, 1 or True if the event was observed, 0 or False if it is only known to come later.

    Returns:
      An array `[n, 2]`: `[time, time]` if the event was observed, else `[time, inf]`.

    Raises:
      ValueError: if the arrays differ in shape, a time is not a number or is NaN, or `observed` contains anything but 0
        and 1.

    Example:
      >>> right_censored([1.0, 2.0], [True, False])
      array([[ 1.,  1.],
             [ 2., inf]])
    """
    times, is_observed = _read("time", time, observed)
    return np.stack([times, np.where(is_observed, times, np.inf)], -1)


def left_censored(value: ArrayLike, observed: ArrayLike) -> np.ndarray:
    """Converts measurements and limits of detection to pairs `[lower, upper]` for a `Censored` family.

    Args:
      value: `[n]`, the measured number, or the limit of detection.
      observed: `[n]`, 1 or True if the number was measured, 0 or False if it is only known not to exceed the limit.

    Returns:
      An array `[n, 2]`: `[value, value]` if the number was measured, else `[-inf, value]`.

    Raises:
      ValueError: for the same reasons as `right_censored`.

    Example:
      >>> left_censored([1.0, 0.5], [True, False])
      array([[ 1. ,  1. ],
             [-inf,  0.5]])
    """
    values, is_observed = _read("value", value, observed)
    return np.stack([np.where(is_observed, values, -np.inf), values], -1)


def interval_censored(lower: ArrayLike, upper: ArrayLike) -> np.ndarray:
    """Converts the ends of intervals to pairs `[lower, upper]` for a `Censored` family.

    Two equal ends mean that the number is known exactly.

    Args:
      lower, upper: `[n]`, or `[n, k]` for outcomes with `k` elements; ends may be infinite.

    Returns:
      An array `[n, 2]`, or `[n, k, 2]`.

    Raises:
      ValueError: if the arrays differ in shape, an end is not a number or is NaN, or a lower end exceeds its upper end.

    Example:
      >>> interval_censored([0.1, 0.5], [0.2, np.inf])
      array([[0.1, 0.2],
             [0.5, inf]])
    """
    repair = "give inf or -inf for an open end."
    low, high = _numbers("lower", lower, repair), _numbers("upper", upper, repair)
    if low.shape != high.shape:
        raise ValueError(f"`lower` has shape {low.shape}, but `upper` {high.shape}: give both ends of each outcome.")
    if np.any(low > high):
        row = int(np.argwhere(low > high)[0][0])
        raise ValueError(
            f"`lower` is above `upper` at row {row} ({low[row]} and {high[row]}): give the lower end first."
        )
    return np.stack([low, high], -1)


def _read(name, values, observed):
    numbers, flag = _numbers(name, values, "drop the row, or fill it in."), as_labels("observed", observed)
    # NumPy does not compare an array of texts with a number. A comparison with pandas's NA has no truth value, so
    # missing values become -1, which is refused below.
    flag = np.where(is_missing(flag), -1, flag.astype(object))
    if numbers.shape != flag.shape:
        raise ValueError(
            f"`observed` has shape {flag.shape}, but the numbers have shape {numbers.shape}: give one flag for each."
        )
    if not np.all((flag == 0) | (flag == 1)):
        raise ValueError("`observed` holds values other than 0 and 1: give 1 if it was observed, and 0 if it was not.")
    return numbers, flag.astype(bool)


def _numbers(name, values, repair):
    refuse_misread(f"`{name}`", values)
    refuse_dates(f"`{name}`", values)
    array = np.asarray(values)
    try:
        if array.dtype.kind in "cSU":  # NumPy would drop imaginary parts, and convert texts
            raise TypeError
        values = array.astype(np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"`{name}` is not an array of numbers: give one for each observation.") from None
    if np.any(np.isnan(values)):
        raise ValueError(f"`{name}` is NaN at row {np.argwhere(np.isnan(values))[0][0]}: {repair}")
    return values
