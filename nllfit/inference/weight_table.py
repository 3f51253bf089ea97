"""The weights of a fitted model with their standard errors: as arrays, as a text table, and for JSON."""

import dataclasses
import math
from typing import Any

import numpy as np
import tensorflow as tf

from nllfit.information_criteria import MaximumLikelihoodFit, check_level, wald_interval

__all__ = ["Coefficients"]

# The total width of the columns of numbers in a summary, in characters.
_WIDTH_OF_NUMBERS = 58


@dataclasses.dataclass(frozen=True)
class Coefficients(MaximumLikelihoodFit):
    """The weights of a model that was fitted by maximum likelihood, with their uncertainty.

    Attributes:
      names: the names of the `q` coefficients: `kernel[age]`, `dense/bias`, and `scale` for a head's shared parameter.
        If two names would be equal, the second one gets a number: `dense/bias (2)`.
      estimates: `[q]`, the weights of the model; for a shared parameter, its value on the natural scale. If the
        distribution's argument is `log_rate`, this is the `rate`.
      standard_errors: `[q]`, the square roots of the diagonal of `covariance`. A standard error is infinite if the
        coefficient is not identified, which means that other values of the weights give the same likelihood.
      covariance: `[q, q]`. All elements are NaN if the covariance does not exist; `message` gives the reason. For
        a coefficient that is not identified, the variance is infinite and the covariances are NaN.
      kind: the estimator of the covariance: "observed information" or "sandwich". It is "sandwich, 12 groups" for 12
        groups. If the model has regularizers, "Laplace approximation" replaces "observed information".
      log_likelihood: in nats, the sum over the rows.
      num_observations: the number of rows, or the sum of their weights.
      num_parameters: the number of trainable weights, minus the number of directions that do not change the likelihood.
      label: the family of the model's head.
      converged: whether the weights are a verified maximum of the likelihood or, with regularizers, of the posterior.
      message: the result of the verification, or the reason why there are no standard errors.
    """

    names: list[str]
    estimates: np.ndarray
    standard_errors: np.ndarray
    covariance: np.ndarray
    kind: str
    log_likelihood: float
    num_observations: float
    num_parameters: int
    label: str
    converged: bool
    message: str

    @property
    def z_values(self) -> np.ndarray:
        """The estimates divided by their standard errors, `[q]`."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.estimates / self.standard_errors

    @property
    def p_values(self) -> np.ndarray:
        """The two-sided p-values of the hypotheses that a coefficient is 0, `P(|Z| > |z|)`, `[q]`; `Z` is N(0, 1)."""
        return tf.math.erfc(tf.constant(np.abs(self.z_values) / math.sqrt(2))).numpy()

    def confidence_intervals(self, level: float = 0.95) -> np.ndarray:
        """The Wald intervals `estimate +- z standard errors`, `[q, 2]`.

        Raises:
          ValueError: if `level` is not between 0 and 1.
        """
        check_level(level)
        return wald_interval(self.estimates, self.standard_errors, level)

    def summary(self, level: float = 0.95) -> str:
        """Returns the regression as a text table in the layout of statsmodels.

        Raises:
          ValueError: if `level` is not between 0 and 1.
        """
        intervals = self.confidence_intervals(level)
        first = max(20, *map(len, self.names)) + 2
        width = first + _WIDTH_OF_NUMBERS
        lines = ["Maximum Likelihood Regression".center(width).rstrip(), "=" * width]
        lines += self._heading(self.label, self.kind, width)
        ends = [f"[{(1 - level) / 2:.4g}", f"{(1 + level) / 2:.4g}]"]
        titles = f"{'coef':>11}{'std err':>11}{'z':>9}{'P>|z|':>7}{ends[0]:>10}{ends[1]:>10}"
        lines += ["=" * width, " " * first + titles, "-" * width]
        columns = (self.names, self.estimates, self.standard_errors, self.z_values, self.p_values, intervals)
        for name, estimate, error, z, p, (low, high) in zip(*columns, strict=True):
            cells = f"{estimate:>11.5g}{error:>11.4g}{z:>9.3f}{p:>7.3f}{low:>10.4g}{high:>10.4g}"
            lines.append(f"{name:<{first}}{cells}")
        return "\n".join([*lines, "=" * width, f"Verdict: {self.message}."])

    def to_dict(self) -> dict[str, Any]:
        """Returns the results as plain numbers and strings, for JSON, without the covariance matrix.

        Infinite and NaN values of coefficients become `None`.

        Returns:
          A dict with the numbers of the fit and the item `"coefficients"`, a dict by name. Each coefficient is a dict
          of its `estimate`, `standard_error`, `z`, `p_value`, and the ends `low` and `high` of its 95% interval.
        """
        columns = self.estimates, self.standard_errors, self.z_values, self.p_values, *self.confidence_intervals().T
        titles = "estimate", "standard_error", "z", "p_value", "low", "high"
        rows = zip(*(column.tolist() for column in columns), strict=True)
        plain = ("label", "kind", "log_likelihood", "num_observations", "num_parameters", "aic", "bic")
        return {name: getattr(self, name) for name in (*plain, "converged", "message")} | {
            "coefficients": {
                name: {title: value if math.isfinite(value) else None for title, value in zip(titles, row, strict=True)}
                for name, row in zip(self.names, rows, strict=True)
            },
        }
