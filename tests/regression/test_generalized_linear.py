"""`nllfit.regression` compared with statsmodels: estimates, errors, tests, predictions and influence to six digits."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf

import nllfit

DIGITS = {"rtol": 1e-10, "atol": 1e-13}


@pytest.fixture(scope="module")
def doctor_visits():
    """The first rows of the RAND health insurance experiment, with artificial weights, exposures and clusters."""
    data = sm.datasets.randhie.load_pandas().data.iloc[:600].copy()
    rng = np.random.default_rng(0)
    data["months"] = rng.integers(6, 13, len(data))
    data["copies"] = rng.integers(1, 4, len(data))
    data["household"] = np.arange(len(data)) // 4
    data["health"] = np.select([data.hlthg == 1, data.hlthf == 1], ["good", "fair"], "other")
    return data


@pytest.fixture(scope="module")
def poisson(doctor_visits):
    formula = "mdvis ~ C(health, contr.sum) * idp + spline(disea, 4) + offset(log(months))"
    return nllfit.regression(formula, doctor_visits, family="Poisson", weights="copies")


@pytest.fixture(scope="module")
def theirs(doctor_visits):
    """The regression of the fixture `poisson`, fitted by statsmodels with a formula of patsy."""
    formula = "mdvis ~ C(health, Sum) * idp + bs(disea, 4)"
    options = {"offset": np.log(doctor_visits.months), "freq_weights": doctor_visits.copies}
    model = smf.glm(formula, doctor_visits, family=sm.families.Poisson(), **options)
    return model.fit(method="newton", tol=1e-14, maxiter=100)


def in_order(ours, theirs):
    """The positions of our coefficients in statsmodels' result. Contrasts and splines have other names there."""

    def as_in_patsy(name):
        for i in range(4):
            name = name.replace(f"spline(disea, 4)[{i + 1}]", f"bs(disea, 4)[{i}]")
        return name.replace(", contr.sum", ", Sum")

    names = list(theirs.params.index)
    return [names.index(as_in_patsy(name)) for name in ours.names]


