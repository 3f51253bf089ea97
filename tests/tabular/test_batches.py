"""Tables that are larger than memory: streams of batches, and members that train in other processes."""

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import tensorflow as tf

from nllfit import ZeroInflated
from nllfit.tabular import DistributionClassifier, DistributionRegressor, Network, table_rows
from nllfit.tabular.column_encoding import Columns
from nllfit.tabular.trials_and_spread import Search

RNG = np.random.default_rng(0)
X = RNG.uniform(-2, 2, [448, 2])
Y = 3 + 2 * X[:, 0] + np.where(X[:, 1] > 0, 1.0, 0.1) * RNG.normal(size=448)
SHORT = {"network": Network((10,)), "num_members": 2, "max_epochs": 20, "random_state": 0}


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(table_rows, "_PART", 128)
    monkeypatch.setattr(table_rows, "_SAMPLE", 150)


def batches_of_arrays():
    return ((X[i : i + 64], Y[i : i + 64]) for i in range(0, 448, 64))


def test_parts_and_the_sample_are_rows_of_the_table(small_parts):
    parts = list(table_rows.parts_of(batches_of_arrays))
    assert [len(y) for _, y, _ in parts] == [128, 128, 128, 64]
    np.testing.assert_array_equal(np.concatenate([x for x, *_ in parts]), X)
    (x, y, weights), sizes = table_rows.sample_of(batches_of_arrays, seed=0)
    assert (sizes, len(x), weights) == ([128, 128, 128, 64], 150, None)
    positions = np.argmax(y[:, None] == Y, axis=1)
    np.testing.assert_array_equal(X[positions], x)
    assert len(set(positions)) == 150


@pytest.mark.parametrize("library", [np, pd, pl], ids=lambda library: library.__name__)
def test_rows_of_weight_0_are_not_rows_of_a_stream(small_parts, library):
    """All rows of the first two batches, and half of the other rows, have the weight 0."""
    weights = np.where(np.arange(448) < 128, 0.0, np.arange(448) % 2)
    table = X if library is np else library.DataFrame({"a": X[:, 0], "b": X[:, 1]})
    batches = [(table[i : i + 64], Y[i : i + 64], weights[i : i + 64]) for i in range(0, 448, 64)]
    parts = list(table_rows.parts_of(batches))
    assert [len(y) for _, y, _ in parts] == [128, 32]
    np.testing.assert_array_equal(np.concatenate([np.asarray(x) for x, *_ in parts]), X[weights > 0])
    np.testing.assert_array_equal(np.concatenate([y for _, y, _ in parts]), Y[weights > 0])
    (_, y, _), sizes = table_rows.sample_of(batches, seed=0)
    assert (len(y), sizes) == (150, [128, 32])


