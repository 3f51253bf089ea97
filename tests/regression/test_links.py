"""Generalized linear models with all links, negative binomials and beta regressions, compared with statsmodels."""

import numpy as np
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from scipy import stats
from statsmodels.othermod.betareg import BetaModel

import nllfit

LINKS = sm.families.links

# statsmodels' family, ours, and our arguments.
COUNTS = {
    "Poisson, log": (sm.families.Poisson(), "Poisson", {}),
    "Poisson, sqrt": (sm.families.Poisson(LINKS.Sqrt()), "Poisson", {"link": {"rate": "square"}}),
    "Poisson, identity": (sm.families.Poisson(LINKS.Identity()), "Poisson", {"link": {"rate": "absolute"}}),
    "NegativeBinomial, alpha held": (sm.families.NegativeBinomial(alpha=0.7), "NegativeBinomial", {"alpha": 0.7}),
}
BINARY = {
    "logit": (LINKS.Logit(), "sigmoid"),
    "probit": (LINKS.Probit(), "normal_cdf"),
    "cloglog": (LINKS.CLogLog(), "gumbel_min_cdf"),
    "loglog": (LINKS.LogLog(), "gumbel_cdf"),
}
AMOUNTS = {
    "Gamma, log": (sm.families.Gamma(LINKS.Log()), "Gamma", {}),
    "Gamma, inverse": (sm.families.Gamma(), "Gamma", {"link": {"mean": "reciprocal"}}),
    "Gamma, identity": (sm.families.Gamma(LINKS.Identity()), "Gamma", {"link": {"mean": "absolute"}}),
    "InverseGaussian, log": (sm.families.InverseGaussian(LINKS.Log()), "InverseGaussian", {}),
    "Gaussian, log": (sm.families.Gaussian(LINKS.Log()), "Normal", {"link": {"loc": "exp"}}),
}


@pytest.fixture(scope="module")
def visits():
    data = sm.datasets.randhie.load_pandas().data.iloc[:400].copy()
    return data.assign(hit=(data.mdvis > 1) * 1.0)


@pytest.fixture(scope="module")
def votes():
    return sm.datasets.scotland.load_pandas().data.assign(share=lambda data: data.YES / 100)


def assert_agree(ours, formula, data, family, scale=1.0, **options):
    """Asserts that estimates and standard errors agree with statsmodels.

    The expected standard errors are computed from the observed information that statsmodels returns.
    """
    theirs = smf.glm(formula, data, family=family, **options).fit(tol=1e-14, maxiter=300)
    assert ours.converged
    size = len(theirs.params)
    np.testing.assert_allclose(ours.params.iloc[:size], theirs.params, rtol=1e-7)
    hessian = theirs.model.hessian(theirs.params, observed=True, scale=scale)
    np.testing.assert_allclose(ours.bse.iloc[:size], np.sqrt(np.diag(np.linalg.inv(-hessian))), rtol=1e-7)
    return theirs


@pytest.mark.thorough(but=("Poisson, log",))
@pytest.mark.filterwarnings("ignore:The .* link function does not respect the domain")
@pytest.mark.parametrize("case", COUNTS)
def test_glms_of_counts_match_statsmodels(visits, case):
    family, name, options = COUNTS[case]
    ours = nllfit.regression("mdvis ~ idp + disea", visits, name, **options)
    theirs = assert_agree(ours, "mdvis ~ idp + disea", visits, family)
    np.testing.assert_allclose(ours.llf, theirs.llf, rtol=1e-10)


@pytest.mark.thorough(but=("logit", "cloglog"))
@pytest.mark.parametrize("case", BINARY)
def test_glms_of_binary_outcomes_match_statsmodels(visits, case):
    theirs, ours = BINARY[case]
    fit = nllfit.regression("hit ~ idp + disea", visits, "Bernoulli", link={"probs": ours})
    np.testing.assert_allclose(
        fit.llf, assert_agree(fit, "hit ~ idp + disea", visits, sm.families.Binomial(theirs)).llf, rtol=1e-10
    )


