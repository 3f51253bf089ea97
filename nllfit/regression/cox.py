"""`cox_regression` fits Cox's proportional hazards model, which a formula and a table describe."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nllfit.regression.cox_search import Strata, maximum
from nllfit.regression.data_columns import as_clusters, as_column, as_frame, as_numbers, as_times, as_weights
from nllfit.regression.designs import Design, check_rank, sides
from nllfit.regression.formula_outcomes import survival_times
from nllfit.regression.hypotheses import Hypotheses
from nllfit.regression.optional_packages import pandas as pd
from nllfit.regression.partial_likelihood import PartialLikelihood

__all__ = ["CoxRegression", "cox_regression"]


def cox_regression(
    formula: str,
    data: Any,
    *,
    strata: str | ArrayLike | None = None,
    weights: str | ArrayLike | None = None,
    offset: str | ArrayLike | None = None,
    cluster: str | ArrayLike | None = None,
    covariance: str = "information",
) -> "CoxRegression":
    """Fits Cox's proportional hazards model: maximises the partial likelihood with Efron's treatment of ties.

    The hazard of a row is `h(t | x) = h_0(t) exp(x' b + offset)`. The baseline hazard `h_0` may have any form: it
    cancels in the partial likelihood, and `CoxRegression.baseline` estimates it by Breslow's method. Each stratum has
    its own baseline.

    Args:
      formula: one of these forms. `event` is 1 for an event and 0 for censoring.
        - "Surv(time, event) ~ terms";
        - "Surv(start, stop, event) ~ terms", if a row is at risk only after `start`. Use it if subjects enter late, or
          if they have several rows because columns change over time.

        The intercept is dropped, because it is part of the baseline.
      data: a pandas `DataFrame`, or a dict of columns.
      strata: the label of each row's stratum: the name of a column, or `[n]`.
      weights: the factor of each row in the likelihood, as in R's `coxph`: the name of a column, or `[n]`. Rows of
        weight 0 are left out. A row of weight 2 with an event is not the same as two equal rows, because the events of
        two equal rows are tied, and Efron's treatment of ties counts rows and not weights.
      offset: a term of the linear predictor with coefficient 1: the name of a column, or `[n]`.
      cluster: labels of dependent rows: the name of a column, or `[n]`. The covariance is then a sandwich in which
        the score residuals are summed over each cluster (Lin and Wei).
      covariance: "information" or "sandwich", as in `regression`. With "sandwich", each row is a cluster, unless
        `cluster` is given.

    Returns:
      A `CoxRegression`.

    Raises:
      ImportError, TypeError: in the cases that `regression` lists.
      ValueError: in the cases that `regression` lists, or if one of these is true:
        - The outcome is not `Surv(...)`, or the formula has no terms.
        - A time is not finite, or a `stop` is not after its `start`.
        - An event is neither 0 nor 1, or there is no event.
        - A column does not vary between rows that are at risk at the same time. The partial likelihood then does not
          depend on the column's coefficient.

    Example:
      >>> data = {"time": [6, 7, 10, 15, 19, 25], "event": [1, 0, 1, 1, 0, 1], "x": [3.0, 1.0, 0.5, 2.0, 0.5, 1.0]}
      >>> result = nllfit.cox_regression("Surv(time, event) ~ x", data)
      >>> result.converged, result.names
      (True, ['x'])

    Source: Cox, Regression models and life-tables, 1972; Efron, The efficiency of Cox's likelihood function for
    censored data, 1977.
    """
    data = as_frame(data)
    left, right = sides(formula)
    if covariance not in ("information", "sandwich"):
        raise ValueError(f'`covariance` is {covariance!r}: give "information" or "sandwich".')
    counts = np.ones(len(data)) if weights is None else as_weights(weights, data)
    has_weight = counts > 0
    if not isinstance(offset, str | None):
        offset = as_numbers("offset", offset, data)[has_weight]
    labels = np.zeros(len(data)) if strata is None else as_column("strata", strata, data)
    groups = np.arange(len(data)) if cluster is None else as_column("cluster", cluster, data)
    data, counts, labels, groups = (values[has_weight] for values in (data, counts, labels, groups))
    start, stop, event = survival_times(left, data)
    design = Design(right, data, without_intercept=True, offset=offset)
    if not design.names:
        raise ValueError(f"The formula `{formula}` has no columns except the baseline hazard: give a term.")
    is_sandwich = cluster is not None or covariance == "sandwich"
    clusters = as_clusters(groups, data) if is_sandwich else None
    offsets = np.zeros(len(data)) if design.offset is None else design.offset
    columns = design.matrix, start, stop, event, counts, offsets
    rows_of_strata = {label: np.flatnonzero(labels == label) for label in pd.factorize(labels, sort=True)[1]}
    likelihoods = {
        label: PartialLikelihood(*(column[rows] for column in columns)) for label, rows in rows_of_strata.items()
    }
    compared = np.concatenate([likelihood.centred for likelihood in likelihoods.values()])
    check_rank(right, design.names, compared, np.linalg.norm(design.matrix, axis=0), "the baseline hazard")
    return CoxRegression(formula, design, likelihoods, rows_of_strata, clusters, data)


class CoxRegression(Hypotheses):
    """A fitted proportional hazards model. `cox_regression` returns it.

    Attributes:
      names, estimates, covariance, kind, converged, message: see `CoefficientTable`. `summary(exponentiate=True)` shows
        hazard ratios.
      log_likelihood: the partial log-likelihood, in nats.
      num_observations: the number of rows, or the sum of their weights.
      null_log_likelihood: the partial log-likelihood of coefficients of 0.
    """

    def __init__(
        self,
        formula: str,
        design: Design,
        likelihoods: Mapping[Any, PartialLikelihood],
        rows: Mapping[Any, np.ndarray],
        clusters: np.ndarray | None,
        data: Any,
    ):
        self.formula, self.design, self.label = formula, design, "Cox"
        self._likelihoods, self._rows, self._index = likelihoods, rows, data.index
        self.names, self.ratios = design.names, np.ones(len(design.names), bool)
        self.terms = {term: indices for term, indices in design.terms.items() if indices}
        # If columns, such as the powers of a year, are nearly dependent, derivatives with respect to their coefficients
        # lose digits. So we fit the coefficients of orthonormal columns `q`. `q @ r` are the centred columns.
        columns = np.zeros_like(design.matrix)
        for label, part in likelihoods.items():
            columns[rows[label]] = part.centred
        q, r = np.linalg.qr(columns)
        orthonormal = {label: dataclasses.replace(part, x=q[rows[label]]) for label, part in likelihoods.items()}
        strata, transform, start = Strata(list(orthonormal.values())), np.linalg.inv(r), np.zeros(len(r))
        coefficients, self.converged = maximum(strata, start)
        self.estimates, self.num_parameters = transform @ coefficients, len(coefficients)
        self.log_likelihood, self.null_log_likelihood = strata.value(coefficients), strata.value(start)
        self.num_observations = float(sum(likelihood.weights.sum() for likelihood in likelihoods.values()))
        self.message = (
            "the coefficients are a maximum of the partial likelihood"
            if self.converged
            else "no maximum was found. There is none if a group has no events, or if a column separates the rows with "
            "an event from the others, because the likelihood then keeps rising as a coefficient grows"
        )
        self.covariance = np.full([len(coefficients)] * 2, np.nan)
        self.kind = "observed information" if clusters is None else f"sandwich, {clusters.max() + 1} clusters"
        if self.converged:
            bread = np.linalg.inv(strata.local(coefficients)[1])
            if clusters is None:
                self.covariance = transform @ bread @ transform.T
            else:
                sums = np.zeros([clusters.max() + 1, len(bread)])
                for label, part in orthonormal.items():
                    np.add.at(sums, clusters[rows[label]], part.scores(coefficients))
                # We do not compute `sums.T @ sums`, because rounding errors could raise its rank. If there are as many
                # constraints as clusters, `test` would then return a p-value, where NaN is correct.
                influences = sums @ bread @ transform.T
                self.covariance = influences.T @ influences

    def _observed(self):
        strata = [
            np.column_stack([np.full(len(part.stop), index), part.start, part.stop, part.event, part.weights])
            for index, part in enumerate(self._likelihoods.values())
        ]
        return np.concatenate(strata)

    def schoenfeld_residuals(self) -> Any:
        """Returns the Schoenfeld residuals of the events.

        The residual of row `i`, which has an event, is `x_i - mean(x)`. Here `x_i` are the columns of row `i`, and
        `mean(x)` is their mean over the rows at risk, weighted by the hazards. If several events have the same time,
        `mean(x)` is averaged over the terms of Efron's sum. If the residuals have a trend over time, the hazards are
        not proportional.

        Returns:
          A `DataFrame` with a row for each event. Its columns are `time` and the columns of the formula.

        Raises:
          ValueError: if a column of the formula is named `time`, too.

        Source: Schoenfeld, Partial residuals for the proportional hazards regression model, 1982.
        """
        if "time" in self.names:
            raise ValueError(
                f"The formula `{self.formula}` has a column `time`, which is also the name of the column of event "
                f"times: rename the column of `data` and fit again."
            )
        frames = []
        for label, likelihood in self._likelihoods.items():
            frame = pd.DataFrame(
                likelihood.schoenfeld(self.estimates), self._index[self._rows[label]][likelihood.event], self.names
            )
            frame.insert(0, "time", likelihood.stop[likelihood.event])
            frames.append(frame)
        return pd.concat(frames)

    def baseline(self) -> Any:
        """Returns Breslow's estimate of the cumulative hazard of a row in which all columns and the offset are 0.

        Returns:
          A `DataFrame` with the columns `stratum`, `time` and `cumulative_hazard`, one row for each event time
          of each stratum.
        """
        frames = [
            pd.DataFrame(
                {
                    "stratum": label,
                    "time": part.risk_sets.times,
                    "cumulative_hazard": np.exp(part.log_cumulative_hazard(self.estimates)),
                }
            )
            for label, part in self._likelihoods.items()
        ]
        return pd.concat(frames, ignore_index=True)

    def predict(self, data: Any = None) -> Any:
        """Returns `exp(x' b + offset)`, the hazard of each row divided by the baseline hazard, as a `Series`.

        The argument and errors are those of `Regression.predict`. Fitted rows of weight 0 are left out.
        """
        return np.exp(self._linear_predictors(data)).rename("hazard ratio")

    def _linear_predictors(self, data):
        """Returns the linear predictor `x' b + offset` of each row, as a `Series`."""
        data = None if data is None else as_frame(data)
        matrix, offset = self.design.of(data)
        linear_predictors = matrix @ self.estimates + (0.0 if offset is None else offset)
        return pd.Series(linear_predictors, self._index if data is None else data.index)

    def cumulative_hazard(self, data: Any, times: ArrayLike, stratum: Any = None) -> Any:
        """Returns the cumulative hazard of each row at each time, a `DataFrame` with one column per time.

        Args:
          data: a table with the columns of the formula, or None for the fitted rows. The values of a row are assumed
            not to change over time.
          times: the times, `[k]`, or one time.
          stratum: the label of the rows' stratum; needed only if the fit has strata.

        Raises:
          TypeError: if `data` is not a table.
          ValueError: if `stratum` is not a stratum of the fit, a time is NaN, or `predict` refuses `data`.
        """
        if stratum is None and len(self._likelihoods) == 1:
            (stratum,) = self._likelihoods
        if stratum not in list(self._likelihoods):  # a dict would raise a TypeError if `stratum` is not hashable
            raise ValueError(f"`stratum` is {stratum!r}: give one of {', '.join(map(str, self._likelihoods))}.")
        likelihood = self._likelihoods[stratum]
        cumulative = np.append(-np.inf, likelihood.log_cumulative_hazard(self.estimates))
        times = as_times(times)
        at_times = cumulative[np.searchsorted(likelihood.risk_sets.times, times, "right")]
        linear_predictors = self._linear_predictors(data)
        hazards = np.exp(linear_predictors.to_numpy()[:, None] + at_times)
        return pd.DataFrame(hazards, linear_predictors.index, times)

    def survival(self, data: Any, times: ArrayLike, stratum: Any = None) -> Any:
        """Returns the probability that the event comes after each time, `exp(-cumulative hazard)`.

        The arguments and errors are those of `cumulative_hazard`.
        """
        return np.exp(-self.cumulative_hazard(data, times, stratum))
