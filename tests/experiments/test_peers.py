"""Tests the benchmark `peers`: scores of a known prediction, the files that `peers` reads, and wrong arguments."""

import json

import numpy as np
import pytest
from scipy import stats

from experiments.benchmarks import peers


def marginal(x, y, seed):
    """A stand-in for another package: it ignores the inputs."""
    del x, seed
    loc, scale = y.mean(), y.std()
    return lambda x: peers.normal(np.full(len(x), loc), np.full(len(x), scale))


def test_scores_of_a_normal_match_the_formulas(rng):
    """The reference CRPS is a formula (Gneiting and Raftery, 2007). `peers` computes the CRPS from 99 quantiles."""
    y = rng.normal(5.0, 2.0, 4000)
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
    # The columns are the size, an indicator of a missing size, and an indicator of each of the two towns. The ten rows
    # without an outcome are dropped.
    assert (x.shape, y.shape) == ((30, 4), (30,))
    with pytest.raises(ValueError, match=r"--data \S+ is not a folder: give a folder"):
        peers.read_tables(folder / "none")
    with pytest.raises(ValueError, match="--peers names two: choose among one, absent"):
        peers.main([*arguments, "--peers", "two"])
    with pytest.raises(ValueError, match="--peers names absent: install the package of the module no_such_module"):
        peers.main([*arguments, "--peers", "absent"])


LINES = "1.5,3\n2.5,4\n" * 15


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"size,town\n1,\xe4\n", "is not a table in UTF-8 with a header, commas and a numeric last column: 'utf-8'"),
        (b"size;town\n" + LINES.replace(",", ";").encode(), "could not convert string to float: '1.5;3'"),
        (b"size,town\n" + LINES.replace("4", "y").encode(), "could not convert string to float: 'y'"),
        (b"size,town\n1,2\n1,2,3\n", "Expected 2 fields in line 3, saw 3"),
        (b"", "No columns to parse from file"),
        (b"size,town\n1,2\n", "has 1 rows with a target: give at least 20"),
        (b"size,town\n" + b"1,\n" * 40, "has 0 rows with a target: give at least 20"),
        (b"size\n" + b"1\n2\n" * 15, "has one column"),
        (b"size,town\n" + LINES.replace("4", "inf").encode(), "the last column, is infinite"),
        (b"size,town\n" + LINES.replace("4", "3").encode(), "is 3.0 in every row"),
        (b"size,town\n" + LINES.replace("2.5", "inf").encode(), r"shops\.csv: .*inf"),
    ],
)
def test_a_table_that_cannot_be_used_is_named(tmp_path, content, text):
    (tmp_path / "shops.csv").write_bytes(content)
    with pytest.raises(ValueError, match=text) as error:
        peers.read_tables(tmp_path)
    assert str(error.value).startswith(str(tmp_path / "shops.csv"))


@pytest.mark.parametrize("names", [["fair.csv"], ["diabetes.txt"], ["shops.csv", "shops.txt"]])
def test_two_tables_of_one_name_are_refused(tmp_path, names):
    for name in names:
        (tmp_path / name).write_text("size,town\n" * (name == names[0] != "diabetes.txt") + LINES)
    name = names[-1]
    with pytest.raises(ValueError, match=rf"holds {name}, but {name[:-4]} is another table: rename the file"):
        peers.read_tables(tmp_path)


def test_a_csv_file_of_windows_is_read(tmp_path):
    (tmp_path / "shops.csv").write_bytes(b"\xef\xbb\xbf" + ("size,town\n" + LINES).replace("\n", "\r\n").encode())
    x, y = peers.read_tables(tmp_path)["shops"]
    np.testing.assert_array_equal(x[:2, 0], [1.5, 2.5])
    np.testing.assert_array_equal(y[:2], [3.0, 4.0])
