"""Estimates the marginal distribution of a sample as unconstrained parameters, at which training can start."""

import copy
from collections.abc import Callable

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from nllfit.estimation.estimates import maximum_likelihood
from nllfit.estimation.problem import Problem, problem_of
from nllfit.estimation.starts import starts
from nllfit.families.family_base import ParametricFamily
from nllfit.families.mixture import MixtureFamily
from nllfit.families.parameters import Numbers
from nllfit.families.support_checks import first_refused

__all__ = ["marginal_numbers"]

# If there are more parameters than this, L-BFGS is faster than Newton's method.
_MOST_FOR_NEWTON = 20
# A subsample of this size determines the parameters well enough.
_MOST_ROWS = 20_000
_STEPS = 200
# In eager mode, this number of steps takes less time than a trace of the search.
_EAGER_STEPS = 20
# A parameter that bounds the support, such as the `low` of a Uniform, starts outside the sample. Its distance from the
# sample is at least this share of the sample's range. (If the bound is a scale parameter, the distance is a share of
# the bound instead.) Without this margin, a training step could move the bound past an outcome.
_MARGIN = 1e-3
# If a parameter has a larger absolute value than this, the link or the likelihood may be flat. The gradient of the
# parameter is then about 0, so training could not change the parameter.
_FAR = 10.0
# The halvings of large parameters may raise the loss by at most this number of nats in total.
_MOST_LOSS = 1e-3
# An infinite parameter is replaced by this number or by its negative.
_LARGEST = 1e30


