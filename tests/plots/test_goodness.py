"""Quantiles, probabilities and survival beside what was observed: as SciPy has them."""

import numpy as np
import pytest
from scipy import stats

from nllfit import maximum_likelihood, plots
from tests.plots.conftest import labels

Y = np.random.default_rng(0).gamma(2.0, 3.0, 50)


def test_quantiles_and_probabilities_are_those_of_the_fit(ax):
    estimate = maximum_likelihood("Gamma", Y)
    fitted = stats.gamma(estimate.parameters["concentration"], scale=1 / estimate.parameters["rate"])
    positions = (np.arange(50) + 0.5) / 50
    plots.qq(ax, estimate)
    x, y = ax.get_lines()[-1].get_data()
    np.testing.assert_allclose(x, fitted.ppf(positions), rtol=1e-9)
    np.testing.assert_array_equal(y, np.sort(Y))
    assert labels(ax) == ["95 % of samples are inside", "as fitted", "50 outcomes"]
    ax.clear()
    plots.pp(ax, estimate)
    x, y = ax.get_lines()[-1].get_data()
    np.testing.assert_allclose(y, fitted.cdf(np.sort(Y)), rtol=1e-9)


def test_the_band_holds_all_dots_of_95_in_100_samples(ax):
    plots.pp(ax, maximum_likelihood("Gamma", Y))
    low, high = np.split(ax.collections[0].get_paths()[0].vertices[:, 1][1:-1], [51])
    low, high = low[:50], np.sort(high)[:50]
    uniform = np.sort(np.random.default_rng(1).uniform(size=[2000, 50]), axis=1)
    inside = np.all((low <= uniform) & (uniform <= high), axis=1).mean()
    assert abs(inside - 0.95) < 0.02  # four errors of both counts


def test_kaplan_meier_is_scipys(ax):
    rng = np.random.default_rng(0)
    time, until = rng.weibull(1.5, 40).round(2), rng.uniform(0.2, 2.0, 40).round(2)
    seen, time = time <= until, np.minimum(time, until)
    known = stats.ecdf(stats.CensoredData.right_censored(time, ~seen)).sf
    plots.survival_curve(ax, time, seen, [maximum_likelihood("Weibull", time)])
    steps, heights = ax.get_lines()[0].get_data()
    np.testing.assert_allclose(heights[:-1], np.append(1.0, known.evaluate(steps[1:-1])), rtol=1e-12)
    low = known.confidence_interval(method="log-log").low
    drawn = ax.collections[0].get_paths()[0].vertices
    middle = steps[10]
    heights_there = drawn[np.isclose(drawn[:, 0], middle), 1]
    assert np.min(np.abs(heights_there - low.evaluate(middle))) < 1e-9
    assert labels(ax)[1:] == [f"Kaplan-Meier, {seen.sum()} of 40 seen", "censored", "Weibull"]
    curve = ax.get_lines()[-1].get_data()
    assert np.all(np.diff(curve[1]) < 0)


def test_what_cannot_be_drawn_is_named(ax):
    with pytest.raises(ValueError, match="are counts"):
        plots.qq(ax, maximum_likelihood("Poisson", [1, 2, 3]))
    with pytest.raises(ValueError, match="are vectors"):
        plots.pp(ax, maximum_likelihood("Normal", np.stack([Y, Y**2], 1)))
    with pytest.raises(ValueError, match=r"`time` has shape \(2,\) and `observed` \(3,\)"):
        plots.survival_curve(ax, [1.0, 2.0], [True, False, True])
    with pytest.raises(ValueError, match="`observed` has no event"):
        plots.survival_curve(ax, [1.0, 2.0], [False, False])
