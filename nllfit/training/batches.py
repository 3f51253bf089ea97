"""Batches: a data set as a few large stacks of batches, checked at the door.

A compiled epoch wants its batches side by side in one tensor. `Arrays` gathers them from memory by the epoch's
permutation, `Stream` stacks those of a `tf.data.Dataset` or of any other iterable; neither holds more than a few
`CHUNK_BYTES` beyond the data themselves. The next chunk is made while the program works on this one, also across
epochs; but a dataset, which a callback may change between epochs, is not read ahead of its own.
"""

import concurrent.futures
import functools
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from nllfit.training.data import (
    as_tensors,
    check_finite,
    check_rows,
    num_bytes,
    num_rows,
    pack,
    part_name,
    shapes,
    weighted,
)

__all__ = ["Arrays", "Stream", "batches_of", "prefetched", "split_arrays"]

CHUNK_BYTES = 2**25
_STREAM_STEPS = 256  # a chunk's call costs some 100 us, a batch's way through Python as much: more would win nothing
_THREAD = concurrent.futures.ThreadPoolExecutor(1, "nllfit")


def batches_of(
    x: Any,
    y: Any,
    sample_weight: Any,
    *,
    floatx: str,
    check: Callable,
    class_weight: Any = None,
    batch_size: int | None = None,
    steps: int | None = None,
    seed: int | None = None,
    restarts: bool = False,
    name: str = "",
) -> "Arrays | Stream":
    """The `Arrays` or the `Stream` of what a user calls data, whose outcomes are checked.

    Args:
      x, y, sample_weight: structures of arrays; or `x` an iterable of batches `(x, y)` or `(x, y, sample_weight)`.
      floatx: the dtype of NumPy's floats.
      check: `check(example, name)`, of the first batch and what to call its outcomes, gives a function that checks
        those of any batch.
      class_weight: `{label: weight}` or None.
      batch_size: rows a batch, of arrays; None for 32 or, where `steps` are given, for as many as share out all rows.
      steps: batches an epoch, None for all of them.
      seed: of the order of arrays, None for their own order.
      restarts: whether an epoch begins anew where `steps` are fewer than the data have.
      name: the argument's, for messages.

    Raises:
      ValueError: if the data are empty, not finite, of lengths that differ, or not of this form.
    """
    if not _is_stream(x):
        data = as_tensors(pack(x, y, sample_weight, name), floatx, name)
        check_rows(data, name)
        if batch_size is None:
            batch_size = -(-num_rows(data) // steps) if steps else 32
        arrays = Arrays(weighted(data, class_weight, floatx), batch_size, steps, seed, restarts)
        check(arrays.first, part_name(name, "y"))(*arrays.data)
        return arrays
    if isinstance(x, (str, bytes)) or not hasattr(type(x), "__iter__"):
        raise TypeError(f"`{name or 'x'}` is a {type(x).__name__}: give arrays, a `tf.data.Dataset` or batches.")
    if y is not None or sample_weight is not None:
        raise ValueError("`x` is a dataset, so that `y` and `sample_weight` are in its batches: leave them out.")

    def batch(element):
        data = tuple(element) if isinstance(element, (tuple, list)) else (element,)
        return weighted(as_tensors(data, floatx, name), class_weight, floatx)

    return Stream(x, batch, check, steps, restarts, name)


def split_arrays(x, y, sample_weight, fraction):
    """The first rows of arrays and, as a tuple, the last `fraction` of them, as Keras's `validation_split`."""
    if _is_stream(x):
        raise ValueError("`validation_split` takes rows of arrays, and `x` is a dataset: give `validation_data`.")
    data = pack(x, y, sample_weight)
    at = int(num_rows(data) * (1 - fraction))
    if not 0 < at < num_rows(data):
        raise ValueError(f"`validation_split={fraction}` of {num_rows(data)} rows leaves none on one side.")
    first, last = (tf.nest.map_structure(lambda a, s=s: a[s], data) for s in (slice(at), slice(at, None)))
    return [*first, None, None][:3], last


class Arrays:
    """Batches of tensors in memory; the order of pass k over them is a function of the seed and k alone.

    As in Keras, an epoch of fewer batches than a pass goes on where the one before it stopped, unless it `restarts`.

    Attributes:
      data: the tuple `(x,)`, `(x, y)` or `(x, y, sample_weight)` of structures of tensors `[n, ...]`.
      steps: batches an epoch, the partial last one included.
      first: the first batch in the data's own order.
    """

    def __init__(self, data, batch_size, steps=None, seed=None, restarts=False):
        self.data, self._seed, self._restarts = data, seed, restarts
        self._begun = {}
        self._rows = num_rows(data)
        self._batch_size = batch_size
        self._pass_steps = -(-self._rows // batch_size)
        if steps is not None and steps > self._pass_steps:
            raise ValueError(
                f"{steps} steps of {batch_size} rows are more than the data's {self._rows} rows: give at most "
                f"{self._pass_steps}, or None for all the data."
            )
        self.steps = steps or self._pass_steps
        full = min(self.steps, self._rows // batch_size)
        chunks = max(1, -(-full * num_bytes(data) * batch_size // (self._rows * CHUNK_BYTES)))
        self._chunk = -(-full // chunks)
        self.first = tf.nest.map_structure(lambda t: t[: min(batch_size, self._rows)], data)

    def chunks(self, epoch, ahead=False):
        """Yields `(chunk, steps)`: tensors `[k, batch_size, ...]`, of whose first axis the first `steps` count.

        With `ahead`, who asks whether there are more makes the first chunk of the next epoch while finding out.
        """
        yield from self._begun.pop(epoch, None) or self._chunks(epoch)
        if ahead:
            chunks = self._chunks(epoch + 1)
            self._begun[epoch + 1] = itertools.chain([next(chunks)], chunks)

    def _chunks(self, epoch):
        todo, done = self.steps, 0 if self._restarts else epoch * self.steps
        while todo:
            number, first = divmod(done, self._pass_steps)
            steps = min(todo, self._pass_steps - first)
            yield from self._pass(number, first, first + steps)
            todo, done = todo - steps, done + steps

    def _pass(self, number, first, last):
        """The chunks of the batches from `first` to before `last` of a pass over the data."""
        order = np.arange(self._rows)
        if self._seed is not None:
            order = np.random.default_rng([self._seed, number]).permutation(self._rows)
        full = min(last, self._rows // self._batch_size)
        for start in range(first, full, self._chunk or 1):
            steps = min(self._chunk, full - start)
            rows = order[start * self._batch_size : (start + steps) * self._batch_size]
            yield self._gather(np.resize(rows, [self._chunk, self._batch_size])), steps
        if last > full:
            yield self._gather(order[None, full * self._batch_size :]), 1

    def _gather(self, rows):
        with tf.device("CPU"):
            return tf.nest.map_structure(lambda t: tf.gather(t, rows), self.data)


class Stream:
    """Batches of an iterable, which need not fit in memory.

    Attributes:
      steps: batches an epoch, None where it is not known yet.
      first: the first batch.
    """

    def __init__(self, iterable, batch, check, steps=None, restarts=False, name=""):
        self._iterable, self._batch, self._name = iterable, batch, name
        self._limit = steps
        cardinality = int(iterable.cardinality()) if isinstance(iterable, tf.data.Dataset) else _length(iterable)
        if cardinality == tf.data.INFINITE_CARDINALITY and steps is None:
            raise ValueError("The dataset is infinite: say how many batches an epoch has with `steps_per_epoch`.")
        self.steps = steps or (cardinality if cardinality >= 0 else None)
        iterator = iter(iterable)
        try:
            self.first = batch(next(iterator))
        except StopIteration:
            raise ValueError(f"The dataset in `{name or 'x'}` is empty: there is nothing to train on.") from None
        # As in Keras, an epoch of fewer batches than the dataset has goes on where the one before it stopped.
        self._goes_on = steps not in (None, cardinality) and not restarts
        once = iterator is iterable  # a generator: it has no other beginning
        self._iterator = itertools.chain([self.first], map(batch, iterator)) if once else None
        check_finite(self.first, name, "row {} of batch 0".format)
        self._check = check(self.first, part_name(name, "y"))
        self._check(*self.first, where="row {} of batch 0".format)
        size = max(1, num_bytes(self.first))
        self._chunk = max(1, min(CHUNK_BYTES // size, _STREAM_STEPS, self.steps or _STREAM_STEPS))

    def chunks(self, epoch, ahead=False):
        """Yields `(chunk, steps)` as `Arrays` does; batches of other shapes make chunks of their own."""
        self._notify("on_epoch_begin")
        iterator = self._iterator or map(self._batch, iter(self._iterable))
        self._iterator = iterator if self._goes_on else None
        done = 0
        for _, run in itertools.groupby(itertools.islice(iterator, self._limit), shapes):
            while stack := list(itertools.islice(run, self._chunk)):
                steps = len(stack)
                with tf.device("CPU"):
                    stack += stack[-1:] * (self._chunk - steps)
                    chunk = tf.nest.map_structure(lambda *batches: tf.stack(batches), *stack)
                data = tf.nest.map_structure(lambda t, k=steps: tf.reshape(t[:k], [-1, *t.shape[2:]]), chunk)
                where = functools.partial(_place, num_rows(stack[0]), done, epoch)
                check_finite(data, self._name, where)
                self._check(*data, where=where)
                done += steps
                yield chunk, steps
        if done < (self._limit or 1):
            raise ValueError(
                f"The dataset ran out after {done} batches of epoch {epoch + 1}, of {self._limit or 'all'}: make it "
                f"longer with `.repeat()`, or give a smaller `steps_per_epoch`."
            )
        self._notify("on_epoch_end")

    def _notify(self, hook):
        """Calls a hook of the iterable, if it has it, as Keras's `Sequence` and `PyDataset` do to shuffle."""
        getattr(self._iterable, hook, lambda: None)()


def prefetched(chunks):
    """The same chunks, each but the first made in another thread while the one before it is used."""
    chunk = next(chunks)
    while chunk is not None:
        coming = _THREAD.submit(next, chunks, None)
        yield chunk
        chunk = coming.result()


def _is_stream(x):
    return isinstance(x, tf.data.Dataset) or not (
        hasattr(x, "__array__") or isinstance(x, (list, tuple, dict)) or tf.is_tensor(x)
    )


def _place(batch_size, done, epoch, row):
    """Where a row of a chunk is, of batches after the first `done`."""
    return f"row {row % batch_size} of batch {done + row // batch_size} of epoch {epoch + 1}"


def _length(iterable):
    return len(iterable) if hasattr(iterable, "__len__") else tf.data.UNKNOWN_CARDINALITY
