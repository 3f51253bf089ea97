"""Plots of Kaplan-Meier and Turnbull survival curves, compared with SciPy, R and published values."""

import numpy as np
import pytest
from scipy import stats
from tensorflow_probability import distributions as tfd

from nllfit import Censored, Truncated, left_censored, maximum_likelihood, plots, right_censored
from nllfit.plots.nonparametric_survival import survival_steps
from tests.plots.conftest import labels


def test_kaplan_meier_matches_scipy(ax):
    rng = np.random.default_rng(0)
    time, until = rng.weibull(1.5, 40).round(2), rng.uniform(0.2, 2.0, 40).round(2)
    seen, time = time <= until, np.minimum(time, until)
    known = stats.ecdf(stats.CensoredData.right_censored(time, ~seen)).sf
    plots.survival_curve(ax, time, seen, [maximum_likelihood("Exponential", time)])
    steps, heights = ax.get_lines()[0].get_data()
    np.testing.assert_allclose(heights[:-1], np.append(1.0, known.evaluate(steps[1:-1])), rtol=1e-12)
    low = known.confidence_interval(method="log-log").low
    drawn = ax.collections[0].get_paths()[0].vertices
    middle = steps[10]
    heights_there = drawn[np.isclose(drawn[:, 0], middle), 1]
    assert np.min(np.abs(heights_there - low.evaluate(middle))) < 1e-9
    assert labels(ax)[1:] == [f"Kaplan-Meier, {seen.sum()} of 40 seen", "censored", "Exponential"]
    curve = ax.get_lines()[-1].get_data()
    assert np.all(np.diff(curve[1]) < 0)


def test_pairs_and_times_with_flags_draw_the_same_curve(ax):
    time, seen = np.array([2.0, 3.0, 5.0, 4.0, 1.0]), np.array([True, True, False, True, False])
    pairs = right_censored(time, seen)
    plots.survival_curve(ax, time, seen)
    expected = ax.get_lines()[0].get_data()
    estimate = maximum_likelihood(Censored("Exponential"), pairs)
    for given in (pairs, stats.CensoredData.right_censored(time, ~seen)):
        ax.clear()
        plots.survival_curve(ax, given, estimates=[estimate])
        np.testing.assert_array_equal(ax.get_lines()[0].get_data(), expected)
    assert labels(ax)[-1] == "Censored(Exponential)"


def test_the_survival_of_a_distribution_is_drawn(ax):
    """TFP's `LogNormal` is a flow, whose `distribution` is a Normal."""
    plots.survival_curve(ax, [2.0, 3.0, 5.0], estimates=[tfd.LogNormal(np.float64(1.0), 0.5)])
    grid, curve = ax.get_lines()[-1].get_data()
    np.testing.assert_allclose(curve, stats.lognorm(0.5, scale=np.e).sf(grid), rtol=1e-9)
    assert labels(ax)[-1] == "LogNormal"


@pytest.mark.thorough
def test_delayed_entry_changes_the_numbers_at_risk(ax):
    entry, time = np.array([0.0, 0.0, 1.5, 2.5]), np.array([1.0, 2.0, 3.0, 4.0])
    rows = np.column_stack([right_censored(time, [1, 1, 1, 0]), entry])
    fitted = maximum_likelihood(Censored(Truncated("Exponential", low="row")), rows)
    plots.survival_curve(ax, rows, estimates=[fitted])
    heights = ax.get_lines()[0].get_data()[1]
    np.testing.assert_allclose(heights, [1, 1 / 2, 1 / 4, 1 / 8, 1 / 8])  # two rows are at risk at each event


# Months to breast retraction after radiotherapy (Finkelstein and Wolfe, 1985): pairs of lower and upper ends.
RETRACTION = """
    45 inf 6 10 0 7 46 inf 46 inf 7 16 17 inf 7 14 37 44 0 8 4 11 15 inf 11 15 22 inf 46 inf 46 inf 25 37 46 inf 26 40
    46 inf 27 34 36 44 46 inf 36 48 37 inf 40 inf 17 25 46 inf 11 18 38 inf 5 12 37 inf 0 5 18 inf 24 inf 36 inf 5 11
    19 35 17 25 24 inf 32 inf 33 inf 19 26 37 inf 34 inf 36 inf
"""


