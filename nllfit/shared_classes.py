"""Makes classes for one Keras version from mix-ins that both versions share."""

import types
from typing import Any, TypeVar

__all__ = ["completed"]

_T = TypeVar("_T")


def completed(mixin: type[_T], *bases: type, keras: types.ModuleType, package: str, module: str) -> type[_T]:
    """A class with the name and docstring of a mix-in, registered so that Keras can load it from files.

    Args:
      mixin: the class whose methods are added to the last of the bases.
      bases: classes of one Keras version. In the order of inheritance, the mix-in comes just before the last one.
      keras: the module of that Keras version.
      package: the package name to register the class under; two classes of one name need two packages.
      module: the module in which users find the class.
    """
    attributes = {"__doc__": mixin.__doc__, "__module__": module}
    made: Any = type(mixin.__name__, (*bases[:-1], mixin, bases[-1]), attributes)
    return keras.saving.register_keras_serializable(package=package)(made)
