"""Maximum-likelihood estimates against formulas, certified and published numbers, SciPy and statsmodels."""

import math
from unittest import mock

import numpy as np
import pytest
import statsmodels.api as sm
import tensorflow_probability as tfp
from scipy import stats
from sklearn.datasets import load_diabetes

from nllfit import Family, MixtureFamily, compare, maximum_likelihood
from tests.estimation.scipy_fits import CASES, sample, scipy_log_likelihood
from tests.files import data_file, oracles

tfd = tfp.distributions


def test_bernoulli_and_normal_estimates_match_their_formulas():
    assert maximum_likelihood("Bernoulli", [0, 0, 0, 1, 0]).parameters == {"probs": pytest.approx(0.2, abs=1e-13)}
    normal = maximum_likelihood(tfd.Normal, [-1.0, 0.0, 1.0])
    assert normal.parameters["loc"] == pytest.approx(0, abs=1e-13)
    assert normal.parameters["scale"] == pytest.approx(math.sqrt(2 / 3), rel=1e-13)
    assert normal.converged


@pytest.mark.parametrize("name", ["Lottery", "Michelso", "NumAcc3"])
def test_normal_estimates_match_nists_certified_values(name):
    certified = oracles()["nist_univariate"][name]
    y = np.loadtxt(data_file(f"nist/{name}.dat"), skiprows=60)
    fit = maximum_likelihood("Normal", y)
    assert fit.parameters["loc"] == pytest.approx(certified["mean"], rel=1e-13)
    # The numbers of NumAcc3 are near 1e6, where neighbouring float64 numbers are 1e-10 apart. The spread of the sample
    # is 0.1, so the relative rounding error of the scale is about 1e-9.
    assert fit.parameters["scale"] == pytest.approx(certified["mle_scale"], rel=1e-8)
    assert -fit.log_likelihood / len(y) == pytest.approx(certified["mean_nll"], rel=1e-8)


@pytest.mark.parametrize("offset", [1e6, 1e7])
def test_a_large_offset_costs_no_digits(offset):
    """Samples built like NIST's NumAcc3 and NumAcc4: mean `offset` + 0.2 and standard deviation 0.1 (with n - 1)."""
    y = offset + np.array([0.2] + 500 * [0.1, 0.3])
    fit = maximum_likelihood("Normal", y)
    assert fit.parameters["loc"] == pytest.approx(offset + 0.2, rel=1e-13)
    # TFP's density computes `y / scale - loc / scale`, so it has the absolute rounding error of `y / scale`.
    assert fit.parameters["scale"] == pytest.approx(np.std(y - offset), rel=2 * np.spacing(offset) / 0.1)
    assert fit.converged


@pytest.mark.thorough(but=("Gamma", "Normal"))
@pytest.mark.parametrize("family", ["Gamma", "Weibull", "LogNormal", "Normal", "Exponential"])
def test_estimates_of_the_groundbeef_sample_are_the_published_ones(family):
    published = oracles()["groundbeef"][family]
    fit = maximum_likelihood(family, np.loadtxt(data_file("fitdist/groundbeef.csv"), skiprows=1))
    assert fit.log_likelihood == pytest.approx(published.pop("log_likelihood"), rel=1e-9)
    for name, value in published.items():  # printed with seven significant digits or ten decimals
        assert fit.parameters[name] == pytest.approx(value, rel=1e-7)


# Every run fits these common families. `--thorough` adds all other families. Separate tests cover special features of
# the other families, such as a likelihood with a corner or a parameter that bounds the support.
COMMON = ("Exponential-", "Gamma", "Laplace", "LogNormal", "Normal-", "Pareto", "Uniform", "Weibull")
# Samples of these families have 2500 outcomes; the other samples have 50. With 50 outcomes, the StudentT with the
# largest likelihood would be a Normal.
LARGE = {"Cauchy", "GeneralizedPareto", "InverseGaussian", "Logistic", "Moyal", "StudentT", "VonMises"}


