"""What a search for the maximum of a likelihood has to know of a family, and statistics that maximise one."""

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
    """What a search for the maximum of a family's likelihood has to know.

    Attributes:
      places, sizes, rates: of a location-scale family or a scale family, the parameters that move and stretch with the
        sample, those that only stretch, and those that shrink.
      line: the map from outcomes to the numbers which `places` and `sizes` move and stretch, as `log` of a LogNormal's;
        by default the outcomes themselves.
      statistics: parameters in which the likelihood is not smooth: whatever the others are, it is largest at these
        statistics of a sample `[n, *event]` with weights `[n]`.
      corner: a parameter in which it has a corner at every observation, and its maximum at one of them.
      bounds: the two parameters, if any, that bound the support, one of which meets the corner at an end of the sample.
      has_corners: whether it has them, from the parameters by name; by default it always has.
      scattered: a parameter in which it may have a maximum at, or between, any two observations.
      several_maxima: whether it may have several maxima in its other parameters, so that one climb is not enough.
      circular: a parameter that is an angle in radians; angles that differ by `2 pi` are the same.
      kinks: such parameters where the family is a part of another, whose maximum is elsewhere.
      free_covariance: whether its covariance can become singular in any direction, so that the likelihood of a sample
        with dependent columns has no bound.
      by_row: what to do if a parameter is known for each row, in words.
      unfit: why a search for the maximum would not end; empty if it does.
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
        """The policy if the family is a part of another, as of a mixture."""
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