def test_turnbulls_curve_matches_r(ax):
    """The reference is the output of R's `interval::icfit` for these data."""
    y = np.array(RETRACTION.split(), float).reshape(-1, 2)
    assert len(y) == 46
    found = survival_steps(y)
    falls = -np.diff(np.append(1.0, found.heights))
    kept = falls > 1e-4
    np.testing.assert_array_equal(found.times[kept], [5, 7, 8, 12, 25, 34, 40, 48])
    expected = [0.0463, 0.0334, 0.0887, 0.0708, 0.0926, 0.0818, 0.1209, 0.4656]
    np.testing.assert_allclose(falls[kept], expected, atol=6e-5)
    plots.survival_curve(ax, y)
    assert labels(ax) == ["Turnbull, 0 of 46 seen", "censored"]


def test_turnbulls_curve_of_left_censored_times_mirrors_kaplan_meier():
    time = np.random.default_rng(0).weibull(1.5, 40).round(1)
    seen = time > 0.5  # with the opposite sign, left-censored times are right-censored
    found, mirrored = survival_steps(left_censored(time, seen)), survival_steps(right_censored(-time, seen))
    assert (found.estimator, mirrored.estimator) == ("Turnbull", "Kaplan-Meier")
    np.testing.assert_allclose(found.at(time[seen] - 1e-9), 1 - mirrored.at(-time[seen]), atol=1e-5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([[[1.0, 1, 2], [3, 3, 1]]], r"has \[1.0, 1.0, 2.0\] at row 0: its entry, the last number, is not before"),
        ([[[2.0, 2, 0], [3, 3, 3]]], r"has \[3.0, 3.0, 3.0\] at row 1: its entry, the last number, is not before"),
        ([[[6.0, 6, 0], [7, 7, np.nan]]], r"has \[7.0, 7.0, nan\] at row 1: give -inf as its last number, the entry"),
        ([[[2.0, np.inf, np.nan], [7, 7, 0]]], r"has \[2.0, inf, nan\] at row 0: give -inf as its last number"),
        ([[[1.0, 1], [np.nan, 2]]], r"has \[nan, 2.0\] at row 1: remove such rows, or give inf as the upper end"),
        ([[[1.0, 1], [np.inf, np.inf]]], r"has \[inf, inf\] at row 1: remove such rows"),
        ([[1.0, np.nan], [1, 1]], "has nan at row 1: remove such rows, or give the time until which"),
        ([[np.inf, 1.0]], "has inf at row 0: remove such rows, or give the time until which"),
        ([[], []], "is empty, .* give at least one time"),
        ([np.zeros([0, 2])], "is empty, .* give at least one time"),
    ],
)
def test_invalid_rows_are_refused_before_anything_is_drawn(ax, given, message):
    with pytest.raises(ValueError, match=f"`time` {message}"):
        plots.survival_curve(ax, *given)
    assert not ax.get_lines()


def test_irrelevant_entry_times_do_not_change_the_curve(ax):
    """An entry before all times, and a row that is never at risk, do not change the curve."""
    plots.survival_curve(ax, [[1.0, 1, -np.inf], [2, 2, 0], [2, np.inf, 2]])
    np.testing.assert_allclose(ax.get_lines()[0].get_data()[1], [1, 1 / 2, 0, 0])


def test_invalid_times_and_flags_are_refused(ax):
    with pytest.raises(ValueError, match=r"`time` has shape \(2,\) and `observed` \(3,\)"):
        plots.survival_curve(ax, [1.0, 2.0], [True, False, True])
    with pytest.raises(ValueError, match="`observed` has 1 masked values"):
        plots.survival_curve(ax, [1.0, 2.0], np.ma.masked_array([True, True], [False, True]))
    with pytest.raises(ValueError, match="`observed` has no event"):
        plots.survival_curve(ax, [1.0, 2.0], [False, False])
    with pytest.raises(ValueError, match="`time` has no event"):
        plots.survival_curve(ax, right_censored([1.0, 2.0], [0, 0]))
    with pytest.raises(ValueError, match=r"`time` has shape \(2, 2\) and `observed` is given"):
        plots.survival_curve(ax, [[1.0, 1.0], [2.0, 2.0]], [True, False])
    with pytest.raises(ValueError, match="above `upper` at row 1"):
        plots.survival_curve(ax, [[1.0, 1.0], [2.0, 1.0]])
    with pytest.raises(ValueError, match="has intervals and times of entry"):
        plots.survival_curve(ax, [[1.0, 1.0, 0.0], [2.0, 3.0, 0.0]])
