"""Newton's method for the coefficients that maximise Cox's partial likelihood."""

import dataclasses

import numpy as np

from nllfit.optimum.backtracking import backtrack
from nllfit.optimum.curvature import LEAST_DROP, drops_around, falls_enough, newton_step, principal_axes
from nllfit.regression.partial_likelihood import PartialLikelihood

__all__ = ["Strata", "maximum"]

_ITERATIONS = 50
# The search ends if the predicted gain of a Newton step is at most this share of `1 + |log-likelihood|`.
_LEAST_GAIN = 1e-10
# The information is scaled to a unit diagonal. A curvature then counts as zero if it is not above this number.
_FLAT = 1e-10
_FAR = 30.0  # a long move makes the linear predictors of two rows differ by at least this number


@dataclasses.dataclass(frozen=True)
class Strata:
    """The partial log-likelihood of the data: the sum over the strata."""

    parts: list[PartialLikelihood]

    def value(self, coefficients: np.ndarray) -> float:
        return sum(part.value(coefficients) for part in self.parts)

    def local(self, coefficients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        gradients, hessians = zip(*(part.local(coefficients) for part in self.parts), strict=True)
        return np.sum(gradients, 0), np.sum(hessians, 0)


def maximum(strata: Strata, w: np.ndarray) -> tuple[np.ndarray, bool]:
    """Runs Newton's method. Returns the last coefficients, and whether they are a maximum."""
    log_likelihood = strata.value(w)
    for _ in range(_ITERATIONS):
        gradient, hessian = strata.local(w)
        if not np.isfinite(hessian).all():
            return w, False
        axes, curvature = principal_axes(hessian)
        step, gain = newton_step(axes, curvature, -gradient)
        if gain <= _LEAST_GAIN * (1 + abs(log_likelihood)):
            # If a curvature is a rounding error, the step is too long, and the log-likelihood falls.
            if not strata.value(w + step) >= log_likelihood - LEAST_DROP:
                return w, False
            return w + step, _falls_around(strata, w + step, axes, curvature) and _falls_far(strata, w + step, step)
        scale, log_likelihood = backtrack(strata.value, w, step, log_likelihood, -gradient @ step)
        if not scale:
            return w, False
        w = w + scale * step
    return w, False


def _falls_around(strata, w, axes, curvature):
    """Whether the log-likelihood falls one standard error from `w`. A change to NaN does not count as a fall."""
    if curvature.min() <= _FLAT:
        return False

    def values(points):
        return np.nan_to_num(np.array([strata.value(point) for point in points]), nan=np.inf)

    drops, _ = drops_around(values, w, strata.value(w), axes / np.sqrt(curvature))
    return falls_enough(drops)


def _falls_far(strata, w, step):
    """Whether the log-likelihood falls after long moves along `w` and along Newton's step.

    The log-likelihood is concave, so at a maximum it falls without end in all directions. If the columns separate the
    events, `w` and the step lead to infinity. A standard error is then so long that a move by one may overshoot.
    """

    def numbers(point):
        return np.concatenate([part.numbers(point) for part in strata.parts])

    for direction in filter(np.any, (w, step)):
        length = (_FAR + 2 * np.ptp(numbers(w))) / np.ptp(numbers(w + direction) - numbers(w))
        if strata.value(w + length * direction) >= strata.value(w) - LEAST_DROP:
            return False
    return True
