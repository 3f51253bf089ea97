"""A short run of the experiment on overconfident networks."""

import json

import numpy as np
import pytest
from sklearn import datasets

from experiments import overconfidence
from tests.experiments.samples import Marginal


@pytest.mark.thorough
def test_a_short_run_of_the_overconfidence_experiment(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(overconfidence, "DistributionRegressor", Marginal)  # the regressor has its own tests
    monkeypatch.setattr(overconfidence, "MEMBERS", 2)
    monkeypatch.setattr(overconfidence, "FACTORS", np.array([0.7, 1.0, 4.0]))
    x, y = datasets.load_diabetes(return_X_y=True)
    few = x[:178], y[:178]  # full batches only, because a partial batch needs another trace
    monkeypatch.setattr(datasets, "load_diabetes", lambda **_: few)
    out = tmp_path / "run"
    metrics = overconfidence.main(["--out", str(out), "--epochs", "2", "--splits", "1"])
    assert json.loads((out / "metrics.json").read_text()) == metrics
    assert metrics["marginal"]["rmse"] < 1.5  # in standard deviations of the target
    assert metrics["NLL"]["lowest_nll_of_an_epoch"] <= metrics["NLL"]["nll"] + 1e-5
    assert metrics["DistributionRegressor"]["nll"] == metrics["marginal"]["nll"]
    factor = metrics["2 by NLL, scales x factor"]["factor"]
    ratio = metrics["2 by NLL, scales x factor"]["rmse"] / metrics["2 by NLL"]["rmse"]
    np.testing.assert_allclose(ratio, 1, rtol=1e-5)  # a factor of the scale does not change the mean
    assert factor in (0.7, 1.0, 4.0)
    assert (out / "test_nll.png").stat().st_size > 10_000
    assert "2 by NLL, scales x factor" in capsys.readouterr().out
