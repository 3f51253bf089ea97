"""`nllfit.cox_regression`, compared with statsmodels and lifelines.

The reference values come from lifelines 0.30.3 (`CoxPHFitter`), run on the
same columns of statsmodels' data set of heart transplants with a step tolerance of 1e-12.
"""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import tensorflow as tf
import tf_keras
from scipy import optimize, special

import nllfit
from nllfit.regression.partial_likelihood import PartialLikelihood

FORMULA = "Surv(t, censors) ~ age + z"
LATE = "Surv(s, t, censors) ~ age + z"

# For each case: the formula, the arguments, and lifelines' estimates, standard errors and log-likelihood.
LIFELINES = {
    "ties": (FORMULA, {}, [0.060521161480, 0.290151455616], [0.022531672965, 0.211478482610], -157.371877280445),
    "strata": (
        *(FORMULA, {"strata": "g"}),
        *([0.051209680879, 0.245754448790], [0.022864408189, 0.215896398139], -111.377167616566),
    ),
    "late entry": (LATE, {}, [0.065271579082, 0.384590237539], [0.021865318672, 0.216992076144], -129.331679070662),
    "late entry and strata": (
        *(LATE, {"strata": "g"}),
        *([0.051332126285, 0.317282442924], [0.022849315317, 0.227244883248], -85.600308484100),
    ),
    "weights": (
        *(FORMULA, {"weights": "w"}),
        *([0.061462819776, 0.259242543765], [0.018681824830, 0.169968805959], -269.070831022573),
    ),
}


@pytest.mark.parametrize("case", LIFELINES)
def test_cox_regression_matches_lifelines(heart, case):
    formula, options, estimates, errors, log_likelihood = LIFELINES[case]
    fit = nllfit.cox_regression(formula, heart, **options)
    assert fit.converged
    np.testing.assert_allclose(fit.params, estimates, rtol=1e-9)
    np.testing.assert_allclose(fit.bse, errors, rtol=1e-9)
    np.testing.assert_allclose(fit.llf, log_likelihood, rtol=1e-11)
    np.testing.assert_allclose(fit.table(exponentiate=True)["exp(coef)"], np.exp(estimates), rtol=1e-9)


def test_cox_regression_matches_statsmodels(heart):
    theirs = sm.PHReg(heart.t, heart[["age", "z"]], status=heart.censors, ties="efron").fit()
    ours = nllfit.cox_regression(FORMULA, heart)
    np.testing.assert_allclose(ours.params, theirs.params, rtol=1e-9)
    np.testing.assert_allclose(ours.bse, theirs.bse, rtol=1e-9)
    np.testing.assert_allclose(ours.llf, theirs.llf, rtol=1e-12)
    null = sm.PHReg(heart.t, heart[["age", "z"]], status=heart.censors, ties="efron").loglike(np.zeros(2))
    np.testing.assert_allclose(ours.null_log_likelihood, null, rtol=1e-12)


def test_survival_probabilities_match_lifelines(heart):
    """The reference is lifelines' `predict_survival_function`."""
    fit = nllfit.cox_regression(FORMULA, heart)
    expected = [[0.507867124003, 0.329215263029], [0.741450944615, 0.612289990637]]
    np.testing.assert_allclose(fit.survival(heart.iloc[[0, 10]], [2.0, 10.0]), expected, rtol=1e-9)
    mean = heart[["age", "z"]].mean()
    steps = fit.baseline()["cumulative_hazard"] * np.exp(mean @ fit.params)
    np.testing.assert_allclose(steps.iloc[[0, 3]], [0.212826464299, 0.520162963795], rtol=1e-9)
    stratified = nllfit.cox_regression(FORMULA, heart, strata="g")
    with pytest.raises(ValueError, match=r"`stratum` is None: give one of 0\.?0?, 1\.?0?, 2\.?0?"):
        stratified.survival(heart, [1.0])
    assert set(stratified.baseline()["stratum"]) == {0, 1, 2}


def test_splitting_rows_in_time_does_not_change_the_fit(heart):
    """Splitting rows at time 3 changes neither estimates nor standard errors."""
    first = heart.assign(subject=heart.index, start=0.0)
    cut = first.t > 3
    early = first.assign(censors=np.where(cut, 0, first.censors), t=np.where(cut, 3.0, first.t))
    rows = pd.concat([early, first[cut].assign(start=3.0)])
    whole = nllfit.cox_regression(FORMULA, first, cluster="subject")
    split = nllfit.cox_regression("Surv(start, t, censors) ~ age + z", rows, cluster="subject")
    np.testing.assert_allclose(split.params, whole.params, rtol=1e-12)
    np.testing.assert_allclose(split.bse, whole.bse, rtol=1e-10)


