"""Makes TensorFlow Probability's layers obey Keras's safe mode, in which a model file cannot run code."""

import functools
from collections.abc import Callable
from typing import Any

from nllfit.adapters.keras2 import in_safe_mode
from nllfit.adapters.tensorflow_probability import CODE_LOADERS

__all__ = ["keep_safe_mode"]


def keep_safe_mode() -> None:
    """Makes `load_model(..., safe_mode=True)`, Keras's default, refuse TFP layers that contain code.

    TFP unpickles the function of a `DistributionLambda` even in safe mode, so a file from a stranger could run any
    command. With `safe_mode=False` such a file still loads. The heads of nllfit store no code, so files with them load
    in safe mode. Keras has no safe mode for `.h5` files and SavedModels: load them only if you trust the author.
    """
    for module, name in CODE_LOADERS:
        load = getattr(module, name)
        if not hasattr(load, "__wrapped__"):
            setattr(module, name, _refusing(load))


def _refusing(load: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(load)
    def loaded(*args: Any, **kwargs: Any) -> Any:
        if in_safe_mode():
            raise ValueError(
                "The file holds code: the function of a layer of TensorFlow Probability. Keras's safe mode runs no "
                "code from files. If you trust the author, load the file with `safe_mode=False`. (The heads of "
                "`nllfit` store no code.)"
            )
        return load(*args, **kwargs)

    return loaded
