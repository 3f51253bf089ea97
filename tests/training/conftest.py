"""Fixtures of the tests of training."""

import pytest

from nllfit import caches
from nllfit.training.epoch_programs import Program


@pytest.fixture
def traced(monkeypatch):
    """A list of the programs that the test traces, starting from empty caches."""
    monkeypatch.setattr(caches, "_SHARED", caches.LeastRecentlyUsed(32))
    programs, init = [], Program.__init__

    def listed(program, *args):
        init(program, *args)
        programs.append(program)

    monkeypatch.setattr(Program, "__init__", listed)
    return programs
