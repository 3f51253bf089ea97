"""`SearchPolicy`: the facts about a family's likelihood that a search for its maximum needs."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

__all__ = ["SearchPolicy", "largest", "median", "smallest"]

Statistic = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _identity(y: np.ndarray) -> np.ndarray:
    return y


@dataclasses.dataclass(frozen=True)
class SearchPolicy:
    """The facts about a family's likelihood that a search for its maximum needs.

    Parameters are given by their names.

    Attributes:
      locations: the parameters that shift and scale with the sample.
      scales: the parameters that scale with the sample and do not shift.
      rates: the parameters that scale inversely with the sample.
      transform: a function of the outcomes, by default the identity. `locations` and `scales` are locations and scales
        of the transformed outcomes. For a LogNormal, `transform` is `log`.
      statistics: maps the name of a parameter to a function of a sample `[n, *event]` and weights `[n]`. The likelihood
        is not smooth in this parameter. For any values of the other parameters, the likelihood is largest if this
        parameter equals the value of the function.
      corner: a parameter. As a function of this parameter, the likelihood has a corner (a point where its slope jumps)
        at every observation, and is largest at one of the observations.
      bounds: the two parameters that are the lower and the upper end of the support, if there is a `corner`. At the
        maximum of the likelihood, the parameter `corner` may equal the smallest observation, with the lower end just
        below this observation. It may also equal the largest observation, with the upper end just above it.
      has_corners: a function of a dict of parameter values. It returns whether, for these values, the likelihood has
        corners as a function of every element of the parameter `corner`. If there is a `corner`, but `has_corners` is
        None, the likelihood has corners for all parameter values.
      scattered: a parameter. As a function of this parameter, the likelihood may have a local maximum near any
        observation, or between any two observations.
      several_maxima: whether the likelihood may have several maxima for a reason that `scattered` does not cover. Then
        one search is not enough.
      circular: the parameter that is an angle in radians. Angles that differ by `2 pi` are the same.
      kinks: the parameters in which the likelihood is not smooth, but neither `statistics` nor `corner` gives the
        maximum. For example, a mixture has kinks if the family of the components has `statistics` or a `corner`.
      free_covariance: whether the covariance can become singular in any direction. The likelihood of a sample whose
        columns are linearly dependent then has no bound.
      by_row: the advice in the error message if a user gives a fixed parameter a different value in each row.
      unfit: the reason why the family cannot be fitted. It is empty if the family can be fitted.
    """

    locations: tuple[str, ...] = ("loc", "low", "high")
    scales: tuple[str, ...] = ("scale", "scale_diag", "scale_tril")
    rates: tuple[str, ...] = ("rate",)
    transform: Callable[[np.ndarray], np.ndarray] = _identity
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
    def ends(self) -> list[str]:
        """The parameters that are ends of the support and that `statistics` contains."""
        return [name for name, statistic in self.statistics.items() if statistic in (smallest, largest)]

    @property
    def of_component(self) -> "SearchPolicy":
        """The policy of a family that is built from this family, such as a mixture with components of this family."""
        kinks = (*self.statistics, *filter(None, [self.corner]))
        cleared: Any = {"statistics": {}, "corner": None, "bounds": (), "scattered": None, "circular": None}
        return dataclasses.replace(self, kinks=kinks, several_maxima=True, **cleared)


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
