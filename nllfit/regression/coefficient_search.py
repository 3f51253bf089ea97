"""Newton's method for the coefficients that maximise a regression's likelihood.

The loss of row `i` depends on the coefficients `b` only through a few linear predictors, `u_i = X_i b`. Let `H_i` be
the Hessian of this loss with respect to `u_i`. Then the Hessian of the sum of all losses with respect to `b` is
`sum_i X_i' H_i X_i`, so an iteration costs one pass over the rows. If this search does not end at a maximum,
`nllfit.regression.fitting` searches again with `fit_lbfgs`.
"""

import dataclasses
import functools

import numpy as np
import tensorflow as tf

from nllfit.families.copies import batch_rows
from nllfit.families.family_base import ParametricFamily
from nllfit.families.head_base import traced_distribution
from nllfit.families.outcome_shapes import has_finite_likelihoods
from nllfit.families.support_checks import checked, first_refused
from nllfit.losses import negative_log_likelihood
from nllfit.optimum.backtracking import backtrack
from nllfit.optimum.curvature import drops_around, falls_enough, newton_step, principal_axes
from nllfit.regression.coefficient_derivatives import Designs, by_coefficients, numbers_of, summed
from nllfit.regression.keras_model import Predictor
from nllfit.regression.row_losses import RowLosses

__all__ = ["Objective", "maximum"]

_ITERATIONS = 100
_LEAST_GAIN = 1e-9  # the search ends if the predicted gain of a Newton step is at most this share of `1 + |loss|`
_GAIN_PER_ROW_TO_DOUBLE = 1e-2  # nats per row; if the predicted gain is larger, a step twice as long is tried, too
_FLAT = 1e-13  # a point is not a maximum if the smallest curvature, divided by the largest, is less than this


