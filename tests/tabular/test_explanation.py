"""Explanations of a model with three columns: one changes the mean, one the spread, and one nothing."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from nllfit.tabular import DistributionRegressor, Network, explain

pytestmark = pytest.mark.thorough  # all tests of this module share one model, whose training takes seconds

RNG = np.random.default_rng(0)
TABLE = pd.DataFrame(
    {"mean": RNG.normal(size=300), "spread": RNG.choice(["calm", "wild"], 300), "none": RNG.normal(size=300)}
)
Y = 3 * TABLE["mean"] + np.where(TABLE["spread"] == "wild", 2.0, 0.2) * RNG.normal(size=300)
Y, TABLE.loc[0, "mean"] = Y.to_numpy(), np.nan


@pytest.fixture(scope="module")
def explanation():
    model = DistributionRegressor(network=Network((20,)), num_members=1, max_epochs=60, random_state=0).fit(TABLE, Y)
    return explain(model, TABLE, Y, num_repeats=2, num_points=5, random_state=0)


def test_importances_include_the_spread(explanation):
    importances = explanation.importances
    assert importances["mean"] > importances["spread"] > 0.1 > abs(importances["none"])
    assert explanation.importance_stds.keys() == importances.keys()


def test_quantiles_depend_on_the_columns_of_mean_and_spread(explanation):
    values, quantiles = explanation.dependence["mean"]
    assert quantiles.shape == (3, 5)
    slope = np.diff(quantiles[1]) / np.diff(values)
    np.testing.assert_allclose(slope, 3, atol=1)
    kinds, quantiles = explanation.dependence["spread"]
    assert list(kinds) == ["calm", "wild"]
    calm, wild = quantiles[2] - quantiles[0]
    assert wild > 2 * calm


WHOLE = np.stack([np.arange(40) % 7, np.arange(40) // 8], axis=1)
NULLABLE = pd.DataFrame(
    {
        "whole": pd.array([None, *WHOLE[1:, 0]], dtype="Int64"),
        "flag": pd.array([None, *(WHOLE[1:, 1] > 2)], dtype="boolean"),
        "text": pd.array([None, *np.where(WHOLE[1:, 1] > 2, "u", "v")], dtype="string"),
    }
)


@pytest.mark.parametrize("table", [WHOLE, pd.DataFrame(WHOLE), NULLABLE], ids=["array", "frame", "nullable"])
def test_columns_of_ints_and_nullable_columns_have_a_dependence(table, rng):
    """The dependence at a value is the mean prediction after the column is set to this value in all rows."""
    y = WHOLE[:, 0] + 0.1 * rng.normal(size=40)
    model = DistributionRegressor("Normal", network=Network((4,)), num_members=1, max_epochs=9, random_state=0)
    explanation = explain(model.fit(table, y), table, y, quantiles=[0.5], num_repeats=1, num_points=5, random_state=0)
    frame, (values, means) = pd.DataFrame(table), next(iter(explanation.dependence.values()))
    frame = frame[frame.iloc[:, 0].notna()]
    np.testing.assert_allclose(values, [0, 1.5, 3, 4.5, 6])
    for value, mean in zip(values, means[0], strict=True):
        frame.isetitem(0, np.full(len(frame), value))
        assert mean == pytest.approx(model.predict_quantile(frame, 0.5).mean(), rel=1e-6)
    if table is NULLABLE:
        assert list(explanation.dependence["flag"][0]) == [0, 1]
        assert list(explanation.dependence["text"][0]) == ["u", "v"]


def test_columns_of_any_scale_have_a_dependence(rng):
    """One column has 96% zeros, one has seconds since 1970, one has tiny numbers, and one has only missing values."""
    zeros = np.where(np.arange(300) < 288, 0, np.arange(300) - 288)
    seconds, tiny = 1.7e9 + 1e3 * rng.normal(size=300), 1e-9 * np.arange(300)
    table = np.stack([zeros, seconds, tiny, np.full(300, np.nan)], axis=1)
    model = DistributionRegressor("Normal", network=Network((4,)), num_members=1, max_epochs=1, random_state=0)
    explanation = explain(model.fit(table, zeros), table, zeros, num_repeats=1, num_points=3, random_state=0)
    values, means = zip(*explanation.dependence.values(), strict=True)
    np.testing.assert_array_equal(values[0], [0, 5.5, 11])
    np.testing.assert_allclose(values[1][[0, 2]], np.quantile(seconds, [0.05, 0.95]), rtol=1e-15)
    np.testing.assert_allclose(values[2], 1e-9 * np.array([14.95, 149.5, 284.05]), rtol=1e-12)
    assert [mean.shape for mean in means] == [(3, 3), (3, 3), (3, 3), (3, 0)]


def test_figures_of_an_explanation_show_its_numbers(explanation):
    ax = Figure().add_subplot()
    assert explanation.plot_importances(ax) is ax
    assert [label.get_text() for label in ax.get_yticklabels()][-1] == "mean"
    ax = explanation.plot_dependence(Figure().add_subplot(), "mean")
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), explanation.dependence["mean"][1][1])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("mean", "mean quantile of the outcome")
    assert [line.get_label() for line in ax.lines] == ["5% quantile", "50% quantile", "95% quantile"]
    with pytest.raises(ValueError, match="`column` is 'age': give one of mean, spread, none"):
        explanation.plot_dependence(ax, "age")
