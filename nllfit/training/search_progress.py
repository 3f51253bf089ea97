"""The progress bar of `fit_lbfgs`, and its time limit."""

import time
from typing import Any

from nllfit.training.weight_search import Found

__all__ = ["Progress"]

# With `verbose="auto"`, the bar appears after this number of seconds.
_SECONDS_BEFORE_BAR = 5.0


class Progress:
    """Shows Keras's progress bar over the steps of a search, and checks the time limit.

    Args:
      keras: the module `tf_keras` or `keras`.
      max_iterations: the maximum number of steps.
      verbose: 0, 1 or 2 as in Keras; "auto" for a bar if the search takes longer than 5 s.
      max_seconds: the limit, or None.
    """

    def __init__(self, keras: Any, max_iterations: int, verbose: Any, max_seconds: float | None):
        self._bar = keras.utils.Progbar(
            max_iterations, verbose=1 if verbose == "auto" else verbose, stateful_metrics=["loss"], unit_name="step"
        )
        self._start, self._max_seconds = time.monotonic(), max_seconds
        self._shows_from = _SECONDS_BEFORE_BAR if verbose == "auto" else 0.0
        self._is_shown = False

    def is_over(self, found: Found) -> bool:
        """Updates the bar. Returns whether the time limit has passed."""
        seconds = time.monotonic() - self._start
        if seconds >= self._shows_from:
            self._is_shown = True
            self._bar.update(found.iterations, [("loss", found.value)], finalize=False)
        return self._max_seconds is not None and seconds >= self._max_seconds

    def end(self, found: Found) -> None:
        """Completes the bar, if it was shown."""
        if self._is_shown:
            self._bar.update(found.iterations, [("loss", found.loss)], finalize=True)
