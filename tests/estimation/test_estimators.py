"""Maximum-likelihood estimates against formulas, certified and published numbers, SciPy and statsmodels."""

import math
import re
from unittest import mock

import numpy as np
import pytest
import statsmodels.api as sm
import tensorflow_probability as tfp
from scipy import optimize, special, stats
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
    # NumAcc3 is 1e6 + 0.1 and so on: float64 resolves it to 1e-10, which is 1e-9 of its spread.
    assert fit.parameters["scale"] == pytest.approx(certified["mle_scale"], rel=1e-8)
    assert -fit.log_likelihood / len(y) == pytest.approx(certified["mean_nll"], rel=1e-8)


@pytest.mark.parametrize("offset", [1e6, 1e7])
def test_a_large_offset_costs_no_digits(offset):
    """Samples built like NIST's NumAcc3 and NumAcc4: mean `offset` + 0.2 and standard deviation 0.1 (with n - 1)."""
    y = offset + np.array([0.2] + 500 * [0.1, 0.3])
    fit = maximum_likelihood("Normal", y)
    assert fit.parameters["loc"] == pytest.approx(offset + 0.2, rel=1e-13)
    # TFP's density computes `y / scale - loc / scale`, so its precision is that of `y / scale`.
    assert fit.parameters["scale"] == pytest.approx(np.std(y - offset), rel=2 * np.spacing(offset) / 0.1)
    assert fit.converged


@pytest.mark.parametrize("family", ["Gamma", "Weibull", "LogNormal", "Normal", "Exponential"])
def test_estimates_of_the_groundbeef_sample_are_the_published_ones(family):
    published = oracles()["groundbeef"][family]
    fit = maximum_likelihood(family, np.loadtxt(data_file("fitdist/groundbeef.csv"), skiprows=1))
    assert fit.log_likelihood == pytest.approx(published.pop("log_likelihood"), rel=1e-9)
    for name, value in published.items():  # printed to seven digits, or ten decimals
        assert fit.parameters[name] == pytest.approx(value, rel=1e-7)


# The default run fits the families below, each at one sample size: the most common ones, and those for which nllfit has
# its own closed form or density. All other families and sizes need `--thorough`; special features of the others
# (corners, bounds, angles, rates, series) have their own tests.
SIZES = {"Beta": 50, "Exponential": 50, "Gamma": 50, "GeneralizedPareto": 2500, "Laplace": 50, "LogNormal": 50}
SIZES |= {
    "Normal": 50,
    "Pareto": 50,
    "StudentT": 2500,
    "Uniform": 50,
    "Weibull": 50,
}  # a sample of 50 makes StudentT a Normal


@pytest.mark.parametrize(
    ("family", "n"),
    [
        pytest.param(family, n, marks=() if SIZES.get(family) == n else pytest.mark.thorough, id=f"{family}-{n}")
        for family in sorted(CASES)
        for n in (50, 2500)
    ],
)
def test_never_less_likely_than_scipys_fit(family, n):
    y = sample(family, n)
    fit = maximum_likelihood(family, y)
    expected = scipy_log_likelihood(family, y)
    assert fit.log_likelihood >= expected - 1e-6 * abs(expected)
    assert fit.converged or (family, n) == ("StudentT", 50)  # its best fit is the limiting Normal
    at_fit = fit.distribution.log_prob(y).numpy().sum()
    assert fit.log_likelihood == pytest.approx(at_fit, rel=1e-12)


@pytest.mark.parametrize(  # one closed form and one search
    "family",
    [
        "Normal",
        "Gamma",
        *(pytest.param(name, marks=pytest.mark.thorough) for name in ("Exponential", "LogNormal", "Gumbel")),
    ],
)
def test_a_million_outcomes_are_not_less_likely_than_scipys_fit(family):
    y = sample(family, 1_000_000)
    fit = maximum_likelihood(family, y)
    expected = scipy_log_likelihood(family, y)
    assert fit.converged
    assert fit.log_likelihood >= expected - 1e-6 * abs(expected)


