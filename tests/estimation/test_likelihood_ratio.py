"""Compares the likelihood-ratio test with its formula and with two fits of statsmodels."""

import dataclasses

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from nllfit import (
    Censored,
    Family,
    Hurdle,
    Truncated,
    ZeroInflated,
    likelihood_ratio_test,
    maximum_likelihood,
    right_censored,
)
from nllfit.estimation.delta_method import Fit
from nllfit.estimation.likelihood_ratio import _chi_square_tail
from nllfit.estimation.problem import problem_of

Y = np.random.default_rng(0).gamma(2.0, 3.0, 80)


def as_of(family, estimate):
    """A stand-in for a fit of `family`, which would take seconds. It has the numbers of `estimate`."""
    return dataclasses.replace(estimate, fit=Fit(problem_of(family, estimate.problem.y), estimate.optimum))


def test_the_test_matches_the_chi_square_formula():
    a, b = maximum_likelihood("Exponential", Y), maximum_likelihood("Gamma", Y)
    test = likelihood_ratio_test(a, b)
    shape, _, scale = stats.gamma.fit(Y, floc=0)
    ratio = 2 * (stats.gamma.logpdf(Y, shape, scale=scale).sum() - stats.expon.logpdf(Y, scale=Y.mean()).sum())
    assert test.statistic == pytest.approx(ratio, rel=1e-8)
    assert test.p_value == pytest.approx(stats.chi2.sf(ratio, 1), rel=1e-6)
    assert (test.degrees_of_freedom, test.at_bound) == (1, False)
    assert "Exponential within Gamma" in test.summary()
    held = likelihood_ratio_test(maximum_likelihood("Gamma", Y, concentration=1.0), b)
    assert held.statistic == pytest.approx(ratio, rel=1e-8)
    both = likelihood_ratio_test(as_of(Family("StudentT", df=4.0, loc=5.0), a), as_of(Family("StudentT", df=4.0), b))
    assert both.degrees_of_freedom == 1


@pytest.mark.parametrize("size", [300, 3000])
def test_a_small_p_value_is_accurate(size):
    y = np.random.default_rng(0).gamma(2.0, 3.0, size)
    test = likelihood_ratio_test(maximum_likelihood("Gamma", y, concentration=1.0), maximum_likelihood("Gamma", y))
    assert 0 < test.p_value < 1e-15
    assert test.p_value == pytest.approx(stats.chi2.sf(test.statistic, 1), rel=1e-9)


def test_at_a_bound_the_p_value_is_halved():
    y = np.random.default_rng(0).negative_binomial(3, 0.4, 100)
    test = likelihood_ratio_test(maximum_likelihood("Poisson", y), maximum_likelihood("NegativeBinomial", y))
    assert test.at_bound
    assert test.p_value == pytest.approx(stats.chi2.sf(test.statistic, 1) / 2, rel=1e-9)
    narrow = np.tile([2, 3, 3, 4], 10)  # a smaller variance than a Poisson's, so the general fit is at the bound
    test = likelihood_ratio_test(maximum_likelihood("Poisson", narrow), maximum_likelihood("NegativeBinomial", narrow))
    assert test.statistic == pytest.approx(0, abs=1e-5)
    assert test.p_value > 0.49


def test_a_statistic_of_0_at_a_bound_has_the_p_value_1():
    assert [_chi_square_tail(statistic, 0) for statistic in (0.0, 0.1)] == [1.0, 0.0]


@pytest.mark.thorough
def test_each_element_of_an_outcome_has_a_bound_of_its_own():
    y = np.random.default_rng(0).poisson(4.0, [100, 2])
    test = likelihood_ratio_test(
        maximum_likelihood(Family("Poisson", 2), y), maximum_likelihood(Family("NegativeBinomial", 2), y)
    )
    columns = [
        likelihood_ratio_test(maximum_likelihood("Poisson", c), maximum_likelihood("NegativeBinomial", c)) for c in y.T
    ]
    assert test.statistic == pytest.approx(sum(one.statistic for one in columns), rel=1e-4, abs=1e-4)
    assert (test.degrees_of_freedom, test.at_bound) == (2, True)
    p_value = stats.chi2.sf(test.statistic, 1) / 2 + stats.chi2.sf(test.statistic, 2) / 4
    assert test.p_value == pytest.approx(p_value, rel=1e-9)  # Self and Liang, 1987, case 7


