"""Multiplies the weight of each row by the weight of its class: the argument `class_weight` of `fit`."""

import numpy as np
import tensorflow as tf

from nllfit.families.arguments import as_count

__all__ = ["with_class_weights"]


def with_class_weights(data, class_weight, floatx):
    """Returns `data` after multiplying the weight of each row by the weight of its class, as Keras does."""
    if class_weight is None:
        return data
    if len(data) < 2 or not tf.is_tensor(data[1]):
        raise ValueError("`class_weight` needs one output `y` of class labels.")
    if not hasattr(class_weight, "get"):
        raise ValueError(f"`class_weight` is {class_weight!r}: give a dict `{{label: weight}}`.")
    try:
        by_label = {as_count("class_weight", label, 0): float(weight) for label, weight in dict(class_weight).items()}
    except (TypeError, ValueError):
        by_label = {0: np.nan}
    if not all(np.isfinite(weight) and weight >= 0 for weight in by_label.values()):
        raise ValueError(
            f"`class_weight` is {class_weight!r}: give finite weights >= 0 of labels, which are ints >= 0."
        )
    labels = _labels(data[1].numpy())
    if labels is None:
        raise ValueError("`class_weight` weights classes, but `y` does not hold class labels: use `sample_weight`.")
    classes, rows = np.unique(labels, return_inverse=True)
    factors = np.array([by_label.get(label, 1.0) for label in classes.tolist()])[rows]
    (weights,) = tf.nest.flatten(data[2]) if len(data) == 3 else [tf.ones(len(factors), floatx)]
    weights = weights if weights.dtype.is_floating else tf.cast(weights, floatx)
    return (*data[:2], weights * factors.reshape(-1, *[1] * (len(weights.shape) - 1)))


def _labels(y):
    """Returns the class of each row for labels `[n]` or `[n, 1]` or probabilities `[n, classes]`, otherwise None."""
    if y.ndim == 2 and y.shape[1] > 1:
        return y.argmax(1) if np.all(y >= 0) and np.allclose(y.sum(1), 1) else None
    if y.dtype.kind not in "biuf" or y.size != len(y) or not np.all(y == np.floor(y)):
        return None
    return y.reshape(len(y)).astype(int)
