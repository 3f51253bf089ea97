"""Calibration in numbers: whether outcomes come as often as the predicted probabilities say."""

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["binned_frequencies", "expected_calibration_error", "miscalibration_area"]


def miscalibration_area(pit: ArrayLike) -> float:
    """The area between the distribution function of PITs and that of a uniform, which they have under a true model.

    `integral of |share of PITs <= p, - p| dp` from 0 to 1: 0 is perfect, 1/4 what a model has of which every outcome is
    in the middle, 1/2 is the most. For `n` independent outcomes a true model has about `0.31 / sqrt(n)`.

    Args:
      pit: any number of values of a predicted CDF at the outcome.

    Example:
      >>> miscalibration_area([0.5, 0.5])
      0.25

    Source: Kuleshov, Fenner and Ermon, Accurate uncertainties for deep learning using calibrated regression, 2018; the
    `miscalibration_area` of uncertainty-toolbox, on the quantiles.
    """
    pit = np.sort(np.ravel(pit))
    low, high = np.arange(len(pit)) / len(pit), np.arange(1, len(pit) + 1) / len(pit)
    # The distance of sorted values to those of the uniform: a PIT belongs to the probabilities from low to high.
    inside = np.clip(pit, low, high)
    areas = np.abs((low + inside) / 2 - pit) * (inside - low) + np.abs((inside + high) / 2 - pit) * (high - inside)
    return float(areas.sum())


def binned_frequencies(
    probabilities: ArrayLike, happened: ArrayLike, num_bins: int = 15
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How often events happened, in bins of equal width of the probability that they were given.

    Args:
      probabilities: `[n]`, between 0 and 1.
      happened: `[n]`, 1 or true where the event happened.
      num_bins: bins `((k - 1) / num_bins, k / num_bins]`.

    Returns:
      Of each bin that is not empty the mean probability, the share of events that happened, and their number.
    """
    probabilities, happened = np.ravel(probabilities).astype(float), np.ravel(happened).astype(float)
    bins = np.searchsorted(np.linspace(0, 1, num_bins + 1)[1:-1], probabilities)
    counts = np.bincount(bins, minlength=num_bins)
    filled = counts > 0
    means, shares = (
        np.bincount(bins, values, num_bins)[filled] / counts[filled] for values in (probabilities, happened)
    )
    return means, shares, counts[filled]


def expected_calibration_error(probabilities: ArrayLike, happened: ArrayLike, num_bins: int = 15) -> float:
    """The mean distance between the probability that events were given and how often they happened, over bins.

    `sum_k n_k / n |mean probability_k - share_k|`. With the probability of the predicted class, and whether it was
    right, it is the ECE of a classifier.

    Args:
      probabilities, happened, num_bins: as of `binned_frequencies`.

    Example:
      >>> round(expected_calibration_error([0.9, 0.9, 0.9, 0.9], [1, 1, 1, 0]), 4)
      0.15

    Source: Guo, Pleiss, Sun and Weinberger, On calibration of modern neural networks, 2017.
    """
    means, shares, counts = binned_frequencies(probabilities, happened, num_bins)
    return float(np.sum(counts * np.abs(means - shares)) / np.sum(counts))
