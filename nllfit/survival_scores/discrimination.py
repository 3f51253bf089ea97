"""Discrimination of predicted risks: the concordance index, and the area under the ROC curve at a given time."""

import bisect
from typing import Any

import numpy as np

from nllfit.families.masked_and_sparse_arrays import refuse_misread
from nllfit.survival_scores.checks import as_floats, as_times, checked
from nllfit.survival_scores.nonparametric_curves import Train, censoring_weights

__all__ = ["auc", "concordance"]


def concordance(
    time: Any,
    event: Any,
    risk: Any,
    *,
    method: str = "harrell",
    tau: float | None = None,
    train: Train = None,
) -> float:
    """Returns the concordance index, the share of comparable pairs in which the earlier event has the larger risk.

    A pair of rows is comparable if the row with the earlier time has an event. If the times are equal, the pair is
    comparable if one row has an event and the other is censored; the censored row counts as later. A pair with equal
    risks counts one half.

    Harrell's index gives all pairs the same weight. Uno's index gives a pair the weight `1 / G(t)^2`. Here `t` is the
    earlier time of the pair, and `G(t)` is the estimated probability that a row is still uncensored at time `t`. So in
    large samples Uno's index does not depend on the censoring.

    Args:
      time, event: the observed times `[n]`, and 1 for an event or 0 for censoring, `[n]`.
      risk: the predicted risks, `[n]`; a larger risk predicts an earlier event.
      method: "harrell" or "uno".
      tau: if given, only pairs whose earlier time is below `tau` count.
      train: `(time, event)` of the rows from which "uno" estimates `G`; by default the scored rows.

    Returns:
      A number between 0 and 1; 0.5 for uninformative risks.

    Raises:
      ValueError: if one of these is true:
        - `method` is unknown, or the arrays differ in length.
        - A time is not finite, an event is neither 0 nor 1, or a risk is NaN.
        - No pair is comparable.
        - `method` is "uno", and `G` is 0 at the time of an event before `tau`.

    Example:
      >>> survival_scores.concordance([1.0, 2.0, 3.0, 4.0], [1, 0, 1, 1], [0.9, 0.8, 0.1, 0.2])
      0.75

    Source: Harrell, Lee and Mark, Multivariable prognostic models, 1996; Uno et al., On the C-statistics for evaluating
    overall adequacy of risk prediction procedures with censored survival data, 2011.
    """
    if method not in ("harrell", "uno"):
        raise ValueError(f'`method` is {method!r}: give "harrell" or "uno".')
    time, event, risk = checked(time, event, risk=risk)
    counts = time < (np.inf if tau is None else tau)
    weights = censoring_weights(time, event, train, counts) ** 2 if method == "uno" else counts.astype(float)
    comparable = concordant = 0.0
    later: list[float] = []  # the sorted risks of the rows that count as later
    order = np.argsort(-time, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(time[order])) + 1):
        for row in rows[~event[rows]]:
            bisect.insort(later, risk[row])
        for row in rows[event[rows]]:
            below, up_to = bisect.bisect_left(later, risk[row]), bisect.bisect_right(later, risk[row])
            comparable += weights[row] * len(later)
            concordant += weights[row] * (below + up_to) / 2
        for row in rows[event[rows]]:
            bisect.insort(later, risk[row])
    if not comparable:
        raise ValueError("No pair of rows is comparable: give at least one event before the time of another row.")
    return float(concordant / comparable)


def auc(time: Any, event: Any, risk: Any, times: Any, train: Train = None) -> np.ndarray:
    """Returns the time-dependent area under the ROC curve at each time, `[k]`.

    A pair consists of a row with an event by `t` and a row with a time after `t`. The area is the weighted share of
    pairs in which the first row has the larger risk; equal risks count one half:

        sum_{i: event by t} sum_{j: time_j > t} w_i ([risk_i > risk_j] + [risk_i = risk_j] / 2)
        / sum_{i: event by t} sum_{j: time_j > t} w_i

    The weights are `w_i = 1 / G(time_i)`, where `G(t)` is the estimated probability that a row is still uncensored at
    time `t`. A bracket such as `[risk_i > risk_j]` is 1 if the condition is true, else 0.

    Args:
      time, event: the observed times `[n]`, and 1 for an event or 0 for censoring, `[n]`.
      risk: the predicted risks `[n]`, or `[n, k]` if they differ between `times`.
      times: the times at which to score, `[k]`.
      train: `(time, event)` of the rows from which `G` is estimated; by default the scored rows.

    Raises:
      ValueError: if one of these is true:
        - A shape is wrong, a time is not finite, an event is neither 0 nor 1, or a risk is NaN.
        - One of `times` is before the first event, or is at or after the last observed time.
        - `G` is 0 at the time of an event that is at or before the largest of `times`.

    Source: Uno et al., Evaluating prediction rules for t-year survivors with censored regression models, 2007.
    """
    time, event = checked(time, event)
    times = as_times(times)
    refuse_misread("`risk`", risk)
    risks = np.asarray(risk)
    risks = np.tile(risks[:, None], [1, len(times)]) if risks.ndim == 1 else risks
    risks = as_floats("risk", risks, (len(time), len(times)))
    weights, areas = censoring_weights(time, event, train, time <= times.max(initial=-np.inf)), []
    for t, column in zip(times, risks.T, strict=True):
        cases, controls = event & (time <= t), np.sort(column[time > t])
        if not cases.any() or not len(controls):
            raise ValueError(f"`times` has {t:g}, by which no row has an event, or all rows have ended: leave it out.")
        ranks = (
            np.searchsorted(controls, column[cases], "left") + np.searchsorted(controls, column[cases], "right")
        ) / 2
        areas.append(weights[cases] @ ranks / (weights[cases].sum() * len(controls)))
    return np.array(areas)
