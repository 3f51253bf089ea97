"""A fault from the command line is one line on standard error and status 2."""

import subprocess
import sys

import pytest

from experiments import binary, common


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--seed", "-1"], "error: --seed is -1: give at least 0."),
        (["--epochs", "0"], "error: --epochs is 0: give at least 1."),
        (["--epoch", "3"], "error: unrecognized arguments: --epoch 3"),
    ],
)
def test_a_fault_is_one_line_and_status_2(flags, text, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["binary", *flags])
    with pytest.raises(SystemExit) as exit:
        common.run(binary.main)
    assert exit.value.code == 2
    assert capsys.readouterr().err.strip().splitlines()[-1].endswith(text)


def test_the_command_line_prints_its_own_lines_only():
    command = [sys.executable, "-m", "experiments.binary", "--data", "nowhere"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "error: --data nowhere does not exist.\n"
