"""Maximum-likelihood estimation of a distribution's parameters."""

import dataclasses
import math
import numbers

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from nllfit.estimation.newton import Optimum, climb, errors, maximize
from nllfit.estimation.problem import Problem
from nllfit.estimation.profile import Profile
from nllfit.estimation.starts import starts

tfd = tfp.distributions

__all__ = ["Estimate", "maximum_likelihood"]

_RETRIES = slice(5, 100, 40)  # other starts, less and less likely, for when the best one led nowhere
_TIE = 1e-3  # nats that two climbs to the same place, be it at infinity, may differ by
_WIDTH = 78
_FIRST_SAMPLE = 20_000  # observations that bring Newton's method near the optimum of millions


def maximum_likelihood(distribution, y, *, weights=None, **fixed):
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
    if problem.objective is None:
        problem.check_support(None)
        return _estimate(problem, None)
    return _estimate(*_cornered(problem, _best(problem)))


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
      converged: whether the estimate was verified to be a maximum, of the likelihoods near it: those of mixtures and of
        some other families have several.
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

    def summary(self, level=0.95):
        """The fit as a table of text, laid out like statsmodels'."""
        intervals = self.confidence_intervals(level)
        left = ["Family:", "No. Observations:", "No. Parameters:", "Converged:"]
        left = zip(
            left, [self.family.label, f"{self.num_observations:g}", self.num_parameters, self.converged], strict=True
        )
        right = zip(
            ["Log-Likelihood:", "AIC:", "BIC:", "Covariance:"],
            [f"{self.log_likelihood:.3f}", f"{self.aic:.3f}", f"{self.bic:.3f}", "observed information"],
            strict=True,
        )
        lines = ["Maximum Likelihood Estimate".center(_WIDTH), "=" * _WIDTH]
        for (name, value), (other, number) in zip(left, right, strict=True):
            lines.append(f"{name}{value!s:>{36 - len(name)}}   {other:<16}{number!s:>23}")
        ends = [f"[{(1 - level) / 2:.4g}", f"{(1 + level) / 2:.4g}]"]
        lines += ["=" * _WIDTH, f"{'':<26}{'estimate':>13}{'std err':>13}{ends[0]:>13}{ends[1]:>13}", "-" * _WIDTH]
        for name, value in self.parameters.items():
            for index in np.ndindex(np.shape(value)):
                label = f"{name}[{', '.join(map(str, index))}]" if index else name
                cells = [
                    np.asarray(value)[index],
                    np.asarray(self.standard_errors[name])[index],
                    *intervals[name][index],
                ]
                lines.append(f"{label:<26}" + "".join(f"{cell:>13.5g}" for cell in cells))
        return "\n".join([*lines, "=" * _WIDTH, f"Verdict: {self.message}."])

    def confidence_intervals(self, level=0.95, method="wald", names=None):
        """Intervals that cover the true parameters with probability `level`, in large samples.

        Wald's is `estimate +- z standard errors`. The profile-likelihood interval holds the values whose best fit is
        not significantly worse, `2 (log L - profile(value)) <= chi-square quantile`; it needs no standard error, stays
        in the parameter's domain and does not depend on how the parameter is written.

        Args:
          level: between 0 and 1.
          method: "wald", or "profile", which fits the other parameters anew some ten times for each end.
          names: the parameter or the parameters that are wanted; by default all.

        Returns:
          A dict of arrays `[*parameter, 2]` by name: lower and upper end. An end is infinite, or the bound of the
          domain, where the sample sets no limit; NaN where there is no standard error.

        Raises:
          ValueError: for another `level` or `method`, an unknown name, or a profile of a fit that did not converge.

        Example:
          >>> maximum_likelihood("Bernoulli", [0, 0, 0, 1, 0]).confidence_intervals(method="profile")["probs"].round(3)
          array([0.013, 0.628])

        Source: Venzon and Moolgavkar, A method for computing profile-likelihood-based confidence intervals, 1988.
        """
        if not (isinstance(level, numbers.Real) and 0 < level < 1):
            raise ValueError(f"`level` is {level!r}: give a probability between 0 and 1, such as 0.95.")
        if method not in ("wald", "profile"):
            raise ValueError(f'`method` is {method!r}: give "wald" or "profile".')
        intervals = {}
        for name in [names] if isinstance(names, str) else self.parameters if names is None else names:
            self._check_name(name)
            value, error = np.asarray(self.parameters[name]), np.asarray(self.standard_errors[name])
            if method == "wald":
                half = float(tfd.Normal(tf.constant(0.0, tf.float64), 1.0).quantile((1 + level) / 2)) * error
                intervals[name] = np.stack([value - half, value + half], -1)
            else:
                ends = [self._profile(name, place).interval(level) for place in range(value.size)]
                intervals[name] = np.reshape(ends, [*value.shape, 2])
        return intervals

    def profile(self, name, values, index=()):
        """The profile log-likelihood of one number: the maximum over all other parameters.

        Args:
          name: a parameter's name, as in `parameters`.
          values: the values it is held at, `[m]`.
          index: which of its numbers, where the parameter is an array.

        Returns:
          An array `[m]`, in nats, the sum over the sample; -inf outside the parameter's domain.

        Raises:
          ValueError: for a name or index that the family does not have, for `values` that are no list of numbers, and
            for a fit that did not converge.
        """
        self._check_name(name)
        self._check_converged()
        shape = np.shape(self.parameters[name])
        try:
            place = int(np.arange(math.prod(shape)).reshape(shape)[index])
        except (IndexError, TypeError):
            raise ValueError(f"`index` is {index}, but `{name}` has shape {shape}: give one number's index.") from None
        try:
            held = np.asarray(values, np.float64)
        except (TypeError, ValueError):
            held = None
        if held is None or held.ndim > 1:
            raise ValueError(f"`values` is {values!r}: give a number, or a list of numbers.")
        profile = self._profile(name, place)
        return np.array([profile(value) for value in np.ravel(held).tolist()])

    def _check_name(self, name):
        if name not in self.parameters:
            raise ValueError(
                f"`{name}` is no parameter of this fit, whose parameters are {', '.join(self.parameters)}."
            )

    def _check_converged(self):
        if not self.converged:
            raise ValueError(f"The fit is no maximum to compare with ({self.message}), so it has no profile.")

    def _profile(self, name, place):
        self._check_converged()
        error = np.ravel(self.standard_errors[name])[place]
        return Profile(self.problem, self.optimum, name, place, self.log_likelihood, error)


