"""The likelihood experiment: its maxima, a ranking of families, its run folder, and its errors."""

import json
import math
import sys

import pytest

from experiments import common, likelihood

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:sklearn", "ignore::DeprecationWarning:matplotlib")


@pytest.mark.thorough
def test_the_likelihood_experiment_reports_maxima_and_ranks_families(tmp_path, capsys):
    metrics = likelihood.main(["--out", str(tmp_path / "run")])
    assert metrics["bernoulli"]["probs"] == pytest.approx(0.2, rel=1e-12)
    assert metrics["normal"]["loc"] == pytest.approx(0, abs=1e-12)
    assert metrics["normal"]["scale"] == pytest.approx(math.sqrt(2 / 3), rel=1e-12)
    assert next(iter(metrics["families"])) == "InverseGamma"  # as in the docstring of the experiment
    assert metrics["families"].keys() == set(likelihood.FAMILIES)
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        *("likelihood.png", "fit.png", "profiles.png"),
        *("config.json", "metrics.json"),
    }
    assert json.loads((tmp_path / "run" / "metrics.json").read_text()) == metrics
    assert "InverseGamma" in capsys.readouterr().out


def test_rows_without_a_number_are_dropped_and_counted(tmp_path, capsys):
    (tmp_path / "sample.csv").write_text("name,size\na,1.5\nb,\nc,NA\nd\ne,nan\nf,4\n")
    arguments = ["--data", str(tmp_path / "sample.csv"), "--column", "size", "--families", "Exponential"]
    metrics = likelihood.main([*arguments, "--out", str(tmp_path / "run")])
    assert metrics["families"]["Exponential"]["rate"] == pytest.approx(2 / 5.5, rel=1e-12)
    assert "size, n = 2; 4 rows without a number are left out" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("column", "families", "message"),
    [
        ("weight", ["Normal"], "no column 'weight'; its columns are name, size, none, much, twice, twice"),
        ("name", ["Normal"], "row 1, column 'name': 'a' is not a number"),
        ("none", ["Normal"], "no number in column 'none', which has 3 rows"),
        ("much", ["Normal"], "1 NaN or infinite values"),
        ("twice", ["Normal"], "2 columns 'twice': give them different names"),
        ("size", ["Normal", "Poisson"], "mixes discrete families"),
        ("size", ["Nrmal"], "Close to it: .*Normal"),
        ("size", ["Beta"], "Beta: `y` holds 2.5, which Beta cannot have"),
    ],
)
def test_an_error_is_one_line_and_leaves_no_folder(tmp_path, column, families, message):
    (tmp_path / "sample.csv").write_text("name,size,none,much,twice,twice\na,0.5,,1,1,2\nb,2.5,,inf,1,2\nc,4,,2,1,2\n")
    arguments = ["--data", str(tmp_path / "sample.csv"), "--column", column, "--families", *families]
    with pytest.raises(ValueError, match=message):
        likelihood.main([*arguments, "--out", str(tmp_path / "run")])
    assert not (tmp_path / "run").exists()


def test_a_file_needs_a_column_and_a_column_a_file(tmp_path):
    for arguments in (["--column", "size"], ["--data", "sample.csv"]):
        with pytest.raises(ValueError, match="--data and --column go together"):
            likelihood.main([*arguments, "--out", str(tmp_path / "run")])


def test_an_endless_file_is_refused():
    with pytest.raises(ValueError, match="--data /dev/zero is not a file"):
        likelihood.read_sample("/dev/zero", "size")


def test_a_missing_file_is_one_line_on_the_command_line(tmp_path, monkeypatch, capsys):
    flags = ["--data", "nowhere.csv", "--column", "size", "--out", str(tmp_path / "run")]
    monkeypatch.setattr(sys, "argv", ["likelihood", *flags])
    with pytest.raises(SystemExit) as exit:
        common.run(likelihood.main)
    assert exit.value.code == 2
    errors = capsys.readouterr().err
    assert "Traceback" not in errors
    assert "nowhere.csv" in errors.splitlines()[-1]
