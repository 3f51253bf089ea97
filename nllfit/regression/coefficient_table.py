"""A table of estimated coefficients. Its methods have the names that statsmodels uses."""

import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

from nllfit.information_criteria import MaximumLikelihoodFit, wald_interval
from nllfit.regression.optional_packages import pandas as pd
from nllfit.regression.optional_packages import special

__all__ = ["CoefficientTable", "level_of"]

_LEAST_WIDTH = 78  # the minimum number of characters in a line of a summary


class CoefficientTable(MaximumLikelihoodFit):
    """Maximum-likelihood coefficients and their covariance.

    Attributes:
      formula: the formula that was fitted.
      names: the names of the coefficients, `[q]`.
      estimates: the coefficients, `[q]`.
      covariance: the covariance of the coefficients, `[q, q]`. If it does not exist, all elements are NaN, and
        `message` gives the reason.
      kind: the estimator of the covariance, such as "observed information".
      ratios: whether the exponential of each coefficient is a ratio (of rates, odds, hazards), `[q]`.
      log_likelihood: the log-likelihood in nats, summed over the rows.
      num_observations: the number of rows, or the sum of their weights.
      num_parameters: the number of coefficients, `q`.
      label: the name of the family, or "Cox".
      converged: whether the coefficients are a verified maximum of the likelihood.
      message: the result of the verification, or the reason why there are no standard errors.
    """

    formula: str
    names: Sequence[str]
    estimates: np.ndarray
    covariance: np.ndarray
    kind: str
    ratios: np.ndarray
    label: str
    message: str

    @property
    def params(self) -> Any:
        """The coefficients, as a `Series` by name."""
        return pd.Series(self.estimates, self.names, name="coef")

    @property
    def bse(self) -> Any:
        """The standard errors of the coefficients, as a `Series` by name."""
        return pd.Series(np.sqrt(np.diag(self.covariance)), self.names, name="std err")

    @property
    def tvalues(self) -> Any:
        """The z-values, which are the coefficients divided by their standard errors, as a `Series` by name."""
        return (self.params / self.bse).rename("z")

    @property
    def pvalues(self) -> Any:
        """The two-sided p-values `P(|Z| > |z|)` of the hypotheses that a coefficient is 0; `Z` is standard Normal."""
        return pd.Series(2 * special.ndtr(-np.abs(self.tvalues.to_numpy())), self.names, name="P>|z|")

    @property
    def llf(self) -> float:
        """The attribute `log_likelihood`, in nats, under the name that statsmodels uses."""
        return self.log_likelihood

    @property
    def nobs(self) -> float:
        """The attribute `num_observations` under the name that statsmodels uses."""
        return self.num_observations

    def cov_params(self) -> Any:
        """The covariance of the coefficients, a `DataFrame` with their names."""
        return pd.DataFrame(self.covariance, self.names, self.names)

    def conf_int(self, alpha: float = 0.05) -> Any:
        """Returns the Wald intervals of level `1 - alpha`, a `DataFrame` with the columns `lower` and `upper`.

        Raises:
          ValueError: if `alpha` is not between 0 and 1.
        """
        level = level_of(alpha)
        return pd.DataFrame(wald_interval(self.estimates, self.bse.to_numpy(), level), self.names, ["lower", "upper"])

    def table(self, exponentiate: bool = False, alpha: float = 0.05) -> Any:
        """Returns a `DataFrame` with the columns `coef`, `std err`, `z`, `P>|z|`, `lower` and `upper`.

        Args:
          exponentiate: whether to show `exp(coef)` and the exponentials of the interval's ends. The table then has only
            the coefficients for which `exp(coef)` is a ratio: of rates (Poisson), odds (Bernoulli), cumulative odds
            `P(Y > k) / P(Y <= k)` (OrderedLogistic), hazards (Cox) or times (Weibull). The standard errors are
            multiplied by `exp(coef)`, and the first column is `exp(coef)`.
          alpha: one minus the level of the intervals.

        Raises:
          ValueError: if `alpha` is not between 0 and 1; or, with `exponentiate`, if no coefficient is the logarithm of
            a ratio.
        """
        table = pd.concat([self.params, self.bse, self.tvalues, self.pvalues, self.conf_int(alpha)], axis=1)
        if not exponentiate:
            return table
        if not self.ratios.any():
            raise ValueError(
                f"No coefficient of {self.label} is the logarithm of a ratio, so its exponential has no meaning: use "
                f"the link exp or sigmoid, or leave out `exponentiate`."
            )
        table = table[self.ratios]
        ratios = np.exp(table["coef"])
        ends = np.exp(table[["lower", "upper"]])
        table = table.assign(
            **{"coef": ratios, "std err": table["std err"] * ratios}, lower=ends.lower, upper=ends.upper
        )
        return table.rename(columns={"coef": "exp(coef)"})

    def summary(self, exponentiate: bool = False, alpha: float = 0.05) -> str:
        """Returns the table as text, with the formula, the fit statistics and the `message`.

        The arguments and errors are those of `table`.
        """
        body = self.table(exponentiate, alpha).to_string(float_format=lambda number: f"{number:.4g}").splitlines()
        width = max(_LEAST_WIDTH, *map(len, body))
        heading = [f"Formula: {self.formula}", "=" * width, *self._heading(self.label, self.kind, width), "=" * width]
        return "\n".join([*heading, *body, "=" * width, f"Verdict: {self.message}."])


def level_of(alpha: Any) -> float:
    """Returns the level of an interval, `1 - alpha`. Raises a `ValueError` if `alpha` is not between 0 and 1."""
    if not (isinstance(alpha, numbers.Real) and 0 < float(alpha) < 1):
        raise ValueError(f"`alpha` is {alpha!r}: give one minus the level of the intervals, such as 0.05.")
    return 1 - float(alpha)
