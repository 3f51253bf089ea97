"""Blocks of rows. The intermediate results of all rows may not fit into memory at once."""

from collections.abc import Iterator

import tensorflow as tf
from tensorflow_probability import distributions as tfd

__all__ = ["row_blocks"]

_MOST_NUMBERS = 2**20  # the maximum number of elements in a tensor; 8 MiB in float64


def row_blocks(distribution: tfd.Distribution, num_rows: int, repeats: int = 1) -> Iterator[slice]:
    """Splits rows into consecutive blocks, so that memory does not grow with the number of rows.

    Args:
      distribution: a distribution of batch `[num_rows, ...]`. The parameter with the most
        elements determines the block size.
      num_rows: the number of rows.
      repeats: the number of values that are computed at once for each element, such as the number of quantiles.
    """
    tensors = filter(tf.is_tensor, tf.nest.flatten(distribution, expand_composites=True))
    largest = max((int(tf.size(tensor)) for tensor in tensors), default=num_rows)
    size = max(1, _MOST_NUMBERS * num_rows // (largest * repeats))
    return (slice(start, start + size) for start in range(0, num_rows, size))
