"""Streams: batches of an iterable that need not fit in memory, read in pieces while a program works."""

import concurrent.futures
import dataclasses
import functools
import itertools

import numpy as np
import tensorflow as tf

from nllfit.data import CHUNK_BYTES, check_finite, num_bytes, num_rows, part_name, shapes
from nllfit.training.replicas import ALONE
from nllfit.training.work import Work

__all__ = ["Stream", "is_stream", "prefetched"]

_STREAM_STEPS = 256  # a chunk's call costs some 100 us, a batch's way through Python as much: more would win nothing


def is_stream(x):
    """Whether these are batches, and not arrays."""
    return isinstance(x, tf.data.Dataset) or not (
        hasattr(x, "__array__") or isinstance(x, (list, tuple, dict)) or tf.is_tensor(x)
    )


class Stream:
    """Batches of an iterable, which need not fit in memory.

    Attributes:
      steps: batches an epoch, None where it is not known yet.
      first: the first batch.
    """

    def __init__(self, iterable, batch, check, steps=None, restarts=False, replicas=ALONE, name=""):
        self._iterable, self._batch, self._name, self._replicas = iterable, batch, name, replicas
        self._limit, self._restarts = steps, restarts
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
        return self._work(self.first, 1, num_rows(self.first))

    def works(self, epoch):
        """The `Work` of one epoch, in pieces; batches of other shapes make pieces of their own."""
        self._notify("on_epoch_begin")
        iterator = self._iterator or map(self._batch, iter(self._iterable))
        self._iterator = iterator if self._goes_on else None
        done = 0
        for _, run in itertools.groupby(itertools.islice(iterator, self._limit), shapes):
            while stack := list(itertools.islice(run, self._chunk)):
                steps, size = len(stack), num_rows(stack[0])
                if not self._restarts:
                    self._replicas.check(size)
                    if isinstance(self._iterable, tf.distribute.DistributedDataset) and size != num_rows(self.first):
                        raise ValueError(
                            f"The distributed dataset has a batch of {size} rows after {num_rows(self.first)}, so "
                            f"that some rows would count more than others: batch it with `drop_remainder=True`."
                        )
                with tf.device("CPU"):
                    data = tf.nest.map_structure(lambda *batches: tf.concat(batches, 0), *stack)
                where = functools.partial(_place, size, done, epoch)
                check_finite(data, self._name, where)
                data = self._check(*data, where=where)
                yield dataclasses.replace(self._work(data, steps, size), starts=done == 0)
                done += steps
        if done < (self._limit or 1):
            raise ValueError(
                f"The dataset ran out after {done} batches of epoch {epoch + 1}, of {self._limit or 'all'}: make it "
                f"longer with `.repeat()`, or give a smaller `steps_per_epoch`."
            )
        self._notify("on_epoch_end")

    def _work(self, data, steps, size):
        """The `Work` of some batches of one size, one after the other."""
        with tf.device("CPU"):
            data = tf.nest.map_structure(lambda t: tf.concat([t] + [t[-size:]] * (self._chunk - steps), 0), data)
        order = np.arange(self._chunk * size, dtype=np.int32).reshape(1, self._chunk, size)
        return Work(data, self._replicas.rows(order), last=steps)

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


def _place(batch_size, done, epoch, row):
    """Where a row of a chunk is, of batches after the first `done`."""
    return f"row {row % batch_size} of batch {done + row // batch_size} of epoch {epoch + 1}"


def _length(iterable):
    return len(iterable) if hasattr(iterable, "__len__") else tf.data.UNKNOWN_CARDINALITY