def test_score_residuals_sum_to_the_gradient(heart):
    """Without ties, score residuals also give the derivatives of the estimates with respect to the rows' weights."""
    data = heart.assign(t=heart.time + np.arange(69) * 1e-3)
    fit = nllfit.cox_regression(FORMULA, data)
    (part,) = fit._likelihoods.values()
    np.testing.assert_allclose(part.scores(fit.estimates).sum(0), 0.0, atol=1e-9)
    step, row = 1e-5, 7
    ends = [
        nllfit.cox_regression(FORMULA, data, weights=1.0 + sign * step * (np.arange(69) == row)).estimates
        for sign in (1, -1)
    ]
    by_weight = (ends[0] - ends[1]) / (2 * step)
    np.testing.assert_allclose(fit.covariance @ part.scores(fit.estimates)[row], by_weight, rtol=1e-6)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"formula": "t ~ age"}, r"The outcome is `t`: give `Surv\(time, event\)`"),
        ({"formula": "Surv(t) ~ age"}, "has 1 columns"),
        ({"formula": "Surv(t, age) ~ z"}, "The events of .* give 1 for an event and 0 for censoring"),
        ({"formula": "Surv(t, s, censors) ~ z"}, "stops in row .* before it starts"),
        ({"formula": FORMULA, "covariance": "robust"}, "`covariance` is 'robust'"),
        ({"formula": "Surv(t, censors) ~ 1"}, "has no columns except the baseline hazard"),
    ],
)
def test_invalid_arguments_are_refused(heart, changed, message):
    with pytest.raises(ValueError, match=message):
        nllfit.cox_regression(data=heart, **changed)


def test_a_column_that_separates_the_events_has_no_maximum(heart):
    fit = nllfit.cox_regression("Surv(t, censors) ~ early", heart.assign(t=heart.time, early=-heart.time))
    assert not fit.converged
    assert "no maximum was found" in fit.message


def _by_groups(**columns):
    """40 rows, of which the last 16, the group `g`, have no events."""
    data = {"t": np.arange(1.0, 41), "e": [1, 1, 1, 0] * 6 + [0] * 16, "g": [0] * 24 + [1] * 16}
    return pd.DataFrame({**data, "x": np.random.default_rng(1).normal(size=40), **columns})


@pytest.mark.parametrize("term", ["x + g", "I(e * 1.0)", "I(-1.0 * t)"])
def test_a_coefficient_at_infinity_is_no_maximum(term):
    """The terms are a group without events, the event indicator, and a column that is monotone in the times."""
    data = _by_groups()
    fit = nllfit.cox_regression(f"Surv(t, e) ~ {term}", data.assign(t=np.ceil(data.t / 4)))
    assert not fit.converged
    assert "no maximum was found" in fit.message
    assert fit.bse.isna().all()


@pytest.mark.parametrize("sandwich", [False, True])
def test_rows_of_weight_0_are_left_out(heart, sandwich):
    """Efron's formula uses the mean weight of tied events, which a row of weight 0 would lower."""
    data = heart.assign(w=heart.index % 4 * 1.0)
    options = {"weights": "w", "strata": "g", "cluster": "g" if sandwich else None, "offset": "z"}
    ours, expected = (nllfit.cox_regression("Surv(t, censors) ~ age", d, **options) for d in (data, data[data.w > 0]))
    np.testing.assert_array_equal(ours.params, expected.params)
    np.testing.assert_array_equal(ours.bse, expected.bse)
    assert len(ours.schoenfeld_residuals()) == data[data.w > 0].censors.sum()
    arrays = {"weights": data.w.to_numpy(), "strata": data.g.to_numpy(), "offset": data.z.to_numpy()}
    np.testing.assert_array_equal(nllfit.cox_regression("Surv(t, censors) ~ age", data, **arrays).params, ours.params)
    with pytest.raises(ValueError, match="give 1 for an event and 0 for censoring"):
        nllfit.cox_regression("Surv(t, censors) ~ age", data, weights=1.0 - data.censors)


@pytest.mark.parametrize(
    ("terms", "options", "message"),
    [
        ("x + c", {}, "Column `c` .* is constant in the rows that are compared, so it is part of the baseline hazard"),
        ("x + g", {"strata": "g"}, "Column `g` .* is constant in the rows that are compared"),
        ("0 + C(g)", {}, r"`C\(g\)\[1\]` .* of earlier columns and the baseline hazard \(-1 C\(g\)\[0\]\): leave one"),
    ],
)
def test_a_column_of_the_baseline_hazard_is_refused(terms, options, message):
    with pytest.raises(ValueError, match=message):
        nllfit.cox_regression(f"Surv(t, e) ~ {terms}", _by_groups(c=1e3, e=[1, 0] * 20), **options)


