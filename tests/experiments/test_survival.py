"""The experiment on survival, with fewer rows held out."""

import json

from experiments import survival


def test_a_short_run(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(survival, "FAMILIES", ("Exponential", "LogNormal"))
    out = tmp_path / "run"
    metrics = survival.main(["--out", str(out), "--folds", "2"])
    assert json.loads((out / "metrics.json").read_text())["best"] == metrics["best"] == "LogNormal"
    assert metrics["median_of_deaths_alone"] < 0.7 * metrics["median"]
    assert metrics["log_likelihood_gained_by_age"] > 0
    assert metrics["median_by_age"][35] > metrics["median_by_age"][55]
    assert (out / "survival.png").stat().st_size > 10_000
    assert "p = " in capsys.readouterr().out
