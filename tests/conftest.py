"""Options of the test suite: `--thorough` runs all tests; by default those marked `thorough` are left out."""

import gc
import math
import sys
import zlib

import pytest

TURNS = 10


def pytest_addoption(parser):
    parser.addoption("--thorough", action="store_true", help="every pair, not each in one setting")
    parser.addoption(
        "--turn",
        type=int,
        choices=range(TURNS),
        help="a tenth of the tests marked `thorough`, beside the ordinary ones",
    )


def pytest_configure(config):
    config.addinivalue_line("markers", "thorough: a test that runs only with --thorough, or in its --turn")


def pytest_collection_modifyitems(config, items):
    def is_left_out(item):
        in_turn = zlib.crc32(item.nodeid.encode()) % TURNS == config.option.turn
        return item.get_closest_marker("thorough") and not (config.option.thorough or in_turn)

    left_out = [item for item in items if is_left_out(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if not is_left_out(item)]


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
    if graph_or_xla := sys.modules.get("nllfit.training.graph_or_xla"):
        graph_or_xla.MIN_GRAPH_SECONDS_FOR_XLA = math.inf
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 10, 10)
