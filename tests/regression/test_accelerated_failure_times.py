"""Accelerated failure time models, compared with lifelines and SciPy.

The reference values come from lifelines 0.30.3 (`WeibullAFTFitter`, `LogNormalAFTFitter`), run on the same columns of
statsmodels' data set of heart transplants with a step tolerance of 1e-12.
"""

import numpy as np
import pytest
from scipy import optimize, stats

import nllfit


@pytest.mark.thorough
def test_a_weibull_regression_of_times_matches_lifelines(heart):
    weibull = nllfit.regression("Surv(time, censors) ~ age + z", heart, "Weibull")
    estimates = [11.279898976861, -0.105325684920, -0.452351934581, np.exp(-0.509711806324)]
    np.testing.assert_allclose(weibull.params, estimates, rtol=1e-5)  # lifelines stops at a gradient of 1e-5
    errors = [1.843487755363, 0.037588615565, 0.346904347908, 0.122749303787 * np.exp(-0.509711806324)]
    np.testing.assert_allclose(weibull.bse, errors, rtol=1e-5)
    np.testing.assert_allclose(weibull.llf, -312.500675543311, rtol=1e-9)
    assert weibull.ratios.tolist() == [True, True, True, False]  # time ratios


@pytest.mark.thorough
def test_other_accelerated_failure_time_models_match_lifelines(heart):
    weibull = nllfit.regression("Surv(time, censors) ~ age + z", heart, "Weibull")
    ancillary = nllfit.regression("Surv(time, censors) ~ age + z", heart, "Weibull", concentration="~ age")
    early = [12.828480531327, -0.134937124990, -0.558098543992]
    np.testing.assert_allclose(ancillary.params.iloc[:3], early, rtol=1e-5)
    np.testing.assert_allclose(ancillary.params.iloc[3:], [-1.826345222216, 0.027452917209], rtol=1e-5)
    np.testing.assert_allclose(weibull.anova(ancillary)["statistic"].iloc[1], 2 * (312.500675543 - 310.833292991), 1e-6)
    lognormal = nllfit.regression("Surv(time, censors) ~ age + z", heart, "LogNormal")
    np.testing.assert_allclose(lognormal.params.iloc[:3], [8.781020659426, -0.069754696008, -0.478426055928], rtol=3e-5)
    np.testing.assert_allclose(lognormal.llf, -311.385825568881, rtol=1e-9)


@pytest.mark.thorough
def test_log_logistic_times_match_scipys_optimum(heart):
    """The reference is SciPy, because lifelines stops 3e-6 nats below the maximum."""
    x = np.column_stack([np.ones(69), heart.age, heart.z])

    def loss(b):
        standard = (np.log(heart.time) - x @ b[:3]) / np.exp(b[3])
        seen = stats.logistic.logpdf(standard) - b[3] - np.log(heart.time)
        return -np.where(heart.censors == 1, seen, stats.logistic.logsf(standard)).sum()

    found = optimize.minimize(loss, [9.34, -0.0815, -0.46, 0.226], options={"gtol": 1e-8}, method="BFGS")
    fit = nllfit.regression("Surv(time, censors) ~ age + z", heart, "LogLogistic")
    np.testing.assert_allclose(fit.llf, -found.fun, rtol=1e-11)
    np.testing.assert_allclose(fit.params, [*found.x[:3], np.exp(found.x[3])], rtol=1e-5)
    assert fit.llf > -312.0014919548338


def test_coefficients_of_the_logarithm_of_a_time_are_logarithms_of_time_ratios(heart):
    fit = nllfit.regression("Surv(time, censors) ~ age", heart, "LogNormal")
    assert fit.ratios.tolist() == [True, True, False]
    table = fit.table(exponentiate=True)
    younger, older = fit.predict({"age": [50.0, 51.0]})
    np.testing.assert_allclose(table["exp(coef)"].iloc[1], older / younger, rtol=1e-6)


def test_drawn_coefficients_hardly_change_an_interval_of_times(heart):
    fit = nllfit.regression("Surv(time, censors) ~ 1", heart, "Weibull")
    plain, drawn = (fit.predict_interval(heart[:1], 0.5, num_draws=num_draws) for num_draws in (0, 100))
    np.testing.assert_allclose(drawn[["lower", "upper"]], plain[["lower", "upper"]], rtol=0.15)


