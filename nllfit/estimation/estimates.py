"""What maximum likelihood found: the estimates, their errors and intervals, as numbers and as a table."""

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from tensorflow_probability import distributions as tfd

from nllfit.estimation.bootstrap import Bootstrap, bootstrap, table_of
from nllfit.estimation.fit import Fit
from nllfit.estimation.problem import Problem, problem_of
from nllfit.estimation.profile import Profile
from nllfit.estimation.search import search
from nllfit.families.protocol import ParametricFamily
from nllfit.fits import MaximumLikelihoodFit, check_level, wald_interval
from nllfit.optimum.newton import Optimum

__all__ = ["Estimate", "maximum_likelihood"]

_WIDTH = 78


@dataclasses.dataclass(frozen=True)
class Estimate(MaximumLikelihoodFit):
    """A family fitted to a sample by maximum likelihood, and how sure one can be of it.

    Attributes:
      distribution: the fitted `tfd.Distribution`, in float64.
      parameters: the estimates by name, numbers or arrays, as a statistician names them (`rate`, not `log_rate`).
      standard_errors: their standard errors by name, the roots of the diagonal of `covariance`; infinite where other
        values of the parameter, with other values of the others, give the same densities.
      covariance: `[q, q]` for the `q` numbers in `parameters`, in their order: the inverse of the observed information,
        sent through the links by the delta method. NaN where it does not exist; `message` says why.
      log_likelihood: the maximum in nats, the sum over the sample.
      num_observations: the number of observations; with weights their sum.
      num_parameters: the number of free parameters, without directions that change no density.
      converged: whether the estimate was verified to be a maximum, of the likelihoods near it: those of mixtures and of
        some other families have several.
      message: what was found, or why it is no maximum.
      fit: the sample with its family, and the end of the search.
    """

    distribution: tfd.Distribution
    parameters: dict[str, float | np.ndarray]
    standard_errors: dict[str, float | np.ndarray]
    covariance: np.ndarray
    log_likelihood: float
    num_observations: float
    num_parameters: int
    converged: bool
    message: str
    fit: Fit = dataclasses.field(repr=False)

    @property
    def problem(self) -> Problem:
        """The sample and its family."""
        return self.fit.problem

    @property
    def optimum(self) -> Optimum:
        """The end of the search."""
        return self.fit.optimum

    @property
    def family(self) -> ParametricFamily:
        """The fitted `Family` or `MixtureFamily`."""
        return self.problem.family

    def summary(self, level: float = 0.95) -> str:
        """The fit as a table of text, laid out like statsmodels'."""
        rule = "=" * _WIDTH
        names, *rows = table_of(self.parameters, self.standard_errors, self.confidence_intervals(level), level)
        heading = self._heading(self.family.label, "observed information", _WIDTH)
        top = ["Maximum Likelihood Estimate".center(_WIDTH), rule, *heading, rule, names, "-" * _WIDTH]
        return "\n".join([*top, *rows, rule, f"Verdict: {self.message}."])

    def confidence_intervals(
        self, level: float = 0.95, method: str = "wald", names: str | Iterable[str] | None = None
    ) -> dict[str, np.ndarray]:
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
        check_level(level)
        if method not in ("wald", "profile"):
            raise ValueError(f'`method` is {method!r}: give "wald" or "profile".')
        intervals = {}
        for name in [names] if isinstance(names, str) else self.parameters if names is None else names:
            self._check_name(name)
            value, error = np.asarray(self.parameters[name]), np.asarray(self.standard_errors[name])
            if method == "wald":
                intervals[name] = wald_interval(value, error, level)
            else:
                ends = [self._profile(name, place).interval(level) for place in range(value.size)]
                intervals[name] = np.reshape(ends, [*value.shape, 2])
        return intervals

    def profile(self, name: str, values: ArrayLike, index: int | tuple[int, ...] = ()) -> np.ndarray:
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

    def bootstrap(self, num_samples: int = 1000, seed: int = 0, kind: str = "nonparametric") -> Bootstrap:
        """Fits the family to samples like this one, to see how the estimates vary without a formula for their errors.

        Newton's method begins each fit at the estimate, in all samples together: a thousand take some tenths of a
        second, and where the likelihood is not smooth, or has several maxima, a minute.

        Args:
          num_samples: how many samples, each as large as this one; with weights, as their sum.
          seed: an int >= 0, which fixes them.
          kind: "nonparametric" draws observations with replacement, "parametric" draws from the fitted distribution.

        Returns:
          A `Bootstrap`, with the estimates of each sample, standard errors, intervals ("percentile" or "bca") and a
          table.

        Raises:
          ValueError: for other arguments.

        Example:
          >>> bootstrap = maximum_likelihood("Exponential", [0.5, 1.5, 0.2, 3.1, 0.9, 2.2]).bootstrap(2000)
          >>> bootstrap.confidence_intervals(0.9, method="bca")["rate"].round(1)
          array([0.5, 1.2])

        Source: Efron and Tibshirani, An introduction to the bootstrap, 1993.
        """
        return bootstrap(self.fit, num_samples, seed, kind)

    def _check_name(self, name: str) -> None:
        if name not in self.parameters:
            raise ValueError(
                f"`{name}` is no parameter of this fit, whose parameters are {', '.join(self.parameters)}."
            )

    def _check_converged(self) -> None:
        if not self.converged:
            raise ValueError(f"The fit is no maximum to compare with ({self.message}), so it has no profile.")

    def _profile(self, name: str, place: int) -> Profile:
        self._check_converged()
        error = np.ravel(self.standard_errors[name])[place]
        return Profile(self.fit, name, place, error)


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
    return _estimate_of(search(problem_of(distribution, y, weights, **fixed)))


def _estimate_of(fit: Fit) -> Estimate:
    problem, values, parts = fit.problem, fit.natural, fit.natural_errors
    errors = np.hypot.reduce(parts, axis=1)
    with np.errstate(over="ignore", invalid="ignore"):
        covariance = parts @ parts.T
    sizes = np.cumsum([value.size for value in values.values()])[:-1]
    errors_of = dict(zip(values, np.split(errors, sizes), strict=True))
    return Estimate(
        distribution=fit.distribution,
        parameters={name: _plain(value) for name, value in values.items()},
        standard_errors={name: _plain(error.reshape(values[name].shape)) for name, error in errors_of.items()},
        covariance=covariance,
        log_likelihood=fit.log_likelihood,
        num_observations=float(problem.weights.sum()),
        num_parameters=fit.optimum.rank + sum(value.size for value in problem.held.values()),
        converged=fit.converged,
        message=_message(fit, [f"`{name}`" for name, error in errors_of.items() if np.any(np.isinf(error))]),
        fit=fit,
    )


def _message(fit, idle):
    """What was found, or why it is no maximum; `idle` are the parameters that no sample can tell from others."""
    message = fit.message
    if not fit.converged:
        message += fit.problem.suspicion
    if idle:
        message += (
            f"; no sample can tell {' and '.join(idle)} from other values with the same densities, so the standard "
            f"error is infinite: hold a parameter at a value"
        )
    if fit.problem.held:
        names = " and ".join(f"`{name}`" for name in fit.problem.held)
        message += f"; the likelihood is not smooth in {names}, so there is no standard error"
    return message


def _plain(value: np.ndarray) -> float | np.ndarray:
    return float(value) if np.ndim(value) == 0 else value
