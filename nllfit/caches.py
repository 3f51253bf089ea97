"""Caches: objects that are made once for a model, until it is compiled again, or once for an architecture."""

import collections
import threading
import weakref
from collections.abc import Callable, Hashable
from typing import Any

from nllfit.adapters import Model, adapter_of

__all__ = ["LastUsed", "kept_for", "shared_by"]

_MAX_ARCHITECTURES = 32


class LastUsed:
    """The last used of some objects, by key.

    Attributes:
      lock: to hold while an object is looked up and made.
    """

    def __init__(self, most: int):
        self._most = most
        self._kept: collections.OrderedDict[Any, Any] = collections.OrderedDict()
        self.lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Hashable) -> Any:
        """The object, which is now the last used; None if there is none."""
        with self.lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: Hashable, value: Any) -> None:
        """Keeps an object, and forgets the one that was not used for longest."""
        with self.lock:
            self._kept[key] = value
            self._kept.move_to_end(key)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)


_KEPT: Any = weakref.WeakKeyDictionary()
_SHARED = LastUsed(_MAX_ARCHITECTURES)


def kept_for(name: Hashable, make: Callable[[], Any], model: Model, *others: Model) -> Any:
    """`make()`, made once for some models and kept until one of them is compiled again.

    It must not hold on to the models. It is kept as long as the first of them lives.
    """
    compiled = [part for one in (model, *others) for part in adapter_of(one).made_by_compile]
    made, key = _KEPT.setdefault(model, {}), (name, *map(weakref.ref, others))
    if key not in made or any(a is not b for a, b in zip(made[key][0], compiled, strict=True)):
        made[key] = compiled, make()
    return made[key][1]


def shared_by(architecture: Hashable, make: Callable[[], Any]) -> Any:
    """`make()`, made once for an architecture and kept while it is among the last used."""
    with _SHARED.lock:
        found = _SHARED.get(architecture)
        if found is None:
            found = make()
            _SHARED.put(architecture, found)
        return found
