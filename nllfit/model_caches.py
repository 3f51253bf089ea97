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
    """A cache that keeps only the objects that were used last. `most` is the largest number of objects.

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
        """Returns the object of `key` and marks it as the most recently used. Returns None if the key is unknown."""
        with self.lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: Hashable, value: Any) -> None:
        """Stores an object. A full cache evicts the object whose last use was the longest ago."""
        with self.lock:
            self._kept[key] = value
            self._kept.move_to_end(key)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)


_CACHES: Any = weakref.WeakKeyDictionary()
_SHARED = LeastRecentlyUsed(_MAX_ARCHITECTURES)


def kept_for(name: Hashable, make: Callable[[], Any], model: Model, *others: Model) -> Any:
    """Returns `make()` and caches the result under `name` until `model` or one of `others` is compiled again.

    The cache drops the result when `model` is deleted. The result must not hold a reference to a model, because the
    reference would keep that model alive.
    """
    compiled = [part for compiled_model in (model, *others) for part in adapter_of(compiled_model).made_by_compile]
    cache, key = _CACHES.setdefault(model, {}), (name, *map(weakref.ref, others))
    if key not in cache or any(a is not b for a, b in zip(cache[key][0], compiled, strict=True)):
        cache[key] = compiled, make()
    return cache[key][1]


def shared_by(architecture: Hashable, make: Callable[[], Any]) -> Any:
    """Returns `make()` and caches the result for all models of an architecture.

    Only the results of the architectures that were used most recently stay in the cache.
    """
    with _SHARED.lock:
        result = _SHARED.get(architecture)
        if result is None:
            result = make()
            _SHARED.put(architecture, result)
        return result
