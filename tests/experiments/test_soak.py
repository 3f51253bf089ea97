"""The soak benchmark compares the weights of training runs with the weights of reference runs.

It also measures the memory, the open files and the threads of the process.
"""

import itertools
import types

import numpy as np
import pytest

import nllfit
from experiments.benchmarks import soak


def test_a_job_follows_from_its_seed():
    assert soak.Job.drawn(2, 5) == soak.Job.drawn(2, 5) != soak.Job.drawn(2, 6)


@pytest.mark.thorough
@pytest.mark.parametrize("trial", ["resumed", "keras", "stopped", "threads"])
def test_a_trial_finds_no_difference(trial):
    shop = soak.Workshop(soak.Job.drawn(3, list(soak.TRIALS).index(trial)))
    assert soak.TRIALS[trial](shop) < soak.TOLERANCE


@pytest.mark.thorough  # the next test is never left out, and also needs a difference
def test_a_trial_finds_a_difference(monkeypatch):
    shop = soak.Workshop(soak.Job.drawn(3, 0))
    monkeypatch.setattr(nllfit, "fit", lambda *args, **kwargs: None)
    assert soak.against_keras(shop) > soak.TOLERANCE


def test_an_interrupted_run_continues_with_the_next_round(tmp_path, monkeypatch):
    found = iter([1e-7, KeyboardInterrupt(), np.nan, 2e-7])

    def trial(job):
        value = next(found)
        if isinstance(value, KeyboardInterrupt):
            raise value
        return value

    minutes = itertools.count()
    monkeypatch.setattr(soak, "time", types.SimpleNamespace(monotonic=lambda: 60 * next(minutes)))
    monkeypatch.setattr(soak, "Workshop", lambda job: job)
    monkeypatch.setattr(soak, "TRIALS", dict.fromkeys(soak.TRIALS, trial))
    arguments = ["--seed", "4", "--minutes", "1", "--out", str(tmp_path / "run")]
    with pytest.raises(KeyboardInterrupt):
        soak.main(arguments)
    metrics = soak.main(arguments)
    assert metrics["rounds"] == {"keras": 1, "stopped": 1, "resumed": 1}
    assert metrics["worst"] == pytest.approx({"keras": 1e-7, "stopped": np.nan, "resumed": 2e-7}, nan_ok=True)
    assert [failure["round"] for failure in metrics["failures"]] == [5]
    assert (len(metrics["sizes"]), metrics["next_round"]) == (2, 7)


def test_no_minutes_are_one_round(tmp_path, monkeypatch):
    monkeypatch.setattr(soak, "Workshop", lambda job: job)
    monkeypatch.setattr(soak, "TRIALS", dict.fromkeys(soak.TRIALS, lambda job: 0.0))
    assert len(soak.main(["--minutes", "0", "--out", str(tmp_path / "run")])["sizes"]) == 1


def test_the_difference_is_relative_to_the_largest_weight():
    assert soak.difference([np.array([10.0, 1.0])], [np.array([10.0, 2.0])]) == 0.1


def test_the_size_counts_open_files(tmp_path):
    before = soak.size()
    with (tmp_path / "a").open("w"):
        assert soak.size()["files"] == before["files"] + 1
