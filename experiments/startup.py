"""The start of an experiment's process. TensorFlow is imported without output, and Ctrl-C can interrupt the import."""

import os
import signal
import sys
import tempfile

__all__ = ["begin"]


def begin() -> None:
    """Imports TensorFlow and hides what it logs during the import, at any log level. Ctrl-C ends the process."""
    sys.stderr.flush()
    stderr = os.dup(2)

    def leave(*_):
        # We do not raise `KeyboardInterrupt`, because a module that is being imported may catch it.
        os.write(stderr, b"interrupted\n")
        os._exit(130)

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, leave)
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 2)
        try:
            import nllfit  # noqa: F401
        except BaseException:
            log.seek(0)
            os.write(stderr, log.read())
            raise
        finally:
            os.dup2(stderr, 2)
