"""The registered names of users' functions and classes, for saved files."""

import sys
from typing import Any

__all__ = ["registered", "registered_name"]


def registered_name(thing: Any) -> str:
    """The name under which a function or class is registered with Keras; a `ValueError` if it is not."""
    for saving in _savings():
        name = saving.get_registered_name(thing)
        if saving.get_registered_object(name) is thing:
            return name
    raise ValueError(
        f"`{getattr(thing, '__name__', thing)}` is not registered with Keras, so a saved file could not name it: "
        f'define it after `@keras.saving.register_keras_serializable(package="my_package")`, of tf_keras '
        f"`@tf_keras.saving...`, in a module that is imported before the file is loaded; Keras asks a class for a "
        f"`get_config`, which is not called."
    )


def registered(name: str) -> Any:
    """The object that one of the Keras versions has registered under a name, or None."""
    found = (saving.get_registered_object(name) for saving in _savings())
    return next((thing for thing in found if thing is not None), None)


def _savings():
    return [sys.modules[keras].saving for keras in ("tf_keras", "keras") if hasattr(sys.modules.get(keras), "saving")]
