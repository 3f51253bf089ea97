"""The equivalence experiment: twins stay together, and would not with another factor."""

import dataclasses

import pytest

from experiments import equivalence
from tests.experiments.samples import files

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:sklearn", "ignore::DeprecationWarning:matplotlib")


# Twins of Keras 3 stay together in `tests/test_keras3.py`, under `--thorough`, too.
@pytest.mark.parametrize("keras", ["2", pytest.param("3", marks=pytest.mark.thorough)])
def test_twins_stay_together(tmp_path, keras):
    metrics = equivalence.main(["--keras", keras, "--out", str(tmp_path / "run")])
    assert len(metrics) == 4
    for row in metrics.values():
        assert row["loss_difference"] <= 1e-12
        assert row["gradient_difference"] <= 1e-12
        assert row["weight_difference"] <= 1e-9
    assert files(tmp_path / "run") == {"config.json", "metrics.json"}


def test_twins_with_another_factor_do_not(tmp_path, monkeypatch):
    wrong = [dataclasses.replace(row, scale=lambda size, s: 2 + 1e-6) for row in equivalence.EQUIVALENCES]
    monkeypatch.setattr(equivalence, "EQUIVALENCES", wrong)
    row = equivalence.main(["--out", str(tmp_path / "run"), "--epochs", "2"])["MeanSquaredError()"]
    assert row["loss_difference"] > 1e-12
    assert row["gradient_difference"] > 1e-12
    assert row["weight_difference"] > 1e-9