@pytest.mark.thorough(but=COMMON)
@pytest.mark.parametrize(
    ("family", "n"),
    [pytest.param(f, n, id=f"{f}-{n}") for f in sorted(CASES) for n in [2500 if f in LARGE else 50]],
)
def test_never_less_likely_than_scipys_fit(family, n):
    y = sample(family, n)
    fit = maximum_likelihood(family, y)
    expected = scipy_log_likelihood(family, y)
    assert fit.log_likelihood >= expected - 1e-6 * abs(expected)
    assert fit.converged
    at_fit = fit.distribution.log_prob(y).numpy().sum()
    assert fit.log_likelihood == pytest.approx(at_fit, rel=1e-12)


@pytest.mark.thorough(but="Normal")
@pytest.mark.parametrize("family", ["Normal", "Gumbel"])  # a Normal has a closed form, a Gumbel needs a search
def test_a_million_outcomes_are_not_less_likely_than_scipys_fit(family):
    y = sample(family, 1_000_000)
    fit = maximum_likelihood(family, y)
    expected = scipy_log_likelihood(family, y)
    assert fit.converged
    assert fit.log_likelihood >= expected - 1e-6 * abs(expected)


def test_class_probabilities_match_the_multinomial_formulas():
    labels = np.array([0] * 5 + [1] * 3 + [2] * 2)
    p = np.array([0.5, 0.3, 0.2])
    covariance = (np.diag(p) - np.outer(p, p)) / 10
    for fit in (
        maximum_likelihood("Categorical", labels, num_classes=3),
        maximum_likelihood("OneHotCategorical", np.eye(3)[labels]),
    ):
        np.testing.assert_allclose(fit.parameters["probs"], p, rtol=1e-9)
        np.testing.assert_allclose(fit.covariance, covariance, atol=1e-8)
        assert fit.num_parameters == 2  # a common shift of the logits does not change the density


def test_negative_binomial_matches_statsmodels():
    y = np.random.default_rng(0).negative_binomial(3, 0.3, 400)
    expected = sm.NegativeBinomial(y, np.ones(len(y))).fit(disp=0, method="newton", maxiter=100, tol=1e-12)
    fit = maximum_likelihood("NegativeBinomial", y)
    assert fit.log_likelihood == pytest.approx(expected.llf, rel=1e-10)
    assert 1 / fit.parameters["total_count"] == pytest.approx(expected.params[1], rel=1e-5)
    assert fit.aic == pytest.approx(expected.aic, rel=1e-10)
    assert fit.bic == pytest.approx(expected.bic, rel=1e-10)


@pytest.mark.thorough
def test_multivariate_normal_is_the_sample_mean_and_covariance():
    y = np.random.default_rng(0).normal(size=(200, 3)) @ np.array([[2.0, 1, 0], [0, 0.5, 0.2], [0, 0, 1]])
    fit = maximum_likelihood("MultivariateNormalTriL", y)
    np.testing.assert_allclose(fit.parameters["loc"], y.mean(0), rtol=1e-10)
    scale = fit.parameters["scale_tril"]
    np.testing.assert_allclose(scale @ scale.T, np.cov(y.T, bias=True), rtol=1e-8)
    assert fit.num_parameters == 9
    np.testing.assert_allclose(fit.standard_errors["loc"], y.std(0) / math.sqrt(200), rtol=1e-5)


@pytest.mark.thorough
def test_the_scale_of_a_wishart_is_the_mean_divided_by_the_degrees_of_freedom():
    y = stats.wishart(5, [[2.0, 0.3], [0.3, 1.0]]).rvs(40, random_state=0)
    scale = maximum_likelihood("WishartTriL", y, df=5.0).parameters["scale_tril"]
    np.testing.assert_allclose(scale @ scale.T, y.mean(0) / 5, rtol=1e-6)


def test_columns_are_fitted_independently():
    y = np.random.default_rng(0).gamma([2.0, 5.0], 1.0, (300, 2))
    both = maximum_likelihood("Gamma", y)
    for column in range(2):
        one = maximum_likelihood("Gamma", y[:, column])
        for name, value in one.parameters.items():
            assert both.parameters[name][column] == pytest.approx(value, rel=1e-9)
            assert both.standard_errors[name][column] == pytest.approx(one.standard_errors[name], rel=1e-5)


