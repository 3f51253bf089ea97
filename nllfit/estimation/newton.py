"""The maximum of a log-likelihood over a family's coordinates, by Newton's method.

The parameters of a distribution are few, so Newton's method with the observed information gets to the optimum in a
handful of passes over the data, and leaves that information behind, which the standard errors need.
"""

import dataclasses

import numpy as np

from nllfit.curvature import FLAT, backtrack, drops_around, newton_step, principal_axes, rises_along
from nllfit.estimation.objective import Objective

__all__ = ["CONVERGED", "Optimum", "climb", "errors", "maximize"]

CONVERGED = "converged"

_NOISE = 1e-13  # relative rounding error of a mean log-likelihood
_LEAST_DROP = 1e-4  # nats by which the log-likelihood must fall one standard error from a maximum, where 1/2 is usual
_WIDE = 20.0  # standard errors of a logarithm, with which the parameter may be zero or infinite as well
_LEAP = 5.0  # Newton steps at once, after which the log-likelihood has fallen unless it goes on rising for ever
_LEAPS = 5  # in a row
_UNENDING = 0.01  # standard errors, whose square is the rest of the way up to the limit, in nats
_INFINITY = 700.0  # whose exponential is nearly the largest float
_LONGEST = 5.0  # change of a logarithm in a step: beyond, rounding errors of a density may look like a rise
_FAR = 0.1  # length of a step, a tenth of a scale, that no maximum has so near it
_AT_REST = 1e-5  # standard errors: a closed form is more exact than a step from it
_NEAR = {True: 1e-6, False: 1e-4}  # length of the last step in standard deviations of one outcome, if derivatives are
# exact and if they are not; it leaves about the square of that


@dataclasses.dataclass(frozen=True)
class Optimum:
    """Where Newton's method ended.

    Attributes:
      w: the coordinates, `[p]`; `[0]` where no parameter is free.
      value: the mean log-likelihood there.
      information: the observed information of the whole sample, minus the Hessian of its log-likelihood, `[p, p]`.
      rank: the number of directions that the likelihood can tell apart.
      message: "converged", or why not.
      note: what else is known of the search, to be added to the message.
    """

    w: np.ndarray
    value: float
    information: np.ndarray
    rank: int
    message: str
    note: str = ""

    @property
    def converged(self) -> bool:
        """Whether Newton's method came to an end, and to no verdict against it."""
        return self.message == CONVERGED


def maximize(objective: Objective, w: np.ndarray, steps: int = 60) -> Optimum:
    """Newton's method from `w`, with a verdict on what it found.

    The end is a maximum if the information is positive definite (but for directions that change no density), the
    log-likelihood falls one standard error away, to either side of each of its axes, and it did not go on rising where
    steps could have been five times as long.

    Args:
      objective: the log-likelihood.
      w: the start, `[p]`.
      steps: the most steps taken.
    """
    optimum = climb(objective, w, objective.density.rank, steps, unending=_UNENDING)
    return _judged(objective, optimum) if optimum.converged else optimum


