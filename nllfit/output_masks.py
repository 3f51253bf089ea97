"""Keras's masks of a model's outputs for all rows of a data set."""

import weakref
from typing import Any

import tensorflow as tf

from nllfit.adapters import Model
from nllfit.adapters.tensorflow import mask_of, trace
from nllfit.caches import kept_for

__all__ = ["masks_of"]

_ROWS = 1024  # at a time


def masks_of(model: Model, x: Any) -> list[tf.Tensor | None]:
    """The mask of all rows `[n, ...]` for each output, True for elements that count; None if all count.

    Args:
      model: a model with one output, or a flat list of them.
      x: a structure of tensors `[n, ...]`.
    """
    specs = tf.nest.map_structure(lambda t: tf.TensorSpec([None, *t.shape[1:]], t.dtype), x)
    masks = trace(kept_for("masks", lambda: _program(model), model), specs)
    starts = range(0, len(tf.nest.flatten(x)[0]), _ROWS)
    parts = [masks(tf.nest.map_structure(lambda t, i=i: t[i : i + _ROWS], x)) for i in starts]
    return [None if part[0] is None else tf.concat(part, 0) for part in zip(*parts, strict=True)]


def _program(model):
    owner = weakref.proxy(model)
    return tf.function(lambda x: [mask_of(output) for output in tf.nest.flatten(owner(x, training=False))])
