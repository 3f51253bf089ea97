"""Maximum-likelihood estimation of a distribution's parameters: the search for the maximum."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nllfit.estimation.estimates import Estimate, estimate_of
from nllfit.estimation.newton import Optimum, climb, maximize
from nllfit.estimation.problem import Problem
from nllfit.estimation.starts import starts

__all__ = ["maximum_likelihood"]

_RETRIES = slice(5, 100, 40)  # other starts, less and less likely, for when the best one led nowhere
_TIE = 1e-3  # nats that two climbs to the same place, be it at infinity, may differ by
_TURNS = 20  # of a corner and the smooth parameters, each of which raises the likelihood
_FIRST_SAMPLE = 20_000  # observations that bring Newton's method near the optimum of millions


def maximum_likelihood(distribution: Any, y: ArrayLike, *, weights: ArrayLike | None = None, **fixed: Any) -> Estimate:
    """The parameters under which a sample is most likely.

    `argmax_theta sum_i w_i log p(y_i | theta)`, by Newton's method in float64, in the logarithms of positive
    parameters, from TFP's closed form where it has one, or else from the best of a thousand parameter values around the
    sample's location and spread. A location-scale family is fitted to the sample in units of its spread around its
    median. Where the likelihood is not smooth (the bounds of a Uniform, the median of a Laplace) the estimate is the
    statistic that maximises it.

    Args:
      distribution: a class of `tfp.distributions` or its name, a `Family` or a `MixtureFamily`.
      y: the sample, `[n, *event]`: `[n]` for a scalar family, `[n, d]` for vectors or d independent scalars.
      weights: how often each observation counts, `[n]`, not negative. By default each counts once.
      **fixed: parameters held at a value (`scale=1.0`), and `num_classes` for class labels.

    Returns:
      An `Estimate`. Look at its `converged` and `message` before its numbers.

    Raises:
      ValueError: before any optimisation, if `y` is empty, holds NaN, infinite values or an outcome outside the
        support, has all values equal where the likelihood then has no bound, or fewer numbers than there are
        parameters; if `weights` are of another length, negative or all zero; if no parameter is free.

    Example:
      >>> maximum_likelihood("Bernoulli", [0, 0, 0, 1, 0]).parameters
      {'probs': 0.2}

    Source: Fisher, On the mathematical foundations of theoretical statistics, 1922; Efron and Hinkley, Assessing the
    accuracy of the maximum likelihood estimator: observed versus expected Fisher information, 1978.
    """
    problem = Problem(distribution, y, weights, **fixed)
    return estimate_of(*_cornered(*_smooth(problem)))


def _smooth(problem: Problem) -> tuple[Problem, Optimum]:
    """The maximum over the coordinates, in which the likelihood is smooth; by derivatives that can be trusted there."""
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
    few = objective.sample(_FIRST_SAMPLE)
    candidates = starts(few)
    problem.check_support(candidates[0])
    if not few.is_differentiable(candidates[0]):
        problem, few = problem.by_differences(), few.by_differences()
    best = maximize(few, candidates[0])
    for start in candidates[_RETRIES]:
        if best.converged:
            break
        other = maximize(few, start, steps=30)
        if few.total_weight * (other.value - best.value) > (-_TIE if other.converged else _TIE):
            best = other
    if len(few.y) == len(objective.y):
        return problem, best
    climb_on = climb(problem.objective, best.w, best.rank) if best.converged else maximize(problem.objective, best.w)
    return problem, climb_on


def _cornered(problem: Problem, smooth: Optimum) -> tuple[Problem, Optimum]:
    """The problem and its optimum; with a parameter held where the likelihood has its maximum at a corner.

    That parameter and the smooth ones take turns until the likelihood rises no more.
    """
    name = problem.corner(smooth.w)
    if name is None:
        return problem, smooth
    natural = problem.natural(smooth.w)
    best = (problem, smooth) if smooth.converged else None
    for _ in range(_TURNS):
        corners = problem.held_at_corners(name, natural)
        ends = [(corner, maximize(corner.objective, corner.coordinates_of(natural))) for corner in corners]
        end = max(ends, key=lambda end: end[1].value)
        if best and not end[1].value > best[1].value:
            break
        best, natural = end, end[0].natural(end[1].w)
    return best or (problem, smooth)
