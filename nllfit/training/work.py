"""Work: what one call of a program does, as tensors."""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from nllfit.data import CHUNK_BYTES, num_bytes

__all__ = ["Work"]


@dataclasses.dataclass(frozen=True)
class Work:
    """Steps over batches that are gathered from the data by their rows, epoch after epoch.

    Attributes:
      data: a tuple of structures of tensors `[n, ...]`.
      order: `[capacity, steps, batch_size]`, the rows of each batch of each epoch.
      rest: `[capacity, r]`, those of a smaller last batch, or None.
      held_out: stacks `[k, batch_size, ...]` of batches to evaluate on, and how many of each count.
      first, last: the steps of an epoch to do.
      epochs: how many to do.
      starts, ends: whether an epoch begins at `first`, which resets the metrics, and has its `rest` after `last`.
      evaluates: `[capacity]`, whether to evaluate after each epoch.
    """

    data: tuple
    order: Any
    rest: Any = None
    held_out: tuple = ()
    first: int = 0
    last: int = 0
    epochs: int = 1
    starts: bool = True
    ends: bool = True
    evaluates: Any = None

    @property
    def capacity(self) -> int:
        """The most epochs of a call."""
        return self.order.shape[0]

    @property
    def steps(self) -> int:
        """The steps of one epoch and of an evaluation after it."""
        return self.last - self.first + (self.rest is not None) + sum(size for _, size in self.held_out)

    @property
    def num_steps(self) -> int:
        """The steps of the call, those of evaluations included."""
        steps = self.last - self.first + (self.ends and self.rest is not None)
        tested = 0 if self.evaluates is None else int(np.sum(self.evaluates[: self.epochs]))
        return self.epochs * steps + tested * sum(size for _, size in self.held_out)

    @property
    def is_small(self) -> bool:
        """Whether a copy of the data is worth its memory."""
        return num_bytes(self.data) <= CHUNK_BYTES

    @property
    def has_strings(self) -> bool:
        """Whether there are strings, with which XLA would abort the process."""
        return any(spec.dtype == tf.string for spec in self.specs())

    def part(self, first: int, last: int) -> "Work":
        """Some steps of the work; what begins and ends an epoch is of the first and of the last."""
        starts, ends = self.starts and first == self.first, last == self.last
        evaluates = self.evaluates if ends else None
        return dataclasses.replace(self, first=first, last=last, starts=starts, ends=ends, evaluates=evaluates)

    def tensors(self) -> list[tf.Tensor]:
        """All of it as tensors."""
        return [tf.convert_to_tensor(array) for array in self._arrays()]

    def unflatten(self, tensors: list) -> tuple:
        """Numbers, whether to evaluate, data, order, rest and stacks from the tensors of such work."""
        numbers, evaluates, *tensors = tensors
        data, order, rest, stacks = tf.nest.pack_sequence_as(self._parts(), tensors)
        return numbers, evaluates, data, order, None if self.rest is None else rest, stacks

    def specs(self) -> list[tf.TensorSpec]:
        """The shapes and dtypes of its tensors."""
        return [tf.TensorSpec(array.shape, array.dtype) for array in self._arrays()]

    def batch_specs(self) -> tuple:
        """The shapes and dtypes of a batch."""
        rows = self.order.shape[2]
        return tf.nest.map_structure(lambda t: tf.TensorSpec([rows, *t.shape[1:]], t.dtype), self.data)

    def key(self) -> tuple:
        """What a program must know of it: how the data are put together, and all shapes and dtypes."""
        parts = self.data, [stack for stack, _ in self.held_out]
        shapes = tuple((tuple(spec.shape), spec.dtype) for spec in self.specs())
        return str(tf.nest.map_structure(lambda t: 0, parts)), self.rest is None, shapes

    def _arrays(self):
        """All of it as arrays and tensors."""
        sizes = [size for _, size in self.held_out]
        numbers = np.array([self.first, self.last, self.epochs, self.starts, self.ends, *sizes], np.int32)
        evaluates = np.zeros(self.capacity, bool) if self.evaluates is None else self.evaluates
        return [numbers, evaluates, *tf.nest.flatten(self._parts())]

    def _parts(self):
        rest = [] if self.rest is None else self.rest
        return [self.data, self.order, rest, [stack for stack, _ in self.held_out]]