@pytest.mark.thorough
def test_weights_count_between_the_parts_of_a_stream(small_parts, rng):
    """The outcomes are 0 in parts of weight 9, and 1 in parts of weight 1. So the weighted mean is 0.1."""
    y = np.arange(512) // 128 % 2 + 0.1 * rng.normal(size=512)
    weights = np.where(np.arange(512) // 128 % 2, 1.0, 9.0)
    batches = [(np.zeros([128, 1]), y[i : i + 128], weights[i : i + 128]) for i in range(0, 512, 128)]
    model = DistributionRegressor("Normal", **SHORT | {"num_members": 1}).fit_batches(batches)
    assert model.predict([[0.0]])[0] == pytest.approx(np.average(y, weights=weights), abs=0.1)
    scaled = [(x, y, 1024 * weights) for x, y, weights in batches]
    same = DistributionRegressor("Normal", **SHORT | {"num_members": 1}).fit_batches(scaled)
    np.testing.assert_array_equal(same.predict([[0.0]]), model.predict([[0.0]]))


@pytest.mark.thorough
def test_all_rows_train_the_ensemble(small_parts, rng):
    """An ensemble that trains on all 448 rows in batches predicts better means than one that trains on 150 rows."""
    model = DistributionRegressor(**SHORT).fit_batches(batches_of_arrays)
    of_all = DistributionRegressor(**SHORT).fit(X, Y)
    of_sample = DistributionRegressor(**SHORT).fit(*table_rows.sample_of(batches_of_arrays, 0)[0][:2])
    new = rng.uniform(-2, 2, [500, 2])
    errors = [np.sqrt(np.mean((m.predict(new) - 3 - 2 * new[:, 0]) ** 2)) for m in (model, of_all, of_sample)]
    assert errors[0] < 0.7 * errors[2]
    assert errors[0] < 1.3 * errors[1]


@pytest.mark.thorough
def test_a_table_that_fits_in_the_sample_is_fitted_as_usual():
    """`fit_batches` selects a network on a sample of at most 32,768 rows. Here, the sample is the whole table."""
    (x, y, _), _ = table_rows.sample_of(batches_of_arrays, seed=0)
    model = DistributionRegressor(**SHORT).fit_batches(batches_of_arrays)
    np.testing.assert_array_equal(model.predict(X), DistributionRegressor(**SHORT).fit(x, y).predict(X))


@pytest.mark.thorough
def test_datasets_frames_and_weights_are_read(small_parts):
    dataset = tf.data.Dataset.from_tensor_slices((X, Y, np.ones(448))).batch(150)
    assert DistributionRegressor(**SHORT | {"max_epochs": 1}).fit_batches(dataset).n_features_in_ == 2
    labels = np.where(X[:, 0] > 0, "up", "down")
    for library in (pd, pl):
        frame = library.DataFrame({"a": X[:, 0], "b": np.where(X[:, 1] > 0, "u", "v")})
        batches = [(frame[i : i + 100], labels[i : i + 100]) for i in range(0, 448, 100)]
        model = DistributionClassifier(**SHORT | {"num_members": 1}).fit_batches(batches)
        assert list(model.feature_names_in_) == ["a", "b"]
        assert model.score(frame, labels) > 0.9


@pytest.mark.thorough
def test_values_of_rows_outside_the_sample_have_a_probability(small_parts):
    """The rows of the sample have the outcomes 0, 1, 2 and 3. The other rows have the outcome 1.5 or 9."""
    y = np.arange(448) % 4.0

    def batches():
        return ((X[i : i + 64], y[i : i + 64]) for i in range(0, 448, 64))

    (x, *_), _ = table_rows.sample_of(batches, seed=0)
    others = np.flatnonzero(~np.isin(X[:, 0], x[:, 0]))
    y[others[::2]], y[others[1::2]] = 1.5, 9.0
    model = DistributionRegressor("Values", **SHORT | {"max_epochs": 3}).fit_batches(batches)
    probs = np.exp(model.predict_distribution(X).log_prob([[[1.5]], [[9.0]]]))
    np.testing.assert_allclose(probs.mean(axis=1), len(others) / 2 / 448, atol=0.15)


def test_auto_tries_families_whose_support_contains_all_outcomes(small_parts, monkeypatch, rng):
    """An outcome of 0 excludes the Gamma, even if it is in a row that is not in the sample. No network is trained."""
    y, tried = 1 + rng.gamma(2, size=448), []

    def batches():
        return ((X[i : i + 64], y[i : i + 64]) for i in range(0, 448, 64))

    def run(search, distributions, networks):
        tried.append(distributions)
        return [], None

    monkeypatch.setattr(Search, "run", run)
    DistributionRegressor("auto", random_state=0).fit_batches(batches)
    (x, *_), _ = table_rows.sample_of(batches, seed=0)
    y[np.flatnonzero(~np.isin(X[:, 0], x[:, 0]))[0]] = 0
    DistributionRegressor("auto", random_state=0).fit_batches(batches)
    before, after = tried
    assert {"Gamma", "LogNormal"} <= set(before)
    assert after == ["Normal", "Mixture", "Histogram", ZeroInflated("Gamma", event_shape=1)]


def test_the_sample_keeps_the_order_of_the_rows(small_parts):
    """The order matters, because with `shuffle=False` the last rows are held out."""
    (_, y, _), _ = table_rows.sample_of([(X, np.arange(448.0))], seed=0)
    np.testing.assert_array_equal(y, np.sort(y))


def test_batches_of_polars_may_have_ints_or_floats_in_a_column(small_parts):
    batches = [(pl.DataFrame({"a": values}), np.zeros(3)) for values in ([1, 2, 3], [1.5, 2.0, None], [None] * 3)]
    (table, *_), _ = table_rows.sample_of(batches, seed=0)
    np.testing.assert_array_equal(Columns.of(table).matrix(table)[:, 1], [0, 0, 0, 0, 0, 1, 1, 1, 1])


def test_batches_may_have_different_categories_of_ints(small_parts):
    batches = [(pd.DataFrame({"kind": pd.Categorical([7, i] * 64)}), np.zeros(128)) for i in (8, 9)]
    (table, *_), _ = table_rows.sample_of(batches, seed=0)
    assert Columns.of(table).columns[0].categories == ["7", "8", "9"]


@pytest.mark.parametrize("library", [pd, pl], ids=lambda library: library.__name__)
def test_columns_may_have_another_order_but_not_be_missing(small_parts, library):
    frame = library.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})
    (table, *_), _ = table_rows.sample_of([(frame, np.zeros(2)), (frame[["b", "a"]], np.zeros(2))], seed=0)
    np.testing.assert_array_equal(np.asarray(table), [[1, 3], [2, 4]] * 2)
    with pytest.raises(ValueError, match=r"frames of the columns \['a', 'b'\] and \['a'\]: give the same columns"):
        table_rows.sample_of([(frame, np.zeros(2)), (frame[["a"]], np.zeros(2))], seed=0)


