"""Searches for the lowest point of a loss surface: by L-BFGS for many weights, by Newton's method for few.

The gain of a Newton step is the decrease of the loss that the gradient and the Hessian predict for the step. Near the
optimum, where the loss is quadratic, the gain is the difference between the loss and its minimum. The search ends when
the gain is at most a rounding error, or the given tolerance. The gain does not depend on the units of weights and
outcomes.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from nllfit.optimum.backtracking import backtrack
from nllfit.optimum.corners import lowest_at_corners
from nllfit.optimum.curvature import Axes, axes_of, points_nearby
from nllfit.training.loss_surface import Surface

__all__ = ["Found", "search"]

# Up to this number of weights, a search begins with Newton's method and uses L-BFGS only if Newton's method gets stuck,
# because Newton's method is faster for a nearly quadratic loss. With more weights, a search begins with L-BFGS.
_MOST_WEIGHTS_FOR_ONLY_NEWTON = 200
# With more than this number of weights, a search computes no Hessian and uses only L-BFGS.
_MOST_WEIGHTS_FOR_A_HESSIAN = 2000
# The number of L-BFGS steps between two checks. The progress bar is updated only at a check. If the number of rows
# times the number of weights is at least `_HEAVY`, steps are slow, so checks are ten times as frequent.
_STEPS_BETWEEN_CHECKS = 100
_HEAVY = 1e8
# A Newton step is poor if the loss falls by less than `_POOR_SHARE` times `Found.gain`, although an element of the
# gradient is larger than `_ROUGH_GRADIENT`. After `_POOR_STEPS` successive poor steps, L-BFGS takes over, unless there
# are so few weights that a Newton step is cheap.
_POOR_SHARE = 0.25
_POOR_STEPS = 3
# When no element of the gradient is larger than this, L-BFGS ends and Newton's method begins.
_ROUGH_GRADIENT = 1e-6
# The gain, relative to `1 + abs(loss)`, at which L-BFGS ends if no `tolerance` is given.
_CONVERGED_GAIN = 1e-10
# A leap is a Newton step times `_LEAP_FACTOR`. If there is a minimum nearby, the leap goes past it, and the loss is
# higher after the leap than after the step. If the loss is never higher after the leap in `_MAX_LEAPS` successive
# comparisons, and the gain falls only slowly, the optimum is at infinity.
_LEAP_FACTOR = 8.0
_MAX_LEAPS = 5
# If two losses differ by less than this, relative to `1 + abs(loss)`, the later weights are kept.
_RELATIVE_TIE = 1e-8
# If `Found.noise` is larger than this, relative to `1 + abs(loss)`, the optimum is lost in rounding errors.
_HIDING_NOISE = 1e-5
_MAX_POLISHING_STEPS = 10
# If a Newton step gains nothing, the weights may be at a saddle point of the loss. So the search also tries to move by
# these multiples of each axis of negative curvature.
_STEPS_ASIDE = np.array([1.0, -1.0, 0.1, -0.1])
# From a saddle point, a move by `t` times an axis of curvature -1 lowers the loss by about `t^2 / 2`. A decrease below
# this share of `t^2 / 2` counts as a rounding error. Rounding errors of the loss can be large after a move along a long
# axis, because the weights then become large.
_LEAST_SHARE_OF_FALL = 1e-4


@dataclasses.dataclass(frozen=True)
class Found:
    """The state of a search after a step, or its result.

    Attributes:
      w: the weights, `[p]`.
      value: the loss at `w`.
      iterations: the number of steps taken.
      end: why the search ended:
        "optimum": the gain is at most a rounding error or the tolerance;
        "infinity": the loss keeps falling as the weights grow;
        "exact": the optimum needs more digits than the weights have;
        "zero": each step seems to divide the loss by about the same factor, without an optimum nearby. The gain
          is then too small to change `start - value`, but it is above `noise` and above 1/16 of the previous gain;
        "stuck": no lower loss was found;
        "cut short": `max_iterations` steps were taken;
        "out of time": `max_seconds` have passed.
      gain: the amount by which a Newton step would lower a quadratic loss with the same gradient and Hessian.
      noise: the size of `gain` that rounding errors of the weights and the gradient can cause at the optimum. After
        L-BFGS, it is the gain at which L-BFGS ends.
      start: the loss at the start of the search.
      rounding_change: the change of the loss when the last digit of the weights changes.
      axes: the axes of the Hessian at `w`, or None.
      num_corners: the number of weights that are 0 at a corner of the loss. An L1 penalty has such corners.
      rounded: weights rounded to the model's dtype, with the lowest loss of all rounded weights so far.
      loss: the loss at `rounded`.
    """

    w: np.ndarray
    value: float
    iterations: int
    end: str
    gain: float
    noise: float
    start: float
    rounded: np.ndarray
    loss: float
    rounding_change: float = 0.0
    axes: Axes | None = None
    num_corners: int = 0

    def at(self, surface: Surface, w: np.ndarray, value: float, **changes: Any) -> "Found":
        """Returns a copy with the weights `w`, the loss `value` and other changes.

        Let `r` be `w`, rounded to the model's dtype. If the loss at `r` is lower than `self.loss`, or equal within
        `_RELATIVE_TIE`, the `rounded` weights of the copy are `r`. Otherwise they are `self.rounded`.
        """
        found = dataclasses.replace(self, w=w, value=value, **changes)
        rounded = surface.rounded(w)
        loss = value if np.array_equal(rounded, w) else surface.value(rounded)
        tie = _RELATIVE_TIE * (1 + abs(loss))
        return dataclasses.replace(found, rounded=rounded, loss=loss) if loss < self.loss + tie else found


def search(surface: Surface, w: np.ndarray, max_iterations: int, tolerance: float | None) -> Iterator[Found]:
    """Searches for the lowest point near weights `[p]`. Yields the state at each check, and finally the result.

    There is a check at the start, after each Newton step, and after each block of L-BFGS steps.

    Args:
      surface: the loss.
      w: the weights to start at, `[p]`.
      max_iterations: the maximum number of steps.
      tolerance: the gain at which the search ends; None to search until the gain is lost in rounding errors.
    """
    value = surface.value(w)
    found = Found(w, value, 0, "cut short", gain=np.inf, noise=0.0, start=value, rounded=w, loss=value)
    yield found
    if len(w) > _MOST_WEIGHTS_FOR_ONLY_NEWTON:
        found = yield from _lbfgs(surface, found, max_iterations, tolerance)
    while len(w) <= _MOST_WEIGHTS_FOR_A_HESSIAN:
        found = yield from _newton(surface, found, max_iterations, tolerance)
        if found.end != "stuck":
            break
        # Newton's method was stuck, because the loss has kinks or is far from quadratic. On such a loss, a step of
        # L-BFGS lowers the loss about as much as a Newton step does, and needs no Hessian.
        limit = min(max_iterations, found.iterations + _STEPS_BETWEEN_CHECKS)
        further = yield from _lbfgs(surface, found, limit, tolerance)
        if not further.value < found.value - found.noise:
            break
        found = further
    yield _at_corners(surface, found) if found.end == "stuck" and len(w) <= _MOST_WEIGHTS_FOR_A_HESSIAN else found


def _at_corners(surface, found):
    """Returns the optimum at a corner, where an L1 penalty makes weights 0, or `found` if there is no corner nearby."""
    lowest = lowest_at_corners(surface.value_and_gradient, surface.curvature, found.w)
    if lowest is None:
        return found
    w, is_zero, value, gain = lowest
    return found.at(surface, w, value, end="optimum", gain=gain, num_corners=int(is_zero.sum()))


def _lbfgs(surface, found, max_iterations, tolerance):
    """Yields the result of L-BFGS after each block of steps. Returns the last result."""
    newton_follows, iterations = len(found.w) <= _MOST_WEIGHTS_FOR_A_HESSIAN, found.iterations
    block_size = _STEPS_BETWEEN_CHECKS if surface.num_rows * len(found.w) < _HEAVY else _STEPS_BETWEEN_CHECKS // 10
    while True:
        steps = min(block_size, max_iterations - iterations)
        try:
            result, taken = surface.descend(found.w, _ROUGH_GRADIENT if newton_follows else 0.0, steps)
            if taken > 1 and not np.all(np.isfinite(result.position)):
                # In its last step, TFP divided by the change of the gradient. This change is 0 where the loss is
                # linear, as a mean absolute error is. So we repeat the descent without its last step.
                steps = taken - 1
                result, taken = surface.descend(found.w, _ROUGH_GRADIENT if newton_follows else 0.0, steps)
        except tf.errors.InvalidArgumentError:  # a head raises an error for parameters that make an outcome impossible
            return dataclasses.replace(found, iterations=iterations, end="stuck")
        iterations += taken
        w, value = result.position.numpy().astype(np.float64), float(result.objective_value)
        if not np.all(np.isfinite(w)):
            return dataclasses.replace(found, iterations=iterations, end="stuck")
        gain = _quasi_gain(
            *(t.numpy() for t in (result.objective_gradient, result.position_deltas, result.gradient_deltas))
        )
        limit = max(
            4 * surface.eps * abs(value), _CONVERGED_GAIN * (1 + abs(value)) if tolerance is None else tolerance
        )
        end = "optimum" if gain <= limit else "stuck" if result.failed or taken < steps else "cut short"
        found = found.at(
            surface, w, value, iterations=iterations, end=end, gain=gain, noise=limit, rounding_change=0.0, axes=None
        )
        yield found
        if end != "cut short" or iterations >= max_iterations:
            return found


def _quasi_gain(gradient, moves, changes):
    """Returns the `gain` for L-BFGS's approximation of the Hessian.

    The method is Nocedal's two-loop recursion. `moves` are the last steps, and `changes` are the changes of the
    gradient in these steps.
    """
    pairs = [(s, y, s @ y) for s, y in zip(moves[::-1], changes[::-1], strict=True) if s @ y > 0]
    if not pairs:
        return np.inf
    direction, coefficients = gradient, []
    for s, y, product in pairs:
        coefficients.append(s @ direction / product)
        direction = direction - coefficients[-1] * y
    s, y, product = pairs[0]
    direction = direction * product / (y @ y)
    for (s, y, product), coefficient in zip(pairs[::-1], coefficients[::-1], strict=True):
        direction = direction + (coefficient - y @ direction / product) * s
    return float(gradient @ direction) / 2


def _newton(surface, found, max_iterations, tolerance):
    """Yields the result of Newton's method after each step. Returns the last result."""
    w, num_leaps, num_poor, last_gain = found.w, 0, 0, np.inf
    value, gradient = surface.value_and_gradient(w)
    for iterations in range(found.iterations, max_iterations + 1):
        nearby = points_nearby(w, surface.eps)
        try:
            axes = axes_of(surface.curvature, w, nearby, surface.curvature_eps)
        except np.linalg.LinAlgError:  # the Hessian is not finite
            return found.at(surface, w, value, iterations=iterations, end="stuck")
        axis_gradient = axes.directions.T @ gradient
        step, gain = -axes.directions @ axis_gradient, float(axis_gradient @ axis_gradient) / 2
        noise, change = _noise(surface, nearby[0], value, gradient, axes)
        found = found.at(surface, w, value, iterations=iterations, end="cut short", gain=gain, axes=axes)
        found = dataclasses.replace(found, noise=noise, rounding_change=change)
        yield found
        if (end := _end(surface, found, num_leaps, last_gain)) is not None:
            return dataclasses.replace(found, end=end)
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
        is_poor = value + reached < _POOR_SHARE * gain and np.abs(gradient).max() > _ROUGH_GRADIENT
        num_poor = num_poor + 1 if is_poor else 0
        if num_poor == _POOR_STEPS and _POOR_STEPS * len(w) > _STEPS_BETWEEN_CHECKS:
            return dataclasses.replace(found, end="stuck")
        is_slow = last_gain / 16 < gain < 1 / (2 * surface.num_rows) and scale == 1
        num_leaps = num_leaps + 1 if is_slow and surface.value(w + _LEAP_FACTOR * step) <= -reached else 0
        w, last_gain = w + scale * step, gain
        value, gradient = surface.value_and_gradient(w)
    return found