def climb(objective: Objective, w: np.ndarray, rank: int, steps: int = 60, unending: float = 1e-3) -> Optimum:
    """Newton's method from `w` until a step leaves an error of some 1e-12 standard deviations of an outcome.

    A step is `V |L|^-1 V' g` for the Hessian `V L V'` scaled to a unit diagonal, so that it goes uphill where the
    log-likelihood is not yet concave, and is halved until it does.

    `scipy.optimize` does not serve: its Newton methods stop at a gradient or a step measured in the coordinates' units,
    not in standard errors; they take a direction in which no density changes for a singular Hessian; they end
    somewhere on the way to a maximum at infinity without a word; and quasi-Newton methods leave a rough Hessian behind.

    Args:
      objective: the log-likelihood.
      w: the start, `[p]`.
      rank: the number of directions that the likelihood can tell apart.
      steps: the most steps taken.
      unending: where a climb without end is broken off, in standard errors.

    Returns:
      An `Optimum`, of which only the gradient is known to vanish.
    """
    if not rank:
        return Optimum(w, objective.value(w), np.zeros([len(w)] * 2), rank, CONVERGED)
    state = _Climb(objective, w, rank)
    for taken in range(steps):
        state.look()
        if not state.seen.finite:
            return state.stuck("the log-likelihood or a derivative is not finite")
        if not taken and state.distance < _AT_REST:
            return state.arrived()
        near = state.near
        if not state.move():
            return state.stuck("no step raises the log-likelihood")
        if near:
            return state.arrived()
        if state.never_ends and state.distance < unending:
            return state.at_infinity(state.step)
        way = state.w - w
        if state.distance < 1 and np.abs(way * objective.coordinates.are_logarithms).max() > _WIDE:
            return state.at_infinity(way)  # along a curve, where no longer step would be as good
    if state.distance < unending and np.abs(state.step).max() > _FAR:
        return state.at_infinity(state.w - w)
    return state.stuck(f"still {state.distance:.2g} standard errors from a maximum after {steps} steps")


class _Climb:
    """A climb under way.

    Attributes:
      w, value: where it is, and the mean log-likelihood there.
      seen: the `Derivatives` from where it last looked.
      step, distance: the step of Newton's method from there, and its length in standard errors.
    """

    def __init__(self, objective: Objective, w: np.ndarray, rank: int):
        self.w, self.distance, self.step = w, np.inf, np.zeros_like(w)
        self._objective, self._rank, self._leaps = objective, rank, 0

    def look(self) -> None:
        """Finds the next step."""
        self.seen = self._objective.derivatives(self.w)
        self.value = self.seen.value
        self._last_distance = self.distance
        if self.seen.finite:
            axes, curvature = principal_axes(-self.seen.hessian, self._rank)
            self.step, rise = newton_step(axes, curvature, self.seen.gradient)
            self.distance = np.sqrt(2 * self._objective.total_weight * rise)
            longest = np.abs(self.step * self._objective.coordinates.are_logarithms).max(initial=0.0)
            self.step = self.step * min(1.0, _LONGEST / max(longest, 1e-300))

    def move(self) -> bool:
        """Takes the step, or as much of it as leads uphill; False if nothing of it does."""
        noise = _NOISE * (1 + abs(self.value))
        scale, reached = backtrack(
            self._objective.value, self.w, self.step, self.value, self.seen.gradient @ self.step, noise
        )
        if scale:
            self._leaps = self._leaps + 1 if self._can_leap() else 0
            self.w, self.value = self.w + scale * self.step, reached
        return scale > 0

    def _can_leap(self) -> bool:
        """Whether the steps shorten slowly, and one much longer would be no worse, as on a way without an end."""
        slow = self._last_distance / 4 < self.distance < 1
        value = self._objective.value
        return slow and value(self.w + _LEAP * self.step) >= value(self.w + self.step)

    @property
    def near(self) -> bool:
        """Whether the step is so short that it is the last."""
        return self.distance < _NEAR[self.seen.exact] * np.sqrt(self._objective.total_weight)

    @property
    def never_ends(self) -> bool:
        """Whether longer steps would have been no worse several times in a row."""
        return self._leaps >= _LEAPS

    def arrived(self) -> Optimum:
        """The end of a climb whose last step was short."""
        return self.at_infinity(self.step) if self.never_ends else self._end(CONVERGED)

    def at_infinity(self, direction: np.ndarray) -> Optimum:
        """The end of a climb along a direction in which the log-likelihood rises for ever."""
        return self._end(_limit(self._objective, self.w, direction))

    def stuck(self, message: str) -> Optimum:
        """The end of a climb that found no maximum: the message, or a better reason."""
        if self.never_ends:
            return self.at_infinity(self.step)
        return self._end(_reason(self._objective, self.w, self.step) or message)

    def _end(self, message: str) -> Optimum:
        information = -self._objective.total_weight * self.seen.hessian
        return Optimum(self.w, self.value, information, self._rank, message)


