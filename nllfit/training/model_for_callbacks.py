"""A stand-in for the model, for callbacks that only read it, such as `EarlyStopping`.

One call of a program trains several epochs, and the callbacks are called for all these epochs afterwards. When a
callback is called for an epoch, it must see the weights as they were at the end of that epoch. Restoring weights takes
time, so weights are restored only when a callback reads the model.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from nllfit.adapters import Model
from nllfit.training.checkpoint_files import atomic_file

__all__ = ["WatchedModel"]


class WatchedModel:
    """Stands in for the model in callbacks that only read it. Its `save` and `save_weights` write files atomically.

    Args:
      model: the model.
      restore_epoch: a function that restores the model to its state after the epoch whose callbacks run. It is called
        before anything is read.
      weights: a function that returns the weights of that epoch, usually without restoring the model.
    """

    def __init__(self, model: Model, restore_epoch: Callable[[], None], weights: Callable[[], list[np.ndarray]]):
        vars(self).update(_model=model, _restore_epoch=restore_epoch, get_weights=weights)

    def __getattr__(self, name):
        if name != "stop_training":
            self._restore_epoch()
        return getattr(self._model, name)

    def __setattr__(self, name, value):
        # Nothing is set if the model already has the value: `History` sets `model.history` to the same object in each
        # epoch, and Keras's `__setattr__` takes as long as two training steps.
        if vars(self._model).get(name) is not value:
            setattr(self._model, name, value)

    def save(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """Saves the model."""
        self._restore_epoch()
        with atomic_file(filepath) as path:
            self._model.save(path, *args, **kwargs)

    def save_weights(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """Saves the weights."""
        self._restore_epoch()
        with atomic_file(filepath) as path:
            self._model.save_weights(path, *args, **kwargs)
