"""Readers: the batches of a dataset, a `Sequence` or another iterable, many at a time.

A reader `begin(most)` begins a pass over the data. It returns `take(count)`, which reads the next batches, as many as
the smaller of `count` and `most` at most, and returns them as stacks. A new kind of source is a new reader and its line
in `reader_of`.
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
      data: a tuple of structures of arrays and tensors `[steps * size, ...]`, the batches one after the other.
      steps: number of batches.
      size: rows of a batch.
    """

    data: tuple
    steps: int
    size: int


def reader_of(iterable: Any, convert: Callable[[Any], tuple]) -> Callable[[int], Callable[[int], list[Stack]]]:
    """The reader of an iterable of batches.

    Args:
      iterable: of batches.
      convert: makes a tuple of structures of tensors of a batch that holds other than arrays and tensors.
    """
    if isinstance(iterable, tf.data.Dataset):
        specs = tf.nest.flatten(iterable.element_spec)
        if all(isinstance(spec, tf.TensorSpec) and spec.shape.rank for spec in specs):
            if all(spec.shape.is_fully_defined() for spec in specs):
                return functools.partial(_take_from_equal_batches, iterable)
            if all(spec.shape[1:].is_fully_defined() for spec in specs):
                return functools.partial(_take_from_dataset, iterable)
    if hasattr(type(iterable), "__getitem__") and hasattr(type(iterable), "__len__"):
        return functools.partial(_take_from_sequence, iterable, convert)
    return functools.partial(_take_from_iterable, iterable, convert)


def _take_from_iterable(iterable, convert, most):
    iterator = iter(iterable)
    return lambda count: _stacks(itertools.islice(iterator, count), convert)


def _take_from_sequence(sequence, convert, most):
    """Batches by their index, read by as many threads as the `workers` of Keras 3's `PyDataset` say."""
    indices, workers = iter(range(len(sequence))), getattr(sequence, "workers", 1)

    def take(count):
        chosen = itertools.islice(indices, count)
        if workers <= 1:
            return _stacks(map(sequence.__getitem__, chosen), convert)
        with concurrent.futures.ThreadPoolExecutor(workers, "nllfit-sequence") as threads:
            return _stacks(threads.map(sequence.__getitem__, chosen), convert)

    return take


def _take_from_equal_batches(dataset, most):
    """Batches of one size, which TensorFlow joins in a quarter of the time that Python takes to iterate over them."""
    iterator, left = iter(dataset.batch(most)), []

    def take(count):
        batches = left.pop() if left else next(iterator, None)
        if batches is None:
            return []
        steps, size = tf.nest.flatten(batches)[0].shape[:2]
        if steps > count:
            left.append(tf.nest.map_structure(lambda t: t[count:], batches))
            batches = tf.nest.map_structure(lambda t: t[:count], batches)
        with tf.device("CPU"):
            data = tf.nest.map_structure(lambda t: tf.reshape(t, [-1, *t.shape[2:]]), batches)
        return [Stack(_as_tuple(data), min(steps, count), size)]

    return take


def _take_from_dataset(dataset, most):
    """Batches of several sizes, which TensorFlow joins in about half of that time."""
    iterator = iter(dataset)

    def take(count):
        with tf.device("CPU"):
            leaves, sizes = _joined(iterator, tf.constant(count))
        sizes = sizes.numpy()
        unequal = np.flatnonzero(np.any(sizes != sizes[:, :1], axis=1))
        if len(unequal):  # a batch of as many rows, so that the message of whoever refuses it has its lengths
            leaves = [leaf[:size] for leaf, size in zip(leaves, sizes[unequal[0]], strict=True)]
            return [Stack(_as_tuple(tf.nest.pack_sequence_as(dataset.element_spec, leaves)), 1, 1)]
        data = _as_tuple(tf.nest.pack_sequence_as(dataset.element_spec, leaves))
        return list(_split(data, sizes[:, 0].tolist()))

    return take


@functools.partial(tf.function, autograph=False)
def _joined(iterator, count):
    """The leaves of the next batches, each joined along its rows, and the rows `[batches, leaves]` of each of them."""
    specs = tf.nest.flatten(iterator.element_spec)
    none = [tf.zeros([0, *spec.shape[1:]], spec.dtype) for spec in specs]

    def read(i, _, arrays, sizes):
        element = iterator.get_next_as_optional()
        is_there = element.has_value()
        leaves = tf.cond(is_there, lambda: tf.nest.flatten(element.get_value()), lambda: none)
        arrays = [array.write(i, leaf) for array, leaf in zip(arrays, leaves, strict=True)]
        sizes = sizes.write(i, tf.stack([tf.shape(leaf)[0] for leaf in leaves]))
        return i + tf.cast(is_there, tf.int32), is_there, arrays, sizes

    arrays = [
        tf.TensorArray(s.dtype, 0, dynamic_size=True, infer_shape=False, element_shape=[None, *s.shape[1:]])
        for s in specs
    ]
    sizes = tf.TensorArray(tf.int32, 0, dynamic_size=True, element_shape=[len(specs)])
    done, _, arrays, sizes = tf.while_loop(lambda i, more, *_: (i < count) & more, read, (0, True, arrays, sizes))
    return [array.concat() for array in arrays], sizes.stack()[:done]


def _split(data, sizes):
    """The stacks of joined batches of these sizes."""
    start = 0
    for size, run in itertools.groupby(sizes):
        steps = len(list(run))
        rows = slice(start, start := start + steps * size)
        part = data if steps == len(sizes) else tf.nest.map_structure(lambda t, r=rows: t[r], data)
        yield Stack(part, steps, size)


def _stacks(elements, convert):
    """The stacks of batches that Python read; a batch whose leaves differ in length, or have none, is one by itself."""
    stacks: list[Stack] = []
    batches = [_as_batch(element, convert) for element in elements]
    for _, run in itertools.groupby(batches, key=lambda batch: batch[2]):
        chosen = list(run)
        data, leaves, _ = chosen[0]
        sizes = {leaf.shape[0] if len(leaf.shape) else None for leaf in leaves}
        if None in sizes or len(sizes) > 1:  # the caller refuses it
            return [*stacks, Stack(data, 1, 1)]
        (size,) = sizes
        if chosen[1:]:
            joined = [_concatenated(parts) for parts in zip(*(leaves for _, leaves, _ in chosen), strict=True)]
            data = tf.nest.pack_sequence_as(data, joined)
        stacks.append(Stack(data, len(chosen), size))
    return stacks


def _as_batch(element, convert):
    """A batch, its leaves, and their shapes and dtypes."""
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