def test_an_end_of_the_support_has_no_chi_square_ratio():
    y = np.random.default_rng(0).uniform(0, 1, 50)
    with pytest.raises(ValueError, match="`a` holds `low`, an end of the support of `b`, Uniform"):
        likelihood_ratio_test(maximum_likelihood("Uniform", y, low=0.0), maximum_likelihood("Uniform", y))
    y = np.random.default_rng(0).laplace(size=51)  # `loc` is the median, for which Wilks' theorem holds
    test = likelihood_ratio_test(maximum_likelihood("Laplace", y, loc=0.0), maximum_likelihood("Laplace", y))
    ratio = 2 * 51 * np.log(np.abs(y).mean() / np.abs(y - np.median(y)).mean())
    assert test.p_value == pytest.approx(stats.chi2.sf(ratio, 1), rel=1e-6)


def test_fits_that_are_not_nested_are_refused():
    gamma, exponential = maximum_likelihood("Gamma", Y), maximum_likelihood("Exponential", Y)
    with pytest.raises(
        ValueError, match=r"`a`, Gamma, is not .* of `b`, Exponential, but .*: give the special case first"
    ):
        likelihood_ratio_test(gamma, exponential)
    with pytest.raises(ValueError, match="hold the same parameters in `a` as in `b`"):
        likelihood_ratio_test(gamma, gamma)
    with pytest.raises(ValueError, match="hold the same parameters in `a` as in `b`"):
        likelihood_ratio_test(maximum_likelihood("Gamma", Y, rate=1.0), maximum_likelihood("Gamma", Y, rate=2.0))
    with pytest.raises(ValueError, match="different samples, of 80 and 79 observations"):
        likelihood_ratio_test(exponential, maximum_likelihood("Gamma", Y[1:]))
    with pytest.raises(ValueError, match="different samples"):
        likelihood_ratio_test(exponential, maximum_likelihood("Gamma", Y, weights=np.arange(80) % 2 + 1))
    with pytest.raises(TypeError, match="`b` is a float: give what `maximum_likelihood` returned"):
        likelihood_ratio_test(exponential, 1.0)
    with pytest.raises(ValueError, match=r"`b` is not a maximum \(it was cut short\)"):
        likelihood_ratio_test(exponential, dataclasses.replace(gamma, converged=False, message="it was cut short"))


def test_a_held_value_is_above_the_floor_of_the_free_parameter():
    family = Family("Gamma", floor={"concentration": 1.5})
    a, b = maximum_likelihood("Gamma", Y, concentration=1.0), maximum_likelihood("Gamma", Y)
    with pytest.raises(ValueError, match=r"`a` holds `concentration` at 1\.0, but its floor in `b` is 1\.5"):
        likelihood_ratio_test(a, as_of(family, b))


@pytest.mark.thorough
def test_likelihoods_of_different_kinds_have_no_ratio():
    whole = maximum_likelihood("Normal", Y)
    for other in (ZeroInflated("Normal"), Hurdle("Normal")):
        with pytest.raises(ValueError, match=r"`a`, Normal, gives densities, .* densities and a probability of 0, so"):
            likelihood_ratio_test(whole, as_of(other, whole))
    share = Y / (Y.max() + 1)
    uniform, beta = maximum_likelihood("Uniform", share), maximum_likelihood("Beta", share)
    with pytest.raises(ValueError, match="`a`, Uniform, is not known to be a special case of `b`, Beta"):
        likelihood_ratio_test(uniform, beta)


def test_a_general_fit_below_its_special_case_is_refused():
    a, b = maximum_likelihood("Exponential", Y), maximum_likelihood("Gamma", Y)
    lower = dataclasses.replace(b, log_likelihood=a.log_likelihood - 0.3)
    with pytest.raises(ValueError, match=r"`b`, Gamma, is 0\.3 nats less likely than its special case `a`, Exp"):
        likelihood_ratio_test(a, lower)


