"""Deviance and Schoenfeld residuals compared with statsmodels, and intervals that include the coefficients' errors."""

import numpy as np
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from scipy import stats

import nllfit

FAMILIES = {
    "Poisson": sm.families.Poisson(),
    "Bernoulli": sm.families.Binomial(),
    "Gamma": sm.families.Gamma(sm.families.links.Log()),
}


@pytest.fixture(scope="module")
def votes():
    data = sm.datasets.scotland.load_pandas().data
    return data.assign(count=np.round(data.YES / 20), hit=(data.YES > 60) * 1)


@pytest.mark.parametrize(("family", "outcome"), [("Poisson", "count"), ("Bernoulli", "hit"), ("Gamma", "YES")])
def test_deviance_residuals_match_statsmodels(votes, family, outcome):
    formula = f"{outcome} ~ COUTAX"
    ours = nllfit.regression(formula, votes, family)
    theirs = smf.glm(formula, votes, family=FAMILIES[family]).fit(tol=1e-14)
    scale = ours.params.get("concentration", 1.0)
    np.testing.assert_allclose(ours.residuals("deviance"), theirs.resid_deviance * np.sqrt(scale), rtol=1e-6, atol=1e-7)


def test_deviance_residuals_need_a_mean(votes):
    fit = nllfit.regression("YES ~ COUTAX", votes, "Weibull")
    with pytest.raises(ValueError, match=r"`scale` of Weibull.* is not its mean"):
        fit.residuals("deviance")


def test_schoenfeld_residuals_match_statsmodels():
    data = sm.datasets.heart.load_pandas().data
    data = data.assign(time=data.survival + 1 + np.arange(69) * 1e-3, z=np.sin(np.arange(69)))
    ours = nllfit.cox_regression("Surv(time, censors) ~ age + z", data).schoenfeld_residuals()
    theirs = sm.PHReg(data.time, data[["age", "z"]], status=data.censors).fit().schoenfeld_residuals
    expected = theirs[np.isfinite(theirs).all(1)]
    np.testing.assert_allclose(np.sort(ours[["age", "z"]], 0), np.sort(expected, 0), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(ours[["age", "z"]].sum(), 0.0, atol=1e-8)
    np.testing.assert_allclose(ours["time"], data.time[data.censors == 1])


@pytest.mark.thorough
def test_intervals_of_a_new_outcome_include_the_uncertainty_of_the_coefficients(votes):
    """With a known scale, the outcome is Normal; its variance is that of the noise plus that of the mean."""
    data = votes.iloc[:12]
    fit = nllfit.regression("YES ~ COUTAX", data, scale=5.0)
    plain, wide = fit.predict_interval(level=0.9), fit.predict_interval(level=0.9, num_draws=2000)
    design = np.column_stack([np.ones(12), data.COUTAX])
    variance = np.einsum("np,pq,nq->n", design, fit.cov_params().to_numpy(), design)
    expected = stats.norm.ppf(0.95) * np.sqrt(25 + variance)
    np.testing.assert_allclose((wide.upper - wide.lower) / 2, expected, rtol=0.02)  # 2 standard errors of 2000 draws
    np.testing.assert_allclose((plain.upper - plain.lower) / 2, stats.norm.ppf(0.95) * 5)
    with pytest.raises(ValueError, match="`num_draws` is -1"):
        fit.predict_interval(num_draws=-1)
