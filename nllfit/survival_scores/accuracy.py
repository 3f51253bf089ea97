"""Accuracy of predicted survival probabilities: the Brier score, and calibration at one time."""

import dataclasses
from typing import Any

import numpy as np

from nllfit.families.arguments import as_count
from nllfit.survival_scores.checks import as_floats, as_times, check_probabilities, checked
from nllfit.survival_scores.nonparametric_curves import Train, censoring_weights, kaplan_meier, remaining_share

__all__ = ["CalibrationAtTime", "brier_score", "calibration_at", "integrated_brier_score"]


def brier_score(time: Any, event: Any, survival: Any, times: Any, train: Train = None) -> np.ndarray:
    """Returns the Brier score of predicted survival probabilities at each time, `[k]`. Smaller is better.

    The score is `mean_i(S_i(t)^2 [event by t] / G(time_i) + (1 - S_i(t))^2 [time_i > t] / G(t))`. A bracket `[...]` is
    1 if the condition is true for row `i`, else 0. `S_i` is the prediction for row `i`, and `G(t)` is the estimated
    probability that a row is still uncensored at time `t`.

    Args:
      time, event: the observed times `[n]`, and 1 for an event or 0 for censoring, `[n]`.
      survival: the predicted probabilities that the event comes after each of `times`, `[n, k]`.
      times: the times at which to score, `[k]`.
      train: `(time, event)` of the rows from which `G` is estimated; by default the scored rows.

    Raises:
      ValueError: if a shape is wrong, an event is neither 0 nor 1, a time is not finite, `survival` contains a number
        that is not a probability, or `G` is 0 at one of `times` or at the time of an event. Events after the latest
        of `times` do not count.

    Source: Graf et al., Assessment and comparison of prognostic classification schemes for survival data, 1999.
    """
    time, event = checked(time, event)
    times = as_times(times)
    probabilities = as_floats("survival", survival, (len(time), len(times)))
    check_probabilities("survival", probabilities)
    remaining = remaining_share(time, event, train)(times)
    if not (remaining > 0).all():
        late = times[remaining <= 0][0]
        raise ValueError(f"`times` has {late:g}, by which all rows are censored: give earlier times.")
    weights = censoring_weights(time, event, train, time <= times.max(initial=-np.inf))
    ended = (time[:, None] <= times) * weights[:, None]
    return np.mean(probabilities**2 * ended + (1 - probabilities) ** 2 * (time[:, None] > times) / remaining, 0)


def integrated_brier_score(time: Any, event: Any, survival: Any, times: Any, train: Train = None) -> float:
    """Returns the time average of `brier_score` from the first to the last of `times`.

    The trapezoidal rule computes the average. The arguments and errors are those of `brier_score`. There must be at
    least two `times`, in ascending order.
    """
    times = as_times(times)
    if len(times) < 2 or not (np.diff(times) > 0).all():
        raise ValueError("`times` is not a list of at least two ascending times: give a grid of times.")
    scores = brier_score(time, event, survival, times, train)
    return float(np.diff(times) @ (scores[1:] + scores[:-1]) / 2 / (times[-1] - times[0]))


@dataclasses.dataclass(frozen=True)
class CalibrationAtTime:
    """Predicted and observed survival of groups of rows at one time. The rows of a group have similar predictions.

    Attributes:
      predicted: the mean prediction of each group, `[g]`.
      observed: the Kaplan-Meier estimate of each group, `[g]`. It is NaN if the row with the latest time in the group
        is censored before the time of the comparison, because the Kaplan-Meier estimate ends there.
      standard_errors: the standard errors of `observed`, `[g]`, from Greenwood's formula. They are NaN where `observed`
        is NaN.
      num_rows: the number of rows of each group, integers `[g]`.
    """

    predicted: np.ndarray
    observed: np.ndarray
    standard_errors: np.ndarray
    num_rows: np.ndarray


def calibration_at(time: Any, event: Any, survival: Any, t: float, num_groups: int = 10) -> CalibrationAtTime:
    """Compares predicted with observed survival at one time. Rows with similar predictions form groups.

    Args:
      time, event: the observed times `[n]`, and 1 for an event or 0 for censoring, `[n]`.
      survival: the predicted probabilities that the event comes after `t`, `[n]`.
      t: the time.
      num_groups: the number of groups. Their sizes are about equal.

    Returns:
      A `CalibrationAtTime`, whose groups are in ascending order of the predictions.

    Raises:
      ValueError: if one of these is true:
        - The arrays differ in length, a time is not finite, or an event is neither 0 nor 1.
        - `num_groups` is not between 1 and the number of rows.
        - `survival` contains a number that is not a probability, or `t` is after the last observed time.
    """
    time, event, survival = checked(time, event, survival=survival)
    num_groups = as_count("num_groups", num_groups, 1, highest=len(time))
    check_probabilities("survival", survival)
    if not t <= time.max():
        raise ValueError(f"`t` is {t:g}, but the last time is {time.max():g}: give an earlier one.")
    groups = np.array_split(np.argsort(survival, kind="stable"), num_groups)
    rows = []
    for group in groups:
        curve = kaplan_meier(time[group], event[group])
        observed, variance = float(curve(t)), np.append(0.0, curve.log_variances)[np.sum(curve.times <= t)]
        if observed > 0 and t > time[group].max():
            observed = np.nan
        error = 0.0 if observed == 0 else observed * np.sqrt(variance)  # 0 * inf would be NaN
        rows.append((survival[group].mean(), observed, error, len(group)))
    return CalibrationAtTime(*map(np.array, zip(*rows, strict=True)))
