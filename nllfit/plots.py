"""Figures: each function draws on the `ax` of matplotlib that it is given, and returns it."""

from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike
from tensorflow_probability import distributions as tfd

from nllfit.estimation.estimates import Estimate
from nllfit.estimation.likelihoods import log_likelihood

__all__ = [
    "fitted_density",
    "likelihood_curve",
    "likelihood_surface",
    "prediction_band",
    "profile_curve",
    "reliability_curve",
    "training_curve",
]

Axes: TypeAlias = Any  # `matplotlib.axes.Axes`: who has one has imported matplotlib, which this need not


def prediction_band(
    ax: Axes, x: np.ndarray, y: np.ndarray, distribution: tfd.Distribution, num_sigmas: float = 2.0
) -> Axes:
    """Draws the points `x` `[n, 1]`, `y` `[n, 1]`, the predicted mean and a band of `num_sigmas` deviations about it.

    Args:
      ax: a `matplotlib.axes.Axes`.
      x, y: the data.
      distribution: the predictions at `x`, of batch `[n]` and event `[1]`.
      num_sigmas: half the band's width in standard deviations; 2 holds 95 % of a Normal.

    Returns:
      `ax`.
    """
    order = np.argsort(x[:, 0])
    mean, deviation = (np.asarray(value)[order, 0] for value in (distribution.mean(), distribution.stddev()))
    ordered = x[order, 0]
    band, label = num_sigmas * deviation, f"mean $\\pm$ {num_sigmas:g} $\\sigma$"
    ax.fill_between(ordered, mean - band, mean + band, color="tab:blue", alpha=0.2, linewidth=0, label=label)
    ax.plot(x[:, 0], y[:, 0], ".", color="0.4", markersize=4, label="data")
    ax.plot(ordered, mean, color="tab:blue", label="mean")
    ax.set(xlabel="x", ylabel="y")
    ax.legend(loc="upper left")
    return ax


def training_curve(ax: Axes, history: Any) -> Axes:
    """Draws the training and, where there is one, the validation loss by epoch, and marks the best epoch.

    Args:
      ax: a `matplotlib.axes.Axes`.
      history: a Keras `History`, of a model trained on a negative log-likelihood.

    Returns:
      `ax`.
    """
    losses = history.history
    epochs = np.asarray(history.epoch) + 1
    ax.plot(epochs, losses["loss"], color="tab:blue", label="training")
    watched = losses.get("val_loss", losses["loss"])
    if "val_loss" in losses:
        ax.plot(epochs, watched, color="tab:orange", label="validation")
    best = int(np.argmin(watched))
    ax.plot(epochs[best], watched[best], "o", color="tab:red", label=f"lowest: {watched[best]:.4g} at {epochs[best]}")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set(xlabel="epoch", ylabel="mean negative log-likelihood (nats)")
    ax.legend()
    return ax


def reliability_curve(ax: Axes, y: ArrayLike, probabilities: ArrayLike, num_bins: int = 10) -> Axes:
    """Draws how often an event came true against the probability it was given; the diagonal is calibration.

    Args:
      ax: a `matplotlib.axes.Axes`.
      y: `[n]`, 1 where the event came true, else 0.
      probabilities: `[n]`, the probability it was given.
      num_bins: bins of equal width; an empty one is left out. A point has the number of its rows beside it, and for
        a bar the standard error of the frequency that the predicted probability gives.

    Returns:
      `ax`.
    """
    y, probabilities = np.asarray(y, float), np.asarray(probabilities, float)
    bins = np.minimum((probabilities * num_bins).astype(int), num_bins - 1)
    counts = np.bincount(bins, minlength=num_bins)
    filled = counts > 0
    means = [np.bincount(bins, values, num_bins)[filled] / counts[filled] for values in (probabilities, y)]
    errors = np.sqrt(means[0] * (1 - means[0]) / counts[filled])  # of the frequency, were the probability right
    ax.plot([0, 1], [0, 1], ":", color="0.5", label="calibrated")
    ax.errorbar(means[0], means[1], errors, fmt="o", color="tab:blue", capsize=3, label="model (number of rows)")
    for x, height, count in zip(*means, counts[filled], strict=True):
        ax.annotate(str(count), (x, height), xytext=(6, 4), textcoords="offset points", fontsize="small")
    ax.set(xlabel="predicted probability", ylabel="observed frequency", xlim=(-0.05, 1.1), ylim=(-0.05, 1.1))
    ax.legend(loc="lower right")
    return ax


_MARK = {"color": "tab:red", "zorder": 3}
_BARS = 80  # about as many of counts as can be told apart


