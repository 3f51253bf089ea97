"""The maximum of a log-likelihood by Newton's method, and a verdict on what the search found.

A distribution has few parameters, so Newton's method with the observed information reaches the optimum in a few passes
over the data. The standard errors need this information anyway.

`scipy.optimize` does not suffice. Its Newton methods stop at a small gradient or step in the units of the coordinates,
not in standard errors. A direction in which no density changes makes their Hessian singular. If the log-likelihood
rises without end, they do not say so. Quasi-Newton methods only approximate the Hessian.
"""

import dataclasses
import enum
from typing import NamedTuple, Protocol

import numpy as np

from nllfit.optimum.curvature import FLAT, LEAST_DROP, backtrack, drops_around, newton_step, principal_axes, rises_along

__all__ = ["Derivatives", "Function", "Optimum", "Verdict", "climb", "maximize", "rounding_noise", "standard_axes"]

_NOISE = 1e-13  # relative rounding error of a mean log-likelihood
_WIDE = 20.0  # a parameter may be zero or infinite if the standard error or change of its logarithm is larger
_LEAP = 5.0  # a step this many times too long lowers the log-likelihood, unless it rises without end
_LEAPS = 5  # the log-likelihood rises without end if so many steps in a row could have been `_LEAP` times longer
_UNENDING = 0.01  # standard errors: a climb without end stops this close to the limit, about 0.01^2 nats below it
_LONGEST = 5.0  # the largest change of a logarithm in a step; further away, rounding errors may look like a rise
_FAR = 0.1  # a longer step of any coordinate shows that there is no maximum near
_AT_REST = 1e-5  # standard errors: a start this close to the maximum is a closed form, which a step would worsen
# The length of the last step, in standard deviations of one outcome, if derivatives are exact and if not. The error
# after the step is about the square of its length.
_NEAR = {True: 1e-6, False: 1e-4}


class Verdict(enum.Enum):
    """What a search found."""

    MAXIMUM = enum.auto()
    AT_INFINITY = enum.auto()  # the function rises without end along a direction
    HIDDEN = enum.auto()  # rounding errors hide the maximum
    FLAT = enum.auto()  # the information is not positive definite
    NOT_FINITE = enum.auto()  # the function or a derivative is not finite
    STUCK = enum.auto()  # no step raises the function
    CUT_SHORT = enum.auto()  # the number of steps was not enough
    OUTSIDE = enum.auto()  # the support at the estimates excludes an outcome; `estimation.search` sets this verdict


class Derivatives(NamedTuple):
    """A mean log-likelihood at a point, its gradient `[p]` and its Hessian `[p, p]`, exact or by finite differences.

    A value that would be NaN is -inf, so that values can be compared.
    """

    value: float
    gradient: np.ndarray
    hessian: np.ndarray
    exact: bool

    @property
    def finite(self) -> bool:
        """Whether all numbers are finite."""
        return all(np.all(np.isfinite(part)) for part in self[:3])


class Function(Protocol):
    """A mean log-likelihood of `p` coordinates.

    Attributes:
      total_weight: the number of observations, by which the mean is multiplied to give the log-likelihood.
      are_logarithms: which coordinates are the logarithms of positive numbers, `[p]`.
      rank: the number of directions in which the likelihood changes.
    """

    @property
    def total_weight(self) -> float: ...

    @property
    def are_logarithms(self) -> np.ndarray: ...

    @property
    def rank(self) -> int: ...

    def value(self, w: np.ndarray) -> float:
        """The mean log-likelihood at the point `w` `[p]`; -inf if it is not finite."""

    def values(self, w: np.ndarray) -> np.ndarray:
        """The mean log-likelihoods `[s]` at the points `w` `[s, p]`."""

    def derivatives(self, w: np.ndarray) -> Derivatives:
        """The mean log-likelihood at the point `w` `[p]`, and its derivatives."""


@dataclasses.dataclass(frozen=True)
class Optimum:
    """The result of a search by Newton's method.

    Attributes:
      w: the point at which the search ended, `[p]`; `[0]` if no parameter is free.
      value: the mean log-likelihood at `w`.
      information: the observed information of the whole sample, minus the Hessian of its log-likelihood, `[p, p]`.
      rank: the number of directions in which the likelihood changes.
      verdict: what the search found.
      direction: the direction `[p]` along which the log-likelihood rises without end, or zeros.
      lacks: if the verdict is HIDDEN, the rounding error of the log-likelihood in nats; if the search stopped before a
        maximum, the distance from it in standard errors.
      note: a remark that is added to the text of the verdict.
    """

    w: np.ndarray
    value: float
    information: np.ndarray
    rank: int
    verdict: Verdict
    direction: np.ndarray
    lacks: float = 0.0
    note: str = ""

    @property
    def converged(self) -> bool:
        """Whether the search found a maximum."""
        return self.verdict is Verdict.MAXIMUM


