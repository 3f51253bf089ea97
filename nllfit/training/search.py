"""The search for the lowest point of a surface: L-BFGS where the weights are many, Newton's method where they are few.

Nothing is judged in the units of a weight or of an outcome. A step of Newton's method is as long as the way to the
optimum, and what it would gain is what the loss lacks: the search ends where that is less than the rounding error.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from nllfit.optimum.curvature import Axes, axes_of, backtrack
from nllfit.training.loss_surface import Surface

__all__ = ["Found", "search"]

_FEW = 200  # weights, for which Newton's method alone is the fastest
_SOME = 2000  # whose Hessian is quickly written down
_ROUND = 100  # steps of L-BFGS, after which it is seen what they have come to
_ROUGH = 1e-6  # gradient from which Newton's method goes on
_GAIN = 1e-10  # of L-BFGS alone, at an optimum, for a loss of 1
_LEAP = 8.0  # steps of Newton's method at once, after which the loss has risen unless it goes on falling for ever
_LEAPS = 5  # in a row
_SAME = 1e-8  # difference of losses of 1, of which the later is as good
_HIDDEN = 1e-5  # noise, for a loss of 1, that hides where the optimum is
_POLISHES = 10
_ASIDE = np.array([1.0, -1.0, 0.1, -0.1])  # steps along an axis on which the loss bends downwards


@dataclasses.dataclass(frozen=True)
class Found:
    """Where the search ended.

    Attributes:
      w: the weights, `[p]`.
      value: the loss there.
      iterations: steps taken.
      end: "optimum", "infinity", "exact", where the last digit of the weights counts, "stuck" or "cut short".
      gain: by how much a step of Newton's method would lower the loss if it were quadratic.
      noise: as much of that as rounding errors of weights and gradient make up.
      shaken: how much the loss changes with the last digit of the weights.
      axes: of the Hessian there, or None.
      rounded, loss: the weights seen that are the best when they are rounded to the model's dtype, and the loss there.
    """

    w: np.ndarray
    value: float
    iterations: int
    end: str
    gain: float
    noise: float
    rounded: np.ndarray
    loss: float
    shaken: float = 0.0
    axes: Axes | None = None

    def at(self, surface: Surface, w: np.ndarray, value: float, **changes: Any) -> "Found":
        """The same at other weights."""
        found = dataclasses.replace(self, w=w, value=value, **changes)
        rounded = surface.rounded(w)
        loss = value if np.array_equal(rounded, w) else surface.value(rounded)
        same = _SAME * (1 + abs(loss))
        return dataclasses.replace(found, rounded=rounded, loss=loss) if loss < self.loss + same else found


def search(surface: Surface, w: np.ndarray, max_iterations: int, tolerance: float | None) -> Iterator[Found]:
    """Searches for the lowest point near weights `[p]`; yields what is found after each step, and last the end.

    Args:
      surface: the loss.
      w: the start.
      max_iterations: the most steps.
      tolerance: the gain that counts as none; None for what rounding errors allow.
    """
    value = surface.value(w)
    found = Found(w, value, 0, "cut short", np.inf, 0.0, w, value)
    yield found
    if len(w) > _FEW:
        found = yield from _lbfgs(surface, found, max_iterations, tolerance)
    while len(w) <= _SOME:
        found = yield from _newton(surface, found, max_iterations, tolerance)
        if found.end != "stuck":
            break
        further = yield from _lbfgs(surface, found, max_iterations, tolerance)  # where the loss has corners, say
        if not further.value < found.value - found.noise:
            break
        found = further
    yield found


def _lbfgs(surface, found, max_iterations, tolerance):
    """Yields what L-BFGS has found after some steps, and returns the end; its Hessian says what a step would gain."""
    goes_on, iterations = len(found.w) <= _SOME, found.iterations
    while True:
        steps = min(_ROUND, max_iterations - iterations)
        try:
            result, taken = surface.descend(found.w, _ROUGH if goes_on else 0.0, steps)
        except tf.errors.InvalidArgumentError:  # a head refuses parameters under which an outcome cannot be
            return dataclasses.replace(found, iterations=iterations, end="stuck")
        iterations += taken
        w, value = result.position.numpy().astype(np.float64), float(result.objective_value)
        if not np.all(np.isfinite(w)):
            return dataclasses.replace(found, iterations=iterations, end="stuck")
        gain = _quasi_gain(
            *(t.numpy() for t in (result.objective_gradient, result.position_deltas, result.gradient_deltas))
        )
        least = max(4 * surface.eps * abs(value), _GAIN * (1 + abs(value)) if tolerance is None else tolerance)
        end = "optimum" if gain <= least else "stuck" if result.failed or taken < steps else "cut short"
        found = found.at(
            surface, w, value, iterations=iterations, end=end, gain=gain, noise=least, shaken=0.0, axes=None
        )
        yield found
        if end != "cut short" or iterations >= max_iterations:
            return found


def _quasi_gain(gradient, moves, changes):
    """What a step of L-BFGS would gain: the two loops of Nocedal over the moves and the changes of the gradient."""
    kept = [(s, y, s @ y) for s, y in zip(moves[::-1], changes[::-1], strict=True) if s @ y > 0]
    if not kept:
        return np.inf
    direction, shares = gradient, []
    for s, y, product in kept:
        shares.append(s @ direction / product)
        direction = direction - shares[-1] * y
    s, y, product = kept[0]
    direction = direction * product / (y @ y)
    for (s, y, product), share in zip(kept[::-1], shares[::-1], strict=True):
        direction = direction + (share - y @ direction / product) * s
    return float(gradient @ direction) / 2


def _newton(surface, found, max_iterations, tolerance):
    """Yields what Newton's method has found after each step, and returns the end."""
    w, leaps, last = found.w, 0, np.inf
    value, gradient = surface.value_and_gradient(w)
    for iterations in range(found.iterations, max_iterations + 1):
        away = w * (1 + 2 * surface.eps * np.resize([1, -1], len(w)))
        try:
            axes = axes_of(surface.curvature, w, away, surface.curvature_eps)
        except np.linalg.LinAlgError:  # it is not finite
            return dataclasses.replace(found, w=w, value=value, iterations=iterations, end="stuck")
        slopes = axes.directions.T @ gradient
        step, gain = -axes.directions @ slopes, float(slopes @ slopes) / 2
        noise, shaken = _noise(surface, away, value, gradient, axes)
        found = found.at(
            surface, w, value, iterations=iterations, end="cut short", gain=gain, noise=noise, shaken=shaken, axes=axes
        )
        yield found
        if leaps == _LEAPS:
            return dataclasses.replace(found, end="infinity")
        if gain <= noise and noise > _HIDDEN * (1 + abs(value)):
            return dataclasses.replace(found, end="exact" if shaken > _HIDDEN * (1 + abs(value)) else "stuck")
        if gain <= max(noise, tolerance or 0.0):
            w = _lower_aside(surface, found)
            if w is None:
                return _polished(surface, dataclasses.replace(found, end="optimum"), gradient)
            value, gradient = surface.value_and_gradient(w)
            continue
        if iterations == max_iterations:
            return found
        scale, reached = backtrack(lambda w: -surface.value(w), w, step, -value, 2 * gain, noise)
        if not scale:
            return dataclasses.replace(found, end="stuck")
        slow = last / 16 < gain < 1 / (2 * surface.num_rows) and scale == 1
        leaps = leaps + 1 if slow and surface.value(w + _LEAP * step) <= -reached else 0
        w, last = w + scale * step, gain
        value, gradient = surface.value_and_gradient(w)
    return found