def likelihood_curve(
    ax: Axes,
    distribution: tfd.Distribution,
    y: ArrayLike,
    values: ArrayLike,
    *,
    name: str = "parameter",
    estimate: float | None = None,
    interval: tuple[float, float] | None = None,
    interval_name: str = "interval",
) -> Axes:
    """The likelihood of a sample against one parameter, with the maximum and an interval marked.

    A likelihood too small for a float is drawn in parts of its maximum.

    Args:
      ax: the axes.
      distribution: a `tfd.Distribution` whose batch `[m]` belongs to `values`, `tfd.Bernoulli(probs=values)`.
      y: the sample, `[n, *event]`.
      values: the parameter's values, `[m]`.
      name: its name, for the axis.
      estimate: where the maximum is marked; by default the best of `values`.
      interval: `[2]`, a range that is shaded, such as a confidence interval.
      interval_name: what the range is, for the legend.

    Returns:
      `ax`.

    Raises:
      ValueError: if `values` are not as many as the distribution has, and as `log_likelihood`.

    Example:
      >>> theta = np.linspace(0.0, 1.0, 201)
      >>> ax = likelihood_curve(ax, tfd.Bernoulli(probs=theta), [0, 0, 0, 1, 0], theta, name="theta", estimate=0.2)
    """
    height = _heights(distribution, y, values=values)
    estimate = np.asarray(values)[height.argmax()] if estimate is None else estimate
    drawn = np.exp(height.max()) > 0
    ax.plot(values, np.exp(height if drawn else height - height.max()))
    ax.axvline(estimate, linestyle="--", label=f"maximum at {estimate:.4g}", **_MARK)
    if interval is not None:
        ax.axvspan(*interval, alpha=0.15, label=f"{interval_name}: {interval[0]:.3g} to {interval[1]:.3g}")
    ylabel = "likelihood" if drawn else "likelihood / maximum"
    ax.set(xlabel=name, ylabel=ylabel, xlim=(np.min(values), np.max(values)), ylim=(0, None))
    ax.legend()
    return ax


def likelihood_surface(
    ax: Axes,
    distribution: tfd.Distribution,
    y: ArrayLike,
    x_values: np.ndarray,
    y_values: np.ndarray,
    *,
    names: tuple[str, str] = ("x", "y"),
    estimate: tuple[float, float] | None = None,
) -> Axes:
    """The likelihood of a sample over two parameters, brightest at the maximum, which is marked.

    Args:
      ax: the axes.
      distribution: a `tfd.Distribution` whose batch `[k, m]` belongs to `y_values` `[k]` and `x_values` `[m]`.
      y: the sample, `[n, *event]`.
      x_values, y_values: the values of the parameter along each axis.
      names: their names, for the axes.
      estimate: the point `(x, y)` that is marked; by default the best of the grid.

    Returns:
      `ax`.

    Raises:
      ValueError: if the distribution's batch is not `[k, m]`, and as `log_likelihood`.

    Example:
      >>> mu, sigma = np.linspace(-2.0, 2.0, 200), np.linspace(0.3, 2.0, 200)
      >>> ax = likelihood_surface(ax, tfd.Normal(mu[None, :], sigma[:, None]), [-1.0, 0.0, 1.0], mu, sigma)
    """
    height = _heights(distribution, y, y_values=y_values, x_values=x_values)
    best = np.unravel_index(height.argmax(), height.shape)
    x, top = (x_values[best[1]], y_values[best[0]]) if estimate is None else estimate
    image = ax.pcolormesh(x_values, y_values, np.exp(height - height.max()), shading="auto", rasterized=True)
    ax.figure.colorbar(image, ax=ax, label="likelihood / maximum")
    ax.plot(x, top, "x", markersize=9, markeredgewidth=2, label=f"maximum at ({x:.4g}, {top:.4g})", **_MARK)
    ax.set(xlabel=names[0], ylabel=names[1])
    ax.legend(loc="upper right")
    return ax


def _heights(distribution, y, **axes):
    """The log-likelihood on a grid, as an array with an axis for each of the named values."""
    heights = log_likelihood(distribution, y).numpy()
    expected = sum((np.shape(values) for values in axes.values()), ())
    if heights.shape != expected or len(expected) != len(axes):
        raise ValueError(
            f"`distribution` has batch shape {heights.shape}, but {' and '.join(f'`{name}`' for name in axes)} make "
            f"{expected}: give one distribution for each of their values, in that order of axes."
        )
    return heights


