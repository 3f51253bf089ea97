"""Plots of goodness of fit. The plotted numbers are compared with SciPy, R and published values."""

import numpy as np
import pytest
from scipy import stats

from nllfit import maximum_likelihood, plots
from nllfit.plots.goodness_figures import rank_band
from tests.plots.conftest import labels

Y = np.random.default_rng(0).gamma(2.0, 3.0, 50)


@pytest.fixture(scope="module")
def estimate():
    return maximum_likelihood("Gamma", Y)


def test_qq_and_pp_draw_the_quantiles_and_probabilities_of_the_fit(ax, estimate):
    fitted = stats.gamma(estimate.parameters["concentration"], scale=1 / estimate.parameters["rate"])
    positions = (np.arange(50) + 0.5) / 50
    plots.qq(ax, estimate)
    x, y = ax.get_lines()[-1].get_data()
    np.testing.assert_allclose(x, fitted.ppf(positions), rtol=1e-9)
    np.testing.assert_array_equal(y, np.sort(Y))
    assert labels(ax) == ["95% of samples are inside", "as fitted", "50 outcomes"]
    ax.clear()
    plots.pp(ax, estimate)
    x, y = ax.get_lines()[-1].get_data()
    np.testing.assert_allclose(y, fitted.cdf(np.sort(Y)), rtol=1e-9)


def test_the_band_contains_all_dots_in_95_percent_of_samples(ax, estimate):
    plots.pp(ax, estimate)
    low, high = np.split(ax.collections[0].get_paths()[0].vertices[:, 1][1:-1], [51])
    low, high = low[:50], np.sort(high)[:50]
    uniform = np.sort(np.random.default_rng(1).uniform(size=[2000, 50]), axis=1)
    inside = np.all((low <= uniform) & (uniform <= high), axis=1).mean()
    assert abs(inside - 0.95) < 0.02  # 2.9 standard errors of the two simulations


def test_invalid_arguments_are_refused(ax):
    with pytest.raises(ValueError, match="are counts"):
        plots.qq(ax, maximum_likelihood("Poisson", [1, 2, 3]))
    with pytest.raises(ValueError, match="are vectors"):
        plots.pp(ax, maximum_likelihood("Normal", np.stack([Y, Y**2], 1)))


@pytest.mark.thorough
def test_a_band_of_ten_million_dots_takes_little_memory():
    """The band is simulated. All simulated samples at once would take 149 GiB."""
    ranks, low, high = rank_band(10**7)
    beta = stats.beta(ranks, 10**7 + 1 - ranks)
    np.testing.assert_allclose(beta.cdf(low), beta.cdf(low)[0], rtol=1e-4)  # one level for all ranks
    np.testing.assert_allclose(beta.sf(high), beta.cdf(low)[0], rtol=1e-4)
    assert 1e-4 < beta.cdf(low)[0] < 0.0016  # for 50 dots the level is 0.0015
