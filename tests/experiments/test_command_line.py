"""Errors on the command line: one line on standard error and exit status 2."""

import os
import pathlib
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
        (["--out", "/dev/null/run"], "Not a directory: '/dev/null/run/unfinished'"),  # found before the training
    ],
)
def test_an_error_is_one_line_and_status_2(flags, text, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["binary", *flags])
    with pytest.raises(SystemExit) as exit:
        common.run(binary.main)
    assert exit.value.code == 2
    assert capsys.readouterr().err.strip().splitlines()[-1].endswith(text)


def test_an_error_that_quotes_a_file_is_one_line(capsys):
    def main():
        raise ValueError("no column 'a\nb'\x1b[31m, \udcff")

    with pytest.raises(SystemExit):
        common.run(main)
    assert capsys.readouterr().err == "error: no column 'a b'\\x1b[31m, \\udcff\n"


def test_a_closed_output_pipe_ends_the_program_silently(capfd, monkeypatch):
    end, start = os.pipe()
    os.close(end)
    monkeypatch.setattr(sys, "stdout", os.fdopen(start, "w"))
    with pytest.raises(SystemExit) as exit:
        common.run(lambda: print("a table"))
    sys.stdout.close()
    assert exit.value.code == 141
    assert capfd.readouterr().err == ""


def test_an_interrupted_import_is_one_line_and_status_130(tmp_path):
    (tmp_path / "experiments").symlink_to(pathlib.Path(binary.__file__).parent)
    (tmp_path / "nllfit.py").write_text(  # an exception here could be swallowed by an import
        "import os, signal, time\n"
        "try:\n"
        "    os.kill(os.getpid(), signal.SIGINT); time.sleep(10)\n"
        "except BaseException:\n"
        "    pass\n"
    )
    command = [sys.executable, "-m", "experiments.binary"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (130, "")
    assert result.stderr == "interrupted\n"


@pytest.mark.thorough
def test_the_command_line_prints_no_log_lines():
    command = [sys.executable, "-m", "experiments.binary", "--data", "nowhere"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "error: --data nowhere does not exist.\n"
