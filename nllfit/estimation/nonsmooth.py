"""Likelihoods for which Newton's method is not enough: likelihoods with corners or with many local maxima.

At a corner, the slope of the likelihood jumps. The likelihood of a Laplace has a corner in `loc` at each observation.
We hold `loc` at an observation and maximise over the other parameters. The likelihood of a Cauchy with a small scale
has a local maximum near each observation. We repeat the search from the highest of these maxima.
"""

import functools

import numpy as np

from nllfit.estimation.delta_method import Fit, higher, rise
from nllfit.estimation.problem import Problem
from nllfit.families.parameters import Numbers
from nllfit.optimum.newton import maximize
from nllfit.optimum.optimum_and_verdict import Optimum

__all__ = ["at_the_best_corner", "corner_near", "over_scattered_maxima"]

# `_held_at_corners` may fix a bound of the support just outside the sample. Its distance from the sample is this share
# of the sample's range. At distance 0, TFP's density would be NaN.
_GAP = 1e-12
# The maximum number of log-densities that `_peaks` computes on its grid: one for each pair of a parameter value and an
# observation.
_MOST_LOG_DENSITIES = 4e6
# The likelihood has a corner wherever the parameter equals an observation. We try two groups of observations, each of
# this size: the observations closest to the parameter's present value, and observations that are evenly spaced in the
# sorted sample.
_OBSERVATIONS = 50
# The number of best corners, and the number of highest maxima on a grid, from which full searches start.
_KEPT_CORNERS, _KEPT_MAXIMA = 3, 5
# The maximum number of iterations of `at_the_best_corner` and of `over_scattered_maxima`.
_MAX_ITERATIONS = 20
# `at_the_best_corner` ends if an iteration raises the log-likelihood by at most this, in nats. Rounding errors are
# about 1e-11.
_LEAST_GAIN = 1e-9
# `over_scattered_maxima` ends if an iteration raises the log-likelihood by at most this, in nats. The final
# log-likelihoods of two searches that reach the same maximum may differ by this.
_TIE = 1e-3


def corner_near(problem: Problem, w: np.ndarray) -> str | None:
    """Returns the name of the parameter in which the likelihood has corners near `w`, or None if there are none."""
    policy, family = problem.family.search, problem.family
    if policy.corner not in family.parameter_names or not len(family.exact_outcomes(problem.y)):
        return None
    has_corners = policy.has_corners is None or policy.has_corners({**family.fixed, **problem.natural(w)})
    return policy.corner if has_corners else None


def at_the_best_corner(problem: Problem, name: str, w: np.ndarray, smooth: Optimum | None) -> Fit:
    """Returns the fit with one parameter held at the corner of highest likelihood.

    Two steps alternate, until the likelihood no longer rises: choose the best corners for this parameter, and maximise
    over the other parameters.

    Args:
      problem: the problem with all parameters free.
      name: the parameter in which the likelihood has corners.
      w: the start.
      smooth: the optimum found by Newton's method, or None. It is returned if all corners have lower likelihoods.
    """
    natural = problem.natural(w)
    best = Fit(problem, smooth) if smooth and smooth.converged else None
    # If `smooth` and the best corner have the same log-likelihood, Newton's method has ended at this corner. We then
    # return the fit in which the parameter is held at the corner, so it has no standard error. The standard error of
    # `smooth` would be wrong, because it would come from the curvature at the corner. Therefore the first iteration
    # accepts a corner with the same log-likelihood as `smooth`.
    least_rise = -_LEAST_GAIN
    for _ in range(_MAX_ITERATIONS):
        corners = _held_at_corners(problem, name, natural)
        fits = [Fit(corner, maximize(corner.objective, corner.coordinates_of(natural))) for corner in corners]
        fit = max(fits, key=lambda fit: fit.optimum.value)
        if best and rise(problem.objective, best.optimum, fit.optimum) <= least_rise:
            break
        best, natural, least_rise = fit, fit.natural, _LEAST_GAIN
    return best or Fit(problem, maximize(problem.objective, w))


def over_scattered_maxima(problem: Problem, optimum: Optimum) -> Optimum:
    """Looks for local maxima that are higher than `optimum`. Returns the highest one, or `optimum` if there is none.

    The searches start at different values of the parameter `SearchPolicy.scattered`. In this parameter, the likelihood
    may have a maximum near any observation.
    """
    for _ in range(_MAX_ITERATIONS):
        optima = [maximize(problem.objective, start, steps=30) for start in _peaks(problem, optimum.w)]
        best = functools.reduce(functools.partial(higher, problem.objective), optima, optimum)
        if rise(problem.objective, optimum, best) <= _TIE:
            break
        optimum = best
    return optimum


