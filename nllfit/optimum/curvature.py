"""The curvature of a function: its principal axes, Newton's step, and checks of a maximum.

The function is a log-likelihood or the negative of a loss. Its *information* is minus its Hessian. At a maximum, the
information is positive definite. All computations are in NumPy and float64.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

__all__ = [
    "FLAT",
    "LEAST_DROP",
    "Axes",
    "axes_of",
    "drops_around",
    "falls_enough",
    "newton_step",
    "points_nearby",
    "principal_axes",
    "rises_along",
]

FLAT = 1e-13  # smaller curvatures are treated as zero, after the information is scaled to a unit diagonal
# At a distance of one standard error from a maximum, the log-likelihood must be lower by at least this number of nats.
# Usually it is lower by 1/2.
LEAST_DROP = 1e-4
# The mean drop of two opposite moves must be at least this number of nats. Usually it is close to 1/2, because terms of
# odd order cancel. If it is far below 1/2, the curvature in the Hessian is a rounding error.
_LEAST_MEAN_DROP = 0.05

_DISTANCES = np.array([0.0, 1.0, 4.0, 16.0])  # `rises_along` compares the values at these distances from a point


def principal_axes(information: np.ndarray, rank: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Returns the principal axes `[..., p, rank]` of an information and the curvatures `[..., rank]` along them.

    `inv(information) = axes @ diag(1 / curvature) @ axes.T`, so an axis divided by the square root of its curvature is
    one standard error long. Axes are in descending order of absolute curvature. They are computed from the information
    scaled to a unit diagonal, so the units of the coordinates have no influence.

    Args:
      information: symmetric matrices `[..., p, p]`. Only the lower triangles are read.
      rank: the number of axes to return. By default all are returned.
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
    """Returns Newton's step `axes |curvature|^-1 axes' gradient`, `[..., p]`, and the predicted rise, `[...]`.

    Because of the absolute value, the step goes uphill even where the function is not concave. The predicted rise is
    exact for a concave quadratic function.

    Args:
      axes, curvature: as returned by `principal_axes`.
      gradient: the gradient of the function, `[..., p]`.
      flat: absolute curvatures below this number are replaced by it.
    """
    slopes, floored = np.einsum("...pr,...p->...r", axes, gradient), np.maximum(np.abs(curvature), flat)
    return np.einsum("...pr,...r->...p", axes, slopes / floored), np.sum(slopes**2 / floored, -1) / 2


def drops_around(
    function: Callable[[np.ndarray], np.ndarray], w: np.ndarray, value: float, axes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Evaluates a function one standard error from its maximum. Returns the drops `[m]` and the moves `[m, p]`.

    If the function is a log-likelihood, each drop is about 1/2. There are two kinds of moves, each in both directions:

    - a move along each axis;
    - for each coordinate, a move that changes this coordinate by its standard error. It moves the other coordinates to
      the values that then maximise the quadratic approximation. A coordinate whose standard error is 0 has no move.

    Moves along the axes are not enough. If two axes have the same curvature, `eigh` may return any two orthogonal
    directions in their plane. Suppose that two coordinates lie in this plane, and that the function rises without end
    along the first coordinate and falls along the second. Then both axes may be mixtures of the two coordinates, and
    the function may fall along both axes.

    Args:
      function: a function that maps points `[m, p]` to its values `[m]`.
      w: the maximum, `[p]`.
      value: the value of the function at `w`.
      axes: the axes, each one standard error long, `[p, r]`.
    """
    covariance = axes @ axes.T
    errors = np.sqrt(np.diag(covariance))
    moves = np.concatenate([axes.T, covariance[errors > 0] / errors[errors > 0, None]])
    moves = np.concatenate([moves, -moves])
    return value - function(w + moves), moves


def falls_enough(drops: np.ndarray, least: float = LEAST_DROP) -> bool:
    """Whether a log-likelihood falls around a point as it does around a maximum. NaN does not count as a fall.

    Args:
      drops: the drops from `drops_around`, in nats, `[m]`. The moves of the second half are opposite to those of the
        first.
      least: the smallest drop that counts as a fall.
    """
    there, back = np.split(drops, 2)
    return bool(drops.min() >= least and (there / 2 + back / 2).min() >= _LEAST_MEAN_DROP)


def rises_along(
    function: Callable[[np.ndarray], np.ndarray], w: np.ndarray, direction: np.ndarray, noise: float
) -> bool:
    """Whether a function rises along a direction from each of `_DISTANCES` to the next, by more than a rounding error.

    Args:
      function: a function that maps points `[m, p]` to its values `[m]`.
      w: the point at distance 0, `[p]`.
      direction: the direction, `[p]`. The unit of the distances is the length of this vector.
      noise: the rounding error of a value, relative to `1 + |value|`.
    """
    values = function(w + _DISTANCES[:, None] * direction)
    return bool(np.all(np.isfinite(values)) and np.all(np.diff(values) > noise * (1 + np.abs(values[1:]))))


@dataclasses.dataclass(frozen=True)
class Axes:
    """Axes scaled so that the second derivative along each is 1 or -1, or 0 if the axis is flat.

    Attributes:
      directions: the axes as columns, `[p, p]`.
      curvatures: the second derivative along each axis, `[p]`. It is 1 or -1, or 0 for a flat axis.
      scales: one scale for each coordinate, `[p]`. The Hessian divided by `outer(scales, scales)` has a unit diagonal.
      condition: the square root of the condition number of this scaled Hessian. It is infinite if an axis is flat. For
        a linear regression, it is the condition number of the design matrix with columns of unit norm.
    """

    directions: np.ndarray
    curvatures: np.ndarray
    scales: np.ndarray
    condition: float

    @property
    def flat(self) -> np.ndarray:
        """Which axes are flat, `[p]`. Newton's step along a flat axis would be infinite."""
        return np.abs(self.curvatures) < 0.5


def points_nearby(w: np.ndarray, eps: float) -> np.ndarray:
    """Returns three points `[3, p]` that differ from `w` `[p]` only in the last digits.

    `eps` is the machine epsilon: the distance from 1 to the next larger float.
    """
    patterns = [1, -1], [-1, -1, 1, 1], [2, -2, -2]
    return w * (1 + 2 * eps * np.array([np.resize(pattern, len(w)) for pattern in patterns]))


def axes_of(
    curvature: Callable[[np.ndarray, np.ndarray], np.ndarray], w: np.ndarray, nearby: np.ndarray, eps: float
) -> Axes:
    """Computes the `Axes` of a Hessian. They are accurate even if some curvatures are much smaller than others.

    The rounding error of each eigenvalue is about `eps` times the largest eigenvalue, so small eigenvalues have few
    correct digits. Therefore the curvature is computed again in the span of the axes with small eigenvalues. Such an
    axis counts as flat if its curvature is not clearly larger than the changes of the curvature from `w` to `nearby`.
    These changes are rounding errors. One of them may be small by chance, so several points are needed.

    Args:
      curvature: maps a point `[p]` and directions `[p, m]` to the product of the Hessian and the directions.
      w: the point, `[p]`.
      nearby: points `[k, p]` that differ from `w` by rounding errors, as `points_nearby` returns them.
      eps: the relative rounding error of the Hessian.
    """
    size = len(w)
    hessian = curvature(w, np.eye(size))
    diagonal = np.abs(np.diag(hessian))
    scales = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    curvatures, directions = np.linalg.eigh((hessian + hessian.T) / 2 / np.outer(scales, scales))
    largest, smallest = np.abs(curvatures).max(), size * eps * max(np.abs(curvatures).max(), eps)
    lengths = 1 / np.sqrt(np.maximum(np.abs(curvatures), smallest))
    directions = directions / scales[:, None] * lengths
    weak, curvatures = np.abs(curvatures) < np.sqrt(eps) * largest, np.sign(curvatures)
    if weak.any():
        weak_hessian, *others = (
            directions[:, weak].T @ curvature(point, directions[:, weak]) for point in (w, *nearby)
        )
        noise = max(np.abs(weak_hessian - other).max() for other in others)
        weak_curvature, rotation = np.linalg.eigh((weak_hessian + weak_hessian.T) / 2)
        is_significant = np.abs(weak_curvature) > 10 * max(np.sqrt(eps), noise)
        factors = 1 / np.sqrt(np.where(is_significant, np.abs(weak_curvature), 1.0))
        directions[:, weak] = directions[:, weak] @ rotation * factors
        lengths[weak] = np.where(is_significant, lengths[weak].max() * factors, np.inf)
        curvatures[weak] = np.where(is_significant, np.sign(weak_curvature), 0.0)
    return Axes(directions, curvatures, scales, float(lengths.max() / lengths.min()))
