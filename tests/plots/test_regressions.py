"""Figures of regressions: sorted residuals, and observed survival with its standard errors."""

import numpy as np
import pytest
from scipy import stats

from nllfit import plots, survival_scores


def test_residuals_of_a_true_model_are_inside_the_band(ax):
    residuals = np.random.default_rng(0).normal(size=100)
    assert plots.residual_qq(ax, residuals) is ax
    line = ax.get_lines()[1]
    np.testing.assert_array_equal(line.get_ydata(), np.sort(residuals))
    np.testing.assert_allclose(line.get_xdata(), stats.norm.ppf((np.arange(100) + 0.5) / 100), rtol=1e-9)
    low, high = _band(ax)
    assert (low <= np.sort(residuals)).all()
    assert (np.sort(residuals) <= high).all()
    assert (np.sort(2 * residuals)[[0, -1]] != np.clip(np.sort(2 * residuals), low, high)[[0, -1]]).any()


def _band(ax):
    """The lower and the upper ends of the band at the 100 dots."""
    vertices = ax.collections[0].get_paths()[0].vertices
    return vertices[1:101, 1], vertices[102:202, 1][::-1]


def test_survival_calibration_draws_observed_survival(ax):
    time = np.arange(1.0, 41.0)
    found = survival_scores.calibration_at(time, np.ones(40), time / 41, 20.5, num_groups=4)
    assert plots.survival_calibration(ax, found) is ax
    np.testing.assert_allclose(found.observed, [0.0, 0.0, 1.0, 1.0])
    np.testing.assert_array_equal(ax.get_lines()[1].get_ydata(), found.observed)


def test_masked_residuals_are_refused(ax):
    with pytest.raises(ValueError, match="`residuals` has 1 masked values"):
        plots.residual_qq(ax, np.ma.masked_array([0.5, 0.6, 9.0], [False, False, True]))


@pytest.mark.parametrize("residuals", [[1.0], [0.0, np.nan], [[0.0, 1.0]]])
def test_invalid_arguments_are_refused(ax, residuals):
    with pytest.raises(ValueError, match="`residuals` is of shape"):
        plots.residual_qq(ax, residuals)
