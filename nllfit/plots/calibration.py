"""Figures of calibration. They compare observed with predicted frequencies, and show bands for chance variation."""

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike
from tensorflow_probability import distributions as tfd

from nllfit.cdf_and_quantiles import quantile
from nllfit.evaluation.calibration_error import binned_frequencies, expected_calibration_error
from nllfit.families.arguments import as_array, as_count, as_numbers
from nllfit.plots.axes import Z_95, Axes

__all__ = ["coverage_curve", "pit_histogram", "reliability_diagram"]

_LEVEL = 0.95  # the level of all bands and intervals
_CALIBRATED = {"linestyle": "--", "linewidth": 1, "color": "0.4", "label": "calibrated"}
_CHANCE = {"color": "0.5", "alpha": 0.25, "linewidth": 0, "label": "a calibrated model's, 95%"}


def reliability_diagram(ax: Axes, y: ArrayLike, probabilities: ArrayLike, num_bins: int = 15) -> Axes:
    """Plots the observed frequency of events against their predicted probability, in bins.

    The points of a calibrated model are near the diagonal. Each error bar is the 95% Wilson interval of the frequency.
    If the model is calibrated, about 95% of the error bars meet the diagonal. The number next to an error bar is the
    number of rows in the bin.

    Args:
      ax: a `matplotlib.axes.Axes`.
      y: `[n]`, 1 if the event happened and 0 otherwise; or classes, such as `Evaluation.y`: labels `[n, ...]`, or
        one-hot rows `[n, num_classes]`.
      probabilities: the probability of the event, `[n]`; or class probabilities `[n, ..., num_classes]`, such as
        `Evaluation.probabilities`. For classes, the event is that the most probable class is correct.
      num_bins: the number of bins of equal width; empty bins are not drawn. `Evaluation.calibration_error` uses 15.

    Returns:
      `ax`.

    Raises:
      ValueError: if one of these is true:
        - `y` and `probabilities` are empty or differ in length.
        - A probability is not between 0 and 1, or the probabilities of the classes do not sum to 1.
        - `y` contains a number other than 0 and 1 or, with class probabilities, a label that is not one of the classes.
        - `num_bins` is not an int >= 1.

    Example:
      >>> ax = reliability_diagram(ax, [0, 1, 1], [0.2, 0.7, 0.9])

    Source: Niculescu-Mizil and Caruana, Predicting good probabilities with supervised learning, 2005; Wilson, Probable
    inference, the law of succession, and statistical inference, 1927.
    """
    num_bins = as_count("num_bins", num_bins, 1)
    happened, event_probabilities, of_classes = _events(
        np.asarray(as_numbers("y", y)), np.asarray(as_numbers("probabilities", probabilities, tf.float64))
    )
    names = "predicted probability", "observed frequency"
    if of_classes:
        names = "probability of the likeliest class", "share of rows with that class"
    means, shares, counts = binned_frequencies(event_probabilities, happened, num_bins)
    center = (shares + Z_95**2 / (2 * counts)) / (1 + Z_95**2 / counts)
    half_width = Z_95 * np.sqrt(shares * (1 - shares) / counts + (Z_95 / (2 * counts)) ** 2) / (1 + Z_95**2 / counts)
    low, high = center - half_width, center + half_width
    error = expected_calibration_error(event_probabilities, happened, num_bins)
    label = f"model, 95% interval, rows\ncalibration error {error:.3f}"
    style = {"fmt": "o", "markersize": 4, "elinewidth": 1, "color": "tab:blue", "capsize": 2}
    ax.plot([0, 1], [0, 1], **_CALIBRATED)
    ax.errorbar(means, shares, np.maximum([shares - low, high - shares], 0), label=label, **style)
    for x, below, above, count in zip(means, low, high, counts, strict=True):
        at_top = above > 0.93
        place = {"xy": (x, below if at_top else above), "xytext": (0, -3 if at_top else 3)}
        ax.annotate(
            f"{count}",
            **place,
            textcoords="offset points",
            ha="center",
            va="top" if at_top else "bottom",
            size="x-small",
        )
    ax.set(xlabel=names[0], ylabel=names[1], xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
    ax.legend(fontsize="small")
    return ax


def pit_histogram(ax: Axes, pit: ArrayLike, num_bins: int = 10) -> Axes:
    """Plots the histogram of probability integral transforms (PITs), which is flat if the model is correct.

    A hump shows that the predicted distributions are too wide. A U shape shows that they are too narrow. A slope shows
    that they are biased. A gray band shows the chance variation of a single bar: if the model is correct and the
    outcomes are independent, the top of any one bar is inside the band in at least 95% of samples.

    Args:
      ax: a `matplotlib.axes.Axes`.
      pit: an array of any shape, such as `Evaluation.pit`: the predicted CDF at each outcome.
      num_bins: the number of bins of equal width.

    Returns:
      `ax`.

    Raises:
      ValueError: if `pit` is None, is empty or has a number that is not between 0 and 1, or if `num_bins` is not an
        int >= 1.

    Example:
      >>> ax = pit_histogram(ax, evaluate(tfd.Normal(tf.zeros([3]), 1.0), y=[-1.0, 0.0, 1.0]).pit)

    Source: Gneiting, Balabdaoui and Raftery, Probabilistic forecasts, calibration and sharpness, 2007.
    """
    values, num_bins = _checked(pit), as_count("num_bins", num_bins, 1)
    n, width = len(values), 1 / num_bins
    low, high = _binomial_range(n, np.array([width])) / width
    heights = np.histogram(values, num_bins, (0, 1))[0] / n / width
    ax.bar(np.arange(num_bins) * width, heights, width, align="edge", color="tab:blue", alpha=0.7)
    ax.fill_between([0, 1], low, high, zorder=2, **_CHANCE)
    ax.axhline(1, **_CALIBRATED)
    ax.set(xlabel="predicted CDF at the outcome (PIT)", ylabel=f"density of {n} outcomes")
    ax.set(xlim=(0, 1), ylim=(0, 1.6 * max(heights.max(), high.item())))  # leaves room for the legend
    ax.legend(fontsize="small")
    return ax


def coverage_curve(ax: Axes, pit: ArrayLike) -> Axes:
    """Plots the coverage of central intervals (the share of outcomes inside) against their probability.

    The curve of a calibrated model is near the diagonal. If the curve is below the diagonal, the intervals are too
    narrow; if the curve is above the diagonal, they are too wide. A gray band shows the chance variation: if the model
    is correct and the outcomes are independent, the curve at any one probability is inside the band in at least 95% of
    samples.

    Args:
      ax: a `matplotlib.axes.Axes`.
      pit: an array of any shape, such as `Evaluation.pit`: the predicted CDF at each outcome. An outcome is in the
        central interval of probability `p` if `|2 PIT - 1| <= p`.

    Returns:
      `ax`.

    Raises:
      ValueError: if `pit` is None, is empty or has a number that is not between 0 and 1.

    Example:
      >>> ax = coverage_curve(ax, evaluate(tfd.Normal(tf.zeros([3]), 1.0), y=[-1.0, 0.0, 1.0]).pit)

    Source: Kuleshov, Fenner and Ermon, Accurate uncertainties for deep learning using calibrated regression, 2018.
    """
    # `|2 PIT - 1|` is the level of the smallest central interval that contains the outcome.
    covering = np.sort(np.abs(2 * _checked(pit) - 1))
    levels = np.linspace(0, 1, 101)
    ax.fill_between(levels, *_binomial_range(len(covering), levels), **_CHANCE)
    ax.plot([0, 1], [0, 1], **_CALIBRATED)
    shares = np.arange(len(covering) + 1) / len(covering)
    ax.step([0, *covering, 1], [0, *shares[1:], 1], where="post", color="tab:blue", label=f"{len(covering)} outcomes")
    names = {"xlabel": "probability of the central interval", "ylabel": "share of outcomes inside"}
    ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", **names)
    ax.legend(loc="upper left", fontsize="small")
    return ax


def _events(y: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray, bool]:
    """Returns whether the event happened `[n]`, its probability `[n]`, and whether the outcomes are classes.

    For classes, the event is that the most probable class is correct.
    """
    if y.ndim > 1 and y.shape == probabilities.shape and np.all((y == 0) | (y == 1)) and np.all(y.sum(-1) == 1):
        y = y.argmax(-1)  # the classes of one-hot rows
    if probabilities.ndim > 1 and y.shape == probabilities.shape[:-1]:
        y, probabilities = y.ravel(), probabilities.reshape(y.size, -1)
    if y.ndim != 1 or probabilities.ndim not in (1, 2) or len(y) != len(probabilities) or not len(y):
        raise ValueError(
            f"`y` has shape {y.shape} and `probabilities` {probabilities.shape}: give one number for each row, or one "
            f"label and the probability of each class."
        )
    if not np.all((probabilities >= 0) & (probabilities <= 1)):
        raise ValueError("`probabilities` holds numbers that are not between 0 and 1.")
    of_classes = probabilities.ndim == 2
    if of_classes and not np.allclose(probabilities.sum(-1), 1, atol=1e-3):
        raise ValueError("`probabilities` has rows that do not sum to 1: give the probability of every class.")
    if not np.all(np.isin(y, np.arange(probabilities.shape[1] if of_classes else 2))):
        labels = f"labels 0 to {probabilities.shape[1] - 1}" if of_classes else "0 and 1"
        raise ValueError(f"`y` holds values other than {labels}: give what happened in each row.")
    if of_classes:
        return probabilities.argmax(-1) == y, probabilities.max(-1), True
    return y, probabilities, False


def _checked(pit):
    pit = np.ravel(as_array(pit, name="pit"))
    if not len(pit) or pit.dtype.kind not in "iuf" or not np.all((pit >= 0) & (pit <= 1)):
        raise ValueError(
            "`pit` is empty or has a number that is not between 0 and 1: give `evaluate(...).pit`, which is None for "
            "classes."
        )
    return pit


def _binomial_range(n, probs):
    """Returns the ends of the central 95% interval of the share of successes in `n` trials, for each of `probs`."""
    counts = tfd.Binomial(float(n), probs=np.clip(probs, 1e-9, 1 - 1e-9))
    return np.asarray(quantile(counts, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])) / n
