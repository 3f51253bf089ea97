"""Ten runs in turn run each thorough test once."""

import types

from tests import conftest


class Item:
    """A collected test, marked `thorough` or not."""

    def __init__(self, nodeid, is_thorough):
        self.nodeid, self.is_thorough = nodeid, is_thorough

    def get_closest_marker(self, name):
        return self.is_thorough and name == "thorough"


def names_run(turn, thorough=False):
    """The names of the tests that run, of 50 ordinary and 200 thorough ones."""
    items = [Item(f"{'dear' if i < 200 else 'ordinary'}-{i}", i < 200) for i in range(250)]
    hook = types.SimpleNamespace(pytest_deselected=lambda items: None)
    option = types.SimpleNamespace(turn=turn, thorough=thorough)
    conftest.pytest_collection_modifyitems(types.SimpleNamespace(hook=hook, option=option), items)
    return [item.nodeid for item in items]


def test_ten_turns_run_each_thorough_test_once_and_the_ordinary_ones_always():
    every = names_run(0, thorough=True)
    assert len(every) == 250
    ordinary = [name for name in every if name.startswith("ordinary")]
    turns = [names_run(turn) for turn in range(1001, 1011)]
    assert all(set(ordinary) <= set(names) for names in turns)
    assert sorted(name for names in turns for name in names if name.startswith("dear")) == sorted(every[:200])
    assert max(map(len, turns)) < 50 + 40  # no turn takes more than twice its share
    assert names_run(1001) == names_run(1)
