"""Nonparametric survival curves: the Kaplan-Meier estimate, and Turnbull's estimate for interval-censored times."""

import dataclasses

import numpy as np

from nllfit.plots.axes import Z_95
from nllfit.survival_scores import kaplan_meier

__all__ = ["SurvivalSteps", "survival_steps"]

# The EM algorithm stops if the mean log-likelihood per row, in nats, cannot rise by more than this.
_MOST_RISE = 1e-6
# The maximum number of iterations of the EM algorithm.
_STEPS = 20_000


@dataclasses.dataclass(frozen=True)
class SurvivalSteps:
    """A step function that starts at 1 and falls at certain times.

    Attributes:
      times: the times at which the function falls, `[k]`, in ascending order.
      heights: the value of the function from each of these times to the next, `[k]`.
      interval: the ends of the 95% interval of each height, two arrays `[k]`; None for Turnbull's estimate.
      estimator: "Kaplan-Meier" or "Turnbull".
    """

    times: np.ndarray
    heights: np.ndarray
    interval: tuple[np.ndarray, np.ndarray] | None
    estimator: str

    def at(self, time: np.ndarray) -> np.ndarray:
        """Returns the values of the function at `time`, an array of any shape."""
        return np.append(1.0, self.heights)[np.searchsorted(self.times, time, side="right")]


def survival_steps(y: np.ndarray) -> SurvivalSteps:
    """Returns the nonparametric maximum-likelihood estimate of `P(T > t)`.

    If all times are exact or right-censored, the result is the Kaplan-Meier estimate, `prod_(t_i <= t) (1 - d_i / n_i)`
    for `d_i` events at time `t_i` among the `n_i` rows at risk. The interval comes from Greenwood's variance of
    `log(-log S)`. If some times are left- or interval-censored, the result is Turnbull's estimate. The data determine
    only how much Turnbull's estimate falls within certain intervals, but not where. The returned function falls at the
    upper ends of these intervals.

    Args:
      y: pairs `[n, 2]`, the outcomes of a `Censored` family. If all times are exact or right-censored, `y` may be
        `[n, 3]`. The third number is the time of delayed entry, before which the row was not observed.
    """
    lower, upper = y[:, 0], y[:, 1]
    if np.all((lower == upper) | np.isposinf(upper)):
        return _kaplan_meier(lower, lower == upper, y[:, 2] if y.shape[1] == 3 else np.full(len(y), -np.inf))
    return _turnbull(lower, upper)


def _kaplan_meier(time, is_event, entry):
    at_risk = np.isfinite(time) & (entry < time)  # the other rows are never at risk
    curve = kaplan_meier(time[at_risk], is_event[at_risk], entry=entry[at_risk])
    falls = np.isin(curve.times, time[is_event])
    heights, variances = curve.values[falls], curve.log_variances[falls]
    with np.errstate(divide="ignore", invalid="ignore"):
        standard_error = np.sqrt(variances) / np.log(heights)
        low, high = (heights ** np.exp(side * Z_95 * standard_error) for side in (-1, 1))
    return SurvivalSteps(curve.times[falls], heights, (low, high), "Kaplan-Meier")


def _turnbull(lower, upper):
    """Computes Turnbull's estimate by an EM algorithm.

    The estimate is a probability mass for each of several disjoint intervals. The gain of an interval is the derivative
    of the mean log-likelihood per row with respect to the mass of the interval. Each iteration multiplies each mass by
    the gain of its interval. The mean log-likelihood is concave, the masses sum to 1, and `sum(gains * masses)` is 1.
    So the mean log-likelihood can still rise by at most `max(gains) - 1`. The algorithm stops if this bound is small.
    """
    # An endpoint is a pair of a time and a number: 0 for just before the time, 1 for the time, 2 for just after it. An
    # exact time is the interval from `(time, 0)` to `(time, 1)`. A censored time is the interval from `(lower, 2)` to
    # `(upper, 1)`.
    is_exact = lower == upper
    starts, ends = np.stack([lower, np.where(is_exact, 0, 2)], 1), np.stack([upper, np.ones(len(upper))], 1)
    endpoints, rank = np.unique(np.concatenate([starts, ends]), axis=0, return_inverse=True)
    first, last = np.split(rank.reshape(-1), 2)
    # The estimate has mass only between the start of an interval and the next endpoint, if this is an interval's end.
    is_start, is_end = (np.isin(np.arange(len(endpoints)), ranks) for ranks in (first, last))
    mass_indices = np.flatnonzero(is_start[:-1] & is_end[1:])
    inside = ((first[:, None] <= mass_indices) & (mass_indices < last[:, None])).astype(float)
    masses = np.full(len(mass_indices), 1 / len(mass_indices))
    for _ in range(_STEPS):
        gains = inside.T @ (1 / (inside @ masses)) / len(inside)
        if gains.max() < 1 + _MOST_RISE:
            break
        masses = masses * gains
    times = endpoints[mass_indices + 1, 0]
    finite = np.isfinite(times)
    return SurvivalSteps(times[finite], 1 - np.cumsum(masses)[finite], None, "Turnbull")