@pytest.mark.thorough(but=("Gamma, inverse",))
@pytest.mark.filterwarnings("ignore:The .* link function does not respect the domain")
@pytest.mark.parametrize("case", AMOUNTS)
def test_glms_of_amounts_match_statsmodels(votes, case):
    family, name, options = AMOUNTS[case]
    ours = nllfit.regression("YES ~ COUTAX + UNEMPF", votes, name, **options)
    scale = ours.params["scale"] ** 2 if name == "Normal" else 1 / ours.params["concentration"]
    assert_agree(ours, "YES ~ COUTAX + UNEMPF", votes, family, scale)


@pytest.mark.thorough
def test_negative_binomial_regression_from_a_formula_matches_statsmodels(visits):
    ours = nllfit.regression("mdvis ~ idp + disea", visits, "NegativeBinomial")
    theirs = smf.negativebinomial("mdvis ~ idp + disea", visits).fit(disp=0, method="bfgs", gtol=1e-7, maxiter=500)
    assert ours.names == ["Intercept", "idp", "disea", "alpha"]
    np.testing.assert_allclose(ours.params, theirs.params, rtol=1e-7)
    np.testing.assert_allclose(ours.bse, theirs.bse, rtol=1e-7)
    np.testing.assert_allclose(ours.llf, theirs.llf, rtol=1e-10)


@pytest.mark.thorough
def test_negative_binomial_nb1_matches_statsmodels(visits):
    """TFP's parametrisation, log(mean) = log(total_count) + logits, is statsmodels' NB1 if `logits` is constant."""
    formula = "mdvis ~ idp + disea"
    model = smf.negativebinomial(formula, visits, loglike_method="nb1")
    theirs = model.fit(disp=0, method="bfgs", gtol=1e-9, maxiter=500)
    options = {"parameterization": None, "total_count": "~ idp + disea"}
    ours = nllfit.regression("mdvis ~ 1", visits, "NegativeBinomial", **options).params
    log_alpha = ours["Intercept"]
    np.testing.assert_allclose(ours[["total_count: idp", "total_count: disea"]], theirs.params[1:3], rtol=1e-6)
    np.testing.assert_allclose(ours["total_count: Intercept"] + log_alpha, theirs.params["Intercept"], rtol=1e-6)
    np.testing.assert_allclose(np.exp(log_alpha), theirs.params["alpha"], rtol=1e-6)


@pytest.mark.thorough
def test_beta_regression_from_a_formula_matches_statsmodels(votes):
    formula = "share ~ COUTAX + UNEMPF"
    theirs = BetaModel.from_formula(formula, votes).fit(disp=0, method="newton", tol=1e-12)
    ours = nllfit.regression(formula, votes, "Beta", precision="~ 1")
    np.testing.assert_allclose(ours.params, theirs.params, rtol=1e-9)
    np.testing.assert_allclose(ours.bse, theirs.bse, rtol=1e-9)
    assert ours.names[-1] == "precision: Intercept"
    np.testing.assert_allclose(ours.llf, theirs.llf)
    np.testing.assert_allclose(ours.predict(votes.iloc[:3]), theirs.predict(votes.iloc[:3]), rtol=1e-7)


@pytest.mark.thorough
@pytest.mark.parametrize("link", ["reciprocal", "square"])
def test_the_interval_of_a_mean_contains_the_mean_where_its_link_turns(link):
    """The interval of the linear predictor contains 0 between its ends. At 0, the mean is infinite or 0."""
    data = {"y": [1.0, 3.0, 1.0, 2.0, 1.0, 4.0], "x": np.arange(6.0)}
    found = nllfit.regression("y ~ x", data, "Poisson", link={"rate": link})
    b = found.params.to_numpy()
    row = np.array([1.0, (0.1 - b[0]) / b[1]])
    end = 0.1 + stats.norm.ppf(0.975) * np.sqrt(row @ found.covariance @ row)
    low, high = found.predict_interval({"x": row[1:]})[["mean_lower", "mean_upper"]].iloc[0]
    if link == "reciprocal":
        assert low == pytest.approx(1 / end, rel=1e-9)
        assert high > 1e100
    else:
        assert low == pytest.approx(0, abs=1e-100)
        assert high == pytest.approx(end**2, rel=1e-9)
