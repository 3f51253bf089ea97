"""Tests of hypotheses about coefficients: Wald tests and likelihood-ratio tests."""

import dataclasses
import itertools
import re
from typing import Any

import numpy as np

from nllfit.regression.coefficient_table import CoefficientTable
from nllfit.regression.optional_packages import constraints, special
from nllfit.regression.optional_packages import pandas as pd

__all__ = ["Hypotheses", "WaldTest"]

# `R V R'` (see `WaldTest`) is scaled to a unit diagonal. Its eigenvalues count as zero if they are smaller than this,
# relative to the largest eigenvalue.
_SINGULAR = 1e-12
_UNQUOTED = "(?=(?:[^`]*`[^`]*`)*[^`]*$)"  # matches a position that is not between backticks
_ROUNDING = 1e-8  # the rounding error of a statistic, relative to the log-likelihood


@dataclasses.dataclass(frozen=True)
class WaldTest:
    """The Wald test of linear constraints `R b = r`.

    Attributes:
      statistic: `(R b - r)' inv(R V R') (R b - r)`. NaN if the fit has no covariance `V`, or if `R V R'` is singular.
        `R V R'` is singular if `V` is a sandwich of `G` clusters and there are `G` or more constraints.
      degrees_of_freedom: the number of constraints.
      p_value: the chi-square probability of a statistic at least as large, if the constraints are true.
      constraint: the constraints as text.
    """

    statistic: float
    degrees_of_freedom: int
    p_value: float
    constraint: str


class Hypotheses(CoefficientTable):
    """A coefficient table with tests of hypotheses.

    Attributes:
      terms: `{term: indices of its coefficients}` for each term of the formulas.
    """

    terms: dict[str, list[int]]

    def test(self, constraint: Any) -> WaldTest:
        """Returns the joint Wald test of one or several linear constraints on the coefficients.

        Args:
          constraint: one of these:
            - a text such as `"x1 = x2 = x3"`, `"x1 = 0, x2 = 0"` or `"x1 + 2 * x2 = 1"`. Backticks quote a name that
              is not a single word: "`C(g)[T.b]` = 0";
            - a list or tuple of such texts;
            - a matrix `[m, q]` whose product with the coefficients is 0.

        Raises:
          ValueError: if there is no constraint; or if a constraint cannot be read, has an unknown name or the wrong
            shape, follows from the others or contradicts them.

        Example:
          >>> data = {"y": [2.0, 4.0, 3.0, 6.0, 7.0, 9.0], "a": [0, 1, 0, 1, 2, 3], "b": [0, 1, 1, 2, 2, 2]}
          >>> result = nllfit.regression("y ~ a + b", data)
          >>> result.test("a = b").degrees_of_freedom
          1
        """
        matrix, values, text = self._constraints(constraint)
        return _wald(matrix @ self.estimates - values, matrix @ self.covariance @ matrix.T, text)

    def test_terms(self) -> Any:
        """Tests each term of the formulas by a Wald test. The hypothesis is that all coefficients of the term are 0.

        Returns:
          A `DataFrame` with a row for each term and the columns `statistic`, `df` and `p_value`. `statistic` and
          `p_value` are NaN if the statistic does not exist; see `WaldTest`.
        """
        rows = {}
        for term, indices in self.terms.items():
            wald_test = _wald(self.estimates[indices], self.covariance[np.ix_(indices, indices)], term)
            rows[term] = wald_test.statistic, wald_test.degrees_of_freedom, wald_test.p_value
        return pd.DataFrame.from_dict(rows, "index", columns=["statistic", "df", "p_value"])

    def anova(self, *larger: "Hypotheses") -> Any:
        """Compares each fit with the next larger one by a likelihood-ratio test. The fits must be nested.

        The statistic is `2 (log L_larger - log L_smaller)`. Its p-value comes from the chi-square distribution with
        `num_parameters_larger - num_parameters_smaller` degrees of freedom. Each fit must be a special case of the
        next. `anova` cannot check this, but raises an error if a larger fit has a lower likelihood.

        Args:
          *larger: fits to the same outcomes, in order of increasing numbers of coefficients.

        Returns:
          A `DataFrame` with a row for each formula and the columns `log_likelihood`, `num_parameters`, `statistic`,
          `df` and `p_value`.

        Raises:
          TypeError: if an argument is not a fit.
          ValueError: if there is no larger fit; or if one of these is true for two successive fits:
            - One is a `regression`, the other a `cox_regression`.
            - The outcomes, weights or strata differ.
            - The larger fit does not have more coefficients, or its likelihood is lower.
        """
        if not larger:
            raise ValueError("`anova` compares fits: give a fit with more coefficients, or call `test_terms`.")
        fits, rows = [self, *larger], []
        if wrong := [fit for fit in larger if not isinstance(fit, Hypotheses)]:
            raise TypeError(f"`anova` got {wrong[0]!r}: give results of `regression` or of `cox_regression`.")
        for before, fit in zip([None, *fits], fits, strict=False):
            tested = (np.nan, np.nan, np.nan) if before is None else _likelihood_ratio(before, fit)
            rows.append((fit.log_likelihood, fit.num_parameters, *tested))
        columns = ["log_likelihood", "num_parameters", "statistic", "df", "p_value"]
        return pd.DataFrame(rows, pd.Index([fit.formula for fit in fits], name="formula"), columns)

    def _observed(self) -> np.ndarray:
        """Returns the outcomes, weights and strata of the rows. `anova` compares only fits in which they are equal."""
        raise NotImplementedError

    def _constraints(self, constraint):
        """Returns the matrix `[m, q]` of the constraints, their right side `[m]` and their text."""
        if isinstance(constraint, str) or (
            isinstance(constraint, (list, tuple)) and all(isinstance(c, str) for c in constraint)
        ):
            text = constraint if isinstance(constraint, str) else ", ".join(constraint)
            try:
                parsed = constraints.LinearConstraints.from_spec(_in_pairs(text), list(self.names))
            except Exception as error:  # the parser raises errors of many types
                raise ValueError(
                    f"The constraint `{text}` cannot be read: {str(error).splitlines()[0].rstrip('.')}. The "
                    f"coefficients are {', '.join(self.names)}; quote names that are not a single word with backticks."
                ) from None
            matrix, values = np.asarray(parsed.constraint_matrix, float), np.asarray(parsed.constraint_values, float)
        else:
            matrix, text = _matrix(constraint), "matrix"
            values = np.zeros(len(matrix))
        if matrix.shape[1:] != (len(self.names),):
            raise ValueError(f"The constraint is of shape {matrix.shape}: give a row of {len(self.names)} for each.")
        if not len(matrix):
            raise ValueError("`constraint` is empty: give a text such as 'x1 = x2', a list of texts, or a matrix.")
        if np.linalg.matrix_rank(matrix) < len(matrix):
            raise ValueError(
                f"The constraint `{text}` is redundant or contradicts itself: leave out constraints on combinations of "
                f"coefficients that the others determine."
            )
        return matrix, values, text


