"""The `Target` for class labels, or for outcomes with a few distinct values."""

from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.families import Family
from nllfit.tabular.targets import Target

__all__ = ["Classes"]

_LEAST_PROBABILITY = 1e-6  # a lower bound on the probabilities that trees predict


class Classes(Target):
    """The `Target` of models that predict the probability of each class label or of each distinct value.

    The spread is a temperature: the log-probabilities are divided by it.

    Args:
      labels: the class index of each outcome, `[n, 1]`.
      num_classes: the number of classes.
      weights: the number of times that each row counts, `[n]`, or None.
      values: the outcome of each class, `[num_classes]`, in ascending order; None if the outcomes are class labels.
    """

    def __init__(
        self, labels: np.ndarray, num_classes: int, weights: np.ndarray | None, values: np.ndarray | None = None
    ):
        super().__init__(Family("Categorical", num_classes=num_classes))
        counts = np.bincount(labels[:, 0], weights, num_classes)
        self.frequencies, self.values = counts / counts.sum(), values
        self.log_hot = np.zeros(num_classes)  # the log-probabilities at an infinite temperature, up to a constant

    @classmethod
    def of_values(cls, y: np.ndarray, weights: np.ndarray | None, values: np.ndarray | None = None) -> "Classes":
        """Returns the target for outcomes `[n, 1]` that have a few distinct values.

        `values` are the sorted distinct outcomes of the whole table, because `y` may be only a sample of the table or
        the training rows of a fold. None stands for the distinct outcomes in `y`.
        """
        values = np.unique(y) if values is None else values
        if len(values) == 1:  # a Categorical needs two classes
            values = np.append(values, values + max(1.0, abs(values[0])))
        return cls(np.searchsorted(values, y), len(values), weights, values)

    def training_outcomes(self, y: np.ndarray) -> np.ndarray:
        return (y if self.values is None else np.searchsorted(self.values, y))[:, 0]

    def statistics(self, y: np.ndarray) -> np.ndarray:
        labels, classes = self.training_outcomes(y)[:, None], np.arange(len(self.frequencies))
        # Class labels have no order, so trees predict probabilities. Values have an order, so trees predict the CDF.
        return labels == classes if self.values is None else labels <= classes[:-1]

    def outputs_of(self, means: np.ndarray) -> tf.Tensor:
        probs = means if self.values is None else np.diff(means, axis=1, prepend=0, append=1)
        return tf.math.log(tf.constant(np.maximum(probs, _LEAST_PROBABILITY), tf.float32))

    def distribution(self, predicted: tfd.Distribution, spread: Any, doubt: float) -> tfd.Distribution:
        member_log_probs = tf.nn.log_softmax(tf.cast(predicted.components_distribution.logits, tf.float64))
        log_probs = tf.reduce_logsumexp(member_log_probs, axis=1) - np.log(member_log_probs.shape[1])
        inverse_temperature = 1 / np.reshape(spread, [-1, 1])
        return self._from_probs(
            tf.nn.softmax(inverse_temperature * log_probs + (1 - inverse_temperature) * self.log_hot), doubt
        )

    def _from_probs(self, probs, doubt):
        """Returns the distribution with the class probabilities `(1 - doubt) * probs + doubt * frequencies`."""
        probs = (1 - doubt) * probs + doubt * self.frequencies
        if self.values is None:
            return tfd.Categorical(probs=probs)
        return tfd.Independent(tfd.FiniteDiscrete(self.values, probs=probs[:, None]), 1)
