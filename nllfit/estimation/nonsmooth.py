"""Likelihoods with corners, or with a maximum between any two observations: where Newton's method alone does not get.

A Laplace's likelihood has a corner in `loc` at each observation: there the parameter is held, and the others are
climbed. A Cauchy's of small scale has a maximum near each observation: the climb is repeated from the likeliest ones.
"""

import functools

import numpy as np

from nllfit.estimation.fit import Fit, higher, rise
from nllfit.estimation.problem import Problem
from nllfit.families.parameters import Numbers
from nllfit.optimum.newton import Optimum, maximize

__all__ = ["at_the_best_corner", "corner_near", "over_scattered_maxima"]

_MEETS = 1e-12  # widths of the sample between two parameters that meet, because TFP's density is NaN where they do
_MOST = 4e6  # log-densities, at places of a parameter times outcomes
_OBSERVATIONS = 50  # nearest to the parameter, and as many from all over the sample, at which it is tried
_KEPT_CORNERS, _KEPT_MAXIMA = 3, 5  # of the places tried, from which the others are climbed
_TURNS = 20  # of the parameter and the smooth ones, each of which raises the likelihood
_LEAST = 1e-9  # nats that a turn at a corner must win, where rounding errors win 1e-11
_TIE = 1e-3  # nats that two climbs to the same place may differ by


def corner_near(problem: Problem, w: np.ndarray) -> str | None:
    """The parameter in which the likelihood has corners near `w`; None if it is smooth there."""
    facts, family = problem.family.facts, problem.family
    if facts.corner not in family.parameter_names or not len(family.seen(problem.y)):
        return None
    near = facts.has_corners is None or facts.has_corners({**family.fixed, **problem.natural(w)})
    return facts.corner if near else None


def at_the_best_corner(problem: Problem, name: str, w: np.ndarray, smooth: Optimum | None) -> Fit:
    """The fit with a parameter held where the likelihood has its maximum at a corner.

    That parameter and the smooth ones take turns until the likelihood rises no more.

    Args:
      problem: with all parameters free.
      name: the parameter in which the likelihood has corners.
      w: where to begin.
      smooth: the optimum of the problem, if it was searched.
    """
    natural = problem.natural(w)
    best = Fit(problem, smooth) if smooth and smooth.converged else None
    for _ in range(_TURNS):
        corners = _held_at_corners(problem, name, natural)
        ends = [Fit(corner, maximize(corner.objective, corner.coordinates_of(natural))) for corner in corners]
        end = max(ends, key=lambda end: end.optimum.value)
        if best and rise(problem.objective, best.optimum, end.optimum) <= _LEAST:
            break
        best, natural = end, end.natural
    return best or Fit(problem, maximize(problem.objective, w))


def over_scattered_maxima(problem: Problem, optimum: Optimum) -> Optimum:
    """The highest maximum over the places of a parameter in which there may be one between any two observations."""
    for _ in range(_TURNS):
        ends = [maximize(problem.objective, start, steps=30) for start in _peaks(problem, optimum.w)]
        best = functools.reduce(functools.partial(higher, problem.objective), ends, optimum)
        if rise(problem.objective, optimum, best) <= _TIE:
            break
        optimum = best
    return optimum


def _held_at_corners(problem: Problem, name: str, natural: Numbers) -> list[Problem]:
    """The problems with such a parameter held at the likeliest of some observations.

    They are those nearest to its natural value, to refine it, and others from all over the sample; at its ends a bound
    of the support may meet the parameter.
    """
    family = problem.family
    seen = family.seen(problem.y)
    nearest = np.argsort(np.abs(seen - natural[name]), axis=0)[:_OBSERVATIONS]
    all_over = np.sort(seen, axis=0)[np.linspace(0, len(seen) - 1, _OBSERVATIONS).astype(int)]
    observed = np.unique(np.concatenate([np.take_along_axis(seen, nearest, 0), all_over]), axis=0)
    values = problem.objective.values(_along(problem, name, natural, observed))
    held = [{name: observed[row]} for row in np.argsort(-values)[:_KEPT_CORNERS]]
    for bound, row, outside in zip(family.facts.bounds, (0, -1), (-1, 1), strict=False):
        if bound in family.parameter_names:
            meets = observed[row] + outside * _MEETS * np.ptp(seen, axis=0)
            held.append({name: observed[row], bound: meets})
    return [problem.with_held(values) for values in held]


def _peaks(problem: Problem, w: np.ndarray) -> np.ndarray:
    """Coordinates `[s, p]` at other places of a scattered parameter that are likelier than the places next to them.

    The other parameters are as they are at `w`; the likeliest come first.
    """
    name = problem.family.facts.scattered
    if name not in problem.family.parameter_names or problem.family.event_shape:
        return np.zeros([0, len(w)])
    y = np.unique(problem.y)
    places = np.sort(np.concatenate([y, (y[1:] + y[:-1]) / 2]))
    count = max(50, int(_MOST / len(problem.objective.y)))
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
    """Coordinates `[s, p]` at natural parameters of which one takes these values `[s, ...]`."""
    tried = {n: np.broadcast_to(value, [len(values), *np.shape(value)]) for n, value in natural.items()}
    return problem.coordinates_of(tried | {name: values})
