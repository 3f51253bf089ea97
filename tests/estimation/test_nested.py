"""The likelihood-ratio test beside its formula, its law, and statsmodels' two fits."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from nllfit import likelihood_ratio_test, maximum_likelihood

Y = np.random.default_rng(0).gamma(2.0, 3.0, 80)


def test_it_is_the_chi_square_of_both_maxima():
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
    both = likelihood_ratio_test(
        maximum_likelihood("StudentT", Y, df=4.0, loc=5.0), maximum_likelihood("StudentT", Y, df=4.0)
    )
    assert both.degrees_of_freedom == 1


@pytest.mark.parametrize("size", [300, 3000])
def test_a_small_p_value_has_its_digits(size):
    y = np.random.default_rng(0).gamma(2.0, 3.0, size)
    test = likelihood_ratio_test(maximum_likelihood("Gamma", y, concentration=1.0), maximum_likelihood("Gamma", y))
    assert 0 < test.p_value < 1e-15
    assert test.p_value == pytest.approx(stats.chi2.sf(test.statistic, 1), rel=1e-9)


def test_at_a_bound_the_p_value_is_halved():
    y = np.random.default_rng(0).negative_binomial(3, 0.4, 100)
    test = likelihood_ratio_test(maximum_likelihood("Poisson", y), maximum_likelihood("NegativeBinomial", y))
    assert test.at_bound
    assert test.p_value == pytest.approx(stats.chi2.sf(test.statistic, 1) / 2, rel=1e-9)
    narrow = np.tile([2, 3, 3, 4], 10)  # narrower than a Poisson, so that the general fit is at the bound
    test = likelihood_ratio_test(maximum_likelihood("Poisson", narrow), maximum_likelihood("NegativeBinomial", narrow))
    assert test.statistic == pytest.approx(0, abs=1e-5)
    assert test.p_value > 0.49


def test_what_is_not_nested_is_refused():
    gamma, exponential = maximum_likelihood("Gamma", Y), maximum_likelihood("Exponential", Y)
    with pytest.raises(ValueError, match=r"`a`, Gamma, is not known to be a special case of `b`, Exponential"):
        likelihood_ratio_test(gamma, exponential)
    with pytest.raises(ValueError, match="it must hold what `b` holds"):
        likelihood_ratio_test(gamma, gamma)
    with pytest.raises(ValueError, match="it must hold what `b` holds"):
        likelihood_ratio_test(maximum_likelihood("Gamma", Y, rate=1.0), maximum_likelihood("Gamma", Y, rate=2.0))
    with pytest.raises(ValueError, match="different samples, of 80 and 79 observations"):
        likelihood_ratio_test(exponential, maximum_likelihood("Gamma", Y[1:]))
    with pytest.raises(ValueError, match="different samples"):
        likelihood_ratio_test(exponential, maximum_likelihood("Gamma", Y, weights=np.arange(80) % 2 + 1))
    with pytest.raises(TypeError, match="`b` is a float: give what `maximum_likelihood` returned"):
        likelihood_ratio_test(exponential, 1.0)
    with pytest.raises(ValueError, match=r"`b` is no maximum \(it was cut short\)"):
        likelihood_ratio_test(exponential, dataclasses.replace(gamma, converged=False, message="it was cut short"))
