"""The architectures of the networks for a table: hidden layers and inputs, and names such as "smooth" for them."""

import dataclasses
from typing import Any

import numpy as np

__all__ = ["NETWORKS", "TREES", "Network", "checked_network", "named_network"]


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