def test_late_entry_compares_only_rows_at_risk_together():
    """Column `x` varies in the table, but is constant among the rows that are at risk at the same time."""
    data = pd.DataFrame({"start": [0, 0, 2, 2.0], "stop": [1, 2, 3, 4.0], "e": [1, 0, 1, 0], "x": [5, 5, 7, 7.0]})
    with pytest.raises(ValueError, match=r"Column `x` .* is constant in the rows that are compared"):
        nllfit.cox_regression("Surv(start, stop, e) ~ x", data)
    linked = data.assign(start=[0, 0, 1.5, 2], stop=[1, 2.5, 2.5, 4], e=[1, 1, 0, 1])
    assert nllfit.cox_regression("Surv(start, stop, e) ~ x", linked).design.names == ["x"]


@pytest.mark.thorough
def test_cox_loss_of_a_linear_network_is_cox_regression(heart):
    fit = nllfit.cox_regression(FORMULA, heart)
    x, y = heart[["age", "z"]].to_numpy(), heart[["t", "censors"]].to_numpy(float)
    model = tf_keras.Sequential([tf_keras.layers.Dense(1, use_bias=False, input_shape=(2,), dtype="float64")])
    model.compile(loss=nllfit.cox_loss)
    history = nllfit.fit_lbfgs(model, x, y)
    np.testing.assert_allclose(model.get_weights()[0][:, 0], fit.params, rtol=1e-6)
    np.testing.assert_allclose(-69 * history.history["loss"][-1], fit.llf, rtol=1e-9)
    order = np.random.default_rng(0).permutation(69)
    u = model.predict(x, verbose=0)
    np.testing.assert_allclose(nllfit.cox_loss(y[order], u[order]), nllfit.cox_loss(y, u), rtol=1e-12)


def test_competing_risks_match_the_closed_form():
    """The two causes have constant hazards, in the ratio 2 : 1 for x = 0 and 1 : 1 for x = 1."""
    rng = np.random.default_rng(0)
    x = np.repeat([0.0, 1.0], 4000)
    first, second = rng.exponential(1 / np.where(x == 1, 1.0, 2.0)), rng.exponential(1.0, 8000)
    end = rng.exponential(2.0, 8000)
    time = np.minimum(np.minimum(first, second), end)
    data = pd.DataFrame({"x": x, "time": time, "cause": np.select([first == time, second == time], [1, 2])})
    fits = {cause: nllfit.cox_regression(f"Surv(time, cause == {cause}) ~ x", data) for cause in (1, 2)}
    risks = nllfit.cause_specific_risks(fits, {"x": [0.0, 1.0]}, [0.2, 1.0])
    for cause, rates in {1: (2.0, 1.0), 2: (1.0, 1.0)}.items():
        total = np.array([[3.0], [2.0]])
        expected = np.array(rates)[:, None] / total * (1 - np.exp(-total * [0.2, 1.0]))
        np.testing.assert_allclose(risks[cause], expected, atol=0.02)  # 2.5 standard errors of a share in 4000 rows
    with pytest.raises(ValueError, match="`fits` is empty"):
        nllfit.cause_specific_risks({}, data, [1.0])
    with pytest.raises(TypeError, match="`fits` is a list: give a dict with a Cox model for each cause"):
        nllfit.cause_specific_risks(list(fits.values()), data, [1.0])


def test_cox_loss_does_not_tie_times_that_float32_would_round():
    y, u = np.column_stack([1.7e9 + np.arange(20.0), np.ones(20)]), np.linspace(-1, 1, 20, dtype=np.float32)[:, None]
    expected = np.mean(np.logaddexp.accumulate(u[::-1, 0].astype(float))) - u.mean()
    np.testing.assert_allclose(nllfit.cox_loss(y, u), expected, rtol=1e-5)


def test_cox_loss_of_large_hazard_ratios_does_not_underflow():
    y, u = np.array([[1.0, 1.0], [2.0, 1.0], [3.0, 0.0]]), np.array([[150.0], [0.0], [1.0]], "float32")
    expected = np.logaddexp.reduce([0.0, 1.0]) / 3  # the first row's term is 0
    u = tf.Variable(u)
    with tf.GradientTape() as tape:
        loss = nllfit.cox_loss(y, u)
    assert loss.dtype == tf.float32
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    share = 1 / (1 + np.exp(1.0))
    np.testing.assert_allclose(tape.gradient(loss, u)[1:, 0], [(share - 1) / 3, (1 - share) / 3], rtol=1e-6)


