"""Searches for the maximum of a log-likelihood by Newton's method, and gives a verdict on the result.

A distribution has few parameters, so Newton's method with the observed information reaches the optimum in a few passes
over the data. The standard errors also need this information.

`scipy.optimize` does not suffice. SciPy's Newton methods stop when the gradient or the step is small, measured in units
of the coordinates and not in standard errors. These methods need a likelihood that changes in all directions. They do
not report that a likelihood rises without end and so has no maximum. SciPy's quasi-Newton methods only approximate the
Hessian.
"""

import dataclasses

import numpy as np

from nllfit.optimum.backtracking import backtrack
from nllfit.optimum.curvature import (
    FLAT,
    LEAST_DROP,
    drops_around,
    falls_enough,
    newton_step,
    principal_axes,
    rises_along,
)
from nllfit.optimum.optimum_and_verdict import Function, Optimum, Verdict

__all__ = ["climb", "maximize", "rounding_noise", "standard_axes"]

_NOISE = 1e-13  # the relative rounding error of a mean log-likelihood
# If the logarithm of a parameter has a standard error above this, or changes by more than this during the search, the
# parameter may tend to 0 or infinity.
_WIDE = 20.0
# We compare each Newton step with a step that is `_LEAP` times as long. Near a maximum, the log-likelihood is lower
# after the longer step than after the Newton step. If the log-likelihood is never lower after the longer step in
# `_LEAPS` successive comparisons, and the Newton steps become shorter only slowly, the log-likelihood seems to rise
# without end. It then has no maximum, but it may approach a limit. `_Climb._can_leap` makes the comparison.
_LEAP = 5.0
_LEAPS = 5
# If the log-likelihood seems to rise without end, the search ends after a step that is shorter than this, in standard
# errors. If the log-likelihood approaches a limit, it is then about 0.01^2 nats below this limit.
_UNENDING = 0.01
# A step is shortened so that the logarithm of each parameter changes by at most this number. After a larger change,
# rounding errors may look like a rise.
_LONGEST = 5.0
# If a search ends because it has taken the maximum number of steps, and its last step was short in standard errors but
# changed a coordinate by more than this number, the log-likelihood counts as rising without end.
_FAR = 0.1
# If the start is closer to the maximum than this, in standard errors, the search returns the start. A step would only
# add rounding errors.
_AT_REST = 1e-5
# The search ends after a step that is shorter than this. The unit is the standard error of an estimate from one
# observation. The key is True for exact derivatives and False for finite differences. The error after the step is about
# the square of its length.
_NEAR = {True: 1e-6, False: 1e-4}


def maximize(function: Function, w: np.ndarray, steps: int = 60) -> Optimum:
    """Searches for a maximum by Newton's method from `w`, and checks the result.

    The verdict is MAXIMUM if the search ends with a short step and these conditions hold:

    - The information is positive definite, apart from directions along which the likelihood is constant.
    - The log-likelihood falls enough in all directions, one standard error away (see `falls_enough`).
    - No logarithm of a parameter has a standard error above `_WIDE`.
    - The log-likelihood does not seem to rise without end (see `_LEAPS`).

    Args:
      function: the mean log-likelihood.
      w: the start, `[p]`.
      steps: the maximum number of steps.
    """
    optimum = climb(function, w, function.rank, steps, unending=_UNENDING)
    return _verified(function, optimum) if optimum.converged else optimum


