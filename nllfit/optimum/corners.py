"""Finds corners of a function. At a corner, a coordinate is 0, and the slope along this coordinate jumps.

For example, a loss with an L1 penalty has corners.
"""

from collections.abc import Callable

import numpy as np

from nllfit.optimum.curvature import newton_step, principal_axes

__all__ = ["corners", "lowest_at_corners"]

_ASIDE = 1e-9  # slopes are computed at this distance from 0, over which the slope of a smooth function hardly changes
_LEAST_JUMP = 1e-6  # a smaller jump of the slope does not count as a corner
# A coordinate is tested for a corner if its distance from 0, times the square root of the second derivative along the
# coordinate, is less than this.
_NEAR = 1e-2
_STEPS = 20
_GAIN = 1e-10  # the search ends if the next step would lower the function by less than this share of `1 + |value|`


def corners(gradient: Callable[[np.ndarray], np.ndarray], w: np.ndarray) -> np.ndarray:
    """Returns which coordinates of a point are 0 and have a corner there, `[p]`.

    At a corner, the function rises on both sides of 0: the slope is negative on the left of 0, and positive on the
    right. The change of the slope from left to right is computed twice, at the distance `_ASIDE` from 0 and at a tenth
    of this distance. For a corner, both changes are about equal. For a smooth function, the second change is about a
    tenth of the first.

    Args:
      gradient: maps a point `[p]` to the gradient of the function, `[p]`.
      w: the point, `[p]`.
    """
    zero = w == 0
    if not zero.any():
        return zero
    below, above, *nearer = (gradient(w + distance * zero) for distance in _ASIDE * np.array([-1, 1, -0.1, 0.1]))
    jump = above - below
    return zero & (below < 0) & (above > 0) & (jump > _LEAST_JUMP) & (nearer[1] - nearer[0] > jump / 2)


def lowest_at_corners(
    value_and_gradient: Callable[[np.ndarray], tuple[float, np.ndarray]],
    curvature: Callable[[np.ndarray, np.ndarray], np.ndarray],
    w: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, float, float] | None:
    """Finds the minimum of a function at a corner near the point `w`. Returns None if it finds no such minimum.

    Each coordinate near 0 is tested for a corner at 0 (see `corners`). The coordinates with a corner are held at 0.
    Newton's method searches in the other coordinates.

    Args:
      value_and_gradient: maps a point `[p]` to the value and the gradient of the function.
      curvature: maps a point `[p]` and directions `[p, m]` to the product of the Hessian and the directions.
      w: the point near which to search, `[p]`.

    Returns:
      A tuple: the minimum `[p]`; a mask `[p]`, True for the coordinates at a corner; the value of the function; and the
      decrease that another step would bring.
    """

    def gradient(point):
        return value_and_gradient(point)[1]

    hessian = curvature(w, np.eye(len(w)))
    near = np.abs(w) * np.sqrt(np.abs(np.diag(hessian))) < _NEAR
    held = corners(gradient, np.where(near, 0.0, w))
    w = np.where(held, 0.0, w)
    for _ in range(_STEPS if held.any() else 0):
        value, slopes = value_and_gradient(w)
        free_hessian = curvature(w, np.eye(len(w)))[np.ix_(~held, ~held)]
        if not (np.isfinite(value) and np.isfinite(free_hessian).all()):
            return None
        axes, curvatures = principal_axes(free_hessian)
        step, gain = newton_step(axes, curvatures, -slopes[~held])
        if gain <= _GAIN * (1 + abs(value)):
            is_lowest = (curvatures > 0).all() and corners(gradient, w)[held].all()
            return (w, held, value, float(gain)) if is_lowest else None
        w = w.copy()
        w[~held] += step
    return None
