"""Tests of hypotheses about coefficients: Wald's, of linear constraints, and the likelihood ratio's, of nested fits."""

import dataclasses
from typing import Any

import numpy as np

from nllfit.regression.coefficient_table import CoefficientTable
from nllfit.regression.extras import constraints, special
from nllfit.regression.extras import pandas as pd

__all__ = ["Hypotheses", "WaldTest"]


@dataclasses.dataclass(frozen=True)
class WaldTest:
    """Wald's test of linear constraints `R b = r`.

    Attributes:
      statistic: `(R b - r)' inv(R V R') (R b - r)`.
      degrees_of_freedom: the number of constraints.
      p_value: how often the statistic would be as large under the constraints, by the chi-square distribution.
      constraint: what was tested.
    """

    statistic: float
    degrees_of_freedom: int
    p_value: float
    constraint: str


class Hypotheses(CoefficientTable):
    """Coefficients with tests.

    Attributes:
      terms: for each term of the formulas the indices of its coefficients.
    """

    terms: dict[str, list[int]]

    def test(self, constraint: Any) -> WaldTest:
        """Tests linear constraints of the coefficients, all of them at once, by Wald's test.

        Args:
          constraint: such as `"x1 = x2"`, `"x1 = 0, x2 = 0"` or `"x1 + 2 * x2 = 1"`, with names that are more than a
            word between backticks: "`C(g)[T.b]` = 0"; or a list of those; or a matrix `[m, q]`, each row times the
            coefficients being 0.

        Raises:
          ValueError: for a constraint that cannot be read, one that follows from the others, or an unknown name.

        Example:
          >>> data = {"y": [2.0, 4.0, 3.0, 6.0, 7.0, 9.0], "a": [0, 1, 0, 1, 2, 3], "b": [0, 1, 1, 2, 2, 2]}
          >>> result = nllfit.regression("y ~ a + b", data)
          >>> result.test("a = b").degrees_of_freedom
          1
        """
        matrix, values, text = self._constraints(constraint)
        return _wald(matrix @ self.estimates - values, matrix @ self.covariance @ matrix.T, text)

    def test_terms(self) -> Any:
        """Wald's test of each term of the formulas, all of its coefficients being 0.

        Returns:
          A `DataFrame` by term: `statistic`, `df`, `p_value`.
        """
        rows = {}
        for term, places in self.terms.items():
            found = _wald(self.estimates[places], self.covariance[np.ix_(places, places)], term)
            rows[term] = found.statistic, found.degrees_of_freedom, found.p_value
        return pd.DataFrame.from_dict(rows, "index", columns=["statistic", "df", "p_value"])

    def anova(self, *larger: "Hypotheses") -> Any:
        """Likelihood-ratio tests of this fit within a larger one, of that within the next, and so on.

        The statistic is `2 (log L_larger - log L_smaller)`. Its p-value is that of a chi-square distribution with as
        many degrees of freedom as the larger fit has more coefficients. Each fit must be a special case of the next,
        which is not checked.

        Args:
          *larger: fits to the same outcomes, each with more coefficients than the one before.

        Returns:
          A `DataFrame` by formula: `log_likelihood`, `num_parameters`, `statistic`, `df`, `p_value`.

        Raises:
          ValueError: without a larger fit, for fits to other outcomes, or of no more coefficients.
        """
        if not larger:
            raise ValueError("`anova` compares fits: give one of more coefficients, or call `test_terms`.")
        fits, rows = [self, *larger], []
        for before, fit in zip([None, *fits], fits, strict=False):
            tested = (np.nan, np.nan, np.nan) if before is None else _likelihood_ratio(before, fit)
            rows.append((fit.log_likelihood, fit.num_parameters, *tested))
        columns = ["log_likelihood", "num_parameters", "statistic", "df", "p_value"]
        return pd.DataFrame(rows, pd.Index([fit.formula for fit in fits], name="formula"), columns)

    def _constraints(self, constraint):
        """The matrix `[m, q]` and the right side `[m]` of constraints, and their text."""
        if isinstance(constraint, str) or (
            isinstance(constraint, list) and all(isinstance(c, str) for c in constraint)
        ):
            text = constraint if isinstance(constraint, str) else ", ".join(constraint)
            try:
                found = constraints.LinearConstraints.from_spec(text, list(self.names))
            except Exception as error:  # of the parser, or of what an expression does
                raise ValueError(
                    f"The constraint `{text}` cannot be read: {str(error).splitlines()[0].rstrip('.')}. The "
                    f"coefficients are {', '.join(self.names)}; put names that are more than a word between backticks."
                ) from None
            matrix, values = np.asarray(found.constraint_matrix, float), np.asarray(found.constraint_values, float)
        else:
            matrix, text = np.atleast_2d(np.asarray(constraint, float)), "matrix"
            values = np.zeros(len(matrix))
        if matrix.shape[1:] != (len(self.names),):
            raise ValueError(f"The constraint is of shape {matrix.shape}: give a row of {len(self.names)} for each.")
        if np.linalg.matrix_rank(matrix) < len(matrix):
            raise ValueError(f"The constraint `{text}` says something twice or nothing: leave out what follows.")
        return matrix, values, text


def _wald(difference: np.ndarray, covariance: np.ndarray, text: str) -> WaldTest:
    statistic = np.nan
    if np.isfinite(covariance).all():
        statistic = float(difference @ np.linalg.solve(covariance, difference))
    return WaldTest(statistic, len(difference), _chi_square(len(difference), statistic), text)


def _likelihood_ratio(smaller: CoefficientTable, larger: CoefficientTable) -> tuple[float, int, float]:
    if smaller.num_observations != larger.num_observations:
        raise ValueError(
            f"`{smaller.formula}` was fitted to {smaller.num_observations:g} rows and `{larger.formula}` to "
            f"{larger.num_observations:g}: fit both to the same."
        )
    df = larger.num_parameters - smaller.num_parameters
    if df < 1:
        raise ValueError(
            f"`{larger.formula}` has no more coefficients than `{smaller.formula}`: give the fits from the smallest on."
        )
    statistic = 2 * (larger.log_likelihood - smaller.log_likelihood)
    return statistic, df, _chi_square(df, statistic)


def _chi_square(df: int, statistic: float) -> float:
    return float(special.chdtrc(df, max(statistic, 0.0)))
