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