@dataclasses.dataclass(frozen=True)
class Objective:
    """The negative log-likelihood of all rows as a function of the coefficients `[q]`.

    `y` are the outcomes, `[n, *event]`. `weights`, `[n]`, contains the number of times that each row counts.
    """

    family: ParametricFamily
    predictors: list[Predictor]
    designs: Designs
    y: np.ndarray
    weights: np.ndarray

    @property
    def num_coefficients(self) -> int:
        """The length `q` of the vector of coefficients."""
        return sum(p.free * matrix.shape[1] for p, (matrix, _) in zip(self.predictors, self.designs, strict=True))

    def check(self, name: str) -> None:
        """Raises a `ValueError` for an outcome outside the family's support. `name` is the outcome's name."""
        numbers = tf.constant(numbers_of(self.predictors, self.designs, np.zeros(self.num_coefficients)))
        distribution = traced_distribution(self.family, numbers)
        try:
            negative_log_likelihood(self.y, distribution)
        except ValueError:
            # To find the first invalid outcome, we check all outcomes against the distribution of the first row. All
            # coefficients are 0, so the distributions of the rows differ only if there are offsets. We ignore such
            # differences, because the support of few families depends on an offset.
            row, reason = first_refused(checked(batch_rows(distribution, slice(1))), self.y, finite=True)
            if row is None or not has_finite_likelihoods(distribution):
                raise
            raise ValueError(
                f"The outcome `{name}` holds, at row {row}, {np.squeeze(self.y[row])}, which {self.family.name} "
                f"cannot have: {reason} Look for mislabelled rows, or choose a family whose support contains it."
            ) from None

    def value(self, coefficients: np.ndarray) -> float:
        """Returns the summed negative log-likelihood in nats, or NaN if a parameter of a row is outside its domain."""
        (losses,) = self._masked(self._rows.losses(numbers_of(self.predictors, self.designs, coefficients)))
        with np.errstate(over="ignore"):
            return float(self.weights @ losses)

    def losses_at(self, number: float) -> np.ndarray:
        """Returns the unweighted losses `[n]` of the rows if all linear predictors are equal to `number`."""
        return self._rows.losses(np.full([len(self.y), self.family.params_size], number))

    def slopes(self, coefficients: np.ndarray) -> np.ndarray:
        """The gradient of each row's loss with respect to its linear predictors, `[n, params_size]`."""
        return self.derivatives(coefficients)[0]

    def derivatives(self, coefficients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The gradient `[n, P]` and Hessian `[n, P, P]` of each row's loss with respect to its `P` linear predictors.

        Both are 0 in rows of weight 0.
        """
        gradients, hessians = self._rows.derivatives(numbers_of(self.predictors, self.designs, coefficients))
        gradients, hessians = self._masked(gradients, hessians)
        return gradients, hessians

    def _masked(self, *arrays):
        """Sets the values of rows of weight 0 to 0. An infinite value times the weight 0 would be NaN."""
        return [np.where(np.expand_dims(self.weights > 0, tuple(range(1, array.ndim))), array, 0.0) for array in arrays]

    @functools.cached_property
    def basis(self) -> tuple[Designs, np.ndarray]:
        """Orthonormal designs `Q`, and the matrix `[q, q]` that maps coefficients of `Q` to coefficients of `designs`.

        Let `X = Q R` be the QR decomposition of a matrix of `designs`. Then `inv(R)` is a diagonal block of the
        returned matrix. If columns of `X`, such as the powers of a year, are nearly dependent, derivatives with respect
        to the coefficients of `X` lose digits. Derivatives with respect to the coefficients of `Q` do not.
        """
        factors = [np.linalg.qr(matrix) for matrix, _ in self.designs]
        blocks = [np.linalg.inv(r) for p, (_, r) in zip(self.predictors, factors, strict=True) for _ in p.indices]
        transform, first = np.zeros([self.num_coefficients] * 2), 0
        for block in blocks:
            transform[first : first + len(block), first : first + len(block)] = block
            first += len(block)
        return [(q, None) for q, _ in factors], transform

    def local(self, coefficients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the gradient `[q]` and the Hessian `[q, q]` of the loss for the orthonormal designs of `basis`.

        They are derivatives with respect to the coefficients of these orthonormal designs. The argument `coefficients`
        is the point at which they are computed. It contains coefficients of the original `designs`.
        """
        gradients, hessians = self.derivatives(coefficients)
        gradient = self.weights @ by_coefficients(self.predictors, self.basis[0], gradients)
        return gradient, summed(self.predictors, self.basis[0], self.weights[:, None, None] * hessians)

    def scores(self, coefficients: np.ndarray) -> np.ndarray:
        """Returns the gradient of each row's loss, `[n, q]`, for the orthonormal designs of `basis`.

        It contains derivatives with respect to the coefficients of these orthonormal designs. The argument
        `coefficients` contains coefficients of the original `designs`.
        """
        return by_coefficients(self.predictors, self.basis[0], self.slopes(coefficients))

    @functools.cached_property
    def _rows(self) -> RowLosses:
        return RowLosses(self.family, self.y)


def maximum(objective: Objective, start: np.ndarray) -> tuple[np.ndarray, bool]:
    """Runs Newton's method from `start`. Returns the last coefficients `[q]`, and whether they are a maximum."""
    w, value = start, objective.value(start)
    for _ in range(_ITERATIONS):
        gradient, axes, curvature = _gradient_and_curvatures(objective, w)
        if not (np.isfinite(value) and np.isfinite(gradient).all() and np.isfinite(curvature).all()):
            return w, False
        step, gain = newton_step(axes, curvature, -gradient)
        slope, step = -gradient @ step, objective.basis[1] @ step
        if gain <= _LEAST_GAIN * (1 + abs(value)):
            return _polished(objective, w, step)
        scale, log_likelihood = backtrack(lambda at: -objective.value(at), w, step, -value, slope)
        if not scale:
            return w, False
        can_double = gain > _GAIN_PER_ROW_TO_DOUBLE * len(objective.y)
        while scale >= 1 and can_double and -objective.value(w + 2 * scale * step) > log_likelihood:
            scale *= 2
            log_likelihood = -objective.value(w + scale * step)
        w, value = w + scale * step, -log_likelihood
    return w, False


def _gradient_and_curvatures(objective, w):
    """Returns the gradient `[q]` of the loss, the principal axes of the information, and the curvatures along them.

    All derivatives are with respect to the coefficients of the orthonormal designs of `Objective.basis`.

    If the information is not finite, it is returned in place of the axes, and its diagonal in place of the curvatures.
    """
    gradient, information = objective.local(w)
    if not np.isfinite(information).all():
        return gradient, information, np.diag(information)
    return gradient, *principal_axes(information)


def _polished(objective, w, step):
    """Moves from `w` by `step`, and then by one more Newton step.

    Returns the coefficients `[q]` after the moves, and whether the likelihood falls in all directions from them.
    """
    w = w + step
    gradient, axes, curvature = _gradient_and_curvatures(objective, w)
    if not (np.isfinite(curvature).all() and curvature.min() > _FLAT * curvature.max()):
        return w, False
    transform = objective.basis[1]
    w = w + transform @ newton_step(axes, curvature, -gradient)[0]

    def log_likelihoods(points):
        return -np.nan_to_num(np.array([objective.value(point) for point in points]), nan=np.inf)

    drops, _ = drops_around(log_likelihoods, w, -objective.value(w), transform @ axes / np.sqrt(curvature))
    return w, falls_enough(drops)
