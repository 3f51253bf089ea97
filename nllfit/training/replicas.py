"""Replicas: copies of a model on several devices or machines, and the rows of a batch that each of them takes.

`tf.distribute` adds up the gradients of all replicas. In Keras each has as its loss the mean over its share of the
batch, divided by the number of replicas: that adds up to the mean over the batch if all shares are as large.
"""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

__all__ = ["ALONE", "Replicas"]


@dataclasses.dataclass(frozen=True)
class Replicas:
    """The replicas of a strategy; without one, a single one.

    Attributes:
      count: of all machines.
      local: those of this process.
      first: the number of its first among all.
    """

    count: int = 1
    local: int = 1
    first: int = 0

    @classmethod
    def of(cls, strategy: tf.distribute.Strategy) -> "Replicas":
        """Those of a strategy, as this process sees them."""
        if strategy.num_replicas_in_sync == 1:
            return cls()
        numbers = strategy.experimental_local_results(
            strategy.experimental_distribute_values_from_function(lambda context: context.replica_id_in_sync_group)
        )
        return cls(strategy.num_replicas_in_sync, len(numbers), int(numbers[0]))

    @property
    def on_machines(self) -> bool:
        """Whether they are of several processes, which have to go through the same programs in step."""
        return self.local < self.count

    @property
    def alone(self) -> "Replicas":
        """This process's, for batches of which it has its own rows only."""
        return Replicas(self.local, self.local)

    def rows(self, order: np.ndarray) -> np.ndarray:
        """This process's rows of batches `[..., batch_size]`."""
        size = order.shape[-1]
        return order[..., _bound(size, self.first, self.count) : _bound(size, self.first + self.local, self.count)]

    def share(self, data: Any) -> Any:
        """The rows of the replica in whose context it is called, of a structure of tensors of this process's rows."""
        if self.local == 1:
            return data
        which = int(tf.get_static_value(tf.distribute.get_replica_context().replica_id_in_sync_group)) - self.first
        size = tf.nest.flatten(data)[0].shape[0]
        rows = slice(_bound(size, which, self.local), _bound(size, which + 1, self.local))
        return tf.nest.map_structure(lambda t: t[rows], data)

    def check(self, size: int) -> None:
        """Raises a `ValueError` for a batch to train on whose rows cannot be shared alike."""
        if size % self.count:
            raise ValueError(
                f"A batch has {size} rows, which {self.count} replicas cannot share alike, so that "
                f"some rows would count more than others: give a `batch_size` that {self.count} divides, and leave "
                f"out the rows of a smaller last batch (in a dataset, by `drop_remainder=True`)."
            )

    def agree(self, strategy: tf.distribute.Strategy, number: int) -> int:
        """The number that the first process gives, in all of them."""
        if not self.on_machines:
            return number
        numbers = strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(0 if context.replica_id_in_sync_group else number, tf.int64)
        )
        return int(strategy.reduce("SUM", numbers, axis=None))


ALONE = Replicas()


def _bound(size, part, parts):
    """Where a part of a batch begins, as `np.array_split` has it."""
    return size // parts * part + min(part, size % parts)
