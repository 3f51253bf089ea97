"""Figures of the likelihood as a function of one or two parameters."""

import numpy as np
from numpy.typing import ArrayLike
from tensorflow_probability import distributions as tfd

from nllfit.estimation.likelihoods import log_likelihood
from nllfit.plots.axes import MAXIMUM, Axes

__all__ = ["likelihood_curve", "likelihood_surface"]


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
    """Plots the likelihood of a sample against one parameter, and marks the maximum and an interval.

    If the likelihood underflows or overflows, it is drawn relative to its maximum.

    Args:
      ax: the axes.
      distribution: a `tfd.Distribution` of batch `[m]`, one for each of `values`, as in the example.
      y: the sample, `[n, *event]`.
      values: the parameter's values, `[m]`.
      name: the parameter's name, which becomes the axis label.
      estimate: where to mark the maximum; by default the best of `values`.
      interval: the ends of a range to shade, such as a confidence interval.
      interval_name: the label of that range in the legend.

    Returns:
      `ax`.

    Raises:
      ValueError: if the distribution's batch shape is not `[m]`.
      TypeError, ValueError: in the cases in which `log_likelihood` raises them.

    Example:
      >>> theta = np.linspace(0.0, 1.0, 201)
      >>> ax = likelihood_curve(ax, tfd.Bernoulli(probs=theta), [0, 0, 0, 1, 0], theta, name="theta", estimate=0.2)
    """
    values = np.asarray(values)
    height = _heights(distribution, y, values=values)
    estimate = values[height.argmax()] if estimate is None else estimate
    limits = np.finfo(height.dtype)
    is_representable = np.log(limits.tiny) < height.max() < np.log(limits.max)
    ax.plot(values, np.exp(height if is_representable else height - height.max()))
    ax.axvline(estimate, linestyle="--", label=f"maximum at {estimate:.4g}", **MAXIMUM)
    if interval is not None:
        ax.axvspan(*interval, alpha=0.15, label=f"{interval_name}: {interval[0]:.3g} to {interval[1]:.3g}")
    ylabel = "likelihood" if is_representable else "likelihood / maximum"
    ax.set(xlabel=name, ylabel=ylabel, xlim=(values.min(), values.max()), ylim=(0, None))
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
    """Plots the likelihood of a sample over two parameters, relative to its maximum, and marks the maximum.

    Args:
      ax: the axes.
      distribution: a `tfd.Distribution` of batch `[k, m]`, one for each pair of `y_values` `[k]` and `x_values` `[m]`.
      y: the sample, `[n, *event]`.
      x_values, y_values: the values of the two parameters, along the x axis and along the y axis.
      names: the names of the two parameters, which become the axis labels.
      estimate: the point `(x, y)` to mark; by default the best point of the grid.

    Returns:
      `ax`.

    Raises:
      ValueError: if the distribution's batch shape is not `[k, m]`.
      TypeError, ValueError: in the cases in which `log_likelihood` raises them.

    Example:
      >>> mu, sigma = np.linspace(-2.0, 2.0, 200), np.linspace(0.3, 2.0, 200)
      >>> ax = likelihood_surface(ax, tfd.Normal(mu[None, :], sigma[:, None]), [-1.0, 0.0, 1.0], mu, sigma)
    """
    height = _heights(distribution, y, y_values=y_values, x_values=x_values)
    best = np.unravel_index(height.argmax(), height.shape)
    x0, y0 = (x_values[best[1]], y_values[best[0]]) if estimate is None else estimate
    image = ax.pcolormesh(x_values, y_values, np.exp(height - height.max()), shading="auto", rasterized=True)
    ax.figure.colorbar(image, ax=ax, label="likelihood / maximum")
    ax.plot(x0, y0, "x", markersize=9, markeredgewidth=2, label=f"maximum at ({x0:.4g}, {y0:.4g})", **MAXIMUM)
    ax.set(xlabel=names[0], ylabel=names[1])
    ax.legend(loc="upper right")
    return ax


def _heights(distribution, y, **axes):
    """Returns the log-likelihood on a grid. The array has one axis for each keyword argument."""
    heights = log_likelihood(distribution, y).numpy()
    expected = sum((np.shape(values) for values in axes.values()), ())
    if heights.shape != expected or len(expected) != len(axes):
        raise ValueError(
            f"`distribution` has batch shape {heights.shape}, but {' and '.join(f'`{name}`' for name in axes)} make "
            f"{expected}: give one distribution for each grid point, with the axes in that order."
        )
    return heights
