"""Searches for the maximum of a likelihood. The likelihood may not be smooth at the maximum."""

import dataclasses
import functools

import numpy as np

from nllfit.estimation.delta_method import Fit, higher, rise
from nllfit.estimation.nonsmooth import at_the_best_corner, corner_near, over_scattered_maxima
from nllfit.estimation.objective import Objective
from nllfit.estimation.problem import Problem
from nllfit.estimation.starts import starts
from nllfit.optimum.newton import climb, maximize, standard_axes
from nllfit.optimum.optimum_and_verdict import Optimum, Verdict

__all__ = ["search"]

# The starts are sorted by their likelihoods, the highest first. If the search from the first start fails, we try the
# starts in this slice.
_RETRIES = slice(5, 100, 40)
# If the likelihood may have several maxima, we search from each start in this slice.
_STARTS_FOR_SEVERAL_MAXIMA = slice(0, 100, 10)
# If the final log-likelihoods of two searches differ by less than this, in nats, the searches count as having reached
# the same maximum, or the same limit at infinity.
_TIE = 1e-3
# If the logarithm of a parameter has a standard error above `_WIDE`, we search for a second maximum. This search starts
# at a distance of `_RESTART_DISTANCE` standard errors from the first maximum.
_WIDE = 1.0
_RESTART_DISTANCE = 3.0
# A subsample of this size has nearly the same optimum as millions of observations. If there may be several maxima, the
# subsample is smaller, because we search from several starts.
_SUBSAMPLE_SIZE = 20_000
_SUBSAMPLE_SIZE_FOR_SEVERAL_MAXIMA = 2_000


def search(problem: Problem) -> Fit:
    """Maximises the likelihood of a problem.

    The problem of the returned `Fit` may differ from the argument `problem`. If TensorFlow's automatic derivatives are
    missing, wrong or slow to trace, the returned problem uses finite differences. A corner of the likelihood is a
    point where its slope in one parameter jumps. If the maximum is at a corner, the returned problem holds this
    parameter fixed at its estimate.
    """
    fit = _fit_without_support_check(problem)
    optimum = fit.optimum
    if {"low", "high"} & set(fit.problem.family.parameter_names) and optimum.converged:
        # The search runs without `validate_args`. TFP's density may then be positive for an outcome beyond the bounds.
        outside = fit.problem.outside_support(optimum.w)
        if outside:
            optimum = dataclasses.replace(optimum, verdict=Verdict.OUTSIDE, note=f": {outside}")
    return Fit(fit.problem, dataclasses.replace(optimum, w=fit.problem.with_principal_angle(optimum.w)))


def _fit_without_support_check(problem: Problem) -> Fit:
    """Maximises the likelihood, but does not check that all outcomes are in the support of the fit."""
    objective = problem.objective
    if not objective.coordinates.size:  # each parameter is a statistic, such as the sample's minimum
        problem.check_support(np.zeros([0]))
        return Fit(problem, maximize(objective, np.zeros([0])))
    closed_form = problem.closed_form()
    if closed_form is not None:
        problem.check_support(closed_form)
        optimum = maximize(objective, closed_form)
        if optimum.converged:
            return Fit(problem, optimum)
    policy = problem.family.search
    subsample = objective.sample(_SUBSAMPLE_SIZE_FOR_SEVERAL_MAXIMA if policy.several_maxima else _SUBSAMPLE_SIZE)
    candidates = starts(subsample)
    problem.check_support(candidates[0])
    if not subsample.is_differentiable(candidates[0]):
        problem, subsample = problem.by_differences(), subsample.by_differences()
    corner = corner_near(problem, candidates[0])
    if corner and policy.has_corners is None:  # `None`: corners exist at all parameter values
        return at_the_best_corner(problem, corner, candidates[0], None)
    optimum = over_scattered_maxima(problem, _climbed(problem, subsample, candidates))
    optimum = _or_second_maximum(problem.objective, optimum)
    corner = corner_near(problem, optimum.w)
    return at_the_best_corner(problem, corner, optimum.w, optimum) if corner else Fit(problem, optimum)


def _climbed(problem: Problem, subsample: Objective, candidates: np.ndarray) -> Optimum:
    """Searches with a subsample, then continues from its optimum with all observations."""
    if problem.family.search.several_maxima:
        optimum = _from_several_starts(subsample, candidates, has_spikes=bool(problem.family.component_shape))
    else:
        optimum = _from_the_best_start(subsample, candidates)
    full = problem.objective
    if len(subsample.y) == len(full.y):
        return optimum
    refined = climb(full, optimum.w, optimum.rank) if optimum.converged else maximize(full, optimum.w)
    return dataclasses.replace(refined, note=optimum.note)


def _from_the_best_start(objective: Objective, candidates: np.ndarray) -> Optimum:
    """Searches from one candidate after another, and returns the highest optimum.

    The searches end when the highest optimum so far has converged.
    """
    best = maximize(objective, candidates[0])
    for start in candidates[_RETRIES]:
        if best.converged:
            break
        best = higher(objective, best, maximize(objective, start, steps=30))
    return best


def _from_several_starts(objective: Objective, candidates: np.ndarray, has_spikes: bool) -> Optimum:
    """Searches from several candidates and returns the highest optimum.

    The note of the optimum says how many candidates led to it.

    The likelihood of a mixture has spikes: it is unbounded when a component shrinks onto one outcome. A search that
    follows such a component does not converge. With `has_spikes`, searches that did not converge are therefore ignored
    if at least one search converged.
    """
    optima = [maximize(objective, start) for start in candidates[_STARTS_FOR_SEVERAL_MAXIMA]]
    if has_spikes and any(optimum.converged for optimum in optima):
        optima = [optimum for optimum in optima if optimum.converged]
    best = functools.reduce(functools.partial(higher, objective), optima)
    agreed = sum(abs(rise(objective, best, optimum)) < _TIE for optimum in optima)
    note = f"; {agreed} of {len(candidates[_STARTS_FOR_SEVERAL_MAXIMA])} starts led to it, and none to a higher maximum"
    return dataclasses.replace(best, note=note)


def _or_second_maximum(objective: Objective, optimum: Optimum) -> Optimum:
    """Looks for a second maximum if the logarithm of a parameter has a large standard error. Returns the higher one.

    Some families have another family as a limit: the InverseGaussian is a limit of the NormalInverseGaussian. The
    likelihood then often has a local maximum, and higher values near the limit. A valley separates these values from
    the local maximum, at a distance of several standard errors. So we also search from two points that are
    `_RESTART_DISTANCE` standard errors from the local maximum, one on each side.
    """
    if not optimum.converged or not optimum.rank:
        return optimum
    axes = standard_axes(optimum)
    standard_errors = np.hypot.reduce(axes, axis=1) * objective.are_logarithms
    widest = standard_errors.argmax()
    if standard_errors[widest] < _WIDE:
        return optimum
    move = _RESTART_DISTANCE * (axes @ axes[widest]) / standard_errors[widest]
    optima = [maximize(objective, optimum.w + side * move) for side in (1, -1)]
    return functools.reduce(functools.partial(higher, objective), optima, optimum)
