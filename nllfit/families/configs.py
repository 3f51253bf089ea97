"""Converts the arguments of a head to plain values for a config, and back. A saved file therefore contains no code."""

import inspect
from typing import Any

import numpy as np
from tensorflow_probability import distributions as tfd

from nllfit.families.family_base import ParametricFamily
from nllfit.families.registered_names import registered_name

__all__ = ["plain", "restored"]

_CLASS_KEY = "family_class"  # in the dict of a saved family, this key holds the name of the class


def plain(value: Any) -> Any:
    """Converts an argument of a head to text, numbers, lists and dicts.

    A TFP class or a registered function becomes its name. A family becomes a dict of the arguments
    and the class name of the family.
    """
    if isinstance(value, ParametricFamily):
        return {_CLASS_KEY: type(value).__name__} | plain(value.arguments)
    name = getattr(value, "__name__", "")
    if inspect.isclass(value) and getattr(tfd, name, None) is value:
        return name
    if callable(value) and not hasattr(value, "__array__"):
        return registered_name(value)
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, (str, bool)) or value is None:
        return value
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return np.asarray(value).tolist()


def restored(value: Any) -> Any:
    """Rebuilds a family from the dict that `plain` returned for it. Returns any other value unchanged."""
    cls = _family_classes(ParametricFamily).get(value.get(_CLASS_KEY)) if isinstance(value, dict) else None
    return value if cls is None else cls(**{name: restored(item) for name, item in value.items() if name != _CLASS_KEY})


def _family_classes(cls):
    """Returns the subclasses of `cls`, by name, that are defined in `nllfit` and are not abstract.

    A saved file contains only families of these classes.
    """
    classes: dict[str, type] = {}
    for subclass in cls.__subclasses__():
        is_saved = subclass.__module__.startswith("nllfit.") and not inspect.isabstract(subclass)
        classes |= _family_classes(subclass) | ({subclass.__name__: subclass} if is_saved else {})
    return classes
