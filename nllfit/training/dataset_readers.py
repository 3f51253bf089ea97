"""Readers: functions that read many batches at once from a dataset, a `Sequence` or another iterable.

A reader is a function `begin(max_batches)` that begins a pass over the data. It returns a function `take(count)`, which
returns at most `count` of the next batches, as a list of stacks. Batches of different sizes are in different stacks.
Batches without rows are skipped, except in a `DistributedDataset`. At the end of the pass the list is empty. TensorFlow
reads a `tf.data.Dataset` of tensors in groups of `max_batches` batches, so each call of `take` returns at most
`max_batches` batches of such a dataset.
"""

import concurrent.futures
import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

__all__ = ["Stack", "reader_of"]


class Stack(NamedTuple):
    """Consecutive batches of one size.

    Attributes:
      data: a tuple of structures of arrays and tensors `[steps * size, ...]`, which contain one batch after the other.
      steps: the number of batches.
      size: the number of rows of a batch.
    """

    data: tuple
    steps: int
    size: int


def reader_of(iterable: Any, convert: Callable[[Any], tuple]) -> Callable[[int], Callable[[int], list[Stack]]]:
    """Returns the reader of an iterable of batches.

    Args:
      iterable: an iterable of batches.
      convert: converts a batch to a tuple of structures of tensors. It is applied only to a batch in which some leaf is
        neither an array nor a tensor.
    """
    take_from: Callable = _take_from_iterable
    if hasattr(type(iterable), "__getitem__") and hasattr(type(iterable), "__len__"):
        take_from = _take_from_sequence
    if isinstance(iterable, tf.data.Dataset):
        specs = tf.nest.flatten(iterable.element_spec)
        if all(isinstance(spec, tf.TensorSpec) and spec.shape.rank for spec in specs):
            take_from = _take_from_dataset
    begin = functools.partial(take_from, iterable, convert)
    # In a `DistributedDataset`, empty batches are kept, so that all workers read the same number of batches.
    if isinstance(iterable, tf.distribute.DistributedDataset):
        return begin
    return lambda max_batches: functools.partial(_take_with_rows, begin(max_batches))


def _take_with_rows(take, count):
    """Returns the next stacks, without stacks of empty batches, or an empty list at the end of the pass."""
    while stacks := take(count):
        if with_rows := [stack for stack in stacks if stack.size]:
            return with_rows
    return []


def _take_from_iterable(iterable, convert, max_batches):
    iterator = iter(iterable)
    return lambda count: _stacks_in_python(itertools.islice(iterator, count), convert)


def _take_from_sequence(sequence, convert, max_batches):
    """Reads batches by index. The attribute `workers` of Keras 3's `PyDataset` sets the number of threads."""
    indices, workers = iter(range(len(sequence))), getattr(sequence, "workers", 1)
    batch_of = functools.partial(_batch_of, sequence)

    def take(count):
        next_indices = itertools.islice(indices, count)
        if workers <= 1:
            return _stacks_in_python(map(batch_of, next_indices), convert)
        with concurrent.futures.ThreadPoolExecutor(workers, "nllfit-sequence") as threads:
            return _stacks_in_python(threads.map(batch_of, next_indices), convert)

    return take


def _batch_of(sequence, index):
    """Returns a batch by its index.

    A `StopIteration` in the user's code becomes a `RuntimeError`, because `StopIteration` would silently end the epoch.
    """
    try:
        return sequence[index]
    except StopIteration as error:
        raise RuntimeError(
            f"`{type(sequence).__name__}.__getitem__({index})` raised StopIteration, and its length is "
            f"{len(sequence)}: return a batch for each index, or give a smaller length in `__len__`."
        ) from error


def _take_from_dataset(dataset, convert, max_batches):
    """Reads stacks of batches. TensorFlow joins the batches, in less than half the time of a loop in Python."""
    stacks = _stacks_of_dataset(dataset, convert, max_batches)
    leftover: list[Stack] = []

    def take(count):
        stack = leftover.pop() if leftover else next(stacks, None)
        if stack is None:
            return []
        if stack.steps > count:
            num_rows = count * stack.size
            leftover.append(Stack(_rows(stack.data, num_rows, None), stack.steps - count, stack.size))
            stack = Stack(_rows(stack.data, 0, num_rows), count, stack.size)
        return [stack]

    return take


def _stacks_of_dataset(dataset, convert, max_batches):
    """Yields the stacks of a dataset. TensorFlow joins each group of `max_batches` batches into one stack.

    If the dataset's spec does not contain the batch size, the batches of a group may differ in size. If only the last
    batch differs, that batch is read in Python. If other batches differ too, all batches of the group are read in
    Python.
    """
    if all(spec.shape.is_fully_defined() for spec in tf.nest.flatten(dataset.element_spec)):
        yield from map(_stack, dataset.batch(max_batches))
        return
    for window in dataset.window(max_batches):
        batches = tf.data.Dataset.zip(window)
        count = int(batches.cardinality())
        if stack := _stack_if_equal(batches, count):
            yield stack
        elif all_but_last := _stack_if_equal(batches.take(count - 1), count - 1):
            yield from [all_but_last, *_stacks_in_python(batches.skip(count - 1), convert)]
        else:
            yield from _stacks_in_python(batches, convert)


def _stack_if_equal(batches, count):
    """Returns the stack of `count` batches, or None if they differ in size."""
    try:
        return _stack(next(iter(batches.batch(count))))
    except tf.errors.InvalidArgumentError:
        return None


def _stack(batches):
    steps, size = tf.nest.flatten(batches)[0].shape[:2]
    with tf.device("CPU"):
        data = tf.nest.map_structure(lambda t: tf.reshape(t, [-1, *t.shape[2:]]), batches)
    return Stack(_as_tuple(data), steps, size)


def _rows(data, start, end):
    return tf.nest.map_structure(lambda t: t[start:end], data)


def _stacks_in_python(elements, convert):
    """Returns stacks of batches that were read in Python.

    A batch whose leaves are scalars or differ in length is invalid. It becomes the last stack, and the caller
    raises an error.
    """
    stacks: list[Stack] = []
    batches = [_as_batch(element, convert) for element in elements]
    for _, group in itertools.groupby(batches, key=lambda batch: batch[2]):
        equal_batches = list(group)
        data, leaves, _ = equal_batches[0]
        sizes: set[Any] = {leaf.shape[0] if len(leaf.shape) else None for leaf in leaves}
        if None in sizes or len(sizes) > 1:
            return [*stacks, Stack(data, 1, 1)]
        (size,) = sizes
        if equal_batches[1:]:
            joined = [_concatenated(parts) for parts in zip(*(leaves for _, leaves, _ in equal_batches), strict=True)]
            data = tf.nest.pack_sequence_as(data, joined)
        stacks.append(Stack(data, len(equal_batches), size))
    return stacks


def _as_batch(element, convert):
    """Returns a batch, its leaves, and the types, shapes and dtypes of the leaves."""
    batch = _as_tuple(element)
    leaves = tf.nest.flatten(batch)
    if not all(isinstance(leaf, (np.ndarray, tf.Tensor)) for leaf in leaves):
        batch = convert(element)
        leaves = tf.nest.flatten(batch)
    return batch, leaves, [(type(leaf), leaf.shape, leaf.dtype) for leaf in leaves]


def _as_tuple(element):
    return tuple(element) if isinstance(element, (tuple, list)) else (element,)


def _concatenated(leaves):
    if isinstance(leaves[0], np.ndarray):
        return np.concatenate(leaves)
    with tf.device("CPU"):
        return tf.concat(leaves, 0)
