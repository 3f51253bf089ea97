"""The coefficients of a model: its weights, and a head's shared parameters, such as `scale`, on the natural scale."""

import numpy as np
import tensorflow as tf

from nllfit.adapters import Model, adapter_of
from nllfit.adapters.keras_models import variable_of
from nllfit.inference.weight_names import Features, labels, unique, weight_names

__all__ = ["named_parameters"]


def named_parameters(model: Model, features: Features) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Returns the coefficients of a model.

    The coefficients are the trainable weights, except for the unconstrained weight in which a head stores its shared
    parameters. In place of this weight, the coefficients are the shared parameters, such as `scale`, on the natural
    scale. If the distribution's argument is `log_rate`, for example, the coefficient is `rate`.

    Args:
      model: a model that has been built.
      features: the column names of each input, or None.

    Returns:
      The names of the `q` coefficients, all of them different.
      Their values, `[q]`.
      Their Jacobian with respect to the trainable weights, `[q, p]`.
    """
    names, values, blocks = [], [], []
    heads = [layer for layer in adapter_of(model).layers if getattr(layer, "_shared", None) is not None]
    for weight, weight_labels in zip(model.trainable_weights, weight_names(model, features), strict=True):
        head = next((head for head in heads if head._shared is weight), None)
        unconstrained = tf.reshape(tf.cast(variable_of(weight), tf.float64), [-1])
        if head is None:
            names += weight_labels
            values.append(unconstrained.numpy())
            blocks.append(np.eye(len(unconstrained)))
            continue
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(unconstrained)
            shared = _shared_parameters(head.family, unconstrained)
            natural = tf.concat([tf.reshape(value, [-1]) for value in shared.values()], 0)
        for name, value in shared.items():
            names += labels(name, [range(size) for size in value.shape if size > 1])
        values.append(natural.numpy())
        blocks.append(tape.jacobian(natural, unconstrained, experimental_use_pfor=False).numpy())
    rows, columns = (sum(block.shape[axis] for block in blocks) for axis in (0, 1))
    jacobian, row, column = np.zeros([rows, columns]), 0, 0
    for block in blocks:
        jacobian[row : row + block.shape[0], column : column + block.shape[1]] = block
        row, column = row + block.shape[0], column + block.shape[1]
    return unique(names), np.concatenate(values), jacobian


def _shared_parameters(family, unconstrained):
    """Returns the shared parameters on the natural scale, by name."""
    values = family.parameters(tf.zeros([family.params_size], tf.float64), unconstrained)
    return family.natural({name: values[name] for name in family.shared})
