"""Regressions of classes, ordered classes, zero-inflated counts and heteroscedastic outcomes."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import optimize, stats
from statsmodels.miscmodels.ordinal_model import OrderedModel
from statsmodels.tools.numdiff import approx_fprime

import nllfit

# The accuracy of statsmodels, which computes the Hessian of its ordered model by finite differences.
DIGITS = {"rtol": 1e-6, "atol": 1e-8}


def test_multinomial_regression_matches_statsmodels():
    data = sm.datasets.anes96.load_pandas().data.iloc[:300]
    data = data.assign(party=np.array(["a left", "b centre", "c right"])[np.digitize(data.PID, [2, 5])])
    x = sm.add_constant(data[["age", "educ"]])
    theirs = sm.MNLogit(pd.factorize(data.party, sort=True)[0], x).fit(disp=0, method="newton", tol=1e-12)
    ours = nllfit.regression("party ~ age + educ", data, family="Categorical")
    assert ours.names[:2] == ["b centre: Intercept", "b centre: age"]
    np.testing.assert_allclose(ours.params, np.ravel(theirs.params, "F"), **DIGITS)
    np.testing.assert_allclose(ours.bse, np.ravel(theirs.bse, "F"), **DIGITS)
    np.testing.assert_allclose(ours.llf, theirs.llf)
    probabilities = ours.predict(data.iloc[:5])
    assert list(probabilities.columns) == ["a left", "b centre", "c right"]
    np.testing.assert_allclose(probabilities, theirs.predict(x.iloc[:5]), rtol=1e-6)
    np.testing.assert_allclose(ours.table(exponentiate=True)["exp(coef)"], np.exp(ours.params))


def test_the_keras_model_adds_an_offset_to_the_logits_of_all_classes_but_the_first():
    """An offset of all logits would cancel in the probabilities."""
    data = {"g": list("abcabcaacb"), "x": np.sin(np.arange(10.0)), "o": np.cos(np.arange(10.0))}
    found = nllfit.regression("g ~ x", data, "Categorical", offset="o")
    probabilities = found.model(found.inputs()).probs_parameter()
    np.testing.assert_allclose(probabilities, found.predict(), rtol=1e-12)


@pytest.mark.thorough
def test_ordinal_regression_from_a_formula_matches_statsmodels():
    data = sm.datasets.anes96.load_pandas().data.iloc[:300]
    data = data.assign(view=pd.Categorical.from_codes(np.digitize(data.selfLR, [3, 5]), ["l", "c", "r"], ordered=True))
    theirs = OrderedModel(data.view, data[["age", "educ"]], distr="logit").fit(disp=0, method="newton", tol=1e-12)
    ours = nllfit.regression("view ~ age + educ", data, family="OrderedLogistic")
    np.testing.assert_allclose(ours.params.iloc[:2], theirs.params.iloc[:2], **DIGITS)
    np.testing.assert_allclose(ours.bse.iloc[:2], theirs.bse.iloc[:2], **DIGITS)
    cutpoints = theirs.model.transform_threshold_params(theirs.params)[1:-1]
    np.testing.assert_allclose(ours.params.iloc[2:], cutpoints, **DIGITS)
    ratios = ours.table(exponentiate=True)["exp(coef)"]  # ratios of the cumulative odds
    assert list(ratios.index) == ["age", "educ"]
    np.testing.assert_allclose(ratios, np.exp(theirs.params.iloc[:2]), **DIGITS)


@pytest.mark.thorough
def test_zero_inflated_regression_from_a_formula_matches_statsmodels():
    data = sm.datasets.randhie.load_pandas().data.iloc[:400]
    x = sm.add_constant(data[["idp", "disea"]])
    model = sm.ZeroInflatedPoisson(data.mdvis, x, exog_infl=x[["const", "idp"]])
    theirs = model.fit(disp=0, method="bfgs", gtol=1e-7, maxiter=500)
    family = nllfit.ZeroInflated("Poisson", 1)
    ours = nllfit.regression("mdvis ~ idp + disea", data, family=family, zero_logits="~ idp")
    assert ours.names == ["Intercept", "idp", "disea", "zero_logits: Intercept", "zero_logits: idp"]
    order = [2, 3, 4, 0, 1]
    np.testing.assert_allclose(ours.params, theirs.params.iloc[order], rtol=1e-5)
    # The standard errors of statsmodels 0.15 are up to 0.2% too small, because its Hessian contains 0 for each pair of
    # a coefficient of the zeros and a coefficient of the counts. So we compute the Hessian from its score.
    hessian = approx_fprime(theirs.params.to_numpy(), model.score, centered=True)
    np.testing.assert_allclose(ours.bse, np.sqrt(np.diag(np.linalg.inv(-hessian)))[order], rtol=1e-5)
    np.testing.assert_allclose(ours.llf, theirs.llf)
    assert ours.ratios.all()


def test_a_family_whose_likelihood_is_not_smooth_has_no_estimates(rng):
    x = rng.normal(size=61)
    fit = nllfit.regression("y ~ x", {"x": x, "y": x + rng.standard_t(3, size=61)}, "Laplace")
    assert not fit.converged
    assert "the likelihood of Laplace is not smooth in `loc`" in fit.message
    assert np.isnan(fit.bse).all()


def test_a_formula_for_the_scale_matches_scipys_optimum():
    data = sm.datasets.engel.load_pandas().data / 1000
    ours = nllfit.regression("foodexp ~ income", data, scale="~ income")
    x, y = np.column_stack([np.ones(len(data)), data.income]), data.foodexp.to_numpy()

    def loss(b):
        return -stats.norm.logpdf(y, x @ b[:2], np.exp(x @ b[2:])).sum()

    found = optimize.minimize(
        loss, [0.1, 0.5, -2.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12}
    )
    np.testing.assert_allclose(ours.params, found.x, rtol=1e-5)
    np.testing.assert_allclose(ours.llf, -found.fun, rtol=1e-10)
    assert ours.formula == "foodexp ~ income, scale ~ income"


@pytest.mark.thorough
def test_quantile_residuals_are_normal_where_the_model_is_true():
    """Residuals of counts, of binary outcomes with a probit link, and of censored times (Dunn and Smyth)."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=400)
    data = pd.DataFrame(
        {"x": x, "count": rng.poisson(np.exp(0.5 + 0.4 * x)), "hit": rng.uniform(size=400) < stats.norm.cdf(x)}
    )
    time = np.exp(1 + 0.5 * x) * rng.weibull(2.0, size=400)
    data["time"], data["event"] = np.minimum(time, 4.0), time <= 4.0
    fits = {
        "counts": nllfit.regression("count ~ x", data, family="Poisson"),
        "probit": nllfit.regression("hit ~ x", data, family="Bernoulli", link={"probs": "normal_cdf"}),
        "times": nllfit.regression("Surv(time, event) ~ x", data, family="Weibull"),
    }
    for name, fit in fits.items():
        assert fit.converged, name
        assert stats.kstest(fit.residuals(), "norm").pvalue > 0.01, name
        np.testing.assert_allclose(fit.residuals(seed=1).std(), 1.0, atol=0.12)
    probit = sm.Probit(data.hit, sm.add_constant(x)).fit(disp=0, tol=1e-12)
    np.testing.assert_allclose(fits["probit"].params, probit.params, **DIGITS)
    np.testing.assert_allclose(fits["probit"].bse, probit.bse, **DIGITS)
    with pytest.raises(ValueError, match="Outcomes that are censored have no pearson residuals"):
        fits["times"].residuals("pearson")