def errors(optimum: Optimum) -> np.ndarray:
    """Independent errors of the coordinates, one for each direction that changes a density, `[p, rank]`.

    Their product with their transpose is the coordinates' covariance.
    """
    axes, curvature = principal_axes(optimum.information, optimum.rank)
    return axes / np.sqrt(curvature)


def _judged(objective: Objective, optimum: Optimum) -> Optimum:
    """The end of a climb with a verdict on it."""
    if not optimum.rank:
        return optimum
    _, curvature = principal_axes(optimum.information, optimum.rank)
    if curvature.min() <= FLAT:
        return dataclasses.replace(optimum, message="the information is not positive definite")
    axes = errors(optimum)
    widths = np.hypot.reduce(axes, axis=1) * objective.coordinates.are_logarithms
    if widths.max() > _WIDE:
        aside = np.eye(len(widths))[widths.argmax()] * [[1.0], [-1.0]]
        uphill = aside[objective.values(optimum.w + aside).argmax()]
        return dataclasses.replace(optimum, message=_limit(objective, optimum.w, uphill))
    drops, moves = drops_around(objective.values, optimum.w, optimum.value, axes)
    drops = objective.total_weight * drops
    if drops.min() < _LEAST_DROP:
        return dataclasses.replace(optimum, message=_limit(objective, optimum.w, moves[drops.argmin()]))
    return optimum


def _reason(objective: Objective, w: np.ndarray, step: np.ndarray) -> str | None:
    """Why a climb found no maximum, in words; None if it is not known."""
    direction = step / max(np.abs(step).max(), 1e-300)
    if rises_along(objective.values, w, direction, _NOISE):  # as far as e^16 times a scale
        return _limit(objective, w, step)
    return _rounding(objective, w, direction)


def _rounding(objective: Objective, w: np.ndarray, direction: np.ndarray) -> str | None:
    """That rounding errors hide the maximum, in words; None if they do not."""
    near = objective.values(w + np.array([16.0, *1e-10 * np.arange(1, 8)])[:, None] * direction)
    noise = objective.total_weight * np.ptp(near[1:]) if np.all(np.isfinite(near)) else 0.0  # at an edge of the support
    if noise > _LEAST_DROP:
        return f"rounding errors of {noise:.1g} nats in the log-likelihood hide its maximum: it is too flat for float64"
    return None


def _limit(objective: Objective, w: np.ndarray, direction: np.ndarray) -> str:
    """Which parameter goes where as the log-likelihood seems to rise along a direction for ever, in words."""
    hidden = _rounding(objective, w, direction / max(np.abs(direction).max(), 1e-300))
    if hidden:
        return hidden
    ranked = np.argsort(-np.abs(direction) / (1 + np.abs(w)))
    alone = (np.eye(len(w)) * np.sign(direction))[ranked]
    fastest = ranked[np.argmax(objective.values(w + alone) >= objective.value(w))]  # of those that rise by themselves
    far = w.copy()
    far[fastest] += _INFINITY * np.sign(direction[fastest])
    before, after = objective.natural(w), objective.natural(far)
    changes = {n: np.ravel(np.abs(after[n] - before[n]) / np.maximum(np.abs(before[n]), 1e-300)) for n in before}
    name = max(changes, key=lambda n: changes[n].max())
    limit, now = (np.ravel(values[name])[changes[name].argmax()] for values in (after, before))
    if np.isneginf(objective.value(far)) and not objective.coordinates.are_logarithms[fastest]:
        return f"no maximum inside: the log-likelihood goes on rising as `{name}` comes to where the sample ends"
    if abs(limit) > 1e100 or abs(limit - now) > _INFINITY / 2:  # a real number goes as far as its coordinate
        bound = "infinity" if limit > 0 else "-infinity"
    else:
        bound = "0" if abs(limit) < 1e-100 else f"{limit:.3g}"
    return f"no finite maximum: the log-likelihood goes on rising as `{name}` goes to {bound}"