def _in_pairs(text: str) -> str:
    """Replaces `a = b = c` in a constraint by `a = b, b = c`, because formulaic misreads several `=`."""
    parts = [re.split(f"(?<!=)=(?!=){_UNQUOTED}", part) for part in re.split(f",{_UNQUOTED}", text)]
    pairs = [[*map("=".join, itertools.pairwise(part))] or part for part in parts]
    return ",".join(itertools.chain.from_iterable(pairs))


def _matrix(constraint):
    try:
        matrix = np.atleast_2d(np.asarray(constraint, float))
    except (TypeError, ValueError):
        matrix = np.array([[np.nan]])
    if not np.isfinite(matrix).all():
        raise ValueError(
            f"`constraint` is {constraint!r}: give a text such as 'x1 = x2', a list of texts, or a matrix of finite "
            f"numbers."
        )
    return matrix


def _wald(difference: np.ndarray, covariance: np.ndarray, text: str) -> WaldTest:
    statistic, variances = np.nan, np.diag(covariance)
    if np.isfinite(covariance).all() and (variances > 0).all():
        z = difference / np.sqrt(variances)
        correlation = covariance / np.sqrt(np.outer(variances, variances))
        if np.linalg.matrix_rank(correlation, _SINGULAR, hermitian=True) == len(z):
            statistic = float(z @ np.linalg.solve(correlation, z))
    return WaldTest(statistic, len(difference), _chi_square(len(difference), statistic), text)


def _likelihood_ratio(smaller: Hypotheses, larger: Hypotheses) -> tuple[float, int, float]:
    if type(smaller) is not type(larger):
        raise ValueError(
            f"`{smaller.formula}` is a {type(smaller).__name__} and `{larger.formula}` a {type(larger).__name__}: a "
            f"likelihood and a partial likelihood cannot be compared."
        )
    if smaller.num_observations != larger.num_observations:
        raise ValueError(
            f"`{smaller.formula}` was fitted to {smaller.num_observations:g} rows and `{larger.formula}` to "
            f"{larger.num_observations:g}: fit both to the same rows."
        )
    if not np.array_equal(_sorted(smaller._observed()), _sorted(larger._observed())):
        raise ValueError(
            f"`{smaller.formula}` and `{larger.formula}` were fitted to different outcomes, weights or strata: fit "
            f"both to the same data."
        )
    df = larger.num_parameters - smaller.num_parameters
    if df < 1:
        raise ValueError(
            f"`{larger.formula}` has no more coefficients than `{smaller.formula}`: give the fits in increasing order."
        )
    statistic = 2 * (larger.log_likelihood - smaller.log_likelihood)
    if statistic < -_ROUNDING * (1 + abs(larger.log_likelihood)):
        raise ValueError(
            f"The log-likelihood of `{larger.formula}` is {-statistic / 2:.4g} nats lower than that of "
            f"`{smaller.formula}`, so the fits are not nested, or one did not converge: give fits of which each is a "
            f"special case of the next."
        )
    return statistic, df, _chi_square(df, statistic)


def _sorted(rows: np.ndarray) -> np.ndarray:
    return rows[np.lexsort(rows.T)]


def _chi_square(df: int, statistic: float) -> float:
    return float(special.chdtrc(df, max(statistic, 0.0)))
