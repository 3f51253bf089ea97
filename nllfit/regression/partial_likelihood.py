"""Cox's partial likelihood with Efron's treatment of ties, its gradient and its Hessian.

Row `i` has the weight `w_i`, the linear predictor `u_i = x_i b + offset_i` and the risk `r_i = w_i exp(u_i)`. At each
distinct event time `t`, the rows with `start < t <= stop` are at risk, and `d` rows have an event. `S` is the sum of
`r` over the rows at risk. `T` is the sum of `r` over the `d` rows with an event, and `mean(w)` is the mean of `w` over
these `d` rows. Then

    log L = sum_events w_i u_i - sum_t mean(w) sum_{l=0}^{d-1} log(S - (l / d) T)
"""

import dataclasses
import functools
from typing import Any

import numpy as np

from nllfit.regression.risk_sets import RiskSets

__all__ = ["PartialLikelihood"]

# Sums of risks are computed for groups of event times. Each event time has a largest risk. In a group, the logarithms
# of these risks differ by at most this number. It is below 708, so the exponential of a difference has all its digits.
_RANGE = 300.0
# With more than this number of groups, the log-likelihood counts as NaN if rows times groups are above `_MOST_TERMS`.
_GROUPS, _MOST_TERMS = 8, 2**23


@dataclasses.dataclass(frozen=True)
class PartialLikelihood:
    """The partial likelihood of one stratum as a function of the coefficients `[q]`.

    Attributes:
      x: the columns of the design matrix, `[n, q]`.
      start, stop: each row is at risk after `start` and up to `stop`, `[n]`.
      event: whether each row has an event at `stop`, `[n]`.
      weights: the factor of each row in the likelihood, `[n]`.
      offset: a term added to `x b`, `[n]`.
    """

    x: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    event: np.ndarray
    weights: np.ndarray
    offset: np.ndarray

    @functools.cached_property
    def risk_sets(self) -> RiskSets:
        return RiskSets(self.start, self.stop, self.event)

    @functools.cached_property
    def _ties(self):
        """Returns three arrays with one element per event: the index of the event's time, `l / d`, and `mean(w)`.

        The module's docstring explains the symbols. The events are in the order of time, not in the order of rows.
        """
        row_time_id = self.risk_sets.row_time_id
        counts = np.bincount(row_time_id, minlength=len(self.risk_sets.times))
        time_id = np.repeat(np.arange(len(counts)), counts)
        fractions = (np.arange(len(time_id)) - np.repeat(np.cumsum(counts) - counts, counts)) / counts[time_id]
        weight = np.bincount(row_time_id, self.weights[self.event], len(counts)) / counts
        return time_id, fractions, weight[time_id]

    @functools.cached_property
    def _means_and_centred(self):
        """Returns the means of the columns in each chain, and the columns minus these means, `[n, q]`.

        Without centring, the squares of years would lose digits, for example, and the exponentials of `x b` could
        overflow. A row that is at risk at no event time belongs to no chain. Its columns are replaced by 0.
        """
        first, last = self.risk_sets.ranges
        is_at_risk = first < last
        chain = self.risk_sets.chains[first[is_at_risk]]
        x = self.x - self.x[is_at_risk].mean(0) if is_at_risk.any() else self.x
        sizes = np.bincount(chain, minlength=1)
        means = np.zeros([len(sizes), x.shape[1]])
        np.add.at(means, chain, x[is_at_risk])
        means /= np.maximum(sizes, 1)[:, None]
        centred = np.zeros_like(x)
        centred[is_at_risk] = x[is_at_risk] - means[chain]
        return means + (self.x - x)[:1], centred

    @property
    def centred(self) -> np.ndarray:
        """The columns without the part that cancels in the likelihood, `[n, q]`.

        It is 0 in rows that are never at risk at an event.
        """
        return self._means_and_centred[1]

    def numbers(self, coefficients: np.ndarray) -> np.ndarray:
        """The linear predictor of each row for centred columns, `[n]`."""
        return self.centred @ coefficients + self.offset

    def value(self, coefficients: np.ndarray) -> float:
        """Returns the partial log-likelihood in nats, or NaN if the risks differ by too many orders of magnitude."""
        u = self.numbers(coefficients)
        if not np.isfinite(u).all():
            return np.nan
        num_groups = len(self._groups(u))
        if num_groups > _GROUPS and num_groups * len(u) > _MOST_TERMS:
            return np.nan
        with np.errstate(divide="ignore", invalid="ignore"):
            log_sums, _ = self._log_sums_and_means(u, order=0)
            value = float((self.weights * u)[self.event].sum() - (self._ties[2] * log_sums).sum())
        return value if np.isfinite(value) else np.nan

    def local(self, coefficients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The gradient `[q]` and the Hessian `[q, q]` of the negative log-likelihood."""
        weight = self._ties[2]
        _, (means, mean_products) = self._log_sums_and_means(self.numbers(coefficients), order=2)
        gradient = weight @ means - self.weights[self.event] @ self.centred[self.event]
        return gradient, np.einsum("l,lpq->pq", weight, mean_products - means[:, :, None] * means[:, None])

    def _groups(self, u: np.ndarray) -> list[tuple[Any, float]]:
        """Returns groups of events with similar largest risks; see `_RANGE`.

        A group is an index array or slice of the events, and a number. The risks of rows at risk, divided by the
        exponential of this number, are at most 1, and the largest is at least `exp(-_RANGE)`.
        """
        top = u.max()
        if top - u.min() < _RANGE:
            return [(slice(None), top)]
        groups = np.floor((top - self.risk_sets.at_risk(u, np.maximum, -np.inf)[self._ties[0]]) / _RANGE)
        return [(np.flatnonzero(groups == group), top - group * _RANGE) for group in np.unique(groups)]

    def _risks(self, u, shift):
        """Returns the risks, divided by `exp(shift)`. Risks above 1 are of rows that are not at risk, and become 1."""
        return self.weights * np.exp(np.minimum(u - shift, 0.0))

    def _log_sums_and_means(self, u, order):
        """Returns `log(S - (l / d) T)` for each event, and `order` means for each event.

        These are the mean of the columns `x` and the mean of the products `x x'`, weighted by the risks in the sum
        `S - (l / d) T`.
        """
        time_id, fractions, _ = self._ties
        shapes = [[len(time_id)] + [self.x.shape[1]] * power for power in range(order + 1)]
        log_sums, *means = map(np.empty, shapes)
        for events, shift in self._groups(u):
            values, of_events = self._risks(u, shift), (time_id[events], fractions[events])
            sums = self._sums(values, *of_events)
            log_sums[events] = np.log(sums) + shift
            for mean in means:
                values = values[..., None] * self.centred.reshape([len(values)] + [1] * (values.ndim - 1) + [-1])
                mean[events] = self._sums(values, *of_events) / _along(sums, mean)
        return log_sums, means

    def _sums(self, values, time_id, fractions):
        """Returns `S - (l / d) T` for some of the events. `S` and `T` are sums of `values` `[n, ...]`, not of risks."""
        return (
            self.risk_sets.at_risk(values)[time_id] - _along(fractions, values) * self.risk_sets.tied(values)[time_id]
        )

    def scores(self, coefficients: np.ndarray) -> np.ndarray:
        """Returns the weighted score residuals `[n, q]`. They sum to the gradient of the log-likelihood."""
        u = self.numbers(coefficients)
        log_sums, (means,) = self._log_sums_and_means(u, order=1)
        time_id, fractions, weight = self._ties
        size, row_time_id = len(self.risk_sets.times), self.risk_sets.row_time_id

        def by_time(values):  # sums over the events of each time
            result = np.zeros([size, *values.shape[1:]])
            np.add.at(result, time_id, values)
            return result

        result = np.zeros_like(self.centred)
        for events, shift in self._groups(u):
            risk, hazard = self._risks(u, shift), np.zeros(len(time_id))
            hazard[events] = weight[events] * np.exp(shift - log_sums[events])
            expected = self.centred * self.risk_sets.over_times(by_time(hazard))[:, None]
            expected -= self.risk_sets.over_times(by_time(hazard[:, None] * means))
            shared, shared_means = by_time(hazard * fractions), by_time((hazard * fractions)[:, None] * means)
            expected[self.event] -= self.centred[self.event] * shared[row_time_id][:, None] - shared_means[row_time_id]
            result -= risk[:, None] * expected
        average = by_time(means) / np.bincount(time_id, minlength=size)[:, None]
        result[self.event] += self.weights[self.event, None] * (self.centred[self.event] - average[row_time_id])
        return result

    def schoenfeld(self, coefficients: np.ndarray) -> np.ndarray:
        """Returns the Schoenfeld residuals `[events, q]`, in the order of rows.

        The residual of a row with an event is its columns minus their risk-weighted mean over the rows at risk. At a
        time with ties, this mean is the average over the `d` sums `S - (l / d) T`.
        """
        _, (means,) = self._log_sums_and_means(self.numbers(coefficients), order=1)
        time_id = self._ties[0]
        sums = np.zeros([len(self.risk_sets.times), means.shape[1]])
        np.add.at(sums, time_id, means)
        means = sums / np.bincount(time_id)[:, None]
        return self.centred[self.event] - means[self.risk_sets.row_time_id]

    def log_cumulative_hazard(self, coefficients: np.ndarray) -> np.ndarray:
        """The logarithm of Breslow's estimate of the cumulative hazard at each event time, `[m]`.

        The estimate is for a row whose columns and offset are 0. Without the logarithm, it may overflow.
        """
        log_sums, _ = self._log_sums_and_means(self.numbers(coefficients), order=0)
        hazards = np.log(self.risk_sets.tied(self.weights)) - log_sums[self._ties[1] == 0]
        return np.logaddexp.accumulate(hazards - self._means_and_centred[0][self.risk_sets.chains] @ coefficients)


def _along(vector, array):
    """Reshapes a vector to multiply the first axis of an array."""
    return vector.reshape([-1] + [1] * (array.ndim - 1))
