"""Starts for Newton's method: the best of many parameter values around the sample's location and spread."""

import numpy as np
import tensorflow as tf

from nllfit.estimation.coordinates import Coordinates
from nllfit.families.mixture import MixtureFamily

__all__ = ["starts"]

_CANDIDATES = 1000
_FEW = 200


def starts(objective, seed=0):
    """Coordinates of positive likelihood on a few observations, `[s, p]`, the most likely first.

    A thousand parameter values are drawn and looked at, as the lesson looks at a grid: locations from the sample's
    quantiles, scales and rates from its size, its spread and their inverses, each moved by up to a decade.
    """
    few = objective.sample(_FEW)
    count = int(np.clip(4e6 / few.y.size, 50, _CANDIDATES))
    w = _candidates(objective.coordinates, objective.held, few.y, count, np.random.default_rng(seed))
    values = few.values(w)
    order = np.argsort(-values, kind="stable")
    finite = order[np.isfinite(values[order]) & np.all(np.isfinite(w[order]), axis=1)]
    return w[finite] if len(finite) else np.full([1, objective.coordinates.size], 0.1)


def _candidates(coordinates, held, y, count, rng):
    family = coordinates.family
    if isinstance(family, MixtureFamily):
        logits = 0.5 * rng.standard_normal([count, family.num_components])
        components = _candidates(Coordinates(family.component), held, y, count * family.num_components, rng)
        return np.concatenate([logits, components.reshape(count, -1)], -1)
    drawn = coordinates.constrained(tf.constant(rng.standard_normal([count, coordinates.size])), held)
    least = coordinates.constrained(tf.fill([coordinates.size], tf.constant(-30.0, tf.float64)), held)
    for name, value in drawn.items():
        shape = value.shape.as_list()
        if name in coordinates.positive:
            drawn[name] = _pick(_sizes(y), 1.2, shape, rng)
        elif name.startswith("log_"):
            drawn[name] = np.log(_pick(_sizes(y), 1.2, shape, rng))
        elif name.startswith(("logits", "probits")):
            continue
        elif name == "peak" or np.all(np.abs(least[name] + 30) < 1e-6):
            drawn[name] = _pick(_places(y), 0, shape, rng)
    return coordinates.from_constrained(drawn | held)


def _sizes(y):
    """For scales, rates and concentrations: one, the sample's spread and size, and their inverses."""
    size = np.abs(y).mean(0)
    size = np.where(size > 0, size, 1.0)
    spread = np.maximum(y.std(0), 1e-6 * size)
    return np.stack([np.ones_like(size), spread, size, 1 / spread, 1 / size])


def _places(y):
    """For locations and bounds: quantiles of the sample, and points outside it."""
    low, high = y.min(0), y.max(0)
    outside = [low - 0.05 * (high - low), high + 0.05 * (high - low), 2 * low - high, 2 * high - low]
    return np.stack([*np.quantile(y, [0.05, 0.25, 0.5, 0.75, 0.95], axis=0), *outside])


def _pick(units, decades, shape, rng):
    """Draws of `shape` `[count, *parameter]` from `units` `[k, *event]`, each moved by up to so many decades."""
    ones = [1] * (len(shape) - 1)
    if units.shape[1:] != tuple(shape[1:]):
        units = units.reshape(len(units), -1).mean(1).reshape(-1, *ones) * np.ones(shape[1:])
    factors = 10 ** rng.uniform(-decades, decades, [shape[0], *ones])
    return units[rng.integers(len(units), size=shape[0])] * factors