def climb(function: Function, w: np.ndarray, rank: int, steps: int = 60, unending: float = 1e-3) -> Optimum:
    """Climbs by Newton's method from `w`, and stops after a short step (see `_NEAR`).

    Each step is computed by `newton_step` and halved until the log-likelihood rises.

    Args:
      function: the mean log-likelihood.
      w: the start, `[p]`.
      rank: as in `Function`.
      steps: the maximum number of steps.
      unending: a length in standard errors. If the log-likelihood seems to rise without end, the search ends after a
        step that is shorter than this.

    Returns:
      An `Optimum`. Here the verdict MAXIMUM only means that the last step was short. `maximize` checks more.
    """
    if not rank:
        return Optimum(w, function.value(w), np.zeros([len(w)] * 2), rank, Verdict.MAXIMUM, np.zeros_like(w))

    def log_change(point):
        """Returns the largest change since the start, over the coordinates that are logarithms."""
        return np.abs((point - w) * function.are_logarithms).max()

    state = _Climb(function, w, rank)
    for num_steps in range(steps):
        state.compute_step()
        if not state.derivatives.finite:
            return state.stuck(Verdict.NOT_FINITE)
        if not num_steps and state.distance < _AT_REST:
            return state.arrived()
        near = state.near
        if not state.take_step():
            return state.stuck(Verdict.STUCK)
        if near:
            return state.arrived()
        if state.never_ends and state.distance < unending:
            return state.at_infinity(state.step)
        if state.distance < 1 and log_change(state.w) > _WIDE:
            # The climb may have followed a curved ridge, so we report the direction from the start to the end.
            return state.at_infinity(state.w - w)
    if (state.distance < unending and np.abs(state.step).max() > _FAR) or log_change(state.w) > _WIDE:
        return state.at_infinity(state.w - w)
    return state.stuck(Verdict.CUT_SHORT)


class _Climb:
    """The state of a search by Newton's method.

    Attributes:
      w, value: the current point, and the mean log-likelihood there.
      derivatives: the latest `Derivatives`.
      distance: the length, in standard errors, of the latest Newton step from `compute_step`.
      step: this Newton step, shortened so that the logarithm of each parameter changes by at most `_LONGEST`.
    """

    def __init__(self, function: Function, w: np.ndarray, rank: int):
        self.w, self.distance, self.step = w, np.inf, np.zeros_like(w)
        self._function, self._rank, self._leaps = function, rank, 0

    def compute_step(self) -> None:
        """Computes the derivatives and the next step."""
        self.derivatives = self._function.derivatives(self.w)
        self.value = self.derivatives.value
        self._last_distance = self.distance
        if self.derivatives.finite:
            axes, curvature = principal_axes(-self.derivatives.hessian, self._rank)
            self.step, rise = newton_step(axes, curvature, self.derivatives.gradient)
            self.distance = float(np.sqrt(2 * self._function.total_weight * rise))
            longest = np.abs(self.step * self._function.are_logarithms).max(initial=0.0)
            self.step = self.step * min(1.0, _LONGEST / max(longest, 1e-300))

    def take_step(self) -> bool:
        """Takes the step, after halving it until the function rises. Returns False if the function does not rise."""
        noise = _NOISE * (1 + abs(self.value))
        scale, reached = backtrack(
            self._function.value, self.w, self.step, self.value, self.derivatives.gradient @ self.step, noise
        )
        if scale:
            self._leaps = self._leaps + 1 if self._can_leap() else 0
            self.w, self.value = self.w + scale * self.step, reached
        return scale > 0

    def _can_leap(self) -> bool:
        """Whether the log-likelihood seems to rise far beyond the next step.

        The result is True if both conditions hold:

        - The Newton step is shorter than one standard error, but longer than a quarter of the previous Newton step.
        - The log-likelihood at `w + _LEAP * step` is at least as high as at `w + step`.
        """
        slow = self._last_distance / 4 < self.distance < 1
        value = self._function.value
        return slow and value(self.w + _LEAP * self.step) >= value(self.w + self.step)

    @property
    def near(self) -> bool:
        """Whether the next step is short enough to be the last."""
        return self.distance < _NEAR[self.derivatives.exact] * np.sqrt(self._function.total_weight)

    @property
    def never_ends(self) -> bool:
        """Whether the log-likelihood seems to rise without end.

        It seems so if each of the last `_LEAPS` steps satisfied the condition of `_can_leap`.
        """
        return self._leaps >= _LEAPS

    def arrived(self) -> Optimum:
        """Returns the result of a search whose last step was short."""
        return self.at_infinity(self.step) if self.never_ends else self._end(Verdict.MAXIMUM)

    def at_infinity(self, direction: np.ndarray) -> Optimum:
        """Returns the result of a search in which the log-likelihood seems to rise without end along a direction."""
        return _at_infinity_or_hidden(self._function, self._end(Verdict.AT_INFINITY), direction)

    def stuck(self, verdict: Verdict) -> Optimum:
        """Returns the result of a search that ended without a maximum.

        The verdict is AT_INFINITY if the log-likelihood seems to rise without end, or HIDDEN if rounding errors hide
        its maximum. In all other cases it is `verdict`.
        """
        if self.never_ends:
            return self.at_infinity(self.step)
        direction = self.step / max(np.abs(self.step).max(), 1e-300)
        # The log-likelihood counts as rising without end if it rises along `direction` up to a distance of 16. At this
        # distance, the coordinate that changes most has changed by 16. If this coordinate is the logarithm of a
        # parameter, the parameter has changed by a factor of e^16.
        if rises_along(self._function.values, self.w, direction, _NOISE):
            return self.at_infinity(self.step)
        noise = rounding_noise(self._function, self.w, direction)
        return self._end(Verdict.HIDDEN, noise) if noise > LEAST_DROP else self._end(verdict, float(self.distance))

    def _end(self, verdict: Verdict, shortfall: float = 0.0) -> Optimum:
        information = -self._function.total_weight * self.derivatives.hessian
        return Optimum(self.w, self.value, information, self._rank, verdict, np.zeros_like(self.w), shortfall)


