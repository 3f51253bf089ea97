"""The `Target` for densities of any shape. Trees predict the probability of each interval of the outcomes."""

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.tabular.class_and_value_target import Classes
from nllfit.tabular.standardised_target import mean_and_spread

__all__ = ["Histogram"]

_INTERVALS = 0.5  # the number of intervals, divided by the square root of the number of rows
_FEWEST, _MOST = 5, 50  # the minimum and the maximum number of intervals
_LEAST = 1e-6  # smaller marginal frequencies are replaced by this number, so that their logarithms are finite
_FLOOR = 1e-3  # the smallest scale in an interval, in standard deviations of the outcomes


class Histogram(Classes):
    """The `Target` of models that predict the probability of each interval between quantiles of the outcomes.

    If the outcomes have few values, there is one interval for each value.

    The density is a mixture with one Normal for each interval. The mean of this Normal is the mean of the outcomes in
    the interval. Its scale is `sqrt(3)` times the standard deviation of these outcomes, so that neighbouring Normals
    overlap. If the outcomes are uniform in the interval, this scale is half the width of the interval. The scale is at
    least a thousandth of the standard deviation of all outcomes. The mixture has one more Normal with the mean and the
    standard deviation of all outcomes, because new outcomes can be outside all intervals. The spread is a temperature.
    Unlike in `Classes`, an infinite temperature gives the marginal frequencies. The models are always trees, because
    the outputs of a network would be independent logits, which do not use the order of the intervals.

    Args:
      y: the outcomes, `[n, 1]`.
      weights: the number of times that each row counts, `[n]`, or None.
      has_few: whether each value has its own interval.
    """

    is_for_networks = False

    def __init__(self, y: np.ndarray, weights: np.ndarray | None, has_few: bool):
        self.lower = np.unique(y) if has_few else _lower_ends(y)
        if len(self.lower) == 1:  # a fold may have equal outcomes, but a Categorical needs two classes
            self.lower = np.append(self.lower, np.nextafter(self.lower, np.inf))
        labels = self.training_outcomes(y)
        super().__init__(labels[:, None], len(self.lower), weights, self.lower)
        self.is_discrete, self.is_concentrated = False, has_few
        self.log_hot = np.log(np.maximum(self.frequencies, _LEAST))
        self.loc, self.unit = mean_and_spread(y[:, 0], weights)
        self.locs, deviations = self.lower.copy(), np.zeros(len(self.lower))
        for i in range(len(self.lower)):
            inside = labels == i
            if np.unique(y[inside]).size > 1:
                inside_weights = None if weights is None else weights[inside]
                self.locs[i], deviations[i] = mean_and_spread(y[inside, 0], inside_weights)
        self.scales = np.maximum(np.sqrt(3) * deviations, _FLOOR * self.unit)

    def training_outcomes(self, y: np.ndarray) -> np.ndarray:
        return np.maximum(np.searchsorted(self.lower, y[:, 0], side="right") - 1, 0)

    def _from_probs(self, probs, doubt):
        probs = (1 - doubt) * probs + doubt / 2 * self.frequencies
        probs = tf.concat([probs, tf.fill([len(probs), 1], tf.constant(doubt / 2, tf.float64))], 1)
        locs, scales = np.append(self.locs, self.loc), np.append(self.scales, self.unit)
        normals = tfd.Normal(*(np.tile(values[:, None], [len(probs), 1, 1]) for values in (locs, scales)))
        return tfd.MixtureSameFamily(tfd.Categorical(probs=probs), tfd.Independent(normals, 1))


def _lower_ends(y):
    """Returns the lower ends of intervals that contain about equally many outcomes.

    A frequent value has its own interval.
    """
    values = np.sort(y, axis=None)
    num_intervals = int(np.clip(_INTERVALS * np.sqrt(len(values)), _FEWEST, _MOST))
    ends, counts = np.unique(
        np.quantile(values, np.arange(num_intervals) / num_intervals, method="lower"), return_counts=True
    )
    next_indices = np.searchsorted(values, ends[counts > 1], side="right")
    return np.unique([*ends, *values[next_indices[next_indices < len(values)]]])
