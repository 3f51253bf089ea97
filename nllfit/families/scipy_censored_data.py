"""Converts SciPy's `CensoredData` to pairs `[lower, upper]`, the form of censored outcomes in this package."""

from typing import Any

import numpy as np

__all__ = ["is_censored_data", "pairs_of"]


def is_censored_data(y: Any) -> bool:
    """Whether `y` is SciPy's `CensoredData`. The function does not import SciPy."""
    return type(y).__name__ == "CensoredData" and type(y).__module__.startswith("scipy.")


def pairs_of(data: Any) -> np.ndarray:
    """Returns the pairs `[n, 2]`, sorted by the kind of censoring, as in SciPy."""
    # `CensoredData` has only private attributes.
    ends = [(data._uncensored, data._uncensored), (-np.inf, data._left), (data._right, np.inf)]
    pairs = [np.stack(np.broadcast_arrays(*lower_and_upper), -1).reshape(-1, 2) for lower_and_upper in ends]
    return np.concatenate([*pairs, np.reshape(data._interval, [-1, 2])])