def standard_axes(optimum: Optimum) -> np.ndarray:
    """Returns axes `A` `[p, rank]`. Each has the length of one standard error. The covariance of `w` is `A A'`."""
    axes, curvature = principal_axes(optimum.information, optimum.rank)
    return axes / np.sqrt(curvature)


def _verified(function: Function, optimum: Optimum) -> Optimum:
    """Checks the result of a climb. If a check fails, the verdict of the returned result is not MAXIMUM."""
    if not optimum.rank:
        return optimum
    _, curvature = principal_axes(optimum.information, optimum.rank)
    if curvature.min() <= FLAT:
        return dataclasses.replace(optimum, verdict=Verdict.FLAT)
    axes = standard_axes(optimum)
    standard_errors = np.hypot.reduce(axes, axis=1) * function.are_logarithms
    if standard_errors.max() > _WIDE:
        aside = np.eye(len(standard_errors))[standard_errors.argmax()] * [[1.0], [-1.0]]
        uphill = aside[function.values(optimum.w + aside).argmax()]
        return _at_infinity_or_hidden(function, optimum, uphill)
    drops, moves = drops_around(function.values, optimum.w, optimum.value, axes)
    if falls_enough(function.total_weight * drops):
        return optimum
    return _at_infinity_or_hidden(function, optimum, moves[drops.argmin()])


def _at_infinity_or_hidden(function: Function, optimum: Optimum, direction: np.ndarray) -> Optimum:
    """Returns the optimum with the verdict AT_INFINITY and the direction along which the log-likelihood seems to rise.

    If the rounding error of the log-likelihood is above `LEAST_DROP`, the rise may be only a rounding error. The
    verdict is then HIDDEN.
    """
    noise = rounding_noise(function, optimum.w, direction / max(np.abs(direction).max(), 1e-300))
    if noise > LEAST_DROP:
        return dataclasses.replace(optimum, verdict=Verdict.HIDDEN, shortfall=noise)
    return dataclasses.replace(optimum, verdict=Verdict.AT_INFINITY, direction=direction)


def rounding_noise(function: Function, w: np.ndarray, direction: np.ndarray) -> float:
    """Returns the rounding error of the log-likelihood near `w`, in nats, or 0 if a computed value is not finite."""
    near = function.values(w + np.array([16.0, *1e-10 * np.arange(1, 8)])[:, None] * direction)
    return float(function.total_weight * np.ptp(near[1:])) if np.all(np.isfinite(near)) else 0.0
