"""The survival curve of a sample without any family: Kaplan and Meier's, and Turnbull's of intervals."""

import dataclasses

import numpy as np

__all__ = ["SurvivalSteps", "survival_steps"]

_Z = 1.959963984540054
_RISE = 1e-6  # nats a row that the likelihood may still rise by
_STEPS = 20_000


@dataclasses.dataclass(frozen=True)
class SurvivalSteps:
    """A curve that is 1 at first, and falls at some times.

    Attributes:
      times: at which it falls, `[k]`, rising.
      heights: from each of them on, `[k]`.
      interval: the lower and the upper ends of a 95 % interval of each height, each `[k]`; None where none is known.
      estimator: its name.
    """

    times: np.ndarray
    heights: np.ndarray
    interval: tuple[np.ndarray, np.ndarray] | None
    estimator: str

    def at(self, time: np.ndarray) -> np.ndarray:
        """The height at times, of any shape."""
        return np.append(1.0, self.heights)[np.searchsorted(self.times, time, side="right")]


def survival_steps(y: np.ndarray) -> SurvivalSteps:
    """The nonparametric maximum-likelihood estimate of `P(T > t)`.

    Times that are seen, or censored on the right, have Kaplan and Meier's, `prod over t_i <= t of (1 - d_i / n_i)` for
    `d_i` events among the `n_i` at risk, with Greenwood's interval of `log(-log S)`. Intervals and times censored on
    the left have Turnbull's, which falls somewhere between two numbers: here at the later of the two.

    Args:
      y: pairs `[n, 2]` as a `Censored` family takes them; of the former also `[n, 3]`, each with the time before which
        it would not have been recorded.
    """
    lower, upper = y[:, 0], y[:, 1]
    if np.all((lower == upper) | np.isposinf(upper)):
        return _kaplan_meier(lower, lower == upper, y[:, 2] if y.shape[1] == 3 else np.full(len(y), -np.inf))
    return _turnbull(lower, upper)


def _kaplan_meier(time, seen, entry):
    times, events = np.unique(time[seen], return_counts=True)
    at_risk = np.array([np.sum((entry < t) & (t <= time)) for t in times])
    heights = np.cumprod(1 - events / at_risk)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.sqrt(np.cumsum(events / (at_risk * (at_risk - events)))) / np.log(heights)
        low, high = (heights ** np.exp(side * _Z * error) for side in (-1, 1))
    return SurvivalSteps(times, heights, (low, high), "Kaplan-Meier")


def _turnbull(lower, upper):
    """By the steps of an EM algorithm, which end where the likelihood, a concave one, cannot rise by more."""
    seen = lower == upper  # from just before it to itself; an interval from just after its lower end to its upper one
    starts, ends = np.stack([lower, np.where(seen, 0, 2)], 1), np.stack([upper, np.ones(len(upper))], 1)
    places, rank = np.unique(np.concatenate([starts, ends]), axis=0, return_inverse=True)
    first, last = np.split(rank.reshape(-1), 2)
    # All that falls does so from a start to the next place, where that is an end.
    is_start, is_end = (np.isin(np.arange(len(places)), ranks) for ranks in (first, last))
    falls = np.flatnonzero(is_start[:-1] & is_end[1:])
    inside = ((first[:, None] <= falls) & (falls < last[:, None])).astype(float)
    shares = np.full(len(falls), 1 / len(falls))
    for _ in range(_STEPS):
        gains = inside.T @ (1 / (inside @ shares)) / len(inside)
        if gains.max() < 1 + _RISE:
            break
        shares = shares * gains
    times = places[falls + 1, 0]
    finite = np.isfinite(times)
    return SurvivalSteps(times[finite], 1 - np.cumsum(shares)[finite], None, "Turnbull")
