"""Batches: checks the user's data and divides them into the chunks that programs train on.

A program gathers the rows of each batch from data in memory. `Arrays` keeps all data in memory and permutes the row
indices for each pass over the data. A `Stream` reads the data piece by piece.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from nllfit.data_checks import (
    CHUNK_BYTES,
    as_tensors,
    check_lengths,
    check_rows,
    check_weights,
    num_bytes,
    num_rows,
    pack,
    part_name,
    rows_of,
)
from nllfit.training.chunk_layout import Bounds, Chunk
from nllfit.training.class_weights import with_class_weights
from nllfit.training.replicas import ALONE, Replicas
from nllfit.training.streams import Stream, is_stream

__all__ = ["Arrays", "batches_of", "checked_arrays", "split_arrays"]

_BATCHING_ADVICE = "give batches of rows, as the dataset's `.batch(32)` makes them"


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
    replicas: Replicas = ALONE,
    name: str = "",
) -> "Arrays | Stream":
    """Returns the user's data as `Arrays`, which are checked, or as a `Stream`, which checks batches as it reads them.

    Args:
      x, y, sample_weight: structures of arrays. Or `x` is an iterable of batches `(x, y)` or `(x, y, sample_weight)`.
      floatx: the dtype to which floats of NumPy arrays are cast.
      check: a function `check(example, name)` that returns a function of a batch. The returned function checks the
        outcomes of the batch, may replace outcomes that do not count (masked or of weight 0), and returns the batch.
        `example` is one or more rows of the data, and `name` is the name of the outcomes in messages. For example,
        `check` is `outcome_support.outcome_check`, with the model as a bound first argument.
      class_weight: `{label: weight}` or None.
      batch_size: rows per batch of arrays. The default is 32. If `steps` is given, the default is the number of rows
        divided by `steps`, rounded up.
      steps: batches per epoch; None for all.
      seed: the seed of the order of rows; None keeps the order of the arrays.
      restarts: whether each epoch starts at the first batch if `steps` is less than the number of batches.
      replicas: the replicas that share each batch.
      name: the argument of `fit` to which error messages refer: "validation_data", or "" for `x`, `y` and
        `sample_weight`.

    Raises:
      ValueError: if the data are empty, not finite or of different lengths, or do not have one of the forms above.
    """
    if not is_stream(x):
        data = checked_arrays(*(x, y, sample_weight), floatx=floatx, check=check, class_weight=class_weight, name=name)
        batch_size = _batch_size_of(batch_size, steps, num_rows(data), name)
        return Arrays(data, batch_size, steps, seed, restarts, replicas)
    _check_iterable(x, name)
    if y is not None or sample_weight is not None:
        raise ValueError("`x` is a dataset, so `y` and `sample_weight` must be in its batches: leave them out.")
    if isinstance(x, tf.distribute.DistributedDataset):
        replicas = replicas.alone

    def convert(element):
        element = tf.nest.map_structure(_local_rows, element)
        data = tuple(element) if isinstance(element, (tuple, list)) else (element,)
        if len(data) == 3 and data[2] is None:
            data = data[:2]
        data = as_tensors(data, floatx, name)
        check_lengths(data, name, _BATCHING_ADVICE if isinstance(x, tf.data.Dataset) else "")
        return data

    def prepare(element):
        return with_class_weights(convert(element), class_weight, floatx)

    return Stream(x, convert, prepare, check, steps, restarts, replicas, name)


def checked_arrays(
    x: Any,
    y: Any,
    sample_weight: Any,
    *,
    floatx: str,
    check: Callable,
    class_weight: Any = None,
    name: str = "",
    reader: str = "it",
    takes_sparse: bool = False,
) -> tuple:
    """Returns arrays as a tuple of structures of tensors, after checking the outcomes.

    Args:
      x, y, sample_weight, floatx, check, class_weight, name: as in `batches_of`.
      reader: the name of the method that needs all the data at once, such as "L-BFGS", for an error message.
      takes_sparse: whether `x` may be sparse.

    Raises:
      ValueError: if `x` is an iterable of batches, or for one of the reasons in `batches_of`.
    """
    if is_stream(x):
        _check_iterable(x, name)
        raise ValueError(f"`x` is a {type(x).__name__}, and {reader} takes all the data at once: give arrays.")
    data = as_tensors(pack(x, y, sample_weight, name, takes_sparse), floatx, name, takes_sparse)
    check_rows(data, name)
    data = with_class_weights(data, class_weight, floatx)
    check_weights(data, name)
    return check(rows_of(data, 0, 1), part_name(name, "y"))(*data)


def _check_iterable(x, name):
    """Raises a `TypeError` if `x` is neither arrays nor an iterable of batches."""
    if isinstance(x, (str, bytes)) or not (hasattr(type(x), "__iter__") or hasattr(type(x), "__getitem__")):
        raise TypeError(
            f"`{name or 'x'}` is a {type(x).__name__}: give arrays, a `tf.data.Dataset` or an iterable of batches."
        )


def _batch_size_of(batch_size, steps, num_rows, name):
    """Returns the number of rows of a full batch. Raises a `ValueError` if there are more steps than batches."""
    if batch_size is None:
        batch_size = max(1, -(-num_rows // steps)) if steps else 32
    batch_size = min(batch_size, num_rows)
    if steps is not None and steps > (max_steps := -(-num_rows // batch_size)):
        argument = "validation_steps" if name else "steps_per_epoch"
        raise ValueError(
            f"`{argument}` is {steps}, and {steps} steps of {batch_size} rows are more than the data's "
            f"{num_rows} rows: give at most {max_steps}, or None for all the data."
        )
    return batch_size


def split_arrays(x, y, sample_weight, fraction):
    """Divides the arrays like Keras's `validation_split`.

    Returns:
      The arrays without their last rows.
      The last rows, the given `fraction` of all rows, as a tuple.
    """
    if is_stream(x):
        raise ValueError("`validation_split` takes rows of arrays, and `x` is a dataset: give `validation_data`.")
    data = pack(x, y, sample_weight)
    num_training_rows = int(num_rows(data) * (1 - fraction))
    if not 0 < num_training_rows < num_rows(data):
        raise ValueError(
            f"`validation_split={fraction}` of {num_rows(data)} rows leaves no row for training, or none for "
            f"validation: give another fraction."
        )
    training, validation = (
        tf.nest.map_structure(lambda a, s=s: a if a is None else a[s], data)
        for s in (slice(num_training_rows), slice(num_training_rows, None))
    )
    return [*training, None, None][:3], validation


class Arrays:
    """Batches of tensors in memory.

    Each pass over the data has its own order of rows, which depends only on the seed and on the number of the pass. If
    an epoch has fewer batches than a pass, the next epoch continues the pass, as in Keras. If `restarts` is true, each
    epoch starts at the first batch.

    Attributes:
      data: the tuple `(x,)`, `(x, y)` or `(x, y, sample_weight)` of structures of tensors `[n, ...]`.
      num_rows: the number of rows, `n`.
      steps: batches per epoch, including a partial last batch.
      first: the first batch in the order of the arrays.
      have_same_layout: whether all epochs have the same number of full batches, and either every epoch or no epoch ends
        in a partial batch.
    """

    def __init__(self, data, batch_size, steps=None, seed=None, restarts=False, replicas=ALONE):
        self.data, self._seed, self._restarts, self._replicas = data, seed, restarts, replicas
        self.num_rows = num_rows(data)
        self._batch_size = batch_size
        self._pass_steps = -(-self.num_rows // batch_size)
        self.steps = steps or self._pass_steps
        if not restarts:
            for size in (min(batch_size, self.num_rows), self.num_rows % batch_size):
                replicas.check(size)
        self.first = tf.nest.map_structure(lambda t: t[: min(batch_size, self.num_rows)], data)
        self.have_same_layout = restarts or self.steps == self._pass_steps or self.num_rows % batch_size == 0

    @functools.cached_property
    def _padded_data(self):
        """The data, padded with unused rows, so that data sets with nearly the same number of rows share a program."""
        if not self.is_small:
            return self.data
        rows = np.minimum(np.arange(round_up(self.num_rows)), self.num_rows - 1)
        with tf.device("CPU"):
            return tf.nest.map_structure(lambda t: tf.gather(t, rows), self.data)

    def chunk(self, epoch, epochs=1, capacity=1):
        """Returns a `Chunk` of `epochs` epochs of the same layout. The tensors have room for `capacity` epochs."""
        index_pairs = [self._row_indices(epoch + i)[0] for i in range(epochs)]
        return self._chunk(index_pairs, capacity)

    def layout(self, capacity, held_out):
        """Returns the `Layout` of the chunks to train on."""
        chunk = self.chunk(0, 1, capacity) if self.have_same_layout else next(self.chunks(0))
        return dataclasses.replace(chunk, held_out=held_out).layout()

    @property
    def is_small(self):
        """Whether the data have at most `CHUNK_BYTES`, so that copies of them are allowed."""
        return num_bytes(self.data) <= CHUNK_BYTES

    def chunks(self, epoch):
        """Yields the chunks of an epoch. A chunk may end in a partial batch."""
        for i, index_pair in enumerate(self._row_indices(epoch)):
            yield self._chunk([index_pair], 1, starts=i == 0)

    def stacks(self):
        """Returns the batches of an evaluation as pairs `(stack, count)`.

        A stack contains batches, `[k, batch_size, ...]`. Only its first `count` batches are used; the others are
        padding. The stacks are the same in all epochs, because `restarts` is true for validation data.
        """
        ((full, rest),) = self._row_indices(0)
        steps = len(full) // self._batch_size
        rows = [(np.resize(full, [round_up(steps), self._batch_size]), steps)] if steps else []
        rows += [(rest[None], 1)] if len(rest) else []
        rows = [(self._replicas.rows(r), steps) for r, steps in rows]
        return tuple((tf.nest.map_structure(lambda t, r=r: tf.gather(t, r), self.data), steps) for r, steps in rows)

    def _row_indices(self, epoch):
        """Returns the indices of the rows of an epoch, in order, as a list of pairs `(full, rest)`.

        `full` are the indices for consecutive full batches. `rest` are the indices for the partial batch after them,
        and are empty if there is none. An epoch that continues in another pass may contain several partial batches.
        """
        index_pairs: list[tuple[np.ndarray, np.ndarray]] = []
        steps_left, steps_before = self.steps, 0 if self._restarts else epoch * self.steps
        full = np.zeros(0, int)
        while steps_left:
            pass_number, first = divmod(steps_before, self._pass_steps)
            steps = min(steps_left, self._pass_steps - first)
            rows = self._row_order(pass_number)[first * self._batch_size : (first + steps) * self._batch_size]
            num_full_rows = len(rows) // self._batch_size * self._batch_size
            full = np.concatenate([full, rows[:num_full_rows]])
            if num_full_rows < len(rows):
                index_pairs, full = [*index_pairs, (full, rows[num_full_rows:])], np.zeros(0, int)
            steps_left, steps_before = steps_left - steps, steps_before + steps
        return [*index_pairs, (full, np.zeros(0, int))] if len(full) else index_pairs

    def _row_order(self, pass_number):
        if self._seed is None:
            return np.arange(self.num_rows)
        return np.random.default_rng([self._seed, pass_number]).permutation(self.num_rows)

    def _chunk(self, index_pairs, capacity, starts=True):
        steps, size = len(index_pairs[0][0]) // self._batch_size, len(index_pairs[0][1])
        order = np.zeros([capacity, round_up(max(steps, 1)), self._batch_size], np.int32)
        rest = np.zeros([capacity, size], np.int32)
        for i, (full, partial) in enumerate(index_pairs):
            order[i, :steps] = full.reshape(steps, self._batch_size)
            rest[i] = partial
        local_rest = self._replicas.rows(rest) if size else None
        return Chunk(
            self._padded_data, self._replicas.rows(order), local_rest, Bounds(0, steps, len(index_pairs), starts)
        )


def round_up(number):
    """Rounds a number up, so that it has at most four significant binary digits. This adds less than an eighth.

    Data sets of nearly the same size then have tensors of equal shapes, so they can share a program.
    """
    unit = 1 << max(0, number.bit_length() - 4)
    return -(-number // unit) * unit


def _local_rows(leaf):
    """Joins this process's rows of a `tf.distribute.DistributedValues`. Returns any other leaf unchanged."""
    return tf.concat(leaf.values, 0) if isinstance(leaf, tf.distribute.DistributedValues) else leaf
