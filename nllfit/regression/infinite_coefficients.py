"""Names the coefficients that go to infinity, to explain why a regression has no finite maximum."""

import itertools
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from nllfit.regression.coefficient_derivatives import numbers_of
from nllfit.regression.coefficient_search import Objective
from nllfit.regression.family_and_main_parameter import natural_values

__all__ = ["reason"]

# A long move changes the coefficients so that some linear predictor ends at least this far from 0. A link such as `exp`
# has then practically reached its limit: `exp(-30)` is 1e-13.
_FAR = 30.0
# The message names a coefficient if its contribution to a long move is at least this fraction of the largest
# contribution of any coefficient.
_LEAST_PART = 0.1
_MOST_NAMES = 4  # the maximum number of coefficients that the message names
# After a long move, a log-likelihood that is lower by at most this number of nats counts as not lower. The direction of
# the move is not exact, because the search ended before infinity.
_TOLERANCE = 0.1
# If the value of a parameter after a long move is closer to 0 than this number, the message gives the limit as 0. If
# the value is farther from 0 than the inverse of this number, the message gives the limit as infinity or -infinity.
_NEAR_0 = 1e-6


def reason(objective: Objective, coefficients: np.ndarray, names: Sequence[Sequence[str]]) -> str | None:
    """Returns a sentence that says which coefficients go to infinity, or None if none does.

    The function tries the axes of the information, beginning with the smallest absolute curvature. It takes the first
    axis that leads to infinity: after a long move along the axis, the log-likelihood is not lower, but after the
    opposite move, it is lower.

    Args:
      objective: the negative log-likelihood.
      coefficients: the coefficients at the end of the search, `[q]`.
      names: the names of the coefficients of each linear predictor.
    """
    _, information = objective.local(coefficients)
    if not np.isfinite(information).all():
        return None
    curvatures, axes = np.linalg.eigh(information)
    numbers = numbers_of(objective.predictors, objective.designs, coefficients)
    highest_loss = objective.value(coefficients) + _TOLERANCE
    for direction in (objective.basis[1] @ axes[:, np.argsort(np.abs(curvatures))]).T:
        change = numbers_of(objective.predictors, objective.designs, coefficients + direction) - numbers
        # Consider the linear predictor that changes most. Because of the factor 2, it ends on one side of 0 after the
        # move and on the other side after the opposite move, each time at a distance of at least `_FAR`.
        move = direction * (_FAR + 2 * np.abs(numbers).max()) / np.abs(change).max()
        is_flat, is_flat_back = (objective.value(coefficients + sign * move) <= highest_loss for sign in (1, -1))
        if is_flat != is_flat_back:
            return _sentence(objective, coefficients, move if is_flat else -move, names)
    return None


def _sentence(objective, coefficients, move, names):
    blocks = zip(objective.predictors, objective.designs, names, strict=True)
    owners = [
        (predictor, place, name, np.abs(column).max())
        for predictor, (matrix, _), block in blocks
        for place, (name, column) in enumerate(zip(block, itertools.cycle(matrix.T), strict=False))
    ]
    parts = np.abs(move) * [largest for *_, largest in owners]
    moving = np.flatnonzero(parts >= _LEAST_PART * parts.max())
    predictor, place, name, _ = owners[moving[0]]
    if len(moving) == 1 and predictor.is_constant:
        limits = f"`{name}` goes to {_limit(objective, coefficients + move, predictor, place)}"
        advice = "hold the parameter at a value, or choose a family without it"
    else:
        ends = [f"`{owners[i][2]}` goes to {'-' if move[i] < 0 else ''}infinity" for i in moving[:_MOST_NAMES]]
        limits = " and ".join(ends) + " ..." * (len(moving) > _MOST_NAMES)
        advice = (
            "these columns separate rows whose outcomes are all 0, of one class, or censored from the other rows, so "
            "drop the columns, or merge their levels"
        )
    return f"no finite maximum: the log-likelihood goes on rising as {limits}: {advice}"


def _limit(objective, coefficients, predictor, place):
    """Returns, as text, the limit of a parameter that has no formula, such as "0" or "infinity".

    The limit is the value of the parameter for `coefficients`, the coefficients after a long move.
    """
    numbers = tf.constant(numbers_of(objective.predictors, objective.designs, coefficients)[0])
    natural_name, _ = objective.family.twin(predictor.parameter)
    value = np.ravel(natural_values(objective.family, numbers)[natural_name])[place]
    if abs(value) > 1 / _NEAR_0:
        return "infinity" if value > 0 else "-infinity"
    return "0" if abs(value) < _NEAR_0 else f"{value:.3g}"
