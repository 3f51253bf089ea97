"""What the suite can be told on its command line, and what it leaves out unless told."""

import gc
import math
import sys

import pytest


def pytest_addoption(parser):
    parser.addoption("--thorough", action="store_true", help="every pair, not each in one setting")


def pytest_configure(config):
    config.addinivalue_line("markers", "thorough: a test that runs with --thorough alone")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--thorough"):
        left_out = [item for item in items if item.get_closest_marker("thorough")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(trylast=True)
def pytest_collection_finish():
    """Spares the suite what nobody reads or waits for.

    That the garbage collector looks through what TensorFlow's import and each trace leave is a tenth of the suite's
    time, and that each operation notes from where it was called is another. A slow machine makes `fit` compile runs of
    a few steps, which end before XLA does; the tests that are about its choice say from how many seconds on it is worth
    it.
    """
    if tf_stack := sys.modules.get("tensorflow.python.util.tf_stack"):
        from_here = tf_stack.extract_stack()
        tf_stack.extract_stack = lambda stacklevel=1: from_here
    if engine := sys.modules.get("nllfit.training.engine"):
        engine.MIN_GRAPH_SECONDS_FOR_XLA = math.inf
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 10, 10)
