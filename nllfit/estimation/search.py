"""The search for the maximum of a likelihood: from which starts, and with which parameters held at corners."""

import dataclasses
import functools

import numpy as np

from nllfit.estimation.nonsmooth import at_the_best_corner, corner_near, over_scattered_maxima
from nllfit.estimation.objective import Objective
from nllfit.estimation.problem import Problem
from nllfit.estimation.sample_fit import Fit, higher, rise
from nllfit.estimation.starts import starts
from nllfit.optimum.newton import Optimum, Verdict, climb, maximize, standard_axes

__all__ = ["search"]

_RETRIES = slice(5, 100, 40)  # less likely starts, tried if the best one did not converge
_SPREAD = slice(0, 100, 10)  # starts of a likelihood that may have several maxima
_TIE = 1e-3  # two climbs to the same maximum, or to the same limit at infinity, may differ by this many nats
_WIDE = 1.0  # if the logarithm of a parameter has a larger standard error, we look for a second maximum
_BEYOND = 3.0  # standard errors from a maximum, at which the search for a second maximum starts
_FEW = 20_000  # a subsample of so many observations has nearly the same optimum as millions
_FEW_OF_SEVERAL = 2_000  # the size of the subsample if there may be several maxima, because each start costs a climb


def search(problem: Problem) -> Fit:
    """Maximises the likelihood of a problem.

    The problem of the returned `Fit` may differ from the given one: its derivatives are differences if exact ones fail,
    and a parameter in which the likelihood has its maximum at a corner is held there.
    """
    fit = _searched(problem)
    optimum = fit.optimum
    if {"low", "high"} & set(fit.problem.family.parameter_names) and optimum.converged:
        # Without `validate_args`, TFP's density may be positive for an outcome beyond the bounds.
        outside = fit.problem.outside_support(optimum.w)
        if outside:
            optimum = dataclasses.replace(optimum, verdict=Verdict.OUTSIDE, note=f": {outside}")
    return Fit(fit.problem, dataclasses.replace(optimum, w=fit.problem.with_principal_angle(optimum.w)))


def _searched(problem: Problem) -> Fit:
    """The fit before `search` checks that all outcomes are in its support."""
    objective = problem.objective
    if not objective.coordinates.size:  # all parameters are held at statistics of the sample
        problem.check_support(np.zeros([0]))
        return Fit(problem, maximize(objective, np.zeros([0])))
    closed_form = problem.closed_form()
    if closed_form is not None:
        problem.check_support(closed_form)
        optimum = maximize(objective, closed_form)
        if optimum.converged:
            return Fit(problem, optimum)
    policy = problem.family.search
    few = objective.sample(_FEW_OF_SEVERAL if policy.several_maxima else _FEW)
    candidates = starts(few)
    problem.check_support(candidates[0])
    if not few.is_differentiable(candidates[0]):
        problem, few = problem.by_differences(), few.by_differences()
    corner = corner_near(problem, candidates[0])
    if corner and policy.has_corners is None:  # corners at all values of the other parameters
        return at_the_best_corner(problem, corner, candidates[0], None)
    optimum = over_scattered_maxima(problem, _climbed(problem, few, candidates))
    optimum = _or_second_maximum(problem.objective, optimum)
    corner = corner_near(problem, optimum.w)
    return at_the_best_corner(problem, corner, optimum.w, optimum) if corner else Fit(problem, optimum)


def _climbed(problem: Problem, few: Objective, candidates: np.ndarray) -> Optimum:
    """Searches with a few observations, then finishes with all of them."""
    if problem.family.search.several_maxima:
        optimum = _from_several_starts(few, candidates, has_spikes=bool(problem.family.component_shape))
    else:
        optimum = _from_the_best_start(few, candidates)
    full = problem.objective
    if len(few.y) == len(full.y):
        return optimum
    found = climb(full, optimum.w, optimum.rank) if optimum.converged else maximize(full, optimum.w)
    return dataclasses.replace(found, note=optimum.note)


def _from_the_best_start(objective: Objective, candidates: np.ndarray) -> Optimum:
    """The optimum from the first candidate; if it did not converge, the best optimum from a few later candidates."""
    best = maximize(objective, candidates[0])
    for start in candidates[_RETRIES]:
        if best.converged:
            break
        best = higher(objective, best, maximize(objective, start, steps=30))
    return best


def _from_several_starts(objective: Objective, candidates: np.ndarray, has_spikes: bool) -> Optimum:
    """The highest optimum from several candidates, with a note of how many starts led to it.

    The likelihood of a mixture is unbounded when a component shrinks onto one outcome. With `has_spikes`, such climbs,
    which do not converge, are ignored if any other converged.
    """
    ends = [maximize(objective, start) for start in candidates[_SPREAD]]
    if has_spikes and any(end.converged for end in ends):
        ends = [end for end in ends if end.converged]
    best = functools.reduce(functools.partial(higher, objective), ends)
    agreed = sum(abs(rise(objective, best, end)) < _TIE for end in ends)
    note = f"; {agreed} of {len(candidates[_SPREAD])} starts led to it, and none to a higher maximum"
    return dataclasses.replace(best, note=note)


def _or_second_maximum(objective: Objective, optimum: Optimum) -> Optimum:
    """The higher of a maximum and a possible second one, if the logarithm of a parameter has a large standard error.

    If another family is a limit of the family, as the InverseGaussian is of the NormalInverseGaussian, the likelihood
    often has a second, higher supremum near the limit. The valley between the maximum and this supremum is several
    standard errors away. So we also search from points at a distance of `_BEYOND` standard errors, on either side.
    """
    if not optimum.converged or not optimum.rank:
        return optimum
    axes = standard_axes(optimum)
    widths = np.hypot.reduce(axes, axis=1) * objective.are_logarithms
    widest = widths.argmax()
    if widths[widest] < _WIDE:
        return optimum
    move = _BEYOND * (axes @ axes[widest]) / widths[widest]
    ends = [maximize(objective, optimum.w + side * move) for side in (1, -1)]
    return functools.reduce(functools.partial(higher, objective), ends, optimum)
