"""Maximum-likelihood estimation of a distribution's parameters."""

import dataclasses
import math

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from nllfit.optimum import Optimum, inverse_information, maximize
from nllfit.problem import Problem
from nllfit.starts import starts

tfd = tfp.distributions

__all__ = ["Comparison", "Estimate", "compare", "maximum_likelihood"]

_RETRIES = slice(5, 40, 20)  # other starts, less and less likely, for when the best one led nowhere
_FIRST_SAMPLE = 20_000  # observations that bring Newton's method near the optimum of millions


def maximum_likelihood(distribution, y, *, weights=None, **fixed):
    """The parameters under which a sample is most likely.

    `argmax_theta sum_i w_i log p(y_i | theta)`, by Newton's method on the family's unconstrained parameters in float64
    from TFP's closed form where it has one, or else from the best of a thousand parameter values around the sample's
    location and spread. Where the likelihood is not smooth (the bounds of a Uniform, the median of a Laplace) the
    estimate is the statistic that maximises it.

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
    if problem.free is None:
        return _estimate(problem, None)
    return _estimate(problem, _best(problem))


def compare(y, distributions, *, weights=None):
    """Fits several families to one sample and ranks them by AIC.

    Args:
      y: the sample, `[n, *event]`.
      distributions: classes of `tfp.distributions` or their names, `Family`s or `MixtureFamily`s; at least one. Compare
        counts with counts and amounts with amounts: a density is no probability.
      weights: as in `maximum_likelihood`.

    Returns:
      A `Comparison`. A family that cannot have produced the sample is no error here, but listed with the reason.

    Raises:
      ValueError: if `distributions` is empty, or none of them can be fitted.

    Example:
      >>> [estimate.family.name for estimate in compare([1.0, 2.0, 4.0, 3.0], ["Normal", "Exponential"]).estimates]
      ['Normal', 'Exponential']

    Source: Akaike, A new look at the statistical model identification, 1974.
    """
    estimates, refused = [], {}
    for distribution in distributions:
        try:
            estimates.append(maximum_likelihood(distribution, y, weights=weights))
        except ValueError as error:
            refused[getattr(distribution, "name", None) or getattr(distribution, "__name__", distribution)] = str(error)
    if not estimates:
        reasons = " ".join(f"{name}: {reason}" for name, reason in refused.items())
        raise ValueError(f"None of the `distributions` can be fitted to `y`. {reasons}".strip())
    return Comparison(sorted(estimates, key=lambda e: (not e.converged, e.aic)), refused)


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A family fitted to a sample by maximum likelihood, and how sure one can be of it.

    Attributes:
      distribution: the fitted `tfd.Distribution`, in float64.
      parameters: the estimates by name, numbers or arrays, as a statistician names them (`rate`, not `log_rate`).
      standard_errors: their standard errors by name, the roots of the diagonal of `covariance`.
      covariance: `[q, q]` for the `q` numbers in `parameters`, in their order: the inverse of the observed information,
        sent through the links by the delta method. NaN where it does not exist; `message` says why.
      log_likelihood: the maximum in nats, the sum over the sample.
      num_observations: the number of observations; with weights their sum.
      num_parameters: the number of free parameters, without directions that change no density.
      converged: whether the estimate was verified to be a maximum.
      message: what was found, or why it is no maximum.
      problem, optimum: the sample with its family, and the end of the optimisation; None if there was none.
    """

    distribution: tfd.Distribution
    parameters: dict
    standard_errors: dict
    covariance: np.ndarray
    log_likelihood: float
    num_observations: float
    num_parameters: int
    converged: bool
    message: str
    problem: Problem = dataclasses.field(repr=False)
    optimum: Optimum | None = dataclasses.field(repr=False)

    @property
    def family(self):
        """The fitted `Family` or `MixtureFamily`."""
        return self.problem.family

    @property
    def aic(self):
        """Akaike's information criterion, `2 k - 2 log L`, for `k = num_parameters`; smaller is better."""
        return 2 * self.num_parameters - 2 * self.log_likelihood

    @property
    def bic(self):
        """The Bayesian information criterion, `k log(n) - 2 log L`; smaller is better."""
        return self.num_parameters * math.log(self.num_observations) - 2 * self.log_likelihood


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Families fitted to one sample, ranked by AIC.

    Attributes:
      estimates: the `Estimate`s, the smallest AIC first; those that did not converge come last.
      refused: why a family could not be fitted, by its name.
    """

    estimates: list
    refused: dict


def _best(problem):
    closed_form = problem.closed_form()
    if closed_form is not None:
        problem.check_support(closed_form)
        optimum = maximize(problem.objective, closed_form)
        if optimum.converged:
            return optimum
    candidates = starts(problem.objective)
    problem.check_support(candidates[0])
    few = problem.objective.sample(_FIRST_SAMPLE)
    best = maximize(few, candidates[0])
    for start in candidates[_RETRIES]:
        if best.converged:
            break
        best = max(best, maximize(few, start, steps=30), key=lambda optimum: optimum.value)
    return best if few is problem.objective else maximize(problem.objective, best.w)


def _estimate(problem, optimum):
    w = None if optimum is None else optimum.w
    distribution = problem.distribution(w)
    values = {name: value.numpy() for name, value in problem.natural(w).items()}
    rank = 0 if optimum is None else optimum.rank
    log_prob = distribution.log_prob(tf.cast(tf.constant(problem.y), distribution.dtype))
    covariance = _covariance(problem, optimum)
    errors = np.sqrt(np.diag(covariance))
    sizes = np.cumsum([value.size for value in values.values()])[:-1]
    message = "converged" if optimum is None else optimum.message
    if problem.held:
        names = " and ".join(f"`{name}`" for name in problem.held)
        message += f"; the likelihood is not smooth in {names}, so there is no standard error"
    return Estimate(
        distribution=distribution,
        parameters={name: _plain(value) for name, value in values.items()},
        standard_errors={
            name: _plain(part.reshape(values[name].shape))
            for name, part in zip(values, np.split(errors, sizes), strict=True)
        },
        covariance=covariance,
        log_likelihood=float(tf.tensordot(tf.constant(problem.weights), log_prob, 1)),
        num_observations=float(problem.weights.sum()),
        num_parameters=rank + sum(value.size for value in problem.held.values()),
        converged=optimum is None or optimum.converged,
        message=message,
        problem=problem,
        optimum=optimum,
    )


def _covariance(problem, optimum):
    """The inverse information through the derivative of the natural parameters, with NaN where there is none."""
    w = None if optimum is None else tf.constant(optimum.w)
    with tf.GradientTape(persistent=True) as tape:
        if w is not None:
            tape.watch(w)
        values = problem.natural(w)
        flat = tf.concat([tf.reshape(value, [-1]) for value in values.values()], 0)
    missing = np.concatenate([np.full(tf.size(value), name in problem.held) for name, value in values.items()])
    if optimum is None or not optimum.converged:
        return np.full([len(missing), len(missing)], np.nan)
    jacobian = tape.jacobian(flat, w, experimental_use_pfor=False).numpy()
    covariance = jacobian @ inverse_information(optimum) @ jacobian.T
    covariance[missing] = covariance[:, missing] = np.nan
    return covariance


def _plain(value):
    return float(value) if np.ndim(value) == 0 else value
