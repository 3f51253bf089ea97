"""The names under which users' functions and classes are registered with Keras, for saved files."""

import sys
from typing import Any

__all__ = ["registered", "registered_name"]


def registered_name(thing: Any) -> str:
    """The name under which a function or class is registered with Keras; raises a `ValueError` if it is not."""
    for saving in _savings():
        name = saving.get_registered_name(thing)
        if saving.get_registered_object(name) is thing:
            return name
    raise ValueError(
        f"`{getattr(thing, '__name__', thing)}` is not registered with Keras, so a saved file could not name it: "
        f'define it after `@keras.saving.register_keras_serializable(package="my_package")`, in tf_keras after '
        f"`@tf_keras.saving...`, in a module that is imported before the file is loaded. (A class also needs a method "
        f"`get_config`, because Keras requires one; it is not called.)"
    )


def registered(name: str) -> Any:
    """The object that one of the Keras versions has registered under a name, or None."""
    found = (saving.get_registered_object(name) for saving in _savings())
    return next((thing for thing in found if thing is not None), None)


def _savings():
    return [sys.modules[keras].saving for keras in ("tf_keras", "keras") if hasattr(sys.modules.get(keras), "saving")]