@pytest.mark.thorough
def test_a_mixture_finds_its_components():
    rng = np.random.default_rng(0)
    y = np.concatenate([rng.normal(0, 1, 600), rng.normal(6, 2, 400)])
    fit = maximum_likelihood(MixtureFamily("Normal", 2), y)
    assert fit.converged
    assert fit.num_parameters == 5
    first = np.argmin(fit.parameters["loc"])
    for name, truth in (("mixture_probs", 0.6), ("loc", 0.0), ("scale", 1.0)):
        assert abs(fit.parameters[name][first] - truth) < 4 * fit.standard_errors[name][first]


def test_weights_count_observations():
    y = np.array([1.0, 2.0, 2.5, 7.0, 0.3])
    weights = np.array([3, 1, 0, 2, 5])
    repeated = maximum_likelihood("Gamma", np.repeat(y, weights))
    weighted = maximum_likelihood("Gamma", y, weights=weights)
    assert weighted.parameters == pytest.approx(repeated.parameters, rel=1e-9)
    assert weighted.standard_errors == pytest.approx(repeated.standard_errors, rel=1e-5)
    assert weighted.num_observations == 11
    assert weighted.bic == pytest.approx(repeated.bic, rel=1e-12)
    laplace = maximum_likelihood("Laplace", y, weights=weights)
    assert laplace.parameters["loc"] == np.median(np.repeat(y, weights))


def test_fixed_parameters_stay():
    y = np.random.default_rng(0).gamma(3, 2, 200)
    fit = maximum_likelihood("Gamma", y, concentration=3.0)
    assert fit.parameters == {"rate": pytest.approx(3 / y.mean(), rel=1e-12)}
    # TFP's `experimental_fit(loc=5)` would return the spread around the sample mean, not around 5.
    about_five = maximum_likelihood(Family("Normal", loc=5.0), y)
    assert about_five.parameters["scale"] == pytest.approx(np.sqrt(np.mean((y - 5) ** 2)), rel=1e-12)


@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_the_unit_of_the_sample_does_not_matter(scale):
    y = np.random.default_rng(0).weibull(2, 300)
    one, other = maximum_likelihood("Weibull", y), maximum_likelihood("Weibull", scale * y)
    assert other.converged
    assert other.parameters["scale"] == pytest.approx(scale * one.parameters["scale"], rel=1e-8)
    assert other.parameters["concentration"] == pytest.approx(one.parameters["concentration"], rel=1e-8)


@pytest.mark.thorough(but="2000")
@pytest.mark.parametrize("floor", [1.0, 2000.0])
def test_a_floor_bounds_the_scale_in_the_unit_of_the_sample(floor):
    y = np.random.default_rng(0).normal(3, 1000, 500)
    fit = maximum_likelihood(Family("Normal", floor={"scale": floor}), y)
    assert fit.parameters["scale"] == pytest.approx(max(y.std(), floor), rel=1e-6)
    assert fit.converged == (floor < y.std())


def test_compare_ranks_by_aic():
    y = load_diabetes().target
    families = ["Normal", "Gamma", "Exponential", "Beta", "Weibull"]
    ranking = compare(y, families)
    aics = [estimate.aic for estimate in ranking.estimates]
    assert aics == sorted(aics)
    expected = {}
    for name, parameters in (("Normal", 2), ("Gamma", 2), ("Exponential", 1), ("Weibull", 2)):
        expected[name] = 2 * parameters - 2 * scipy_log_likelihood(name, y)
    assert [e.family.name for e in ranking.estimates] == sorted(expected, key=expected.get)
    assert list(ranking.refused) == ["Beta"]
    lines = ranking.summary().splitlines()
    assert lines[1].split()[0] == ranking.estimates[0].family.name
    assert "Beta" in lines[-1]
    with pytest.raises(ValueError, match="None of the `distributions`"):
        compare(y, ["Beta", "LogitNormal"])
    with pytest.raises(ValueError, match="NaN"):
        compare([1.0, np.nan], families)


