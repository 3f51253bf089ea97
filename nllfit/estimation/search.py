"""Searches for the maximum of a likelihood: chooses the starts, and the parameters to hold at corners."""

import dataclasses
import functools

import numpy as np

from nllfit.estimation.delta_method import Fit, higher, rise
from nllfit.estimation.nonsmooth import at_the_best_corner, corner_near, over_scattered_maxima
from nllfit.estimation.objective import Objective
from nllfit.estimation.problem import Problem
from nllfit.estimation.starts import starts
from nllfit.optimum.newton import Optimum, Verdict, climb, maximize, standard_axes

__all__ = ["search"]

# Starts are sorted, the most likely first. If the search from the first start fails, we try the starts in this slice.
_RETRIES = slice(5, 100, 40)
# If the likelihood may have several maxima, we search from each start in this slice.
_SPREAD = slice(0, 100, 10)
# If the log-likelihoods at the ends of two searches differ by less than this, in nats, the searches count as having
# reached the same maximum, or the same limit at infinity.
_TIE = 1e-3
# If the logarithm of a parameter has a standard error above `_WIDE`, we search for a second maximum. This search starts
# at a distance of `_BEYOND` standard errors from the first maximum.
_WIDE = 1.0
_BEYOND = 3.0
# A subsample of this size has nearly the same optimum as millions of observations. If there may be several maxima, the
# subsample is smaller, because we search from several starts.
_FEW = 20_000
_FEW_OF_SEVERAL = 2_000


def search(problem: Problem) -> Fit:
    """Maximises the likelihood of a problem.

    The problem of the returned `Fit` may differ from the given one. If the exact derivatives fail, it uses finite
    differences. If the likelihood has its maximum at a corner, it holds the parameter that has this corner.
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
    """Returns the fit before `search` checks that all outcomes are in its support."""
    objective = problem.objective
    if not objective.coordinates.size:  # all estimates are statistics of the sample
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
    if corner and policy.has_corners is None:  # the likelihood has corners at all parameter values
        return at_the_best_corner(problem, corner, candidates[0], None)
    optimum = over_scattered_maxima(problem, _climbed(problem, few, candidates))
    optimum = _or_second_maximum(problem.objective, optimum)
    corner = corner_near(problem, optimum.w)
    return at_the_best_corner(problem, corner, optimum.w, optimum) if corner else Fit(problem, optimum)


def _climbed(problem: Problem, few: Objective, candidates: np.ndarray) -> Optimum:
    """Searches with a subsample, then continues from its optimum with all observations."""
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
    """Returns the optimum from the first candidate. If it did not converge, tries a few later candidates as well."""
    best = maximize(objective, candidates[0])
    for start in candidates[_RETRIES]:
        if best.converged:
            break
        best = higher(objective, best, maximize(objective, start, steps=30))
    return best


def _from_several_starts(objective: Objective, candidates: np.ndarray, has_spikes: bool) -> Optimum:
    """Returns the highest optimum from several candidates. Its note says how many of them led to it.

    The likelihood of a mixture is unbounded when a component shrinks onto one outcome. A search that follows such a
    component does not converge. With `has_spikes`, searches that did not converge are ignored if another one converged.
    """
    ends = [maximize(objective, start) for start in candidates[_SPREAD]]
    if has_spikes and any(end.converged for end in ends):
        ends = [end for end in ends if end.converged]
    best = functools.reduce(functools.partial(higher, objective), ends)
    agreed = sum(abs(rise(objective, best, end)) < _TIE for end in ends)
    note = f"; {agreed} of {len(candidates[_SPREAD])} starts led to it, and none to a higher maximum"
    return dataclasses.replace(best, note=note)


def _or_second_maximum(objective: Objective, optimum: Optimum) -> Optimum:
    """Looks for a second maximum if the logarithm of a parameter has a large standard error. Returns the higher one.

    If another family is a limit of the family, as the InverseGaussian is of the NormalInverseGaussian, the likelihood
    often has a second, higher supremum near the limit. The valley between the maximum and this supremum is several
    standard errors away. So we also search from the two points at `_BEYOND` standard errors on either side.
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
