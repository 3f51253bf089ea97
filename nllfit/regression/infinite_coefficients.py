"""Names the coefficients that go to infinity, to explain why a regression has no finite maximum."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from nllfit.regression.coefficient_derivatives import numbers_of
from nllfit.regression.coefficient_search import Objective
from nllfit.regression.designs import INTERCEPT
from nllfit.regression.family_and_main_parameter import natural_values

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

    After a long move in the direction to infinity, the log-likelihood is not lower; after the opposite move, it is
    lower. So the result is None at a maximum.

    Args:
      objective: the negative log-likelihood.
      coefficients: the coefficients at the end of the search, `[q]`.
      names: the names of the coefficients of each linear predictor.
      tolerance: after a long move, a log-likelihood that is lower by at most this number of nats counts as not lower.
    """
    _, information = objective.local(coefficients)
    if not np.isfinite(information).all():
        return None
    curvatures, axes = np.linalg.eigh(information)
    if curvatures.min() > _LEAST_CURVATURE:
        return None
    numbers = numbers_of(objective.predictors, objective.designs, coefficients)
    highest_loss = objective.value(coefficients) + tolerance
    for direction in _directions(coefficients, objective.basis[1] @ axes[:, np.argsort(np.abs(curvatures))]):
        change = numbers_of(objective.predictors, objective.designs, coefficients + direction) - numbers
        # The linear predictor that changes most ends at least `_FAR` from 0 after the move and after the opposite move,
        # on opposite sides of 0.
        move = direction * (_FAR + 2 * np.abs(numbers).max()) / np.abs(change).max()
        with np.errstate(over="ignore"):
            losses = [objective.value(coefficients + sign * move) for sign in (1, -1)]
        is_flat, is_flat_back = (loss <= highest_loss for loss in losses)
        if is_flat != is_flat_back:
            return _sentence(objective, coefficients, move if is_flat else -move, names)
    return None


def _directions(coefficients: np.ndarray, axes: np.ndarray) -> Iterator[np.ndarray]:
    """Yields directions that may lead to infinity. The first ones are the easiest to describe.

    They are the single coefficients, the axes of the information, beginning with the smallest curvature, and the vector
    of all coefficients, which leads to infinity if a linear predictor separates the classes.
    """
    yield from np.eye(len(coefficients))
    yield from axes.T
    if coefficients.any():
        yield coefficients


def _sentence(objective, coefficients, move, names):
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
            _limit(objective, coefficients + move, predictor, place)
            if predictor.is_constant
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
    """Returns the limit of a parameter without a formula as text, such as "0" or "infinity".

    The limit is the value of the parameter for `coefficients`, the coefficients after a long move.
    """
    numbers = tf.constant(numbers_of(objective.predictors, objective.designs, coefficients)[0])
    natural_name, _ = objective.family.twin(predictor.parameter)
    value = np.ravel(natural_values(objective.family, numbers)[natural_name])[place]
    if abs(value) > 1 / _NEAR_0:
        return _infinity(value)
    return "0" if abs(value) < _NEAR_0 else f"{value:.3g}"
