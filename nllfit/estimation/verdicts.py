"""Says in words how a search ended: that it converged, or why it found no maximum."""

import numpy as np

from nllfit.estimation.objective import Objective
from nllfit.estimation.problem import Problem
from nllfit.families.law import elements_of
from nllfit.optimum.optimum_and_verdict import Optimum, Verdict

__all__ = ["in_words", "likely_cause", "remark"]

# A coordinate of this size counts as infinite, because `exp(700)` is near the largest float64.
_INFINITY = 700.0


def in_words(objective: Objective, optimum: Optimum) -> str:
    """Returns the phrase in `Estimate.message` that describes the search."""
    match optimum.verdict:
        case Verdict.MAXIMUM:
            return "converged"
        case Verdict.AT_INFINITY:
            return _limit(objective, optimum)
        case Verdict.HIDDEN:
            noise = f"{optimum.shortfall:.1g}"
            return f"rounding errors of {noise} nats in the log-likelihood hide its maximum: it is too flat for float64"
        case Verdict.FLAT:
            return "the information is not positive definite"
        case Verdict.NOT_FINITE:
            return "the log-likelihood or a derivative is not finite"
        case Verdict.STUCK:
            return "no step raises the log-likelihood"
        case Verdict.CUT_SHORT:
            return f"still {optimum.shortfall:.2g} standard errors from a maximum after the last step"
    return "the search has left the support"


def _limit(objective: Objective, optimum: Optimum) -> str:
    """Returns a phrase that names a parameter, and the limit that it approaches while the log-likelihood rises."""
    w, direction = optimum.w, optimum.direction
    by_change = np.argsort(-np.abs(direction) / (1 + np.abs(w)))
    single_moves = (np.eye(len(w)) * np.sign(direction))[by_change]
    # For each coordinate: whether the log-likelihood rises or stays equal if only this coordinate moves, by 1.
    rises = objective.values(w + single_moves) >= objective.value(w)
    fastest = by_change[np.argmax(rises)]
    far = w.copy()
    far[fastest] += _INFINITY * np.sign(direction[fastest])
    before, after = objective.natural(w), objective.natural(far)
    # We compare changes in orders of magnitude, so that a scale that goes to 0 outranks a skewness that doubles.
    orders = {name: np.log(np.maximum(np.abs([before[name], after[name]]), 1e-300)) for name in before}
    changes = {name: np.ravel(np.abs(orders[name][1] - orders[name][0])) for name in before}
    name = max(changes, key=lambda n: changes[n].max())
    limit, now = (np.ravel(values[name])[changes[name].argmax()] for values in (after, before))
    if np.isneginf(objective.value(far)) and not objective.are_logarithms[fastest]:
        return f"no maximum inside: the log-likelihood goes on rising as `{name}` approaches the end of the sample"
    # The second condition is for a parameter without bounds. Such a parameter equals its coordinate, so it moved by
    # `_INFINITY`.
    if abs(limit) > 1e100 or abs(limit - now) > _INFINITY / 2:
        bound = "infinity" if limit > 0 else "-infinity"
    else:
        bound = "0" if abs(limit) < 1e-100 else f"{limit:.3g}"
    return f"no finite maximum: the log-likelihood goes on rising as `{name}` goes to {bound}"


def remark(problem: Problem) -> str:
    """Returns a remark for a fit's message. It is empty, unless the family is circular and `y` looks like degrees."""
    if problem.family.search.circular and np.abs(problem.y).max() > 2 * np.pi:
        return f"; `y` holds {problem.y[np.abs(problem.y).argmax()]:.4g}, and its angles are treated as radians"
    return ""


def _open_intervals(problem):
    """Returns which intervals are open below, and which are open above, as boolean arrays `[n, ...]`.

    An interval is open if it reaches the end of the support. If the support depends on the parameters, only an
    interval with an infinite end counts as open.
    """
    lower, upper = problem.y[..., 0], problem.y[..., 1]
    if problem.family.search.corner or problem.family.search.kinks:  # the support depends on the parameters
        return np.isneginf(lower), np.isposinf(upper)
    low, high = map(
        np.asarray,
        elements_of(problem.distribution(np.zeros([problem.objective.coordinates.size]))).ends(),
    )
    return (lower < low) if problem.family.is_discrete else (lower <= low), upper >= high


def likely_cause(problem: Problem) -> str:
    """Returns a likely reason why Newton's method found no maximum, or an empty text if no reason is known.

    The fit's message ends with this text.
    """
    if problem.family.takes_infinity and any(np.all(one_sided) for one_sided in _open_intervals(problem)):
        return (
            "; all outcomes are censored on the same side, so the likelihood rises as the distribution moves to "
            "that side, and there is no maximum: give some exact outcomes"
        )
    if problem.family.search.kinks:
        return f"; the likelihood of a {problem.family.name} is not smooth"
    # If a value occurs several times in `y`, the density can concentrate at this value, and the likelihood may then
    # have no bound.
    values, counts = np.unique(problem.family.exact_outcomes(problem.y), axis=0, return_counts=True)
    if not problem.family.is_discrete and counts.max(initial=0) > 1:
        return f"; {values[counts.argmax()]} is {counts.max()} times in `y`, where the density may have no bound"
    return ""
