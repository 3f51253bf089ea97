"""Replicas: copies of a model on several devices or machines, which share the rows of each batch.

`tf.distribute` sums the gradients of all replicas. In Keras, the loss of a replica is the mean over its share of the
batch, divided by the number of replicas. The sum of these losses is the mean over the batch only if all shares are
equally large.
"""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

__all__ = ["ALONE", "Replicas"]


@dataclasses.dataclass(frozen=True)
class Replicas:
    """The replicas of a strategy of `tf.distribute`; by default one.

    Attributes:
      count: the number of replicas on all machines.
      local: the number of replicas in this process.
      first: the global index of this process's first replica.
    """

    count: int = 1
    local: int = 1
    first: int = 0

    @classmethod
    def of(cls, strategy: tf.distribute.Strategy) -> "Replicas":
        """The replicas of a strategy."""
        if strategy.num_replicas_in_sync == 1:
            return cls()
        replica_ids = strategy.experimental_local_results(
            strategy.experimental_distribute_values_from_function(lambda context: context.replica_id_in_sync_group)
        )
        return cls(strategy.num_replicas_in_sync, len(replica_ids), int(replica_ids[0]))

    @property
    def on_machines(self) -> bool:
        """Whether the replicas belong to several processes, which must then run the same programs in lockstep."""
        return self.local < self.count

    @property
    def alone(self) -> "Replicas":
        """The replicas of this process without the others, for batches that contain only the rows of this process."""
        return Replicas(self.local, self.local)

    def rows(self, order: np.ndarray) -> np.ndarray:
        """Returns the part of batches `[..., batch_size]` that belongs to this process."""
        size = order.shape[-1]
        return order[..., _bound(size, self.first, self.count) : _bound(size, self.first + self.local, self.count)]

    def share(self, data: Any) -> Any:
        """Returns the rows of the current replica. `data` is a structure of tensors with the rows of this process."""
        if self.local == 1:
            return data
        index = int(tf.get_static_value(tf.distribute.get_replica_context().replica_id_in_sync_group)) - self.first
        size = tf.nest.flatten(data)[0].shape[0]
        rows = slice(_bound(size, index, self.local), _bound(size, index + 1, self.local))
        return tf.nest.map_structure(lambda t: t[rows], data)

    def check(self, size: int) -> None:
        """Raises a `ValueError` if the replicas cannot share a training batch of this size equally."""
        if size % self.count:
            raise ValueError(
                f"A batch has {size} rows, which {self.count} replicas cannot share equally, so that "
                f"some rows would count more than others: give a `batch_size` that is divisible by {self.count}, and "
                f"leave out the rows of a smaller last batch (in a dataset, by `drop_remainder=True`)."
            )

    def agree(self, strategy: tf.distribute.Strategy, number: int) -> int:
        """Returns, in every process, the `number` that was given in the first process."""
        if not self.on_machines:
            return number
        numbers = strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(0 if context.replica_id_in_sync_group else number, tf.int64)
        )
        return int(strategy.reduce("SUM", numbers, axis=None))


ALONE = Replicas()


def _bound(size, part, parts):
    """Returns the index at which part number `part` of `parts` begins in a batch, as in `np.array_split`."""
    return size // parts * part + min(part, size % parts)
