"""The curvature of a function: its principal axes, Newton's step, and checks of a maximum.

`maximum_likelihood` climbs a log-likelihood, `fit_lbfgs` the negative of a loss. The *information* of such a function
is minus its Hessian, positive definite at a maximum. All computations are in NumPy and float64, and functions are plain
callables.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

__all__ = [
    "FLAT",
    "LEAST_DROP",
    "Axes",
    "axes_of",
    "backtrack",
    "drops_around",
    "newton_step",
    "principal_axes",
    "rises_along",
]

FLAT = 1e-13  # a smaller curvature, of an information scaled to a unit diagonal, counts as zero
LEAST_DROP = 1e-4  # nats by which a log-likelihood must fall one standard error from a maximum; about 1/2 is usual

_SUFFICIENT = 1e-4  # the least rise of an accepted step, as a share of the rise that the slope promises
_HALVINGS = 34  # after that many, a step is a rounding error of the point


def principal_axes(information: np.ndarray, rank: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Axes `[..., p, rank]` and curvatures `[..., rank]` of an information scaled to a unit diagonal.

    `inv(information) = axes @ diag(1 / curvature) @ axes.T`, so that a step along an axis, divided by the root of its
    curvature, is one standard error. Axes are in descending order of curvature. Because of the scaling, the units of
    the coordinates do not matter.

    Args:
      information: symmetric matrices `[..., p, p]`, whose lower triangles are read.
      rank: the number of axes to return; by default all.
    """
    diagonal = np.abs(np.diagonal(information, axis1=-2, axis2=-1))
    scales = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    curvature, axes = np.linalg.eigh(information / (scales[..., :, None] * scales[..., None, :]))
    kept = np.argsort(-np.abs(curvature), axis=-1)[..., :rank]
    axes = np.take_along_axis(axes, kept[..., None, :], -1) / scales[..., None]
    return axes, np.take_along_axis(curvature, kept, -1)


def newton_step(
    axes: np.ndarray, curvature: np.ndarray, gradient: np.ndarray, flat: float = FLAT
) -> tuple[np.ndarray, np.ndarray]:
    """The step `axes |curvature|^-1 axes' gradient` `[..., p]`, and its rise `[...]` if the function is quadratic.

    It goes uphill even where the function is not concave.

    Args:
      axes, curvature: as returned by `principal_axes`.
      gradient: of the function, `[..., p]`.
      flat: the least curvature that a step divides by.
    """
    slopes, bent = np.einsum("...pr,...p->...r", axes, gradient), np.maximum(np.abs(curvature), flat)
    return np.einsum("...pr,...r->...p", axes, slopes / bent), np.sum(slopes**2 / bent, -1) / 2


def backtrack(
    function: Callable[[np.ndarray], Any],
    w: np.ndarray,
    step: np.ndarray,
    value: Any,
    slope: Any,
    slack: Any = 0.0,
    halvings: int = _HALVINGS,
) -> tuple[Any, Any]:
    """Backtracking: the largest scale among 1, 1/2, 1/4, ... at which a step raises a function, and the value there.

    The rise must be at least a ten-thousandth of the rise that the slope predicts. If no scale suffices, the scale is 0
    and the value is that at `w`.

    Args:
      function: maps points `[..., p]` to numbers `[...]`; NaN is never a rise.
      w, step: `[..., p]`.
      value: the value of the function at `w`, `[...]`.
      slope: the derivative along `step` at `w`, `[...]`.
      slack: how far the rise may fall short, because of rounding errors; a negative slack requires a larger rise.
      halvings: the maximum number of halvings.
    """
    scale = np.ones(np.shape(value))
    reached, low = value, np.ones(np.shape(value), bool)
    for _ in range(halvings):
        reached = function(w + scale[..., None] * step)
        low = ~(reached >= value + _SUFFICIENT * scale * slope - slack)
        if not np.any(low):
            break
        scale = np.where(low, scale / 2, scale)
    return np.where(low, 0.0, scale)[()], np.where(low, value, reached)[()]


