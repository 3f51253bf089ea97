"""Figures of fits: the profile likelihood of a parameter, and the fitted density with its sample."""

import numpy as np
from numpy.typing import ArrayLike
from tensorflow_probability import distributions as tfd

from nllfit.estimation.estimates import Estimate
from nllfit.estimation.likelihoods import log_likelihood
from nllfit.families.arguments import as_array
from nllfit.plots.axes import MAXIMUM, Axes

__all__ = ["fitted_density", "profile_curve"]

_BARS = 80  # the maximum number of bars in a histogram of integers


def profile_curve(
    ax: Axes, estimate: Estimate, name: str, values: np.ndarray | None = None, *, level: float = 0.95
) -> Axes:
    """Plots the profile log-likelihood of a scalar parameter, relative to its maximum, and a confidence interval.

    The interval contains the values at which the profile is above `-chi2_1.quantile(level) / 2`, which is -1.92 for
    95%. `chi2_k` is the chi-squared distribution with `k` degrees of freedom. If the parameter is an end of the
    support, `chi2_2` replaces `chi2_1`, as in `Estimate.confidence_intervals`.

    Args:
      ax: the axes.
      estimate: a converged `Estimate`.
      name: the parameter's name.
      values: the values at which the profile is computed, `[m]`, at least two, in ascending order. By default, 41
        values that extend beyond the interval.
      level: the level of the profile-likelihood interval.

    Returns:
      `ax`.

    Raises:
      ValueError: if one of these is true:
        - The parameter is an array, or there are fewer than two `values`.
        - `Estimate.confidence_intervals` raises an error.
        - `values` is None, and no end of the profile-likelihood or Wald interval is finite.

    Example:
      >>> ax = profile_curve(ax, maximum_likelihood("Gamma", [2.0, 3.0, 5.0, 4.0]), "rate")
    """
    shape = np.shape(estimate.parameters.get(name, 0.0))
    if shape:
        raise ValueError(
            f"`{name}` has shape {shape}, but a curve shows one number: draw `estimate.profile(name, values, index)`."
        )
    low, high = estimate.confidence_intervals(level, method="profile", names=[name])[name]
    center = estimate.parameters[name]
    if values is None:
        left, right = low, high
        if not (np.isfinite(low) or np.isfinite(high)):  # the profile never falls to the cut-off
            left, right = estimate.confidence_intervals(level, names=[name])[name]
            if not np.isfinite([left, right]).all():
                raise ValueError(f"The interval of `{name}` has no finite end: give the `values` at which to draw.")
        below = 1.3 * (center - left if np.isfinite(left) else right - center)
        above = 1.3 * (right - center if np.isfinite(right) else center - left)
        values = np.union1d(np.linspace(center - below, center, 21), np.linspace(center, center + above, 21))
    if np.size(values) < 2:
        raise ValueError(f"`values` is {values!r}: give at least two, for a curve.")
    falls = estimate.profile(name, values) - estimate.log_likelihood
    ax.plot(values, np.where(np.isfinite(falls), falls, np.nan))
    ax.axvline(center, linestyle="--", label=f"maximum at {center:.4g}", **MAXIMUM)
    cutoff = -float(tfd.Chi2(estimate.problem.degrees_of_freedom(name)).quantile(level)) / 2
    ax.axhline(cutoff, linestyle=":", color="0.3", label=f"cut-off at {cutoff:.3g}")
    ends = max(low, values[0]), min(high, values[-1])
    ax.axvspan(*ends, alpha=0.15, label=f"{100 * level:g}% interval: {low:.4g} to {high:.4g}")
    ax.set(xlabel=name, ylabel="profile log-likelihood - maximum (nats)", xlim=(values[0], values[-1]))
    ax.legend(loc="lower center")  # below the peak, where there is no part of the curve
    return ax


def fitted_density(
    ax: Axes, estimate: Estimate, y: ArrayLike, *, label: str | None = None, bins: int | str | ArrayLike = "auto"
) -> Axes:
    """Plots a fitted scalar density and a histogram of the sample.

    If the family is discrete, the curve shows probabilities, and the bars show relative frequencies.

    Args:
      ax: the axes; a second call on the same axes adds a curve but no second histogram.
      estimate: an `Estimate` of a scalar family.
      y: the sample, `[n]`.
      label: the curve's label in the legend; by default the family and its fixed parameters.
      bins: the `bins` of matplotlib's `hist`; not used for counts.

    Returns:
      `ax`.

    Raises:
      ValueError: if `y` is empty, the outcomes are not scalars, or one is outside the support of the fitted
        distribution.

    Example:
      >>> sample = [2.0, 3.0, 5.0, 4.0]
      >>> ax = fitted_density(ax, maximum_likelihood("Gamma", sample), sample)
    """
    y = as_array(y, np.float64)
    if y.ndim != 1:
        raise ValueError(f"`y` has shape {y.shape}, but a density is drawn over scalars: give a sample `[n]`.")
    log_likelihood(estimate.distribution, y)  # raises an error if an outcome is outside the support
    label = estimate.family.label if label is None else label
    first = not ax.patches
    if estimate.family.is_discrete:
        points = np.unique(np.linspace(y.min(), y.max(), 600).round())
        width = 1 + (y.max() - y.min()) // _BARS  # the number of integers that each bar covers
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
