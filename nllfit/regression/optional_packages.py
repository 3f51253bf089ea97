"""Lazy imports of the packages in the extra `[regression]`. `nllfit` can be imported without them."""

import importlib
from typing import Any

__all__ = ["constraints", "formulaic", "pandas", "special", "transforms"]


class _Extra:
    """A proxy of a module. The module is imported when the proxy is first used."""

    def __init__(self, name: str):
        self._name = name

    def __getattr__(self, name: str) -> Any:
        try:
            module = importlib.import_module(self._name)
        except ImportError as error:
            raise ImportError(
                f"Regressions need the package {error.name}: install it with `pip install formulaic pandas`."
            ) from None
        return getattr(module, name)


constraints: Any = _Extra("formulaic.utils.constraints")
formulaic: Any = _Extra("formulaic")
pandas: Any = _Extra("pandas")
special: Any = _Extra("scipy.special")
transforms: Any = _Extra("formulaic.transforms")