def profile_curve(
    ax: Axes, estimate: Estimate, name: str, values: np.ndarray | None = None, *, level: float = 0.95
) -> Axes:
    """The profile log-likelihood of one scalar parameter below its maximum, with its interval marked.

    The interval holds the values whose profile is above the cut-off, `-chi2_1.quantile(level) / 2`, -1.92 for 95 %.

    Args:
      ax: the axes.
      estimate: a converged `Estimate`.
      name: the parameter.
      values: where it is computed, `[m]`; by default 41 values that reach beyond the interval.
      level: of the profile-likelihood interval.

    Returns:
      `ax`.

    Raises:
      ValueError: if the parameter is an array, and as `Estimate.confidence_intervals`.

    Example:
      >>> ax = profile_curve(ax, maximum_likelihood("Gamma", [2.0, 3.0, 5.0, 4.0]), "rate")
    """
    shape = np.shape(estimate.parameters.get(name, 0.0))
    if shape:
        raise ValueError(f"`{name}` has shape {shape}: draw `estimate.profile(name, values, index)` of one number.")
    low, high = estimate.confidence_intervals(level, method="profile", names=[name])[name]
    center = estimate.parameters[name]
    if values is None:
        below = 1.3 * (center - low if np.isfinite(low) else high - center)
        above = 1.3 * (high - center if np.isfinite(high) else center - low)
        values = np.union1d(np.linspace(center - below, center, 21), np.linspace(center, center + above, 21))
    if np.size(values) < 2:
        raise ValueError(f"`values` is {values!r}: give at least two, for a curve.")
    falls = estimate.profile(name, values) - estimate.log_likelihood
    ax.plot(values, np.where(np.isfinite(falls), falls, np.nan))
    ax.axvline(center, linestyle="--", label=f"maximum at {center:.4g}", **_MARK)
    cutoff = -float(tfd.Chi2(tf.constant(1.0, tf.float64)).quantile(level)) / 2
    ax.axhline(cutoff, linestyle=":", color="0.3", label=f"cut-off at {cutoff:.3g}")
    ends = max(low, values[0]), min(high, values[-1])
    ax.axvspan(*ends, alpha=0.15, label=f"{100 * level:g} % interval: {low:.4g} to {high:.4g}")
    ax.set(xlabel=name, ylabel="profile log-likelihood - maximum (nats)", xlim=(values[0], values[-1]))
    ax.legend(loc="lower center")  # between the curve's two sides
    return ax


def fitted_density(
    ax: Axes, estimate: Estimate, y: ArrayLike, *, label: str | None = None, bins: int | str | ArrayLike = "auto"
) -> Axes:
    """A fitted scalar distribution over the histogram of its sample, or, for counts, over their frequencies.

    Args:
      ax: the axes; a second call on the same axes adds a curve, not a histogram.
      estimate: an `Estimate` of a scalar family.
      y: the sample, `[n]`.
      label: the curve's name in the legend; by default the family's, with what is held in it.
      bins: of the histogram, as matplotlib takes them.

    Returns:
      `ax`.

    Raises:
      ValueError: if the sample is not of scalars, or the fitted distribution cannot have it.

    Example:
      >>> sample = [2.0, 3.0, 5.0, 4.0]
      >>> ax = fitted_density(ax, maximum_likelihood("Gamma", sample), sample)
    """
    y = np.asarray(y, np.float64)
    if y.ndim != 1:
        raise ValueError(f"`y` has shape {y.shape}, but a density is drawn over scalars: give a sample `[n]`.")
    log_likelihood(estimate.distribution, y)  # refuses what has no density
    label = estimate.family.label if label is None else label
    first = not ax.patches
    if estimate.family.is_discrete:
        points = np.unique(np.linspace(y.min(), y.max(), 600).round())
        width = 1 + (y.max() - y.min()) // _BARS  # of counts far apart a bar has several
        if first:
            edges = np.arange(y.min() - 0.5, y.max() + width, width)
            ax.hist(y, edges, density=True, rwidth=0.8 if width == 1 else 1.0, color="lightgray", label="sample")
        ax.xaxis.get_major_locator().set_params(integer=True)
        style, unit = "o-" if width == 1 else "-", "probability"
    else:
        points = np.linspace(y.min(), y.max(), 600)
        if first:
            ax.hist(y, bins=bins, density=True, color="lightgray", label="sample")
        style, unit = "-" if y.min() < y.max() else "o", "density"
    ax.plot(points, np.exp(estimate.distribution.log_prob(points)), style, label=label)
    ax.set(xlabel="y", ylabel=unit)
    ax.legend()
    return ax
