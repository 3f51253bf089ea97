"""Wrong formulas, tables and arguments raise errors before the fit. Each message is a sentence that says what to do."""

import decimal
from unittest import mock

import numpy as np
import pandas as pd
import polars as pl
import pytest
import statsmodels.api as sm

import nllfit
from nllfit.regression import fitting

DATA = pd.DataFrame(
    {
        "y": [1.0, 2.0, 2.0, 3.0, 5.0, 4.0],
        "x": [0.0, 1.0, 2.0, 3.0, 4.0, 6.0],
        "double": [0.0, 2.0, 4.0, 6.0, 8.0, 12.0],
        "hole": [1.0, np.nan, 2.0, 1.0, 3.0, np.nan],
        "group": list("ababab"),
        "same": ["only"] * 6,
        "levels": pd.Categorical(list("ababab"), categories=list("abc")),
        "three": list("abcabc"),
    }
)

WRONG = {
    "no formula": ({"formula": 3}, "`formula` is 3: give a text of the form 'outcome ~ terms'"),
    "no outcome": ({"formula": "~ x"}, "nothing before its `~`"),
    "no terms": ({"formula": "y ~"}, "no terms after its `~`: give `~ 1`"),
    "two tildes": ({"formula": "y ~ x ~ group"}, "give a text of the form 'outcome ~ terms'"),
    "two parts": ({"formula": "y ~ x | group"}, "has several parts"),
    "a loose operator": ({"formula": "y ~ x +"}, "cannot be read: Operator"),
    "an open bracket": ({"formula": "y ~ C(group"}, "cannot be read: Formula ended before quote context was closed"),
    "an unknown column": ({"formula": "y ~ groop"}, "`groop` in .* neither a column .* did you mean `group`?"),
    "an unknown function": ({"formula": "y ~ root(x)"}, "`root` in the formula .* nor a known function"),
    "an unknown outcome": ({"formula": "z ~ x"}, "Name 'z' is not defined in the outcome `z`: the columns are y, x"),
    "an outcome of texts": ({"formula": "three ~ x"}, "has 3 labels, but Normal takes numbers"),
    "missing values": ({"formula": "y ~ hole"}, r"Column `hole` of `data` is missing in 2 of 6 rows \(index 1, 5\)"),
    "a log of 0": ({"formula": "y ~ log(x)"}, r"`log\(x\)` in the formula `log\(x\)` is -inf in row 0 of `data`"),
    "missing labels in an expression": (
        {"formula": "three.map({'a': 'u', 'b': 'v'}) ~ x"},
        r"The outcome `three.map\(.*` is missing in some row",
    ),
    "more classes than labels": (
        {"formula": "three ~ x", "family": "Categorical", "num_classes": 4},
        "The outcome `three` has 3 labels, but Categorical.* has 4 classes: each class needs a row",
    ),
    "an aliased column": (
        {"formula": "y ~ x + double"},
        r"Column `double` .* combination of earlier columns \(\+2 x\): leave one of them out",
    ),
    "an aliased contrast": (
        {"formula": "y ~ C(group) + code", "data": DATA.assign(code=[0, 1] * 3)},
        r"Column `code` .* \(\+1 C\(group\)\[T.b\]\): leave one of them out",
    ),
    "more columns than rows": ({"formula": "y ~ C(x) + double + three"}, "7|combination|only 6 rows"),
    "an empty level": ({"formula": "y ~ levels"}, r"Column `levels\[T.c\]` .*remove_unused_categories"),
    "one level": ({"formula": "y ~ same"}, "`same` in the formula `same` has one level"),
    "an offset of another length": ({"offset": np.zeros(5)}, r"`offset` has shape \(5,\), but `data` has 6 rows"),
    "an offset times a column": ({"formula": "y ~ x:offset(x)"}, "multiplies an offset"),
    "weights below 0": ({"weights": [-1, 1, 1, 1, 1, 1]}, "`weights` are negative in some row"),
    "an unknown cluster": ({"cluster": "house"}, "`cluster` is 'house', but the columns of `data` are y, x"),
    "a parameter that is not": (
        {"shape": "~ x"},
        "Normal.* no parameter `shape`: `formula` describes `loc`.* are scale",
    ),
    "a second outcome": ({"scale": "y ~ x"}, "`scale` is 'y ~ x': give only terms"),
    "an unknown family": ({"family": "Poison"}, "Close to it: Poisson"),
    "no table": ({"data": np.zeros([6, 2])}, "`data` is a ndarray: give a pandas DataFrame or a dict of columns"),
    "numbers for columns": ({"data": {"y": 1.0, "x": 2}}, "`data` has one value per column: give a list per column"),
    "a table of polars": ({"data": pl.DataFrame({"y": [1.0], "x": [2.0]})}, "`data` is a polars DataFrame: give a pan"),
    "dates": (
        {"formula": "y ~ day", "data": DATA.assign(day=pd.date_range("2020", periods=6))},
        "Column `day` of `data` holds dates, .*: give numbers, such as the days since a first date",
    ),
    "dates as outcomes": (
        {"formula": "day ~ x", "data": DATA.assign(day=pd.date_range("2020", periods=6, tz="UTC"))},
        "The outcome `day` holds dates or durations: give numbers",
    ),
    "no rows": ({"data": DATA.iloc[:0]}, "`data` has no rows"),
    "an unknown covariance": ({"covariance": "HC7"}, '`covariance` is \'HC7\': give "information" or "sandwich"'),
    "a family by another name": ({"family": "Gaussian"}, "`family` is 'Gaussian': give .* Close to it: Normal"),
    "a family of statsmodels": ({"family": sm.families.Poisson()}, "`family` is <statsmodels.*Close to it: Poisson"),
    **{
        f"an outcome of 0 under a {family}": (
            {"family": family, "formula": "x ~ y"},
            f"`x` holds 0.0, where the density of {family} may be infinite.*nllfit.Hurdle",
        )
        for family in ("Gamma", "Weibull")
    },
    "a time of 0": (
        {"formula": "Surv(x, y > 1) ~ 1", "family": "Weibull", "data": DATA.assign(y=2)},
        r"holds \[0. 0.\], where the density of Censored Weibull may be infinite.* by `interval_censored\(lower, upper",
    ),
    "a negative time": (
        {"formula": "Surv(x - 3, y > 1) ~ 1", "family": "Weibull"},
        r"`Surv\(x - 3, y > 1\)` holds, at row 1, \[-2. -2.\], which Censored Weibull cannot have",
    ),
    "a column named like a parameter": (
        {"formula": "y ~ scale", "data": DATA.rename(columns={"x": "scale"})},
        "Two coefficients would be named `scale`, .* parameter of Normal.*: rename the column",
    ),
    "a column named like a mean's parameter": (
        {"formula": "y ~ concentration", "data": DATA.rename(columns={"x": "concentration"}), "family": "Gamma"},
        "Two coefficients would be named `concentration`",
    ),
    "a column named like the intercept": (
        {"formula": "y ~ Intercept", "data": DATA.rename(columns={"x": "Intercept"})},
        "Column `Intercept` in the formula `Intercept` has the name of the constant: rename it",
    ),
    "labels without order": (
        {"formula": "three ~ x", "family": "OrderedLogistic"},
        r"The labels of the outcome `three` have no order.*`pd.Categorical\(..., categories=\[...\], ordered=True\)`",
    ),
    "a categorical without order": ({"formula": "levels ~ x", "family": "OrderedLogistic"}, "have no order"),
    "an unknown offset": ({"offset": "house"}, "`offset` is 'house', but the columns of `data` are y, x"),
    "weights under a mask": (
        {"weights": np.ma.masked_greater(np.arange(6.0), 3.0)},
        "`weights` has 2 masked values: leave their rows out",
    ),
    "an offset of labels": ({"formula": "y ~ x + offset(three)"}, "An offset of the formula .* holds labels"),
    "a column of complex numbers": (
        {"formula": "y ~ wave", "data": DATA.assign(wave=DATA.x * 1j + 1)},
        "`wave` has a column of complex numbers in `data`: give real ones",
    ),
    "one cluster": ({"cluster": "same"}, "`cluster` has only the label only: .* at least two clusters"),
    "clusters of rows whose weights sum to 1": (
        {"cluster": "group", "weights": np.full(6, 1 / 6)},
        "The rows, counted by their weights, are 1, but errors by `cluster` need more rows than the 3 coefficients",
    ),
    "a link without its parameter": (
        {"link": "exp"},
        "`link` is 'exp': give the name of its parameter too, such as `link={'mean': 'exp'}`",
    ),
    "late entry": (
        {"formula": "Surv(x, y, group == 'a') ~ 1", "family": "Weibull"},
        r"for late entry, `Surv\(start, stop, event\)`, call `cox_regression`",
    ),
    "an exposure": ({"family": "Poisson", "exposure": "x"}, r"add the term `offset\(log\(years\)\)` to the formula"),
    "outcomes beyond the support": (
        {"family": "Poisson", "data": DATA.assign(y=[1.0, 2.0, 0.0, 0.5, 1.0, -1.0])},
        "`y` holds, at row 3, 0.5, which Poisson cannot have: .* a family whose support contains it",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_call_raises_one_sentence(case):
    changed, message = WRONG[case]
    arguments = {"formula": "y ~ x", "data": DATA} | changed
    with pytest.raises((ValueError, TypeError), match=message) as caught:
        nllfit.regression(**arguments)
    assert "\n" not in str(caught.value)


def test_unpredictable_rows_and_bad_arguments_of_a_fit_are_refused():
    fitted = nllfit.regression("y ~ group + x", DATA)
    with pytest.raises(ValueError, match="has the level 'z', which the fitted data do not have"):
        fitted.predict({"group": ["z"], "x": [1.0]})
    numbered = nllfit.regression("y ~ C(k)", DATA.assign(k=[1, 2] * 3))
    with pytest.raises(ValueError, match="has the level 9, which the fitted data do not have"):
        numbered.predict({"k": [9]})
    for kind in ("str", "category"):
        labelled = DATA.assign(k=pd.Series([1, 2] * 3).astype(kind))
        by_label = nllfit.regression("y ~ k", labelled)
        with pytest.raises(ValueError, match=f"Column `k` of `data` holds numbers, but labels .*astype.'{kind}'"):
            by_label.predict({"k": [1, 2]})
        assert np.array_equal(by_label.predict(labelled[["k"]]), by_label.predict())
    with pytest.raises(ValueError, match="`x` in the formula"):
        fitted.predict({"group": ["a"]})
    with pytest.raises(ValueError, match="`data` has one value per column: give a list per column"):
        fitted.predict({"group": "a", "x": 1.0})
    for constraint, message in {
        "x = ": "cannot be read",
        "z = 0": "The coefficients are Intercept, group",
        "x = 0, 2 * x = 0": "is redundant",
        "x = 0, x = 1": "is redundant or contradicts itself",
        "": "`constraint` is empty: give a text",
    }.items():
        with pytest.raises(ValueError, match=message):
            fitted.test(constraint)
    with pytest.raises(ValueError, match="`alpha` is 95"):
        fitted.conf_int(95)
    with pytest.raises(ValueError, match="`kind` is 'anscombe': give one of quantile"):
        fitted.residuals("anscombe")
    with pytest.raises(ValueError, match="`level` is 'a': give a probability between 0 and 1"):
        fitted.predict_interval(level="a")


def test_survival_at_one_time_is_given_and_at_nan_refused():
    data = DATA.assign(event=1)
    fitted = nllfit.cox_regression("Surv(y, event) ~ x", data)
    with pytest.raises(ValueError, match="`times` has NaN"):
        fitted.survival(data, [1.0, np.nan])
    with pytest.raises(ValueError, match="`times` has values of dtype <U4: give a number or a list of numbers"):
        fitted.survival(data, "late")
    pd.testing.assert_frame_equal(fitted.survival(data, 3.0), fitted.survival(data, [3.0]))


def test_a_risk_at_one_time_is_given_and_at_nan_refused():
    data = DATA.assign(event=1)
    fitted = nllfit.cox_regression("Surv(y, event) ~ x", data)
    with pytest.raises(ValueError, match="`times` has NaN"):
        nllfit.cause_specific_risks({"death": fitted}, data, [np.nan, 1.0])
    hazard = fitted.cumulative_hazard(data, [0.0, 1.0, 2.0, 3.0]).to_numpy()  # 1, 2 and 3 are the event times
    expected = np.sum(np.exp(-hazard[:, :-1]) * np.diff(hazard), 1, keepdims=True)
    np.testing.assert_allclose(nllfit.cause_specific_risks({"death": fitted}, data, 3)["death"], expected, rtol=1e-12)
    assert nllfit.cause_specific_risks({"death": fitted}, data, [])["death"].shape == (6, 0)


def test_a_column_named_time_has_no_schoenfeld_residuals():
    fitted = nllfit.cox_regression("Surv(y, event) ~ time", DATA.assign(event=1, time=[1.0, 0, 2, 1, 0, 2]))
    with pytest.raises(ValueError, match=r"has a column `time`, which is also the name .*: rename the column"):
        fitted.schoenfeld_residuals()


def test_an_outcome_may_quote_a_column_inside_a_function():
    data = DATA.rename(columns={"y": "my y"})
    plain = nllfit.regression("log(y) ~ x", DATA)
    np.testing.assert_array_equal(nllfit.regression("log(`my y`) ~ x", data).params, plain.params)
    with pytest.raises(ValueError, match=r"'your y' in the outcome .* is not a column: the columns are my y, x"):
        nllfit.regression("log(`your y`) ~ x", data)


def test_an_offset_array_is_unknown_for_new_rows():
    fitted = nllfit.regression("y ~ group + x", DATA, offset=np.zeros(6))
    with pytest.raises(ValueError, match=r"`offset` was an array of the fitted rows"):
        fitted.predict(DATA)


def test_cox_regression_uses_an_offset_array_only_for_the_fitted_rows():
    data = DATA.assign(event=1, w=[1, 1, 0, 1, 1, 1], z=[1.0, 0, 2, 1, 0, 2])
    fitted = nllfit.cox_regression("Surv(y, event) ~ z", data, offset=data.x.to_numpy(), weights="w")
    for call in (fitted.predict, lambda table: fitted.cumulative_hazard(table, 3), lambda t: fitted.survival(t, 3)):
        with pytest.raises(ValueError, match=r"`offset` was an array of the fitted rows"):
            call(data)
    rows = data[data.w > 0]
    np.testing.assert_allclose(fitted.predict(), np.exp(rows.z * fitted.params["z"] + rows.x), rtol=1e-12)
    assert list(fitted.predict().index) == list(rows.index)
    by_name = nllfit.cox_regression("Surv(y, event) ~ z", data, offset="x", weights="w")
    pd.testing.assert_frame_equal(fitted.survival(None, [1, 3]), by_name.survival(rows, [1, 3]))


@pytest.mark.thorough(but=("e]",))
@pytest.mark.parametrize("name", ["offset", "off", "e", "my x"])
def test_an_offset_may_have_any_name(name):
    """The reference is the same offset, given as an array.

    If a formula quotes a name, formulaic replaces the name everywhere. For example, if a formula quotes the name `e`,
    formulaic also replaces the letter `e` in the word `offset`.
    """
    data = DATA.assign(time=[1.0, 2, 3, 3, 5, 6], event=1).rename(columns={"double": name})
    formula = f"y ~ x + offset({name if name.isidentifier() else f'`{name}`'})"
    expected = nllfit.regression("y ~ x", data, "Poisson", offset=DATA.double).params
    for fit in (
        nllfit.regression("y ~ x", data, "Poisson", offset=name),
        nllfit.regression(formula, data, "Poisson"),
        nllfit.regression(f"y ~ x + offset(`{name}`)", data, "Poisson"),
    ):
        np.testing.assert_array_equal(fit.params, expected)
        assert fit.predict(data.iloc[:2]).shape == (2,)
    cox, by_array = (nllfit.cox_regression("Surv(time, event) ~ y", data, offset=o) for o in (name, DATA.double))
    np.testing.assert_array_equal(cox.params, by_array.params)
    np.testing.assert_allclose(cox.predict(data), np.exp(DATA.y * cox.params["y"] + DATA.double), rtol=1e-12)


@pytest.mark.thorough
def test_fits_that_cannot_be_compared_are_refused():
    data = DATA.assign(event=1, log_y=np.log(DATA.y), more=[2, 1, 1, 1, 1, 0], z=[1.0, 0, 2, 1, 0, 2])
    fit = {name: nllfit.regression(formula, data) for name, formula in {"y": "y ~ 1", "log": "log_y ~ x"}.items()}
    fit["weights"] = nllfit.regression("y ~ x", data, weights="more")
    cox = nllfit.cox_regression("Surv(y, event) ~ x", data)
    for larger, message in {
        fit["log"]: "`y ~ 1` and `log_y ~ x` were fitted to different outcomes, weights or strata",
        fit["weights"]: "were fitted to different outcomes, weights or strata",
        cox: "`y ~ 1` is a Regression and .* a CoxRegression: a likelihood and a partial likelihood",
    }.items():
        with pytest.raises(ValueError, match=message):
            fit["y"].anova(larger)
    with pytest.raises(ValueError, match="nats lower than that of `y ~ x`, so the fits are not nested"):
        nllfit.regression("y ~ x", data).anova(nllfit.regression("y ~ z + group", data))
    with pytest.raises(ValueError, match="different outcomes, weights or strata"):
        cox.anova(nllfit.cox_regression("Surv(y, event) ~ x + z", data, strata="group"))
    with pytest.raises(TypeError, match="`anova` got 3: give results of `regression`"):
        cox.anova(3)
    shuffled = nllfit.regression("y ~ x", data.iloc[::-1])
    assert fit["y"].anova(shuffled)["df"].iloc[1] == 1


def test_labels_of_clusters_and_strata_are_neither_merged_nor_missing():
    labels = [0, "0", 1, "1", 0, "b"]
    numbers = [0, 1, 2, 3, 0, 4]
    ours, expected = (nllfit.regression("y ~ x", DATA, cluster=of) for of in (labels, numbers))
    assert ours.kind == "sandwich, 5 clusters"
    np.testing.assert_allclose(ours.bse, expected.bse, rtol=1e-12)
    for missing in (None, np.nan, pd.NA):
        with pytest.raises(ValueError, match=r"`cluster` is missing in 1 of 6 rows \(index 5\)"):
            nllfit.regression("y ~ x", DATA, cluster=[*labels[:5], missing])
    ours, expected = (
        nllfit.cox_regression("Surv(y, e) ~ x", DATA.assign(e=1), strata=of)
        for of in ([0, "0", 0, "0", 0, "0"], [0, 1, 0, 1, 0, 1])
    )
    assert ours.log_likelihood == pytest.approx(expected.log_likelihood, rel=1e-12)


def test_a_cluster_of_weight_0_is_none():
    data = DATA.assign(w=[1, 1, 1, 1, 1, 0], house=[0, 0, 1, 1, 2, 3])
    ours, expected = (nllfit.regression("y ~ x", d, weights="w", cluster="house") for d in (data, data.iloc[:5]))
    np.testing.assert_allclose(ours.bse, expected.bse, rtol=1e-9)
    assert ours.kind == "sandwich, 3 clusters"
    with pytest.raises(ValueError, match="at least two clusters"):
        nllfit.cox_regression("Surv(y, w) ~ x", data, cluster="same")


def test_constraints_are_a_text_several_texts_or_a_matrix_of_numbers():
    fit = nllfit.regression("y ~ x + group", DATA)
    texts = ["x = 0", "`group[T.b]` = 0"]
    assert fit.test(tuple(texts)) == fit.test(texts)
    for wrong in ({"x": 0}, np.array(texts), None, [[np.nan, 1.0, 0.0, 0.0]]):
        with pytest.raises(ValueError, match=r"`constraint` is .*: give a text such as 'x1 = x2', a list of texts, or"):
            fit.test(wrong)


def test_a_stratum_that_is_a_list_is_refused():
    cox = nllfit.cox_regression("Surv(y, event) ~ x", DATA.assign(event=1), strata="group")
    with pytest.raises(ValueError, match=r"`stratum` is \['a'\]: give one of a, b"):
        cox.survival(DATA, 1.0, ["a"])


def test_columns_that_a_formula_does_not_use_have_no_effect():
    """The test adds columns with missing values.

    Their names are also names of functions, of an attribute (`sum`) and of an argument (`data`) in the formula.
    """
    formula = "log(y) ~ log(x + 1) + C(group, contr.sum) + center(data=y)"
    unused = {name: DATA.hole for name in ("log", "C", "sum", "center", "data")}
    plain, beside = (nllfit.regression(formula, data) for data in (DATA, DATA.assign(**unused)))
    pd.testing.assert_series_equal(beside.params, plain.params)
    np.testing.assert_array_equal(beside.predict(DATA.assign(**unused)), plain.predict(DATA))
    with pytest.raises(ValueError, match=r"`groop` in .* did you mean `group`"):
        nllfit.regression("y ~ groop", DATA)


def test_the_message_about_a_point_that_is_no_maximum_is_a_sentence(monkeypatch):
    """The test replaces the search `maximum` by a function that finds no maximum.

    It replaces `fit_lbfgs` by a function that reports convergence.
    """
    monkeypatch.setattr(fitting, "maximum", lambda objective, start: (start, False))
    monkeypatch.setattr(fitting, "fit_lbfgs", lambda *_, **__: mock.Mock(converged=True))
    found = nllfit.regression("y ~ x", DATA)
    assert found.message.endswith("the likelihood does not fall in all directions from them")
    assert not found.converged


@pytest.mark.thorough(but="uint8")
@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint64])
def test_integers_of_any_dtype_do_not_wrap_around(dtype):
    data = DATA.assign(x=DATA.x.astype(int) * 20, k=[3, 4, 5, 3, 4, 5])
    formula = "x - 50 ~ I(k - 4) + I(50 * k * (k > 3))"
    narrow = data.assign(x=data.x.astype(dtype), k=data.k.astype(dtype))
    ours, expected = (nllfit.regression(formula, table, "Normal") for table in (narrow, data))
    np.testing.assert_array_equal(ours.objective.y, expected.objective.y)
    np.testing.assert_array_equal(ours.predictors[0].design.matrix, expected.predictors[0].design.matrix)
    np.testing.assert_array_equal(ours.predict(narrow), expected.predict(data))


@pytest.mark.parametrize("kind", [float, decimal.Decimal, np.float16])
def test_numbers_of_any_dtype_are_numbers(kind):
    x = np.array([1.0, 2.0, 0.0, 3.0, 2.0, 4.0])
    y = [1.5, 2.5, 0.5, 3.0, 3.5, 5.0]
    dtype = np.float16 if kind is np.float16 else object
    fit = nllfit.regression("y ~ I((100 * x)**2)", {"x": np.array([kind(v) for v in x.tolist()], dtype), "y": y})
    expected = np.polyfit((100 * x) ** 2, y, 1)[::-1]
    np.testing.assert_allclose(fit.estimates[:2], expected, rtol=1e-9)


def test_durations_are_refused():
    data = {"x": pd.to_timedelta([1, 2, 3, 5], unit="D"), "y": [1.0, 2.0, 4.0, 5.0]}
    with pytest.raises(ValueError, match="Column `x` of `data` holds dates"):
        nllfit.regression("y ~ x", data)