def test_standard_errors_match_the_formulas():
    rng = np.random.default_rng(0)
    y = rng.normal(3, 2, 500)
    normal = maximum_likelihood("Normal", y)
    sigma = normal.parameters["scale"]
    # The formulas are those of the observed information at the maximum; Newton's last step leaves an error of 1e-6.
    assert normal.standard_errors["loc"] == pytest.approx(sigma / math.sqrt(500), rel=1e-6)
    assert normal.standard_errors["scale"] == pytest.approx(sigma / math.sqrt(1000), rel=1e-6)
    assert abs(normal.covariance[0, 1]) < 1e-6 * normal.covariance[0, 0]
    counts = rng.poisson(4, 500)
    poisson = maximum_likelihood("Poisson", counts)
    assert poisson.parameters["rate"] == pytest.approx(counts.mean(), rel=1e-12)
    assert poisson.standard_errors["rate"] == pytest.approx(math.sqrt(counts.mean() / 500), rel=1e-6)
    gamma = maximum_likelihood("Gamma", rng.gamma(3, 2, 500))
    a, rate = gamma.parameters.values()
    information = 500 * np.array([[special.polygamma(1, a), -1 / rate], [-1 / rate, a / rate**2]])
    np.testing.assert_allclose(gamma.covariance, np.linalg.inv(information), rtol=1e-5)
    error = math.sqrt(np.linalg.inv(information)[0, 0])
    interval = gamma.confidence_intervals(0.95)["concentration"]
    np.testing.assert_allclose(interval, a + stats.norm.ppf([0.025, 0.975]) * error, rtol=1e-5)


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


def test_multivariate_normal_is_the_sample_mean_and_covariance():
    y = np.random.default_rng(0).normal(size=(200, 3)) @ np.array([[2.0, 1, 0], [0, 0.5, 0.2], [0, 0, 1]])
    fit = maximum_likelihood("MultivariateNormalTriL", y)
    np.testing.assert_allclose(fit.parameters["loc"], y.mean(0), rtol=1e-10)
    scale = fit.parameters["scale_tril"]
    np.testing.assert_allclose(scale @ scale.T, np.cov(y.T, bias=True), rtol=1e-8)
    assert fit.num_parameters == 9
    np.testing.assert_allclose(fit.standard_errors["loc"], y.std(0) / math.sqrt(200), rtol=1e-5)


def test_columns_are_fitted_independently():
    y = np.random.default_rng(0).gamma([2.0, 5.0], 1.0, (300, 2))
    both = maximum_likelihood("Gamma", y)
    for column in range(2):
        one = maximum_likelihood("Gamma", y[:, column])
        for name, value in one.parameters.items():
            assert both.parameters[name][column] == pytest.approx(value, rel=1e-9)
            assert both.standard_errors[name][column] == pytest.approx(one.standard_errors[name], rel=1e-5)


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
    # TFP's `experimental_fit(loc=5)` would return the spread around the mean instead.
    about_five = maximum_likelihood(Family("Normal", loc=5.0), y)
    assert about_five.parameters["scale"] == pytest.approx(np.sqrt(np.mean((y - 5) ** 2)), rel=1e-12)


@pytest.mark.parametrize("scale", [1e-9, 1e-3, 1e3, 1e9])
def test_the_unit_of_the_sample_does_not_matter(scale):
    y = np.random.default_rng(0).weibull(2, 300)
    one, other = maximum_likelihood("Weibull", y), maximum_likelihood("Weibull", scale * y)
    assert other.converged
    assert other.parameters["scale"] == pytest.approx(scale * one.parameters["scale"], rel=1e-8)
    assert other.parameters["concentration"] == pytest.approx(one.parameters["concentration"], rel=1e-8)


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_standard_errors_whose_squares_overflow_are_finite(scale):
    y = np.array([1.0, 2.0, 4.0, 8.0])
    one, other = maximum_likelihood("Normal", y), maximum_likelihood("Normal", scale * y)
    for name, error in other.standard_errors.items():
        assert error == pytest.approx(scale * one.standard_errors[name], rel=1e-9, abs=0)


