"""`explain` measures the importance of each column of a table, and how predicted quantiles depend on the column."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.inspection import permutation_importance
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import check_is_fitted

from nllfit.families.arguments import as_count, is_missing
from nllfit.tabular.column_encoding import as_table, columns_of, is_frame
from nllfit.tabular.regressor import DistributionRegressor

__all__ = ["Explanation", "explain"]

_ENDS = 0.05, 0.95  # the dependence on a column is computed between these quantiles of the column


def explain(
    model: Any,
    X: Any,
    y: ArrayLike,
    *,
    quantiles: Sequence[float] = (0.05, 0.5, 0.95),
    num_repeats: int = 5,
    num_points: int = 20,
    random_state: Any = None,
) -> "Explanation":
    """Measures how a predicted distribution depends on each column of a table.

    The importance of a column is the decrease of the mean log-likelihood when the column's values are shuffled. It
    includes the effect of the column on the width and the shape of the distribution, not only on the mean.

    The dependence of a quantile on a column is a function of the column's value. To compute this function at a value,
    `explain` sets the column to the value in all rows, predicts the quantile of each row, and averages over the rows.

    Args:
      model: a fitted `DistributionRegressor` of one outcome.
      X: rows that the model was not fitted to, an array `[n, m]` or a frame of pandas. The dependence on a column uses
        only the rows in which the column is not missing.
      y: the outcomes of these rows, `[n]`.
      quantiles: the probabilities of the quantiles for `dependence`.
      num_repeats: how many times each column is shuffled.
      num_points: the largest number of values of a numeric column at which the dependence is computed. If the column
        has fewer distinct values, the dependence is computed at each of them. Otherwise, it is computed at `num_points`
        values that are spread evenly from the column's 5% quantile to its 95% quantile. If these quantiles are equal,
        as in a column of 96% zeros, the values are spread from the smallest to the largest. For a column of categories,
        the dependence is computed at each category.
      random_state: the seed of the shuffles.

    Returns:
      An `Explanation`.

    Raises:
      TypeError: if `model` is not a `DistributionRegressor`, or `X` is a frame of another library than pandas.
      NotFittedError: if `model` is not fitted.
      ValueError: if the model has several outcomes, `model.score` refuses `X` or `y`, `num_points` is below 2, or one
        of `quantiles` is not between 0 and 1.

    Example:
      >>> from nllfit.tabular import DistributionRegressor, explain
      >>> X = np.random.default_rng(0).normal(size=[60, 2])
      >>> model = DistributionRegressor(network="smooth", num_members=1, max_epochs=20).fit(X, X[:, 0])
      >>> explanation = explain(model, X, X[:, 0], num_repeats=1, num_points=3)
      >>> explanation.importances["0"] > explanation.importances["1"]
      True

    Source: Breiman, Random forests, 2001; Friedman, Greedy function approximation: a gradient boosting machine, 2001.
    """
    if not isinstance(model, DistributionRegressor):
        raise TypeError(f"`model` is {model!r}: give a `DistributionRegressor`.")
    if is_frame(X) and not hasattr(X, "iloc"):  # scikit-learn does not shuffle columns of polars
        raise TypeError("`X` is a frame of another library than pandas: give `X.to_pandas()`.")
    check_is_fitted(model)
    if model.n_outputs_ > 1:
        raise ValueError(f"`model` predicts {model.n_outputs_} outcomes of a row: give a model of one outcome.")
    num_points = as_count("num_points", num_points, 2)
    permuted = permutation_importance(model, X, y, n_repeats=num_repeats, random_state=random_state)
    names = [str(name) for name in getattr(model, "feature_names_in_", range(model.n_features_in_))]
    table, quantiles, dependence = as_table(X), tuple(quantiles), {}
    for i, (name, (_, values)) in enumerate(zip(names, columns_of(table), strict=True)):
        rows = _safe_indexing(table, np.flatnonzero(~is_missing(values)))
        is_numeric = values.dtype != object
        if is_numeric and is_frame(rows):  # a column of ints cannot hold a point between two ints
            rows = rows.astype({rows.columns[i]: float})
        present = np.asarray(_safe_indexing(rows, i, axis=1))
        points = _points(present, num_points) if is_numeric else np.unique(present)
        dependence[name] = points, _dependence(model, rows, i, points, quantiles)
    importances = dict(zip(names, permuted.importances_mean.tolist(), strict=True))
    errors = dict(zip(names, permuted.importances_std.tolist(), strict=True))
    return Explanation(importances, errors, quantiles, dependence)


@dataclasses.dataclass(frozen=True)
class Explanation:
    """The result of `explain`.

    Attributes:
      importances: `{column: importance}`. The importance is the decrease of the mean log-likelihood when the column is
        shuffled, in nats per row.
      importance_stds: `{column: standard deviation}`, the standard deviation of the decrease over the repeats.
      quantiles: the probabilities of the quantiles in `dependence`.
      dependence: `{column: (values, means)}`. `values` are values of the column, `[points]`. `means` are the predicted
        quantiles at each value, averaged over the rows, `[quantiles, points]`.
    """

    importances: dict[str, float]
    importance_stds: dict[str, float]
    quantiles: tuple[float, ...]
    dependence: dict[str, tuple[np.ndarray, np.ndarray]]

    def plot_importances(self, ax: Any) -> Any:
        """Draws the importances as bars with their standard deviations. The largest is on top. Returns `ax`."""
        names = sorted(self.importances, key=self.importances.__getitem__)
        stds = [self.importance_stds[name] for name in names]
        ax.barh(names, [self.importances[name] for name in names], xerr=stds)
        ax.set_xlabel("loss of log-likelihood (nats per row)")
        return ax

    def plot_dependence(self, ax: Any, column: str) -> Any:
        """Draws a line for each quantile in `dependence`, over the values of a column. Returns `ax`.

        Raises:
          ValueError: if there is no such column.
        """
        if column not in self.dependence:
            raise ValueError(f"`column` is {column!r}: give one of {', '.join(self.dependence)}.")
        values, averages = self.dependence[column]
        for q, line in zip(self.quantiles, averages, strict=True):
            ax.plot(values, line, label=f"{100 * q:g}% quantile")
        ax.set_xlabel(column)
        ax.set_ylabel("mean quantile of the outcome")
        ax.legend()
        return ax


def _points(column, num_points):
    """Returns the values of a numeric column at which the dependence is computed."""
    distinct = np.unique(column)
    if len(distinct) < num_points:
        return distinct
    low, high = np.quantile(column, _ENDS)
    if low == high:
        low, high = distinct[[0, -1]]
    return np.linspace(low, high, num_points)


def _dependence(model, rows, i, values, quantiles):
    """Returns the mean quantiles over all rows, `[quantiles, points]`, if column `i` is set to each of `values`."""
    rows, means = rows.copy(), np.zeros([len(quantiles), len(values)])
    for point, value in enumerate(values):
        (rows.iloc if is_frame(rows) else rows)[:, i] = value
        means[:, point] = model.predict_quantile(rows, quantiles).mean(axis=0)
    return means
