"""Forests of randomised trees. Their predictions can be inputs of a network, which would otherwise smooth out jumps."""

from typing import Any

import numpy as np
from sklearn.ensemble import ExtraTreesRegressor

from nllfit.tabular.standardised_target import mean_and_spread

__all__ = ["MOST_ROWS", "Forest", "ForestInputs", "grown"]

_TREES = 100
_LEVELS = np.arange(1, 10) / 10  # the probabilities of the deciles
MOST_ROWS = 8192  # the maximum number of rows on which a tree is grown
# If the outcomes have at most this number of distinct values, all of them except the largest are thresholds.
_MOST_VALUES = 20
_LARGEST = 1e38  # about the largest number in float32
_LEAST_PROBABILITY = 1e-2  # probabilities `p` are clipped so that `p` and `1 - p` are at least this


def grown(
    x: np.ndarray, targets: np.ndarray, weights: np.ndarray | None, seed: int, **options: Any
) -> tuple[ExtraTreesRegressor, np.ndarray, np.ndarray]:
    """Grows a scikit-learn forest on inputs `[n, m]`. The forest predicts the mean of each target, `[n, t]`.

    The columns of the inputs are standardised, because scikit-learn converts them to float32 and does not split a
    column between values that differ by less than 1e-7. The result is the forest, and the center and the unit of
    each column, `[m]` each.

    If there are more than 8192 rows, each tree is grown on a bootstrap sample of 8192 rows.

    Source: Geurts, Ernst and Wehenkel, Extremely randomized trees, 2006.
    """
    targets = targets[:, 0] if targets.shape[1] == 1 else targets  # scikit-learn warns of a target `[n, 1]`
    if len(x) > MOST_ROWS:
        options |= {"bootstrap": True, "max_samples": MOST_ROWS}
    center, unit = _center_and_unit(x)
    with np.errstate(over="ignore"):
        standard = np.clip((x - center) / unit, -_LARGEST, _LARGEST)
    forest = ExtraTreesRegressor(_TREES, random_state=seed, **options).fit(standard, targets, sample_weight=weights)
    return forest, center, unit


def _center_and_unit(x):
    """Returns the median `m` of each column, and the median of the nonzero numbers `|value - m|` of the column."""
    center = np.median(x, axis=0)
    distances = (column[column > 0] for column in np.abs(x - center).T)
    return center, np.array([np.median(found) if len(found) else 1.0 for found in distances])


class Forest:
    """The trees of a scikit-learn forest, stored as arrays so that they can be saved without scikit-learn's classes.

    Args:
      forest, center, unit: the result of `grown`. The trees' thresholds are converted from the standardised columns
        back to the unit of the original columns.
    """

    def __init__(self, forest: ExtraTreesRegressor, center: np.ndarray, unit: np.ndarray):
        trees = [tree.tree_ for tree in forest.estimators_]
        self.starts = np.cumsum([0, *[tree.node_count for tree in trees[:-1]]])
        children = [np.stack([tree.children_left, tree.children_right]) for tree in trees]
        shifted = [np.where(pair < 0, -1, pair + start) for pair, start in zip(children, self.starts, strict=True)]
        self.children = np.concatenate(shifted, axis=1)
        self.feature = np.maximum(np.concatenate([tree.feature for tree in trees]), 0)  # a leaf has a negative index
        standard = np.concatenate([tree.threshold for tree in trees])
        self.threshold = center[self.feature] + unit[self.feature] * standard
        self.value = np.concatenate([tree.value[:, :, 0] for tree in trees]).astype("float32")

    def __call__(self, x: np.ndarray, counted: np.ndarray | None = None) -> np.ndarray:
        """Returns the mean of the trees' predictions, `[n, t]`.

        Args:
          x: the rows, `[n, m]`.
          counted: whether a tree counts in the mean of a row, `[n, trees]`; None if all trees count.
        """
        total = np.zeros([len(x), self.value.shape[1]])
        for i, leaves in enumerate(self._leaves(x).T):
            values = self.value[leaves]
            total += values if counted is None else np.where(counted[:, i, None], values, 0)
        return total / (len(self.starts) if counted is None else counted.sum(axis=1, keepdims=True))

    def _leaves(self, x):
        """The leaf of each row in each tree, `[n, trees]`."""
        nodes = np.tile(self.starts, [len(x), 1])
        rows = np.arange(len(x))[:, None]
        while np.any(inner := self.children[0][nodes] >= 0):
            right = x[rows, np.maximum(self.feature[nodes], 0)] > self.threshold[nodes]
            nodes = np.where(inner, self.children[right.astype(int), nodes], nodes)
        return nodes


class ForestInputs:
    """Inputs of a network that describe the distribution that a forest predicts: its mean, and log-odds of `y <= t`.

    The trees predict the indicators `y <= t` and the standardised `y` itself. The thresholds `t` are the deciles of the
    outcomes, or all values except the largest if the outcomes have at most 20 different values. So the trees follow the
    whole distribution, including jumps.

    A tree reproduces the outcomes of the rows that it was grown on, but its predictions for new rows have errors. A
    network that is trained on the reproduced outcomes would trust the trees too much. Therefore the inputs of a
    training row come only from trees that were grown without this row.

    Source: Meinshausen, Quantile regression forests, 2006.
    """

    @classmethod
    def fit(
        cls, x: np.ndarray, y: np.ndarray, weights: np.ndarray | None, seed: int
    ) -> tuple["ForestInputs", np.ndarray]:
        """Grows a forest, and computes the inputs of the network for the training set.

        Args:
          x: the columns of the training set, `[n, m]`.
          y: its outcomes, `[n, k]`.
          weights: its weights, `[n]`, or None.
          seed: the seed of the trees.

        Returns:
          The `ForestInputs`, and the array `[n, k * (thresholds + 1)]` of their values for the training set.
        """
        targets = np.concatenate([_targets(column) for column in y.T], axis=1)
        forest, *scale = grown(x, targets, weights, seed, bootstrap=True)
        is_out_of_bag = np.ones([len(x), _TREES], bool)
        for i, rows in enumerate(forest.estimators_samples_):
            is_out_of_bag[rows, i] = False
        is_out_of_bag[~is_out_of_bag.any(axis=1)] = True  # all trees count for a row that every tree was trained on
        inputs = cls(Forest(forest, *scale), targets)
        return inputs, inputs(x, is_out_of_bag)

    def __init__(self, forest: Forest, targets: np.ndarray):
        self.forest = forest
        self.is_indicator = np.all((targets == 0) | (targets == 1), axis=0)

    def __call__(self, x: np.ndarray, counted: np.ndarray | None = None) -> np.ndarray:
        """Returns the inputs `[n, k * (thresholds + 1)]` for rows `x`. The arguments are those of a `Forest` call."""
        means = self.forest(x, counted)
        probability = np.clip(means, _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
        return np.where(self.is_indicator, np.log(probability / (1 - probability)), means)


def _targets(y):
    """Returns `[n, thresholds + 1]`: the standardised outcomes, then the indicators `y <= t` of each threshold `t`."""
    values = np.unique(y)
    thresholds = values[:-1] if len(values) <= _MOST_VALUES else np.unique(np.quantile(y, _LEVELS))
    loc, unit = mean_and_spread(y, None)
    standard = (y - loc) / unit
    return np.concatenate([standard[:, None], y[:, None] <= thresholds], axis=1)
