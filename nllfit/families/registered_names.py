"""The names under which users' functions and classes are registered with Keras. Saved files contain these names."""

import sys
from typing import Any

__all__ = ["registered", "registered_name"]


def registered_name(thing: Any) -> str:
    """Returns the name under which a function or class is registered. Raises a `ValueError` if it is not registered."""
    for saving in _savings():
        name = saving.get_registered_name(thing)
        if saving.get_registered_object(name) is thing:
            return name
    raise ValueError(
        f"`{getattr(thing, '__name__', thing)}` is not registered with Keras, so a saved file could not name it: "
        f'decorate it with `@keras.saving.register_keras_serializable(package="my_package")` (in tf_keras, with '
        f"`@tf_keras.saving...`), and define it in a module that is imported before the file is loaded. (A class "
        f"also needs a method `get_config`, because Keras requires one; it is not called.)"
    )


def registered(name: str) -> Any:
    """Returns the object that is registered under a name in tf_keras or Keras 3, or None."""
    found = (saving.get_registered_object(name) for saving in _savings())
    return next((thing for thing in found if thing is not None), None)


def _savings():
    return [sys.modules[keras].saving for keras in ("tf_keras", "keras") if hasattr(sys.modules.get(keras), "saving")]