def test_invalid_batches_are_refused(small_parts):
    model = DistributionRegressor(**SHORT)
    with pytest.raises(ValueError, match="`batches` is empty: give at least one"):
        model.fit_batches([])
    with pytest.raises(TypeError, match="`X` is a dict: give an array of numbers"):
        model.fit_batches([({"a": X[:, 0]}, Y)])
    with pytest.raises(ValueError, match="`y` has 448 masked values"):
        model.fit_batches([(X, np.ma.masked_array(Y, True))])
    with pytest.raises(ValueError, match="give batches"):
        model.fit_batches([X])
    with pytest.raises(ValueError, match="`X` has 448 rows, but `sample_weight` has 9: give one weight for each row"):
        model.fit_batches([(X, Y, np.ones(9))])
    with pytest.raises(ValueError, match="a weight above 0"):
        model.fit_batches([(X, Y, np.zeros(448))])
    with pytest.raises(ValueError, match="`sample_weight` must be an array"):
        model.fit_batches([(X, Y, np.full(448, -1.0))] * 2)
    with pytest.raises(ValueError, match="`sample_weight` must be an array"):
        model.fit_batches([(X, Y, np.full(448, "a"))])
    with pytest.raises(ValueError, match="`batches` holds some batches with a `sample_weight` and some without"):
        model.fit_batches([(X, Y, np.ones(448)), (X, Y)])
    with pytest.raises(ValueError, match="`batches` is a generator, which can only be read once"):
        model.fit_batches(batches_of_arrays())
    with pytest.raises(ValueError, match="Input y contains NaN"):
        model.fit_batches([(X, np.where(np.arange(448) == 7, np.nan, Y))] * 2)


@pytest.mark.thorough
def test_members_train_in_other_processes_to_the_same_predictions():
    """`joblib` can start processes on the machines of a cluster; here it starts them on this machine."""
    alone = DistributionRegressor(**SHORT).fit(X, Y)
    with joblib.parallel_config("loky"):
        model = DistributionRegressor(**SHORT).fit(X, Y)
    np.testing.assert_allclose(model.predict(X), alone.predict(X), rtol=1e-5)