def _best(problem):
    closed_form = problem.closed_form()
    if closed_form is not None:
        problem.check_support(closed_form)
        optimum = maximize(problem.objective, closed_form)
        if optimum.converged:
            return optimum
    few = problem.objective.sample(_FIRST_SAMPLE)
    candidates = starts(few)
    problem.check_support(candidates[0])
    problem.objective.by_differences = few.by_differences = not few.has_derivatives(candidates[0])
    best = maximize(few, candidates[0])
    for start in candidates[_RETRIES]:
        if best.converged:
            break
        other = maximize(few, start, steps=30)
        if few.total_weight * (other.value - best.value) > (-_TIE if other.converged else _TIE):
            best = other
    if few is problem.objective:
        return best
    return climb(problem.objective, best.w, best.rank) if best.converged else maximize(problem.objective, best.w)


def _cornered(problem, smooth):
    """The problem and its optimum; with a parameter held where the likelihood has its maximum at a corner.

    That parameter and the smooth ones take turns until the likelihood rises no more.
    """
    if not problem.has_corners(smooth.w):
        return problem, smooth
    natural = problem.natural(tf.constant(smooth.w))
    best = (smooth.value, problem, smooth) if smooth.converged else None
    while True:
        ends = []
        for corner in problem.corners(natural):
            optimum = corner.objective and maximize(corner.objective, corner.coordinates(natural))
            ends.append((optimum.value if optimum else corner.log_likelihood(), corner, optimum))
        end = max(ends, key=lambda end: end[0])
        if best and end[0] <= best[0]:
            return best[1:]
        best, natural = end, end[1].natural(tf.constant(end[2].w) if end[2] else None)


def _estimate(problem, optimum):
    w = None if optimum is None else optimum.w
    distribution = problem.distribution(w)
    values = {name: value.numpy() for name, value in problem.natural(w).items()}
    rank = 0 if optimum is None else optimum.rank
    parts = _errors(problem, optimum)
    with np.errstate(over="ignore", invalid="ignore"):
        covariance = parts @ parts.T
    sizes = np.cumsum([value.size for value in values.values()])[:-1]
    message = "converged" if optimum is None else optimum.message
    if message != "converged":
        message += problem.suspicion
    if problem.held:
        names = " and ".join(f"`{name}`" for name in problem.held)
        message += f"; the likelihood is not smooth in {names}, so there is no standard error"
    return Estimate(
        distribution=distribution,
        parameters={name: _plain(value) for name, value in values.items()},
        standard_errors={
            name: _plain(part.reshape(values[name].shape))
            for name, part in zip(values, np.split(np.hypot.reduce(parts, axis=1), sizes), strict=True)
        },
        covariance=covariance,
        log_likelihood=optimum.value * problem.objective.total_weight if optimum else problem.log_likelihood(),
        num_observations=float(problem.weights.sum()),
        num_parameters=rank + sum(value.size for value in problem.held.values()),
        converged=optimum is None or optimum.converged,
        message=message,
        problem=problem,
        optimum=optimum,
    )


def _errors(problem, optimum):
    """Independent errors `[q, rank]` of the natural parameters, by their derivatives, with NaN where there are none."""
    w = None if optimum is None else tf.constant(optimum.w)
    with tf.GradientTape(persistent=True) as tape:
        if w is not None:
            tape.watch(w)
        values = problem.natural(w)
        flat = tf.concat([tf.reshape(value, [-1]) for value in values.values()], 0)
    missing = np.concatenate([np.full(tf.size(value), name in problem.held) for name, value in values.items()])
    if optimum is None or not optimum.converged:
        return np.full([len(missing), 1], np.nan)
    found = tape.jacobian(flat, w, experimental_use_pfor=False).numpy() @ errors(optimum)
    found[missing] = np.nan
    return found


def _plain(value):
    return float(value) if np.ndim(value) == 0 else value