@pytest.mark.parametrize("floor", [1.0, 2000.0])
def test_a_floor_bounds_the_scale_in_the_unit_of_the_sample(floor):
    y = np.random.default_rng(0).normal(3, 1000, 500)
    fit = maximum_likelihood(Family("Normal", floor={"scale": floor}), y)
    assert fit.parameters["scale"] == pytest.approx(max(y.std(), floor), rel=1e-6)
    assert fit.converged == (floor < y.std())


@pytest.mark.parametrize(("family", "names"), [("Gamma", ["concentration", "rate"]), ("Poisson", ["rate"])])
def test_profile_intervals_solve_their_equation(family, names):
    y = np.random.default_rng(1).poisson(3, 40) + (family == "Gamma")
    fit = maximum_likelihood(family, y)
    quantile = stats.chi2.ppf(0.9, 1)
    intervals = fit.confidence_intervals(0.9, method="profile")
    for name in names:
        low, high = intervals[name]
        assert low < fit.parameters[name] < high
        falls = 2 * (fit.log_likelihood - fit.profile(name, [low, high]))
        np.testing.assert_allclose(falls, quantile, atol=1e-6)


def test_a_profile_matches_the_formula():
    y = np.random.default_rng(0).normal(3, 2, 50)
    fit = maximum_likelihood("Normal", y)
    values = np.linspace(2, 4, 5)
    spread = np.sqrt(np.mean((y - values[:, None]) ** 2, 1))
    expected = stats.norm.logpdf(y, values[:, None], spread[:, None]).sum(1)
    np.testing.assert_allclose(fit.profile("loc", values), expected, rtol=1e-9)
    assert fit.profile("scale", [-1.0])[0] == -np.inf
    bernoulli = maximum_likelihood("Bernoulli", [0, 0, 0, 1, 0])
    np.testing.assert_allclose(bernoulli.profile("probs", [0.5]), 5 * np.log(0.5), rtol=1e-12)


def test_a_profile_of_one_class_probability_is_binomial():
    """The profile is binomial: the other probabilities keep their ratio."""
    fit = maximum_likelihood("Categorical", [0] * 5 + [1] * 3 + [2] * 2, num_classes=3)
    rest = 5 * np.log(0.6 * 5 / 7) + 2 * np.log(0.6 * 2 / 7)
    assert fit.profile("probs", [0.4], index=1)[0] == pytest.approx(3 * np.log(0.4) + rest, rel=1e-9)


@pytest.mark.thorough
def test_a_profile_holds_mirrored_elements_of_a_symmetric_matrix():
    y = np.random.default_rng(0).multivariate_normal([1.0, 2.0], [[2.0, 0.5], [0.5, 1.0]], 100)
    fit = maximum_likelihood("MultivariateNormalFullCovariance", y)
    independent = stats.norm(y.mean(0), y.std(0)).logpdf(y).sum()
    for index in [(0, 1), (1, 0)]:
        assert fit.profile("covariance_matrix", [0.0], index=index)[0] == pytest.approx(independent, rel=1e-9)


@pytest.mark.thorough
def test_a_constant_element_has_an_interval_of_one_value():
    y = np.random.default_rng(0).normal(size=[100, 2])
    fit = maximum_likelihood("MultivariateNormalTriL", y)
    fit_of = fit.profile("scale_tril", [0.0, 0.5], index=(0, 1))
    np.testing.assert_array_equal(fit_of, [fit.log_likelihood, -np.inf])
    intervals = fit.confidence_intervals(method="profile", names="scale_tril")["scale_tril"]
    np.testing.assert_array_equal(intervals[0, 1], [0.0, 0.0])
    assert np.all(np.isfinite(intervals))