def drops_around(
    functions: Callable[[np.ndarray], np.ndarray], w: np.ndarray, value: float, axes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How far a function falls one standard error from a maximum, `[2 (r + p)]`, and the moves, `[2 (r + p), p]`.

    Each fall is about 1/2 if the function is a log-likelihood. The moves go to either side along each axis, and by one
    standard error of each coordinate, with the other coordinates at their most likely values given that move. Moves
    along axes are not sufficient: equally curved axes are arbitrary in their plane, so an axis may mix a coordinate
    along which the function rises without end with one along which it falls.

    Args:
      functions: from points `[m, p]` to the function there, `[m]`.
      w: `[p]`.
      value: the value of the function at `w`.
      axes: the axes, each one standard error long, `[p, r]`.
    """
    covariance = axes @ axes.T
    errors = np.sqrt(np.diag(covariance))
    moves = np.concatenate([axes.T, covariance[errors > 0] / errors[errors > 0, None]])
    moves = np.concatenate([moves, -moves])
    return value - functions(w + moves), moves


def rises_along(
    functions: Callable[[np.ndarray], np.ndarray],
    w: np.ndarray,
    direction: np.ndarray,
    noise: float,
    distances: Sequence[float] = (0.0, 1.0, 4.0, 16.0),
) -> bool:
    """Whether a function rises along a direction, from each distance to the next by more than its rounding error.

    Args:
      functions: maps points `[m, p]` to the values of the function, `[m]`.
      noise: the rounding error, relative to `1 + |value|`.
      distances: the distances at which the function is evaluated, in lengths of `direction`.
    """
    values = functions(w + np.asarray(distances)[:, None] * direction)
    return bool(np.all(np.isfinite(values)) and np.all(np.diff(values) > noise * (1 + np.abs(values[1:]))))


@dataclasses.dataclass(frozen=True)
class Axes:
    """Axes along which the second derivative of a function is 1 or -1, so that steps along them are comparable.

    Attributes:
      directions: the axes as columns, `[p, p]`.
      bends: the second derivative along each axis, `[p]`: 1 or -1, or about 0 for a flat axis.
      scales: `[p]`, the factors of the coordinates that give the Hessian a unit diagonal.
      condition: the condition number of the design, the square root of that of the Hessian scaled to a unit diagonal;
        infinite if an axis is flat.
    """

    directions: np.ndarray
    bends: np.ndarray
    scales: np.ndarray
    condition: float

    @property
    def flat(self) -> np.ndarray:
        """Which axes are flat, `[p]`: Newton's step along them would be infinite."""
        return np.abs(self.bends) < 0.5


def axes_of(
    curvature: Callable[[np.ndarray, np.ndarray], np.ndarray], w: np.ndarray, away: np.ndarray, eps: float
) -> Axes:
    """The axes of a Hessian, with flat directions resolved as far as rounding errors allow.

    The eigenvalues of a matrix have an error of `eps` times the largest. A Hessian is the square of a design, so only
    half of the digits of its condition number are known. Therefore the curvature is computed again within the span of
    the flattest axes. A direction is flat if its curvature is different at a point one rounding error away.

    Args:
      curvature: the Hessian at a point `[p]` times directions `[p, m]`.
      w: the point.
      away: a point one rounding error from `w`.
      eps: the relative rounding error of the Hessian.
    """
    size = len(w)
    hessian = curvature(w, np.eye(size))
    diagonal = np.abs(np.diag(hessian))
    scales = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    bends, directions = np.linalg.eigh((hessian + hessian.T) / 2 / np.outer(scales, scales))
    largest, least = np.abs(bends).max(), size * eps * max(np.abs(bends).max(), eps)
    lengths = 1 / np.sqrt(np.maximum(np.abs(bends), least))
    directions = directions / scales[:, None] * lengths
    weak, bends = np.abs(bends) < np.sqrt(eps) * largest, np.sign(bends)
    if weak.any():
        inner, other = (directions[:, weak].T @ curvature(point, directions[:, weak]) for point in (w, away))
        bent, turned = np.linalg.eigh((inner + inner.T) / 2)
        seen = np.abs(bent) > 10 * max(np.sqrt(eps), np.abs(inner - other).max())
        factors = 1 / np.sqrt(np.where(seen, np.abs(bent), 1.0))
        directions[:, weak] = directions[:, weak] @ turned * factors
        lengths[weak] = np.where(seen, lengths[weak].max() * factors, np.inf)
        bends[weak] = np.where(seen, np.sign(bent), 0.0)
    return Axes(directions, bends, scales, float(lengths.max() / lengths.min()))
