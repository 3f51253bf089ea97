"""The linear predictors of a fitted regression."""

from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.families.family_base import ParametricFamily
from nllfit.families.head_base import traced_distribution
from nllfit.regression.coefficient_derivatives import by_coefficients, numbers_of
from nllfit.regression.coefficient_search import Objective
from nllfit.regression.coefficient_table import CoefficientTable
from nllfit.regression.data_columns import as_frame
from nllfit.regression.formula_outcomes import Outcome
from nllfit.regression.keras_model import Predictor

__all__ = ["LinearPredictors"]


class LinearPredictors(CoefficientTable):
    """A fitted regression. Each parameter of the family is a function of a linear predictor.

    This package calls the function a link. In the theory of generalized linear models, it is the inverse link.

    Attributes:
      family: the family of the head.
      predictors: the linear predictor of each parameter, the main parameter first.
      objective: the negative log-likelihood of the fitted rows.
      outcome: the name, values and labels of the outcomes.
      labels: the labels of the classes of a Categorical or an OrderedLogistic; empty for other families.
    """

    family: ParametricFamily
    predictors: list[Predictor]
    objective: Objective
    outcome: Outcome
    labels: tuple[str, ...]
    _coefficients: np.ndarray  # [q], the coefficients of the linear predictors
    _root: np.ndarray  # [q, q], a square root `A` of the covariance `A A'` of `_coefficients`

    def numbers(self, data: Any = None) -> np.ndarray:
        """Returns the linear predictors of all parameters for each row, `[m, params_size]`. They are the head's input.

        Args:
          data: a table with the columns of the formulas; by default the fitted rows.

        Raises:
          TypeError, ValueError: in the cases that `Regression.predict` lists.
        """
        return numbers_of(self.predictors, self._designs(data), self._coefficients)

    def inputs(self, data: Any = None) -> dict[str, np.ndarray]:
        """Returns the inputs of `model` for the rows of a table, or for the fitted rows if `data` is None.

        Call `model(inputs)`, because `model.predict` of tf_keras rounds the inputs to float32.
        """
        inputs: dict[str, np.ndarray] = {}
        for predictor, (matrix, offset) in zip(self.predictors, self._designs(data), strict=True):
            inputs |= predictor.inputs(matrix, offset)
        return inputs

    def predict_distribution(self, data: Any = None) -> tfd.Distribution:
        """Returns the predicted distribution of each row, a `tfd.Distribution` of batch `[n]`.

        The argument and errors are those of `numbers`.
        """
        return traced_distribution(self.family, tf.constant(self.numbers(data)))

    def _designs(self, data):
        """Returns the design matrix and the offset of each predictor, for a table or the fitted rows."""
        data = None if data is None else as_frame(data)
        return [p.design.of(data) for p in self.predictors]

    def _error(self, designs, gradients):
        """Returns the standard errors of `m` values of a quantity, by the delta method.

        `gradients`, `[m, params_size]`, are the gradients of the values with respect to the linear predictors.
        """
        coefficient_gradients = by_coefficients(self.predictors, designs, gradients)
        return np.linalg.norm(coefficient_gradients @ self._root, axis=1)
