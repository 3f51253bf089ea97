"""The inputs of a network: standardised columns, bins of the columns, and the predictions of a forest."""

import numpy as np

from nllfit.tabular.forest import ForestInputs
from nllfit.tabular.network_architectures import Network
from nllfit.tabular.standardised_target import mean_and_spread

__all__ = [
    "Bins",
    "Inputs",
]

_BINS = 20  # the number of bins of a column
_MOST_BINNED_COLUMNS = 1000  # bins of a wider table would need too much memory


class Bins:
    """The piecewise linear encoding of columns. The encoding replaces each column by one feature per bin.

    The feature is 0 if the value is below the bin and 1 if it is above. Inside the bin it rises linearly from 0 to 1.
    The edges of the bins are quantiles of the column.

    Source: Gorishniy, Rubachev and Babenko, On embeddings for numerical features in tabular deep learning, 2022.
    """

    def __init__(self, x: np.ndarray):
        edges = np.quantile(x, np.linspace(0, 1, _BINS + 1), axis=0)
        self.low, self.width = edges[:-1], np.diff(edges, axis=0)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        above = x[:, None] - self.low
        filled = np.clip(above / np.where(self.width, self.width, 1.0), 0, 1)
        return np.where(self.width, filled, above >= 0).reshape(len(x), -1)


class Inputs:
    """The inputs of a network: the standardised columns, and the inputs that `Network.inputs` adds.

    `Network.inputs` can add the bins of the columns, and the predictions of a forest.
    """

    def __init__(self, network: Network, x: np.ndarray, weights: np.ndarray | None, forest: ForestInputs | None):
        self.mean, self.scale = np.array([mean_and_spread(column, weights) for column in x.T]).T
        self.range = x.min(axis=0), x.max(axis=0)
        binned = "bins" in network.inputs and x.shape[1] <= _MOST_BINNED_COLUMNS
        self.bins, self.forest = Bins(x) if binned else None, forest

    @classmethod
    def fit(
        cls, network: Network, x: np.ndarray, y: np.ndarray, weights: np.ndarray | None, seed: int
    ) -> tuple["Inputs", np.ndarray]:
        """Learns the scales and bins of a training set, and grows the forest if the network uses one.

        Args:
          network: the `Network`, which determines the inputs.
          x: the columns of the training set, `[n, m]`.
          y: its outcomes as numbers, `[n, k]`.
          weights: the number of times that each row counts, `[n]`, or None.
          seed: the seed of the forest.

        Returns:
          The `Inputs`, and the array `[n, inputs]` of their values for the training set. The forest predictions in this
          array are out-of-bag: the prediction for a row comes only from trees that were grown without this row.
        """
        forest, forest_predictions = (
            ForestInputs.fit(x, y, weights, seed) if "forest" in network.inputs else (None, None)
        )
        inputs = cls(network, x, weights, forest)
        return inputs, inputs._joined(x, forest_predictions)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Returns the inputs `[n, inputs]` of new rows. Columns are clipped to their range in the training set."""
        return self._joined(x, None if self.forest is None else self.forest(x))

    def _joined(self, x, forest_predictions):
        x = np.clip(x, *self.range)
        parts = [(x - self.mean) / self.scale]
        if self.bins is not None:
            parts.append(self.bins(x))
        if forest_predictions is not None:
            parts.append(forest_predictions)
        return np.concatenate(parts, axis=1).astype("float32")
