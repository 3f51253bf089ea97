"""The benchmark `serving`: a served model gives the answers of the original model, and a wrong answer is noticed."""

import numpy as np
import pytest

from experiments.benchmarks import serving

# TensorFlow Lite lacks an operation that the means of these heads need.
NOT_IN_LITE = {"Hurdle", "MultivariateNormalTriL", "Truncated"}


# The next test exports these heads, each with one Keras version, because both versions export the same TensorFlow
# operations. It leaves out heads that are similar to one of these heads. The quantiles of Laplace and LogNormal have
# formulas, like those of Normal. OneHotCategorical is like Categorical. The quantiles of Gamma, NegativeBinomial,
# Poisson and StudentT are computed in the same way as the quantiles of ZeroInflated("Poisson") and Beta.
SERVED = {
    "2": ["Bernoulli", "Censored", "Hurdle", "MultivariateNormalTriL", "Normal", "ZeroInflated"],
    "3": ["Beta", "Categorical", "Mixture", "Truncated"],
}


@pytest.mark.thorough
@pytest.mark.parametrize(("keras", "heads"), SERVED.items(), ids=["tf_keras", "keras"])
def test_a_served_head_answers_as_its_model_where_nllfit_is_not_installed(keras, heads, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(serving, "ROWS", 20)
    table = serving.main(["--heads", *heads, "--keras", keras, "--out", str(tmp_path / "run")])
    assert list(table) == heads
    for name, row in table.items():
        assert row["SavedModel"] < 1e-5, name
        assert row[".keras"] == 0, name
        assert row["lite"] == "ConverterError" if name in NOT_IN_LITE else row["lite"] < 1e-5, name
        assert row["serve_20"] > 0, name
    shown = capsys.readouterr().out
    assert all(name in shown for name in heads)


def test_a_wrong_answer_is_seen():
    expected = {"mean": np.array([1.0, 4.0])}
    assert serving.difference({"mean": [1.0, 3.0]}, expected) == 0.25


def test_answers_that_are_not_finite_are_compared():
    expected = {"mean": np.array([1.0, 4.0]), "high": np.array([2.0, np.inf])}
    assert serving.difference({"mean": [1.0, 4.0], "high": [1.0, np.inf]}, expected) == 0.5
    assert serving.difference({"mean": [1.0, 4.0], "high": [2.0, 9.0]}, expected) == np.inf
    assert np.isnan(serving.difference({"mean": [1.0, 4.0], "high": [np.nan, np.inf]}, expected))