def test_summary_shows_the_numbers():
    fit = maximum_likelihood("Normal", np.random.default_rng(0).normal(3, 2, 100))
    text = fit.summary()
    loc = next(line.split() for line in text.splitlines() if line.startswith("loc"))
    low, high = fit.confidence_intervals()["loc"]
    assert [float(x) for x in loc[1:]] == pytest.approx(
        [fit.parameters["loc"], fit.standard_errors["loc"], low, high], rel=1e-4
    )
    assert f"{fit.log_likelihood:.3f}" in text
    assert len({len(line) for line in text.splitlines() if line.startswith("=")}) == 1


def test_another_sample_of_a_family_reuses_the_traces():
    rng = np.random.default_rng(0)
    for family in ("Gamma", "Laplace"):  # the location of a Laplace is held at an outcome during the search
        maximum_likelihood(family, rng.gamma(2.0, 3.0, 50))
        with mock.patch("tensorflow.function", side_effect=AssertionError("a function is traced again")):
            fit = maximum_likelihood(family, rng.gamma(2.0, 3.0, 70))
        assert fit.converged


@pytest.mark.thorough
def test_a_triangle_with_one_end_fixed_finds_its_peak():
    y = np.random.default_rng(0).triangular(0, 1, 3, 200)
    fixed, free = maximum_likelihood("Triangular", y, low=0.0), maximum_likelihood("Triangular", y)
    assert fixed.converged
    assert free.log_likelihood - 2 < fixed.log_likelihood <= free.log_likelihood


@pytest.mark.thorough
def test_a_zero_inflated_fit_reproduces_the_share_of_zeros():
    rng = np.random.default_rng(3)
    y = np.where(rng.uniform(size=2000) < 0.4, 0, rng.negative_binomial(3, 0.3, 2000))
    fit = maximum_likelihood("ZeroInflatedNegativeBinomial", y)
    share, successes = fit.parameters["inflated_loc_probs"], 1 - fit.parameters["probs"]
    likelihoods = (1 - share) * stats.nbinom.pmf(y, fit.parameters["total_count"], successes) + share * (y == 0)
    assert fit.log_likelihood == pytest.approx(np.log(likelihoods).sum(), rel=1e-12)
    # At the maximum the fitted probability of 0 is the share of zeros in the sample.
    assert float(fit.distribution.prob(0.0)) == pytest.approx(np.mean(y == 0), rel=1e-6)


@pytest.mark.thorough
def test_the_unit_does_not_matter_to_a_normal_inverse_gaussian():
    scale = 1e-6
    y = stats.norminvgauss.rvs(2, 0.5, 1, 2, size=300, random_state=np.random.default_rng(0))
    here, there = (maximum_likelihood("NormalInverseGaussian", s * y) for s in (1.0, scale))
    assert here.converged
    assert there.converged
    assert there.log_likelihood == pytest.approx(here.log_likelihood - 300 * np.log(scale), rel=1e-9)
    assert there.parameters["tailweight"] == pytest.approx(here.parameters["tailweight"] / scale, rel=1e-4)


@pytest.mark.thorough
def test_correlation_matrices_and_their_factors_have_one_concentration():
    y = tfd.LKJ(3, np.float64(2.0)).sample(40, seed=1).numpy()
    whole = maximum_likelihood("LKJ", y, dimension=3)
    factor = maximum_likelihood("CholeskyLKJ", np.linalg.cholesky(y), dimension=3)
    assert whole.converged
    assert whole.parameters == pytest.approx(factor.parameters, rel=1e-8)
    assert whole.standard_errors == pytest.approx(factor.standard_errors, rel=1e-6)


@pytest.mark.parametrize("link", ["exp", "softplus"])
def test_a_location_with_a_positive_link_is_the_mean(link):
    y = np.array([0.2, 0.9, 1.1, 1.2, 1.3])  # the mean is below the median
    fit = maximum_likelihood(Family("Normal", link={"loc": link}), y)
    assert fit.converged
    assert fit.parameters["loc"] == pytest.approx(y.mean(), rel=1e-6)
