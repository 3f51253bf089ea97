"""Printed results of R and Stata for public data, from statsmodels' own tests, and exact accelerated failure times.

Stata prints seven digits. R's search for the zero-inflated negative binomial stopped at three correct digits.
"""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import special, stats
from statsmodels.discrete.tests.results.results_discrete import RandHIE
from statsmodels.genmod.tests.results.results_glm import Scotvote

import nllfit


def test_a_gamma_regression_matches_r():
    data = sm.datasets.scotland.load_pandas().data
    names = list(data.columns[1:])
    fit = nllfit.regression(f"YES ~ {' + '.join(names)}", data, "Gamma", link={"mean": "reciprocal"})
    np.testing.assert_allclose(fit.params[[*names, "Intercept"]], Scotvote().params, rtol=1e-6)


@pytest.mark.thorough
def test_regressions_of_doctor_visits_match_stata_and_r():
    data = sm.datasets.randhie.load_pandas().data
    names = list(data.columns[1:])
    terms = " + ".join(names)
    poisson, printed = nllfit.regression(f"mdvis ~ {terms}", data, "Poisson"), RandHIE.poisson
    np.testing.assert_allclose(poisson.params[[*names, "Intercept"]], printed.params, rtol=1e-6)
    np.testing.assert_allclose(poisson.bse[[*names, "Intercept"]], printed.bse, rtol=1e-6)
    negative, printed = (
        nllfit.regression(f"mdvis ~ {terms}", data, "NegativeBinomial"),
        RandHIE.negativebinomial_nb2_bfgs,
    )
    np.testing.assert_allclose(negative.params[[*names, "Intercept", "alpha"]], printed.params, rtol=1e-6)
    np.testing.assert_allclose(negative.llf, printed.llf, rtol=1e-11)
    zeros = {"zero_logits": "~ lncoins"}
    inflated = nllfit.regression("mdvis ~ idp + lpi + fmde", data, nllfit.ZeroInflated("Poisson", 1), **zeros)
    order = ["zero_logits: lncoins", "zero_logits: Intercept", "idp", "lpi", "fmde", "Intercept"]
    printed = RandHIE.zero_inflated_poisson_logit
    np.testing.assert_allclose(inflated.params[order], printed.params, atol=6e-7)
    np.testing.assert_allclose(inflated.bse[order], printed.bse, atol=6e-7)
    family = nllfit.ZeroInflated(nllfit.ByMean("NegativeBinomial", 1, link={"mean": "exp", "alpha": "exp"}))
    inflated, printed = nllfit.regression("mdvis ~ idp", data, family, **zeros), RandHIE.zero_inflated_negative_binomial
    order = ["zero_logits: lncoins", "zero_logits: Intercept", "idp", "Intercept", "alpha"]
    np.testing.assert_allclose(inflated.params[order], printed.params, rtol=1e-3)
    np.testing.assert_allclose(inflated.bse[order], printed.bse, rtol=1e-3)
    np.testing.assert_allclose(inflated.llf, printed.llf, atol=0.005)  # R prints two digits


# By family: the log-density, its slope, the log-survival function and its slope, of the standardised logarithm; and
# by how much lifelines' log-likelihood for the data below is lower than the maximum.
LAWS = {
    "LogNormal": (
        stats.norm.logpdf,
        lambda z: -z,
        stats.norm.logsf,
        lambda z: -np.exp(stats.norm.logpdf(z) - special.log_ndtr(-z)),
        -2.2e-9,
    ),
    "LogLogistic": (
        stats.logistic.logpdf,
        lambda z: -np.tanh(z / 2),
        stats.logistic.logsf,
        lambda z: -special.expit(z),
        -3.7e-6,
    ),
}


@pytest.mark.thorough(but="LogLogistic")
@pytest.mark.parametrize("family", LAWS)
def test_accelerated_failure_times_are_at_the_maximum(family):
    """Newton's next step would move no coefficient by 1e-9 of its standard error; lifelines stops below the maximum."""
    log_density, slope, log_survival, survival_slope, short = LAWS[family]
    data = sm.datasets.heart.load_pandas().data
    data = data.assign(time=data.survival + 1, z=np.sin(np.arange(69)))
    fit = nllfit.regression("Surv(time, censors) ~ age + z", data, family)
    x, seen = np.column_stack([np.ones(69), data.age, data.z]), data.censors.to_numpy() == 1
    scale = fit.params["scale"]
    z = (np.log(data.time) - x @ fit.params.iloc[:3]).to_numpy() / scale
    log_likelihood = np.where(seen, log_density(z) - np.log(scale) - np.log(data.time), log_survival(z)).sum()
    slopes = np.where(seen, slope(z), survival_slope(z))
    score = np.append(-slopes @ x, -slopes @ z - seen.sum()) / scale
    step = fit.cov_params().to_numpy() @ score
    assert np.all(np.abs(step) < 1e-9 * fit.bse)
    np.testing.assert_allclose(fit.llf, log_likelihood, rtol=1e-13)
    lifelines = {"LogNormal": -311.385825568881, "LogLogistic": -312.0014919548338}[family]
    np.testing.assert_allclose(lifelines - fit.llf, short, rtol=0.05)