def test_the_only_free_parameter_may_be_a_corner():
    y = np.random.default_rng(0).triangular(0, 1, 3, 200)
    fit = maximum_likelihood("Triangular", y, low=0.0, high=3.0)
    at_each = [stats.triang(peak / 3, 0, 3).logpdf(y).sum() for peak in y]
    assert fit.log_likelihood == pytest.approx(max(at_each), rel=1e-12)
    assert fit.parameters["peak"] == y[np.argmax(at_each)]


def test_intervals_without_an_end_and_at_a_corner():
    laplace = maximum_likelihood("Laplace", [1.0, 2.0, 4.0, 8.0, 9.0])
    assert laplace.parameters == {"loc": 4.0, "scale": pytest.approx(14 / 5, rel=1e-12)}
    assert math.isnan(laplace.standard_errors["loc"])
    assert "not smooth in `loc`" in laplace.message
    low, high = laplace.confidence_intervals(method="profile", names=["loc"])["loc"]
    scales = [np.mean(np.abs(np.array([1, 2, 4, 8, 9]) - end)) for end in (low, high)]
    np.testing.assert_allclose(2 * 5 * np.log(np.array(scales) / 2.8), stats.chi2.ppf(0.95, 1), atol=1e-6)
    uniform = maximum_likelihood("Uniform", [1.0, 2.0, 5.0])
    assert uniform.parameters == {"low": 1.0, "high": 5.0}
    assert uniform.confidence_intervals(method="profile", names=["low"])["low"][1] == pytest.approx(1.0, abs=1e-9)


@pytest.mark.thorough  # the standard errors and an interval are compared with formulas above
@pytest.mark.parametrize(
    ("family", "truth", "draw"),
    [
        ("Gamma", {"concentration": 3.0, "rate": 0.5}, lambda rng, size: rng.gamma(3, 2, size)),
        ("Normal", {"loc": 1.0, "scale": 2.0}, lambda rng, size: rng.normal(1, 2, size)),
        ("Poisson", {"rate": 4.0}, lambda rng, size: rng.poisson(4, size).astype(float)),
    ],
)
def test_wald_intervals_cover_the_truth(family, truth, draw):
    """The coverage of 95% intervals from samples of 200 is within 2.9 binomial standard errors of 95%."""
    count, rng = 1000, np.random.default_rng(0)
    covered = {name: [] for name in truth}
    for _ in range(count // 20):
        fit = maximum_likelihood(family, draw(rng, (200, 20)))
        assert fit.converged
        for name, interval in fit.confidence_intervals(0.95).items():
            covered[name].extend((interval[:, 0] < truth[name]) & (truth[name] < interval[:, 1]))
    for name in truth:
        assert len(covered[name]) == count
        assert abs(np.mean(covered[name]) - 0.95) < 2.9 * np.sqrt(0.95 * 0.05 / count)


@pytest.mark.parametrize(
    ("family", "y", "limit"),
    [
        ("Bernoulli", [0, 0, 0, 0], "`probs` goes to 0"),
        ("Bernoulli", [1, 1, 1, 1], "`probs` goes to 1"),
        ("Poisson", [0, 0, 0, 0], "`rate` goes to 0"),
        ("Exponential", [0.0, 0.0, 0.0], "`rate` goes to infinity"),
        ("OneHotCategorical", np.eye(3)[[0, 0, 1, 1]], "`probs` goes to 0"),
        ("StudentT", np.random.default_rng(1).uniform(size=200), "`df` goes to infinity"),
        ("NegativeBinomial", np.random.default_rng(0).binomial(10, 0.5, 200), "`probs` goes to 0"),
    ],
)
def test_an_optimum_at_infinity_is_reported(family, y, limit):
    fit = maximum_likelihood(family, y)
    assert not fit.converged
    assert "no finite maximum" in fit.message
    assert limit in fit.message
    assert all(np.all(np.isnan(error)) for error in fit.standard_errors.values())
    assert "False" in fit.summary()
    with pytest.raises(ValueError, match="not a maximum"):
        fit.profile(next(iter(fit.parameters)), [0.5])


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.thorough) for seed in (1, 2))])
def test_underdispersed_counts_send_a_negative_binomial_to_infinity(seed):
    fit = maximum_likelihood("NegativeBinomial", np.random.default_rng(seed).binomial(100, 0.9, 50))
    assert fit.message == "no finite maximum: the log-likelihood goes on rising as `probs` goes to 0"


