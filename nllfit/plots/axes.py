"""The type of matplotlib's axes, and the style of a marked maximum."""

from typing import Any, TypeAlias

__all__ = ["MAXIMUM", "Axes"]

Axes: TypeAlias = Any
"""`matplotlib.axes.Axes`. Only `Any`, so that nllfit does not have to import matplotlib."""

MAXIMUM = {"color": "tab:red", "zorder": 3}
