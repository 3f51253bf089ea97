"""Names the coefficients that go to infinity, to explain why a regression has no finite maximum."""

import itertools
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from nllfit.optimum.curvature import newton_step
from nllfit.regression.coefficient_derivatives import numbers_of
from nllfit.regression.coefficient_search import Objective
from nllfit.regression.designs import INTERCEPT
from nllfit.regression.family_and_main_parameter import CUTPOINTS, natural_values

__all__ = ["reason"]

# A long move changes the coefficients so that some linear predictor ends at least this far from 0. A link such as `exp`
# has then practically reached its limit: `exp(-30)` is 1e-13.
_FAR = 30.0
# If all curvatures of the log-likelihood are above this number, in nats per squared unit of a linear predictor, no
# coefficient goes to infinity.
_LEAST_CURVATURE = 1e-3
# The message names a coefficient if its contribution to a long move is at least this fraction of the largest
# contribution of any coefficient.
_LEAST_PART = 0.1
_MOST_NAMES = 4  # the maximum number of coefficients that the message names
# If the value of a parameter after a long move is closer to 0 than this number, the message gives the limit as 0. If
# the value is farther from 0 than the inverse of this number, the message gives the limit as infinity or -infinity.
_NEAR_0 = 1e-6


def reason(
    objective: Objective, coefficients: np.ndarray, names: Sequence[Sequence[str]], tolerance: float
) -> str | None:
    """Returns a sentence that says which coefficients go to infinity, or None if none does.

    A coefficient goes to infinity if a long move does not lower the log-likelihood and the opposite move does. At a
    maximum, both moves lower it, so the result is None. The moves are straight lines in the coordinates of
    `_Coordinates`.

    Args:
      objective: the negative log-likelihood.
      coefficients: the coefficients at the end of the search, `[q]`.
      names: the names of the coefficients of each linear predictor.
      tolerance: after a long move, a log-likelihood that is lower by at most this number of nats counts as not lower.
    """
    gradient, information = objective.local(coefficients)
    if not np.isfinite(information).all():
        return None
    curvatures, axes = np.linalg.eigh(information)
    if curvatures.min() > _LEAST_CURVATURE:
        return None
    coordinates = _Coordinates(objective)
    start, highest_loss = coordinates.of(coefficients), objective.value(coefficients) + tolerance
    numbers = numbers_of(objective.predictors, objective.designs, start)
    weak = curvatures < _LEAST_CURVATURE
    # Even the smallest curvatures are accurate, because each is a sum of positive terms.
    newton, _ = newton_step(axes[:, weak], curvatures[weak], -gradient, flat=np.finfo(float).tiny)
    newton = coordinates.direction(coefficients, objective.basis[1] @ newton)
    # The single coordinates come first, because a move along one of them is the easiest to describe. If several
    # coordinates go to infinity together, the Newton step leads to infinity. Close to the limit of the log-likelihood,
    # rounding errors hide the slope, so the Newton step has no use. But the coordinates are then already large, so
    # `start` itself is a direction to infinity.
    for direction in filter(np.any, [*np.eye(len(start)), newton, start]):
        direction = direction / np.abs(direction).max()
        change = np.abs(numbers_of(objective.predictors, objective.designs, start + direction) - numbers).max(0)
        # The move and the opposite move take a linear predictor of some row to opposite sides of 0, each time to a
        # distance of at least `_FAR`.
        changing = change > 0
        move = direction * np.min((_FAR + 2 * np.abs(numbers).max(0)[changing]) / change[changing])
        losses = [objective.value(coordinates.coefficients(start + sign * move)) for sign in (1, -1)]
        is_flat, is_flat_back = (loss <= highest_loss for loss in losses)
        if is_flat != is_flat_back:
            move = move if is_flat else -move
            return _sentence(objective, coordinates.coefficients(start + move), move, names)
    return None


