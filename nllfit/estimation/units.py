"""Units: the affine map that scales a sample, and the parameters of its family, to magnitudes of about 1.

A location-scale density contains `(y - loc) / scale`. If `loc` is a million times as large as `scale`, the subtraction
loses six digits. If the sample is first centred and scaled, the subtraction loses hardly any digits.
"""

import functools

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from nllfit.families.family_base import ParametricFamily
from nllfit.families.parameters import Numbers
from nllfit.families.search_policy import SearchPolicy

__all__ = ["Units"]


class Units:
    """The map `y = center + spread * z` between the user's outcomes `y` and scaled outcomes `z`.

    It also maps the parameters of the distribution of `z` to those of the distribution of `y`, and back.

    Args:
      center, spread: arrays `[*event]`, or numbers.
      policy: says which parameters of the family are locations, scales and rates.
    """

    def __init__(self, center: ArrayLike = 0.0, spread: ArrayLike = 1.0, policy: SearchPolicy | None = None):
        self.center, self.spread = np.asarray(center), np.asarray(spread)
        self._policy = SearchPolicy() if policy is None else policy

    @classmethod
    def of(cls, family: ParametricFamily, y: np.ndarray) -> "Units":
        """Returns the units of a sample `[n, *event]`.

        For a location-scale family, the center is the sample's median, and the spread is the interquartile range, or
        the range if the quartiles are equal. For a scale family, the center is 0 and the spread is the median absolute
        value. For any other family, the center is 0 and the spread is 1. A spread is rounded to a power of two.
        """
        if _is_closed(family, with_shifts=True):
            low, center, high = np.quantile(y, [0.25, 0.5, 0.75], axis=0)
            return cls(center, _power_of_two(np.where(high > low, high - low, np.ptp(y, axis=0))), family.search)
        if _is_closed(family, with_shifts=False):
            return cls(np.zeros(y.shape[1:]), _power_of_two(np.median(np.abs(y), axis=0)), family.search)
        return cls()

    def inward_sample(self, y: np.ndarray) -> np.ndarray:
        """Returns the scaled outcomes `z` of a sample."""
        return (y - self.center) / self.spread

    def outward(self, parameters: Numbers) -> Numbers:
        """Returns the parameters of the distribution of `y` from those of the distribution of `z`, by name."""
        return {name: self._factor(name) * value + self._shift(name) for name, value in parameters.items()}

    def inward(self, parameters: Numbers) -> Numbers:
        """The inverse of `outward`."""
        return {name: (value - self._shift(name)) / self._factor(name) for name, value in parameters.items()}

    @property
    def log_volume(self) -> float:
        """The log-density of `z` minus the log-density of `y`: the sum of `log(spread)`."""
        return float(np.sum(np.log(self.spread)))

    def _factor(self, name):
        if name == "scale_tril":
            return self.spread[..., None]
        policy = self._policy
        if name in policy.locations + policy.scales:
            return self.spread
        return 1 / self.spread if name in policy.rates else 1.0

    def _shift(self, name):
        if name in _log_rates(self._policy):
            return -np.log(self.spread)
        return self.center if name in self._policy.locations else 0.0


def _log_rates(policy):
    """Returns the names of the parameters that are the logarithm of a rate, such as `log_rate`."""
    return [f"log_{name}" for name in policy.rates]


def _power_of_two(sizes):
    """Rounds sizes to powers of two, because division by them is exact. A size of 0 becomes 1."""
    return 2.0 ** np.round(np.log2(np.where(sizes > 0, sizes, 1.0)))


@functools.lru_cache
def _is_closed(family, with_shifts):
    """Tests numerically whether the family is closed under scaling and, if `with_shifts`, also under shifts."""
    if not family.has_unit:
        return False
    # A parameter that has a held value or a floor cannot be scaled, because the value or floor is in the user's unit. A
    # parameter whose link was chosen by the user may have a bounded domain, so it cannot be scaled or shifted. But if
    # the link maps to the positive numbers, the parameter can be scaled, though not shifted.
    policy, unscalable = family.search, {*family.fixed, *family.floor}
    unscalable |= family.link.keys() - set(family.positive).difference(policy.locations if with_shifts else ())
    changeable = {*policy.locations, *policy.scales, *policy.rates, *_log_rates(policy)}
    if (
        not set(policy.locations if with_shifts else changeable) & set(family.parameter_names)
        or changeable & unscalable
    ):
        return False
    family, rng = family.holding({"validate_args": False}), np.random.default_rng(0)
    parameters = family.parameters(tf.constant(0.5 * rng.standard_normal(family.params_size)))
    z = rng.standard_normal([20, *family.event_shape])
    z = z if with_shifts else np.abs(z)  # a scale family may have only positive outcomes
    units = Units(with_shifts * rng.uniform(1, 2, family.event_shape), rng.uniform(1, 2, family.event_shape), policy)
    log_prob_z = family.build(parameters, tf.float64).log_prob(z)
    log_prob_y = family.build(units.outward(parameters), tf.float64).log_prob(units.center + units.spread * z)
    return np.allclose(log_prob_z, log_prob_y + units.log_volume, rtol=1e-6, equal_nan=True)
