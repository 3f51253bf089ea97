"""Figures of fits: a profile with its interval, and a density over its sample."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy import stats

from nllfit import maximum_likelihood, plots
from tests.plots.conftest import labels


@pytest.mark.thorough
def test_profile_curve_reaches_beyond_its_interval(ax):
    estimate = maximum_likelihood("Exponential", np.arange(1.0, 21.0))
    plots.profile_curve(ax, estimate, "rate", level=0.9)
    curve, mark, cutoff = ax.get_lines()
    assert mark.get_xdata()[0] == pytest.approx(estimate.parameters["rate"])
    assert cutoff.get_ydata()[0] == pytest.approx(-stats.chi2(1).ppf(0.9) / 2)
    low, high = estimate.confidence_intervals(0.9, method="profile")["rate"]
    assert curve.get_xdata()[0] < low < high < curve.get_xdata()[-1]
    assert curve.get_ydata().max() == pytest.approx(0, abs=1e-9)
    # The curve crosses the horizontal line at the ends of the interval, up to the error of linear interpolation.
    np.testing.assert_allclose(np.interp([low, high], *curve.get_data()), cutoff.get_ydata()[0], rtol=5e-3)
    assert "nats" not in ax.get_xlabel()
    assert "nats" in ax.get_ylabel()


@pytest.mark.thorough
def test_fitted_density_over_a_histogram_and_over_counts():
    y = np.random.default_rng(0).gamma(3, 2, 200)
    ax = Figure().subplots()
    for family in ("Gamma", "LogNormal"):
        plots.fitted_density(ax, maximum_likelihood(family, y), y)
    assert labels(ax) == ["sample", "Gamma", "LogNormal"]
    assert sum(bar.get_height() * bar.get_width() for bar in ax.patches) == pytest.approx(1)
    counts = np.array([0, 1, 1, 2, 2, 2, 4])
    ax = plots.fitted_density(Figure().subplots(), maximum_likelihood("Poisson", counts), counts)
    assert [bar.get_height() for bar in ax.patches] == pytest.approx([1 / 7, 2 / 7, 3 / 7, 0, 1 / 7])
    counts = np.random.default_rng(0).negative_binomial(2, 1e-5, 100)  # counts of about 2e5
    ax = plots.fitted_density(Figure().subplots(), maximum_likelihood("NegativeBinomial", counts), counts)
    assert len(ax.patches) < 100
    assert sum(bar.get_height() * bar.get_width() for bar in ax.patches) == pytest.approx(1)
    assert ax.get_ylabel() == "probability"
    ax = plots.fitted_density(Figure().subplots(), maximum_likelihood("Exponential", [3.0]), [3.0])
    (dot,) = ax.get_lines()  # one point is drawn as a dot, because a line would be invisible
    assert dot.get_marker() == "o"
    assert dot.get_ydata()[0] == pytest.approx(np.exp(-1) / 3)


def test_a_density_of_vectors_cannot_be_drawn():
    y = np.random.default_rng(0).normal(size=(20, 2))
    with pytest.raises(ValueError, match=r"shape \(20, 2\)"):
        plots.fitted_density(Figure().subplots(), maximum_likelihood("Normal", y), y)


def test_invalid_arguments_are_refused(ax):
    y = np.array([1.0, 2.0, 4.0])
    with pytest.raises(ValueError, match="`mu` is not a parameter"):
        plots.profile_curve(ax, maximum_likelihood("Normal", y), "mu")
    with pytest.raises(ValueError, match=r"`loc` has shape \(2,\)"):
        plots.profile_curve(ax, maximum_likelihood("Normal", np.stack([y, y], 1)), "loc")
    with pytest.raises(ValueError, match=r"holds -1.0, which Exponential cannot have"):
        plots.fitted_density(ax, maximum_likelihood("Exponential", y), y - 2)
    with pytest.raises(ValueError, match="`y` has 1 masked values"):
        plots.fitted_density(ax, maximum_likelihood("Exponential", y), np.ma.masked_equal(y, 2))


def test_profile_curve_without_an_end_reaches_beyond_the_wald_interval(ax, monkeypatch):
    estimate = maximum_likelihood("Exponential", np.arange(1.0, 21.0))
    wald = estimate.confidence_intervals()["rate"]
    intervals = {"wald": {"rate": wald}, "profile": {"rate": np.array([-np.inf, np.inf])}}  # no finite end
    monkeypatch.setattr(
        type(estimate), "confidence_intervals", lambda self, level, method="wald", names=(): intervals[method]
    )
    plots.profile_curve(ax, estimate, "rate")
    x = ax.get_lines()[0].get_xdata()
    assert x[0] < wald[0] < wald[1] < x[-1]