def marginal_numbers(family: ParametricFamily, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns unconstrained parameters `[params_size]`, in float64, that nearly maximise the likelihood of a sample.

    If the family has at most 20 parameters, `maximum_likelihood` estimates them. Otherwise, or if outcomes are soft
    labels, L-BFGS estimates them. There is one exception: if a component of a mixture could concentrate at a value that
    is often repeated, L-BFGS does not run, and its initial point is the estimate. Finally the estimate is changed so
    that training can continue from it: bounds of the support move outward from the ends of the sample, and large
    parameters in which the likelihood is flat move toward 0.

    Args:
      family: a family without shared parameters.
      y: the sample, `[n, *event]`.
      weights: the number of times that each observation counts, `[n]`.

    Raises:
      ValueError: in the cases in which `maximum_likelihood` raises it; or if outcomes of a discrete family are
        fractions, but the family has `validate_args=True`. Soft labels need `validate_args=False`.
    """
    if family.params_size > _MOST_FOR_NEWTON and len(y) > _MOST_ROWS:
        rows = np.random.default_rng(0).choice(len(y), _MOST_ROWS, replace=False)
        y, weights = y[rows], weights[rows]
    loss = _loss(family, y, weights)
    if _has_soft_labels(family, y):
        _refuse_fractions(family, y)
        return _without_extremes(loss, _lbfgs(loss, np.zeros(family.params_size)))
    if family.params_size > _MOST_FOR_NEWTON:
        natural = _natural_by_lbfgs(problem_of(family, y, weights))
    else:
        natural = maximum_likelihood(family, y, weights=weights).parameters
    return _without_extremes(loss, _unconstrained(family, _with_margin(family, natural, y)))


def _loss(family: ParametricFamily, y: np.ndarray, weights: np.ndarray) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns a function of the unconstrained parameters: the mean negative log-likelihood of the sample."""
    unchecked = family.holding({"validate_args": False})
    normalized_weights, has_soft_labels = tf.constant(weights / weights.sum()), _has_soft_labels(family, y)

    def loss(params):
        distribution = unchecked.distribution(params)
        outcomes = tf.cast(y, tf.float64 if has_soft_labels else distribution.dtype)
        return -tf.tensordot(normalized_weights, distribution.log_prob(outcomes), 1)

    return tf.function(loss, autograph=False, input_signature=[tf.TensorSpec([family.params_size], tf.float64)])


def _has_soft_labels(family, y):
    """Returns whether outcomes of a discrete family are fractions. Such soft labels need `validate_args=False`."""
    return family.is_discrete and bool(np.any(y != np.round(y)))


def _refuse_fractions(family, y):
    row, reason = first_refused(family.distribution(tf.zeros([family.params_size], tf.float64)), tf.constant(y))
    if row is not None:
        raise ValueError(
            f"`y` holds {y[row]}, which {family.name} cannot have: {reason} Look for mislabelled rows, or give the "
            f"head `validate_args=False` if `y` holds soft labels."
        )


def _natural_by_lbfgs(problem: Problem) -> Numbers:
    """Returns estimates of the parameters on the natural scale (`rate` instead of `log_rate`), by name.

    L-BFGS finds them in the coordinates of `maximum_likelihood`. But if a component of a mixture could concentrate at a
    value that is often repeated, there is no search, and the estimates are the values at which L-BFGS would start.
    """
    objective = problem.objective
    coordinates, y, normalized_weights = objective.coordinates, objective.y, objective.weights / objective.total_weight

    def loss(w):
        distribution = coordinates.distribution(w, objective.held)
        outcomes = tf.cast(y, distribution.dtype)
        return -tf.tensordot(normalized_weights, distribution.log_prob(outcomes), 1)

    start = _start(problem)
    w = start if _may_concentrate(problem) else _lbfgs(loss, start)
    return {name: value.numpy() for name, value in problem.natural(w).items()}


def _may_concentrate(problem: Problem) -> bool:
    """Returns whether a component of a mixture could concentrate at a value that is often repeated.

    Each component starts at a different part of the sample, and all parts are equally large. A component could
    concentrate if a value occurs so often in a column of the sample that it could fill at least half of the rows of a
    part. The likelihood then rises without bound as the density concentrates at this value, so L-BFGS would end at a
    scale of about 1e-16. (We assume that a component with at most one parameter per column, such as an Exponential,
    cannot concentrate.)
    """
    family = problem.family
    if not isinstance(family, MixtureFamily) or family.is_discrete:
        return False
    columns = problem.y.reshape(len(problem.y), -1).T
    max_count = max(np.unique(column, return_counts=True)[1].max() for column in columns)
    return bool(2 * max_count * family.num_components >= len(problem.y) and family.component.params_size > len(columns))


def _start(problem: Problem) -> np.ndarray:
    """Returns the start of L-BFGS, `[p]`. Each component of a mixture starts at a different part of the sample."""
    family = problem.family
    if not isinstance(family, MixtureFamily):
        closed_form = problem.closed_form()
        return starts(problem.objective)[0] if closed_form is None else closed_form
    flat = problem.y.reshape(len(problem.y), -1)
    deviations = (flat - flat.mean(0)) / np.maximum(flat.std(0), 1e-12)
    projections = deviations @ np.linalg.svd(deviations[:2000], full_matrices=False)[2][0]
    order = np.argsort(projections)
    parts = np.array_split(np.arange(len(order)), family.num_components)
    component_rows = [order[_widened(flat[order], part)] for part in parts]
    problems = [problem_of(family.component, problem.y[rows], problem.weights[rows]) for rows in component_rows]
    component_starts = [part.natural(starts(part.objective)[0]) for part in problems]
    natural = {name: np.stack([values[name] for values in component_starts]) for name in component_starts[0]}
    component_weights = np.array([problem.weights[order[part]].sum() for part in parts])
    return problem.coordinates_of(
        natural | {family.twin(family.parameter_names[0])[0]: component_weights / component_weights.sum()}
    )


def _widened(rows, part):
    """Widens `part`, the indices of consecutive rows, on both sides until every column varies within it.

    A component cannot be fitted to equal outcomes, because they have no maximum-likelihood estimate.
    """
    first, last = part[0], part[-1]
    while np.any(np.ptp(rows[first : last + 1], axis=0) == 0) and last - first + 1 < len(rows):
        size = last - first + 1
        first, last = max(0, first - size), min(len(rows) - 1, last + size)
    return np.arange(first, last + 1)


def _lbfgs(loss: Callable[[tf.Tensor], tf.Tensor], start: np.ndarray) -> np.ndarray:
    """Returns the minimum that L-BFGS finds, or the start if the result is not finite."""
    value_and_gradient = tf.function(lambda w: tfp.math.value_and_gradient(loss, w), autograph=False)

    def minimize(start, steps):
        return tfp.optimizer.lbfgs_minimize(value_and_gradient, start, max_iterations=steps, tolerance=1e-6)

    result = minimize(tf.constant(start), _EAGER_STEPS)
    if not (result.converged or result.failed):
        result = tf.function(minimize, autograph=False)(result.position, _STEPS)
    position = result.position.numpy()
    return position if np.isfinite(result.objective_value) and np.all(np.isfinite(position)) else start


def _with_margin(family: ParametricFamily, natural: Numbers, y: np.ndarray) -> Numbers:
    """If a bound of the support is at an end of the sample, moves the bound outward. `_MARGIN` sets the distance."""
    natural = copy.copy(natural)
    for name in family.search.statistics.keys() & natural.keys():
        margin = _MARGIN * (np.ptp(y, axis=0) if name in family.search.locations else np.asarray(natural[name]))
        natural[name] = natural[name] + margin * (
            np.less(y.max(0) - margin, natural[name]) * 1 - np.less(natural[name], y.min(0) + margin)
        )
    return natural


def _unconstrained(family: ParametricFamily, natural: Numbers) -> np.ndarray:
    values = family.from_natural(natural, family.parameter_names)
    return np.nan_to_num(family.unconstrained(values), nan=0.0, posinf=_LARGEST, neginf=-_LARGEST)


def _without_extremes(loss: Callable[[tf.Tensor], tf.Tensor], numbers: np.ndarray) -> np.ndarray:
    """Repeatedly halves parameters above `_FAR` in absolute value, while the loss rises by less than `_MOST_LOSS`.

    Often the likelihood has no maximum in such a parameter, so the search ended at an arbitrary large number.
    """
    numbers = np.array(numbers)
    far = np.flatnonzero(np.abs(numbers) > _FAR)
    lowest = loss(numbers) if far.size else np.inf  # without large parameters, `loss` need not be traced
    for index in far:
        while abs(numbers[index]) > _FAR:
            nearer = np.array(numbers)
            nearer[index] /= 2
            if not loss(nearer) < lowest + _MOST_LOSS:
                break
            numbers = nearer
    return numbers