def test_an_exact_fit_has_no_bound():
    fit = maximum_likelihood("Normal", [5.0, 5.0, 5.0], loc=5.0)  # the scale goes to 0
    assert not fit.converged
    assert math.isnan(fit.standard_errors["scale"])


@pytest.mark.parametrize(
    ("family", "y", "arguments", "message"),
    [
        ("Normal", [], {}, "at least one observation"),
        ("Normal", 3.0, {}, "at least one observation"),
        ("Normal", ["a", "b"], {}, "not an array of numbers"),
        ("Normal", [1.0, np.nan, 2.0], {}, "1 NaN"),
        ("Normal", [1.0, np.inf, 2.0], {}, "infinite"),
        ("Normal", [2.0, 2.0, 2.0], {}, "all values equal"),
        ("MultivariateNormalTriL", [[1.0, 2.0], [3.0, 2.0], [4.0, 2.0]], {}, "equal in a column"),
        ("Normal", [2.0], {}, "fewer than the 2 parameters"),
        ("JohnsonSU", [1.0, 2.0, 3.0], {}, "fewer than the 4 parameters"),
        ("Gamma", [1.0, -2.0, 3.0], {}, r"holds -2.0, which Gamma cannot have"),
        ("Gamma", [0.0, 2.0, 3.0], {}, r"holds 0.0, where the density of Gamma is zero or infinite"),
        ("Beta", [0.5, 1.5, 0.2], {}, r"holds 1.5, which Beta cannot have"),
        ("Poisson", [1, 2.5, 3], {}, r"holds 2.5, which Poisson cannot have"),
        ("Bernoulli", [0, 1, 2], {}, r"holds 2.0, which Bernoulli cannot have"),
        ("Bernoulli", [0, 1, 0.5], {}, r"holds 0.5, which Bernoulli cannot have"),
        ("Zipf", [1, 1.5, 3], {}, r"holds 1.5, which Zipf cannot have"),
        ("Categorical", [0, 1.5, 2], {"num_classes": 3}, r"holds 1.5, which Categorical cannot have"),
        ("Categorical", [0, 1, 3], {"num_classes": 3}, r"holds 3.0, which Categorical cannot have"),
        ("Exponential", [1.0, -1.0], {}, r"holds -1.0, which Exponential cannot have"),
        ("Normal", [1.0, 2.0], {"weights": [1.0]}, r"`weights` has shape \(1,\), but `y` has 2"),
        ("Normal", [1.0, 2.0], {"weights": [1.0, -1.0]}, "negative"),
        ("Normal", [1.0, 2.0], {"weights": [0.0, 0.0]}, "all zero"),
        ("Normal", [1.0, 2.0], {"loc": 0.0, "scale": 1.0}, "nothing to learn"),
        ("Normal", [1.0, 2.0], {"rate": 1.0}, "no parameter `rate`"),
        ("Nonsense", [1.0, 2.0], {}, "'Nonsense'"),
        (Family("Normal"), [1.0, 2.0], {"loc": 0.0}, "together with a family object"),
        (Family("Normal", 2), [1.0, 2.0], {}, r"has shape \('n', 2\)"),
        (Family("Normal", shared=("scale",)), [1.0, 2.0], {}, "shares"),
        ("Uniform", [0.5, 1.5, 2.5], {"low": 1.0}, "`y` holds 0.5, which Uniform cannot have"),
        ("BetaQuotient", [0.2, 0.5, 0.7, 0.9], {}, "BetaQuotient cannot be fitted: .* on a grid"),
        ("Normal", [1.0, 2.0, 3.0], {"loc": np.nan}, "`loc` is held at nan: give a finite value"),
        ("Normal", [1.0, 2.0, 3.0], {"loc": np.inf}, "`loc` is held at inf: give a finite value"),
        ("MultivariateNormalTriL", [1.0, 2.0, 3.0], {}, r"give vectors as rows, `\[n, d\]`"),
        ("Normal", np.ma.array([1.0, 2.0, 99.0], mask=[0, 0, 1]), {}, "`y` has 1 masked values"),
    ],
)
def test_bad_input_is_refused_before_any_optimisation(family, y, arguments, message, monkeypatch):
    monkeypatch.setattr("nllfit.estimation.search.maximize", lambda *_: pytest.fail("it was optimised"))
    with pytest.raises(ValueError, match=message):
        maximum_likelihood(family, y, **arguments)


