"""The maximum of a log-likelihood over a family's coordinates, by Newton's method.

The parameters of a distribution are few, so Newton's method with the observed information gets to the optimum in a
handful of passes over the data, and leaves that information behind, which the standard errors need.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from nllfit.curvature import FLAT, backtrack, drops_around, newton_step, principal_axes, rises_along

__all__ = ["Optimum", "climb", "errors", "maximize"]

_NOISE = 1e-13  # relative rounding error of a mean log-likelihood
_LEAST_DROP = 1e-4  # nats by which the log-likelihood must fall one standard error from a maximum, where 1/2 is usual
_WIDE = 20.0  # standard errors of a logarithm, with which the parameter may be zero or infinite as well
_LEAP = 5.0  # Newton steps at once, after which the log-likelihood has fallen unless it goes on rising for ever
_LEAPS = 5  # in a row
_UNENDING = 0.01  # standard errors, whose square is the rest of the way up to the limit, in nats
_INFINITY = 700.0  # whose exponential is nearly the largest float
_FAR = 0.1  # length of a step, a tenth of a scale, that no maximum has so near it
_NEAR = 1e-6  # length of the last step, in standard deviations of one outcome; it leaves about the square of that


@dataclasses.dataclass(frozen=True)
class Optimum:
    """Where Newton's method ended.

    Attributes:
      w: the coordinates, `[p]`.
      value: the mean log-likelihood there.
      information: the observed information of the whole sample, minus the Hessian of its log-likelihood, `[p, p]`.
      rank: the number of directions that the likelihood can tell apart.
      distance: the length of the next step, in standard errors.
      message: "converged", or why not.
    """

    w: np.ndarray
    value: float
    information: np.ndarray
    rank: int
    distance: float
    message: str

    @property
    def converged(self):
        """Whether Newton's method came to an end, and to no verdict against it."""
        return self.message == "converged"


def maximize(objective, w, steps=60):
    """Newton's method from `w`, with a verdict on what it found.

    The end is a maximum if the information is positive definite (but for directions that change no density), the
    log-likelihood falls one standard error away, to either side of each of its axes, and it did not go on rising where
    steps could have been five times as long.

    Args:
      objective: an `Objective`.
      w: the start, `[p]`.
      steps: the most steps taken.

    Returns:
      An `Optimum`.
    """
    optimum = climb(objective, w, objective.density.rank, steps, unending=_UNENDING)
    return _verdict(objective, optimum) if optimum.converged else optimum


def climb(objective, w, rank, steps=60, unending=1e-3):
    """Newton's method from `w` until a step leaves an error of some 1e-12 standard deviations of an outcome.

    A step is `V |L|^-1 V' g` for the Hessian `V L V'` scaled to a unit diagonal, so that it goes uphill where the
    log-likelihood is not yet concave, and is halved until it does.

    Args:
      objective: an `Objective`.
      w: the start, `[p]`.
      rank: the number of directions that the likelihood can tell apart.
      steps: the most steps taken.
      unending: where a climb without end is broken off, in standard errors.

    Returns:
      An `Optimum`, of which only the gradient is known to vanish.
    """
    value, gradient, hessian = objective.derivatives(w)
    distance, leaps, step, start = np.inf, 0, gradient, w

    def stop(message):
        if message != "converged" or leaps >= _LEAPS:
            message = _reason(objective, w, step, leaps) or message
        return Optimum(w, value, -objective.total_weight * hessian, rank, distance, message)

    if not rank:
        distance = 0.0
        return stop("converged")
    for taken in range(steps):
        if not _all_finite(value, gradient, hessian):
            return stop("the log-likelihood or a derivative is not finite")
        previous = distance
        step, rise = newton_step(*principal_axes(-hessian, rank), gradient)
        distance = np.sqrt(2 * objective.total_weight * rise)
        near = distance < (1e-4 if objective.by_differences else _NEAR) * np.sqrt(objective.total_weight)
        if not taken and distance < 1e-5:  # a closed form is more exact than a step from it
            return stop("converged")
        scale, reached = backtrack(objective.value, w, step, value, gradient @ step, _NOISE * (1 + abs(value)))
        if not scale:
            return stop("no step raises the log-likelihood")
        slow = previous / 4 < distance < 1
        leaps = leaps + 1 if slow and objective.value(w + _LEAP * step) >= objective.value(w + step) else 0
        w, value = w + scale * step, reached
        if near:
            return stop("converged")
        if leaps >= _LEAPS and distance < unending:
            return stop("no finite maximum")
        value, gradient, hessian = objective.derivatives(w)
    if distance < unending and np.abs(step).max() > _FAR:
        leaps, step = _LEAPS, w - start
    return stop(f"still {distance:.2g} standard errors from a maximum after {steps} steps")


