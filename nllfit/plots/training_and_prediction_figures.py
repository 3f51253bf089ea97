"""Figures of a model: its training curves and its predictive intervals."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike
from tensorflow_probability import distributions as tfd

from nllfit.cdf_and_quantiles import quantile
from nllfit.evaluation.evaluations import as_levels
from nllfit.families.arguments import as_numbers
from nllfit.plots.axes import Axes

__all__ = ["predictive_band", "training_curves"]

_BLUE = np.array([0.12, 0.47, 0.71])  # matplotlib's "tab:blue"


def predictive_band(
    ax: Axes, x: ArrayLike, y: ArrayLike, distribution: tfd.Distribution, levels: Sequence[float] = (0.5, 0.9)
) -> Axes:
    """Plots the outcomes, the predicted medians and the central intervals against one input.

    The legend shows the nominal probability of each interval and the share of the outcomes inside.

    Args:
      ax: a `matplotlib.axes.Axes`.
      x: the input of each row, `[n]` or `[n, 1]`. The model must have no other input.
      y: the outcomes, `[n]` or `[n, 1]`.
      distribution: the predictions at `x`, of batch `[n]` and event `[]` or `[1]`, or the output of a head.
      levels: the probabilities of the intervals.

    Returns:
      `ax`.

    Raises:
      ValueError: if `x`, `y` or the outcomes of the distribution are not one number per row, or such a number is not
        finite (the message names the row), or if a level is not between 0 and 1.
      TypeError, NotImplementedError: in the cases in which `nllfit.quantile` raises them.

    Example:
      >>> ax = predictive_band(ax, [0.0, 1.0, 2.0], [0.1, 0.9, 2.2], tfd.Normal([0.0, 1.0, 2.0], [0.1, 0.2, 0.3]))
    """
    widest_first = sorted(as_levels(levels), reverse=True)
    tails = [(1 - level) / 2 for level in widest_first]
    ends = np.asarray(quantile(distribution, [*tails, 0.5, *[1 - tail for tail in tails]]))
    columns = {name: np.asarray(as_numbers(name, values, tf.float64)) for name, values in (("x", x), ("y", y))}
    columns["distribution"] = ends[0]
    shapes = {name: values.shape for name, values in columns.items()}
    if any(np.size(values) != np.size(ends[0]) or values.shape[1:] not in ((), (1,)) for values in columns.values()):
        raise ValueError(f"`x`, `y` and the distribution have shapes {shapes}: give one number for each row.")
    x, y = np.ravel(columns["x"]), np.ravel(columns["y"])
    unknown = ~(np.isfinite(x) & np.isfinite(y) & np.isfinite(ends.reshape([len(ends), -1])).all(0))
    if unknown.any():
        row = int(np.argmax(unknown))
        raise ValueError(
            f"Row {row} has x = {x[row]}, y = {y[row]} and the median {np.ravel(ends[len(tails)])[row]}: drop rows "
            f"whose data or prediction are not finite."
        )
    order, ends = np.argsort(x, kind="stable"), ends.reshape([len(ends), -1])
    for i, level in enumerate(widest_first):
        low, high = ends[i], ends[len(tails) + 1 + i]
        coverage = np.mean((low <= y) & (y <= high))
        label = f"central {100 * level:g}% (holds {100 * coverage:.0f}%)"
        shade = 1 - (1 - _BLUE) * 0.6 * (i + 1) / (len(levels) + 1)  # opaque, so that overlaps keep the legend's color
        ax.fill_between(x[order], low[order], high[order], color=shade, linewidth=0, label=label)
    ax.plot(x[order], ends[len(tails)][order], color="tab:blue", label="median")
    ax.plot(x, y, ".", color="0.3", markersize=3, alpha=0.7, label="outcomes")
    ax.set(xlabel="x", ylabel="y")
    ax.legend(fontsize="small")
    return ax


def training_curves(ax: Axes, history: Any, validation_freq: int | Collection[int] = 1) -> Axes:
    """Plots the training loss and, if there is one, the validation loss by epoch, and marks the best epoch.

    Args:
      ax: a `matplotlib.axes.Axes`.
      history: the history that `nllfit.fit` or Keras's `fit` returned for a model trained on a negative log-likelihood;
        or a list of histories, such as `[member.history for member in ensemble.models]`.
      validation_freq: the argument `validation_freq` of `fit`: an integer `k` if the model was validated after every
        `k` epochs, or a list of the epochs after which it was validated.

    Returns:
      `ax`.

    Raises:
      ValueError: if a history has no epochs, its validation losses do not fit `validation_freq`, or its loss is NaN in
        all epochs.

    Example:
      >>> model.compile("adam", nllfit.negative_log_likelihood)
      >>> ax = training_curves(ax, fit(model, x, y, epochs=3, validation_data=(x, y), verbose=0))
    """
    histories = list(history) if isinstance(history, (list, tuple)) else [history]
    if not histories or not all(getattr(run, "epoch", None) for run in histories):
        raise ValueError("`history` has no epochs: give what `fit` returned.")
    width = 1.5 if len(histories) == 1 else 0.8
    marked_loss = "val_loss" if "val_loss" in histories[0].history else "loss"
    for i, run in enumerate(histories):
        epochs = {"loss": np.asarray(run.epoch) + 1, "val_loss": _validated(run, validation_freq)}
        for name, color, label in (("loss", "tab:blue", "training"), ("val_loss", "tab:orange", "validation")):
            if name in run.history:
                ax.plot(epochs[name], run.history[name], color=color, linewidth=width, label=label if i == 0 else None)
        best = int(np.nanargmin(run.history[marked_loss]))
        lowest = run.history[marked_loss][best]
        label = (
            f"lowest: {lowest:.4g} in epoch {epochs[marked_loss][best]}" if len(histories) == 1 else "lowest of each"
        )
        ax.plot(epochs[marked_loss][best], lowest, "o", color="tab:red", markersize=5, label=label if i == 0 else None)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set(xlabel="epoch", ylabel="mean negative log-likelihood (nats)")
    ax.legend(fontsize="small")
    return ax


def _validated(history, frequency):
    """Returns the epochs after which the model was validated, counted from 1."""
    epochs, losses = np.asarray(history.epoch) + 1, history.history.get("val_loss", [])
    is_list = isinstance(frequency, Collection)
    validated = epochs[np.isin(epochs, list(frequency)) if is_list else epochs % frequency == 0]
    if losses and len(losses) != len(validated):
        raise ValueError(
            f"`history` has {len(losses)} values of `val_loss` in {len(epochs)} epochs, but `validation_freq` is "
            f"{frequency!r}: give the `validation_freq` that `fit` was given."
        )
    return validated