def maximize(function: Function, w: np.ndarray, steps: int = 60) -> Optimum:
    """Searches for a maximum by Newton's method from `w`, and checks what it found.

    The verdict is MAXIMUM if the information is positive definite (apart from directions that change no density), if
    the log-likelihood is lower one standard error away, to either side along each axis, and if steps five times as long
    as Newton's did not keep raising it.

    Args:
      function: the mean log-likelihood.
      w: the start, `[p]`.
      steps: the largest number of steps.
    """
    optimum = climb(function, w, function.rank, steps, unending=_UNENDING)
    return _judged(function, optimum) if optimum.converged else optimum


def climb(function: Function, w: np.ndarray, rank: int, steps: int = 60, unending: float = 1e-3) -> Optimum:
    """Climbs by Newton's method from `w`, until the error is about 1e-12 standard deviations of an outcome.

    Each step is that of `newton_step`, halved until the log-likelihood rises.

    Args:
      function: the mean log-likelihood.
      w: the start, `[p]`.
      rank: the number of directions in which the likelihood changes.
      steps: the largest number of steps.
      unending: the distance from the limit, in standard errors, at which a climb without end stops.

    Returns:
      An `Optimum`. Here the verdict MAXIMUM means only that the gradient vanishes; `maximize` checks more.
    """
    if not rank:
        return Optimum(w, function.value(w), np.zeros([len(w)] * 2), rank, Verdict.MAXIMUM, np.zeros_like(w))

    def orders(reached):
        """The largest change of a logarithm since the start."""
        return np.abs((reached - w) * function.are_logarithms).max()

    state = _Climb(function, w, rank)
    for taken in range(steps):
        state.look()
        if not state.seen.finite:
            return state.stuck(Verdict.NOT_FINITE)
        if not taken and state.distance < _AT_REST:
            return state.arrived()
        near = state.near
        if not state.move():
            return state.stuck(Verdict.STUCK)
        if near:
            return state.arrived()
        if state.never_ends and state.distance < unending:
            return state.at_infinity(state.step)
        if state.distance < 1 and orders(state.w) > _WIDE:
            # The direction is that of the whole climb, because the climb follows a curved ridge.
            return state.at_infinity(state.w - w)
    if (state.distance < unending and np.abs(state.step).max() > _FAR) or orders(state.w) > _WIDE:
        return state.at_infinity(state.w - w)
    return state.stuck(Verdict.CUT_SHORT)


