"""Predictions of a regression and their intervals."""

from numbers import Real
from typing import Any

import numpy as np
import tensorflow as tf

from nllfit.cdf_and_quantiles import interval, quantile
from nllfit.families.arguments import as_count
from nllfit.families.head_base import traced_distribution
from nllfit.families.law import elements_of, law_of
from nllfit.families.mixture import mixture_of
from nllfit.information_criteria import check_level, wald_interval
from nllfit.regression.coefficient_derivatives import numbers_of
from nllfit.regression.data_columns import as_frame
from nllfit.regression.linear_predictors import LinearPredictors
from nllfit.regression.optional_packages import pandas as pd

__all__ = ["Predictions"]

_STEP = 6e-6  # in float64, a central difference with this relative step has the smallest error, about 1e-10
_ROUNDING = 1e-13  # smaller relative changes of a prediction are rounding errors


class Predictions(LinearPredictors):
    """The prediction methods of a regression."""

    def predict(self, data: Any = None) -> Any:
        """Returns the prediction for each row: the mean of its distribution, or the probability of each class.

        If the distribution has no mean, the prediction is its median or mode. Only a Categorical and an OrderedLogistic
        predict the probability of each class. For a Bernoulli, the mean is the probability of the second label.

        Args:
          data: a table with the columns of the formulas and offsets; by default the fitted rows.

        Returns:
          A `Series` with the index of `data`, or a `DataFrame` with a column for each class.

        Raises:
          TypeError: if `data` is not a table.
          ValueError: if one of these is true:
            - A column is missing, has missing values, or has levels that the fitted rows do not have.
            - A value in a column of a `spline` is outside the range of the fitted rows.
            - `data` is given, and `offset` was an array in the fit.
        """
        index = self._index(data)
        values = law_of(self.predict_distribution(data)).central_value().numpy()
        if self.labels:
            return pd.DataFrame(values, index, list(self.labels))
        return pd.Series(np.reshape(values, [len(index)]), index, name="prediction")

    def predict_interval(self, data: Any = None, level: float = 0.95, *, num_draws: int = 0, seed: int = 0) -> Any:
        """Returns the mean of each row's distribution, its standard error, and two intervals.

        If the distribution has no mean, its median or mode replaces the mean, as in `predict`. If the fit did not
        converge, `mean_se` and the ends of the confidence interval are NaN.

        `mean_lower` and `mean_upper` are the confidence interval of the mean. If the mean depends only on the main
        parameter, as in a generalized linear model, they are the smallest and the largest mean in the Wald interval of
        the linear predictor. Otherwise the interval is `mean +- z se`, and the delta method gives `se`.

        `lower` and `upper` are the prediction interval of a new outcome: the central interval of the distribution that
        the estimates predict. This interval ignores the uncertainty of the coefficients, which is small if there are
        many rows. If `num_draws` is positive, the interval includes this uncertainty. Then coefficients are drawn from
        their approximate Normal distribution, each draw predicts a distribution, and the interval is the central
        interval of the mixture of these distributions.

        Args:
          data: a table with the columns of the formulas and offsets; by default the fitted rows.
          level: the probability of each of the two intervals.
          num_draws: the number of draws of the coefficients, such as 200; 0 to use only the estimates.
          seed: the seed of the draws.

        Returns:
          A `DataFrame` with the columns `mean`, `mean_se`, `mean_lower`, `mean_upper`, `lower` and `upper`.

        Raises:
          TypeError: if `data` is not a table.
          ValueError: if one of these is true:
            - The family is a Categorical or an OrderedLogistic, or `level` is not between 0 and 1.
            - `num_draws` is negative, or it is positive and the fit did not converge.
            - `predict` refuses `data`.

        Example:
          >>> data = {"y": [2.0, 4.0, 3.0, 6.0, 7.0, 9.0], "x": [0, 1, 2, 3, 4, 5]}
          >>> nllfit.regression("y ~ x", data).predict_interval({"x": [6]}).round(2).to_dict("records")[0]["mean"]
          9.87
        """
        if self.labels:
            raise ValueError("Classes have no intervals: call `predict` for their probabilities.")
        check_level(level)
        if as_count("num_draws", num_draws, 0) and not self.converged:
            raise ValueError(
                f"`num_draws` is {num_draws}, but the coefficients have no covariance, because {self.message}: give "
                f"`num_draws=0`, or change the model so that the fit converges."
            )
        designs, index = self._designs(data), self._index(data)
        numbers = numbers_of(self.predictors, designs, self._coefficients)
        mean = self._with_confidence(self._central, designs, numbers, level)
        distribution = traced_distribution(self.family, tf.constant(numbers))
        low, high = (np.ravel(end) for end in interval(self._mixed(distribution, designs, num_draws, seed), level))
        columns = np.column_stack([mean, low, high])
        return pd.DataFrame(columns, index, ["mean", "mean_se", "mean_lower", "mean_upper", "lower", "upper"])

    def predict_quantile(self, data: Any = None, q: float = 0.5, *, level: float = 0.95) -> Any:
        """Returns a quantile of each row's distribution, such as the median time, with a confidence interval.

        The delta method gives the standard error `se` of the quantile `y`. The confidence interval is `y +- z se`. If
        no outcome can be negative, it is `y exp(+- z se / y)`, which has no negative end. If the quantile depends only
        on the main parameter, as for an Exponential, the ends are the smallest and the largest quantile in the Wald
        interval of the linear predictor. An end outside the support, such as a share above 1, is replaced by the end of
        the support. If the fit did not converge, the standard error and the ends are NaN.

        If a value has positive probability, as 0 does in a `Hurdle` of amounts, the interval is meaningless for a
        quantile near this value: the quantile jumps there, so it has no derivative.

        The confidence interval is for the quantile of the population that has the same column values as the row.
        `predict_interval` returns the prediction interval of a single new outcome, which is wider.

        Args:
          data: a table with the columns of the formulas and offsets; by default the fitted rows.
          q: the probability that an outcome is below the quantile, a number above 0 and below 1; 0.5 for the median.
          level: the confidence level.

        Returns:
          A `DataFrame` with the columns `quantile`, `quantile_se`, `quantile_lower` and `quantile_upper`, in the unit
          of the outcome.

        Raises:
          TypeError: if `data` is not a table.
          ValueError: if one of these is true:
            - The outcomes are counts or classes, whose quantiles have no standard error.
            - `q` or `level` is not a probability above 0 and below 1.
            - `predict` refuses `data`.
          NotImplementedError: if the distribution has no CDF.

        Example:
          >>> data = {"time": [2.0, 4.0, 3.0, 6.0, 7.0, 9.0], "event": [1, 1, 0, 1, 1, 0]}
          >>> fit = nllfit.regression("Surv(time, event) ~ 1", data, family="Exponential")
          >>> fit.predict_quantile(data).round(2).to_dict("records")[0]["quantile"]
          5.37

        Source: Kalbfleisch and Prentice, The statistical analysis of failure time data, 2002, section 3.
        """
        if self.family.is_discrete:
            raise ValueError(
                f"The outcomes of a {self.family.name} are discrete, and their quantiles have no standard error: call "
                f"`nllfit.quantile(result.predict_distribution(data), {q!r})` for the quantiles alone."
            )
        if not (isinstance(q, Real) and 0 < q < 1):
            raise ValueError(f"`q` is {q!r}: give one probability above 0 and below 1, such as 0.5 for the median.")
        check_level(level)

        def quantiles(numbers):
            return np.ravel(quantile(traced_distribution(self.family, tf.constant(numbers)), q))

        designs, index = self._designs(data), self._index(data)
        numbers = numbers_of(self.predictors, designs, self._coefficients)
        distribution = traced_distribution(self.family, tf.constant(numbers))
        low, high = (np.ravel(end)[:, None] for end in elements_of(distribution).ends())
        columns = self._with_confidence(quantiles, designs, numbers, level, on_log_scale=low.min() >= 0)
        columns[:, 2:] = np.clip(columns[:, 2:], low, high)
        names = ["quantile", "quantile_se", "quantile_lower", "quantile_upper"]
        return pd.DataFrame(columns, index, names)

    def _with_confidence(self, point, designs, numbers, level, on_log_scale=False):
        """Returns a prediction of each row, its standard error, and the ends of its confidence interval, `[m, 4]`.

        `point(numbers)` returns the predictions `[m]` for linear predictors `[m, params_size]`. With `on_log_scale`, no
        prediction is negative, and the delta method is applied to the logarithms.
        """
        values, gradients = point(numbers), self._gradients(point, numbers)
        error = self._error(designs, gradients)
        main = self.predictors[0].start
        if not gradients[:, np.arange(gradients.shape[1]) != main].any() and self.converged:
            is_main = np.zeros_like(gradients)
            is_main[:, main] = 1.0
            low, high = wald_interval(numbers[:, main], self._error(designs, is_main), level).T
            # A link such as `square` has its minimum at 0, so we also try the point of the interval nearest to 0.
            tried = low, high, np.clip(0.0, low, high)
            reached = [point(np.where(is_main, u[:, None], numbers)) for u in tried]
            ends = np.stack([np.min(reached, 0), np.max(reached, 0)], 1)
        elif on_log_scale:
            # A quantile at the end 0 of the support does not change with the parameters, so its error is 0.
            relative = np.divide(error, values, out=np.zeros_like(values), where=values != 0)
            with np.errstate(over="ignore"):
                ends = values[:, None] * np.exp(wald_interval(np.zeros_like(values), relative, level))
        else:
            ends = wald_interval(values, error, level)
        return np.column_stack([values, error, ends])

    def _central(self, numbers):
        """Returns the point prediction `[m]` for linear predictors `[m, params_size]`: mean, median or mode."""
        return np.ravel(law_of(traced_distribution(self.family, tf.constant(numbers))).central_value())

    def _gradients(self, point, numbers):
        """Returns the gradient `[m, params_size]` of a prediction with respect to the linear predictors.

        The gradient is a difference quotient, because TFP has no gradients of quantiles, modes and some means.
        """
        gradients = np.zeros_like(numbers)
        for index in range(numbers.shape[1]):
            step = np.zeros_like(numbers)
            step[:, index] = _STEP * (1 + np.abs(numbers[:, index]))
            low, high = point(numbers - step), point(numbers + step)
            changes = np.abs(high - low) > _ROUNDING * np.maximum(np.abs(low), np.abs(high))
            gradients[:, index] = np.where(changes, (high - low) / (2 * step[:, index]), 0.0)
        return gradients

    def _mixed(self, distribution, designs, num_draws, seed):
        """Draws coefficients and returns, for each row, the mixture of the distributions that the draws predict.

        If `num_draws` is 0, returns `distribution` unchanged.
        """
        if not num_draws:
            return distribution
        rng = np.random.default_rng(seed)
        draws = self._coefficients + rng.standard_normal([num_draws, len(self._root)]) @ self._root.T
        numbers = [tf.constant(numbers_of(self.predictors, designs, draw)) for draw in draws]
        return mixture_of(self.family, numbers, [None] * num_draws)

    def _index(self, data):
        return self.outcome.index if data is None else as_frame(data).index
