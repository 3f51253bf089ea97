"""Figures: each function draws on the `ax` it is given and returns it. The only module that imports matplotlib."""

import numpy as np

__all__ = ["prediction_band", "reliability_curve", "training_curve"]


def prediction_band(ax, x, y, distribution, num_sigmas=2.0):
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
    ax.fill_between(
        ordered,
        mean - num_sigmas * deviation,
        mean + num_sigmas * deviation,
        color="tab:blue",
        alpha=0.2,
        linewidth=0,
        label=f"mean $\\pm$ {num_sigmas:g} $\\sigma$",
    )
    ax.plot(x[:, 0], y[:, 0], ".", color="0.4", markersize=4, label="data")
    ax.plot(ordered, mean, color="tab:blue", label="mean")
    ax.set(xlabel="x", ylabel="y")
    ax.legend(loc="upper left")
    return ax


def training_curve(ax, history):
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
    ax.set(xlabel="epoch", ylabel="mean negative log-likelihood (nats)")
    ax.legend()
    return ax


def reliability_curve(ax, y, probabilities, num_bins=10):
    """Draws how often an event came true against the probability it was given; the diagonal is calibration.

    Args:
      ax: a `matplotlib.axes.Axes`.
      y: `[n]`, 1 where the event came true, else 0.
      probabilities: `[n]`, the probability it was given.
      num_bins: bins of equal width; an empty one is left out, and a point's bar is one binomial standard error.

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
    ax.errorbar(means[0], means[1], errors, fmt="o", color="tab:blue", capsize=3, label="model, with standard errors")
    ax.set(xlabel="predicted probability", ylabel="observed frequency", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    ax.legend(loc="upper left")
    return ax
