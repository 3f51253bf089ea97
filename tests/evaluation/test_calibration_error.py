"""Compares calibration errors with values computed by hand. Some of the probabilities lie on the edges of bins."""

import numpy as np
import pytest

from nllfit.evaluation.calibration_error import binned_frequencies, expected_calibration_error


@pytest.mark.parametrize("num_bins", [2, 6, 10, 12, 15, 20])
def test_a_bin_contains_its_upper_edge_and_not_its_lower_one(num_bins):
    for k in range(1, num_bins):
        edge = k / num_bins
        means, shares, counts = binned_frequencies([np.nextafter(edge, 0), edge], [0, 1], num_bins)
        assert (means.tolist(), shares.tolist(), counts.tolist()) == ([pytest.approx(edge, rel=1e-15)], [0.5], [2]), k
        means, shares, counts = binned_frequencies([edge, np.nextafter(edge, 1)], [0, 1], num_bins)
        assert (means.tolist(), shares.tolist(), counts.tolist()) == ([edge, np.nextafter(edge, 1)], [0, 1], [1, 1]), k


def test_the_first_bin_contains_0_and_the_last_one_1():
    means, shares, counts = binned_frequencies([0.0, 0.25, 1.0], [0, 1, 1], 4)
    assert (means.tolist(), shares.tolist(), counts.tolist()) == ([0.125, 1.0], [0.5, 1.0], [2, 1])


def test_a_probability_on_an_edge_counts_in_the_lower_bin():
    # In (0, 1/2], the mean probability is 0.45 and the share of ones is 1/2. If each bin contained its lower edge
    # instead of its upper edge, the error would be 0.45.
    assert expected_calibration_error([0.4, 0.5], [0, 1], num_bins=2) == pytest.approx(0.05, rel=1e-12)


def test_there_are_15_bins_by_default():
    probabilities = np.linspace(0.01, 0.99, 99)
    _, _, counts = binned_frequencies(probabilities, probabilities > 0.3)
    assert (len(counts), counts.sum()) == (15, 99)
    error = expected_calibration_error(probabilities, probabilities > 0.3)
    assert error == expected_calibration_error(probabilities, probabilities > 0.3, num_bins=15)
