"""Makes the classes of one Keras version from mix-in classes, which both versions share."""

import types
from typing import Any, TypeVar

__all__ = ["completed"]

_T = TypeVar("_T")


def completed(mixin: type[_T], *bases: type, keras: types.ModuleType, package: str, module: str) -> type[_T]:
    """Makes a Keras class from a mix-in. Keras can load the class from files because it is registered.

    The class gets the name, docstring and methods of the mix-in.

    Args:
      mixin: a class without a Keras base.
      bases: base classes of one Keras version. The mix-in is inserted before the last base, so that the methods of the
        mix-in override only methods of the last base.
      keras: the module of that Keras version.
      package: the package name under which Keras registers the class. Classes of the same name need different packages.
      module: the module from which users import the class.
    """
    attributes = {"__doc__": mixin.__doc__, "__module__": module}
    made: Any = type(mixin.__name__, (*bases[:-1], mixin, bases[-1]), attributes)
    return keras.saving.register_keras_serializable(package=package)(made)
