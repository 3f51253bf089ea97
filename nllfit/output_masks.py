"""Computes Keras's masks of a model's outputs for all rows of a data set."""

import weakref
from typing import Any

import tensorflow as tf

from nllfit.adapters import Model
from nllfit.adapters.tensorflow import mask_of, trace
from nllfit.data_checks import num_rows, rows_of, specs_of_rows
from nllfit.model_caches import kept_for

__all__ = ["masks_of"]

_ROWS_PER_CALL = 1024


def masks_of(model: Model, x: Any) -> list[tf.Tensor | None]:
    """Returns Keras's mask of each output of a model, or None for an output without a mask.

    A mask `[n, ...]` is True for elements that count.

    Args:
      model: a model with one output, or with a flat list of outputs.
      x: a structure of tensors `[n, ...]`.
    """
    specs = specs_of_rows(x)
    masks = trace(kept_for("masks", lambda: _program(model), model), specs)
    parts = [masks(rows_of(x, i, i + _ROWS_PER_CALL)) for i in range(0, num_rows(x), _ROWS_PER_CALL)]
    return [None if part[0] is None else tf.concat(part, 0) for part in zip(*parts, strict=True)]


def _program(model):
    owner = weakref.proxy(model)
    return tf.function(lambda x: [mask_of(output) for output in tf.nest.flatten(owner(x, training=False))])