def test_estimates_and_errors_match_statsmodels(poisson, theirs):
    order = in_order(poisson, theirs)
    assert poisson.converged
    np.testing.assert_allclose(poisson.params, theirs.params.iloc[order], **DIGITS)
    np.testing.assert_allclose(poisson.bse, theirs.bse.iloc[order], **DIGITS)
    np.testing.assert_allclose(poisson.tvalues, theirs.tvalues.iloc[order], **DIGITS)
    np.testing.assert_allclose(poisson.pvalues, theirs.pvalues.iloc[order], rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(poisson.conf_int(0.1), theirs.conf_int(0.1).iloc[order], **DIGITS)
    np.testing.assert_allclose(poisson.llf, theirs.llf, rtol=1e-10)
    np.testing.assert_allclose(poisson.cov_params(), theirs.cov_params().iloc[order, order], rtol=1e-9, atol=1e-13)


def test_exponentiated_coefficients_are_rate_ratios(poisson):
    table = poisson.table(exponentiate=True)
    np.testing.assert_allclose(table["exp(coef)"], np.exp(poisson.params), rtol=1e-12)
    np.testing.assert_allclose(table[["lower", "upper"]], np.exp(poisson.conf_int()), rtol=1e-12)
    assert "exp(coef)" in poisson.summary(exponentiate=True)


def test_predictions_of_new_rows_match_statsmodels(poisson, theirs, doctor_visits):
    new = doctor_visits.iloc[[5, 50, 500]].assign(months=6)
    frame = theirs.get_prediction(new, transform=True, offset=np.log(new.months)).summary_frame(0.1)
    ours = poisson.predict_interval(new, 0.9)
    columns = ["mean", "mean_se", "mean_lower", "mean_upper"]
    np.testing.assert_allclose(ours[columns], frame[["mean", "mean_se", "mean_ci_lower", "mean_ci_upper"]], rtol=1e-5)
    np.testing.assert_allclose(poisson.predict(new), frame["mean"], **DIGITS)
    assert list(ours.index) == list(new.index)
    low, high = nllfit.interval(poisson.predict_distribution(new), 0.9)
    np.testing.assert_array_equal(ours[["lower", "upper"]], np.column_stack([low, high]))


def test_the_keras_model_predicts_the_same(poisson, doctor_visits):
    new = doctor_visits.iloc[:7]
    np.testing.assert_allclose(poisson.model.predict(poisson.inputs(new), verbose=0)[:, 0], poisson.predict(new))


def test_joint_tests_match_statsmodels(poisson, theirs):
    names = [name for name in poisson.names if "contr" in name and "idp" in name]
    ours = poisson.test(", ".join(f"`{name}` = 0" for name in names))
    rows = np.eye(len(theirs.params))[[in_order(poisson, theirs)[poisson.names.index(name)] for name in names]]
    wald = theirs.wald_test(rows, scalar=True)
    np.testing.assert_allclose([ours.statistic, ours.p_value], [wald.statistic, wald.pvalue], rtol=1e-9)
    assert ours.degrees_of_freedom == 2
    terms = poisson.test_terms()
    np.testing.assert_allclose(terms.loc["C(health, contr.sum):idp", "statistic"], wald.statistic, rtol=1e-9)
    difference = poisson.test("idp = 2 * `spline(disea, 4)[1]` + 1")
    by_hand = poisson.params["idp"] - 2 * poisson.params["spline(disea, 4)[1]"] - 1
    contrast = np.zeros(len(poisson.names))
    contrast[[poisson.names.index("idp"), poisson.names.index("spline(disea, 4)[1]")]] = 1, -2
    np.testing.assert_allclose(difference.statistic, by_hand**2 / (contrast @ poisson.covariance @ contrast))


@pytest.mark.parametrize("covariance", ["sandwich", "cluster"])
def test_robust_errors_match_statsmodels(doctor_visits, covariance):
    options = {"cov_type": "HC0"}
    if covariance == "cluster":
        options = {"cov_type": "cluster", "cov_kwds": {"groups": doctor_visits.household}}
    theirs = smf.glm("mdvis ~ idp + disea", doctor_visits, family=sm.families.Poisson()).fit(tol=1e-14, **options)
    given = {"cluster": "household"} if covariance == "cluster" else {"covariance": "sandwich"}
    ours = nllfit.regression("mdvis ~ idp + disea", doctor_visits, family="Poisson", **given)
    np.testing.assert_allclose(ours.bse, theirs.bse, **DIGITS)
    assert "150 clusters" in ours.summary() or covariance == "sandwich"


@pytest.mark.thorough(but="C(group)")
@pytest.mark.parametrize("terms", ["C(group) + x", "year + I(year ** 2) + C(group)"])
def test_a_joint_test_needs_more_clusters_than_coefficients(terms):
    """The sandwich of `G` clusters has at most rank `G - 1`, because the scores of all rows sum to 0."""
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"group": np.arange(60) % 7 % 3, "x": rng.normal(size=60), "year": 100 + np.arange(60) / 6})
    data = data.assign(y=data.x + rng.normal(size=60), two=np.arange(60) % 2, three=rng.integers(0, 3, 60))
    two, three = (
        nllfit.regression(f"y ~ {terms}", data, scale=1.0, cluster=name).test_terms() for name in ("two", "three")
    )
    assert two.loc["C(group)", ["statistic", "p_value"]].isna().all()
    assert np.isfinite(two.drop(index="C(group)")).all(axis=None)
    theirs = smf.ols(f"y ~ {terms}", data).fit(cov_type="cluster", cov_kwds={"groups": data.three}, use_t=False)
    expected = theirs.wald_test_terms(scalar=True).summary_frame()
    np.testing.assert_allclose(three["statistic"], expected.loc[three.index, "chi2"], rtol=1e-6)


