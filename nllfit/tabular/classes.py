"""Classes: a probability for each label, or for each of a few values."""

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.keras3 import heads
from nllfit.tabular.targets import Target

__all__ = ["Classes"]


class Classes(Target):
    """Class labels, or outcomes that repeat a few values: each has a probability.

    Here a spread is a temperature, by which the logarithms of probabilities are divided.

    Args:
      labels: `[n, 1]`, the index of each outcome's class.
      num_classes: their number.
      weights: `[n]`, or None.
      values: `[num_classes]`, rising numbers, if the outcomes are these; None if they are the labels themselves.
    """

    is_discrete = True

    def __init__(
        self, labels: np.ndarray, num_classes: int, weights: np.ndarray | None, values: np.ndarray | None = None
    ):
        counts = np.bincount(labels[:, 0], weights, num_classes)
        self.frequencies, self.values = counts / counts.sum(), values

    @classmethod
    def of_values(cls, y: np.ndarray, weights: np.ndarray | None) -> "Classes":
        """The target of outcomes `[n, 1]` that repeat a few values."""
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
