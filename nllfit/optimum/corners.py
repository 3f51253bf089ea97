"""Corners of a function, such as those of an L1 penalty, at which a coordinate is 0 and has no slope."""

from collections.abc import Callable

import numpy as np

from nllfit.optimum.curvature import newton_step, principal_axes

__all__ = ["corners", "lowest_at_corners"]

_ASIDE = 1e-9  # how far from 0 the slopes are measured: the smooth part of a function has the same slope there
_LEAST_JUMP = 1e-6  # of the slope
_NEAR = 1e-2  # a coordinate is tried at 0 if it is this close, where the function's second derivative is 1
_STEPS = 20
_GAIN = 1e-10  # the search ends if a step gains less, relative to the value


def corners(gradient: Callable[[np.ndarray], np.ndarray], w: np.ndarray) -> np.ndarray:
    """Which coordinates of a point are 0 with a corner there, `[p]`: a function rises on both sides of 0.

    The slope jumps from below 0 to above 0. The jump of a smooth function shrinks with the distance from 0.

    Args:
      gradient: of the function at a point `[p]`.
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
    """The lowest point at a corner near a point, or None.

    The coordinates at a corner are held at 0, and Newton's method goes on in the others.

    Args:
      value_and_gradient: of the function at a point `[p]`.
      curvature: the Hessian at a point `[p]` times directions `[p, m]`.
      w: the point, `[p]`.

    Returns:
      The lowest point `[p]`, which of its coordinates are at a corner, `[p]`, its value, and what another step would
      gain.
    """

    def gradient(point):
        return value_and_gradient(point)[1]

    hessian = curvature(w, np.eye(len(w)))
    near = np.abs(w) * np.sqrt(np.abs(np.diag(hessian))) < _NEAR
    held = corners(gradient, np.where(near, 0.0, w))
    w = np.where(held, 0.0, w)
    for _ in range(_STEPS if held.any() else 0):
        value, slopes = value_and_gradient(w)
        inner = curvature(w, np.eye(len(w))[:, ~held])[~held]
        if not (np.isfinite(value) and np.isfinite(inner).all()):
            return None
        axes, curved = principal_axes(inner)
        step, gain = newton_step(axes, curved, -slopes[~held])
        if gain <= _GAIN * (1 + abs(value)):
            is_lowest = (curved > 0).all() and corners(gradient, w)[held].all()
            return (w, held, value, float(gain)) if is_lowest else None
        w = w.copy()
        w[~held] += step
    return None
