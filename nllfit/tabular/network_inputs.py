"""The inputs of a network: standardised columns, bins of the columns, and the predictions of a forest."""

import dataclasses
from typing import Any

import numpy as np

from nllfit.tabular.forest import ForestInputs
from nllfit.tabular.standardised_target import mean_and_spread

__all__ = ["NETWORKS", "TREES", "Bins", "Inputs", "Network", "checked_network", "named_network"]

_BINS = 20  # the number of bins of a column
_MOST_BINNED_COLUMNS = 1000  # bins of a wider table would need too much memory


@dataclasses.dataclass(frozen=True)
class Network:
    """The hidden layers of a network, and its inputs.

    Args:
      units: the number of swish units of each hidden layer.
      inputs: the inputs in addition to the standardised columns. `"bins"` is a piecewise linear encoding of each column
        with 20 bins. The edges of the bins are quantiles of the column. This encoding helps the network to follow
        jumps. For a table of more than 1000 columns, `"bins"` has no effect. `"forest"` is the distribution that a
        forest of randomised trees predicts.

    Raises:
      ValueError: if `units` are not positive ints, or `inputs` contains another name.

    Example:
      >>> from nllfit.tabular import Network
      >>> Network((64, 64, 64), inputs=("bins",))
      Network(units=(64, 64, 64), inputs=('bins',))

    Source: Gorishniy, Rubachev and Babenko, On embeddings for numerical features in tabular deep learning, 2022.
    """

    units: tuple[int, ...] = (50, 50)
    inputs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        units = tuple(self.units) if np.iterable(self.units) else ()
        if not units or not all(isinstance(size, int | np.integer) and size > 0 for size in units):
            raise ValueError(f"`units` is {self.units!r}: give the size of each hidden layer, such as (50, 50).")
        inputs = tuple(self.inputs) if np.iterable(self.inputs) else (self.inputs,)
        if isinstance(self.inputs, str) or not all(name in ("bins", "forest") for name in inputs):
            raise ValueError(f"`inputs` is {self.inputs!r}: give a tuple of 'bins' and 'forest', or an empty one.")
        object.__setattr__(self, "units", tuple(map(int, units)))
        object.__setattr__(self, "inputs", inputs)


TREES = "trees"
NETWORKS = {
    "smooth": Network((50, 50)),
    "steep": Network((100, 100), ("bins",)),
    "forest": Network((50, 50), ("forest",)),
}


def checked_network(network: Any) -> Any:
    """Returns the given name or `Network`. Raises a `ValueError` for anything else."""
    if not isinstance(network, Network) and not (isinstance(network, str) and network in (*NETWORKS, TREES)):
        names = ", ".join(map(repr, (*NETWORKS, TREES)))
        raise ValueError(f"`network` is {network!r}: give {names}, a `Network`, a tuple of these, or 'auto'.")
    return network


def named_network(network: Any) -> Network:
    """Returns the `Network` that a name such as "smooth" stands for. A given `Network` is returned unchanged."""
    return network if isinstance(network, Network) else NETWORKS[network]


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
