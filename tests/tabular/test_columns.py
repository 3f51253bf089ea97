"""Encoding of categories, booleans and missing values: frames of pandas and of polars give the same numbers."""

import datetime
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest

from nllfit.tabular.column_encoding import Columns

PANDAS = pd.DataFrame(
    {
        "size": [1.0, 2.0, None, 6.0],
        "kind": pd.Categorical(["x", "y", None, "x"]),
        "town": ["u", "v", "w", "u"],
        "old": [True, False, True, True],
        "rooms": pd.array([1, None, 3, 4], dtype="Int64"),
        "is_open": pd.array([True, None, False, True], dtype="boolean"),
    }
)
POLARS = pl.DataFrame(
    {
        "size": [1.0, 2.0, None, 6.0],
        "kind": pl.Series(["x", "y", None, "x"], dtype=pl.Categorical),
        "town": ["u", "v", "w", "u"],
        "old": [True, False, True, True],
        "rooms": [1, None, 3, 4],
        "is_open": [True, None, False, True],
    }
)
EXPECTED = np.column_stack(
    [
        [1, 2, 2, 6], [0, 0, 1, 0],  # size, with the median for the missing value, and its indicator
        [1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 0],  # kind: x, y, missing
        [1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 0],  # town: u, v, w
        [1, 0, 1, 1],
        [1, 3, 3, 4], [0, 1, 0, 0],
        [1, 1, 0, 1], [0, 1, 0, 0],
    ]
)  # fmt: skip


@pytest.mark.parametrize("table", [PANDAS, POLARS], ids=["pandas", "polars"])
def test_a_frame_is_encoded_as_numbers(table):
    np.testing.assert_array_equal(Columns.of(table).matrix(table), EXPECTED)


def test_a_polars_frame_after_fitting_on_pandas():
    np.testing.assert_array_equal(Columns.of(PANDAS).matrix(POLARS), EXPECTED)


def test_unseen_categories_and_missing_values_are_encoded():
    columns = Columns.of(PANDAS)
    new = PANDAS.assign(kind=["z", "y", "x", "x"], town=[None, "v", "t", "u"], old=[None, False, True, True])
    with (
        pytest.warns(UserWarning, match=r"`X` lacks values of 'town', 'old', and no row lacked them"),
        pytest.warns(
            UserWarning, match=r"categories that the estimator does not know, 'z' in 'kind', 't' in 'town': they"
        ),
    ):
        found = columns.matrix(new)
    np.testing.assert_array_equal(
        found[:, 2:5], [[0, 0, 1], [0, 1, 0], [1, 0, 0], [1, 0, 0]]
    )  # the unseen z counts as missing
    np.testing.assert_array_equal(found[:, 5:8], [[0, 0, 0], [0, 1, 0], [0, 0, 0], [1, 0, 0]])
    np.testing.assert_array_equal(found[:, 8], [1, 0, 1, 1])  # the median replaces missing values


def test_categories_of_ints_are_the_same_with_and_without_missing_values():
    with_gaps, whole = (pd.DataFrame({"kind": pd.Categorical(values)}) for values in ([1, 2, None], [1, 2, 2]))
    np.testing.assert_array_equal(Columns.of(with_gaps).matrix(whole), [[1, 0, 0], [0, 1, 0], [0, 1, 0]])
    with pytest.warns(UserWarning, match="lacks values of 'kind'"):
        np.testing.assert_array_equal(Columns.of(whole).matrix(with_gaps), [[1, 0], [0, 1], [0, 0]])


def test_categories_of_floats_are_those_of_equal_ints():
    """pandas makes floats from ints if a value is missing."""
    whole, with_gaps = (pd.DataFrame({"kind": pd.Series(values).astype("category")}) for values in ([1, 2], [2, None]))
    with pytest.warns(UserWarning, match="lacks values of 'kind'"):
        np.testing.assert_array_equal(Columns.of(whole).matrix(with_gaps), [[0, 1], [0, 0]])
    with pytest.warns(UserWarning, match="not know, '1' in 'kind': they"):
        np.testing.assert_array_equal(Columns.of(with_gaps).matrix(whole), [[0, 1], [1, 0]])
    versions = pd.DataFrame({"version": ["1", "1.0", "v1", "v1.0"]})
    np.testing.assert_array_equal(Columns.of(versions).matrix(versions), np.eye(4))
    with pytest.warns(UserWarning, match=r"not know, '1' in 'version', '1.0' in 'version', 'v1.0' in 'version': they"):
        np.testing.assert_array_equal(Columns.of(versions[2:3]).matrix(versions), [[0], [0], [1], [0]])