@pytest.mark.parametrize("label", [3, -1])
def test_an_invalid_label_is_refused_without_tensorflows_log(label, capfd):
    with pytest.raises(ValueError, match="its 3 classes are labelled 0 to 2"):
        maximum_likelihood("Categorical", [0, 1, 2, label], num_classes=3)
    assert "INVALID_ARGUMENT" not in capfd.readouterr().err


def test_invalid_arguments_of_an_estimates_methods_are_named():
    fit = maximum_likelihood("Normal", [1.0, 2.0, 4.0])
    with pytest.raises(ValueError, match="`level` is 95"):
        fit.confidence_intervals(95)
    with pytest.raises(ValueError, match="`level` is 'high'"):
        fit.summary("high")
    with pytest.raises(ValueError, match="'wild'"):
        fit.confidence_intervals(method="wild")
    with pytest.raises(ValueError, match="`rate` is not a parameter"):
        fit.profile("rate", [1.0])
    with pytest.raises(ValueError, match="`index` is 1"):
        fit.profile("loc", [1.0], index=1)
    for values in (["a"], [[1.0, 2.0]]):
        with pytest.raises(ValueError, match="`values` is"):
            fit.profile("loc", values)


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


@pytest.mark.parametrize(
    ("family", "y", "errors"),
    [
        ("Normal", [2.0, 2.0, 2.0, 5.0], [np.sqrt(1.6875 / 4), np.sqrt(1.6875 / 8)]),
        ("Normal", [0.0, 1.0], [np.sqrt(1 / 8), 0.25]),
    ],
)
def test_few_distinct_values_do_not_lower_the_number_of_parameters(family, y, errors):
    estimate = maximum_likelihood(family, y)
    assert estimate.converged
    assert estimate.num_parameters == 2
    np.testing.assert_allclose([*estimate.standard_errors.values()], errors, rtol=1e-9)  # sigma/sqrt(n), sigma/sqrt(2n)


def test_binary_columns_do_not_lower_the_number_of_parameters():
    y = np.random.default_rng(3).integers(0, 2, [200, 2])
    estimate = maximum_likelihood("MultivariateNormalTriL", y)
    assert estimate.num_parameters == 5
    np.testing.assert_allclose(estimate.standard_errors["loc"], y.std(0) / np.sqrt(200), rtol=1e-6)


@pytest.mark.parametrize(("family", "scale"), [("LogNormal", 1e9), ("InverseGamma", 1e8)])
def test_a_point_far_from_the_maximum_does_not_count_as_converged(family, scale):
    y = scale + np.random.default_rng(1).normal(size=300)
    estimate = maximum_likelihood(family, y)
    # The spread of the logarithm is 1e-8, so the maximum is that of a Normal.
    assert not estimate.converged or abs(estimate.log_likelihood + 401.196) < 1e-2