class _Coordinates:
    """Replaces the coefficients of the cutpoints of ordered classes by the cutpoints themselves.

    The coefficients are the first cutpoint and the logarithms of the distances between cutpoints. If a linear predictor
    separates the classes, the likelihood rises when the predictor and all cutpoints are multiplied by the same growing
    factor. This move is a straight line for the cutpoints, but not for the logarithms.
    """

    def __init__(self, objective: Objective):
        self._family, self._place, self._indices, end = objective.family, slice(0), [], 0
        for predictor, (matrix, _) in zip(objective.predictors, objective.designs, strict=True):
            end += predictor.free * matrix.shape[1]
            if predictor.parameter == CUTPOINTS and predictor.is_constant:
                self._place, self._indices = slice(end - predictor.free, end), [*predictor.indices]

    def of(self, coefficients: np.ndarray) -> np.ndarray:
        """Returns the coordinates `[q]` of coefficients `[q]`."""
        return self._replaced(coefficients, lambda part: self._family.parameters(self._vector(part))[CUTPOINTS])

    def direction(self, coefficients: np.ndarray, direction: np.ndarray) -> np.ndarray:
        """Converts a direction of the coefficients to a direction of the coordinates."""
        return self._replaced(direction, lambda part: self._derivative(coefficients[self._place], part))

    def coefficients(self, coordinates: np.ndarray) -> np.ndarray:
        """Returns the coefficients `[q]` at coordinates `[q]`. They are NaN if the cutpoints do not increase."""

        def unconstrained(cutpoints):
            parameters = self._family.parameters(tf.zeros([self._family.params_size], tf.float64))
            return self._family.unconstrained(parameters | {CUTPOINTS: cutpoints}).numpy()[self._indices]

        return self._replaced(coordinates, unconstrained)

    def _vector(self, part):
        vector = np.zeros(self._family.params_size)
        vector[self._indices] = part
        return tf.constant(vector)

    def _derivative(self, part, direction):
        vector = self._vector(part)
        with tf.autodiff.ForwardAccumulator(vector, self._vector(direction)) as accumulator:
            cutpoints = self._family.parameters(vector)[CUTPOINTS]
        return accumulator.jvp(cutpoints).numpy()

    def _replaced(self, array, change):
        if not self._indices:  # the family has no cutpoints, or they have a formula
            return array
        array = array.copy()
        array[self._place] = change(array[self._place])
        return array


def _sentence(objective, coefficients, move, names):
    """Returns the sentence for a `move` of the coordinates. `coefficients` are the coefficients after the move."""
    blocks = zip(objective.predictors, objective.designs, names, strict=True)
    owners = [
        (predictor, place, name, np.abs(column).max())
        for predictor, (matrix, _), block in blocks
        for place, (name, column) in enumerate(zip(block, itertools.cycle(matrix.T), strict=False))
    ]
    parts = np.abs(move) * [largest for *_, largest in owners]
    moving = np.flatnonzero(parts >= _LEAST_PART * parts.max())
    ends = []
    for index in moving[:_MOST_NAMES]:
        predictor, place, name, _ = owners[index]
        end = (
            _limit(objective, coefficients, predictor, place)
            if predictor.is_constant and predictor.parameter != CUTPOINTS
            else _infinity(move[index])
        )
        ends.append(f"`{name}` goes to {end}")
    limits = " and ".join(ends) + " ..." * (len(moving) > _MOST_NAMES)
    movers = [owners[index] for index in moving]
    if all(predictor.is_constant for predictor, *_ in movers):
        advice = "hold the parameter at a value, or choose a family without it"
    elif [name for _, _, name, _ in movers] == [INTERCEPT]:
        advice = "all outcomes are at the same end (0, one class, or censored), so give rows with other outcomes"
    else:
        advice = (
            "these columns separate rows whose outcomes are all 0, of one class, or censored from the other rows, so "
            "drop the columns, or merge their levels"
        )
    return f"no finite maximum: the log-likelihood goes on rising as {limits}: {advice}"


def _infinity(sign):
    return "infinity" if sign > 0 else "-infinity"


def _limit(objective, coefficients, predictor, place):
    """Returns, as text, the limit of a parameter that has no formula, such as "0" or "infinity".

    The limit is the value of the parameter for `coefficients`, the coefficients after a long move.
    """
    numbers = tf.constant(numbers_of(objective.predictors, objective.designs, coefficients)[0])
    natural_name, _ = objective.family.twin(predictor.parameter)
    value = np.ravel(natural_values(objective.family, numbers)[natural_name])[place]
    if abs(value) > 1 / _NEAR_0:
        return _infinity(value)
    return "0" if abs(value) < _NEAR_0 else f"{value:.3g}"