@pytest.mark.thorough
def test_censored_families_are_nested_like_their_inner_families():
    observed = Y < 8.0
    pairs = right_censored(np.minimum(Y, 8.0), observed)
    data = stats.CensoredData.right_censored(np.minimum(Y, 8.0), ~observed)
    a, b = (maximum_likelihood(Censored(name), pairs) for name in ("Exponential", "Weibull"))
    shape, _, scale = stats.weibull_min.fit(data, floc=0)
    weibull = stats.weibull_min(shape, scale=scale)
    rate = observed.sum() / np.minimum(Y, 8.0).sum()
    general = weibull.logpdf(Y[observed]).sum() + np.sum(~observed) * weibull.logsf(8.0)
    ratio = 2 * (general - (observed.sum() * np.log(rate) - rate * np.minimum(Y, 8.0).sum()))
    test = likelihood_ratio_test(a, b)
    assert test.statistic == pytest.approx(ratio, rel=1e-6)
    assert test.p_value == pytest.approx(stats.chi2.sf(ratio, 1), rel=1e-5)


LATE = Y[Y > 2]


def test_truncated_families_are_nested_like_their_inner_families_if_they_have_the_same_window():
    whole, general = maximum_likelihood("Exponential", LATE), maximum_likelihood("Gamma", LATE)
    a, b = as_of(Truncated("Weibull", low=2.0, concentration=1.0), whole), as_of(Truncated("Weibull", low=2.0), general)
    test = likelihood_ratio_test(a, b)
    assert (test.degrees_of_freedom, test.at_bound) == (1, False)
    with pytest.raises(ValueError, match=r"give as `a` the fit .*`Family\('Weibull', concentration=...\)`"):
        likelihood_ratio_test(whole, b)
    wider = as_of(Truncated("Weibull", low=1.0, concentration=1.0), whole)
    with pytest.raises(ValueError, match=r"`a` has .*1\.0.* and `b` .*2\.0.* Fit both with the same window"):
        likelihood_ratio_test(wider, b)


@pytest.mark.thorough
def test_a_share_of_zeros_is_at_its_bound_in_a_zero_inflated_family():
    rng = np.random.default_rng(1)
    y = rng.poisson(2.0, 200) * (rng.uniform(size=200) < 0.9)
    poisson, inflated = maximum_likelihood("Poisson", y), maximum_likelihood(ZeroInflated("Poisson"), y)
    test = likelihood_ratio_test(poisson, inflated)
    ones = np.ones([200, 1])
    theirs = sm.ZeroInflatedPoisson(y, ones).fit(disp=0).llf - sm.Poisson(y, ones).fit(disp=0).llf
    assert test.statistic == pytest.approx(2 * theirs, rel=1e-6)
    assert (test.degrees_of_freedom, test.at_bound) == (1, True)
    assert test.p_value == pytest.approx(stats.chi2.sf(2 * theirs, 1) / 2, rel=1e-5)
    # A Poisson is a hurdle whose share of zeros is `exp(-rate)`, which is not at a bound.
    hurdle = likelihood_ratio_test(poisson, as_of(Hurdle("Poisson"), inflated))
    assert not hurdle.at_bound
    overdispersed = as_of(ZeroInflated("NegativeBinomial"), inflated)
    assert likelihood_ratio_test(inflated, overdispersed).at_bound
    two = likelihood_ratio_test(maximum_likelihood("Normal", Y, loc=7.0), maximum_likelihood("StudentT", Y))
    p_value = (stats.chi2.sf(two.statistic, 1) + stats.chi2.sf(two.statistic, 2)) / 2
    assert two.p_value == pytest.approx(p_value, rel=1e-9)
    held = as_of(ZeroInflated("Poisson", zero_probs=0.1), inflated)
    assert not likelihood_ratio_test(held, inflated).at_bound
    with pytest.raises(ValueError, match="at the bounds of 2 parameters of `b`"):
        likelihood_ratio_test(poisson, overdispersed)


def test_a_special_case_is_above_the_floor_of_the_free_parameter():
    fit = maximum_likelihood("Exponential", Y)
    a, b = as_of(Family("Cauchy"), fit), as_of(Family("StudentT", floor={"df": 2.0}), fit)
    with pytest.raises(ValueError, match=r"`a` holds `df` at 1\.0, but its floor in `b` is 2\.0"):
        likelihood_ratio_test(a, b)
