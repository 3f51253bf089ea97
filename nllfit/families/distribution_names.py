"""Finds a class of distributions by its name, and suggests names that are close to an unknown one."""

import difflib
import inspect
from typing import Any

from tensorflow_probability import distributions as tfd

from nllfit.families.registered_names import registered
from nllfit.families.tfp_classes import parameter_properties

__all__ = ["family_class"]


def family_class(distribution: Any, argument: str = "distribution") -> type[tfd.Distribution]:
    """Returns a class of distributions. `distribution` is the class itself or its name.

    The class is one of `tfp.distributions` or a user's own. Raises a `ValueError` if `distribution` is neither a class
    nor a known name, or if the class does not describe its parameters.
    """
    name = distribution if isinstance(distribution, str) else getattr(distribution, "__name__", "")
    cls: Any = getattr(tfd, name, None)
    if cls is None:  # a user's own class, or the name under which it is registered with Keras
        cls = registered(name) if isinstance(distribution, str) else distribution
    # A user's class must not have the name of a TFP class. A saved head contains only the name of the class, so loading
    # the head would use TFP's class.
    if not _is_family(cls) or distribution not in (name, cls):
        message = f"`{argument}` is {distribution!r}: give a class of tfp.distributions or its name."
        message += " TFP has a class of the same name: rename yours." if _is_family(distribution) else ""
        if not _is_family(distribution):
            given = name or type(distribution).__name__
            names = {known.lower(): known for known, value in vars(tfd).items() if _is_family(value)}
            names |= {"gaussian": "Normal", "nbinom": "NegativeBinomial", "t": "StudentT"}
            close = difflib.get_close_matches(given.lower(), names)
            message += f" Close to it: {', '.join(names[match] for match in close)}." if close else ""
        raise ValueError(message)
    try:
        parameter_properties(cls)
    except NotImplementedError as error:
        raise ValueError(str(error)) from None
    return cls


def _is_family(value):
    return inspect.isclass(value) and issubclass(value, tfd.Distribution)
