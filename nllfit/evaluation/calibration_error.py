"""Calibration errors: how far observed frequencies are from predicted probabilities."""

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["binned_frequencies", "expected_calibration_error", "miscalibration_area"]

_BLOCK = 2**16  # the number of PITs that are processed at once, to limit memory


def miscalibration_area(pit: ArrayLike) -> float:
    """Returns the area between the distribution function of the PITs and that of a uniform distribution.

    A PIT (probability integral transform) is the predicted CDF at the outcome. PITs are uniform if the model is
    correct. The area is `integral_0^1 |share(PIT <= p) - p| dp`, which is between 0 (perfect) and 1/2. It is 1/4 if
    every outcome is the predicted median. A correct model has an expected area of about `0.31 / sqrt(n)` for `n`
    independent outcomes.

    Args:
      pit: PITs, of any shape.

    Example:
      >>> miscalibration_area([0.5, 0.5])
      0.25

    Source: Kuleshov, Fenner and Ermon, Accurate uncertainties for deep learning using calibrated regression, 2018. The
    `miscalibration_area` of uncertainty-toolbox approximates the same area on a grid of `p`.
    """
    pit = np.sort(np.ravel(pit))
    return sum(_area(pit, first) for first in range(0, len(pit), _BLOCK))


def _area(pit, first):
    """Returns how much one block of sorted PITs adds to the miscalibration area. The block starts at index `first`."""
    total, block = len(pit), pit[first : first + _BLOCK]
    ends = np.arange(first, first + len(block) + 1) / total
    low, high = ends[:-1], ends[1:]
    # The area between two distribution functions equals the area between their quantile functions. The i-th sorted PIT
    # is the quantile for all probabilities between its `low` and `high`.
    inside = np.clip(block, low, high)
    areas = np.abs((low + inside) / 2 - block) * (inside - low) + np.abs((inside + high) / 2 - block) * (high - inside)
    return float(areas.sum())


def binned_frequencies(
    probabilities: ArrayLike, happened: ArrayLike, num_bins: int = 15
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compares predicted probabilities with observed frequencies, in bins of equal width.

    Args:
      probabilities: `[n]`, between 0 and 1.
      happened: `[n]`, 1 or true where the event happened.
      num_bins: the number of bins. Bin `k` is `((k - 1) / num_bins, k / num_bins]`; the first one also contains 0.

    Returns:
      Three arrays with one element for each bin that is not empty: the mean of the predictions in the bin, the share of
      these predictions whose event happened, and the number of these predictions.

    Example:
      >>> means, shares, counts = binned_frequencies([0.1, 0.5, 0.6], [0, 1, 1], num_bins=2)
      >>> means.round(3).tolist(), shares.tolist(), counts.tolist()
      ([0.3, 0.6], [0.5, 1.0], [2, 1])
    """
    probabilities, happened = np.ravel(probabilities).astype(float), np.ravel(happened).astype(float)
    # `linspace` would round the edge 5 / 12 down, so a probability of 5 / 12 would be in the next bin.
    edges = np.arange(1, num_bins) / num_bins
    bins = np.searchsorted(edges, probabilities, side="left")
    counts = np.bincount(bins, minlength=num_bins)
    filled = counts > 0
    means, shares = (
        np.bincount(bins, values, num_bins)[filled] / counts[filled] for values in (probabilities, happened)
    )
    return means, shares, counts[filled]


def expected_calibration_error(probabilities: ArrayLike, happened: ArrayLike, num_bins: int = 15) -> float:
    """Returns the expected calibration error (ECE): `sum_k n_k / n |mean probability_k - share_k|` over bins `k`.

    For the ECE of a classifier, `probabilities` are those of the predicted classes, and `happened` says whether the
    predicted class was right.

    Args:
      probabilities, happened, num_bins: as for `binned_frequencies`.

    Example:
      >>> round(expected_calibration_error([0.9, 0.9, 0.9, 0.9], [1, 1, 1, 0]), 4)
      0.15

    Source: Guo, Pleiss, Sun and Weinberger, On calibration of modern neural networks, 2017.
    """
    means, shares, counts = binned_frequencies(probabilities, happened, num_bins)
    return float(np.sum(counts * np.abs(means - shares)) / np.sum(counts))
