"""Checks of the outcomes that a user gives: numbers, or intervals if the numbers are censored."""

from typing import Any

import numpy as np
from sklearn.utils import check_array

from nllfit.families import interval_censored, right_censored
from nllfit.families.masked_and_sparse_arrays import refuse_dates, refuse_misread
from nllfit.tabular.column_encoding import with_nan

__all__ = ["censored_pairs", "checked_outcomes"]


def checked_outcomes(estimator: Any, y: Any, may_be_infinite: bool = False) -> np.ndarray:
    """Returns the outcomes `[n]` or `[n, k]` as floats. Raises a `ValueError` if they are not finite numbers.

    With `may_be_infinite`, infinite numbers and NaN raise no error.
    """
    if y is None:
        raise ValueError(f"This {type(estimator).__name__} requires y to be passed, but the target y is None.")
    refuse_misread("`y`", y)
    refuse_dates("`y`", y)
    y = with_nan(y)
    try:
        return check_array(y, ensure_2d=False, dtype=np.float64, input_name="y", ensure_all_finite=not may_be_infinite)
    except TypeError:
        raise ValueError(
            "`y` is not an array of numbers: give one number, or one row of numbers, for each row of `X`."
        ) from None
    except ValueError as error:
        if "could not convert string" in str(error):
            raise ValueError(
                f"`y` holds text ({error}): give numbers, or fit a `DistributionClassifier` to labels."
            ) from None
        if "contains" not in str(error):
            raise
        row = np.argmax(~np.isfinite(np.asarray(y, np.float64)).reshape(len(y), -1).all(axis=1))
        raise ValueError(f"{str(error).partition('.')[0]}, first at row {row}: leave such rows out.") from None


def censored_pairs(y: Any, observed: Any = None) -> np.ndarray:
    """Returns censored outcomes as pairs `[n, 2]`. `y` are pairs, or numbers `[n]` if `observed` is given.

    Raises:
      ValueError: if `y` or `observed` is invalid, or if a row has several outcomes.
    """
    values = np.asarray(y, np.float64)
    if observed is None:
        if values.ndim != 2 or values.shape[1] != 2:
            raise ValueError(
                f"`y` has shape {values.shape}, but `distribution` is `Censored`: give pairs `[n, 2]`, such as "
                f"`nllfit.interval_censored(lower, upper)`, or another distribution and `observed`."
            )
        return interval_censored(*values.T)
    if values.ndim > 1 and values.shape[1] > 1:
        raise ValueError(f"`observed` is for one outcome a row, but `y` has {values.shape[1]} columns.")
    return right_censored(values.ravel(), observed)
