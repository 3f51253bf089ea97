"""Fixtures of the tests of training."""

import pytest

from nllfit import model_caches
from nllfit.training.epoch_programs import Program


@pytest.fixture
def traced(monkeypatch):
    """A list that gets each program that the test traces. The caches of programs are empty at the start."""
    monkeypatch.setattr(model_caches, "_SHARED", model_caches.LeastRecentlyUsed(32))
    programs, init = [], Program.__init__

    def listed(program, *args):
        init(program, *args)
        programs.append(program)

    monkeypatch.setattr(Program, "__init__", listed)
    return programs
