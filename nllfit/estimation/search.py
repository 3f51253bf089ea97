"""The search for the maximum of a problem's likelihood: where to begin, how often, and what to hold at a corner."""

import dataclasses
import functools

import numpy as np

from nllfit.estimation.fit import Fit, higher, rise
from nllfit.estimation.nonsmooth import at_the_best_corner, corner_near, over_scattered_maxima
from nllfit.estimation.objective import Objective
from nllfit.estimation.problem import Problem
from nllfit.estimation.starts import starts
from nllfit.optimum.newton import Optimum, Verdict, climb, errors, maximize

__all__ = ["search"]

_RETRIES = slice(5, 100, 40)  # other starts, less and less likely, for when the best one led nowhere
_SPREAD = slice(0, 100, 10)  # starts, for when there may be several maxima
_TIE = 1e-3  # nats that two climbs to the same place, be it at infinity, may differ by
_WIDE = 1.0  # standard error of a logarithm, from which on another maximum may lie beyond
_BEYOND = 3.0  # standard errors
_FEW = 20_000  # observations that bring Newton's method near the optimum of millions
_FEW_OF_SEVERAL = 2_000  # where it climbs several times


def search(problem: Problem) -> Fit:
    """The problem, with derivatives that can be trusted and what has to be held at a corner, and its maximum."""
    fit = _searched(problem)
    optimum = fit.optimum
    if {"low", "high"} & set(fit.problem.family.parameter_names) and optimum.converged:
        # TFP's density, unchecked, may be a number for an outcome beyond the bounds.
        outside = fit.problem.outside_support(optimum.w)
        if outside:
            optimum = dataclasses.replace(optimum, verdict=Verdict.OUTSIDE, note=f": {outside}")
    return Fit(fit.problem, dataclasses.replace(optimum, w=fit.problem.unwound(optimum.w)))


def _searched(problem: Problem) -> Fit:
    """What `search` finds, before it is seen whether it is in the support."""
    objective = problem.objective
    if not objective.coordinates.size:  # all parameters are statistics
        problem.check_support(np.zeros([0]))
        return Fit(problem, maximize(objective, np.zeros([0])))
    closed_form = problem.closed_form()
    if closed_form is not None:
        problem.check_support(closed_form)
        optimum = maximize(objective, closed_form)
        if optimum.converged:
            return Fit(problem, optimum)
    facts = problem.family.facts
    few = objective.sample(_FEW_OF_SEVERAL if facts.several_maxima else _FEW)
    candidates = starts(few)
    problem.check_support(candidates[0])
    if not few.is_differentiable(candidates[0]):
        problem, few = problem.by_differences(), few.by_differences()
    corner = corner_near(problem, candidates[0])
    if corner and facts.has_corners is None:  # whatever the others are
        return at_the_best_corner(problem, corner, candidates[0], None)
    optimum = over_scattered_maxima(problem, _climbed(problem, few, candidates))
    optimum = _beyond(problem.objective, optimum)
    corner = corner_near(problem, optimum.w)
    return at_the_best_corner(problem, corner, optimum.w, optimum) if corner else Fit(problem, optimum)


def _climbed(problem: Problem, few: Objective, candidates: np.ndarray) -> Optimum:
    """The maximum that climbs over a few observations lead to, finished over all of them."""
    if problem.family.facts.several_maxima:
        optimum = _from_several_starts(few, candidates, has_spikes=bool(problem.family.component_shape))
    else:
        optimum = _from_the_best_start(few, candidates)
    full = problem.objective
    if len(few.y) == len(full.y):
        return optimum
    found = climb(full, optimum.w, optimum.rank) if optimum.converged else maximize(full, optimum.w)
    return dataclasses.replace(found, note=optimum.note)


def _from_the_best_start(objective: Objective, candidates: np.ndarray) -> Optimum:
    """The end of a climb from the first candidate, or from a later one where that led nowhere."""
    best = maximize(objective, candidates[0])
    for start in candidates[_RETRIES]:
        if best.converged:
            break
        best = higher(objective, best, maximize(objective, start, steps=30))
    return best


def _from_several_starts(objective: Objective, candidates: np.ndarray, has_spikes: bool) -> Optimum:
    """The highest end of climbs from several candidates, with a note of how many came to it.

    Where the likelihood has spikes, as that of a mixture as a component shrinks onto one outcome, it is the highest
    maximum that is none.
    """
    ends = [maximize(objective, start) for start in candidates[_SPREAD]]
    if has_spikes and any(end.converged for end in ends):
        ends = [end for end in ends if end.converged]
    best = functools.reduce(functools.partial(higher, objective), ends)
    agreed = sum(abs(rise(objective, best, end)) < _TIE for end in ends)
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
    widths = np.hypot.reduce(axes, axis=1) * objective.are_logarithms
    widest = widths.argmax()
    if widths[widest] < _WIDE:
        return optimum
    move = _BEYOND * (axes @ axes[widest]) / widths[widest]
    ends = [maximize(objective, optimum.w + side * move) for side in (1, -1)]
    return functools.reduce(functools.partial(higher, objective), ends, optimum)