def _held_at_corners(problem: Problem, name: str, natural: Numbers) -> list[Problem]:
    """Returns problems. Each holds the parameter `name` at one of the observations for which the likelihood is highest.

    The candidates are the observations nearest to the parameter's present value, and observations that are spread over
    the sample. We compute the likelihood with the parameter at each candidate, and keep the best candidates.

    If an outcome has several elements, there is one more problem, in which each element of the parameter is held at the
    best candidate for this element. If the lower bound of the support is a parameter of the family, there is
    one more problem, in which the parameter `name` is held at the smallest observation, and the lower bound just below
    this observation. The same applies to the upper bound and the largest observation.
    """
    family = problem.family
    observations = family.exact_outcomes(problem.y)
    nearest = np.argsort(np.abs(observations - natural[name]), axis=0)[:_OBSERVATIONS]
    evenly_spaced = np.sort(observations, axis=0)[np.linspace(0, len(observations) - 1, _OBSERVATIONS).astype(int)]
    candidates = np.unique(np.concatenate([np.take_along_axis(observations, nearest, 0), evenly_spaced]), axis=0)
    values = problem.objective.values(_coordinates_along(problem, name, natural, candidates))
    held = [{name: candidates[row]} for row in np.argsort(-values)[:_KEPT_CORNERS]]
    if candidates[0].size > 1:
        held.append({name: _by_element(problem, name, natural, candidates)})
    for bound, row, outside in zip(family.search.bounds, (0, -1), (-1, 1), strict=False):
        if bound in family.parameter_names:
            bound_value = candidates[row] + outside * _GAP * np.ptp(observations, axis=0)
            held.append({name: candidates[row], bound: bound_value})
    return [problem.with_held(values) for values in held]


def _by_element(problem: Problem, name: str, natural: Numbers, candidates: np.ndarray) -> np.ndarray:
    """Returns, for each element of the corner parameter, the candidate for which the likelihood is highest.

    `candidates` are observations `[m, *elements]`. The elements of an outcome are independent. So we vary one element
    of the parameter at a time, while all other elements have their values in `natural`.
    """
    columns, center = candidates.reshape(len(candidates), -1), np.ravel(natural[name])
    elements = np.arange(len(center))
    trial_values = np.tile(center, [*columns.shape, 1])
    trial_values[:, elements, elements] = columns
    values = problem.objective.values(
        _coordinates_along(problem, name, natural, trial_values.reshape(-1, *candidates.shape[1:]))
    )
    best = values.reshape(columns.shape).argmax(0)
    return columns[best, elements].reshape(candidates.shape[1:])


def _peaks(problem: Problem, w: np.ndarray) -> np.ndarray:
    """Returns the coordinates `[s, p]` of the highest local maxima of the log-likelihood on a grid.

    The grid consists of values of one parameter, which `SearchPolicy.scattered` names. These values are the
    observations and the midpoints between neighbours, or only a part of them if there are too many. All other
    parameters have their values at `w`.
    """
    name = problem.family.search.scattered
    if name not in problem.family.parameter_names or problem.family.event_shape:
        return np.zeros([0, len(w)])
    y = np.unique(problem.y)
    grid = np.sort(np.concatenate([y, (y[1:] + y[:-1]) / 2]))
    count = max(50, int(_MOST_LOG_DENSITIES / len(problem.objective.y)))
    if len(grid) > count:
        grid = grid[np.linspace(0, len(grid) - 1, count).astype(int)]
    natural = problem.natural(w)
    grid = np.sort(np.append(grid, natural[name]))
    coordinates = _coordinates_along(problem, name, natural, grid)
    values = problem.objective.values(coordinates)
    left, right = np.r_[-np.inf, values[:-1]], np.r_[values[1:], -np.inf]
    peaks = np.flatnonzero((values >= left) & (values >= right) & (grid != natural[name]))
    return coordinates[peaks[np.argsort(-values[peaks])][:_KEPT_MAXIMA]]


def _coordinates_along(problem: Problem, name: str, natural: Numbers, values: np.ndarray) -> np.ndarray:
    """Returns the coordinates `[s, p]` of `s` points, which differ only in the parameter `name`.

    This parameter takes the values `values`, `[s, ...]`. All other parameters have their values in `natural`.
    """
    parameters = {n: np.broadcast_to(value, [len(values), *np.shape(value)]) for n, value in natural.items()}
    return problem.coordinates_of(parameters | {name: values})