@pytest.mark.parametrize(  # a location family, one with many local maxima, and one with bounds
    "family",
    [
        *("Normal", "StudentT", "Triangular"),
        *(pytest.param(name, marks=pytest.mark.thorough) for name in ("Gumbel", "JohnsonSU")),
    ],
)
def test_an_offset_of_1e9_changes_nothing(family):
    y = np.round(np.random.default_rng(0).logistic(size=200), 6)
    there = maximum_likelihood(family, 1e9 + y)
    here = maximum_likelihood(family, (1e9 + y) - 1e9)
    assert there.converged == here.converged
    assert there.log_likelihood == pytest.approx(here.log_likelihood, rel=1e-12)
    assert there.standard_errors == pytest.approx(here.standard_errors, rel=1e-9, nan_ok=True)


@pytest.mark.parametrize(
    ("family", "y", "reason"),
    [
        ("Gamma", 1e9 + np.random.default_rng(0).normal(size=300), "rounding errors of .* nats"),
        pytest.param(
            "StudentT",
            np.r_[np.zeros(20), np.random.default_rng(0).normal(size=10)],
            "0.0 is 20 times in `y`",
            marks=pytest.mark.thorough,  # `test_inflated.py` tests the same message
        ),
        (
            MixtureFamily("Laplace", 2, scale=1.0),
            np.random.default_rng(0).laplace(size=[2, 15]).T @ [1, 9],
            "not smooth",
        ),
    ],
)
def test_a_fit_that_did_not_converge_says_why(family, y, reason):
    fit = maximum_likelihood(family, y)
    assert not fit.converged
    assert re.search(reason, fit.message)


def test_another_sample_of_a_family_reuses_the_traces():
    rng = np.random.default_rng(0)
    for family in ("Gamma", "Laplace"):  # the Laplace has a held parameter, with another value in each sample
        maximum_likelihood(family, rng.gamma(2.0, 3.0, 50))
        with mock.patch("tensorflow.function", side_effect=AssertionError("a function is traced again")):
            fit = maximum_likelihood(family, rng.gamma(2.0, 3.0, 70))
        assert fit.converged


def test_dependent_columns_are_refused():
    x = np.random.default_rng(0).normal(size=100)
    with pytest.raises(ValueError, match=r"The columns of `y`, .* are dependent"):
        maximum_likelihood("MultivariateNormalTriL", np.stack([x, 2 * x], 1))


@pytest.mark.thorough
def test_a_triangle_with_one_end_fixed_finds_its_peak():
    y = np.random.default_rng(0).triangular(0, 1, 3, 200)
    fixed, free = maximum_likelihood("Triangular", y, low=0.0), maximum_likelihood("Triangular", y)
    assert fixed.converged
    assert free.log_likelihood - 2 < fixed.log_likelihood <= free.log_likelihood


def test_a_zero_inflated_fit_reproduces_the_share_of_zeros():
    rng = np.random.default_rng(3)
    y = np.where(rng.uniform(size=2000) < 0.4, 0, rng.negative_binomial(3, 0.3, 2000))
    fit = maximum_likelihood("ZeroInflatedNegativeBinomial", y)
    share, successes = fit.parameters["inflated_loc_probs"], 1 - fit.parameters["probs"]
    likelihoods = (1 - share) * stats.nbinom.pmf(y, fit.parameters["total_count"], successes) + share * (y == 0)
    assert fit.log_likelihood == pytest.approx(np.log(likelihoods).sum(), rel=1e-12)
    # At the maximum the fitted probability of 0 is the share of zeros in the sample.
    assert float(fit.distribution.prob(0.0)) == pytest.approx(np.mean(y == 0), rel=1e-6)


def test_a_held_location_far_from_0_does_not_lower_the_number_of_parameters():
    y = np.random.default_rng(3).normal(size=(60, 2)) @ [[2, 0.5], [0, 1]]
    loc = np.array([1e6, -3.0])
    fit = maximum_likelihood("MultivariateNormalTriL", y + loc, loc=loc)
    assert fit.num_parameters == 3
    np.testing.assert_allclose(fit.parameters["scale_tril"], np.linalg.cholesky(y.T @ y / 60), rtol=1e-6)