def _polished(surface, found, gradient):
    """The same optimum, as near as further steps with the same Hessian come."""
    for _ in range(_POLISHES):
        w = found.w - found.axes.directions @ (found.axes.directions.T @ gradient)
        value, gradient = surface.value_and_gradient(w)
        slopes = found.axes.directions.T @ gradient
        gain = float(slopes @ slopes) / 2
        if not gain < found.gain / 2:
            return found
        found = found.at(surface, w, value, gain=gain)
    return found


def _noise(surface, away, value, gradient, axes):
    """What of a gain is made up by rounding errors, and of the loss: as weights a digit away show it."""
    other, turned = surface.value_and_gradient(away)
    slopes = axes.directions.T @ (turned - gradient)
    shaken = abs(other - value)
    return max(4 * surface.eps * abs(value), shaken, 2 * float(slopes @ slopes)), shaken


def _lower_aside(surface, found):
    """The lowest weights to either side of the axes along which the loss bends downwards; None if none is lower."""
    downwards = found.axes.directions[:, found.axes.bends < 0]
    moves = (downwards[:, :, None] * _ASIDE).reshape(len(found.w), -1).T
    values = np.array([surface.value(found.w + move) for move in moves])
    if not np.any(values < found.value - found.noise):
        return None
    return found.w + moves[np.nanargmin(values)]
