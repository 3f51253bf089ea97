"""Warns of parameters of a head that stay untrained, because the loss depends only on the head's mean."""

import inspect
import warnings
from typing import Any

import numpy as np
import tensorflow as tf

from nllfit.adapters import Model
from nllfit.adapters.keras_models import variable_of
from nllfit.data_checks import rows_of
from nllfit.prediction import origin_of
from nllfit.training.model_outputs import names_of

__all__ = ["warn_of_untrained"]


def warn_of_untrained(model: Model, name: str | int, x: Any) -> None:
    """Warns of parameters of a head that the loss does not train. Keras's own losses see only the head's mean.

    Args:
      model: the model.
      name: the name or the index of an output that has a head.
      x: inputs; only the first row is used.
    """
    with tf.GradientTape() as tape:
        outputs = model(rows_of(x, 0, 1), training=False)
        output = tf.nest.flatten(outputs)[names_of(model, outputs).index(name)]
        mean = tf.convert_to_tensor(output)
        # Each element gets a different factor. With equal factors, a sum of class probabilities would have no gradient.
        target = tf.reduce_sum(mean * tf.cast(np.sin(1.0 + np.arange(tf.size(mean))).reshape(mean.shape), mean.dtype))
    origin: Any = origin_of(output)
    sources = [origin.params] if origin.shared is None else [origin.params, variable_of(origin.shared)]
    gradients = tape.gradient(target, sources, unconnected_gradients="zero")
    moved = [source + tf.cast(gradient == 0, source.dtype) for source, gradient in zip(sources, gradients, strict=True)]
    before, after = (origin.family.parameters(*map(tf.convert_to_tensor, numbers)) for numbers in (sources, moved))
    unseen = [key for key in before if np.any(before[key] != after[key])]
    if unseen:
        warnings.warn(
            f"The loss sees only the mean of {origin.family.name}, which does not depend on `{'`, `'.join(unseen)}`. A "
            f"parameter without a gradient is never trained: compile with the negative log-likelihood, or hold the "
            f"parameter at a value, as `{unseen[0]}=1.0` does.",
            stacklevel=_level_of_user(),
        )


def _level_of_user():
    """Returns the `stacklevel` with which a warning in the calling function points to the user's line."""
    frame, level = inspect.currentframe(), 0
    while frame is not None and frame.f_globals.get("__name__", "").startswith("nllfit."):
        frame, level = frame.f_back, level + 1
    return level
