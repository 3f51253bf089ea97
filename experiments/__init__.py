"""Experiments: one script a question, each run as `python -m experiments.NAME`."""

import os
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # an experiment prints its own lines


def _import_quietly():
    """Imports TensorFlow without the lines that it writes to file descriptor 2 before it reads its log level."""
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), 2)
        try:
            import nllfit  # noqa: F401
        except BaseException:
            written.seek(0)
            os.write(stderr, written.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


_import_quietly()
