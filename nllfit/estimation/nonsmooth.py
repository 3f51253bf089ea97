"""Likelihoods for which Newton's method is not enough: likelihoods with corners or with many local maxima.

The likelihood of a Laplace has a corner in `loc` at each observation. We hold `loc` at an observation and maximise over
the other parameters. The likelihood of a Cauchy with a small scale has a local maximum near each observation. We repeat
the search from the highest of these maxima.
"""

import functools

import numpy as np

from nllfit.estimation.delta_method import Fit, higher, rise
from nllfit.estimation.problem import Problem
from nllfit.families.parameters import Numbers
from nllfit.optimum.newton import Optimum, maximize

__all__ = ["at_the_best_corner", "corner_near", "over_scattered_maxima"]

# The distance between the end of the sample and a bound of the support that is held just outside it, divided by the
# range of the sample. At distance 0, TFP's density is NaN.
_GAP = 1e-12
# The largest number of log-densities on the grid of `_peaks`: parameter values times observations.
_MOST_LOG_DENSITIES = 4e6
# The number of corners tried near the parameter's present value. The same number is tried across the whole sample.
_OBSERVATIONS = 50
# Full searches start from this many of the best corners, and from this many of the highest maxima on a grid.
_KEPT_CORNERS, _KEPT_MAXIMA = 3, 5
# The largest number of iterations of `at_the_best_corner` and of `over_scattered_maxima`.
_TURNS = 20
# `at_the_best_corner` ends if an iteration raises the log-likelihood by at most this, in nats. Rounding errors are
# about 1e-11.
_LEAST_GAIN = 1e-9
# `over_scattered_maxima` ends if an iteration raises the log-likelihood by at most this, in nats. Two searches that
# reach the same maximum may differ by this.
_TIE = 1e-3


def corner_near(problem: Problem, w: np.ndarray) -> str | None:
    """Returns the parameter in which the likelihood has corners near `w`, or None if it is smooth there."""
    policy, family = problem.family.search, problem.family
    if policy.corner not in family.parameter_names or not len(family.seen(problem.y)):
        return None
    near = policy.has_corners is None or policy.has_corners({**family.fixed, **problem.natural(w)})
    return policy.corner if near else None


def at_the_best_corner(problem: Problem, name: str, w: np.ndarray, smooth: Optimum | None) -> Fit:
    """Returns the fit with one parameter held at the corner of highest likelihood.

    Two steps alternate, until the likelihood no longer rises: choose the best corners for this parameter, and maximise
    over the other parameters.

    Args:
      problem: the problem with all parameters free.
      name: the parameter in which the likelihood has corners.
      w: the start.
      smooth: the optimum found by Newton's method, or None. It is the result if all corners are lower.
    """
    natural = problem.natural(w)
    best = Fit(problem, smooth) if smooth and smooth.converged else None
    # If the smooth optimum is only as high as the best corner, Newton's method has ended at this corner. We then return
    # the fit that holds the parameter there, because the curvature at a corner gives no standard errors.
    least = -_LEAST_GAIN
    for _ in range(_TURNS):
        corners = _held_at_corners(problem, name, natural)
        ends = [Fit(corner, maximize(corner.objective, corner.coordinates_of(natural))) for corner in corners]
        end = max(ends, key=lambda end: end.optimum.value)
        if best and rise(problem.objective, best.optimum, end.optimum) <= least:
            break
        best, natural, least = end, end.natural, _LEAST_GAIN
    return best or Fit(problem, maximize(problem.objective, w))


def over_scattered_maxima(problem: Problem, optimum: Optimum) -> Optimum:
    """Looks for local maxima that are higher than `optimum`. Returns the highest one, or `optimum` if there is none.

    The searches start at different values of the parameter `SearchPolicy.scattered`. In this parameter, the likelihood
    may have a maximum near any observation.
    """
    for _ in range(_TURNS):
        ends = [maximize(problem.objective, start, steps=30) for start in _peaks(problem, optimum.w)]
        best = functools.reduce(functools.partial(higher, problem.objective), ends, optimum)
        if rise(problem.objective, optimum, best) <= _TIE:
            break
        optimum = best
    return optimum