def _end(surface, found, num_leaps, previous):
    """Returns the `end` of a search that cannot reach an optimum, or None if the search continues.

    `previous` is the gain one step earlier.
    """
    hiding_noise = _HIDING_NOISE * (1 + abs(found.value))
    if num_leaps == _MAX_LEAPS:
        return "infinity"
    if found.gain <= found.noise and found.noise > hiding_noise:
        return "exact" if found.rounding_change > hiding_noise else "stuck"
    return "zero" if max(previous / 16, found.noise) < found.gain <= surface.eps * (found.start - found.value) else None


def _polished(surface, found, gradient):
    """Returns the optimum after more steps with the same Hessian.

    The gain is the predicted decrease of the loss by the next step. A step is kept if it more than halves the gain. The
    search ends at the first step that is not kept, or after `_MAX_POLISHING_STEPS` steps.
    """
    for _ in range(_MAX_POLISHING_STEPS):
        w = found.w - found.axes.directions @ (found.axes.directions.T @ gradient)
        value, gradient = surface.value_and_gradient(w)
        axis_gradient = found.axes.directions.T @ gradient
        gain = float(axis_gradient @ axis_gradient) / 2
        if not gain < found.gain / 2:
            return found
        found = found.at(surface, w, value, gain=gain)
    return found


