"""The search for the maximum of a problem's likelihood: where to begin, how often, and what to hold at a corner."""

import dataclasses
import functools

import numpy as np

from nllfit.estimation.newton import Optimum, climb, errors, maximize
from nllfit.estimation.objective import Objective
from nllfit.estimation.problem import Problem
from nllfit.estimation.starts import starts

__all__ = ["search"]

_RETRIES = slice(5, 100, 40)  # other starts, less and less likely, for when the best one led nowhere
_SPREAD = slice(0, 100, 10)  # starts, for when there may be several maxima
_TIE = 1e-3  # nats that two climbs to the same place, be it at infinity, may differ by
_LEAST = 1e-9  # nats that a turn at a corner must win, where rounding errors win 1e-11
_TURNS = 20  # of a corner and the smooth parameters, each of which raises the likelihood
_WIDE = 1.0  # standard error of a logarithm, from which on another maximum may lie beyond
_BEYOND = 3.0  # standard errors
_FEW = 20_000  # observations that bring Newton's method near the optimum of millions
_FEW_OF_SEVERAL = 2_000  # where it climbs several times


def search(problem: Problem) -> tuple[Problem, Optimum]:
    """The problem, with derivatives that can be trusted and what has to be held at a corner, and its maximum."""
    problem, optimum = _searched(problem)
    if {"low", "high"} & set(problem.family.parameter_names) and optimum.converged:
        optimum = _within_its_support(problem, optimum)
    return problem, dataclasses.replace(optimum, w=problem.unwound(optimum.w))


def _within_its_support(problem: Problem, optimum: Optimum) -> Optimum:
    """The optimum, which is none where TFP's density, unchecked, is a number for an outcome beyond the bounds."""
    try:
        problem.check_support(optimum.w)
    except ValueError as error:
        return dataclasses.replace(optimum, message=f"the search has left the support: {error}")
    return optimum


def _searched(problem: Problem) -> tuple[Problem, Optimum]:
    """What `search` finds, before it is seen whether it is in the support."""
    objective = problem.objective
    if not objective.coordinates.size:  # all parameters are statistics
        problem.check_support(np.zeros([0]))
        return problem, maximize(objective, np.zeros([0]))
    closed_form = problem.closed_form()
    if closed_form is not None:
        problem.check_support(closed_form)
        optimum = maximize(objective, closed_form)
        if optimum.converged:
            return problem, optimum
    facts = problem.family.facts
    few = objective.sample(_FEW_OF_SEVERAL if facts.several_maxima else _FEW)
    candidates = starts(few)
    problem.check_support(candidates[0])
    if not few.is_differentiable(candidates[0]):
        problem, few = problem.by_differences(), few.by_differences()
    corner = problem.corner(candidates[0])
    if corner and facts.has_corners is None:  # whatever the others are
        return _cornered(problem, corner, candidates[0], None)
    if facts.several_maxima:
        optimum = _from_several_starts(few, candidates, has_spikes=bool(problem.family.component_shape))
    else:
        optimum = _from_the_best_start(few, candidates)
    if len(few.y) < len(objective.y):
        full, w = problem.objective, optimum.w
        found = climb(full, w, optimum.rank) if optimum.converged else maximize(full, w)
        optimum = dataclasses.replace(found, note=optimum.note)
    optimum = _beyond(problem.objective, _scattered(problem, optimum))
    corner = problem.corner(optimum.w)
    return _cornered(problem, corner, optimum.w, optimum) if corner else (problem, optimum)


def _from_the_best_start(objective: Objective, candidates: np.ndarray) -> Optimum:
    """The end of a climb from the first candidate, or from a later one where that led nowhere."""
    best = maximize(objective, candidates[0])
    for start in candidates[_RETRIES]:
        if best.converged:
            break
        best = _higher(objective, best, maximize(objective, start, steps=30))
    return best


def _from_several_starts(objective: Objective, candidates: np.ndarray, has_spikes: bool) -> Optimum:
    """The highest end of climbs from several candidates, with a note of how many came to it.

    Where the likelihood has spikes, as that of a mixture as a component shrinks onto one outcome, it is the highest
    maximum that is none.
    """
    ends = [maximize(objective, start) for start in candidates[_SPREAD]]
    if has_spikes and any(end.converged for end in ends):
        ends = [end for end in ends if end.converged]
    best = functools.reduce(functools.partial(_higher, objective), ends)
    agreed = sum(abs(_rise(objective, best, end)) < _TIE for end in ends)
    note = f"; {agreed} of {len(candidates[_SPREAD])} starts led to it, and none to a higher maximum"
    return dataclasses.replace(best, note=note)


def _beyond(objective: Objective, optimum: Optimum) -> Optimum:
    """The highest of a maximum and the ends of climbs from beyond it, if a positive parameter has a wide error.

    A family that has another for its limit often has a second, higher supremum there, as a NormalInverseGaussian on its
    way to an InverseGaussian; the valley between them is several standard errors from the maximum.
    """
    if not optimum.converged or not optimum.rank:
        return optimum
    axes = errors(optimum)
    widths = np.hypot.reduce(axes, axis=1) * objective.coordinates.are_logarithms
    widest = widths.argmax()
    if widths[widest] < _WIDE:
        return optimum
    move = _BEYOND * (axes @ axes[widest]) / widths[widest]
    ends = [maximize(objective, optimum.w + side * move) for side in (1, -1)]
    return functools.reduce(functools.partial(_higher, objective), ends, optimum)


def _scattered(problem: Problem, optimum: Optimum) -> Optimum:
    """The highest maximum over the places of a parameter in which there may be one between any two observations."""
    for _ in range(_TURNS):
        ends = [maximize(problem.objective, start, steps=30) for start in problem.elsewhere(optimum.w)]
        best = functools.reduce(functools.partial(_higher, problem.objective), ends, optimum)
        if _rise(problem.objective, optimum, best) <= _TIE:
            break
        optimum = best
    return optimum


def _higher(objective: Objective, one: Optimum, other: Optimum) -> Optimum:
    """The higher of two ends of climbs; of two at one height, the one that is a maximum."""
    least = -_TIE if other.converged and not one.converged else _TIE
    return other if _rise(objective, one, other) > least else one


def _rise(objective: Objective, one: Optimum, other: Optimum) -> float:
    """By how many nats the other is higher; both may be -inf."""
    return 0.0 if other.value == one.value else objective.total_weight * (other.value - one.value)


def _cornered(problem: Problem, name: str, w: np.ndarray, smooth: Optimum | None) -> tuple[Problem, Optimum]:
    """The problem with a parameter held where the likelihood has its maximum at a corner, and its optimum.

    That parameter and the smooth ones take turns until the likelihood rises no more.

    Args:
      problem: with all parameters free.
      name: the parameter in which the likelihood has corners.
      w: where to begin.
      smooth: the optimum of the problem, if it was looked for.
    """
    natural = problem.natural(w)
    best = (problem, smooth) if smooth and smooth.converged else None
    for _ in range(_TURNS):
        corners = problem.held_at_corners(name, natural)
        ends = [(corner, maximize(corner.objective, corner.coordinates_of(natural))) for corner in corners]
        end = max(ends, key=lambda end: end[1].value)
        if best and _rise(problem.objective, best[1], end[1]) <= _LEAST:
            break
        best, natural = end, end[0].natural(end[1].w)
    return best or (problem, maximize(problem.objective, w))