@pytest.mark.thorough  # `test_a_profile_matches_the_formula` tests another family
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # of SciPy's search
def test_a_profile_matches_scipy_where_the_support_depends_on_the_parameters():
    y = np.random.default_rng(11).gumbel(1, 2, 100)
    values = [-0.4, -0.3, 1.0]

    def fall(t, shape):  # the density of SciPy's `genextreme`, ten times faster
        inside = 1 + shape * (y - t[0]) / np.exp(t[1])
        if inside.min() <= 0:
            return np.inf
        return np.sum(t[1] + (1 + 1 / shape) * np.log(inside) + inside ** (-1 / shape))

    at = [1.0, 0.7]
    assert fall(at, -0.1) == pytest.approx(-stats.genextreme.logpdf(y, 0.1, 1.0, np.exp(0.7)).sum(), rel=1e-12)

    def profile(shape):
        return max(
            -optimize.minimize(
                fall,
                start,
                args=(shape,),
                method="Nelder-Mead",
                options={"xatol": 1e-10, "fatol": 1e-10, "maxiter": 4000},
            ).fun
            for start in ([1.0, 1.0], [0.0, 2.0], [-2.0, 2.0])
        )

    fit = maximum_likelihood("GeneralizedExtremeValue", y)
    np.testing.assert_allclose(fit.profile("concentration", values), [profile(v) for v in values], rtol=1e-8)
    ends = fit.confidence_intervals(0.999, method="profile")["concentration"]
    falls = 2 * (fit.log_likelihood - fit.profile("concentration", ends))
    np.testing.assert_allclose(falls, stats.chi2.ppf(0.999, 1), rtol=1e-6)


def test_a_parameter_at_the_end_of_its_domain_is_no_maximum():
    fit = maximum_likelihood("NoncentralChi2", np.random.default_rng(0).chisquare(5, 40))
    assert fit.message == "no finite maximum: the log-likelihood goes on rising as `noncentrality` goes to 0"


@pytest.mark.parametrize("scale", [1e-6, 1e8])
def test_the_unit_does_not_matter_to_a_normal_inverse_gaussian(scale):
    y = stats.norminvgauss.rvs(2, 0.5, 1, 2, size=300, random_state=np.random.default_rng(0))
    here, there = (maximum_likelihood("NormalInverseGaussian", s * y) for s in (1.0, scale))
    assert here.converged
    assert there.converged
    assert there.log_likelihood == pytest.approx(here.log_likelihood - 300 * np.log(scale), rel=1e-9)
    assert there.parameters["tailweight"] == pytest.approx(here.parameters["tailweight"] / scale, rel=1e-4)


@pytest.mark.parametrize(  # references from Nelder-Mead with many starts
    ("seed", "reference"), [(3, -80.843115), pytest.param(7, -87.620842, marks=pytest.mark.thorough)]
)
def test_the_peak_of_a_generalised_normal_may_be_an_observation(seed, reference):
    y = np.random.default_rng(seed).laplace(size=50)
    fit = maximum_likelihood("GeneralizedNormal", y)
    assert fit.converged
    assert fit.log_likelihood == pytest.approx(reference, abs=1e-5)
    assert fit.parameters["loc"] in y
    assert "not smooth in `loc`" in fit.message


@pytest.mark.thorough
def test_correlation_matrices_and_their_factors_have_one_concentration():
    y = tfd.LKJ(3, np.float64(2.0)).sample(40, seed=1).numpy()
    whole = maximum_likelihood("LKJ", y, dimension=3)
    factor = maximum_likelihood("CholeskyLKJ", np.linalg.cholesky(y), dimension=3)
    assert whole.converged
    assert whole.parameters == pytest.approx(factor.parameters, rel=1e-8)
    assert whole.standard_errors == pytest.approx(factor.standard_errors, rel=1e-6)