@pytest.mark.parametrize("values", [["u", "v"], [1.0, 2.0]])
def test_a_column_without_a_value_in_training_says_nothing_later(values):
    """If most values of a column are missing, all of its values may be missing in a training fold."""
    columns = Columns.of(pd.DataFrame({"a": [1.0, 2.0], "note": [None, None]}))
    np.testing.assert_array_equal(columns.matrix(pd.DataFrame({"a": [3.0, 4.0], "note": values})), [[3, 1], [4, 1]])


def test_a_category_that_was_too_rare_for_an_indicator_is_not_called_unknown():
    """A column of 60 categories has 50 indicators, and the names of the other 10 are not stored."""
    table = pd.DataFrame({"town": [f"t{i}" for i in range(60)] * 2})
    columns = Columns.of(table)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        columns.matrix(table)


@pytest.mark.parametrize("gap", [None, np.nan])
def test_new_rows_may_lack_every_category(gap):
    learned = Columns.of(pd.DataFrame({"town": ["u", None, "v"]}))
    np.testing.assert_array_equal(learned.matrix(pd.DataFrame({"town": [gap, gap]})), [[0, 0, 1]] * 2)
    np.testing.assert_array_equal(learned.matrix(pl.DataFrame({"town": [gap]})), [[0, 0, 1]])


def test_booleans_of_numpy_in_a_column_of_objects_are_numbers():
    table = pd.DataFrame({"is_open": np.array([np.True_, None, np.False_, np.True_], object)})
    np.testing.assert_array_equal(Columns.of(table).matrix(table), [[1, 0], [1, 1], [0, 0], [1, 0]])


def test_arrays_with_nan_and_lists_are_encoded():
    np.testing.assert_array_equal(Columns.of([[1, 2], [3, 4]]).matrix([[1, 2], [5, 6]]), [[1, 2], [5, 6]])
    x = np.array([[1.0, np.nan], [3.0, 4.0], [5.0, 8.0]])
    np.testing.assert_array_equal(Columns.of(x).matrix(x), [[1, 6, 1], [3, 4, 0], [5, 8, 0]])


def test_a_column_of_many_categories_keeps_the_most_frequent():
    names = [f"n{i}" for i in range(60)] + ["n59"] * 5
    table = pd.DataFrame({"a": names})
    matrix = Columns.of(table).matrix(table)
    assert matrix.shape == (65, 50)
    assert matrix.sum() == 55  # the ten rare categories have no indicator
    assert matrix[59:].sum() == 6


def test_a_column_of_mostly_rare_categories_warns():
    days = pd.DataFrame({"day": pd.date_range("2020", periods=101).strftime("%d.%m.%Y")})
    with pytest.warns(UserWarning, match="Column 'day' of `X` holds 101 .* such as '.* so 51 of 101 rows"):
        Columns.of(days)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Columns.of(days[:100])


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (
            PANDAS.assign(day=pd.date_range("2020", periods=4)),
            "durations in column 'day': give numbers, such as the days",
        ),
        (PANDAS.assign(day=[datetime.date(2020, 1, 1)] * 4), "durations in column 'day'"),
        (POLARS.with_columns(day=pl.date_range(pl.date(2020, 1, 1), pl.date(2020, 1, 4))), "durations in column 'day'"),
        (np.array([["2020-01-01"]], "M8[D]"), "`X` holds dates or durations"),
        (PANDAS.assign(size=["1", 2, 3, 4]), "both '1' and 2 in column 'size'"),
        (PANDAS.assign(size=[{}, 1, 2, 3]), "{}, a dict in column 'size'"),
        (PANDAS.assign(size=[np.zeros(2), 1, 2, 3]), "a ndarray in column 'size'"),
        (PANDAS.assign(size=[1, 2, np.inf, 3]), "inf in column 'size' at row 2"),
        (np.array([["a", "b"]]), "`X` is an array with text"),
        (pd.concat([PANDAS, PANDAS], axis=1), "2 columns named 'size'"),
        (PANDAS[:0], "0 rows and 6 columns"),
    ],
)
def test_an_invalid_table_is_refused(table, words):
    with pytest.raises(ValueError, match=words):
        Columns.of(table)


def test_a_dict_of_columns_is_refused():
    with pytest.raises(TypeError, match="`X` is a dict: give an array of numbers, or a pandas or polars frame"):
        Columns.of(PANDAS.to_dict("list"))


def test_a_column_that_changes_its_kind_is_refused():
    columns = Columns.of(PANDAS)
    with pytest.raises(ValueError, match="text in column 'size', which had numbers when the estimator was fitted"):
        columns.matrix(PANDAS.assign(size=["a", "b", "c", "d"]))
    with pytest.raises(ValueError, match="numbers in column 'town', which had text"):
        columns.matrix(PANDAS.assign(town=[1, 2, 3, 4]))
