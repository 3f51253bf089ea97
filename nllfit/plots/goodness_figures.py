"""Figures of goodness of fit. They compare observed with fitted quantiles, probabilities and survival."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from numpy.typing import ArrayLike
from tensorflow_probability import distributions as tfd

from nllfit.cdf_and_quantiles import cdf, quantile, survival
from nllfit.estimation.estimates import Estimate
from nllfit.families.arguments import as_array
from nllfit.families.censored_pairs import interval_censored, right_censored
from nllfit.plots.axes import Axes
from nllfit.plots.nonparametric_survival import survival_steps

__all__ = ["draw_quantiles", "pp", "qq", "rank_band", "survival_curve"]

_LEVEL = 0.95  # the level of all bands
_RANKS = 200  # the maximum number of ranks at which a band is computed
_SAMPLES = 2000  # the number of simulated samples that determine the width of a band
_BAND = {"color": "0.5", "alpha": 0.25, "linewidth": 0, "label": "95% of samples are inside"}
_TRUE = {"linestyle": "--", "linewidth": 1, "color": "0.4"}
_DOTS = {"marker": ".", "linestyle": "none", "color": "tab:blue", "markersize": 5}


def qq(ax: Axes, estimate: Estimate) -> Axes:
    """Plots the sample's sorted outcomes against the quantiles of the distribution fitted to it.

    If the family is correct, the dots are near the diagonal. Dots that leave the diagonal at the ends show that the
    family's tails are too light or too heavy. The band is simultaneous: it contains *all* dots in 95% of samples from
    the fitted distribution. The CDF at the `i`-th of `n` sorted outcomes follows a Beta(i, n + 1 - i) distribution. The
    ends of the band at dot `i` are two quantiles of this Beta distribution, mapped by the fitted quantile function. The
    levels of the two quantiles are the same for all `i`. If there are more than 200 outcomes, the band is computed at
    200 dots and interpolated. The band is computed as if the distribution were known. But the fitted distribution is
    closer to the sample than the true distribution is. So, if the family is correct, the band contains all dots in more
    than 95% of samples.

    Args:
      ax: a `matplotlib.axes.Axes`.
      estimate: an `Estimate` of a scalar, continuous family.

    Returns:
      `ax`.

    Raises:
      ValueError: if the outcomes are vectors or counts, are censored, contain the ends of a truncation window, or
        have unequal weights.

    Example:
      >>> ax = qq(ax, maximum_likelihood("Gamma", [2.0, 3.0, 5.0, 4.0]))

    Source: Wilk and Gnanadesikan, Probability plotting methods for the analysis of data, 1968; Aldor-Noiman et al., The
    power to see: a new graphical test of normality, 2013.
    """
    draw_quantiles(ax, _sample(estimate), estimate.distribution, "as fitted", "outcomes")
    ax.set(xlabel=f"quantile of the fitted {estimate.family.name}", ylabel="observed outcome")
    return ax


def draw_quantiles(ax: Axes, y: np.ndarray, distribution: tfd.Distribution, diagonal: str, name: str) -> None:
    """Plots sorted numbers `[n]` against the quantiles of a distribution, with the diagonal, the band and a legend.

    In the legend, `diagonal` is the label of the diagonal, and `name` is the name of the numbers.
    """
    ranks, low, high = rank_band(len(y))
    positions = (np.arange(len(y)) + 0.5) / len(y)
    expected, low, high = (np.asarray(quantile(distribution, q)) for q in (positions, low, high))
    ax.fill_between(expected[ranks - 1], low, high, **_BAND)
    ax.plot(expected[[0, -1]], expected[[0, -1]], **_TRUE, label=diagonal)
    ax.plot(expected, y, **_DOTS, label=f"{len(y)} {name}")
    ax.legend(fontsize="small")


def pp(ax: Axes, estimate: Estimate) -> Axes:
    """Plots the fitted CDF at each outcome against the share of smaller or equal outcomes (a P-P plot).

    This is the figure of `qq` on the scale of probabilities. This scale shows the middle of a distribution better than
    its tails.

    Args:
      ax: a `matplotlib.axes.Axes`.
      estimate: as for `qq`.

    Returns:
      `ax`.

    Raises:
      ValueError: in the cases in which `qq` raises it.

    Example:
      >>> ax = pp(ax, maximum_likelihood("Gamma", [2.0, 3.0, 5.0, 4.0]))

    Source: the sources of `qq`.
    """
    y = _sample(estimate)
    ranks, low, high = rank_band(len(y))
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
    """Plots the nonparametric survival curve of censored times, and fitted survival curves.

    If all times are exact or right-censored, the curve is the Kaplan-Meier estimate, `S(t) = prod_(t_i <= t) (1 - d_i /
    n_i)` for `d_i` events at time `t_i` among the `n_i` rows at risk. Its pointwise 95% interval comes from Greenwood's
    variance of `log(-log S)`. A tick marks a right-censored time. If some times are left- or interval-censored, the
    curve is Turnbull's nonparametric maximum-likelihood estimate, drawn without an interval. The data determine only
    how much this estimate falls within certain intervals, but not where. The curve falls at the upper ends of these
    intervals.

    Args:
      ax: a `matplotlib.axes.Axes`.
      time: the times, in one of these forms:
        - `[n]`, the times of the event or of censoring;
        - `[n, 2]`, the pairs of a `Censored` family, or SciPy's `CensoredData`;
        - `[n, 3]`, if all times are exact or right-censored: a pair, and the time of delayed entry, before which the
          row was not observed.
      observed: `[n]`, 1 or True if the event happened at the time, 0 or False if the time is that of censoring. By
        default, all events were observed. `observed` is allowed only for times `[n]`.
      estimates: `Estimate`s or `tfd.Distribution`s of a scalar.

    Returns:
      `ax`.

    Raises:
      ValueError: if one of these is true:
        - `time` is empty or has none of the shapes above, or there is no event.
        - `observed` is not of the length of `time`, contains a value other than 0 and 1, or is given with pairs.
        - A row contains NaN, an event at infinity, or a lower end above the upper end.
        - A row contains a time of entry that is not before the event, or an interval together with a time of entry.

    Example:
      >>> y = nllfit.right_censored([2.0, 3.0, 5.0, 4.0], [True, True, False, True])
      >>> ax = survival_curve(ax, y, estimates=[maximum_likelihood(nllfit.Censored("Weibull"), y)])

    Source: Kaplan and Meier, Nonparametric estimation from incomplete observations, 1958; Turnbull, The empirical
    distribution function with arbitrarily grouped, censored and truncated data, 1976.
    """
    y = _pairs(time, observed)
    lower, upper = y[:, 0], y[:, 1]
    curve = survival_steps(y)
    finite = y[:, :2][np.isfinite(y[:, :2])]
    start, last = min(0.0, finite.min()), finite.max()
    steps = np.concatenate([[start], curve.times, [last]])
    if curve.interval is not None:
        low, high = (np.concatenate([[1.0], part, part[-1:]]) for part in curve.interval)
        ax.fill_between(steps, low, high, step="post", color="0.5", alpha=0.25, linewidth=0, label="95% interval")
    label = f"{curve.estimator}, {np.sum(lower == upper)} of {len(y)} seen"
    ax.step(steps, curve.at(steps), where="post", color="0.2", label=label)
    censored = lower[np.isposinf(upper) & np.isfinite(lower)]
    if len(censored):
        ax.plot(censored, curve.at(censored), "|", color="0.2", markersize=7, label="censored")
    grid = np.linspace(start, last, 300)[1:]
    for estimate in estimates:
        # The attribute `distribution` does not identify an `Estimate`: `tfd.LogNormal` has this attribute, too.
        fitted = estimate.distribution if isinstance(estimate, Estimate) else estimate
        label = estimate.family.label if isinstance(estimate, Estimate) else estimate.name
        ax.plot(grid, np.asarray(survival(fitted, grid)), label=label)
    ax.set(xlabel="time", ylabel="share without the event", ylim=(-0.03, 1.03))
    ax.legend(fontsize="small")
    return ax


def _pairs(time, observed):
    """Converts the arguments of `survival_curve` to pairs `[n, 2]`, or to `[n, 3]` if there are times of entry."""
    y = as_array(time, np.float64, "time")
    if y.ndim == 1:
        is_event = np.ones(y.shape, bool) if observed is None else as_array(observed, name="observed")
        if is_event.shape != y.shape:
            raise ValueError(f"`time` has shape {y.shape} and `observed` {is_event.shape}: give a flag for each time.")
        _refuse_rows(~np.isfinite(y), y, "remove such rows, or give the time until which there was no event")
        y = right_censored(y, is_event)
        if len(y) and not is_event.any():
            raise ValueError("`observed` has no event, so there is no curve to draw: check that 1 marks an event.")
    elif y.ndim != 2 or y.shape[1] not in (2, 3) or observed is not None:
        given = "" if observed is None else " and `observed` is given"
        raise ValueError(f"`time` has shape {y.shape}{given}: give times `[n]`, or pairs `[n, 2]` without `observed`.")
    if not len(y):
        raise ValueError("`time` is empty, so there is no curve to draw: give at least one time.")
    lower, upper, *entry = y.T
    missing = np.isnan(lower) | np.isnan(upper) | np.isposinf(lower) | np.isneginf(upper)
    _refuse_rows(missing, y, "remove such rows, or give inf as the upper end where there was no event")
    pairs = interval_censored(lower, upper)
    if np.all(np.isposinf(pairs[:, 1])):
        raise ValueError("`time` has no event, because all are censored on the right: there is no curve to draw.")
    if y.shape[1] == 3 and np.any((y[:, 0] < y[:, 1]) & np.isfinite(y[:, 1])):
        raise ValueError("`time` has intervals and times of entry: a curve can be drawn only without one of the two.")
    if entry:
        _refuse_rows(np.isnan(entry[0]), y, "give -inf as its last number, the entry, where there was none")
        early = (lower == upper) & (entry[0] >= lower)
        _refuse_rows(early, y, "its entry, the last number, is not before its event; give an earlier one, or remove it")
    return y


def _refuse_rows(wrong, y, advice):
    """Raises a `ValueError` that names the first row for which `wrong` is true.

    `y` is the user's argument `time` of `survival_curve`, as an array `[n]` or `[n, k]`.
    """
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(f"`time` has {y[row].tolist()} at row {row}: {advice}.")


def _sample(estimate):
    problem = estimate.problem
    if problem.family.takes_infinity:
        raise ValueError(
            f"The outcomes of {problem.family.label} are intervals or come with a window, so they have no order: "
            f"compare the fit with the Kaplan-Meier curve, `plots.survival_curve(ax, y, estimates=[estimate])`."
        )
    if problem.family.event_shape or problem.family.is_discrete or np.ptp(problem.weights) > 0:
        kind = "vectors" if problem.family.event_shape else "counts" if problem.family.is_discrete else "weighted"
        raise ValueError(f"The outcomes of {problem.family.label} are {kind}: this figure needs real numbers.")
    return np.sort(problem.y)


def rank_band(n):
    """Returns ranks `[k]`, and the lower and the upper ends `[k]` of a band at these ranks.

    The band contains all of `n` sorted uniform numbers in 95% of samples.
    """
    ranks = np.unique(np.linspace(1, n, min(n, _RANKS)).round().astype(int))
    # Cumulative sums of Gamma variables, divided by the last sum, are distributed like sorted uniform numbers.
    gaps = np.diff(ranks, prepend=0, append=n + 1)
    sums = np.cumsum(np.random.default_rng(0).gamma(gaps, size=[_SAMPLES, len(gaps)]), axis=1)
    uniform = sums[:, :-1] / sums[:, -1:]
    a, b = ranks.astype(np.float64), (n + 1 - ranks).astype(np.float64)
    below = tf.math.betainc(*np.broadcast_arrays(a, b, uniform)).numpy()
    smallest_tails = np.min(np.minimum(below, 1 - below), axis=1)
    level = np.quantile(smallest_tails, 1 - _LEVEL)
    low, high = (np.asarray(tfp.math.betaincinv(a, b, np.full(len(ranks), q))) for q in (level, 1 - level))
    return ranks, low, high
