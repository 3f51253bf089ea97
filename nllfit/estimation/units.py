"""Units: the affine map that brings a sample, and the parameters of its family, to around 0 and 1.

A density divides by its scale what is left of an outcome without its location. Where the location is a million scales
away that loses six digits; measured from the middle of the sample, in units of its spread, it loses none.
"""

import functools

import numpy as np
import tensorflow as tf

__all__ = ["Units"]

# Parameters that move and stretch with the sample, those that stretch alone, and those that shrink: in some families
# more, which are pure numbers in others.
_PLACES, _SIZES = ("loc", "low", "high", "peak"), ("scale", "scale_diag", "scale_tril")
_RATES = (), ("rate",), ("tailweight", "skewness")


class Units:
    """Outcomes `center + spread * z` for outcomes `z` in these units, and the parameters that go with them.

    Args:
      center, spread: `[*event]`.
      rates: the names of the parameters that shrink.
    """

    def __init__(self, center=0.0, spread=1.0, rates=()):
        self.center, self.spread, self._rates = np.asarray(center), np.asarray(spread), rates

    @classmethod
    def of(cls, family, y):
        """The units of a sample `[n, *event]`, which are its own unless the family is a location-scale family."""
        rates = _rates(family)
        if rates is None:
            return cls()
        low, center, high = np.quantile(y, [0.25, 0.5, 0.75], axis=0)
        spread = np.where(high > low, high - low, np.ptp(y, axis=0))
        return cls(center, 2.0 ** np.round(np.log2(spread)), rates)  # to divide by a power of two loses nothing

    def inward_sample(self, y):
        """The sample in these units."""
        return (y - self.center) / self.spread

    def outward(self, parameters):
        """The parameters of `center + spread * z`, by name, from those of `z`."""
        return {name: self._factor(name) * value + self._shift(name) for name, value in parameters.items()}

    def inward(self, parameters):
        """The inverse of `outward`."""
        return {name: (value - self._shift(name)) / self._factor(name) for name, value in parameters.items()}

    @property
    def log_volume(self):
        """What the log-density of an outcome loses."""
        return float(np.sum(np.log(self.spread)))

    def _factor(self, name):
        if name == "scale_tril":
            return self.spread[..., None]
        return self.spread if name in _PLACES + _SIZES else 1 / self.spread if name in self._rates else 1.0

    def _shift(self, name):
        return self.center if name in _PLACES else 0.0


@functools.lru_cache
def _rates(family):
    """The parameters that shrink as the sample stretches, of a location-scale family; None of any other. Tried out."""
    scalar = getattr(family, "component", family)
    given = {*scalar.fixed, *scalar.floor}  # in the units of the data
    if not set(_PLACES) & set(family.parameter_names) or set(_PLACES + _SIZES) & given:
        return None
    family, rng = family.holding({"validate_args": False}), np.random.default_rng(0)
    parameters = family.parameters(tf.constant(0.5 * rng.standard_normal(family.params_size)))
    z = rng.standard_normal([20, *family.event_shape])
    center, spread = (rng.uniform(1, 2, family.event_shape) for _ in range(2))
    here = family.build(parameters, tf.float64).log_prob(z)
    for rates in _RATES:
        if not set(rates) <= set(parameters) - given:
            continue
        units = Units(center, spread, rates)
        there = family.build(units.outward(parameters), tf.float64).log_prob(center + spread * z)
        if np.allclose(here, there + units.log_volume, rtol=1e-6, equal_nan=True):
            return rates
    return None
