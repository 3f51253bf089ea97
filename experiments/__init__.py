"""Experiments: one script a question, each run as `python -m experiments.NAME`."""

import os
import signal
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # an experiment prints its own lines

_STDERR = os.dup(2)  # while nothing is to be seen of it


def _leave(*_):
    """Ends a program that is still importing: an exception might be swallowed there, and there is nothing to undo."""
    os.write(_STDERR, b"interrupted\n")
    os._exit(130)


def _import_quietly():
    """Imports TensorFlow without the lines that it writes to file descriptor 2 before it reads its log level."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), 2)
        try:
            import nllfit  # noqa: F401
        except BaseException:
            written.seek(0)
            os.write(_STDERR, written.read())
            raise
        finally:
            os.dup2(_STDERR, 2)


# `python -m` is at this package before it is at the experiment, in which `common.run` sees to Ctrl-C.
if sys.argv[:1] == ["-m"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, _leave)
_import_quietly()
