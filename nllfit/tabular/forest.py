"""Forest: the distribution that randomised trees predict, as inputs of a network, which by itself smooths steps."""

import numpy as np
from sklearn.ensemble import ExtraTreesRegressor

__all__ = ["Forest"]

_TREES = 100
_LEVELS = np.arange(1, 10) / 10
_MOST_ROWS = 8192  # that one tree sees
_MOST_VALUES = 20  # of outcomes that are each a threshold
_LEAST = 1e-2  # probability, before the logarithm of odds


class Forest:
    """The predictive distribution of a forest at some thresholds of the outcomes, in log-odds.

    The trees split to tell apart the indicators `y <= t` at thresholds `t`, the deciles of the outcomes or all of their
    values if they are few, and `y` itself, standardised. So they follow the whole distribution, and steps in it. A row
    of the training set is predicted only by the trees that did not see it, because the others know its outcome.

    Source: Geurts, Ernst and Wehenkel, Extremely randomized trees, 2006; Meinshausen, Quantile regression forests,
    2006.
    """

    @classmethod
    def fit(cls, x: np.ndarray, y: np.ndarray, weights: np.ndarray | None, seed: int) -> tuple["Forest", np.ndarray]:
        """Grows a forest.

        Args:
          x: `[n, m]`.
          y: `[n, k]`.
          weights: `[n]`, or None.
          seed: of the trees.

        Returns:
          The forest, and the inputs `[n, k * (thresholds + 1)]` of its own training set: what trees that did not see a
          row predict for it.
        """
        targets = np.concatenate([_targets(column) for column in y.T], axis=1)
        forest = ExtraTreesRegressor(
            _TREES, bootstrap=True, max_samples=min(1.0, _MOST_ROWS / len(x)), random_state=seed
        ).fit(x, targets, sample_weight=weights)
        grown, unseen = cls(forest, targets), np.ones([len(x), _TREES], bool)
        for i, rows in enumerate(forest.estimators_samples_):
            unseen[rows, i] = False
        unseen[~unseen.any(axis=1)] = True
        return grown, grown._inputs(x, unseen)

    def __init__(self, forest: ExtraTreesRegressor, targets: np.ndarray):
        trees = [tree.tree_ for tree in forest.estimators_]
        self.starts = np.cumsum([0, *[tree.node_count for tree in trees[:-1]]])
        children = [np.stack([tree.children_left, tree.children_right]) for tree in trees]
        moved = [np.where(pair < 0, -1, pair + start) for pair, start in zip(children, self.starts, strict=True)]
        self.children = np.concatenate(moved, axis=1)
        self.feature = np.concatenate([tree.feature for tree in trees])
        self.threshold = np.concatenate([tree.threshold for tree in trees])
        self.value = np.concatenate([tree.value[:, :, 0] for tree in trees]).astype("float32")
        self.is_indicator = np.all((targets == 0) | (targets == 1), axis=0)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The inputs `[n, k * (thresholds + 1)]` of new rows."""
        return self._inputs(x, np.ones([len(x), _TREES], bool))

    def _inputs(self, x, counted):
        total = np.zeros([len(x), self.value.shape[1]])
        for i, leaves in enumerate(self._leaves(x).T):
            total += np.where(counted[:, i, None], self.value[leaves], 0)
        share = total / counted.sum(axis=1, keepdims=True)
        probability = np.clip(share, _LEAST, 1 - _LEAST)
        log_odds = np.log(probability / (1 - probability))
        return np.where(self.is_indicator, log_odds, share)

    def _leaves(self, x):
        """The leaf of each row in each tree, `[n, trees]`."""
        x = x.astype("float32")  # as the trees have seen it
        nodes = np.tile(self.starts, [len(x), 1])
        rows = np.arange(len(x))[:, None]
        while np.any(inner := self.children[0][nodes] >= 0):
            right = x[rows, np.maximum(self.feature[nodes], 0)] > self.threshold[nodes]
            nodes = np.where(inner, self.children[right.astype(int), nodes], nodes)
        return nodes


def _targets(y):
    """The outcomes `[n]`, standardised, and the indicators that they are not above each threshold."""
    values = np.unique(y)
    thresholds = values[:-1] if len(values) <= _MOST_VALUES else np.unique(np.quantile(y, _LEVELS))
    standard = (y - y.mean()) / (y.std() or 1.0)
    return np.concatenate([standard[:, None], y[:, None] <= thresholds], axis=1)
