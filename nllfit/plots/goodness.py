"""Figures of how well a distribution fits a sample: quantiles, probabilities and survival beside what was observed."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from numpy.typing import ArrayLike

from nllfit.estimation.estimates import Estimate
from nllfit.plots.axes import Axes
from nllfit.quantiles import cdf, quantile, survival

__all__ = ["pp", "qq", "survival_curve"]

_LEVEL = 0.95  # of every band
_RANKS = 200  # at which a band is laid, and checked
_SAMPLES = 2000
_BAND = {"color": "0.5", "alpha": 0.25, "linewidth": 0, "label": "95 % of samples are inside"}
_TRUE = {"linestyle": "--", "linewidth": 1, "color": "0.4"}
_DOTS = {"marker": ".", "linestyle": "none", "color": "tab:blue", "markersize": 5}


def qq(ax: Axes, estimate: Estimate) -> Axes:
    """Draws the sample's sorted outcomes against the quantiles of the distribution fitted to it.

    Where the family is true the dots are about on the diagonal; at the ends they show tails that are too heavy or too
    light. The band holds *all* of the dots in 95 of 100 samples from the fitted distribution: that of the `i`-th of `n`
    is between two quantiles of a Beta(i, n + 1 - i), of one level for all `i`, sent through the fitted quantiles. Since
    the fit has come near to the sample, a dot outside says more than that.

    Args:
      ax: a `matplotlib.axes.Axes`.
      estimate: an `Estimate` of a scalar, continuous family.

    Returns:
      `ax`.

    Raises:
      ValueError: if the outcomes are vectors or counts, or weighted.

    Example:
      >>> ax = qq(ax, maximum_likelihood("Gamma", [2.0, 3.0, 5.0, 4.0]))

    Source: Wilk and Gnanadesikan, Probability plotting methods for the analysis of data, 1968; Aldor-Noiman et al., The
    power to see: a new graphical test of normality, 2013.
    """
    y = _sample(estimate)
    ranks, low, high = _band(len(y))
    positions = (np.arange(len(y)) + 0.5) / len(y)
    expected, ends = (np.asarray(quantile(estimate.distribution, q)) for q in (positions, np.concatenate([low, high])))
    at = expected[ranks - 1]
    ax.fill_between(at, *np.split(ends, 2), **_BAND)
    ax.plot(expected[[0, -1]], expected[[0, -1]], **_TRUE, label="as fitted")
    ax.plot(expected, y, **_DOTS, label=f"{len(y)} outcomes")
    ax.set(xlabel=f"quantile of the fitted {estimate.family.name}", ylabel="observed outcome")
    ax.legend(fontsize="small")
    return ax


def pp(ax: Axes, estimate: Estimate) -> Axes:
    """Draws the share of outcomes up to each of a sample against the probability that the fitted distribution gives it.

    It is `qq` on the scale of probabilities, which shows the middle of a distribution better than its tails.

    Args:
      ax: a `matplotlib.axes.Axes`.
      estimate: as for `qq`.

    Returns:
      `ax`.

    Raises:
      ValueError: as `qq`.

    Example:
      >>> ax = pp(ax, maximum_likelihood("Gamma", [2.0, 3.0, 5.0, 4.0]))

    Source: as `qq`.
    """
    y = _sample(estimate)
    ranks, low, high = _band(len(y))
    positions = (np.arange(len(y)) + 0.5) / len(y)
    ax.fill_between(positions[ranks - 1], low, high, **_BAND)
    ax.plot([0, 1], [0, 1], **_TRUE, label="as fitted")
    ax.plot(positions, np.asarray(cdf(estimate.distribution, y)), **_DOTS, label=f"{len(y)} outcomes")
    ax.set(xlabel="share of the outcomes up to it", ylabel=f"CDF of the fitted {estimate.family.name}")
    ax.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
    ax.legend(fontsize="small")
    return ax


def survival_curve(
    ax: Axes, time: ArrayLike, observed: ArrayLike | None = None, estimates: Sequence[Estimate] = ()
) -> Axes:
    """Draws the Kaplan-Meier curve of times, some of them censored on the right, and fitted survival curves over it.

    `S(t) = prod over times t_i <= t of (1 - d_i / n_i)` for `d_i` events among the `n_i` still at risk, with a 95 %
    interval at each time, by Greenwood's variance of `log(-log S)`. A tick marks a censored time.

    Args:
      ax: a `matplotlib.axes.Axes`.
      time: `[n]`, of the event, or until when there was none.
      observed: `[n]`, whether the event was seen; by default all were.
      estimates: `Estimate`s, or a `tfd.Distribution` each, of a scalar.

    Returns:
      `ax`.

    Raises:
      ValueError: if the two are not of one length, a time is not finite, or no event was seen.

    Example:
      >>> ax = survival_curve(ax, [2.0, 3.0, 5.0, 4.0], [True, True, False, True])

    Source: Kaplan and Meier, Nonparametric estimation from incomplete observations, 1958.
    """
    time = np.asarray(time, np.float64)
    seen = np.ones(time.shape, bool) if observed is None else np.asarray(observed)
    if time.ndim != 1 or seen.shape != time.shape or not np.all(np.isfinite(time)):
        raise ValueError(f"`time` has shape {time.shape} and `observed` {seen.shape}: give finite times, a flag each.")
    seen = seen.astype(bool)
    if not seen.any():
        raise ValueError("`observed` has no event, so there is no curve to draw: look at its sign.")
    times, events = np.unique(time[seen], return_counts=True)
    at_risk = np.array([np.sum(time >= t) for t in times])
    curve = np.cumprod(1 - events / at_risk)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.sqrt(np.cumsum(events / (at_risk * (at_risk - events)))) / np.log(curve)
        low, high = (curve ** np.exp(side * 1.959963984540054 * error) for side in (-1, 1))
    start = min(0.0, times[0])
    steps = np.concatenate([[start], times, [time.max()]])
    heights, low, high = (np.concatenate([[1.0], part, part[-1:]]) for part in (curve, low, high))
    ax.fill_between(steps, low, high, step="post", color="0.5", alpha=0.25, linewidth=0, label="95 % interval")
    ax.step(steps, heights, where="post", color="0.2", label=f"Kaplan-Meier, {seen.sum()} of {len(time)} seen")
    censored = time[~seen]
    if len(censored):
        places = np.searchsorted(times, censored, side="right")
        ax.plot(censored, np.append(1.0, curve)[places], "|", color="0.2", markersize=7, label="censored")
    grid = np.linspace(start, time.max(), 300)[1:]
    for estimate in estimates:
        fitted = getattr(estimate, "distribution", estimate)
        label = estimate.family.label if isinstance(estimate, Estimate) else fitted.name
        ax.plot(grid, np.asarray(survival(fitted, grid)), label=label)
    ax.set(xlabel="time", ylabel="share without the event", ylim=(-0.03, 1.03))
    ax.legend(fontsize="small")
    return ax


def _sample(estimate):
    problem = estimate.problem
    if problem.family.event_shape or problem.family.is_discrete or np.ptp(problem.weights) > 0:
        kind = "vectors" if problem.family.event_shape else "counts" if problem.family.is_discrete else "weighted"
        raise ValueError(f"The outcomes of {problem.family.label} are {kind}: quantiles are of real numbers alone.")
    return np.sort(problem.y)


def _band(n):
    """Ranks `[k]`, and between which probabilities the outcomes of those ranks are, all of them in 95 % of samples."""
    ranks = np.unique(np.linspace(1, n, min(n, _RANKS)).round().astype(int))
    uniform = np.sort(np.random.default_rng(0).uniform(size=[_SAMPLES, n]), axis=1)[:, ranks - 1]
    a, b = ranks.astype(np.float64), (n + 1 - ranks).astype(np.float64)
    below = tf.math.betainc(*np.broadcast_arrays(a, b, uniform)).numpy()
    rarest = np.min(np.minimum(below, 1 - below), axis=1)
    level = np.quantile(rarest, 1 - _LEVEL)
    low, high = (np.asarray(tfp.math.betaincinv(a, b, np.full(len(ranks), q))) for q in (level, 1 - level))
    return ranks, low, high
