"""Invalid tables and arguments raise an error with one sentence. Unusual but valid tables are accepted."""

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.exceptions import NotFittedError

import nllfit
from nllfit.tabular import DistributionClassifier, DistributionRegressor, Network, explain

RNG = np.random.default_rng(0)
X = RNG.normal(size=[24, 3])
Y = X[:, 0] + 0.1 * RNG.normal(size=24)
TABLE = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "kind": ["u", "v"] * 12})
QUICK = {"network": Network((4,)), "num_members": 1, "max_epochs": 1, "random_state": 0}


def gap(y):
    y = y.copy()
    y[3] = np.nan
    return y


REFUSED = [
    ("text in a numeric column", {"X": TABLE.assign(a=["one", *X[1:, 0]])}, "both 'one' and .* in column 'a'"),
    ("text in an array", {"X": np.full([24, 2], "a")}, "`X` is an array with text"),
    (
        "dates",
        {"X": TABLE.assign(day=pd.date_range("2020", periods=24))},
        "`X` holds dates or durations in column 'day'",
    ),
    ("a column of a frame", {"X": TABLE["a"].astype(object)}, "Expected 2D array, got 1D array"),
    ("infinite inputs", {"X": np.r_[np.full([1, 3], np.inf), X[1:]]}, "Input X contains infinity"),
    ("two columns of one name", {"X": pd.concat([TABLE, TABLE], axis=1)}, "`X` has 2 columns named 'a'"),
    ("no columns", {"X": X[:, :0]}, r"0 feature\(s\)"),
    ("one row", {"X": X[:1], "y": Y[:1]}, "`X` has n_samples=1 rows: give at least 2"),
    ("fewer outcomes than rows", {"y": Y[:-1]}, "`X` has 24 rows, but `y` has 23: give one outcome for each row"),
    ("NaN in y", {"y": gap(Y)}, "Input y contains NaN, first at row 3: leave such rows out"),
    (
        "NA in y",
        {"y": np.array([1.0, pd.NA] * 12, object)},
        "Input y contains NaN, first at row 1: leave such rows out",
    ),
    ("text in y", {"y": ["a", "b"] * 12}, "`y` holds text .*: give numbers, or fit a `DistributionClassifier`"),
    ("durations", {"y": pd.Series(pd.to_timedelta(Y, "h"))}, "`y` holds dates or durations: give numbers, such as"),
    ("durations of NumPy", {"y": list(np.arange(24).astype("m8[ns]"))}, "`y` holds dates or durations"),
    ("dates as y", {"y": np.arange(24).astype("datetime64[D]")}, "`y` holds dates or durations"),
    ("Python's durations", {"y": [datetime.timedelta(hours=1)] * 24}, "`y` holds dates or durations"),
    (
        "dates with a time zone",
        {"y": pd.Series(pd.date_range("2020", periods=24, tz="UTC"))},
        "`y` holds dates or durations",
    ),
    ("one number as y", {"y": 3.0}, "`y` is not an array of numbers: give one number, or one row"),
    ("y outside the support", {"distribution": "Gamma"}, "`y`.* Gamma"),
    (
        "fractions for a count",
        {"distribution": "Poisson", "y": np.abs(Y)},
        "`y` holds, at row 0, .*Poisson cannot have",
    ),
    (
        "a row of the given table",
        {"distribution": "Gamma", "y": np.r_[np.ones(7), -1, np.ones(16)], "sample_weight": np.r_[0, 0, np.ones(22)]},
        r"`y` holds, at row 7, \[-1.\], which Gamma cannot have",
    ),
    ("masked outcomes", {"y": np.ma.masked_less(Y, 0)}, "`y` has [0-9]+ masked values: leave their rows out"),
    ("masked inputs", {"X": np.ma.masked_less(X, 0)}, "`X` has [0-9]+ masked values"),
    ("masked weights", {"sample_weight": np.ma.masked_less(np.ones(24) + Y, 1)}, "`sample_weight` has [0-9]+ masked"),
    ("weights of zero", {"sample_weight": np.zeros(24)}, "`sample_weight` is zero for every row"),
    ("a negative weight", {"sample_weight": np.r_[-1.0, np.ones(23)]}, "`sample_weight` must be an array"),
    ("one row with a weight", {"sample_weight": np.r_[1.0, np.zeros(23)]}, "n_samples=1 rows with a weight above 0"),
    ("flags that are not 0 or 1", {"observed": np.full(24, 2)}, "`observed` holds values other than 0 and 1"),
    ("flags of two outcomes", {"observed": np.ones(24), "y": np.c_[Y, Y]}, "`observed` is for one outcome a row"),
    ("an unknown family", {"distribution": "Gaussian"}, "Gaussian"),
    ("an empty list of families", {"distribution": []}, "`distribution` is empty"),
    ("an empty list of networks", {"network": []}, "`network` is empty"),
    ("a wrapper by name", {"distribution": "ZeroInflated"}, "'ZeroInflated', which modifies .*: give the object"),
    (
        "pairs, and an event",
        {"distribution": nllfit.Censored("LogNormal", event_shape=1), "y": np.exp(np.stack([Y, Y], 1))},
        "each pair of `y` .* is one outcome: leave `event_shape` out",
    ),
    (
        "text in pairs",
        {"distribution": nllfit.Censored("Normal"), "y": [["a", "b"]] * 24},
        "`y` holds text .*: give numbers",
    ),
    ("labels' family", {"distribution": nllfit.Family("Categorical", num_classes=3)}, "use a `DistributionClassifier`"),
    ("labels' family by name", {"distribution": "Categorical"}, "Categorical, of .*: use a `DistributionClassifier`"),
    ("a shared scale", {"distribution": nllfit.Family("Normal", 1, shared="scale")}, "`distribution` shares scale"),
    ("a family of two outcomes", {"distribution": nllfit.Family("Normal", 2)}, r"outcomes of shape \(2,\)"),
    ("an unknown network", {"network": "deep"}, "`network` is 'deep'"),
    ("no members", {"num_members": 0}, "`num_members` is 0: give an int >= 1"),
    ("half an epoch", {"max_epochs": 0.5}, "`max_epochs` is 0.5"),
    ("nothing left to train on", {"validation_fraction": 1.0}, "`validation_fraction` is 1.0"),
]


