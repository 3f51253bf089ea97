"""Converts a head's arguments to plain values for its config, and back. A saved file therefore contains no code."""

import inspect
from typing import Any

import numpy as np
from tensorflow_probability import distributions as tfd

from nllfit.families.family_base import ParametricFamily
from nllfit.families.registered_names import registered_name

__all__ = ["plain", "restored"]

_KIND = "family_class"  # a family is saved as a dict; this key holds the name of the family's class


def plain(value: Any) -> Any:
    """Converts an argument of a head to text, numbers, lists and dicts.

    A TFP class or a registered function becomes its name. A family becomes a dict with the name of its class and its
    arguments.
    """
    if isinstance(value, ParametricFamily):
        return {_KIND: type(value).__name__} | plain(value.arguments)
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
    found = _family_classes(ParametricFamily).get(value.get(_KIND)) if isinstance(value, dict) else None
    return value if found is None else found(**{name: restored(item) for name, item in value.items() if name != _KIND})


def _family_classes(cls):
    """Returns the subclasses of a class of families that are defined in `nllfit`, by name.

    A saved file contains no families of other classes.
    """
    found: dict[str, type] = {}
    for known in cls.__subclasses__():
        is_saved = known.__module__.startswith("nllfit.") and not inspect.isabstract(known)
        found |= _family_classes(known) | ({known.__name__: known} if is_saved else {})
    return found
