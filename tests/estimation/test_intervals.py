"""Standard errors, profiles and intervals of estimates against formulas and SciPy."""

import math

import numpy as np
import pytest
from scipy import optimize, special, stats

from nllfit import Censored, Family, maximum_likelihood, right_censored


def test_standard_errors_match_the_formulas():
    rng = np.random.default_rng(0)
    y = rng.normal(3, 2, 500)
    normal = maximum_likelihood("Normal", y)
    sigma = normal.parameters["scale"]
    # The formulas come from the observed information at the maximum. The last Newton step leaves an error of 1e-6.
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


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_standard_errors_whose_squares_overflow_are_finite(scale):
    y = np.array([1.0, 2.0, 4.0, 8.0])
    one, other = maximum_likelihood("Normal", y), maximum_likelihood("Normal", scale * y)
    for name, error in other.standard_errors.items():
        assert error == pytest.approx(scale * one.standard_errors[name], rel=1e-9, abs=0)


@pytest.mark.thorough(but="Poisson")
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
    """The profile of one class is a binomial likelihood, because the other probabilities keep their ratios."""
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


@pytest.mark.thorough
def test_the_only_free_parameter_may_be_a_corner():
    y = np.random.default_rng(0).triangular(0, 1, 3, 200)
    fit = maximum_likelihood("Triangular", y, low=0.0, high=3.0)
    at_each = [stats.triang(peak / 3, 0, 3).logpdf(y).sum() for peak in y]
    assert fit.log_likelihood == pytest.approx(max(at_each), rel=1e-12)
    assert fit.parameters["peak"] == y[np.argmax(at_each)]


@pytest.mark.thorough
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


@pytest.mark.thorough
def test_a_profile_interval_of_an_end_of_the_support_matches_the_formula():
    """For a Uniform, `2 n log((high - value) / (high - low))` is a chi-square variable with 2 degrees of freedom."""
    y = np.random.default_rng(0).uniform(0, 1, 50)
    found = maximum_likelihood("Uniform", y).confidence_intervals(0.9, method="profile", names="low")["low"]
    np.testing.assert_allclose(found, [y.max() - np.ptp(y) * 0.1 ** (-1 / 50), y.min()], atol=1e-8)
    y = np.random.default_rng(0).pareto(2.0, 50) + 1
    found = maximum_likelihood("Pareto", y, concentration=2.0).confidence_intervals(0.9, method="profile")["scale"]
    np.testing.assert_allclose(found, [y.min() * 0.1 ** (1 / 100), y.min()], atol=1e-8)


@pytest.mark.thorough
def test_a_corner_of_censored_outcomes_has_a_profile_interval():
    y = np.random.default_rng(0).laplace(size=61)
    cut = right_censored(np.minimum(y, 1), y < 1)
    low, high = maximum_likelihood(Censored("Laplace"), cut).confidence_intervals(method="profile", names="loc")["loc"]
    scales, exact = np.geomspace(0.5, 2, 801)[:, None], y < 1

    def profile(loc):
        density = stats.laplace.logpdf(y[exact], loc, scales).sum(1)
        return np.max(density + stats.laplace.logsf(1, loc, scales[:, 0]) * np.sum(~exact))

    best = max(map(profile, y[exact]))
    np.testing.assert_allclose([2 * (best - profile(end)) for end in (low, high)], stats.chi2.ppf(0.95, 1), rtol=1e-3)


@pytest.mark.thorough  # tests above compare standard errors and an interval with formulas
def test_wald_intervals_cover_the_truth():
    """The coverage of 95% intervals from samples of 200 is within 2.9 binomial standard errors of 95%."""
    truth = {"concentration": 3.0, "rate": 0.5}
    count, rng = 400, np.random.default_rng(0)
    covered = {name: [] for name in truth}
    for _ in range(count // 20):
        fit = maximum_likelihood("Gamma", rng.gamma(3, 2, (200, 20)))
        assert fit.converged
        for name, interval in fit.confidence_intervals(0.95).items():
            covered[name].extend((interval[:, 0] < truth[name]) & (truth[name] < interval[:, 1]))
    for name in truth:
        assert len(covered[name]) == count
        assert abs(np.mean(covered[name]) - 0.95) < 2.9 * np.sqrt(0.95 * 0.05 / count)


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


@pytest.mark.thorough  # `test_a_profile_matches_the_formula` covers another family
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # raised in SciPy's search
def test_a_profile_matches_scipy_where_the_support_depends_on_the_parameters():
    y = np.random.default_rng(11).gumbel(1, 2, 100)
    values = [-0.4, -0.3, 1.0]

    def fall(t, shape):  # -log-likelihood; SciPy's `genextreme` is ten times slower
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


@pytest.mark.thorough
@pytest.mark.parametrize("wrap", [lambda family: family, Censored], ids=["Family", "Censored"])
def test_a_profile_is_minus_infinity_below_a_floor(wrap):
    """Above the floor, the profile of a Normal's scale is the log-likelihood at the sample mean."""
    y = np.random.default_rng(0).normal(0, 1.05, 30)
    floor = 0.95 * y.std()
    outcomes = y if wrap is not Censored else np.stack([y, y], 1)
    estimate = maximum_likelihood(wrap(Family("Normal", floor={"scale": floor})), outcomes)
    above = [floor, 1.1 * floor, 2.0]
    expected = [expected_at(y, scale) for scale in above]
    found = estimate.profile("scale", [-1.0, 0.5 * floor, *above])
    np.testing.assert_array_equal(found[:2], [-math.inf, -math.inf])
    np.testing.assert_allclose(found[2:], expected, rtol=1e-9)
    end = optimize.brentq(
        lambda scale: 2 * (expected_at(y, y.std()) - expected_at(y, scale)) - stats.chi2.ppf(0.95, 1), y.std(), 3.0
    )
    interval = estimate.confidence_intervals(method="profile", names="scale")["scale"]
    np.testing.assert_allclose(interval, [floor, end], rtol=1e-6)


def expected_at(y, scale):
    return stats.norm.logpdf(y, y.mean(), scale).sum()


@pytest.mark.thorough
def test_a_profile_interval_stays_in_the_domain_of_a_chosen_link():
    y = np.array([0.2, 0.9, 1.1, 1.2, 1.3])
    fit = maximum_likelihood(Family("Normal", link={"loc": "sigmoid"}), y)
    low, high = fit.confidence_intervals(method="profile", names="loc")["loc"]
    # The profile log-likelihood of `loc` is lower than its maximum by `n/2 log(1 + (loc - mean)^2 / variance)`.
    reach = y.std() * np.sqrt(np.expm1(stats.chi2.ppf(0.95, 1) / 5))
    assert (low, high) == (pytest.approx(y.mean() - reach, rel=1e-6), 1.0)
    assert y.mean() + reach > 1
    np.testing.assert_array_equal(fit.profile("loc", [-0.1, 1.1]), -np.inf)