def _noise(surface, nearby, value, gradient, axes):
    """Returns the `noise` and the `rounding_change` of `Found`.

    `value` and `gradient` are the loss and its gradient at the current weights. `nearby` are weights that differ
    from the current weights in the last digit.
    """
    nearby_value, nearby_gradient = surface.value_and_gradient(nearby)
    axis_change = axes.directions.T @ (nearby_gradient - gradient)
    rounding_change = abs(nearby_value - value)
    return max(4 * surface.eps * abs(value), rounding_change, 2 * float(axis_change @ axis_change)), rounding_change


def _lower_aside(surface, found):
    """Tries points on both sides of `found.w`, along each axis of negative curvature. Returns the lowest of all points.

    Returns None if no point has a clearly lower loss than `found.w`.
    """
    downwards = found.axes.directions[:, found.axes.curvatures < 0]
    moves = (downwards[:, :, None] * _STEPS_ASIDE).reshape(len(found.w), -1).T
    values = np.array([surface.value(found.w + move) for move in moves])
    expected_falls = np.tile(_STEPS_ASIDE**2 / 2, downwards.shape[1])
    are_lower = values < found.value - np.maximum(found.noise, _LEAST_SHARE_OF_FALL * expected_falls)
    return found.w + moves[np.argmin(np.where(are_lower, values, np.inf))] if are_lower.any() else None