@pytest.mark.parametrize(("given", "words"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_a_regressor_refuses_invalid_input(given, words):
    data = {name: given[name] for name in given if name in ("X", "y", "sample_weight", "observed")}
    arguments = {name: value for name, value in given.items() if name not in data}
    model = DistributionRegressor(**QUICK | arguments)
    with pytest.raises(ValueError, match=words):
        model.fit(**{"X": X, "y": Y} | data)


def test_a_score_of_several_outcomes_refuses_observed():
    model = DistributionRegressor("Normal", network="trees").fit(X, np.stack([Y, Y], 1))
    with pytest.raises(ValueError, match="`observed` is for one outcome a row, but the model has 2"):
        model.score(X, Y, observed=Y > 0)


def test_evaluate_refuses_another_number_of_outcomes_than_rows():
    regressor, classifier = DistributionRegressor("Normal", **QUICK).fit(X, Y), DistributionClassifier(**QUICK)
    for model, y in (regressor, Y), (classifier.fit(X, ["a", "b"] * 12), ["a", "b"] * 12):
        with pytest.raises(ValueError, match="`X` has 24 rows, but `y` has 23: give one outcome for each row"):
            model.evaluate(X, y[:-1])


def test_a_training_row_of_weight_0_may_lack_a_value():
    """Missing values cause a warning only in new rows, so `fit` must not warn. A warning would fail the test."""
    table = X.copy()
    table[0, 1] = np.nan
    DistributionRegressor("Normal", **QUICK).fit(table, Y, sample_weight=np.r_[0.0, np.ones(23)])


def test_a_classifier_refuses_invalid_labels():
    model = DistributionClassifier(**QUICK)
    with pytest.raises(ValueError, match="`y` has one class, 'a': give rows of at least two classes"):
        model.fit(X, np.full(24, "a"))
    with pytest.raises(ValueError, match="`y` has 12 masked values"):
        model.fit(X, np.ma.masked_equal([0, 1] * 12, 1))
    with pytest.raises(ValueError, match="`sample_weight` has 12 masked values"):
        model.score(X, np.full(24, "a"), np.ma.masked_equal([0, 1] * 12, 1))
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        model.fit(X, Y)
    with pytest.raises(ValueError, match=r"mixes labels of the types NoneType, str: .*leave out rows without one"):
        model.fit(X, np.array(["a", None] * 12, object))


def test_explain_refuses_another_model_other_frames_and_one_point():
    with pytest.raises(TypeError, match=r"`model` is DistributionClassifier.*: give a `DistributionRegressor`"):
        explain(DistributionClassifier(), X, Y)
    with pytest.raises(NotFittedError):
        explain(DistributionRegressor(), X, Y)
    with pytest.raises(TypeError, match="`X` is a frame of another library than pandas: give"):
        explain(DistributionRegressor(), pl.DataFrame({"a": [1.0, 2.0]}), [1.0, 2.0])
    with pytest.raises(ValueError, match="`num_points` is 1: give an int >= 2"):
        explain(DistributionRegressor(**QUICK).fit(X, Y), X, Y, num_points=1)


def test_missing_values_of_pandas_may_be_in_an_array():
    table = X.astype(object)
    table[0, 0] = pd.NA
    found = DistributionRegressor("Normal", **QUICK).fit(table, Y)
    assert found.columns_.columns[0].has_gaps


@pytest.mark.thorough
def test_unusual_but_valid_tables_are_accepted():
    """The table has a constant and a duplicated column, a missing value, an unseen category, and weights of 0."""
    table = TABLE.assign(constant=1.0, twice=X[:, 0])
    table.loc[5, "a"] = np.nan
    weights = np.r_[0.0, 0.0, np.ones(22)]
    model = DistributionRegressor(**QUICK).fit(table, Y, sample_weight=weights)
    alone = DistributionRegressor(**QUICK).fit(table[2:], Y[2:])
    np.testing.assert_allclose(model.predict(table), alone.predict(table), rtol=1e-5, atol=1e-6)
    new = table.assign(kind="w", constant=2.0)
    with pytest.warns(UserWarning, match="does not know, 'w' in 'kind': they count as missing"):
        assert np.all(np.isfinite(model.predict(new)))
    with pytest.raises(ValueError, match="text in column 'a', which had numbers"):
        model.predict(table.assign(a="one"))


@pytest.mark.thorough
def test_a_constant_outcome_is_predicted():
    model = DistributionRegressor(**QUICK).fit(X, np.full(24, 7.0))
    np.testing.assert_allclose(model.predict(X), 7.0, atol=1.0)
    assert np.all(np.isfinite(model.predict_interval(X)))
    assert np.isfinite(model.score(X, np.full(24, 7.0)))


@pytest.mark.thorough
def test_ten_thousand_columns_are_accepted(rng):
    x = rng.normal(size=[24, 10_000])
    model = DistributionRegressor(**QUICK | {"network": "steep"}).fit(x, Y)
    assert model.predict(x).shape == (24,)
