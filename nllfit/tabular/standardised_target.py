"""The `Target` of location-scale families. Models learn standardised outcomes."""

from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.tabular.table_rows import Rows
from nllfit.tabular.targets import Target

__all__ = ["LocationScale", "is_location_scale", "mean_and_spread"]

_LEAST_SCALE = 1e-2  # the smallest scale that trees predict, in standard deviations of the outcomes


class LocationScale(Target):
    """The `Target` of a location-scale family. Outcomes are standardised to the mean 0 and the standard deviation 1.

    Args:
      family: the family, such as a Normal or a mixture of Normals.
      rows: the training set.
    """

    def __init__(self, family: Any, rows: Rows):
        y, weights, is_censored = rows.numbers(), rows.weights, rows.is_censored
        super().__init__(family, is_censored)
        is_normal = getattr(family, "name", "") == "Normal" and not is_censored
        self.beta = 0.5 if is_normal else 0.0
        moments = [mean_and_spread(column, weights) for column in y.T]
        self.loc, self.unit = np.array(moments).T
        outcomes = self._standard(y)
        # Predicted locations are clipped to the range of the training outcomes, because one network of the ensemble may
        # extrapolate wildly in some row. If outcomes are censored, the true outcomes may be above this range, so there
        # is no upper limit. If some outcomes are left-censored, there is no lower limit either.
        lowest, highest = outcomes.min(axis=0), outcomes.max(axis=0)
        if is_censored:
            highest = np.full_like(highest, np.inf)
            lowest = np.full_like(lowest, -np.inf) if np.isinf(rows.y[:, 0]).any() else lowest
        self.ends = lowest, highest

    def _standard(self, y):
        return ((y - self.loc) / self.unit).astype("float32")

    def training_outcomes(self, y: np.ndarray) -> np.ndarray:
        return self._outcomes(self._standard(y)).astype("float32")

    def statistics(self, y: np.ndarray) -> np.ndarray | None:
        if self.is_censored or getattr(self.family, "name", "") != "Normal":
            return None
        outcomes = self._standard(y)
        return np.concatenate([outcomes, outcomes**2], axis=1)

    def outputs_of(self, means: np.ndarray) -> tf.Tensor:
        loc, square = (part.reshape([len(part), *self.family.event_shape]) for part in np.split(means, 2, axis=1))
        scale = np.sqrt(np.maximum(square - loc**2, _LEAST_SCALE**2))
        return tf.cast(self.family.unconstrained({"loc": loc, "scale": scale}), tf.float32)

    def distribution(self, predicted: tfd.Distribution, spread: Any, doubt: float) -> tfd.Distribution:
        elements, rank = _element_distribution(predicted.components_distribution)
        (low, high), shape = self.ends, [1] * (elements.batch_shape.rank - rank) + [*self.family.event_shape]
        low, high = (tf.cast(np.reshape(end, shape), elements.dtype) for end in (low, high))
        loc, unit = (np.reshape(values, shape) for values in (self.loc, self.unit))
        spread = np.reshape(spread, [-1] + [1] * (elements.batch_shape.rank - 1))
        largest_scale = tf.where(high > low, high - low, 1)  # equal outcomes have a range of 0
        clipped = tf.clip_by_value(elements.loc, low, high), tf.minimum(elements.scale, largest_scale)
        locs, scales = (tf.cast(values, tf.float64) for values in clipped)
        member_parameters = {"loc": loc + unit * locs, "scale": unit * spread * scales}
        marginal = {"loc": loc * tf.ones_like(locs[:, :1]), "scale": unit * tf.ones_like(locs[:, :1])}
        for name, value in _parameters(elements).items():
            if name not in member_parameters:
                value = tf.broadcast_to(value, locs.shape) if value.shape.rank else value
                member_parameters[name] = tf.cast(value, tf.float64)
                marginal[name] = member_parameters[name][:, :1] if value.shape.rank else member_parameters[name]
        member_logits = tf.nn.log_softmax(tf.cast(predicted.mixture_distribution.logits, tf.float64)) + np.log1p(-doubt)
        logits = tf.concat([member_logits, tf.fill([len(member_logits), 1], tf.constant(np.log(doubt), tf.float64))], 1)
        parameters = {
            name: tf.concat([value, marginal[name]], 1) if value.shape.rank else value
            for name, value in member_parameters.items()
        }
        components = type(elements)(**parameters)
        components = tfd.Independent(components, rank) if rank else components
        return tfd.MixtureSameFamily(tfd.Categorical(logits), components)


def is_location_scale(family: Any) -> bool:
    """Tests numerically whether a family is a location-scale family.

    The density `p` of a location-scale family satisfies `p(a + b y | a + b loc, b scale) b = p(y | loc, scale)` for all
    `a` and all `b > 0`. The function checks this equation for `a = 3` and `b = 2` at random `y`, `loc` and `scale`.
    """
    distribution = family.distribution(tf.random.stateless_normal([8, family.params_size], [0, 0], dtype=tf.float64))
    elements, _ = _element_distribution(getattr(distribution, "components_distribution", distribution))
    if not {"loc", "scale"} <= elements.parameters.keys() or elements.event_shape.rank:
        return False
    parameters = _parameters(elements)
    loc, unit = 3.0, 2.0
    transformed = elements.copy(
        **parameters | {"loc": loc + unit * parameters["loc"], "scale": unit * parameters["scale"]}
    )
    y = tf.random.stateless_normal(elements.batch_shape, [0, 1], stddev=3.0, dtype=tf.float64)
    try:
        log_densities = transformed.log_prob(loc + unit * y) + np.log(unit), elements.log_prob(y)
    except (ValueError, tf.errors.InvalidArgumentError):  # the support is not the real line
        return False
    return bool(np.allclose(*log_densities, rtol=1e-6) and np.all(np.isfinite(log_densities[1])))


def _element_distribution(distribution):
    """Returns the distribution inside an `Independent`, and the number of event axes that the `Independent` adds.

    Any other distribution is returned unchanged, with 0.
    """
    if isinstance(distribution, tfd.Independent):
        return distribution.distribution, int(distribution.reinterpreted_batch_ndims)
    return distribution, 0


def _parameters(distribution):
    """Returns the parameters of a TFP distribution as a dict by name. Parameters that are None are not in it."""
    names = type(distribution).parameter_properties()
    values = {name: distribution.parameters.get(name) for name in names}
    return {name: tf.convert_to_tensor(value) for name, value in values.items() if value is not None}


def mean_and_spread(column: np.ndarray, weights: np.ndarray | None) -> tuple[float, float]:
    """Returns the mean and the standard deviation of numbers `[n]`. A standard deviation of 0 is replaced by 1."""
    if np.ptp(column) == 0:  # otherwise the standard deviation would be the rounding error of the mean
        return column[0], 1.0
    loc = np.average(column, weights=weights)
    largest = np.abs(column - loc).max()  # the square of a tiny or a huge number would be 0 or infinite
    unit = largest * np.sqrt(np.average(((column - loc) / largest) ** 2, weights=weights))
    return loc, unit if unit > 0 else 1.0
