"""Options of the test suite: `--thorough` runs all tests; by default those marked `thorough` are left out."""

import gc
import math
import sys

import pytest


def pytest_addoption(parser):
    parser.addoption("--thorough", action="store_true", help="every pair, not each in one setting")


def pytest_configure(config):
    config.addinivalue_line("markers", "thorough: a test that runs only with --thorough")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--thorough"):
        left_out = [item for item in items if item.get_closest_marker("thorough")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(trylast=True)
def pytest_collection_finish():
    """Saves about a fifth of the suite's time.

    The garbage collector takes a tenth of the time, because TensorFlow creates many objects. Another tenth goes into
    the stack trace that each operation stores. On a slow machine `fit` would compile even short runs with XLA, which
    end before the compilation does; the tests of this choice set `MIN_GRAPH_SECONDS_FOR_XLA` themselves.
    """
    if tf_stack := sys.modules.get("tensorflow.python.util.tf_stack"):
        from_here = tf_stack.extract_stack()
        tf_stack.extract_stack = lambda stacklevel=1: from_here
    if engine := sys.modules.get("nllfit.training.engine"):
        engine.MIN_GRAPH_SECONDS_FOR_XLA = math.inf
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 10, 10)