@pytest.mark.parametrize("covariance", ["information", "sandwich"])
def test_a_column_far_from_0_loses_no_digits(heart, covariance):
    """Adding a constant to a column only changes the baseline hazard."""
    rows = heart.assign(age=np.round(heart.age))
    near, far = (
        nllfit.cox_regression("Surv(s, t, censors) ~ age", data, covariance=covariance)
        for data in (rows, rows.assign(age=rows.age + 2.0**30))
    )
    np.testing.assert_allclose(far.params, near.params, rtol=1e-10)
    np.testing.assert_allclose(far.bse, near.bse, rtol=1e-10)
    assert far.log_likelihood == pytest.approx(near.log_likelihood, rel=1e-12)
    theirs = near.survival(rows, [3.0, 8.0])
    np.testing.assert_allclose(far.survival(rows.assign(age=rows.age + 2.0**30), [3.0, 8.0]), theirs, rtol=1e-6)


def test_late_entry_loses_no_small_risks():
    """The expected value is computed by a direct sum over the rows at risk at each time.

    The risks of late rows are up to 1e24 times as large as those of early rows.
    """
    rng = np.random.default_rng(0)
    start = np.where(np.arange(80) % 5 == 0, -np.inf, rng.uniform(0, 70, 80))
    stop = np.maximum(start, 0) + np.ceil(rng.exponential(6, 80))
    event, u = rng.uniform(size=80) < 0.7, rng.normal(size=80) + 0.8 * np.maximum(start, 0)
    part = PartialLikelihood(np.zeros([80, 1]), start, stop, event, np.ones(80), u)
    risk_sets, times = part.risk_sets, part.risk_sets.times
    is_at_risk = (start[:, None] < times) & (times <= stop[:, None])
    expected = u[event].sum()
    for t, at_risk in zip(times, is_at_risk.T, strict=True):
        ends = event & (stop == t)
        shares = 1 - np.arange(ends.sum())[:, None] / ends.sum() * ends
        expected -= special.logsumexp(u, axis=1, b=shares * at_risk).sum()
    assert part.value(np.zeros(1)) == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(risk_sets.at_risk(np.exp(u)), is_at_risk.T @ np.exp(u), rtol=1e-12)
    hazards = np.exp(-0.8 * times)
    np.testing.assert_allclose(risk_sets.over_times(hazards), is_at_risk @ hazards, rtol=1e-12)


def test_powers_of_a_year_fit_like_powers_of_a_centred_year():
    rng = np.random.default_rng(0)
    year = rng.integers(1990, 2021, 300).astype(float)
    data = {"t": rng.exponential(np.exp(-0.03 * (year - 2005))), "e": np.ones(300), "y": year, "c": (year - 2005) / 10}
    raw, centred = (nllfit.cox_regression(f"Surv(t, e) ~ {x} + I({x}**2) + I({x}**3)", data) for x in "yc")
    assert raw.converged
    assert raw.log_likelihood == pytest.approx(centred.log_likelihood, abs=1e-7)
    np.testing.assert_allclose(
        [raw.estimates[2] * 1e3, raw.bse.iloc[2] * 1e3], [centred.estimates[2], centred.bse.iloc[2]], rtol=1e-5
    )
    sandwich, expected = (
        nllfit.cox_regression(f"Surv(t, e) ~ {x} + I({x}**2)", data, covariance="sandwich").bse.iloc[1] for x in "yc"
    )
    assert sandwich * 100 == pytest.approx(expected, rel=1e-6)


