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

import numpy as np

__all__ = ["PartialLikelihood"]


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
    def _centred(self) -> np.ndarray:
        """The columns minus their means, `[n, q]`.

        A constant that is added to a column cancels in the likelihood. If a column is far from 0, such as a year, the
        squares of the column would lose digits, and the exponentials of `x b` would overflow.
        """
        return self.x - self.x.mean(0)

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

    def compared(self) -> np.ndarray:
        """Returns the columns without the part that cancels in the likelihood, for a check of their rank.

        Rows that are never at risk at an event are left out. Two event times belong to one chain if some row is at risk
        at both. A row belongs to the chain of the event times at which the row is at risk. If a constant is added to
        `x b` in all rows of one chain, the likelihood does not change. Therefore the mean over the rows of a chain is
        subtracted from each column.
        """
        first, last = self._risk_ranges
        is_at_risk = first < last
        starts = np.bincount(first[is_at_risk], minlength=len(self.times))
        ends = np.bincount(last[is_at_risk] - 1, minlength=len(self.times))
        is_last = np.cumsum(starts - ends) == 0  # no row is at risk at both this time and the next
        chain = np.concatenate([[0], np.cumsum(is_last)])[first[is_at_risk]]
        x, sizes = self._centred[is_at_risk], np.bincount(chain)
        sums = np.zeros([len(sizes), x.shape[1]])
        np.add.at(sums, chain, x)
        return x - (sums / sizes[:, None])[chain]

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

    def at_risk(self, values: np.ndarray) -> np.ndarray:
        """Sums values `[n, ...]` over the rows at risk at each time. Returns `[m, ...]`."""
        first, last = self._risk_ranges
        ends = np.zeros([len(self.times) + 1, *values.shape[1:]])
        np.add.at(ends, last[first == 0], values[first == 0])
        sums = np.cumsum(ends[::-1], 0)[::-1][1:]
        if not self._nodes:
            return sums
        tree = np.zeros([2 * self._num_leaves, *values.shape[1:]])
        for rows, nodes in self._nodes:
            np.add.at(tree, nodes, values[rows])
        level = 1
        while level < self._num_leaves:
            tree[2 * level : 4 * level] += np.repeat(tree[level : 2 * level], 2, 0)
            level *= 2
        return sums + tree[self._num_leaves : self._num_leaves + len(sums)]

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
        return self._centred @ coefficients + self.offset

    def value(self, coefficients: np.ndarray) -> float:
        """Returns the partial log-likelihood in nats, or NaN if a sum of risks underflows."""
        u = self.numbers(coefficients)
        top = u.max()
        risk = self.weights * np.exp(u - top)
        time_id, fractions, weight = self._ties
        sums = self.at_risk(risk)[time_id] - fractions * self.tied(risk)[time_id]
        if not (sums > 0).all():
            return np.nan
        return float((self.weights * u)[self.event].sum() - (weight * (np.log(sums) + top)).sum())

    def local(self, coefficients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The gradient `[q]` and the Hessian `[q, q]` of the negative log-likelihood."""
        risk, sums, means, weight = self._means(coefficients)
        time_id, fractions, _ = self._ties
        outer = risk[:, None, None] * self._centred[:, :, None] * self._centred[:, None]
        outer_sums = self.at_risk(outer)[time_id] - fractions[:, None, None] * self.tied(outer)[time_id]
        covariances = outer_sums / sums[:, None, None] - means[:, :, None] * means[:, None]
        gradient = weight @ means - self.weights[self.event] @ self._centred[self.event]
        return gradient, np.einsum("l,lpq->pq", weight, covariances)

    def _means(self, coefficients):
        """Returns four arrays: `r` for each row, and three arrays with an element for each event, as in `_ties`.

        The second array contains the sums of risks `S - (l / d) T`. The third contains the means of `x`, weighted by
        the risks in these sums. The fourth contains `mean(w)`. All risks are divided by the largest `exp(u)`, to avoid
        overflow.
        """
        u = self.numbers(coefficients)
        risk = self.weights * np.exp(u - u.max())
        time_id, fractions, weight = self._ties
        sums = self.at_risk(risk)[time_id] - fractions * self.tied(risk)[time_id]
        weighted = risk[:, None] * self._centred
        means = (self.at_risk(weighted)[time_id] - fractions[:, None] * self.tied(weighted)[time_id]) / sums[:, None]
        return risk, sums, means, weight

    def scores(self, coefficients: np.ndarray) -> np.ndarray:
        """Returns the weighted score residuals `[n, q]`. They sum to the gradient of the log-likelihood."""
        risk, sums, means, weight = self._means(coefficients)
        time_id, fractions, _ = self._ties
        size = len(self.times)

        def by_time(values):  # sums over the events of each time
            result = np.zeros([size, *values.shape[1:]])
            np.add.at(result, time_id, values)
            return result

        hazard = weight / sums
        expected = self._centred * self.over_times(by_time(hazard))[:, None]
        expected -= self.over_times(by_time(hazard[:, None] * means))
        row_time_id = np.searchsorted(self.times, self.stop[self.event])
        shared, shared_means = by_time(hazard * fractions), by_time((hazard * fractions)[:, None] * means)
        expected[self.event] -= self._centred[self.event] * shared[row_time_id][:, None] - shared_means[row_time_id]
        result = -risk[:, None] * expected
        counts = np.bincount(time_id, minlength=size)
        average = by_time(means) / counts[:, None]
        result[self.event] += self.weights[self.event, None] * (self._centred[self.event] - average[row_time_id])
        return result

    def schoenfeld(self, coefficients: np.ndarray) -> np.ndarray:
        """Returns the Schoenfeld residuals `[events, q]`, in the order of rows.

        The residual of a row with an event is its columns minus their risk-weighted mean over the rows at risk. At a
        time with ties, the mean is the average of the means from `_means`.
        """
        _, _, means, _ = self._means(coefficients)
        time_id = self._ties[0]
        sums = np.zeros([len(self.times), means.shape[1]])
        np.add.at(sums, time_id, means)
        row_time_id = np.searchsorted(self.times, self.stop[self.event])
        return self._centred[self.event] - sums[row_time_id] / np.bincount(time_id)[row_time_id, None]

    def hazards(self, coefficients: np.ndarray) -> tuple[np.ndarray, float]:
        """Returns Breslow's estimate of a row's hazard at each event time, `[m]`, and the row's linear predictor.

        We choose the row with the largest linear predictor in the stratum, because the hazard of a row with the linear
        predictor 0 may overflow.
        """
        u = self.numbers(coefficients)
        top = u.max()
        hazard = self.tied(self.weights) / self.at_risk(self.weights * np.exp(u - top))
        return hazard, float(top + self.x.mean(0) @ coefficients)
