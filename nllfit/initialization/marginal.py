"""Marginals of a sample, as the numbers that a network gives a family: where its training can begin."""

import copy
from collections.abc import Callable

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from nllfit.estimation.estimates import maximum_likelihood
from nllfit.estimation.problem import Problem, problem_of
from nllfit.estimation.starts import starts
from nllfit.families.mixture import MixtureFamily
from nllfit.families.parameters import Numbers
from nllfit.families.protocol import ParametricFamily

__all__ = ["marginal_numbers"]

_FEW = 20  # parameters, in all of which together Newton's method is quick
_ROWS = 20_000  # of a sample, which tell many parameters as much as all
_STEPS = 200
_FIRST = 20  # of them, that are over before a program of the search is written down
_ROOM = 1e-3  # widths of the sample between its ends and the bounds of the support, so that a step does not leave it
_FAR = 10.0  # numbers from which on a link or a likelihood may be flat,
_FLAT = 1e-3  # and the nats below which they are not worth it
_LARGEST = 1e30


def marginal_numbers(family: ParametricFamily, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The unconstrained numbers `[params_size]`, in float64, under which a sample is most likely, or nearly.

    They are those of `maximum_likelihood` where it is quick; where there are many, those to which L-BFGS leads. They
    keep a little away from where training could not: bounds at the ends of the sample, and numbers without a slope.

    Args:
      family: one that shares nothing.
      y: the sample, `[n, *event]`.
      weights: how often each observation counts, `[n]`.

    Raises:
      ValueError: as `maximum_likelihood`.
    """
    if family.params_size > _FEW and len(y) > _ROWS:
        rows = np.random.default_rng(0).choice(len(y), _ROWS, replace=False)
        y, weights = y[rows], weights[rows]
    loss = _loss(family, y, weights)
    if _is_soft(family, y):
        return _calm(loss, _descent(loss, np.zeros(family.params_size)))
    if family.params_size > _FEW:
        natural = _by_descent(problem_of(family, y, weights))
    else:
        natural = maximum_likelihood(family, y, weights=weights).parameters
    return _calm(loss, _numbers(family, _with_room(family, natural, y)))


def _loss(family: ParametricFamily, y: np.ndarray, weights: np.ndarray) -> Callable[[tf.Tensor], tf.Tensor]:
    """The mean negative log-likelihood of the sample as a function of the family's numbers."""
    unchecked = family.holding({"validate_args": False})
    shares, is_soft = tf.constant(weights / weights.sum()), _is_soft(family, y)

    def loss(params):
        distribution = unchecked.distribution(params)
        outcomes = tf.cast(y, tf.float64 if is_soft else distribution.dtype)
        return -tf.tensordot(shares, distribution.log_prob(outcomes), 1)

    return tf.function(loss, autograph=False, input_signature=[tf.TensorSpec([family.params_size], tf.float64)])


def _is_soft(family, y):
    """Whether labels are fractions, as a head takes them that does not check outcomes."""
    return family.is_discrete and bool(np.any(y != np.round(y)))


def _by_descent(problem: Problem) -> Numbers:
    """The natural parameters to which L-BFGS leads, in coordinates and units that make a likelihood round."""
    objective = problem.objective
    coordinates, y, shares = objective.coordinates, objective.y, objective.weights / objective.total_weight

    def loss(w):
        distribution = coordinates.distribution(w, objective.held)
        outcomes = tf.cast(y, distribution.dtype)
        return -tf.tensordot(shares, distribution.log_prob(outcomes), 1)

    return {name: value.numpy() for name, value in problem.natural(_descent(loss, _start(problem))).items()}


def _start(problem: Problem) -> np.ndarray:
    """Coordinates to begin at: of a mixture such that its components have different parts of the sample."""
    family = problem.family
    if not isinstance(family, MixtureFamily):
        closed_form = problem.closed_form()
        return starts(problem.objective)[0] if closed_form is None else closed_form
    flat = problem.y.reshape(len(problem.y), -1)
    deviations = (flat - flat.mean(0)) / np.maximum(flat.std(0), 1e-12)
    along = deviations @ np.linalg.svd(deviations[:2000], full_matrices=False)[2][0]
    parts = np.array_split(np.argsort(along), family.num_components)
    problems = [problem_of(family.component, problem.y[rows], problem.weights[rows]) for rows in parts]
    components = [part.natural(starts(part.objective)[0]) for part in problems]
    natural = {name: np.stack([values[name] for values in components]) for name in components[0]}
    shares = np.array([problem.weights[rows].sum() for rows in parts])
    return problem.coordinates_of(natural | {family.twin(family.parameter_names[0])[0]: shares / shares.sum()})


def _descent(loss: Callable[[tf.Tensor], tf.Tensor], start: np.ndarray) -> np.ndarray:
    """Where L-BFGS leads from a start, or the start itself."""
    slope = tf.function(lambda w: tfp.math.value_and_gradient(loss, w), autograph=False)

    def minimize(start, steps):
        return tfp.optimizer.lbfgs_minimize(slope, start, max_iterations=steps, tolerance=1e-6)

    result = minimize(tf.constant(start), _FIRST)
    if not (result.converged or result.failed):
        result = tf.function(minimize, autograph=False)(result.position, _STEPS)
    position = result.position.numpy()
    return position if np.isfinite(result.objective_value) and np.all(np.isfinite(position)) else start


def _with_room(family: ParametricFamily, natural: Numbers, y: np.ndarray) -> Numbers:
    """The parameters, those that are the smallest or the largest outcome moved a little beyond it."""
    natural = copy.copy(natural)
    for name in family.facts.statistics.keys() & natural.keys():
        room = _ROOM * (np.ptp(y, axis=0) if name in family.facts.places else np.asarray(natural[name]))
        natural[name] += room * (np.less(y.max(0) - room, natural[name]) * 1 - np.less(natural[name], y.min(0) + room))
    return natural


def _numbers(family: ParametricFamily, natural: Numbers) -> np.ndarray:
    values = {}
    for name in family.parameter_names:
        twin, link = family.twin(name)
        values[name] = link.inverse(tf.constant(natural[twin], tf.float64))
    return np.nan_to_num(family.unconstrained(values), nan=0.0, posinf=_LARGEST, neginf=-_LARGEST)


def _calm(loss: Callable[[tf.Tensor], tf.Tensor], numbers: np.ndarray) -> np.ndarray:
    """The numbers, each halved as long as that costs hardly anything, as it does where an estimate is at infinity."""
    numbers = np.array(numbers)
    far = np.flatnonzero(np.abs(numbers) > _FAR)
    lowest = loss(numbers) if far.size else np.inf  # a program that takes longer to write down than all else
    for place in far:
        while abs(numbers[place]) > _FAR:
            nearer = np.array(numbers)
            nearer[place] /= 2
            if not loss(nearer) < lowest + _FLAT:
                break
            numbers = nearer
    return numbers