class _Climb:
    """The state of a climb.

    Attributes:
      w, value: the current point, and the mean log-likelihood there.
      seen: the latest `Derivatives`.
      distance: the length of the next Newton step in standard errors.
      step: the next step: Newton's, shortened so that no logarithm changes by more than `_LONGEST`.
    """

    def __init__(self, function: Function, w: np.ndarray, rank: int):
        self.w, self.distance, self.step = w, np.inf, np.zeros_like(w)
        self._function, self._rank, self._leaps = function, rank, 0

    def look(self) -> None:
        """Computes the derivatives and the next step."""
        self.seen = self._function.derivatives(self.w)
        self.value = self.seen.value
        self._last_distance = self.distance
        if self.seen.finite:
            axes, curvature = principal_axes(-self.seen.hessian, self._rank)
            self.step, rise = newton_step(axes, curvature, self.seen.gradient)
            self.distance = float(np.sqrt(2 * self._function.total_weight * rise))
            longest = np.abs(self.step * self._function.are_logarithms).max(initial=0.0)
            self.step = self.step * min(1.0, _LONGEST / max(longest, 1e-300))

    def move(self) -> bool:
        """Takes the step, halved until the function rises; returns False if it does not rise."""
        noise = _NOISE * (1 + abs(self.value))
        scale, reached = backtrack(
            self._function.value, self.w, self.step, self.value, self.seen.gradient @ self.step, noise
        )
        if scale:
            self._leaps = self._leaps + 1 if self._can_leap() else 0
            self.w, self.value = self.w + scale * self.step, reached
        return scale > 0

    def _can_leap(self) -> bool:
        """Whether steps shorten slowly and a `_LEAP` times longer step is no worse: signs of a rise without end."""
        slow = self._last_distance / 4 < self.distance < 1
        value = self._function.value
        return slow and value(self.w + _LEAP * self.step) >= value(self.w + self.step)

    @property
    def near(self) -> bool:
        """Whether the step is short enough to be the last."""
        return self.distance < _NEAR[self.seen.exact] * np.sqrt(self._function.total_weight)

    @property
    def never_ends(self) -> bool:
        """Whether the log-likelihood seems to rise without end, after `_LEAPS` successive signs of it."""
        return self._leaps >= _LEAPS

    def arrived(self) -> Optimum:
        """The result of a climb whose last step was short."""
        return self.at_infinity(self.step) if self.never_ends else self._end(Verdict.MAXIMUM)

    def at_infinity(self, direction: np.ndarray) -> Optimum:
        """The result of a climb along a direction in which the log-likelihood rises without end."""
        return _rising(self._function, self._end(Verdict.AT_INFINITY), direction)

    def stuck(self, verdict: Verdict) -> Optimum:
        """The result of a climb that found no maximum, with AT_INFINITY or HIDDEN if they apply, else `verdict`."""
        if self.never_ends:
            return self.at_infinity(self.step)
        direction = self.step / max(np.abs(self.step).max(), 1e-300)
        if rises_along(self._function.values, self.w, direction, _NOISE):  # until a scale has changed by a factor e^16
            return self.at_infinity(self.step)
        noise = rounding_noise(self._function, self.w, direction)
        return self._end(Verdict.HIDDEN, noise) if noise > LEAST_DROP else self._end(verdict, float(self.distance))

    def _end(self, verdict: Verdict, lacks: float = 0.0) -> Optimum:
        information = -self._function.total_weight * self.seen.hessian
        return Optimum(self.w, self.value, information, self._rank, verdict, np.zeros_like(self.w), lacks)


def standard_axes(optimum: Optimum) -> np.ndarray:
    """Axes `A` `[p, rank]`, each one standard error long: the covariance of the coordinates is `A A'`.

    There is one axis for each direction in which a density changes.
    """
    axes, curvature = principal_axes(optimum.information, optimum.rank)
    return axes / np.sqrt(curvature)


def _judged(function: Function, optimum: Optimum) -> Optimum:
    """The result of a climb after the checks of a maximum, with another verdict than MAXIMUM if one of them fails."""
    if not optimum.rank:
        return optimum
    _, curvature = principal_axes(optimum.information, optimum.rank)
    if curvature.min() <= FLAT:
        return dataclasses.replace(optimum, verdict=Verdict.FLAT)
    axes = standard_axes(optimum)
    widths = np.hypot.reduce(axes, axis=1) * function.are_logarithms
    if widths.max() > _WIDE:
        aside = np.eye(len(widths))[widths.argmax()] * [[1.0], [-1.0]]
        uphill = aside[function.values(optimum.w + aside).argmax()]
        return _rising(function, optimum, uphill)
    drops, moves = drops_around(function.values, optimum.w, optimum.value, axes)
    drops = function.total_weight * drops
    if drops.min() < LEAST_DROP:
        return _rising(function, optimum, moves[drops.argmin()])
    return optimum


def _rising(function: Function, optimum: Optimum, direction: np.ndarray) -> Optimum:
    """The result with the verdict AT_INFINITY and a direction, or with HIDDEN if rounding errors hide the rise."""
    noise = rounding_noise(function, optimum.w, direction / max(np.abs(direction).max(), 1e-300))
    if noise > LEAST_DROP:
        return dataclasses.replace(optimum, verdict=Verdict.HIDDEN, lacks=noise)
    return dataclasses.replace(optimum, verdict=Verdict.AT_INFINITY, direction=direction)


def rounding_noise(function: Function, w: np.ndarray, direction: np.ndarray) -> float:
    """The rounding error of the log-likelihood of the sample near `w`, in nats; 0 if values are infinite there."""
    near = function.values(w + np.array([16.0, *1e-10 * np.arange(1, 8)])[:, None] * direction)
    return float(function.total_weight * np.ptp(near[1:])) if np.all(np.isfinite(near)) else 0.0
