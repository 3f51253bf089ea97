"""The benchmark `peers`: scores of a known prediction, tables that it reads, and unknown names."""

import json

import numpy as np
import pytest
from scipy import stats

from experiments.benchmarks import peers

RNG = np.random.default_rng(0)


def marginal(x, y, seed):
    """A stand-in for another package: it ignores the inputs."""
    del x, seed
    loc, scale = y.mean(), y.std()
    return lambda x: peers.normal(np.full(len(x), loc), np.full(len(x), scale))


def test_scores_of_a_normal_match_the_formulas():
    """The CRPS matches the formula (Gneiting and Raftery, 2007). A CRPS computed from 99 quantiles is close to it."""
    y = RNG.normal(5.0, 2.0, 4000)
    found = peers.scored(marginal, y[:, None], y, np.arange(2000), np.arange(2000, 4000), 0)
    z = (y[2000:] - y[:2000].mean()) / y[:2000].std()
    crps = y[:2000].std() * (z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - np.pi**-0.5)
    assert found["crps"] == pytest.approx(crps.mean(), rel=0.02)
    assert found["nll"] == pytest.approx(-stats.norm(y[:2000].mean(), y[:2000].std()).logpdf(y[2000:]).mean())
    assert found["pinball_50"] == pytest.approx(np.abs(y[2000:] - y[:2000].mean()).mean() / 2)
    assert found["coverage_90"] == pytest.approx(0.9, abs=0.02)


def test_quantiles_are_interpolated_on_the_scale_of_a_normal():
    models = [type("Model", (), {"predict": lambda self, x, q=q: stats.norm.ppf(q, x, 2.0)})() for q in peers.FEW]
    found = peers.between(models, np.array([0.0, 7.0])).quantiles
    np.testing.assert_allclose(found[1, 1:98], stats.norm.ppf(peers.LEVELS[1:98], 7.0, 2.0))


def test_a_run_writes_a_table_for_every_peer(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "shops.csv").write_text("size,town,sales\n" + "1.5,x,3\n,y,4\n2.5,,\n3.5,x,7\n" * 10)
    monkeypatch.setattr(peers, "PEERS", {"one": (marginal, "numpy"), "absent": (marginal, "no_such_module")})
    arguments = ["--data", str(folder), "--only", "shops", "--splits", "2", "--out", str(tmp_path / "run")]
    metrics = peers.main(arguments)
    assert json.loads((tmp_path / "run" / "metrics.json").read_text()) == metrics
    assert list(metrics["shops"]) == ["one"]
    assert set(metrics["shops"]["one"]) == set(peers.SCORES)
    assert "shops" in capsys.readouterr().out
    x, y = peers.read_tables(folder)["shops"]
    assert (x.shape, y.shape) == ((30, 4), (30,))  # size, its indicator, two towns; rows without an outcome are dropped
    with pytest.raises(ValueError, match=r"--data \S+ is not a folder: give a folder"):
        peers.read_tables(folder / "none")
    with pytest.raises(ValueError, match="--peers names two: choose among one, absent"):
        peers.main([*arguments, "--peers", "two"])