@pytest.mark.thorough
def test_a_median_has_the_standard_error_of_the_delta_method():
    data = {"y": stats.genpareto.rvs(1.3, size=300, random_state=1)}
    heavy = nllfit.regression("y ~ 1", data, family="GeneralizedPareto", loc=0.0)
    predicted = heavy.predict_interval({"x": [0]}).iloc[0]
    log_scale, c = heavy.params
    median = np.exp(log_scale) * (2**c - 1) / c
    slopes = np.array([median, np.exp(log_scale) * (2**c * np.log(2) / c - (2**c - 1) / c**2)])
    error = np.sqrt(slopes @ heavy.covariance @ slopes)
    np.testing.assert_allclose(predicted[["mean", "mean_se"]], [median, error], rtol=1e-6)
    ends = median + error * stats.norm.ppf([0.025, 0.975])
    np.testing.assert_allclose(predicted[["mean_lower", "mean_upper"]], ends, rtol=1e-6)


def test_a_row_of_weight_0_has_no_influence_on_the_fit():
    """In the row of weight 0, `x` is so large that the loss overflows."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=40)
    data = pd.DataFrame({"y": rng.poisson(np.exp(0.5 * x)), "x": x, "w": 1})
    data.loc[0, ["x", "w"]] = 2000.0, 0
    for covariance in ("information", "sandwich"):
        ours = nllfit.regression("y ~ x", data, family="Poisson", weights="w", covariance=covariance)
        theirs = sm.GLM(data.y[1:], sm.add_constant(data.x[1:]), sm.families.Poisson())
        theirs = theirs.fit(tol=1e-12, cov_type="nonrobust" if covariance == "information" else "HC0")
        np.testing.assert_allclose(ours.params, theirs.params, **DIGITS)
        np.testing.assert_allclose(ours.bse, theirs.bse, **DIGITS)
        np.testing.assert_allclose(ours.llf, theirs.llf)


def test_numbers_in_a_column_of_objects_are_numbers():
    data = pd.DataFrame({"y": np.array([3, 7, 7, 3, 7], object), "x": [0.0, 1.0, 2.0, 3.0, 5.0]})
    ours = nllfit.regression("y ~ x", data)
    expected = np.linalg.lstsq(sm.add_constant(data.x), data.y.astype(float), rcond=None)[0]
    np.testing.assert_allclose(ours.params.iloc[:2], expected, rtol=1e-9)


def test_labels_that_are_large_numbers_keep_their_digits():
    data = {"y": [1000001, 1000002, 1000003, 1000001, 1000002, 1000003, 1000001], "x": [0.0, 1, 2, 3, 2, 1, 0]}
    probabilities = nllfit.regression("y ~ x", data, family="Categorical").predict()
    assert list(probabilities.columns) == ["1000001", "1000002", "1000003"]
