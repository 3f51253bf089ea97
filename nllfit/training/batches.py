"""Batches: a data set as work for programs, checked at the door.

A program gathers its batches from data in memory, by their rows. `Arrays` are such data, and give the rows in the
order of the epoch's permutation; `Stream` reads a `tf.data.Dataset`, or any other iterable, in pieces of at most
`CHUNK_BYTES`, of which the next is made while the program works on this one.
"""

import concurrent.futures
import dataclasses
import functools
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from nllfit.data import (
    CHUNK_BYTES,
    as_tensors,
    check_finite,
    check_lengths,
    check_rows,
    num_bytes,
    num_rows,
    pack,
    part_name,
    shapes,
    weighted,
)
from nllfit.training.work import Work

__all__ = ["Arrays", "Stream", "batches_of", "prefetched", "split_arrays"]

_STREAM_STEPS = 256  # a chunk's call costs some 100 us, a batch's way through Python as much: more would win nothing


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
        data = as_tensors(data, floatx, name)
        check_lengths(data, name)
        return weighted(data, class_weight, floatx)

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
      are_alike: whether every epoch has as many full batches and then, or not, the partial one.
    """

    def __init__(self, data, batch_size, steps=None, seed=None, restarts=False):
        self.data, self._seed, self._restarts = data, seed, restarts
        self._rows = num_rows(data)
        self._batch_size = batch_size
        self._pass_steps = -(-self._rows // batch_size)
        if steps is not None and steps > self._pass_steps:
            raise ValueError(
                f"{steps} steps of {batch_size} rows are more than the data's {self._rows} rows: give at most "
                f"{self._pass_steps}, or None for all the data."
            )
        self.steps = steps or self._pass_steps
        self.first = tf.nest.map_structure(lambda t: t[: min(batch_size, self._rows)], data)
        self.are_alike = restarts or self.steps == self._pass_steps or self._rows % batch_size == 0

    @functools.cached_property
    def _rounded(self):
        """The data, with rows that no batch has, so that data of about as many rows have a program in common."""
        if not self.is_small:
            return self.data
        rows = np.minimum(np.arange(round_up(self._rows)), self._rows - 1)
        with tf.device("CPU"):
            return tf.nest.map_structure(lambda t: tf.gather(t, rows), self.data)

    def work(self, epoch, epochs=1, capacity=1):
        """The `Work` of some epochs that are alike."""
        parts = [self._parts(epoch + i)[0] for i in range(epochs)]
        return self._work(parts, capacity)

    def example(self, capacity, held_out):
        """Work of the shapes that training has."""
        if self.are_alike:
            return dataclasses.replace(self.work(0, 1, capacity), held_out=held_out)
        return dataclasses.replace(next(self.works(0)), held_out=held_out)

    @property
    def is_small(self):
        """Whether all data fit into one more tensor."""
        return num_bytes(self.data) <= CHUNK_BYTES

    def works(self, epoch):
        """The `Work` of one epoch, in pieces each of which may end in a partial batch."""
        for i, part in enumerate(self._parts(epoch)):
            yield dataclasses.replace(self._work([part], 1), starts=i == 0)

    def stacks(self):
        """The batches of an epoch that restarts, as stacks `[k, batch_size, ...]`, and how many of each count."""
        ((full, rest),) = self._parts(0)
        steps = len(full) // self._batch_size
        rows = [(np.resize(full, [round_up(steps), self._batch_size]), steps)] if steps else []
        rows += [(rest[None], 1)] if len(rest) else []
        return tuple((tf.nest.map_structure(lambda t, r=r: tf.gather(t, r), self.data), steps) for r, steps in rows)

    def _parts(self, epoch):
        """Rows of full batches and those of a partial one, in the order of an epoch."""
        parts, todo, done = [], self.steps, 0 if self._restarts else epoch * self.steps
        full = np.zeros(0, int)
        while todo:
            number, first = divmod(done, self._pass_steps)
            steps = min(todo, self._pass_steps - first)
            rows = self._order(number)[first * self._batch_size : (first + steps) * self._batch_size]
            whole = len(rows) // self._batch_size * self._batch_size
            full = np.concatenate([full, rows[:whole]])
            if whole < len(rows):
                parts, full = [*parts, (full, rows[whole:])], np.zeros(0, int)
            todo, done = todo - steps, done + steps
        return [*parts, (full, np.zeros(0, int))] if len(full) else parts

    def _order(self, number):
        if self._seed is None:
            return np.arange(self._rows)
        return np.random.default_rng([self._seed, number]).permutation(self._rows)

    def _work(self, parts, capacity):
        steps, size = len(parts[0][0]) // self._batch_size, len(parts[0][1])
        order = np.zeros([capacity, round_up(max(steps, 1)), self._batch_size], np.int32)
        rest = np.zeros([capacity, size], np.int32) if size else None
        for i, (full, partial) in enumerate(parts):
            order[i, :steps].flat = full
            if size:
                rest[i] = partial
        return Work(self._rounded, order, rest, last=steps, epochs=len(parts))


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

    are_alike = False

    def example(self, capacity, held_out):
        """Work of the shapes that training has."""
        return self._work([self.first], num_rows(self.first))

    def works(self, epoch):
        """The `Work` of one epoch, in pieces; batches of other shapes make pieces of their own."""
        self._notify("on_epoch_begin")
        iterator = self._iterator or map(self._batch, iter(self._iterable))
        self._iterator = iterator if self._goes_on else None
        done = 0
        for _, run in itertools.groupby(itertools.islice(iterator, self._limit), shapes):
            while stack := list(itertools.islice(run, self._chunk)):
                steps, size = len(stack), num_rows(stack[0])
                with tf.device("CPU"):
                    data = tf.nest.map_structure(lambda *batches: tf.concat(batches, 0), *stack)
                where = functools.partial(_place, size, done, epoch)
                check_finite(data, self._name, where)
                self._check(*data, where=where)
                yield dataclasses.replace(self._work(stack, size), starts=done == 0)
                done += steps
        if done < (self._limit or 1):
            raise ValueError(
                f"The dataset ran out after {done} batches of epoch {epoch + 1}, of {self._limit or 'all'}: make it "
                f"longer with `.repeat()`, or give a smaller `steps_per_epoch`."
            )
        self._notify("on_epoch_end")

    def _work(self, stack, size):
        """The `Work` of a stack of batches of one size."""
        with tf.device("CPU"):
            padded = stack + stack[-1:] * (self._chunk - len(stack))
            data = tf.nest.map_structure(lambda *batches: tf.concat(batches, 0), *padded)
        order = np.arange(self._chunk * size, dtype=np.int32).reshape(1, self._chunk, size)
        return Work(data, order, last=len(stack))

    def _notify(self, hook):
        """Calls a hook of the iterable, if it has it, as Keras's `Sequence` and `PyDataset` do to shuffle."""
        getattr(self._iterable, hook, lambda: None)()


def prefetched(works):
    """The same pieces, each but the first made in another thread while the one before it is used."""
    with concurrent.futures.ThreadPoolExecutor(1, "nllfit-data") as thread:
        work = next(works)
        while work is not None:
            coming = thread.submit(next, works, None)
            yield work
            work = coming.result()


def round_up(number):
    """A number at most an eighth larger, of few that there are."""
    unit = 1 << max(0, number.bit_length() - 4)
    return -(-number // unit) * unit


def _is_stream(x):
    return isinstance(x, tf.data.Dataset) or not (
        hasattr(x, "__array__") or isinstance(x, (list, tuple, dict)) or tf.is_tensor(x)
    )


def _place(batch_size, done, epoch, row):
    """Where a row of a chunk is, of batches after the first `done`."""
    return f"row {row % batch_size} of batch {done + row // batch_size} of epoch {epoch + 1}"


def _length(iterable):
    return len(iterable) if hasattr(iterable, "__len__") else tf.data.UNKNOWN_CARDINALITY
