"""The figures of likelihoods and fits: what they draw, where they mark it, and that they leave matplotlib alone."""

import matplotlib
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from matplotlib.figure import Figure
from scipy import stats

from nllfit import maximum_likelihood, plots

tfd = tfp.distributions


@pytest.fixture
def ax():
    before = dict(matplotlib.rcParams)
    axes = Figure().subplots()
    yield axes
    axes.figure.canvas.draw()
    assert dict(matplotlib.rcParams) == before


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_likelihood_curve_marks_the_maximum_and_the_interval(ax):
    theta = np.linspace(0, 1, 201)
    y = [0, 0, 0, 1, 0]
    grid = tfd.Bernoulli(probs=tf.constant(theta))
    assert plots.likelihood_curve(ax, grid, y, theta, name="theta", interval=(0.1, 0.6)) is ax
    curve, mark = ax.get_lines()
    np.testing.assert_allclose(curve.get_ydata(), theta * (1 - theta) ** 4, atol=1e-15)
    assert mark.get_xdata()[0] == pytest.approx(0.2)
    assert ax.get_xlabel() == "theta"
    assert labels(ax) == ["maximum at 0.2", "interval: 0.1 to 0.6"]


def test_likelihood_surface_is_brightest_at_the_mark(ax):
    mu, sigma = np.linspace(-2, 2, 81), np.linspace(0.3, 2.0, 69)
    plots.likelihood_surface(ax, tfd.Normal(mu[None, :], sigma[:, None]), [-1.0, 0.0, 1.0], mu, sigma)
    height = ax.collections[0].get_array().reshape(69, 81)
    row, column = np.unravel_index(height.argmax(), height.shape)
    (mark,) = ax.get_lines()
    assert (mark.get_xdata()[0], mark.get_ydata()[0]) == (mu[column], sigma[row])
    assert abs(mu[column]) < 1e-12
    assert sigma[row] == pytest.approx(np.sqrt(2 / 3), abs=0.0125)  # half a step of the grid


def test_profile_curve_reaches_beyond_its_interval(ax):
    estimate = maximum_likelihood("Exponential", np.arange(1.0, 21.0))
    plots.profile_curve(ax, estimate, "rate", level=0.9)
    curve, mark, cutoff = ax.get_lines()
    assert mark.get_xdata()[0] == pytest.approx(estimate.parameters["rate"])
    assert cutoff.get_ydata()[0] == pytest.approx(-stats.chi2(1).ppf(0.9) / 2)
    low, high = estimate.confidence_intervals(0.9, method="profile")["rate"]
    assert curve.get_xdata()[0] < low < high < curve.get_xdata()[-1]
    assert curve.get_ydata().max() == pytest.approx(0, abs=1e-9)
    # The curve crosses the cut-off at the interval's ends; it is drawn with 21 points a side, a parabola's chord.
    np.testing.assert_allclose(np.interp([low, high], *curve.get_data()), cutoff.get_ydata()[0], rtol=5e-3)
    assert "nats" not in ax.get_xlabel()
    assert "nats" in ax.get_ylabel()


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
    counts = np.random.default_rng(0).negative_binomial(2, 1e-5, 100)  # about 2e5
    ax = plots.fitted_density(Figure().subplots(), maximum_likelihood("NegativeBinomial", counts), counts)
    assert len(ax.patches) < 100
    assert sum(bar.get_height() * bar.get_width() for bar in ax.patches) == pytest.approx(1)
    assert ax.get_ylabel() == "probability"
    ax = plots.fitted_density(Figure().subplots(), maximum_likelihood("Exponential", [3.0]), [3.0])
    (dot,) = ax.get_lines()  # a line through one point would not be seen
    assert dot.get_marker() == "o"
    assert dot.get_ydata()[0] == pytest.approx(np.exp(-1) / 3)


def test_a_density_of_vectors_cannot_be_drawn():
    y = np.random.default_rng(0).normal(size=(20, 2))
    with pytest.raises(ValueError, match=r"shape \(20, 2\)"):
        plots.fitted_density(Figure().subplots(), maximum_likelihood("Normal", y), y)


def test_a_likelihood_too_small_for_a_float_is_drawn_in_parts_of_its_maximum(ax):
    mu, y = np.linspace(-1, 1, 101), np.random.default_rng(0).normal(0.1, 1, 5000)
    plots.likelihood_curve(ax, tfd.Normal(mu, 1.0), y, mu)
    curve, mark = ax.get_lines()
    assert mark.get_xdata()[0] == mu[np.argmin(np.abs(mu - y.mean()))]
    assert curve.get_ydata().max() == 1
    assert ax.get_ylabel() == "likelihood / maximum"


def test_what_cannot_be_drawn_is_named(ax):
    mu, sigma = np.linspace(-1, 1, 5), np.linspace(1, 2, 4)
    y = np.array([1.0, 2.0, 4.0])
    with pytest.raises(ValueError, match=r"batch shape \(5,\), but `values` make \(4,\)"):
        plots.likelihood_curve(ax, tfd.Normal(mu, 1.0), y, mu[:4])
    with pytest.raises(ValueError, match=r"batch shape \(5, 4\), but `y_values` and `x_values` make \(4, 5\)"):
        plots.likelihood_surface(ax, tfd.Normal(mu[:, None], sigma), y, mu, sigma)
    with pytest.raises(ValueError, match="`mu` is no parameter"):
        plots.profile_curve(ax, maximum_likelihood("Normal", y), "mu")
    with pytest.raises(ValueError, match=r"`loc` has shape \(2,\)"):
        plots.profile_curve(ax, maximum_likelihood("Normal", np.stack([y, y], 1)), "loc")
    with pytest.raises(ValueError, match=r"holds -1.0, which Gamma cannot have"):
        plots.fitted_density(ax, maximum_likelihood("Gamma", y), y - 2)
