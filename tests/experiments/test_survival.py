"""A short run of the survival experiment, with fewer families and folds. The test supplies the result of one fold."""

import json

import numpy as np
import pytest

import nllfit
from experiments import common, survival


@pytest.mark.thorough
def test_a_short_run_of_the_survival_experiment(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(survival, "FAMILIES", ("Exponential", "LogNormal"))
    out = tmp_path / "run"
    (out / "unfinished").mkdir(parents=True)
    (out / "unfinished" / "fold-1.json").write_text('{"without age": 2000.0, "with age": 2000.0}')
    metrics = survival.main(["--out", str(out), "--folds", "2"])
    # `nll` is the mean over 69 rows. The sum over the rows of the supplied fold is 2000.
    for name, nll in metrics["held_out_nll"].items():
        assert 4 < (69 * nll - 2000) / 35 < 8, name  # nats per row of the fold that this run computed
    assert json.loads((out / "metrics.json").read_text())["best"] == metrics["best"] == "LogNormal"
    assert metrics["median_of_deaths_alone"] < 0.7 * metrics["median"]
    assert metrics["log_likelihood_gained_by_age"] > 0
    assert metrics["median_by_age"][35] > metrics["median_by_age"][55]
    assert (out / "survival.png").stat().st_size > 10_000
    assert "p = " in capsys.readouterr().out


@pytest.mark.thorough
def test_one_row_can_be_held_out():
    rng = np.random.default_rng(0)
    x, time = rng.normal(size=[20, 1]), rng.exponential(size=20)
    y, test = nllfit.right_censored(time, np.arange(20) % 3 > 0), np.array([4])
    model = survival.regression(common.toolkit("2"), "Exponential", 1)
    found = survival.held_out_losses(model, "Exponential", x, y, np.delete(np.arange(20), test), test)
    rate = 1 / np.ravel(model(x[test]))[0]
    assert found["with age"] == pytest.approx(rate * time[4] - np.log(rate), rel=1e-9)
