"""The benchmark `serving`: a served model gives the answers of the original model, and a wrong answer is noticed."""

import numpy as np
import pytest

from experiments.benchmarks import serving


@pytest.mark.thorough
@pytest.mark.parametrize("keras", ["2", "3"])
def test_a_served_head_answers_as_its_model_where_nllfit_is_not_installed(keras, tmp_path, capsys):
    table = serving.main(["--heads", "Gamma", "--keras", keras, "--out", str(tmp_path / "run")])
    row = table["Gamma"]
    assert row["SavedModel"] < 1e-5
    assert row[".keras"] == 0
    assert row["serve_1000"] > 0
    assert "Gamma" in capsys.readouterr().out


def test_a_wrong_answer_is_seen():
    expected = {"mean": np.array([1.0, 4.0])}
    assert serving.difference({"mean": [1.0, 3.0]}, expected) == 0.25
