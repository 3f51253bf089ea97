"""Converts the user's `y` and `weights` to float64 arrays, and checks a sample against a family."""

import inspect
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from nllfit.families.arguments import as_array
from nllfit.families.censored import Censored
from nllfit.families.family_base import ParametricFamily
from nllfit.families.masked_and_sparse_arrays import refuse_misread
from nllfit.families.scipy_censored_data import is_censored_data

__all__ = ["as_sample", "check_censored", "check_sample", "check_whole", "counted"]

_SMALLEST = 1e-300  # numbers below this may be subnormal, and their inverses may overflow


def as_sample(
    y: ArrayLike, weights: ArrayLike | None = None, takes_infinity: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the sample `[n, *event]` and its weights `[n]` in float64. Raises a `ValueError` if either is invalid.

    With `takes_infinity`, outcomes may be infinite, because an interval without a bound ends at infinity.
    """
    array = as_array(y)
    if array.dtype.kind not in "biufO":  # NumPy would convert complex numbers, dates and text to floats
        raise ValueError(
            f"`y` is of dtype {array.dtype}, not an array of numbers: give a number or a row for each observation."
        )
    sample = as_array(array, np.float64)
    if sample.ndim == 0 or sample.size == 0:
        raise ValueError(f"`y` has shape {sample.shape}: give at least one observation, `[n, *event]`.")
    finite = np.isfinite(sample)
    is_invalid = np.isnan(sample) if takes_infinity else ~finite
    if np.any(is_invalid):
        if sample.shape[1:] == (2,) and np.all(sample[:, 0] <= sample[:, 1]):
            raise ValueError(
                f"`y` holds {np.sum(is_invalid)} infinite values. If its rows are pairs `[lower, upper]` of censored "
                f'outcomes, give a family that takes them, such as `nllfit.Censored("Weibull")`; else remove them.'
            )
        raise ValueError(
            f"`y` holds {np.sum(is_invalid)} NaN{' or infinite' * (not takes_infinity)} values: remove them."
        )
    largest = np.abs(sample, where=finite, out=np.zeros_like(sample)).max()
    if np.any(sample[finite]) and not _SMALLEST < largest < 1 / _SMALLEST:
        raise ValueError(
            f"`y` has absolute values up to {largest:.1g}, near the limits of float64: give it in another unit."
        )
    refuse_misread("`weights`", weights)
    try:
        counts = np.ones(len(sample)) if weights is None else np.asarray(weights)
        counts = counts.astype(np.float64, casting="unsafe" if counts.dtype.kind == "O" else "same_kind")
    except (TypeError, ValueError):
        raise ValueError("`weights` is not an array of numbers: give one for each observation.") from None
    if counts.shape != (len(sample),):
        raise ValueError(
            f"`weights` has shape {counts.shape}, but `y` has {len(sample)} observations: give one for each."
        )
    if not np.all(np.isfinite(counts)) or np.any(counts < 0):
        raise ValueError("`weights` holds a negative, NaN or infinite weight: give numbers >= 0.")
    if not np.any(counts > 0):
        raise ValueError("`weights` are all zero, so there is no sample: give a positive weight.")
    return sample, counts


def check_censored(distribution: Any, y: Any) -> None:
    """Raises a `ValueError` if `y` is SciPy's `CensoredData` and the family is not a `Censored` one."""
    if not is_censored_data(y) or isinstance(distribution, Censored):
        return
    if isinstance(distribution, str):
        label, wrapped = distribution, f'"{distribution}"'
    elif inspect.isclass(distribution):
        label = wrapped = distribution.__name__
    else:
        label, wrapped = getattr(distribution, "label", repr(distribution)), "family"
    raise ValueError(
        f"`y` is SciPy's `CensoredData`, whose outcomes are intervals, but those of {label} are numbers: wrap the "
        f"family, `nllfit.Censored({wrapped})`."
    )


def check_sample(family: ParametricFamily, y: np.ndarray) -> None:
    """Raises a `ValueError` if `y` `[n, *event]` has no estimate in the family, or if class labels are invalid."""
    if y.size < family.params_size:
        raise ValueError(
            f"`y` has {y.size} numbers, fewer than the {family.params_size} parameters of {family.name}: give more "
            f"observations, or hold a parameter at a value."
        )
    if family.takes_infinity and np.all(y == y[0]) and not len(family.exact_outcomes(y)):
        raise ValueError(
            f"`y` has the same interval in all rows, so the likelihood of {family.name} has no single maximum: it "
            f"is 1 for every distribution that lies within {y[0]}. Give several intervals, or exact outcomes."
        )
    y = family.representatives(y)
    constant = np.all(y == y[0], axis=0)
    if np.any(constant) and family.params_size > y[0].size and not family.is_discrete:
        raise ValueError(
            f"`y` has all values equal{'' if y.ndim == 1 else ' in a column'}, so the likelihood of {family.name} "
            f"has no bound as its density concentrates there: hold a parameter at a value, or check the sample."
        )
    if family.search.free_covariance and np.linalg.matrix_rank((y - y.mean(0)) / y.std(0)) < y.shape[-1]:
        raise ValueError(
            f"The columns of `y`, {y.shape}, are dependent, so the likelihood of {family.name} has no bound as its "
            f"covariance becomes singular: give more observations, or leave out a column."
        )
    if family.num_classes is not None:  # without this check, TensorFlow would print invalid labels to the log
        wrong = y[(y < 0) | (y >= family.num_classes)]
        if wrong.size:
            raise ValueError(
                f"`y` holds {wrong[0]}, which {family.name} cannot have: its {family.num_classes} classes are labelled "
                f"0 to {family.num_classes - 1}. Remove it, or give another `num_classes`."
            )


def check_whole(family: ParametricFamily, y: np.ndarray, dtype: tf.DType) -> None:
    """Raises a `ValueError` if `y` contains a number that a cast to the integers of `dtype` would change."""
    wide = y[(y < dtype.min) | (y > dtype.max)]
    if wide.size:
        raise ValueError(
            f"`y` holds {wide[0]:.17g}, but the outcomes of {family.name} are {dtype.name} numbers, up to {dtype.max}: "
            f"remove it, or choose a family of real numbers."
        )
    fractions = y[y != np.round(y)]
    if fractions.size:
        raise ValueError(
            f"`y` holds {fractions[0]}, which {family.name} cannot have: its outcomes are whole numbers. Remove it, or "
            f"choose a family whose support contains it."
        )


def counted(y: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the distinct outcomes, and the total weight of each."""
    values, indices = np.unique(y, axis=0, return_inverse=True)
    return values, np.bincount(indices.reshape(-1), weights)
