"""A model for callbacks that only read it, such as `EarlyStopping`: it is restored to an epoch only when they look.

One call does several epochs. Their callbacks run afterwards, and each must see the weights of its own epoch.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from nllfit.kerases import Model
from nllfit.training.files import whole_file

__all__ = ["WatchedModel"]


class WatchedModel:
    """Stands for a model in callbacks that only read it, and saves whole files.

    Args:
      model: the model.
      look: makes the model what it was after the epoch whose callbacks run; called before anything is read.
      weights: gives the weights of that epoch without a restored model.
    """

    def __init__(self, model: Model, look: Callable[[], None], weights: Callable[[], list[np.ndarray]]):
        vars(self).update(_model=model, _look=look, get_weights=weights)

    def __getattr__(self, name):
        if name != "stop_training":
            self._look()
        return getattr(self._model, name)

    def __setattr__(self, name, value):
        if (
            vars(self._model).get(name) is not value
        ):  # `History` sets itself each epoch, which takes as long as two steps
            setattr(self._model, name, value)

    def save(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """Saves the model."""
        self._look()
        with whole_file(filepath) as path:
            self._model.save(path, *args, **kwargs)

    def save_weights(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """Saves its weights."""
        self._look()
        with whole_file(filepath) as path:
            self._model.save_weights(path, *args, **kwargs)
