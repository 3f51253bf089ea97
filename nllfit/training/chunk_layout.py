"""Chunks and their layouts. A chunk contains the tensors for one call of a program.

A layout is the structure, shapes and dtypes of these tensors. A program is traced for one layout.
"""

import dataclasses
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from nllfit.data_checks import CHUNK_BYTES, num_bytes

__all__ = ["Bounds", "Chunk", "Layout"]


class Bounds(NamedTuple):
    """The steps and epochs of one call of a program. A call runs one or several epochs, or a part of one epoch.

    Attributes:
      first, last: each epoch takes a step on each full batch `first <= i < last`.
      epochs: the number of epochs.
      starts: whether the call begins at the start of an epoch. If so, the metrics are reset.
      ends: whether the call ends at the end of an epoch. If so, the call also takes a step on the partial last
        batch, if there is one.
    """

    first: Any = 0
    last: Any = 0
    epochs: Any = 1
    starts: Any = True
    ends: Any = True


class _Inputs(NamedTuple):
    """The tensors of a call. `rest` is an empty tuple if there is no partial batch."""

    bounds: Any
    evaluates: Any
    data: Any
    order: Any
    rest: Any
    held_out: Any
    held_out_steps: Any


@dataclasses.dataclass(frozen=True)
class Layout:
    """The structure, shapes and dtypes of a chunk's tensors.

    Attributes:
      inputs: the structure of the tensors, with `tf.TensorSpec` as leaves.
    """

    inputs: Any

    @property
    def specs(self) -> list[tf.TensorSpec]:
        """The specs of `Chunk.tensors`, in the same order."""
        return tf.nest.flatten(self.inputs)

    @property
    def key(self) -> tuple:
        """A hashable key, which is equal for equal layouts."""
        structure = tf.nest.map_structure(lambda spec: 0, self.inputs)
        return str(structure), tuple((tuple(spec.shape), spec.dtype) for spec in self.specs)

    @property
    def capacity(self) -> int:
        """The maximum number of epochs in a call."""
        return self.inputs.order.shape[0]

    @property
    def batch(self) -> tuple:
        """The specs of a full batch."""
        rows = self.inputs.order.shape[2]
        return tf.nest.map_structure(lambda spec: tf.TensorSpec([rows, *spec.shape[1:]], spec.dtype), self.inputs.data)

    @property
    def held_out_batch(self) -> tuple | None:
        """The specs of a validation batch, or None if the program does not evaluate."""
        if not self.inputs.held_out:
            return None
        return tf.nest.map_structure(lambda spec: tf.TensorSpec(spec.shape[1:], spec.dtype), self.inputs.held_out[0])

    @property
    def is_small(self) -> bool:
        """Whether the data have at most `CHUNK_BYTES`, so that copies of them are allowed."""
        return num_bytes(self.inputs.data) <= CHUNK_BYTES

    @property
    def has_strings(self) -> bool:
        """Whether a tensor contains strings. XLA aborts the process if it gets a string."""
        return any(spec.dtype == tf.string for spec in self.specs)

    def pack(self, tensors: list) -> tuple:
        """Returns the tensors of a chunk as `_Inputs`, and its `Bounds`."""
        inputs = tf.nest.pack_sequence_as(self.inputs, tensors)
        return inputs, Bounds(*tf.unstack(inputs.bounds))


@dataclasses.dataclass(frozen=True)
class Chunk:
    """The tensors for one call of a program.

    The program gathers the rows of each batch from `data`.

    Attributes:
      data: a tuple of structures of tensors `[n, ...]`.
      order: the row indices of each full batch of each epoch, `[capacity, steps, batch_size]`, where `capacity` is the
        maximum number of epochs.
      rest: the row indices of the partial last batch of each epoch, `[capacity, r]`, or None if there is none.
      bounds: the steps and epochs of this call.
      held_out: the validation batches, as pairs `(stack, count)`. A stack contains batches, `[k, batch_size, ...]`, of
        which the first `count` are used.
      evaluates: whether to evaluate after each epoch, `[capacity]`.
    """

    data: tuple
    order: Any
    rest: Any = None
    bounds: Bounds = dataclasses.field(default_factory=Bounds)
    held_out: tuple = ()
    evaluates: Any = None

    @property
    def evaluated_epoch_steps(self) -> int:
        """The number of steps of one epoch, including a partial batch and an evaluation after the epoch."""
        return self.bounds.last - self.bounds.first + (self.rest is not None) + sum(size for _, size in self.held_out)

    @property
    def training_steps(self) -> int:
        """The number of training steps of the call."""
        steps = self.bounds.last - self.bounds.first + (self.bounds.ends and self.rest is not None)
        return self.bounds.epochs * steps

    @property
    def num_steps(self) -> int:
        """The number of steps of the call, including evaluations."""
        evaluations = 0 if self.evaluates is None else int(np.sum(self.evaluates[: self.bounds.epochs]))
        return self.training_steps + evaluations * sum(size for _, size in self.held_out)

    def part(self, first: int, last: int) -> "Chunk":
        """Returns the chunk for only the batches `first <= i < last`.

        The part with the first batch starts the epoch, and the part with the last batch ends it.
        """
        starts, ends = self.bounds.starts and first == self.bounds.first, last == self.bounds.last
        bounds = self.bounds._replace(first=first, last=last, starts=starts, ends=ends)
        return dataclasses.replace(self, bounds=bounds, evaluates=self.evaluates if ends else None)

    def tensors(self) -> list[tf.Tensor]:
        """The tensors to call a program with."""
        return [tf.convert_to_tensor(array) for array in tf.nest.flatten(self._inputs())]

    def layout(self) -> Layout:
        """The layout of the tensors."""
        return Layout(tf.nest.map_structure(lambda array: tf.TensorSpec(array.shape, array.dtype), self._inputs()))

    def _inputs(self):
        return _Inputs(
            bounds=np.array(self.bounds, np.int32),
            evaluates=np.zeros(len(self.order), bool) if self.evaluates is None else self.evaluates,
            data=self.data,
            order=self.order,
            rest=() if self.rest is None else self.rest,
            held_out=tuple(stack for stack, _ in self.held_out),
            held_out_steps=np.array([size for _, size in self.held_out], np.int32),
        )
