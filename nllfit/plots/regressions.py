"""Figures of a regression: a Q-Q plot of its residuals, and the calibration of its predicted survival."""

import numpy as np
from numpy.typing import ArrayLike
from tensorflow_probability import distributions as tfd

from nllfit.families.arguments import as_array
from nllfit.plots.axes import Z_95, Axes
from nllfit.plots.goodness_figures import draw_quantiles
from nllfit.survival_scores import CalibrationAtTime

__all__ = ["residual_qq", "survival_calibration"]


def residual_qq(ax: Axes, residuals: ArrayLike) -> Axes:
    """Plots sorted quantile residuals against the quantiles of a standard Normal.

    If the model is correct, the residuals are near the diagonal for any family. The band contains *all* dots in at
    least 95% of samples. Dots outside the band at the ends show that the family's tails are too light or too heavy. If
    the dots follow a line that is steeper than the diagonal, the outcomes vary more than the model predicts. If the
    line is flatter, the outcomes vary less.

    Args:
      ax: a `matplotlib.axes.Axes`.
      residuals: `[n]`, from `Regression.residuals`.

    Returns:
      `ax`.

    Raises:
      ValueError: if there are fewer than two residuals, one is not finite, or they are not of shape `[n]`.

    Example:
      >>> ax = residual_qq(ax, [-1.2, -0.4, 0.1, 0.5, 1.3])

    Source: Dunn and Smyth, Randomized quantile residuals, 1996.
    """
    y = np.sort(as_array(residuals, float, "residuals"))
    if y.ndim != 1 or len(y) < 2 or not np.isfinite(y).all():
        raise ValueError(f"`residuals` is of shape {y.shape}: give at least two finite numbers.")
    normal = tfd.Normal(np.float64(0.0), np.float64(1.0))
    draw_quantiles(ax, y, normal, "if the model is correct", "residuals")
    ax.set(xlabel="quantile of a standard Normal", ylabel="quantile residual")
    return ax


def survival_calibration(ax: Axes, calibration: CalibrationAtTime) -> Axes:
    """Plots the observed survival of groups of rows against their predicted survival. Bars are 95% intervals.

    Args:
      ax: a `matplotlib.axes.Axes`.
      calibration: the result of `survival_scores.calibration_at`.

    Returns:
      `ax`.

    Example:
      >>> found = survival_scores.calibration_at([1.0, 2.0, 3.0, 4.0], [1, 1, 1, 1], [0.2, 0.4, 0.6, 0.8], 2.5, 2)
      >>> ax = survival_calibration(ax, found)
    """
    errors = Z_95 * calibration.standard_errors
    ax.plot([0, 1], [0, 1], "--", linewidth=1, color="0.4", label="as predicted")
    ax.errorbar(
        calibration.predicted, calibration.observed, errors, fmt="o", color="tab:blue", capsize=3, label="groups"
    )
    ax.set(xlabel="predicted survival", ylabel="observed survival", xlim=(0, 1), ylim=(0, 1))
    ax.legend(fontsize="small")
    return ax
