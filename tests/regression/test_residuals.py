"""Residuals and influence compared with statsmodels and SciPy, and intervals that include the coefficients' errors."""

import numpy as np
import pandas as pd
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


@pytest.mark.thorough(but=("Poisson", "Gamma"))
@pytest.mark.parametrize(("family", "outcome"), [("Poisson", "count"), ("Bernoulli", "hit"), ("Gamma", "YES")])
def test_deviance_residuals_match_statsmodels(votes, family, outcome):
    formula = f"{outcome} ~ COUTAX"
    ours = nllfit.regression(formula, votes, family)
    theirs = smf.glm(formula, votes, family=FAMILIES[family]).fit(tol=1e-14)
    scale = ours.params.get("concentration", 1.0)
    np.testing.assert_allclose(ours.residuals("deviance"), theirs.resid_deviance * np.sqrt(scale), rtol=1e-6, atol=1e-7)


@pytest.mark.thorough
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
def test_quantile_residuals_of_the_zeros_of_a_hurdle_are_random():
    """At the outcome 0, the CDF jumps from 0 to the share of zeros. Each zero gets a random level in this range.

    For positive outcomes, the CDF is continuous, and SciPy's Gamma is the reference.
    """
    rng = np.random.default_rng(0)
    y = np.where(np.arange(400) % 2, 0.0, rng.gamma(2.0, size=400))
    fit = nllfit.regression("y ~ 1", {"y": y}, nllfit.Hurdle("Gamma", event_shape=1))
    levels = stats.norm.cdf(fit.residuals(seed=3))
    assert stats.kstest(levels[y == 0] / 0.5, "uniform").pvalue > 0.01
    shape, _, scale = stats.gamma.fit(y[y > 0], floc=0)
    np.testing.assert_allclose(levels[y > 0], 0.5 + 0.5 * stats.gamma.cdf(y[y > 0], shape, scale=scale), atol=1e-5)


def test_unordered_classes_have_no_quantile_residuals():
    data = pd.DataFrame({"x": np.sin(np.arange(30)), "g": list("abcca") * 6})
    with pytest.raises(ValueError, match="The labels of the outcome `g` have no order, so there are no quantile resid"):
        nllfit.regression("g ~ x", data, "Categorical").residuals()
    ordered = data.assign(g=pd.Categorical(data.g, ordered=True))
    assert np.isfinite(nllfit.regression("g ~ x", ordered, "Categorical").residuals()).all()


@pytest.mark.parametrize("scale", [{"scale": 2.0}, {}])
def test_influence_of_the_only_row_of_a_level_is_unknown(scale):
    """Without this row, its level has no coefficient. For the other rows, statsmodels is the reference."""
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"h": ["u"] + ["v"] * 19, "x": rng.normal(size=20), "y": rng.normal(size=20)})
    ours = nllfit.regression("y ~ h + x", data, **scale).influence()
    assert ours.iloc[0, 1:].isna().all()
    assert np.isfinite(ours.iloc[1:]).all(axis=None)
    if scale:
        theirs = smf.ols("y ~ h + x", data).fit()
        without = [smf.ols("y ~ h + x", data.drop(index=row)).fit().params for row in range(1, 20)]
        np.testing.assert_allclose(ours.iloc[1:, 2:], theirs.params.to_numpy() - np.array(without), atol=1e-10)
        np.testing.assert_allclose(ours["leverage"], theirs.get_influence().hat_matrix_diag, rtol=1e-9)


@pytest.mark.thorough
def test_intervals_of_a_new_outcome_include_the_uncertainty_of_the_coefficients(votes):
    """With a known scale, a new outcome is Normal. Its variance is the variance of the noise plus that of the mean."""
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