def _held_at_corners(problem: Problem, name: str, natural: Numbers) -> list[Problem]:
    """Returns problems that hold the corner parameter at one of the most likely observations.

    We try the observations nearest to the parameter's present value, and others that are spread over the sample. If the
    lower bound of the support is a parameter of the family, another problem holds the corner parameter at the smallest
    observation, and the lower bound just below this observation. The same applies to the upper bound and the largest
    observation. If an outcome has several elements, another problem holds each element at its most likely observation.
    """
    family = problem.family
    seen = family.seen(problem.y)
    nearest = np.argsort(np.abs(seen - natural[name]), axis=0)[:_OBSERVATIONS]
    all_over = np.sort(seen, axis=0)[np.linspace(0, len(seen) - 1, _OBSERVATIONS).astype(int)]
    observed = np.unique(np.concatenate([np.take_along_axis(seen, nearest, 0), all_over]), axis=0)
    values = problem.objective.values(_along(problem, name, natural, observed))
    held = [{name: observed[row]} for row in np.argsort(-values)[:_KEPT_CORNERS]]
    if observed[0].size > 1:
        held.append({name: _by_element(problem, name, natural, observed)})
    for bound, row, outside in zip(family.search.bounds, (0, -1), (-1, 1), strict=False):
        if bound in family.parameter_names:
            meets = observed[row] + outside * _GAP * np.ptp(seen, axis=0)
            held.append({name: observed[row], bound: meets})
    return [problem.with_held(values) for values in held]


def _by_element(problem: Problem, name: str, natural: Numbers, observed: np.ndarray) -> np.ndarray:
    """Returns, for each element of the corner parameter, the most likely of the observations `[m, *elements]`.

    The elements of an outcome are independent, so each one is varied while the others keep their values in `natural`.
    """
    columns, center = observed.reshape(len(observed), -1), np.ravel(natural[name])
    elements = np.arange(len(center))
    tried = np.tile(center, [*columns.shape, 1])
    tried[:, elements, elements] = columns
    values = problem.objective.values(_along(problem, name, natural, tried.reshape(-1, *observed.shape[1:])))
    best = values.reshape(columns.shape).argmax(0)
    return columns[best, elements].reshape(observed.shape[1:])


def _peaks(problem: Problem, w: np.ndarray) -> np.ndarray:
    """Returns the coordinates `[s, p]` of the highest local maxima on a grid of values of `SearchPolicy.scattered`.

    The grid consists of the observations and their midpoints. The other parameters have their values at `w`.
    """
    name = problem.family.search.scattered
    if name not in problem.family.parameter_names or problem.family.event_shape:
        return np.zeros([0, len(w)])
    y = np.unique(problem.y)
    places = np.sort(np.concatenate([y, (y[1:] + y[:-1]) / 2]))
    count = max(50, int(_MOST_LOG_DENSITIES / len(problem.objective.y)))
    if len(places) > count:
        places = places[np.linspace(0, len(places) - 1, count).astype(int)]
    natural = problem.natural(w)
    places = np.sort(np.append(places, natural[name]))
    tried = _along(problem, name, natural, places)
    values = problem.objective.values(tried)
    left, right = np.r_[-np.inf, values[:-1]], np.r_[values[1:], -np.inf]
    peaks = np.flatnonzero((values >= left) & (values >= right) & (places != natural[name]))
    return tried[peaks[np.argsort(-values[peaks])][:_KEPT_MAXIMA]]


def _along(problem: Problem, name: str, natural: Numbers, values: np.ndarray) -> np.ndarray:
    """Returns the coordinates `[s, p]` of `s` points, which differ only in the parameter `name`.

    This parameter takes the values `values`, `[s, ...]`. All others are held as in `natural`.
    """
    tried = {n: np.broadcast_to(value, [len(values), *np.shape(value)]) for n, value in natural.items()}
    return problem.coordinates_of(tried | {name: values})
