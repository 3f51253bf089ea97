"""The benchmark `uci`: its tables, its published splits, and resuming an interrupted run."""

import json

import numpy as np
import pytest
from tensorflow_probability import distributions as tfd

from experiments import uci_tables
from experiments.benchmarks import uci
from tests.experiments.samples import Marginal
from tests.files import data_file

RNG = np.random.default_rng(0)
X = RNG.normal(size=[60, 2])
TABLE = np.hstack([X, X @ [[1.0], [-2.0]] + 0.1 * RNG.normal(size=[60, 1])])


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "data"
    path.mkdir()
    np.savetxt(path / "line.txt", TABLE)
    (path / "published.json").write_text(json.dumps({"test_nll": {"line": {"A": 0.5, "B": -0.2}}}))
    return path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1 2 3\n1 2\n", "line 2: 2 columns, and line 1 has 3"),
        ("1 2 x\n", "line 1: could not convert string to float: 'x'"),
        ("1 2 3\n\n1 nan 3\n", "line 3: a number is not finite"),
        ("1 2 3\n", "has 1 rows"),
        ("", "has 0 rows"),
        ("1\n" * 30, "one column"),
        ("1 2\n2 2\n" * 30, "is 2.0 in every row"),
    ],
)
def test_a_malformed_table_is_refused(tmp_path, text, words):
    (tmp_path / "bad.txt").write_text(text)
    with pytest.raises(ValueError, match=r"bad\.txt") as error:
        uci_tables.read_folder(tmp_path)
    assert words in str(error.value)


def test_a_folder_without_tables_and_an_unknown_name_are_refused(tmp_path, folder):
    with pytest.raises(ValueError, match=r"holds no NAME\.txt"):
        uci_tables.read_folder(tmp_path)
    with pytest.raises(ValueError, match=r"--only names b: --data .* holds line"):
        uci_tables.read_folder(folder, ["b"])


@pytest.mark.parametrize("content", ["numbers", "[1]", '{"test_nll": [1]}', '{"test_nll": {"line": {"A": "low"}}}'])
def test_published_scores_of_another_form_are_refused(folder, content):
    (folder / "published.json").write_text(content)
    with pytest.raises(ValueError, match=r"published\.json is not JSON such as"):
        uci.main(["--data", str(folder)])


@pytest.mark.parametrize("start", ["", "\ufeff"])  # Windows writes a byte order mark
def test_a_table_with_commas_and_comments_is_read(tmp_path, start):
    (tmp_path / "t.txt").write_text(start + "# a, b, target\n" + "1, 2, 3\n4,5,6\n" * 10, encoding="utf-8")
    x, y = uci_tables.read_table(tmp_path / "t.txt")
    np.testing.assert_array_equal(x[:2], [[1, 2], [4, 5]])
    np.testing.assert_array_equal(y[:2], [[3], [6]])


def test_the_splits_match_the_published_ones():
    """On each of our splits, least squares has the same errors as on the published files of that split."""
    oracle = json.loads(data_file("uci/linear_gaussian_oracle.json").read_text())
    x, y = uci_tables.read_table(data_file("uci/energy.txt"))
    rows = list(uci_tables.splits(len(x)))
    assert len(rows) == 20
    for (train, test), (rmse, nll, *_) in zip(rows, oracle["per_split"]["energy"], strict=True):
        columns = np.hstack([x, np.ones_like(y)])
        weights, *_ = np.linalg.lstsq(columns[train], y[train], rcond=None)
        variance = np.mean((columns[train] @ weights - y[train]) ** 2)
        squares = (columns[test] @ weights - y[test]) ** 2
        assert np.sqrt(squares.mean()) == pytest.approx(rmse, rel=1e-6)
        assert np.mean(squares / variance + np.log(2 * np.pi * variance)) / 2 == pytest.approx(nll, rel=1e-6)
    assert len(list(uci_tables.splits(40_001))) == 5


def test_a_run_reports_its_numbers(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(uci, "DistributionRegressor", Marginal)
    out = tmp_path / "run"
    arguments = ["--data", str(folder), "--out", str(out), "--splits", "3"]
    metrics = uci.main(arguments)
    assert json.loads((out / "metrics.json").read_text()) == metrics
    y = TABLE[:, -1]
    nll = [
        -np.mean(tfd.Normal(y[train].mean(), y[train].std()).log_prob(y[test]))
        for train, test in uci_tables.splits(60, 3)
    ]
    assert metrics["line"]["nll"] == pytest.approx(np.mean(nll), rel=1e-6)
    assert metrics["line"]["nll_se"] == pytest.approx(np.std(nll, ddof=1) / np.sqrt(3), rel=1e-6)
    assert metrics["line"]["num_splits"] == metrics["line"]["free"]["num_splits"] == 3
    assert (out / "nll.png").stat().st_size > 5000
    assert "-0.2 (B)" in capsys.readouterr().out


def test_an_interrupted_run_is_resumed(folder, tmp_path, monkeypatch, capsys):
    calls, fit_split = [], uci.fit_split

    def interrupted(*given):
        calls.append(given)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return fit_split(*given)

    monkeypatch.setattr(uci, "DistributionRegressor", Marginal)
    monkeypatch.setattr(uci, "fit_split", interrupted)
    arguments = ["--data", str(folder), "--out", str(tmp_path / "run"), "--splits", "3"]
    with pytest.raises(KeyboardInterrupt):
        uci.main(arguments)
    assert "resumes this run" in capsys.readouterr().err
    with pytest.raises(ValueError, match="holds an unfinished run with --seed 0, not 1"):
        uci.main([*arguments, "--seed", "1"])
    metrics = uci.main(arguments)
    assert len(calls) == 4
    assert metrics["line"]["num_splits"] == 3
