"""Fits one family to many samples of the same size at once, for the bootstrap and the goodness-of-fit tests.

Newton's method starts at the estimate from the original sample. Each step computes the derivatives for many samples in
one call of a traced function. A sample in which Newton's method does not converge gets a separate, full `search`. If
the likelihood is not smooth or may have several maxima, every sample gets a separate search.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from nllfit.cdf_and_quantiles import cdf, survival
from nllfit.estimation.delta_method import Fit
from nllfit.estimation.problem import Problem, problem_of
from nllfit.estimation.search import search
from nllfit.estimation.traced_density import Density
from nllfit.families.law import law_of
from nllfit.families.support_ends import in_one_turn
from nllfit.optimum.backtracking import backtrack
from nllfit.optimum.curvature import FLAT, newton_step, principal_axes

__all__ = ["Refits", "refit", "scores"]

# The largest number of outcomes in one call: the outcomes of one sample times the number of samples.
_BLOCK_SIZE = 1 << 20
_STEPS = 25
_HALVINGS = 12
# Newton's method ends after a step that is shorter than this, in standard errors. The remaining error is about the
# square of this step.
_NEAR = 1e-4
# The relative rounding error of a log-likelihood.
_NOISE = 1e-12
# If the logarithm of a parameter has a standard error above this, the parameter may tend to 0 or infinity. The sample
# then gets a separate search.
_WIDE = 20.0


@dataclasses.dataclass(frozen=True)
class Refits:
    """The fits of `b` samples.

    Attributes:
      problem: the problem of the original sample.
      w: the coordinates of the fits, `[b, p]`. The rows for samples in `separate` are not used.
      separate: maps the index of each sample that had a separate search to its `Fit`, or to None if the sample has no
        estimate.
    """

    problem: Problem
    w: np.ndarray
    separate: dict[int, Fit | None]

    @property
    def num_failed(self) -> int:
        """The number of samples without a verified maximum."""
        return sum(fit is None or not fit.converged for fit in self.separate.values())

    def parameters(self) -> dict[str, np.ndarray]:
        """Returns all parameters on the natural scale, by name, `[b, *parameter]`.

        They are NaN for a sample without an estimate.
        """
        example = self.problem.natural(self.w[0])
        estimates = {name: np.full([len(self.w), *value.shape], np.nan) for name, value in example.items()}
        if len(self.separate) < len(self.w):
            estimates = {name: np.array(value) for name, value in self.problem.natural(self.w).items()}
        for row, fit in self.separate.items():
            for name, values in estimates.items():
                values[row] = fit.natural[name] if fit else np.nan
        return estimates

    def probabilities(self, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the CDF and the survival function of each fit at outcomes `y`, two arrays `[b, k]`.

        `y` is `[b, k]`, or `[1, k]` if all fits have the same outcomes. The results are NaN for a sample without an
        estimate. An angle is moved to within `pi` of the fitted `loc`.
        """
        probabilities = np.full([2, len(self.w), y.shape[1]], np.nan)

        def tails(distribution, y):
            y = in_one_turn(law_of(distribution), y)
            return cdf(distribution, y), survival(distribution, y)

        if len(self.separate) < len(self.w):
            distributions = self.problem.objective.coordinates.distribution(self.w, {})
            scaled_y = self.problem.units.inward_sample(np.broadcast_to(y, probabilities.shape[1:])).T
            probabilities = np.stack([np.array(tail).T for tail in tails(distributions, scaled_y)])
        for row, fit in self.separate.items():
            probabilities[:, row] = tails(fit.distribution, y[row % len(y)]) if fit else np.nan
        return probabilities[0], probabilities[1]


def refit(fit: Fit, y: np.ndarray, weights: np.ndarray) -> Refits:
    """Fits the family of `fit` to many samples.

    Args:
      fit: the fit of the original sample.
      y: `[b, n, *event]`, or `[1, n, *event]` if the samples differ only in their weights.
      weights: `[b, n]`, or `[1, n]` if all samples have the same weights.
    """
    problem, optimum, size = fit.problem, fit.optimum, max(len(y), len(weights))
    w, converged = np.tile(optimum.w, [size, 1]), np.zeros(size, bool)
    smooth = optimum.converged and problem.objective.exact and not problem.held
    if smooth and optimum.rank == w.shape[1] > 0 and not problem.family.search.several_maxima:
        scaled_y = problem.units.inward_sample(y)
        step = max(1, _BLOCK_SIZE // y[0].size)
        for i in range(0, size, step):
            rows = slice(i, i + step)
            block = [array if len(array) == 1 else array[rows] for array in (scaled_y, weights)]
            w[rows], converged[rows] = _climb_together(problem.objective.density, w[rows], *block)
        w[~converged] = optimum.w
    remaining = np.flatnonzero(~converged).tolist()
    return Refits(
        problem, w, {row: _separate_search(problem, y[row % len(y)], weights[row % len(weights)]) for row in remaining}
    )


def scores(problem: Problem, w: np.ndarray) -> np.ndarray:
    """Returns the gradient of each observation's log-likelihood with respect to the coordinates, `[n, p]`."""
    density, y = problem.objective.density, problem.units.inward_sample(problem.y)
    _, derivatives = density.of_samples
    gradients = []
    for i in range(0, len(y), _BLOCK_SIZE):
        block = y[i : i + _BLOCK_SIZE, None]
        gradients.append(
            derivatives(np.tile(w, [len(block), 1]), *_transposed_tensors(density, block, np.ones([1, 1])))[1]
        )
    return np.concatenate(gradients)


def _separate_search(problem: Problem, y: np.ndarray, weights: np.ndarray) -> Fit | None:
    try:
        return search(problem_of(problem.family, y, weights))
    except ValueError:  # no estimate, for example because all outcomes are equal
        return None


def _climb_together(
    density: Density, w: np.ndarray, y: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Applies Newton's method to `b` samples, starting at `w` `[b, p]`.

    Returns the final `w`, and whether each row is a maximum, `[b]`.
    """
    values, derivatives = density.of_samples
    data = _transposed_tensors(density, y, weights)
    converged = np.zeros(len(w), bool)
    for _ in range(_STEPS):
        value, gradient, hessian = (part.numpy() for part in derivatives(w, *data))
        is_finite = np.isfinite(value) & np.isfinite(gradient).all(1) & np.isfinite(hessian).all((1, 2))
        gradient[~is_finite], hessian[~is_finite] = 0.0, -np.eye(w.shape[1])
        axes, curvature = principal_axes(-hessian)
        step, rise = newton_step(axes, curvature, gradient)
        errors_along_axes = 1 / np.sqrt(np.maximum(np.abs(curvature), FLAT))
        standard_errors = np.linalg.norm(axes * errors_along_axes[:, None], axis=2) * density.coordinates.are_logarithms
        converged = (
            is_finite & (curvature.min(1) > FLAT) & (np.sqrt(2 * rise) < _NEAR) & (standard_errors.max(1) < _WIDE)
        )
        noise = _NOISE * (1 + np.abs(value))
        scale, _ = backtrack(lambda points: values(points, *data).numpy(), w, step, value, 0.0, noise, _HALVINGS)
        w = w + scale[:, None] * step
        if converged.all():
            break
    return w, converged


def _transposed_tensors(density, y, weights):
    """Converts samples `[b, n, *event]` and weights `[b, n]` to tensors `[n, b, *event]` and `[n, b]`."""
    return tf.cast(tf.constant(np.swapaxes(y, 0, 1)), density.dtype), tf.constant(weights.T)
