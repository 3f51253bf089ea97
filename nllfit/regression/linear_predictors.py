"""A regression as linear predictors: from coefficients and rows to what the head takes, and derivatives back."""

from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.families.layer import traced_distribution
from nllfit.families.protocol import ParametricFamily
from nllfit.regression.coefficient_table import CoefficientTable
from nllfit.regression.columns import as_frame
from nllfit.regression.linear_maps import by_coefficients, numbers_of
from nllfit.regression.newton import Objective
from nllfit.regression.outcomes import Outcome
from nllfit.regression.predictors import Predictor

__all__ = ["LinearPredictors"]


class LinearPredictors(CoefficientTable):
    """A fitted regression whose parameters, before their links, are linear in columns.

    Attributes:
      family: of the head.
      predictors: of its parameters, that of the formula first.
      objective: the negative log-likelihood of the rows that were fitted.
      outcome: the name, values and labels of the outcomes.
      labels: of the classes; empty for numbers.
    """

    family: ParametricFamily
    predictors: list[Predictor]
    objective: Objective
    outcome: Outcome
    labels: tuple[str, ...]
    _coefficients: np.ndarray  # before the links, [q]
    _information: np.ndarray  # the inverse of their observed information, [q, q]
    _covariance: np.ndarray  # by the kind that was asked for, [q, q]

    def numbers(self, data: Any = None) -> np.ndarray:
        """What the head takes for rows: the linear predictors of all parameters, `[m, params_size]`.

        Args:
          data: a table of the formulas' columns; by default the rows that were fitted.
        """
        return numbers_of(self.predictors, self._designs(data), self._coefficients)

    def inputs(self, data: Any = None) -> dict[str, np.ndarray]:
        """What `model` takes for the rows of a table; by default for the rows that were fitted."""
        found: dict[str, np.ndarray] = {}
        for predictor, (matrix, offset) in zip(self.predictors, self._designs(data), strict=True):
            found |= predictor.inputs(matrix, offset)
        return found

    def predict_distribution(self, data: Any = None) -> tfd.Distribution:
        """The distribution of each row, of batch `[n]`: what `quantile`, `crps`, `evaluate` and the like take."""
        return traced_distribution(self.family, tf.constant(self.numbers(data)))

    def _designs(self, data):
        """For each predictor its matrix and offset."""
        if data is None:
            return [(p.design.matrix, p.total_offset) for p in self.predictors]
        data = as_frame(data)
        if any(p.offset is not None for p in self.predictors):
            raise ValueError(
                "`offset` was an array of the fitted rows, which other rows do not have: fit with the name of a "
                "column, or with `offset(...)` in the formula."
            )
        return [p.design.of(data, "data") for p in self.predictors]

    def _error(self, designs, slopes):
        """The standard error, `[m]`, of what has the derivatives `[m, params_size]` by the rows' numbers."""
        by = by_coefficients(self.predictors, designs, slopes)
        return np.sqrt(np.einsum("mq,qp,mp->m", by, self._covariance, by))
