"""`SearchPolicy`: the facts about a family's likelihood that a search for its maximum needs; statistics of a sample."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

__all__ = ["SearchPolicy", "largest", "median", "smallest"]

Statistic = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _itself(y: np.ndarray) -> np.ndarray:
    return y


@dataclasses.dataclass(frozen=True)
class SearchPolicy:
    """The facts about a family's likelihood that a search for its maximum needs.

    Attributes:
      places, sizes, rates: in a location-scale or scale family, the names of the parameters that shift and scale with
        the sample, that only scale with it, and that scale inversely.
      line: the map from outcomes to the numbers that `places` and `sizes` shift and scale, such as `log` for a
        LogNormal; by default the identity.
      statistics: for parameters in which the likelihood is not smooth, the statistic of a sample `[n, *event]` with
        weights `[n]` at which the likelihood is largest, whatever the other parameters are.
      corner: a parameter in which the likelihood has a corner at every observation, and its maximum at one of them.
      bounds: two parameters that bound the support, if there are any. If the corner is at an end of the sample, a bound
        is there, too.
      has_corners: whether the likelihood has corners, as a function of the parameters by name; by default it always
        has.
      scattered: a parameter in which the likelihood may have a maximum at any observation, or between any two.
      several_maxima: whether the likelihood may have several maxima in the other parameters, so that one search is not
        enough.
      circular: a parameter that is an angle in radians; angles that differ by `2 pi` are the same.
      kinks: if the family is a part of another one, such as a mixture, its parameters in `statistics` or `corner`. The
        likelihood of the other family is not smooth in them, but its maximum is not at the statistic or corner.
      free_covariance: whether the covariance can become singular in any direction, so that the likelihood of a sample
        with dependent columns has no bound.
      by_row: advice for users who hold a parameter at one value per row.
      unfit: the reason why the family cannot be fitted; empty if it can.
    """

    places: tuple[str, ...] = ("loc", "low", "high")
    sizes: tuple[str, ...] = ("scale", "scale_diag", "scale_tril")
    rates: tuple[str, ...] = ("rate",)
    line: Callable[[np.ndarray], np.ndarray] = _itself
    statistics: Mapping[str, Statistic] = dataclasses.field(default_factory=dict)
    corner: str | None = None
    bounds: tuple[str, ...] = ()
    has_corners: Callable[[Mapping[str, Any]], bool] | None = None
    scattered: str | None = None
    several_maxima: bool = False
    circular: str | None = None
    kinks: tuple[str, ...] = ()
    free_covariance: bool = False
    by_row: str = ""
    unfit: str = ""

    @property
    def of_a_part(self) -> "SearchPolicy":
        """The policy of another family, such as a mixture, of which this family is a part."""
        kinks = (*self.statistics, *filter(None, [self.corner]))
        smooth: Any = {"statistics": {}, "corner": None, "bounds": (), "scattered": None, "circular": None}
        return dataclasses.replace(self, kinks=kinks, several_maxima=True, **smooth)


def smallest(y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The smallest outcomes, `[*event]`."""
    return y.min(0)


def largest(y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The largest outcomes, `[*event]`."""
    return y.max(0)


def median(y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted medians, `[*event]`."""
    order = np.argsort(y, axis=0, kind="stable")
    ordered, cumulated = np.take_along_axis(y, order, 0), np.cumsum(weights[order], axis=0)
    half = cumulated[-1] / 2
    below, above = np.argmax(cumulated >= half, axis=0)[None], np.argmax(cumulated > half, axis=0)[None]
    return (np.take_along_axis(ordered, below, 0)[0] + np.take_along_axis(ordered, above, 0)[0]) / 2
