"""Twenty successive values of `--turn` together run each thorough test exactly once."""

import types

import pytest

from tests import conftest


class Item:
    """A collected test with its mark `thorough`, if it has one."""

    def __init__(self, nodeid, *marks):
        self.nodeid, self.marks = nodeid, marks

    def iter_markers(self, name):
        return (mark for mark in self.marks if mark.name == name)


def names_run(turn, thorough=False, markexpr=""):
    """The names of the tests that run for `--turn`. There are 50 ordinary and 400 thorough tests, and one for a GPU."""
    items = [Item(f"dear-{i}", pytest.mark.thorough.mark) for i in range(400)]
    items += [Item(f"ordinary-{i}") for i in range(400, 450)]
    items.append(Item("gpu", pytest.mark.gpu.mark))
    hook = types.SimpleNamespace(pytest_deselected=lambda items: None)
    option = types.SimpleNamespace(turn=turn, thorough=thorough, markexpr=markexpr)
    conftest.pytest_collection_modifyitems(types.SimpleNamespace(hook=hook, option=option), items)
    return [item.nodeid for item in items]


def test_twenty_turns_run_each_thorough_test_once_and_the_ordinary_ones_always():
    every = names_run(0, thorough=True)
    assert len(every) == 450
    ordinary = [name for name in every if name.startswith("ordinary")]
    turns = [names_run(turn) for turn in range(1001, 1021)]
    assert all(set(ordinary) <= set(names) for names in turns)
    assert sorted(name for names in turns for name in names if name.startswith("dear")) == sorted(every[:400])
    # Each run has the 50 ordinary tests and a part of the 400 thorough ones: 20 on average, and always fewer than 40.
    assert max(map(len, turns)) < 50 + 40
    assert names_run(1001) == names_run(1)


def test_tests_for_a_gpu_only_run_when_they_are_asked_for():
    assert "gpu" not in names_run(0) + names_run(0, thorough=True)
    assert "gpu" in names_run(0, markexpr="gpu")


def test_the_cases_of_a_test_run_in_successive_turns():
    items = [Item(f"file.py::test[{i}]", pytest.mark.thorough.mark) for i in range(40)]
    runs = [[i for i, waits in enumerate(conftest.is_left_out(items, turn)) if not waits] for turn in range(20)]
    assert sorted(runs) == [[i, i + 20] for i in range(20)]


def test_the_cases_that_a_mark_names_are_ordinary():
    mark = pytest.mark.thorough(but=("keras-", "Normal")).mark
    cases = [f"file.py::test[{case}]" for case in ("tf_keras-Gamma", "keras-Gamma", "Normal", "LogNormal")]
    assert [conftest.is_thorough(Item(case, mark)) for case in cases] == [True, False, False, True]
    assert not conftest.is_thorough(Item("file.py::test"))