def test_influence_matches_statsmodels(doctor_visits):
    data = doctor_visits.iloc[:80].assign(seen=lambda d: (d.mdvis > 1) * 1.0)
    theirs = smf.glm("seen ~ idp + disea", data, family=sm.families.Binomial()).fit(tol=1e-14)
    ours = nllfit.regression("seen ~ idp + disea", data, family="Bernoulli")
    np.testing.assert_allclose(ours.bse, theirs.bse, **DIGITS)
    measured, expected = ours.influence(), theirs.get_influence()
    np.testing.assert_allclose(measured["leverage"], expected.hat_matrix_diag, rtol=1e-9)
    np.testing.assert_allclose(measured["cooks_distance"], expected.cooks_distance[0], rtol=1e-9)
    moved = measured[[f"dfbeta: {name}" for name in ours.names]]
    np.testing.assert_allclose(moved, expected.d_params, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(ours.residuals("response"), theirs.resid_response, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(ours.residuals("pearson"), theirs.resid_pearson, rtol=1e-9, atol=1e-12)


def test_a_linear_model_matches_statsmodels():
    data = sm.datasets.stackloss.load_pandas().data
    theirs = smf.ols("STACKLOSS ~ AIRFLOW + WATERTEMP", data).fit()
    ours = nllfit.regression("STACKLOSS ~ AIRFLOW + WATERTEMP", data)
    smaller = nllfit.regression("STACKLOSS ~ AIRFLOW", data)
    sigma = np.sqrt(theirs.ssr / theirs.nobs)  # the maximum-likelihood estimate
    np.testing.assert_allclose(ours.params, [*theirs.params, sigma], rtol=1e-9)
    np.testing.assert_allclose(ours.bse.iloc[:3], theirs.bse * sigma / np.sqrt(theirs.scale), rtol=1e-9)
    np.testing.assert_allclose(ours.bse["scale"], sigma / np.sqrt(2 * theirs.nobs), rtol=1e-9)
    np.testing.assert_allclose(ours.residuals("quantile"), theirs.resid / sigma, rtol=1e-8)
    statistic, p_value, df = theirs.compare_lr_test(smf.ols("STACKLOSS ~ AIRFLOW", data).fit())
    tested = smaller.anova(ours).iloc[1]
    np.testing.assert_allclose(
        tested[["statistic", "p_value", "df"]].astype(float), [statistic, p_value, df], rtol=1e-8
    )
    with pytest.raises(ValueError, match=r"No coefficient of Normal is the logarithm of a ratio"):
        ours.table(exponentiate=True)
    with pytest.raises(ValueError, match="has no more coefficients than"):
        ours.anova(smaller)


@pytest.mark.thorough
@pytest.mark.parametrize("options", [{}, {"covariance": "sandwich"}])
def test_powers_of_a_year_lose_no_digits(options):
    """The reference is the fit with the year minus 2005, which has the same coefficient of the third power."""
    rng = np.random.default_rng(0)
    near = pd.DataFrame({"t": rng.integers(-15, 16, 150)})
    near["y"] = rng.poisson(np.exp(1 + 0.05 * near.t - 0.002 * near.t**2))
    fits = [
        nllfit.regression("y ~ t + I(t**2) + I(t**3)", data.astype(float), "Poisson", **options)
        for data in (near, near.assign(t=near.t + 2005))
    ]
    assert fits[1].converged
    assert fits[1].llf == pytest.approx(fits[0].llf, abs=1e-6)
    for name in ("params", "bse"):
        ours, expected = (getattr(fit, name)["I(t ** 3)"] for fit in reversed(fits))
        np.testing.assert_allclose(ours, expected, rtol=1e-6)
    ours, expected = (fit.predict_interval()["mean_se"] for fit in reversed(fits))
    np.testing.assert_allclose(ours, expected, rtol=1e-5)
    ours, expected = (fit.influence()["cooks_distance"] for fit in reversed(fits))
    np.testing.assert_allclose(ours, expected, rtol=1e-5)


@pytest.mark.thorough
def test_standard_errors_of_the_keras_model_are_the_same(doctor_visits):
    """`standard_errors` of the Keras model returns the sandwich standard errors of a weighted regression."""
    ours = nllfit.regression("mdvis ~ idp", doctor_visits, family="Poisson", weights="copies", covariance="sandwich")
    arguments = {"sample_weight": doctor_visits.copies, "covariance": "sandwich"}
    theirs = nllfit.standard_errors(ours.model, ours.inputs(), ours.objective.y, **arguments)
    np.testing.assert_allclose(ours.bse, theirs.standard_errors[::-1], rtol=1e-8)  # the bias comes after the kernel
    np.testing.assert_allclose(ours.params, theirs.estimates[::-1], rtol=1e-10)


@pytest.mark.thorough
def test_separable_classes_have_no_errors():
    data = {"y": [0, 0, 0, 1, 1, 1], "x": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]}
    fit = nllfit.regression("y ~ x", data, family="Bernoulli")
    assert not fit.converged
    assert fit.influence().isna().all(axis=None)
    with pytest.raises(ValueError, match=r"`num_draws` is 5, but .* no covariance, because no finite maximum"):
        fit.predict_interval(num_draws=5)
    assert np.isnan(fit.bse).all()


@pytest.mark.thorough
def test_columns_of_nullable_dtypes_are_fitted_and_predicted():
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"x": rng.normal(size=40), "town": ["u", "v"] * 20, "old": [True, False, False, True] * 10})
    data["y"] = rng.poisson(np.exp(0.5 * data.x))
    nullable = data.astype({"x": "Float64", "town": "string", "old": "boolean", "y": "Int64"})
    expected = nllfit.regression("y ~ x + town + old", data, family="Poisson")
    found = nllfit.regression("y ~ x + town + old", nullable, family="Poisson")
    pd.testing.assert_series_equal(found.params, expected.params)
    pd.testing.assert_series_equal(expected.predict(nullable[:3]), expected.predict(data[:3]))
    assert nullable.dtypes["town"] == "string"  # `regression` does not change the caller's table


