"""The target for class labels, or for outcomes with a few distinct values."""

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.keras3 import heads
from nllfit.tabular.targets import Target

__all__ = ["Classes"]


class Classes(Target):
    """A probability for each class label, or for each distinct value of the outcomes.

    The spread of this target is a temperature: the log-probabilities are divided by it.

    Args:
      labels: the class index of each outcome, `[n, 1]`.
      num_classes: the number of classes.
      weights: `[n]`, or None.
      values: the outcome of each class, `[num_classes]`, in ascending order; None if the outcomes are class labels.
    """

    is_discrete = True

    def __init__(
        self, labels: np.ndarray, num_classes: int, weights: np.ndarray | None, values: np.ndarray | None = None
    ):
        counts = np.bincount(labels[:, 0], weights, num_classes)
        self.frequencies, self.values = counts / counts.sum(), values

    @classmethod
    def of_values(cls, y: np.ndarray, weights: np.ndarray | None) -> "Classes":
        """The target for outcomes `[n, 1]` with a few distinct values."""
        values, labels = np.unique(y, return_inverse=True)
        return cls(labels.reshape(y.shape), len(values), weights, values)

    def layers(self) -> list[keras.layers.Layer]:
        return [keras.layers.Dense(len(self.frequencies)), heads.Categorical(len(self.frequencies))]

    def head(self, is_trained: bool = True) -> keras.layers.Layer:
        return self.layers()[-1]

    def seen(self, y: np.ndarray, observed: np.ndarray | None) -> np.ndarray:
        return (y if self.values is None else np.searchsorted(self.values, y))[:, 0]

    def distribution(self, predicted: tfd.Distribution, spread: float, doubt: float) -> tfd.Distribution:
        members = tf.nn.log_softmax(tf.cast(predicted.components_distribution.logits, tf.float64))
        log_probs = tf.reduce_logsumexp(members, axis=1) - np.log(members.shape[1])
        probs = (1 - doubt) * tf.nn.softmax(log_probs / spread) + doubt * self.frequencies
        if self.values is None:
            return tfd.Categorical(probs=probs)
        return tfd.Independent(tfd.FiniteDiscrete(self.values, probs=probs[:, None]), 1)
