"""The weights of a fitted model with their errors: as arrays, as a table, and as numbers for JSON."""

import dataclasses
import math
from typing import Any

import numpy as np
import tensorflow as tf

from nllfit.fits import MaximumLikelihoodFit, check_level, wald_interval

__all__ = ["Coefficients"]

_NUMBERS = 58  # characters of a row, beside its name


@dataclasses.dataclass(frozen=True)
class Coefficients(MaximumLikelihoodFit):
    """The weights of a model that was fitted by maximum likelihood, and how sure one can be of them.

    Attributes:
      names: of the `q` numbers: `kernel[age]`, `dense/bias`, and `scale` for what a head shares.
      estimates: `[q]`, the weights as the model has them, and the head's shared parameters themselves.
      standard_errors: `[q]`, the roots of the diagonal of `covariance`; infinite where other weights give the same
        likelihood.
      covariance: `[q, q]`; NaN where it does not exist: `message` says why.
      kind: how the covariance was found, in words.
      log_likelihood: in nats, the sum over the rows.
      num_observations: the rows; with weights their sum.
      num_parameters: the weights, without directions that change nothing.
      label: what the model predicts: the family of its head.
      converged: whether the weights were verified to be a maximum of the likelihood.
      message: what was found, or why there are no errors.
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
        """The estimates in units of their standard errors, `[q]`."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.estimates / self.standard_errors

    @property
    def p_values(self) -> np.ndarray:
        """The two-sided p-values `P(|Z| > |z|)` of each number being 0, `[q]`, for a standard Normal `Z`."""
        return tf.math.erfc(tf.constant(np.abs(self.z_values) / math.sqrt(2))).numpy()

    def confidence_intervals(self, level: float = 0.95) -> np.ndarray:
        """Wald's intervals, `estimate +- z standard errors`, `[q, 2]`.

        Raises:
          ValueError: if `level` is not between 0 and 1.
        """
        check_level(level)
        return wald_interval(self.estimates, self.standard_errors, level)

    def summary(self, level: float = 0.95) -> str:
        """The regression as a table of text, laid out like statsmodels'."""
        intervals = self.confidence_intervals(level)
        first = max(20, *map(len, self.names)) + 2
        width = first + _NUMBERS
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
        """All of it as plain numbers and texts, for JSON; what is infinite or not known is None.

        Returns:
          A dict of the numbers of the fit, and of `"coefficients"`: for each name a dict of its `estimate`,
          `standard_error`, `z`, `p_value`, and its 95 % interval, `low` and `high`.
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