def test_outcomes_in_large_units_are_fitted():
    """The unit of inputs and outcomes only rescales the estimates: here all numbers are a million times as large."""
    x = np.linspace(0.0, 1.0, 20)
    noise = np.sin(37 * np.arange(20))
    near = nllfit.regression("y ~ x", {"x": x, "y": 2 + 3 * x + noise})
    far = nllfit.regression("y ~ x", {"x": x * 1e6, "y": (2 + 3 * x + noise) * 1e6})
    np.testing.assert_allclose(far.params, near.params * [1e6, 1.0, 1e6], rtol=1e-9)
    np.testing.assert_allclose(far.bse, near.bse * [1e6, 1.0, 1e6], rtol=1e-8)


def test_a_chain_of_equal_coefficients_is_a_pair_of_constraints():
    rng = np.random.default_rng(0)
    data = pd.DataFrame(rng.normal(size=[30, 4]), columns=["y", "a", "b", "c"]).assign(g=["u", "v", "w"] * 10)
    fit = nllfit.regression("y ~ a + b + c + C(g, levels=['u', 'v', 'w'])", data)
    matrix = np.zeros([2, len(fit.names)])
    matrix[:, 1:4] = [[1, -1, 0], [0, 1, -1]]
    chain = fit.test("a = b = c")
    assert (chain.degrees_of_freedom, chain.constraint) == (2, "a = b = c")
    assert chain.statistic == pytest.approx(fit.test(matrix).statistic, rel=1e-9)
    quoted = f"`{fit.names[4]}` = `{fit.names[5]}` = 0"
    assert fit.test(quoted).statistic == pytest.approx(fit.test_terms()["statistic"].iloc[-1], rel=1e-9)
