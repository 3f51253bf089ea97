"""Figures of calibration. Their intervals and bands are compared with SciPy and statsmodels."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint
from tensorflow_probability import distributions as tfd

import nllfit
from nllfit import plots
from tests.plots.conftest import labels

PIT = np.random.default_rng(0).uniform(size=[100, 2])


def test_reliability_diagram_has_wilson_intervals_and_counts(ax):
    probabilities = np.repeat([0.02, 0.5, 0.9], [10, 20, 30])
    y = np.concatenate([np.zeros(10), np.arange(20) % 2, np.arange(30) < 15])
    assert plots.reliability_diagram(ax, y, probabilities) is ax
    points = ax.get_lines()[1]
    np.testing.assert_allclose(points.get_xdata(), [0.02, 0.5, 0.9])
    np.testing.assert_allclose(points.get_ydata(), [0, 0.5, 0.5])
    bars = np.array([segment[:, 1] for segment in ax.collections[0].get_segments()])
    reference = proportion_confint([0, 10, 15], [10, 20, 30], method="wilson")
    np.testing.assert_allclose(bars, np.transpose(reference), atol=1e-12)
    assert [text.get_text() for text in ax.texts] == ["10", "20", "30"]
    assert f"calibration error {(0.02 * 10 + 0.4 * 30) / 60:.3f}" in labels(ax)[1]


def test_reliability_diagram_of_classes_uses_the_predicted_class(ax):
    plots.reliability_diagram(ax, [0, 2, 1], [[0.6, 0.3, 0.1], [0.6, 0.3, 0.1], [0.0, 1.0, 0.0]])
    np.testing.assert_allclose(ax.get_lines()[1].get_xydata(), [[0.6, 0.5], [1, 1]])
    assert "likeliest" in ax.get_xlabel()


@pytest.mark.parametrize("kind", ["Bernoulli", "Categorical", "OneHotCategorical"])
def test_reliability_diagram_accepts_the_attributes_of_an_evaluation(ax, kind):
    logits = np.random.default_rng(0).normal(size=[40, 3])
    distribution = tfd.Independent(tfd.Bernoulli(logits), 1) if kind == "Bernoulli" else getattr(tfd, kind)(logits)
    evaluation = nllfit.evaluate(distribution, y=distribution.sample(seed=1))
    plots.reliability_diagram(ax, evaluation.y, evaluation.probabilities)
    assert f"calibration error {evaluation.calibration_error:.3f}" in labels(ax)[1]


def test_pit_histogram_has_a_binomial_band(ax):
    assert plots.pit_histogram(ax, PIT, num_bins=5) is ax
    counts = np.histogram(PIT, 5, (0, 1))[0]
    np.testing.assert_allclose([bar.get_height() for bar in ax.patches], counts / 40)
    low, high = stats.binom(200, 0.2).interval(0.95)
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == pytest.approx((low / 40, high / 40))


def test_coverage_curve_has_the_shares_and_a_binomial_band(ax):
    assert plots.coverage_curve(ax, PIT) is ax
    curve = ax.get_lines()[1]
    for level in (0.25, 0.5, 0.9):
        share = curve.get_ydata()[np.searchsorted(curve.get_xdata(), level) - 1]
        assert share == np.mean(np.abs(PIT - 0.5) <= level / 2)
    x, y = ax.collections[0].get_paths()[0].vertices.T
    at_90 = y[np.isclose(x, 0.9)]
    assert (at_90.min(), at_90.max()) == pytest.approx(np.array(stats.binom(200, 0.9).interval(0.95)) / 200)


def test_invalid_arguments_are_refused(ax):
    with pytest.raises(ValueError, match=r"`y` has shape \(2,\) and `probabilities` \(3,\)"):
        plots.reliability_diagram(ax, [0, 1], [0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match="not between 0 and 1"):
        plots.reliability_diagram(ax, [0, 1], [0.1, 1.2])
    with pytest.raises(ValueError, match="`pit` has 1 masked values"):
        plots.pit_histogram(ax, np.ma.masked_array([0.5, 0.6], [True, False]))
    for pit in (None, [], [0.5, np.nan], [2.0]):
        with pytest.raises(ValueError, match="`pit` is empty or has a number that is not between 0 and 1"):
            plots.pit_histogram(ax, pit)
        with pytest.raises(ValueError, match="`pit` is empty or has a number that is not between 0 and 1"):
            plots.coverage_curve(ax, pit)
    ax.plot([0], [0])