def test_quantiles_of_log_normal_times_have_the_errors_of_their_closed_form(heart):
    """A LogNormal's quantile is `exp(loc + z scale)`, so the error of its logarithm follows from the covariance."""
    fit = nllfit.regression("Surv(time, censors) ~ age", heart, "LogNormal")
    z = stats.norm.ppf(0.9)
    gradients = np.array([[1.0, 40.0, z], [1.0, 60.0, z]])
    logarithms = gradients @ fit.params
    errors = np.sqrt(np.einsum("ri,ij,rj->r", gradients, fit.cov_params(), gradients))
    ours = fit.predict_quantile({"age": [40.0, 60.0]}, 0.9, level=0.8)
    np.testing.assert_allclose(ours["quantile"], np.exp(logarithms), rtol=1e-10)
    np.testing.assert_allclose(ours["quantile_se"], np.exp(logarithms) * errors, rtol=1e-8)
    half = stats.norm.ppf(0.9) * errors
    np.testing.assert_allclose(ours["quantile_lower"], np.exp(logarithms - half), rtol=1e-8)
    np.testing.assert_allclose(ours["quantile_upper"], np.exp(logarithms + half), rtol=1e-8)


def test_a_median_of_exponential_times_has_the_wald_interval_of_its_linear_predictor(heart):
    fit = nllfit.regression("Surv(time, censors) ~ 1", heart, "Exponential")
    events, total = heart.censors.sum(), heart.time.sum()
    ours = fit.predict_quantile(heart.iloc[:1]).iloc[0]
    np.testing.assert_allclose(ours["quantile"], np.log(2) * total / events, rtol=1e-8)
    ends = np.log(2) * total / events * np.exp(stats.norm.ppf([0.025, 0.975]) / np.sqrt(events))
    np.testing.assert_allclose(ours[["quantile_lower", "quantile_upper"]], ends, rtol=1e-8)


def test_the_interval_of_a_normal_quantile_is_symmetric_and_may_have_a_negative_end():
    rng = np.random.default_rng(0)
    fit = nllfit.regression("y ~ x", {"y": rng.normal(size=40), "x": rng.normal(size=40)})
    gradient = np.array([1.0, 0.0, stats.norm.ppf(0.4)])
    value, error = gradient @ fit.params, np.sqrt(gradient @ fit.cov_params() @ gradient)
    half = stats.norm.ppf(0.975) * error
    ours = fit.predict_quantile({"x": [0.0]}, 0.4).iloc[0]
    np.testing.assert_allclose(ours, [value, error, value - half, value + half], rtol=1e-8)
    assert ours["quantile_lower"] < 0 < ours["quantile_upper"]


def test_a_quantile_that_is_always_0_is_known_without_error():
    rng = np.random.default_rng(0)
    data = {"y": np.where(rng.random(200) < 0.6, 0.0, rng.gamma(2.0, 1.0, 200)), "x": rng.normal(size=200)}
    fit = nllfit.regression("y ~ x", data, nllfit.ZeroInflated("Gamma"))
    np.testing.assert_array_equal(fit.predict_quantile({"x": [0.0, 1.0]}, 0.5), np.zeros([2, 4]))
    assert (fit.predict_quantile({"x": [0.0, 1.0]}, 0.9) > 0).all(axis=None)


def test_the_interval_of_a_quantile_of_shares_ends_at_1():
    data = {"y": [0.02, 0.9, 0.97, 0.6, 0.99, 0.95], "x": [-2.0, 0.0, 1.0, -1.0, 2.0, 0.5]}
    ours = nllfit.regression("y ~ x", data, "Beta").predict_quantile({"x": [2.0]}, 0.05).iloc[0]
    assert ours["quantile_lower"] < ours["quantile"] < ours["quantile_upper"] == 1.0


@pytest.mark.thorough
def test_intervals_of_a_median_cover_it_in_95_percent_of_censored_samples():
    """With 400 samples, the standard error of the measured coverage is 1.1%."""
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(400):
        group = np.repeat([0.0, 1.0], 60)
        times, limits = rng.weibull(1.5, 120) * np.exp(1 + 0.5 * group), rng.exponential(8.0, 120)
        data = {"time": np.minimum(times, limits), "event": times <= limits, "group": group}
        fit = nllfit.regression("Surv(time, event) ~ group", data, "Weibull")
        ours = fit.predict_quantile({"group": [1.0]}).iloc[0]
        covered.append(ours["quantile_lower"] < np.exp(1.5) * np.log(2) ** (1 / 1.5) < ours["quantile_upper"])
    assert abs(np.mean(covered) - 0.95) < 0.035


@pytest.mark.parametrize(
    ("family", "arguments", "message"),
    [
        ("Weibull", {"q": 1}, "`q` is 1: give one probability above 0 and below 1"),
        ("Weibull", {"q": [0.1, 0.9]}, r"`q` is \[0.1, 0.9\]: give one probability"),
        ("Weibull", {"level": 95}, "`level` is 95: give a probability between 0 and 1"),
        ("Poisson", {}, "a Poisson are discrete, and their quantiles have no standard error: call `nllfit.quantile"),
    ],
)
def test_quantiles_without_an_interval_are_refused(heart, family, arguments, message):
    fit = nllfit.regression("time ~ 1", heart, family)
    with pytest.raises(ValueError, match=message):
        fit.predict_quantile(**arguments)
