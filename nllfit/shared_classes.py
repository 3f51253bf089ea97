"""Classes of one Keras version from mix-ins that both versions share."""

import types
from typing import Any, TypeVar

__all__ = ["completed"]

_T = TypeVar("_T")


def completed(mixin: type[_T], *bases: type, keras: types.ModuleType, package: str, module: str) -> type[_T]:
    """A class under a mix-in's name, with its docstring, which Keras can load from files.

    Args:
      mixin: what the class adds to the last of the bases.
      bases: classes of one Keras version; those before the last one stand before the mix-in.
      keras: the version.
      package: under which it is registered; two classes of one name need two packages.
      module: in which users find the class.
    """
    attributes = {"__doc__": mixin.__doc__, "__module__": module}
    made: Any = type(mixin.__name__, (*bases[:-1], mixin, bases[-1]), attributes)
    return keras.saving.register_keras_serializable(package=package)(made)
