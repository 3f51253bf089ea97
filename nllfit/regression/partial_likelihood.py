"""Cox's partial likelihood with Efron's treatment of ties, its gradient and its Hessian.

Row `i` has the weight `w_i`, the linear predictor `u_i = x_i b + offset_i` and the risk `r_i = w_i exp(u_i)`. At each
distinct event time `t`, the rows with `start < t <= stop` are at risk, and `d` rows have an event. `S` is the sum of
`r` over the rows at risk. `T` is the sum of `r` over the `d` rows with an event, and `mean(w)` is the mean of `w` over
these `d` rows. Then

    log L = sum_events w_i u_i - sum_t mean(w) sum_{l=0}^{d-1} log(S - (l / d) T)

The sums over the rows at risk are cumulative sums over time. Rows that enter late are summed over the nodes of a binary
tree. So there is no array with an element for each pair of a row and an event time.
"""

import dataclasses
import functools
from typing import Any

import numpy as np

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
    def times(self) -> np.ndarray:
        """The distinct times of events, `[m]`."""
        return np.unique(self.stop[self.event])

    @functools.cached_property
    def _risk_ranges(self):
        """Returns two index arrays `[n]`, `first` and `last`: a row is at risk at `times[first:last]`."""
        return np.searchsorted(self.times, self.start, "right"), np.searchsorted(self.times, self.stop, "right")

    @functools.cached_property
    def _ties(self):
        """Returns three arrays with one element per event: the index of the event's time, `l / d`, and `mean(w)`.

        The module's docstring explains the symbols. The events are in the order of time, not in the order of rows.
        """
        row_time_id = np.searchsorted(self.times, self.stop[self.event])
        counts = np.bincount(row_time_id, minlength=len(self.times))
        time_id = np.repeat(np.arange(len(counts)), counts)
        fractions = (np.arange(len(time_id)) - np.repeat(np.cumsum(counts) - counts, counts)) / counts[time_id]
        weight = np.bincount(row_time_id, self.weights[self.event], len(counts)) / counts
        return time_id, fractions, weight[time_id]

    @functools.cached_property
    def _chains(self):
        """Returns the chain of each event time, `[m]`.

        Two event times belong to one chain if some row is at risk at both. If a constant is added to `x b` in all rows
        that are at risk at times of one chain, the likelihood does not change.
        """
        first, last = self._risk_ranges
        is_at_risk = first < last
        starts = np.bincount(first[is_at_risk], minlength=len(self.times))
        ends = np.bincount(last[is_at_risk] - 1, minlength=len(self.times))
        is_last = np.cumsum(starts - ends) == 0  # no row is at risk at both this time and the next
        return np.cumsum(is_last) - is_last

    @functools.cached_property
    def _means_and_centred(self):
        """Returns the means of the columns in each chain, and the columns minus these means, `[n, q]`.

        Without centring, the squares of years would lose digits, for example, and the exponentials of `x b` could
        overflow. A row that is at risk at no event time belongs to no chain. Its columns are replaced by 0.
        """
        first, last = self._risk_ranges
        is_at_risk = first < last
        chain, x = self._chains[first[is_at_risk]], self.x - self.x[is_at_risk].mean(0) if is_at_risk.any() else self.x
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

    @functools.cached_property
    def _num_leaves(self) -> int:
        """The number of leaves of the binary tree over `times`, a power of two.

        The children of node `i` are the nodes `2 i` and `2 i + 1`.
        """
        return 1 << max(len(self.times) - 1, 0).bit_length()

    @functools.cached_property
    def _nodes(self):
        """Returns a list of pairs of index arrays, `(rows, nodes)`: rows that enter late, and their nodes of the tree.

        The leaves below the nodes of a row are the times at which the row is at risk. We do not subtract the cumulative
        sum at `start` from that at `stop`, because the difference would lose the digits of risks that are small
        compared with risks at other times.
        """
        first, last = self._risk_ranges
        rows, pairs = np.flatnonzero((first > 0) & (first < last)), []
        low, high = first[rows] + self._num_leaves, last[rows] + self._num_leaves
        while len(rows):
            # If the range from `low` to `high - 1` begins with a right child or ends with a left child, the sibling of
            # this child is outside the range. So no higher node can replace the child, and its own sum is needed.
            is_right, is_left = (
                low % 2 == 1,
                high % 2 == 1,
            )
            pairs += [(rows[is_right], low[is_right]), (rows[is_left], high[is_left] - 1)]
            low, high = (low + 1) // 2, high // 2
            rows, low, high = (array[low < high] for array in (rows, low, high))
        return pairs

    def at_risk(self, values: np.ndarray, combine: np.ufunc = np.add, empty: float = 0.0) -> np.ndarray:
        """Sums values `[n, ...]` over the rows at risk at each time. Returns `[m, ...]`.

        Args:
          values: the values to sum.
          combine: `np.maximum` returns the largest value in place of the sum.
          empty: the result for no rows.
        """
        first, last = self._risk_ranges
        ends = np.full([len(self.times) + 1, *values.shape[1:]], empty)
        combine.at(ends, last[first == 0], values[first == 0])
        sums = combine.accumulate(ends[::-1], 0)[::-1][1:]
        if not self._nodes:
            return sums
        tree = np.full([2 * self._num_leaves, *values.shape[1:]], empty)
        for rows, nodes in self._nodes:
            combine.at(tree, nodes, values[rows])
        level = 1
        while level < self._num_leaves:
            children = slice(2 * level, 4 * level)
            tree[children] = combine(tree[children], np.repeat(tree[level : 2 * level], 2, 0))
            level *= 2
        return combine(sums, tree[self._num_leaves : self._num_leaves + len(sums)])

    def over_times(self, values: np.ndarray) -> np.ndarray:
        """Sums values `[m, ...]` over the times at which each row is at risk. Returns `[n, ...]`."""
        first, last = self._risk_ranges
        sums = np.concatenate([np.zeros([1, *values.shape[1:]]), np.cumsum(values, 0)])[last]
        sums[first > 0] = 0.0
        if not self._nodes:
            return sums
        tree = np.zeros([2 * self._num_leaves, *values.shape[1:]])
        tree[self._num_leaves : self._num_leaves + len(values)] = values
        level = self._num_leaves
        while level > 1:
            level //= 2
            tree[level : 2 * level] = tree[2 * level : 4 * level : 2] + tree[2 * level + 1 : 4 * level : 2]
        for rows, nodes in self._nodes:
            np.add.at(sums, rows, tree[nodes])
        return sums

    def tied(self, values: np.ndarray) -> np.ndarray:
        """Sums values `[n, ...]` over the rows with an event at each time. Returns `[m, ...]`."""
        sums = np.zeros([len(self.times), *values.shape[1:]])
        np.add.at(sums, np.searchsorted(self.times, self.stop[self.event]), values[self.event])
        return sums

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
            log_sums, _ = self._log_sums_and_means(u)
            value = float((self.weights * u)[self.event].sum() - self._ties[2] @ log_sums)
        return value if np.isfinite(value) else np.nan

    def local(self, coefficients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The gradient `[q]` and the Hessian `[q, q]` of the negative log-likelihood."""
        x, weight = self.centred, self._ties[2]
        products = x[:, :, None] * x[:, None]
        _, (means, mean_products) = self._log_sums_and_means(self.numbers(coefficients), x, products)
        gradient = weight @ means - self.weights[self.event] @ x[self.event]
        return gradient, np.einsum("l,lpq->pq", weight, mean_products - means[:, :, None] * means[:, None])

    def _groups(self, u: np.ndarray) -> list[tuple[Any, float]]:
        """Returns groups of events with similar largest risks; see `_RANGE`.

        A group is an index array or slice of the events, and a number. The risks of rows at risk, divided by the
        exponential of this number, are at most 1, and the largest is at least `exp(-_RANGE)`.
        """
        top = u.max()
        if top - u.min() < _RANGE:
            return [(slice(None), top)]
        groups = np.floor((top - self.at_risk(u, np.maximum, -np.inf)[self._ties[0]]) / _RANGE)
        return [(np.flatnonzero(groups == group), top - group * _RANGE) for group in np.unique(groups)]

    def _risks(self, u, shift):
        """Returns the risks, divided by `exp(shift)`. Risks above 1 are of rows that are not at risk, and become 1."""
        return self.weights * np.exp(np.minimum(u - shift, 0.0))

    def _log_sums_and_means(self, u, *arrays):
        """Returns `log(S - (l / d) T)` for each event, and the means `[events, ...]` of each array `[n, ...]`.

        The means are weighted by the risks in the sum `S - (l / d) T`.
        """
        time_id, fractions, _ = self._ties
        log_sums, means = np.empty(len(time_id)), [np.empty([len(time_id), *array.shape[1:]]) for array in arrays]
        for events, shift in self._groups(u):
            risk, of_events = self._risks(u, shift), (time_id[events], fractions[events])
            sums = self._sums(risk, *of_events)
            log_sums[events] = np.log(sums) + shift
            for mean, array in zip(means, arrays, strict=True):
                mean[events] = self._sums(_along(risk, array) * array, *of_events) / _along(sums, array)
        return log_sums, means

    def _sums(self, values, time_id, fractions):
        """Returns `S - (l / d) T` for some of the events. `S` and `T` are sums of `values` `[n, ...]`, not of risks."""
        return self.at_risk(values)[time_id] - _along(fractions, values) * self.tied(values)[time_id]

    def scores(self, coefficients: np.ndarray) -> np.ndarray:
        """Returns the weighted score residuals `[n, q]`. They sum to the gradient of the log-likelihood."""
        u = self.numbers(coefficients)
        log_sums, (means,) = self._log_sums_and_means(u, self.centred)
        time_id, fractions, weight = self._ties
        size, row_time_id = len(self.times), np.searchsorted(self.times, self.stop[self.event])

        def by_time(values):  # sums over the events of each time
            result = np.zeros([size, *values.shape[1:]])
            np.add.at(result, time_id, values)
            return result

        result = np.zeros_like(self.centred)
        for events, shift in self._groups(u):
            risk, hazard = self._risks(u, shift), np.zeros(len(time_id))
            hazard[events] = weight[events] * np.exp(shift - log_sums[events])
            expected = self.centred * self.over_times(by_time(hazard))[:, None]
            expected -= self.over_times(by_time(hazard[:, None] * means))
            shared, shared_means = by_time(hazard * fractions), by_time((hazard * fractions)[:, None] * means)
            expected[self.event] -= self.centred[self.event] * shared[row_time_id][:, None] - shared_means[row_time_id]
            result -= risk[:, None] * expected
        average = by_time(means) / np.bincount(time_id, minlength=size)[:, None]
        result[self.event] += self.weights[self.event, None] * (self.centred[self.event] - average[row_time_id])
        return result

    def schoenfeld(self, coefficients: np.ndarray) -> np.ndarray:
        """Returns the Schoenfeld residuals `[events, q]`, in the order of rows.

        The residual of a row with an event is its columns minus their risk-weighted mean over the rows at risk. At a
        time with ties, the mean is the average of the means from `_means`.
        """
        _, (means,) = self._log_sums_and_means(self.numbers(coefficients), self.centred)
        time_id = self._ties[0]
        sums = np.zeros([len(self.times), means.shape[1]])
        np.add.at(sums, time_id, means)
        row_time_id = np.searchsorted(self.times, self.stop[self.event])
        return self.centred[self.event] - sums[row_time_id] / np.bincount(time_id)[row_time_id, None]

    def log_cumulative_hazard(self, coefficients: np.ndarray) -> np.ndarray:
        """The logarithm of Breslow's estimate of the cumulative hazard at each event time, `[m]`.

        The estimate is for a row whose columns and offset are 0. Without the logarithm, it may overflow.
        """
        log_sums, _ = self._log_sums_and_means(self.numbers(coefficients))
        hazards = np.log(self.tied(self.weights)) - log_sums[self._ties[1] == 0]
        return np.logaddexp.accumulate(hazards - self._means_and_centred[0][self._chains] @ coefficients)


def _along(vector, array):
    """Reshapes a vector to multiply the first axis of an array."""
    return vector.reshape([-1] + [1] * (array.ndim - 1))
