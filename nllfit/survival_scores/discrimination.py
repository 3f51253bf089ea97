"""Whether earlier events have larger predicted risks: concordance, and the area under the ROC curve at a time."""

import bisect
from typing import Any

import numpy as np

from nllfit.survival_scores.checks import as_times, check_shape, checked
from nllfit.survival_scores.curves import Train, censoring_weights

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
    """How often the row with the earlier event has the larger risk, of the pairs of which that is known.

    A pair is known if the earlier time is that of an event; of equal times, one must be censored, which is the later.
    Equal risks count half. Harrell's counts all pairs alike, Uno's by `1 / G(t)^2` of the earlier time, so that it does
    not depend on who is censored.

    Args:
      time, event, risk: `[n]`; a larger risk predicts an earlier event.
      method: "harrell" or "uno".
      tau: for Uno's, the time up to which earlier events count.
      train: for Uno's, `(time, event)` of the rows that give the censoring.

    Returns:
      A number between 0 and 1: 0.5 for risks that say nothing.

    Raises:
      ValueError: for another `method`, arrays of different lengths, or no known pair.

    Example:
      >>> survival_scores.concordance([1.0, 2.0, 3.0, 4.0], [1, 0, 1, 1], [0.9, 0.8, 0.1, 0.2])
      0.75

    Source: Harrell, Lee and Mark, Multivariable prognostic models, 1996; Uno et al., On the C-statistics for evaluating
    overall adequacy of risk prediction procedures with censored survival data, 2011.
    """
    if method not in ("harrell", "uno"):
        raise ValueError(f'`method` is {method!r}: give "harrell" or "uno".')
    time, event, risk = checked(time, event, risk=risk)
    weights = np.ones(len(time))
    if method == "uno":
        weights = censoring_weights(time, event, train) ** 2
        weights = np.where(time < (np.inf if tau is None else tau), weights, 0.0)
    known = better = 0.0
    later: list[float] = []  # the risks of rows with a later time, in order
    order = np.argsort(-time, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(time[order])) + 1):
        for row in rows[~event[rows]]:
            bisect.insort(later, risk[row])
        for row in rows[event[rows]]:
            below, up_to = bisect.bisect_left(later, risk[row]), bisect.bisect_right(later, risk[row])
            known += weights[row] * len(later)
            better += weights[row] * (below + up_to) / 2
        for row in rows[event[rows]]:
            bisect.insort(later, risk[row])
    if not known:
        raise ValueError("No pair is known to be in order: there is no event before another time.")
    return float(better / known)


def auc(time: Any, event: Any, risk: Any, times: Any, train: Train = None) -> np.ndarray:
    """The area under the ROC curve that tells rows with an event by each time from those without, `[k]`.

    `sum_{i: event by t} sum_{j: time_j > t} w_i ([risk_i > risk_j] + [risk_i = risk_j] / 2)`, divided by the same sum
    without the brackets, with `w_i = 1 / G(time_i)`.

    Args:
      time, event: `[n]`.
      risk: `[n]`, or `[n, k]` where it differs from time to time.
      times: `[k]`.
      train: `(time, event)` of the rows that give the censoring.

    Raises:
      ValueError: for arrays of other shapes, or a time before the first event or after the last time.

    Source: Uno et al., Evaluating prediction rules for t-year survivors with censored regression models, 2007.
    """
    time, event = checked(time, event)
    times = as_times(times)
    risks = np.asarray(risk, float)
    risks = np.tile(risks[:, None], [1, len(times)]) if risks.ndim == 1 else risks
    check_shape("risk", risks, (len(time), len(times)))
    weights, found = censoring_weights(time, event, train), []
    for t, now in zip(times, risks.T, strict=True):
        cases, controls = event & (time <= t), np.sort(now[time > t])
        if not cases.any() or not len(controls):
            raise ValueError(f"`times` has {t:g}, by which no row has the event or all have ended: give another.")
        ranks = (np.searchsorted(controls, now[cases], "left") + np.searchsorted(controls, now[cases], "right")) / 2
        found.append(weights[cases] @ ranks / (weights[cases].sum() * len(controls)))
    return np.array(found)
