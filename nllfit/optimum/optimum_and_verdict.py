"""The function that Newton's method maximises, and the result of a search: an `Optimum` with a `Verdict`."""

import dataclasses
import enum
from typing import NamedTuple, Protocol

import numpy as np

__all__ = ["Derivatives", "Function", "Optimum", "Verdict"]


class Verdict(enum.Enum):
    """The result of a search in one word."""

    MAXIMUM = enum.auto()
    AT_INFINITY = enum.auto()  # the function rises without end along a direction
    HIDDEN = enum.auto()  # rounding errors hide the maximum
    FLAT = enum.auto()  # the information is not positive definite
    NOT_FINITE = enum.auto()  # the function or a derivative is not finite
    STUCK = enum.auto()  # no step increases the function
    CUT_SHORT = enum.auto()  # the number of steps was not enough
    OUTSIDE = enum.auto()  # an outcome is outside the support of the fit; `estimation.search` sets this verdict


class Derivatives(NamedTuple):
    """A mean log-likelihood at a point, its gradient `[p]` and its Hessian `[p, p]`.

    `exact` is False for finite differences. `value` is -inf instead of NaN, so that values can be compared.
    """

    value: float
    gradient: np.ndarray
    hessian: np.ndarray
    exact: bool

    @property
    def finite(self) -> bool:
        """Whether all numbers are finite."""
        return all(np.all(np.isfinite(part)) for part in self[:3])


class Function(Protocol):
    """The mean log-likelihood of a sample, as a function of `p` coordinates.

    Attributes:
      total_weight: the sum of the weights. The log-likelihood of the sample is `total_weight` times the mean.
      are_logarithms: which coordinates are the logarithms of positive numbers, `[p]`.
      rank: `p` minus the number of independent directions along which the likelihood is constant.
    """

    @property
    def total_weight(self) -> float: ...

    @property
    def are_logarithms(self) -> np.ndarray: ...

    @property
    def rank(self) -> int: ...

    def value(self, w: np.ndarray) -> float:
        """Returns the mean log-likelihood at the point `w` `[p]`, or -inf if it is not finite."""

    def values(self, w: np.ndarray) -> np.ndarray:
        """Returns the mean log-likelihoods `[s]` at the points `w` `[s, p]`."""

    def derivatives(self, w: np.ndarray) -> Derivatives:
        """Returns the mean log-likelihood at the point `w` `[p]`, and its derivatives."""


@dataclasses.dataclass(frozen=True)
class Optimum:
    """The result of a search by Newton's method.

    Attributes:
      w: the point at which the search ended, `[p]`.
      value: the mean log-likelihood at `w`.
      information: the observed information `[p, p]`: minus the Hessian of the log-likelihood of the whole sample.
      rank: as in `Function`.
      verdict: tells whether `w` is a maximum, and if not, why.
      direction: the direction `[p]` along which the log-likelihood rises without end, or zeros.
      shortfall: for the verdict HIDDEN, the rounding error of the log-likelihood in nats. For NOT_FINITE, STUCK and
        CUT_SHORT, the distance from the maximum in standard errors.
      note: a remark that is added to the text of the verdict.
    """

    w: np.ndarray
    value: float
    information: np.ndarray
    rank: int
    verdict: Verdict
    direction: np.ndarray
    shortfall: float = 0.0
    note: str = ""

    @property
    def converged(self) -> bool:
        """Whether the search found a maximum."""
        return self.verdict is Verdict.MAXIMUM
