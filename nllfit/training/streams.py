"""Streams: batches of an iterable that need not fit in memory. They are read in chunks while a program runs."""

import concurrent.futures
import functools
import sys
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
import tf_keras

from nllfit.data_checks import CHUNK_BYTES, check_finite, num_bytes, num_rows, part_name
from nllfit.training.chunk_layout import Bounds, Chunk
from nllfit.training.dataset_readers import reader_of
from nllfit.training.replicas import ALONE

__all__ = ["Stream", "is_stream", "prefetched"]

# The maximum number of steps in a chunk. A call of a program adds about 1 ms, which is 4 us per step in a chunk of 256
# steps, so longer chunks would save little time.
_MAX_CHUNK_STEPS = 256


def is_stream(x):
    """Returns whether `x` is an iterable of batches, and not arrays."""
    is_array = any(hasattr(x, name) for name in ("__array__", "toarray"))  # `toarray`: a matrix of `scipy.sparse`
    return isinstance(x, tf.data.Dataset) or not (is_array or isinstance(x, (list, tuple, dict)) or tf.is_tensor(x))


class Stream:
    """The batches of an iterable. They need not fit in memory.

    Args:
      iterable: an iterable of batches.
      convert: converts a batch, or several joined batches, to a tuple of structures of tensors, and checks their
        lengths. It may be applied twice to the same data.
      prepare: converts and checks like `convert`, and multiplies the sample weights by the class weights.
      check: as for `batches.batches_of`.
      steps: batches per epoch, None for all.
      restarts: whether each epoch begins at the first batch.
      replicas: the replicas that share each batch.
      name: the argument of `fit` to which error messages refer: "validation_data", or "" for `x`.

    Attributes:
      steps: batches per epoch, None if unknown.
      first: the first batch.
    """

    have_same_layout = False

    def __init__(self, iterable, convert, prepare, check, steps=None, restarts=False, replicas=ALONE, name=""):
        self._iterable, self._prepare, self._name, self._replicas = iterable, prepare, name, replicas
        self._limit, self._restarts = steps, restarts
        cardinality = int(iterable.cardinality()) if isinstance(iterable, tf.data.Dataset) else _length(iterable)
        if cardinality == tf.data.INFINITE_CARDINALITY and steps is None:
            raise ValueError("The dataset is infinite: say how many batches an epoch has with `steps_per_epoch`.")
        self.steps = steps or (cardinality if cardinality >= 0 else None)
        # If an epoch has fewer batches than the dataset, the next epoch continues where it stopped, as in Keras. But
        # tf_keras begins each epoch of its `Sequence` at the first batch.
        restarts_sequence = isinstance(iterable, tf_keras.utils.Sequence)
        self._continues_pass = steps not in (None, cardinality) and not (restarts or restarts_sequence)
        self._begin = reader_of(iterable, convert)
        take = self._begin(1)
        if not (stacks := take(1)):
            raise ValueError(f"The dataset in `{name or 'x'}` is empty: there is nothing to train on.")
        self.first = prepare(stacks[0].data)
        is_iterator = isinstance(iterable, Iterator)  # a generator, for example, cannot start again
        self._take = _with_first(stacks, take) if is_iterator else None
        check_finite(self.first, name, "row {} of batch 0".format)
        self._check = check(self.first, part_name(name, "y"))
        self._check(*self.first, where="row {} of batch 0".format)
        size = max(1, num_bytes(self.first))
        self._chunk_steps = max(1, min(CHUNK_BYTES // size, _MAX_CHUNK_STEPS, self.steps or _MAX_CHUNK_STEPS))

    @property
    def num_rows(self):
        """The number of rows of a `tf.data.Dataset`, counted in a pass over it.

        None for other iterables, and for a dataset whose number of batches is unknown or infinite.
        """
        if not isinstance(self._iterable, tf.data.Dataset) or self._iterable.cardinality() < 0:
            return None

        def add_rows(count, *batch):
            return count + tf.shape(tf.nest.flatten(batch)[0], tf.int64)[0]

        return int(self._iterable.reduce(np.int64(0), add_rows))

    def layout(self, capacity, held_out):
        """Returns the `Layout` of the chunks to train on."""
        return self._chunk(self.first, 1, num_rows(self.first)).layout()

    def chunks(self, epoch):
        """Yields the chunks of an epoch. Each chunk contains batches of one size."""
        self._notify("on_epoch_begin")
        take = self._take or self._begin(self._chunk_steps)
        self._take = take if self._continues_pass else None
        done, limit = 0, self._limit or sys.maxsize
        while done < limit and (stacks := take(min(self._chunk_steps, limit - done))):
            for stack in stacks:
                data = self._checked(stack, done, epoch)
                yield self._chunk(data, stack.steps, stack.size, starts=done == 0)
                done += stack.steps
        if done < (self._limit or 1):
            raise ValueError(
                f"The data ran out after {done} batches of epoch {epoch + 1}, of {self._limit or 'all'}: "
                f"{self._longer_data()}, or give fewer `{'validation_steps' if self._name else 'steps_per_epoch'}`."
            )
        self._notify("on_epoch_end")

    def _longer_data(self):
        """Returns advice on how the user can provide more batches."""
        if isinstance(self._iterable, (tf.data.Dataset, tf.distribute.DistributedDataset)):
            return "make the dataset longer with `.repeat()`"
        if isinstance(self._iterable, Iterator):
            return "a generator is read only once, so let it yield the batches of all epochs"
        return "let its `__len__` and `__getitem__` give more batches"

    def _checked(self, stack, done, epoch):
        """Checks and returns the data of a stack. In this epoch, `done` batches come before the stack."""
        data = self._prepare(stack.data)
        if not self._restarts:
            self._replicas.check(stack.size)
            first_size = num_rows(self.first)
            if isinstance(self._iterable, tf.distribute.DistributedDataset) and stack.size != first_size:
                raise ValueError(
                    f"The distributed dataset has a batch of {stack.size} rows after {first_size}, so that "
                    f"some rows would count more than others: batch it with `drop_remainder=True`."
                )
        where = functools.partial(_row_position, stack.size, done, epoch)
        check_finite(data, self._name, where)
        return self._check(*data, where=where)

    def _chunk(self, data, steps, size, starts=True):
        """Returns the `Chunk` of `steps` batches of `size` rows, which are joined in `data`.

        `data` are padded to `_chunk_steps` batches, so that all chunks with this batch size have one layout.
        """
        if steps < self._chunk_steps:
            with tf.device("CPU"):
                num_padding = self._chunk_steps - steps
                data = tf.nest.map_structure(lambda t: tf.concat([t, *[t[-size:]] * num_padding], 0), data)
        order = np.arange(self._chunk_steps * size, dtype=np.int32).reshape(1, self._chunk_steps, size)
        return Chunk(data, self._replicas.rows(order), bounds=Bounds(0, steps, 1, starts))

    def _notify(self, hook):
        """Calls a hook of the iterable, if it exists. Keras's `Sequence` and `PyDataset` use such hooks to shuffle."""
        getattr(self._iterable, hook, lambda: None)()


def _with_first(stacks, take):
    """Returns a function that returns `stacks`, one in each call, and then the stacks that `take` reads.

    `stacks` were already read. Each contains one batch.
    """
    stacks = list(stacks)

    def with_first(count):
        return [stacks.pop()] if stacks else take(count)

    return with_first


def prefetched(chunks):
    """Yields the chunks. While the caller uses a chunk, another thread makes the next chunk."""
    with concurrent.futures.ThreadPoolExecutor(1, "nllfit-data") as thread:
        chunk = next(chunks)
        while chunk is not None:
            next_chunk = thread.submit(next, chunks, None)
            yield chunk
            chunk = next_chunk.result()


def _row_position(batch_size, done, epoch, row):
    """Returns the position of a row of a chunk, for messages.

    `done` is the number of batches that precede the chunk in the same epoch.
    """
    return f"row {row % batch_size} of batch {done + row // batch_size} of epoch {epoch + 1}"


def _length(iterable):
    try:
        return len(iterable)
    except (NotImplementedError, TypeError):  # for example, PyTorch's `DataLoader` of an `IterableDataset`
        return tf.data.UNKNOWN_CARDINALITY