def errors(optimum):
    """Independent errors of the coordinates, one for each direction that changes a density, `[p, rank]`.

    Their product with their transpose is the coordinates' covariance.
    """
    axes, curvature = principal_axes(optimum.information, optimum.rank)
    return axes / np.sqrt(curvature)


def _verdict(objective, optimum):
    if not optimum.rank:
        return optimum
    _, curvature = principal_axes(optimum.information, optimum.rank)
    if curvature.min() <= FLAT:
        return dataclasses.replace(optimum, message="the information is not positive definite")
    axes = errors(optimum)
    widths = np.hypot.reduce(axes, axis=1) * objective.coordinates.are_logarithms
    if widths.max() > _WIDE:
        aside = np.eye(len(widths))[widths.argmax()] * [[1.0], [-1.0]]
        message = _at_infinity(objective, optimum.w, aside[objective.values(optimum.w + aside).argmax()])
        return dataclasses.replace(optimum, message=message)
    drops, moves = drops_around(objective.values, optimum.w, optimum.value, axes)
    drops = objective.total_weight * drops
    if drops.min() < _LEAST_DROP:
        message = _at_infinity(objective, optimum.w, moves[drops.argmin()])
        return dataclasses.replace(optimum, message=message)
    return optimum


def _reason(objective, w, step, leaps):
    """Why a climb found no maximum, in words; None if it is not known."""
    if leaps >= _LEAPS:
        return _at_infinity(objective, w, step)
    direction = step / max(np.abs(step).max(), 1e-300)
    if rises_along(objective.values, w, direction, _NOISE):  # as far as e^16 times a scale
        return _at_infinity(objective, w, step)
    near = objective.values(w + np.array([16.0, *1e-10 * np.arange(1, 8)])[:, None] * direction)
    if not np.all(np.isfinite(near)):  # an edge of the support may be as near
        return None
    noise = objective.total_weight * np.ptp(near[1:])
    if noise > _LEAST_DROP:
        return f"rounding errors of {noise:.1g} nats in the log-likelihood hide its maximum: it is too flat for float64"
    return None


def _at_infinity(objective, w, direction):
    fastest = np.argmax(np.abs(direction) / (1 + np.abs(w)))
    far = w.copy()
    far[fastest] += _INFINITY * np.sign(direction[fastest])
    before, after = (objective.natural(tf.constant(point)) for point in (w, far))
    changes = {n: np.ravel(np.abs(after[n] - before[n]) / np.maximum(np.abs(before[n]), 1e-300)) for n in before}
    name = max(changes, key=lambda n: changes[n].max())
    limit, now = (np.ravel(values[name])[changes[name].argmax()] for values in (after, before))
    infinite = abs(limit) > 1e100 or abs(limit - now) > _INFINITY / 2  # a real number goes as far as its coordinate
    bound = "0" if abs(limit) < 1e-100 else f"{limit:.3g}"
    unbound = "infinity" if limit > 0 else "-infinity"
    limit = unbound if infinite else bound
    return f"no finite maximum: the log-likelihood goes on rising as `{name}` goes to {limit}"


def _all_finite(*parts):
    return all(np.all(np.isfinite(part)) for part in parts)
