"""Caches of objects that take long to make, such as traced functions.

A cache belongs to one model or to all models of one architecture.
"""

import collections
import threading
import weakref
from collections.abc import Callable, Hashable
from typing import Any

from nllfit.adapters import Model, adapter_of

__all__ = ["LeastRecentlyUsed", "kept_for", "shared_by"]

_MAX_ARCHITECTURES = 32


class LeastRecentlyUsed:
    """A cache that keeps the `most` objects that were used last.

    Attributes:
      lock: a reentrant lock. A thread that makes missing objects holds the lock from `get` to `put`, so that no other
        thread makes the same object.
    """

    def __init__(self, most: int):
        self._most = most
        self._kept: collections.OrderedDict[Any, Any] = collections.OrderedDict()
        self.lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Hashable) -> Any:
        """Returns the object of `key` and marks it as the last one used. Returns None if there is no such object."""
        with self.lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: Hashable, value: Any) -> None:
        """Stores an object. A full cache evicts the object that was not used for the longest time."""
        with self.lock:
            self._kept[key] = value
            self._kept.move_to_end(key)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)


_KEPT: Any = weakref.WeakKeyDictionary()
_SHARED = LeastRecentlyUsed(_MAX_ARCHITECTURES)


def kept_for(name: Hashable, make: Callable[[], Any], model: Model, *others: Model) -> Any:
    """Returns `make()` and caches the result under `name` until `model` or one of `others` is compiled again.

    The cache drops the result when `model` is deleted. The result must not hold a reference to a model, because the
    reference would keep that model alive.
    """
    compiled = [part for one in (model, *others) for part in adapter_of(one).made_by_compile]
    made, key = _KEPT.setdefault(model, {}), (name, *map(weakref.ref, others))
    if key not in made or any(a is not b for a, b in zip(made[key][0], compiled, strict=True)):
        made[key] = compiled, make()
    return made[key][1]


def shared_by(architecture: Hashable, make: Callable[[], Any]) -> Any:
    """Returns `make()` and caches the result for all models of an architecture.

    Only the results of the architectures that were used last stay in the cache.
    """
    with _SHARED.lock:
        found = _SHARED.get(architecture)
        if found is None:
            found = make()
            _SHARED.put(architecture, found)
        return found
