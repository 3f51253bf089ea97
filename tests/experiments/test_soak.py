"""The soak benchmark detects different weights, and counts the objects and memory of the process."""

import numpy as np
import pytest

import nllfit
from experiments.benchmarks import soak


def test_a_job_follows_from_its_seed():
    assert soak.Job.drawn(2, 5) == soak.Job.drawn(2, 5) != soak.Job.drawn(2, 6)


@pytest.mark.parametrize(
    "trial", ["resumed", *(pytest.param(name, marks=pytest.mark.thorough) for name in ("keras", "stopped", "threads"))]
)
def test_a_trial_finds_no_difference(trial):
    shop = soak.Workshop(soak.Job.drawn(3, list(soak.TRIALS).index(trial)))
    assert soak.TRIALS[trial](shop) < soak.TOLERANCE


def test_a_trial_finds_a_difference(monkeypatch):
    shop = soak.Workshop(soak.Job.drawn(3, 0))
    monkeypatch.setattr(nllfit, "fit", lambda *args, **kwargs: None)
    assert soak.against_keras(shop) > soak.TOLERANCE


def test_the_difference_is_relative_to_the_largest_weight():
    assert soak.difference([np.array([10.0, 1.0])], [np.array([10.0, 2.0])]) == 0.1


def test_the_size_counts_open_files(tmp_path):
    before = soak.size()
    with (tmp_path / "a").open("w"):
        assert soak.size()["files"] == before["files"] + 1
