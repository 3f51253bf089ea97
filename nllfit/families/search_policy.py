"""`SearchPolicy`, the facts about a family's likelihood that a search for its maximum needs, and sample statistics."""

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
      places, sizes, rates: in a location-scale or scale family, the parameters that shift and scale with the sample,
        those that only scale with it, and those that scale inversely.
      line: the map from outcomes to the numbers that `places` and `sizes` shift and scale, such as `log` for a
        LogNormal; by default the identity.
      statistics: parameters in which the likelihood is not smooth. Whatever the other parameters, it is largest at
        these statistics of a sample `[n, *event]` with weights `[n]`.
      corner: a parameter in which the likelihood has a corner at every observation, and its maximum at one of them.
      bounds: the two parameters, if any, that bound the support; one of them meets the corner at an end of the sample.
      has_corners: a function of the parameters by name: whether the likelihood has corners; by default it always has.
      scattered: a parameter in which the likelihood may have a maximum at any observation, or between any two.
      several_maxima: whether the likelihood may have several maxima in the other parameters, so that one climb is not
        enough.
      circular: a parameter that is an angle in radians; angles that differ by `2 pi` are the same.
      kinks: if the family is a part of another one, its parameters in `statistics` or `corner`. The likelihood of the
        other family has its maximum elsewhere.
      free_covariance: whether its covariance can become singular in any direction, so that the likelihood of a sample
        with dependent columns has no bound.
      by_row: advice if a parameter is known for each row.
      unfit: the reason why a search for the maximum would not end; empty if it would.
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
        """The policy if the family is a part of another one, such as a mixture."""
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
