"""Backtracking: a step is halved until the value of a function increases enough."""

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["backtrack"]

_SUFFICIENT = 1e-4  # the minimum increase by an accepted step, relative to the increase that the slope predicts
_HALVINGS = 34  # the number of scales to try; the smallest is 2^-33, at which a step hardly moves the point


def backtrack(
    function: Callable[[np.ndarray], Any],
    w: np.ndarray,
    step: np.ndarray,
    value: Any,
    slope: Any,
    slack: Any = 0.0,
    halvings: int = _HALVINGS,
) -> tuple[Any, Any]:
    """Halves a step until it increases the value of a function.

    Returns the scale 1, 1/2, 1/4, ... of the step, and the value after the scaled step. The increase must be at least a
    ten-thousandth of the increase that the slope predicts. If no scale reaches this increase, the scale 0 and the
    value at `w` are returned.

    Args:
      function: maps points `[..., p]` to numbers `[...]`. A change to NaN does not count as an increase.
      w, step: `[..., p]`.
      value: the value of the function at `w`, `[...]`.
      slope: the derivative along `step` at `w`, `[...]`.
      slack: a number that is subtracted from the required increase, to allow for the rounding error of a value. A step
        may then decrease the value by up to `slack`.
      halvings: the number of scales 1, 1/2, 1/4, ... to try.
    """
    scale = np.ones(np.shape(value))
    reached, is_too_low = value, np.ones(np.shape(value), bool)
    for _ in range(halvings):
        reached = function(w + scale[..., None] * step)
        is_too_low = ~(reached >= value + _SUFFICIENT * scale * slope - slack)
        if not np.any(is_too_low):
            break
        scale = np.where(is_too_low, scale / 2, scale)
    return np.where(is_too_low, 0.0, scale)[()], np.where(is_too_low, value, reached)[()]
