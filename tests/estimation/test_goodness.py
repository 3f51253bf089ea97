"""Goodness-of-fit statistics and p-values against SciPy's."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from nllfit import (
    Censored,
    Hurdle,
    MixtureFamily,
    Truncated,
    ZeroInflated,
    goodness_of_fit,
    maximum_likelihood,
    right_censored,
)
from nllfit.estimation.delta_method import Fit
from nllfit.estimation.problem import problem_of
from nllfit.estimation.refits import Refits

Y = np.random.default_rng(0).gamma(2.0, 3.0, 60)


def test_the_statistics_match_scipy():
    found = goodness_of_fit(maximum_likelihood("Gamma", Y), num_samples=9).statistics
    shape, _, scale = stats.gamma.fit(Y, floc=0)
    fitted = stats.gamma(shape, scale=scale)
    assert found["kolmogorov_smirnov"] == pytest.approx(stats.kstest(Y, fitted.cdf).statistic, rel=1e-6)
    assert found["cramer_von_mises"] == pytest.approx(stats.cramervonmises(Y, fitted.cdf).statistic, rel=1e-6)
    i, y = np.arange(1, 61), np.sort(Y)
    squared = -60 - np.sum((2 * i - 1) / 60 * (fitted.logcdf(y) + fitted.logsf(y[::-1])))
    assert found["anderson_darling"] == pytest.approx(squared, rel=1e-6)


@pytest.mark.thorough(but="anderson_darling")
@pytest.mark.parametrize(("name", "theirs"), [("kolmogorov_smirnov", "ks"), ("anderson_darling", "ad")])
def test_the_p_values_match_scipy(name, theirs):
    known = stats.goodness_of_fit(stats.norm, Y, statistic=theirs, n_mc_samples=4999, rng=0)
    found = goodness_of_fit(maximum_likelihood("Normal", Y), num_samples=4999)
    assert found.statistics[name] == pytest.approx(known.statistic, rel=0.05)  # SciPy estimates the scale with n - 1
    assert found.p_values[name] == pytest.approx(known.pvalue, abs=4 * np.sqrt(2 * known.pvalue / 5000) + 1e-3)


@pytest.mark.thorough
def test_counts_are_tested_by_chi_square():
    y = np.random.default_rng(0).poisson(3.0, 200)
    found = goodness_of_fit(maximum_likelihood("Poisson", y))
    law = stats.poisson(y.mean())
    edges = np.arange(7)  # the largest count in each of seven bins; an eighth has the rest
    expected = 200 * np.diff([0, *law.cdf(edges), 1])
    assert expected.min() >= 5
    observed = np.bincount(np.minimum(y, 7), minlength=8)
    assert found.statistics == {"chi_square": pytest.approx(stats.chisquare(observed, expected).statistic, rel=1e-9)}
    # With 8 bins and one estimated parameter, the statistic's law is between chi-squares of 6 and 7 degrees of freedom.
    low, high = (stats.chi2(df).sf(found.statistics["chi_square"]) for df in (6, 7))
    assert low - 0.04 < found.p_values["chi_square"] < high + 0.04
    wide = np.random.default_rng(0).negative_binomial(1, 0.25, 200)
    assert goodness_of_fit(maximum_likelihood("Poisson", wide), 99).p_values["chi_square"] == 0.01
    assert goodness_of_fit(maximum_likelihood("NegativeBinomial", wide), 99).p_values["chi_square"] > 0.05


@pytest.mark.thorough
def test_the_lowest_bin_needs_as_many_expected_counts_as_the_others():
    y = np.repeat([0, 3, 4, 9], [1, 81, 117, 1])
    expected = 200 * np.diff([0, *stats.poisson(3.6).cdf(np.arange(8)), 1])
    assert expected.min() == expected[0] == pytest.approx(5.5, abs=0.1)
    observed = np.bincount(np.minimum(y, 8), minlength=9)
    found = goodness_of_fit(maximum_likelihood("Poisson", y), 1).statistics
    assert found == {"chi_square": pytest.approx(stats.chisquare(observed, expected).statistic, rel=1e-9)}


@pytest.mark.thorough
def test_three_bins_are_enough_for_one_parameter():
    y = np.repeat([0, 1, 2, 4], [15, 14, 8, 3])
    expected = 40 * np.diff([0, *stats.poisson(y.mean()).cdf([0, 1]), 1])
    found = goodness_of_fit(maximum_likelihood("Poisson", y), 1).statistics
    assert found == {"chi_square": pytest.approx(stats.chisquare([15, 14, 11], expected).statistic, rel=1e-9)}


@pytest.mark.thorough
def test_an_outcome_far_in_the_tail_takes_no_memory():
    y = np.append(np.random.default_rng(0).zipf(2.0, 100), 2_000_000_000)
    estimate = maximum_likelihood("Zipf", y)
    law = stats.zipf(estimate.parameters["power"])
    edges, last = [], 0.0
    counts = np.arange(1, 1000)
    for count, below, above in zip(counts, law.cdf(counts), law.sf(counts), strict=True):
        if 101 * (below - last) >= 5 and 101 * above >= 5:
            edges.append(count)
            last = below
    expected = 101 * np.diff([0, *law.cdf(edges), 1])
    observed = np.bincount(np.searchsorted(edges, y), minlength=len(edges) + 1)
    found = goodness_of_fit(estimate, 1).statistics
    assert found == {"chi_square": pytest.approx(stats.chisquare(observed, expected).statistic, rel=1e-6)}


@pytest.mark.thorough
def test_huge_counts_take_no_memory():
    y = np.random.default_rng(0).negative_binomial(3, 1e-9, 60)  # the counts are spread over 1e9 numbers
    estimate = maximum_likelihood("NegativeBinomial", y)
    number, probs = estimate.parameters["total_count"], estimate.parameters["probs"]
    law = stats.gamma(number, scale=probs / (1 - probs))  # nearly the fitted distribution
    itself = Refits(estimate.problem, estimate.optimum.w[None], {0: estimate.fit})
    edges = goodness_of_fit.__globals__["_bin_edges"](itself, y[None], estimate.distribution)
    expected = 60 * np.diff([0, *law.cdf(edges), 1])
    assert expected.min() > 5 - 1e-4
    assert expected[:-1].max() < 6 + 1e-4
    observed = np.bincount(np.searchsorted(edges, y), minlength=len(expected))
    found = goodness_of_fit(estimate, 1).statistics
    assert found == {"chi_square": pytest.approx(stats.chisquare(observed, expected).statistic, rel=1e-4)}


def test_drawn_samples_without_an_estimate_are_not_counted():
    estimate = maximum_likelihood("Exponential", np.random.default_rng(0).exponential(size=50))
    fits = Refits(estimate.problem, np.tile(estimate.optimum.w, [3, 1]), {1: None, 2: estimate.fit})
    below, above = fits.probabilities(np.ones([3, 2]))
    np.testing.assert_array_equal(np.isnan(below), [[False] * 2, [True] * 2, [False] * 2])
    np.testing.assert_array_equal(np.isnan(above), np.isnan(below))


def test_samples_with_the_observed_statistic_count_as_extreme(monkeypatch):
    y = np.repeat([0, 1, 2, 4], [15, 14, 8, 3])

    def drawn(fit, num_samples, seed):
        return np.tile(y[::-1], [num_samples, 1])

    # `monkeypatch.setattr` by path would not find the module, because the function `goodness_of_fit` hides it.
    monkeypatch.setitem(goodness_of_fit.__globals__, "draw_samples", drawn)
    assert goodness_of_fit(maximum_likelihood("Poisson", y), 3).p_values == {"chi_square": 1.0}


@pytest.mark.thorough  # a test above compares the p-values with SciPy's
def test_p_values_are_uniform_under_the_truth():
    rng = np.random.default_rng(3)
    found = [goodness_of_fit(maximum_likelihood("Gamma", rng.gamma(2.0, 3.0, 40)), 99).p_values for _ in range(25)]
    for name in found[0]:
        assert stats.kstest([p[name] for p in found], "uniform").pvalue > 0.01, name


def test_p_values_are_seeded_and_weights_are_repetitions():
    estimate = maximum_likelihood("Gamma", Y)
    assert goodness_of_fit(estimate, 99) == goodness_of_fit(estimate, 99)
    assert goodness_of_fit(estimate, 99).p_values != goodness_of_fit(estimate, 99, seed=1).p_values
    twice = maximum_likelihood("Gamma", Y, weights=np.full(60, 2.0))
    repeated = goodness_of_fit(maximum_likelihood("Gamma", np.repeat(Y, 2)), 9).statistics
    assert goodness_of_fit(twice, 9).statistics == pytest.approx(repeated)
    assert "kolmogorov-smirnov" in goodness_of_fit(twice, 9).summary()


@pytest.mark.thorough
def test_a_family_with_corners_can_be_tested():
    found = goodness_of_fit(maximum_likelihood("Laplace", np.random.default_rng(0).laplace(size=20)), 9)
    assert found.num_failed == 0
    assert "without a maximum" not in found.summary()
    assert "9 samples from it, 2 without a maximum\n" in dataclasses.replace(found, num_failed=2).summary()
    assert all(0.1 <= p <= 1 for p in found.p_values.values())


@pytest.mark.thorough
def test_untestable_estimates_are_refused():
    gamma = maximum_likelihood("Gamma", Y)
    with pytest.raises(TypeError, match="`estimate` is a list"):
        goodness_of_fit([1.0])
    with pytest.raises(ValueError, match=r"An outcome has shape \(2,\)"):
        goodness_of_fit(maximum_likelihood("Normal", np.stack([Y, Y**2], 1)))
    with pytest.raises(ValueError, match="weights that are not whole numbers"):
        goodness_of_fit(maximum_likelihood("Gamma", Y, weights=np.full(60, 0.5)))
    with pytest.raises(ValueError, match="fall into 1 bins"):
        goodness_of_fit(maximum_likelihood("Poisson", [1, 2, 3]))
    with pytest.raises(ValueError, match="not a maximum"):
        goodness_of_fit(maximum_likelihood("NegativeBinomial", np.tile([2, 3, 3, 4], 10)))
    with pytest.raises(ValueError, match="`num_samples` is 0"):
        goodness_of_fit(gamma, 0)
    with pytest.raises(
        ValueError, match=r"an outcome of Censored Exponential is an interval .* `plots\.survival_curve`"
    ):
        # A real fit would take seconds, and the message does not depend on its numbers.
        goodness_of_fit(
            dataclasses.replace(
                gamma, fit=Fit(problem_of(Censored("Exponential"), right_censored(Y, Y < 9)), gamma.optimum)
            )
        )
    with pytest.raises(ValueError, match=r"probability at 0. .*nothing to test at 0: .*'Exponential', y\[y > 0\]"):
        goodness_of_fit(
            dataclasses.replace(gamma, fit=Fit(problem_of(Hurdle("Exponential"), [0.0, 0.0, *Y]), gamma.optimum))
        )


def test_the_probability_of_0_in_a_window_is_refused():
    family = Truncated(ZeroInflated("Gamma"), high=100.0)
    estimate = maximum_likelihood("Exponential", Y)
    estimate = dataclasses.replace(estimate, fit=Fit(problem_of(family, [0.0, 0.0, *Y]), estimate.optimum))
    with pytest.raises(ValueError, match=r"high=100.0\) has a probability at 0\. .*'Gamma', y\[y > 0\]"):
        goodness_of_fit(estimate)


@pytest.mark.thorough
def test_angles_may_be_in_any_turn():
    y = np.random.default_rng(0).vonmises(0.0, 2.0, 30)
    estimate = maximum_likelihood("VonMises", y)
    found = goodness_of_fit(estimate, 19)
    loc, concentration = (estimate.parameters[name] for name in ("loc", "concentration"))
    law = stats.vonmises(concentration)
    known = stats.kstest(np.mod(y - loc + np.pi, 2 * np.pi) - np.pi, law.cdf).statistic
    assert found.statistics["kolmogorov_smirnov"] == pytest.approx(known, rel=1e-6)
    # TFP draws angles between -pi and pi, but the angles of the rotated sample are between 0 and 2 pi.
    turned = goodness_of_fit(maximum_likelihood("VonMises", np.mod(y + 3.0, 2 * np.pi)), 19)
    assert turned.statistics == pytest.approx(found.statistics, rel=1e-5)
    assert turned.p_values == found.p_values


def test_angles_of_a_mixture_are_refused():
    estimate = maximum_likelihood("Exponential", Y)
    problem = problem_of(MixtureFamily("VonMises", 2), Y)
    with pytest.raises(ValueError, match="Mixture of 2 VonMises is a mixture of angles"):
        goodness_of_fit(dataclasses.replace(estimate, fit=Fit(problem, estimate.optimum)))