def test_a_row_whose_risk_is_tiny_changes_nothing():
    """The row with `x = -999` has the latest time, when no other row is at risk. So its event adds 0."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=200)
    t = rng.exponential(size=200) * np.exp(-x)
    data = pd.DataFrame({"t": t, "x": np.where(t == t.max(), -999.0, x), "e": 1, "start": 0.0})
    for formula in "Surv(t, e) ~ x", "Surv(start, t, e) ~ x":
        fit, expected = (nllfit.cox_regression(formula, rows) for rows in (data, data[data.x > -999]))
        np.testing.assert_allclose([fit.estimates, fit.bse], [expected.estimates, expected.bse], rtol=1e-9)
        assert fit.log_likelihood == pytest.approx(expected.log_likelihood, rel=1e-12)
    robust, expected = (
        nllfit.cox_regression("Surv(t, e) ~ x", rows, covariance="sandwich") for rows in (data, data[data.x > -999])
    )
    np.testing.assert_allclose(robust.bse, expected.bse, rtol=1e-9)


def test_a_large_coefficient_is_a_maximum():
    """Rows are sorted by `x`, except two neighbours. The expected value minimises a sum of `logaddexp` terms."""
    rng = np.random.default_rng(2)
    x = np.sort(rng.normal(size=100))
    x[[49, 50]] = x[50] + 1e-4, x[50]
    fit = nllfit.cox_regression("Surv(t, e) ~ x", {"t": np.arange(100.0, 0.0, -1.0), "e": np.ones(100), "x": x})

    def loss(b):  # the times fall along the rows, so the rows at risk are those up to the row of the event
        return np.sum(np.logaddexp.accumulate(b * x) - b * x)

    best = optimize.minimize_scalar(loss, bounds=(1e2, 1e6), method="bounded", options={"xatol": 1e-3})
    assert fit.converged
    assert fit.estimates[0] * np.ptp(x) > 1000
    assert fit.estimates[0] == pytest.approx(best.x, rel=1e-4)
    assert fit.log_likelihood == pytest.approx(-best.fun, abs=1e-8)


@pytest.mark.parametrize(("rows", "seeds"), [(8, [14, 17, 18]), (50, [161])])
def test_columns_that_sort_all_events_have_no_maximum(rows, seeds):
    """A standard error is then far longer than the estimates, so a move by it may leave the directions to infinity."""
    for seed in seeds:
        rng = np.random.default_rng(seed)
        x = rng.normal(size=[rows, 3])
        order = np.argsort(x @ rng.normal(size=3))
        t = np.empty(rows)
        t[order] = np.arange(rows, 0.0, -1.0)
        fit = nllfit.cox_regression("Surv(t, e) ~ a + b + c", dict(zip("abc", x.T, strict=True), t=t, e=np.ones(rows)))
        assert not fit.converged, seed


def test_columns_are_compared_within_strata_and_among_rows_at_risk():
    """The strata differ by 1e7 in `b`, one has no event, and the first row is censored before any event."""
    rng = np.random.default_rng(0)
    x, g = rng.normal(size=[200, 2]), np.arange(200) % 4
    data = pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "t": rng.exponential(np.exp(-x[:, 0])), "e": g < 3, "g": g})
    data.loc[0, "t"], data.loc[0, "e"] = 1e-9, False
    expected = nllfit.cox_regression("Surv(t, e) ~ a + b", data, strata="g")
    far = data.assign(a=data.a + g, b=(data.b + 1e7 * np.array([0, 1, 2, 4])[g]) * np.where(g == 3, 10.0, 1.0))
    far.loc[0, "b"] = 1e9
    fit = nllfit.cox_regression("Surv(t, e) ~ a + b", far, strata="g")
    assert fit.converged
    np.testing.assert_allclose([fit.estimates, fit.bse], [expected.estimates, expected.bse], rtol=1e-7)
    rows = data.index[data.g == 1][:3]
    survival = fit.survival(far.loc[rows], [0.5, 2.0], stratum=1)
    np.testing.assert_allclose(survival, expected.survival(data.loc[rows], [0.5, 2.0], stratum=1), rtol=1e-6)


def test_many_rows_are_no_reason_to_give_up(monkeypatch):
    monkeypatch.setitem(PartialLikelihood.value.__globals__, "_MOST_TERMS", 5)
    data = {"t": [6, 7, 10, 15, 19, 25], "e": [1, 0, 1, 1, 0, 1], "x": [3.0, 1.0, 0.5, 2.0, 0.5, 1.0]}
    assert nllfit.cox_regression("Surv(t, e) ~ x", data).converged


def test_a_missing_number_in_a_row_of_weight_0_leaves_a_column_of_numbers():
    data = pd.DataFrame({"t": [3.0, 5.0, 2.0, 8.0, 6.0], "e": [1, 1, 0, 1, 1], "x": [1, 2, 0, 1, 2]})
    fit = nllfit.cox_regression("Surv(t, e) ~ x", data[1:])
    missing = data.astype({"x": "Int64", "e": "boolean"})
    missing.loc[0, ["x", "e"]] = pd.NA
    weighted = nllfit.cox_regression("Surv(t, e) ~ x", missing, weights=[0, 1, 1, 1, 1])
    assert weighted.names == ["x"]
    np.testing.assert_allclose(weighted.estimates, fit.estimates, rtol=1e-9)


@pytest.mark.parametrize("shapes", [([3, 3], [3, 1]), ([3, 2], [3, 2])])
def test_cox_loss_refuses_other_shapes(shapes):
    with pytest.raises(ValueError, match=r"give pairs of a time and an event, and a model with one output"):
        nllfit.cox_loss(*map(np.ones, shapes))
