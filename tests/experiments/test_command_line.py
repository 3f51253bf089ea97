"""Errors on the command line: one line on standard error and exit status 2."""

import contextlib
import math
import os
import pathlib
import subprocess
import sys
import types

import numpy as np
import pytest

from experiments import binary, common


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--seed", "-1"], "error: --seed is -1: give at least 0."),
        (["--seed", "4294967296"], "error: --seed is 4294967296: give at most 2147483648."),
        (["--epochs", "0"], "error: --epochs is 0: give at least 1."),
        (["--epoch", "3"], "error: unrecognized arguments: --epoch 3"),
        (["--out", "/dev/null/run"], "Not a directory: '/dev/null/run/unfinished'"),  # refused before the training
    ],
)
def test_an_error_is_one_line_and_status_2(flags, text, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["binary", *flags])
    with pytest.raises(SystemExit) as exit:
        common.run(binary.main)
    assert exit.value.code == 2
    assert capsys.readouterr().err.strip().splitlines()[-1].endswith(text)


@pytest.mark.parametrize(
    ("given", "text"),
    [(math.nan, "--weight is nan: give at least 0"), ([5, 0], r"--weight is \[5, 0\]: give at least 1")],
)
def test_nan_and_each_number_of_a_list_are_checked(given, text):
    with pytest.raises(ValueError, match=text):
        common.checked(types.SimpleNamespace(seed=0, weight=given), weight=1 if isinstance(given, list) else 0)


def arguments(out=None, name="binary", seed=0):
    return types.SimpleNamespace(out=out, name=name, seed=seed)


def test_two_runs_that_start_in_the_same_second_have_two_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with contextlib.ExitStack() as stack:
        folders = {stack.enter_context(common.run_folder(arguments(seed=seed))) for seed in range(5)}
    assert len(folders) == 5


def test_the_folder_of_another_experiment_is_refused(tmp_path):
    with pytest.raises(KeyboardInterrupt), common.run_folder(arguments(tmp_path)):
        raise KeyboardInterrupt
    with pytest.raises(ValueError, match=r"holds an unfinished run of binary: give a new folder\."):
        common.run_folder(arguments(tmp_path, "vae", seed=1)).__enter__()


def test_the_largest_difference_is_nan_if_one_is_nan():
    ones = [np.ones(2), np.ones(2)]
    assert common.largest_difference(ones, [np.zeros(2), np.array([1.0, -2.0])]) == 3.0
    assert math.isnan(common.largest_difference(ones, [np.ones(2), np.array([1.0, np.nan])]))


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("import os; os.kill(os.getpid(), 9)", "ended by SIGKILL"),
        ("raise SystemExit(3)", "exit status 3"),
        ("raise ValueError('few rows')", "ValueError: few rows"),
    ],
)
def test_a_process_that_fails_says_why(code, text):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert common.failure(done) == text


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
    (tmp_path / "nllfit.py").write_text(  # a module that swallows the exception of Ctrl-C
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
