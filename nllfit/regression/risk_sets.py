"""Sums over the rows at risk at each time of an event.

The rows with `start < t <= stop` are at risk at the time `t`. The sums over them are cumulative sums over time. Rows
that enter late are summed over the nodes of a binary tree. So there is no array with an element for each pair of a row
and an event time.
"""

import dataclasses
import functools

import numpy as np

__all__ = ["RiskSets"]


@dataclasses.dataclass(frozen=True)
class RiskSets:
    """The rows at risk at each event time.

    Attributes:
      start, stop: each row is at risk after `start` and up to `stop`, `[n]`.
      event: whether each row has an event at `stop`, `[n]`.
    """

    start: np.ndarray
    stop: np.ndarray
    event: np.ndarray

    @functools.cached_property
    def times(self) -> np.ndarray:
        """The distinct times of events, `[m]`."""
        return np.unique(self.stop[self.event])

    @functools.cached_property
    def ranges(self):
        """Returns two index arrays `[n]`, `first` and `last`: a row is at risk at `times[first:last]`."""
        return np.searchsorted(self.times, self.start, "right"), np.searchsorted(self.times, self.stop, "right")

    @functools.cached_property
    def row_time_id(self):
        """The index in `times` of each row with an event, in the order of rows."""
        return np.searchsorted(self.times, self.stop[self.event])

    @functools.cached_property
    def chains(self):
        """Returns the chain of each event time, `[m]`.

        Two event times belong to one chain if some row is at risk at both. If a constant is added to `x b` in all rows
        that are at risk at times of one chain, the likelihood does not change.
        """
        first, last = self.ranges
        is_at_risk = first < last
        starts = np.bincount(first[is_at_risk], minlength=len(self.times))
        ends = np.bincount(last[is_at_risk] - 1, minlength=len(self.times))
        is_last = np.cumsum(starts - ends) == 0  # no row is at risk at both this time and the next
        return np.cumsum(is_last) - is_last

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
        first, last = self.ranges
        rows, pairs = np.flatnonzero((first > 0) & (first < last)), []
        low, high = first[rows] + self._num_leaves, last[rows] + self._num_leaves
        while len(rows):
            # If the range from `low` to `high - 1` begins with a right child or ends with a left child, the sibling of
            # this child is outside the range. So no higher node can replace the child, and its own sum is needed.
            is_right, is_left = low % 2 == 1, high % 2 == 1
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
        first, last = self.ranges
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
        first, last = self.ranges
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
        np.add.at(sums, self.row_time_id, values[self.event])
        return sums
