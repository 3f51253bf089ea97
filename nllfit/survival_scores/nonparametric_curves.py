"""Kaplan-Meier survival curves, Aalen-Johansen incidence curves, and the weights for censoring."""

import dataclasses
from typing import Any

import numpy as np

from nllfit.families.arguments import is_missing
from nllfit.families.masked_and_sparse_arrays import refuse_misread
from nllfit.survival_scores.checks import check_shape, checked

__all__ = ["SurvivalCurve", "Train", "censoring_weights", "cumulative_incidence", "kaplan_meier", "remaining_share"]

Train = tuple[Any, Any] | None  # the times and events from which the probability of censoring is estimated


@dataclasses.dataclass(frozen=True)
class SurvivalCurve:
    """A step function of time.

    Attributes:
      times: the distinct observed times, `[m]`, in ascending order. The function changes only at these times.
      values: the value of the function from each of these times to the next, `[m]`.
      before: the value of the function before the first time.
      log_variances: for a Kaplan-Meier curve, Greenwood's variance of the logarithm of each value, `[m]`:
        `sum_{t_k <= t} d_k / (n_k (n_k - d_k))`, in the notation of `kaplan_meier`. It is infinite where the value is
        0. For other curves, `log_variances` is None.
    """

    times: np.ndarray
    values: np.ndarray
    before: float = 1.0
    log_variances: Any = None

    def __call__(self, times: Any) -> np.ndarray:
        """Returns the values of the function at `times`, `[k]`. The value at NaN is NaN."""
        times, steps = np.asarray(times, float), np.concatenate([[self.before], self.values])
        return np.where(np.isnan(times), np.nan, steps[np.searchsorted(self.times, times, "right")])


def kaplan_meier(time: Any, event: Any, censoring: bool = False, entry: Any = None) -> SurvivalCurve:
    """Returns the Kaplan-Meier estimate of `P(T > t)`, the probability that the event comes after `t`.

    The estimate is the `SurvivalCurve` `prod_{t_k <= t} (1 - d_k / n_k)`. At the observed time `t_k`, `n_k` rows are at
    risk, and `d_k` of them have an event.

    Args:
      time: the observed times, `[n]`.
      event: 1 for an event or 0 for censoring, `[n]`.
      censoring: whether to estimate the probability that a row is still uncensored at time `t`, instead of `P(T > t)`.
        Censoring at the time of an event counts as later than the event.
      entry: the times of delayed entry, `[n]`: a row is at risk only after its entry. By default, all rows are at risk
        from the start.

    Raises:
      ValueError: if there is no row, if a time is not finite, if an event is neither 0 nor 1, if an entry is NaN or not
        before the row's time, if the arrays differ in length, or if `censoring` is neither True nor False.

    Source: Kaplan and Meier, Nonparametric estimation from incomplete observations, 1958.
    """
    if not isinstance(censoring, bool | np.bool_):
        raise ValueError(f"`censoring` is {censoring!r}: give True or False. For times, call the returned curve.")
    entry = np.full(np.shape(time), -np.inf) if entry is None else entry
    time, event, entry = checked(time, event, entry=entry)
    late = np.flatnonzero(entry >= time)
    if len(late):
        first, last = entry[late[0]], time[late[0]]
        raise ValueError(
            f"`entry` is {first:g} in row {late[0]}, and `time` is {last:g}: give rows with `entry < time`."
        )
    times, time_index = np.unique(time, return_inverse=True)
    num_events, num_rows = np.bincount(time_index, event), np.bincount(time_index)
    not_entered = len(time) - np.searchsorted(np.sort(entry), times)
    at_risk = np.cumsum(num_rows[::-1])[::-1] - not_entered
    ended, remaining = (num_rows - num_events, at_risk - num_events) if censoring else (num_events, at_risk)
    hazard = np.divide(ended, remaining, out=np.zeros(len(times)), where=remaining > 0)
    terms = np.divide(hazard, remaining - ended, out=np.where(ended > 0, np.inf, 0.0), where=remaining > ended)
    return SurvivalCurve(times, np.cumprod(1 - hazard), log_variances=np.cumsum(terms))


def cumulative_incidence(time: Any, cause: Any, of: Any) -> SurvivalCurve:
    """Returns the Aalen-Johansen estimate of the probability that an event of one cause happens by `t`.

    The estimate is a `SurvivalCurve` that starts at 0. Other causes compete: after an event of another cause, the event
    of this cause can no longer happen.

    Args:
      time: the observed times, `[n]`.
      cause: the number 0 for censoring, otherwise the label of the event's cause, `[n]`.
      of: the label of the cause whose events are counted.

    Raises:
      ValueError: if no row has the cause `of`, if a cause is missing, if a cause is the text "0", if a time is not
        finite, or if the arrays differ in length.

    Source: Aalen and Johansen, An empirical transition matrix for non-homogeneous Markov chains, 1978.
    """
    refuse_misread("`cause`", cause)
    cause = np.asarray(cause, object)  # otherwise NumPy would turn 0 among labels into the text "0"
    check_shape("cause", cause, np.shape(time))
    missing = is_missing(cause)
    unclear = missing if missing.any() else cause == "0"
    if np.any(unclear):
        raise ValueError(
            f"`cause` holds {cause[unclear][0]!r}: give the number 0 for a censored row, or an event's label."
        )
    if of == 0 or not np.any(cause == of):
        causes = sorted({*cause[cause != 0]}, key=str)
        raise ValueError(f"`of` is {of!r}, which no row has in `cause`: give one of {causes}.")
    time, _ = checked(time, cause != 0)
    times, time_index = np.unique(time, return_inverse=True)
    num_rows, num_events = np.bincount(time_index), np.bincount(time_index, cause != 0)
    at_risk = np.cumsum(num_rows[::-1])[::-1]
    survival = np.concatenate([[1.0], np.cumprod(1 - num_events / at_risk)[:-1]])
    return SurvivalCurve(times, np.cumsum(survival * np.bincount(time_index, cause == of) / at_risk), before=0.0)


def remaining_share(time: Any, event: Any, train: Train) -> SurvivalCurve:
    """Returns the Kaplan-Meier estimate of the probability that a row is still uncensored at a given time.

    The estimate is computed from `train`, or from `time` and `event` if `train` is None.
    """
    times, events = (time, event) if train is None else train
    return kaplan_meier(times, events, censoring=True)


def censoring_weights(time, event, train, counts):
    """Returns the weights `[n]` of the rows: `1 / G(time)` for rows with an event where `counts` is True, else 0.

    `G` is the curve that `remaining_share` returns: the estimated probability that a row is still uncensored at a given
    time.
    """
    remaining, counts = remaining_share(time, event, train)(time), counts & event
    late = time[counts & (remaining <= 0)]
    if len(late):
        raise ValueError(
            f"The event at {late[0]:g} has no weight, because all rows of `train` are censored by then: score only "
            f"earlier times, or leave out such late events."
        )
    return np.divide(1.0, remaining, out=np.zeros(len(time)), where=counts)
