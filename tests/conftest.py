"""Selects the tests that run: all ordinary tests, and one twentieth (1/20) of the tests marked `thorough`.

By default, the selected twentieth changes every day. This file also contains the fixture `rng`.
"""

import collections
import datetime
import gc
import itertools
import zlib

import numpy as np
import pytest

TURNS = 20  # the number of groups of the tests marked `thorough`; by default, a run contains one of the groups


@pytest.fixture
def rng():
    """A new random generator for each test, because the data of a test must not depend on the tests that ran before."""
    # Many modules draw inputs such as `X` with the seed 0. This generator has another seed, so that the noise that a
    # test draws does not equal these inputs.
    return np.random.default_rng(7)


def pytest_addoption(parser):
    parser.addoption("--thorough", action="store_true", help="run all tests")
    parser.addoption(
        "--turn",
        type=int,
        default=datetime.date.today().toordinal() % TURNS,
        help=f"which twentieth of the tests marked `thorough` runs: any whole number, such as the number of a CI run. "
        f"Only its remainder after division by {TURNS} counts. The default changes every day",
    )


def pytest_configure(config):
    config.addinivalue_line(
        "markers",
        "thorough(but=names): a test that takes long; each run takes a twentieth of these, by --turn. The cases whose "
        "name starts with one of `but` always run",
    )
    config.addinivalue_line("markers", "gpu: a test that needs a GPU; it runs only with `-m gpu`")


def is_thorough(item):
    """Returns True if a mark `thorough` applies to this case of a test. The argument `but` of a mark exempts cases."""
    case = item.nodeid.partition("[")[2]
    return any(not case.startswith(marker.kwargs.get("but", ())) for marker in item.iter_markers("thorough"))


def is_left_out(items, turn):
    """Yields for each test whether a run with the flag `--turn turn` omits it.

    The tests marked `thorough` are divided into `TURNS` groups. The run contains only the group that `turn` selects.
    Successive cases of a test are in successive groups.
    """
    cases = collections.Counter()
    for item in items:
        test = item.nodeid.partition("[")[0]
        yield is_thorough(item) and (zlib.crc32(test.encode()) + cases[test] - turn) % TURNS != 0
        cases[test] += is_thorough(item)


def pytest_collection_modifyitems(config, items):
    option = config.option
    waits = [False] * len(items) if option.thorough else is_left_out(items, option.turn)
    if "gpu" not in option.markexpr:
        waits = [left_out or any(item.iter_markers("gpu")) for item, left_out in zip(items, waits, strict=True)]
    waits = list(waits)
    config.hook.pytest_deselected(items=list(itertools.compress(items, waits)))
    items[:] = [item for item, left_out in zip(items, waits, strict=True) if not left_out]


def pytest_sessionstart(session):
    """Prints whether this run contains all tests marked `thorough`, or only the group of them that `--turn` selects.

    With `-q`, pytest would omit a line that `pytest_report_header` returns.
    """
    option, reporter = session.config.option, session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter:
        reporter.write_line("thorough tests: " + ("all" if option.thorough else f"a twentieth, --turn {option.turn}"))


def pytest_terminal_summary(terminalreporter, config):
    failed = [*terminalreporter.getreports("failed"), *terminalreporter.getreports("error")]
    of_tests = [report for report in failed if isinstance(report, pytest.TestReport)]
    for name in dict.fromkeys(report.nodeid for report in of_tests if "thorough" in report.keywords):
        terminalreporter.write_line(f"repeat: python -m pytest --thorough '{name}'")


@pytest.hookimpl(trylast=True)
def pytest_collection_finish():
    """Freezes the objects that exist, so that garbage collections skip them.

    Otherwise garbage collections take a tenth of the time of a test run, because TensorFlow creates many objects.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 10, 10)
