"""Maximum-likelihood estimates of a sample, with standard errors, intervals and a summary table."""

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from tensorflow_probability import distributions as tfd

from nllfit.estimation.bootstrap import Bootstrap, bootstrap, table_of
from nllfit.estimation.delta_method import Fit
from nllfit.estimation.problem import Problem, problem_of
from nllfit.estimation.profile import Profile
from nllfit.estimation.search import search
from nllfit.families.family_base import ParametricFamily
from nllfit.information_criteria import MaximumLikelihoodFit, check_level, wald_interval
from nllfit.optimum.optimum_and_verdict import Optimum

__all__ = ["Estimate", "maximum_likelihood"]

_WIDTH = 78


@dataclasses.dataclass(frozen=True)
class Estimate(MaximumLikelihoodFit):
    """A family fitted to a sample by maximum likelihood, with the uncertainty of its parameters.

    Attributes:
      distribution: the fitted `tfd.Distribution`, in float64.
      parameters: a dict from the name of a parameter to its estimate, a number or an array. The names are usual in
        statistics, such as `rate` instead of TFP's `log_rate`.
      standard_errors: the square roots of the diagonal of `covariance`, by name. A standard error is infinite if the
        parameter is not identified: other values of the parameter give the same densities.
      covariance: the covariance matrix `[q, q]` of the `q` numbers in `parameters`, in the order of `parameters`. It is
        the inverse of the observed information, transformed to `parameters` by the delta method. If a parameter has no
        standard error, the rows and columns of the parameter are NaN, and `message` says why.
      log_likelihood: the maximum of the log-likelihood, in nats, summed over the sample.
      num_observations: the number of observations. If weights were given, it is their sum.
      num_parameters: the number of estimated parameters. Redundant ones do not count: for example, `k` class
        probabilities sum to 1 and count as `k - 1`.
      converged: whether the estimate is a verified local maximum. Mixtures and some other families can have several
        local maxima.
      message: the result of the search; if it did not converge, the reason.
      fit: the `Fit`, which contains the sample, its family and the result of the search.
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
        """The result of the search."""
        return self.fit.optimum

    @property
    def family(self) -> ParametricFamily:
        """The fitted family object, such as a `Family` or a `Censored`."""
        return self.problem.family

    def summary(self, level: float = 0.95) -> str:
        """Returns the fit as a text table in the layout of statsmodels."""
        rule = "=" * _WIDTH
        names, *rows = table_of(self.parameters, self.standard_errors, self.confidence_intervals(level), level)
        heading = self._heading(self.family.label, "observed information", _WIDTH)
        top = ["Maximum Likelihood Estimate".center(_WIDTH), rule, *heading, rule, names, "-" * _WIDTH]
        return "\n".join([*top, *rows, rule, f"Verdict: {self.message}."])

    def confidence_intervals(
        self, level: float = 0.95, method: str = "wald", names: str | Iterable[str] | None = None
    ) -> dict[str, np.ndarray]:
        """Intervals that cover the true parameters with probability `level`, in large samples.

        The Wald interval is `estimate +- z * standard error`. The profile-likelihood interval contains the values with
        `2 (log_likelihood - profile(value)) <= chi-square quantile`. It stays in the parameter's domain and does not
        depend on the parametrisation.

        The chi-square distribution has 1 degree of freedom, or 2 if the parameter is an end of the support, such as the
        `low` of a Uniform. The estimate of this end is the smallest or largest observation. The error of the estimate
        is exponentially distributed, and the log-likelihood falls linearly from the estimate. So twice the fall from
        the estimate to the true value is exponentially distributed with mean 2: this is the chi-square distribution
        with 2 degrees of freedom.

        Args:
          level: the probability, between 0 and 1.
          method: "wald" or "profile". "profile" refits the other parameters five to ten times for each end.
          names: the name of a parameter, or several names; by default all.

        Returns:
          A dict of arrays `[*parameter, 2]` by name, with the lower and the upper end. If the sample does not limit a
          parameter on one side, the end on this side is infinite or the bound of the domain. The ends of a Wald
          interval are NaN if there is no standard error.

        Raises:
          ValueError: if `level` or `method` is invalid, if a name is unknown, or if `method` is "profile" and the fit
            did not converge.

        Example:
          >>> maximum_likelihood("Bernoulli", [0, 0, 0, 1, 0]).confidence_intervals(method="profile")["probs"].round(3)
          array([0.013, 0.628])

        Source: Venzon and Moolgavkar, A method for computing profile-likelihood-based confidence intervals, 1988; Hogg,
        On the distribution of the likelihood ratio, 1956.
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
        """The profile log-likelihood of a parameter: at each value, the maximum over all other parameters.

        Exception: if the likelihood has corners in one of the other parameters, such as the `loc` of a
        `GeneralizedNormal`, this parameter keeps its estimate. The result may then be a little too low.

        Args:
          name: a parameter's name, as in `parameters`.
          values: the values at which the parameter is held, `[m]`, or one number.
          index: the index of one element, if the parameter is an array.

        Returns:
          An array `[m]` of log-likelihoods in nats, summed over the sample. The log-likelihood of a value outside the
          parameter's domain is -inf.

        Raises:
          ValueError: if the family has no such name or index, if `values` is neither a number nor a list of numbers, or
            if the fit did not converge.
        """
        self._check_name(name)
        self._check_converged()
        shape = np.shape(self.parameters[name])
        try:
            place = int(np.arange(math.prod(shape)).reshape(shape)[index])
        except (IndexError, TypeError):
            raise ValueError(f"`index` is {index}, but `{name}` has shape {shape}: give one element's index.") from None
        try:
            held_values = np.asarray(values, np.float64)
        except (TypeError, ValueError):
            held_values = None
        if held_values is None or held_values.ndim > 1:
            raise ValueError(f"`values` is {values!r}: give a number, or a list of numbers.")
        profile = self._profile(name, place)
        return np.array([profile(value) for value in np.ravel(held_values).tolist()])

    def bootstrap(self, num_samples: int = 1000, seed: int = 0, kind: str = "nonparametric") -> Bootstrap:
        """Refits the family to bootstrap samples. This gives standard errors and intervals without large-sample theory.

        Usually Newton's method fits all samples together, starting at the estimate. A thousand samples then take a few
        tenths of a second. They take about a minute if each sample needs a separate search, for one of these reasons:

        - The likelihood is not smooth, or may have several maxima.
        - The derivatives of the likelihood are finite differences.
        - Parameters are redundant, such as the class probabilities of a Categorical.
        - The fit did not converge.

        Args:
          num_samples: the number of bootstrap samples. Each is as large as the data (or as the sum of the weights).
          seed: the seed of the samples, an int >= 0.
          kind: "nonparametric" draws observations with replacement; "parametric" draws from the fitted distribution.

        Returns:
          A `Bootstrap`, with the estimates from each sample, standard errors, intervals ("percentile" or "bca") and a
          table.

        Raises:
          ValueError: if an argument is invalid; if the weights sum to less than 2 observations; or if `kind` is
            "parametric" and outcomes are intervals (`Censored`) or contain the ends of a window (`Truncated` with
            "row").

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
                f"`{name}` is not a parameter of this fit: its parameters are {', '.join(self.parameters)}."
            )

    def _check_converged(self) -> None:
        if not self.converged:
            raise ValueError(f"The fit is not a maximum ({self.message}), so it has no profile.")

    def _profile(self, name: str, place: int) -> Profile:
        self._check_converged()
        error = np.ravel(self.standard_errors[name])[place]
        return Profile(self.fit, name, place, error)


def maximum_likelihood(distribution: Any, y: ArrayLike, *, weights: ArrayLike | None = None, **fixed: Any) -> Estimate:
    """Fits a family to a sample by maximum likelihood: `argmax_theta sum_i w_i log p(y_i | theta)`.

    Newton's method maximises the log-likelihood in float64, as a function of the logarithms of positive parameters. The
    search starts at TFP's closed-form estimate, provided that TFP has one, no parameter is held and all weights are
    equal. Otherwise it starts at the most likely of up to a thousand random parameter values, whose magnitudes are
    derived from the sample. If the likelihood may have several maxima, as for a mixture, the search is repeated from up
    to ten of these values. For a location-scale family, the sample is first centred at its median and divided by about
    its interquartile range. If the likelihood is not smooth in a parameter, the estimate is the observation or the
    sample statistic that maximises the likelihood. For example, the bounds of a Uniform are the smallest and the
    largest observation.

    Args:
      distribution: a class of `tfp.distributions` or its name, or a family object: a `Family`, a `MixtureFamily` or a
        family that modifies another, such as `Censored`.
      y: the sample, `[n, *event]`: `[n]` for a scalar family, `[n, d]` for vectors or d independent scalars.
      weights: the number of times that each observation counts, `[n]`, >= 0. By default each counts once.
      **fixed: parameters held at a value (`scale=1.0`), and `num_classes` for class labels. If `distribution` is a
        family object, give these arguments to the constructor of that object instead.

    Returns:
      An `Estimate`. Check its `converged` and `message` before you use the numbers.

    Raises:
      ValueError: before any optimisation, if one of these is true:
        - `y` is empty, is not numeric, has another event shape than the family, or contains fewer numbers than there
          are parameters.
        - `y` contains NaN, an infinite value or an outcome outside the support.
        - The likelihood is unbounded. Usual reasons are equal values, or linearly dependent columns.
        - `weights` have the wrong length, are negative or are all zero.
        - `distribution` is not a family, cannot be fitted to a sample, or has `shared` parameters.
        - `fixed` names an unknown parameter, has a value outside its domain, leaves no parameter free, or is given with
          a family object.

    Example:
      >>> maximum_likelihood("Bernoulli", [0, 0, 0, 1, 0]).parameters
      {'probs': 0.2}

    Source: Fisher, On the mathematical foundations of theoretical statistics, 1922; Efron and Hinkley, Assessing the
    accuracy of the maximum likelihood estimator: observed versus expected Fisher information, 1978.
    """
    return _estimate_of(search(problem_of(distribution, y, weights, **fixed)))


def _estimate_of(fit: Fit) -> Estimate:
    problem, values, covariance_factor = fit.problem, fit.natural, fit.natural_errors
    errors = np.hypot.reduce(covariance_factor, axis=1)
    with np.errstate(over="ignore", invalid="ignore"):
        covariance = covariance_factor @ covariance_factor.T
    sizes = np.cumsum([value.size for value in values.values()])[:-1]
    errors_of = dict(zip(values, np.split(errors, sizes), strict=True))
    return Estimate(
        distribution=fit.distribution,
        parameters={name: _float_or_array(value) for name, value in values.items()},
        standard_errors={name: _float_or_array(error.reshape(values[name].shape)) for name, error in errors_of.items()},
        covariance=covariance,
        log_likelihood=fit.log_likelihood,
        num_observations=float(problem.weights.sum()),
        num_parameters=fit.optimum.rank + sum(value.size for value in problem.held.values()),
        converged=fit.converged,
        message=_message(fit, [f"`{name}`" for name, error in errors_of.items() if np.any(np.isinf(error))]),
        fit=fit,
    )


def _message(fit, unidentified):
    """Returns the message of an `Estimate`. `unidentified` lists parameters without a unique estimate."""
    message = fit.message
    if unidentified:
        message += (
            f"; other values of {' and '.join(unidentified)} give the same densities, so the standard error is "
            f"infinite: hold a parameter at a value"
        )
    if fit.problem.held:
        names = " and ".join(f"`{name}`" for name in fit.problem.held)
        message += f"; the likelihood is not smooth in {names}, so there is no standard error"
    return message


def _float_or_array(value: np.ndarray) -> float | np.ndarray:
    return float(value) if np.ndim(value) == 0 else value
