"""Figures of likelihoods: the curves, the mark at the maximum, and the interval."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import stats

from nllfit import plots
from tests.plots.conftest import labels

tfd = tfp.distributions


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


def test_a_likelihood_that_underflows_is_drawn_relative_to_its_maximum(ax):
    mu, y = np.linspace(-1, 1, 101), np.random.default_rng(0).normal(0.1, 1, 5000)
    plots.likelihood_curve(ax, tfd.Normal(mu, 1.0), y, mu)
    curve, mark = ax.get_lines()
    assert mark.get_xdata()[0] == mu[np.argmin(np.abs(mu - y.mean()))]
    assert curve.get_ydata().max() == 1
    assert ax.get_ylabel() == "likelihood / maximum"


def test_a_grid_of_another_shape_is_refused(ax):
    mu, sigma = np.linspace(-1, 1, 5), np.linspace(1, 2, 4)
    y = np.array([1.0, 2.0, 4.0])
    with pytest.raises(ValueError, match=r"batch shape \(5,\), but `values` make \(4,\)"):
        plots.likelihood_curve(ax, tfd.Normal(mu, 1.0), y, mu[:4])
    with pytest.raises(ValueError, match=r"batch shape \(5, 4\), but `y_values` and `x_values` make \(4, 5\)"):
        plots.likelihood_surface(ax, tfd.Normal(mu[:, None], sigma), y, mu, sigma)


def test_a_likelihood_that_overflows_is_drawn_relative_to_its_maximum(ax):
    sigma, y = np.linspace(0.05, 0.2, 31), np.random.default_rng(0).normal(0, 0.1, 1000)
    plots.likelihood_curve(ax, tfd.Normal(np.float64(0), sigma), y, sigma)
    exact = stats.norm(0, sigma[:, None]).logpdf(y).sum(1)
    np.testing.assert_allclose(ax.get_lines()[0].get_ydata(), np.exp(exact - exact.max()), rtol=1e-9)
    assert ax.get_ylabel() == "likelihood / maximum"
