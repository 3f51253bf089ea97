"""The type of matplotlib's axes, and the style of a marked maximum."""

from typing import Any, TypeAlias

__all__ = ["MAXIMUM", "Axes"]

Axes: TypeAlias = Any
"""Stands for `matplotlib.axes.Axes`. It is `Any`, because nllfit does not import matplotlib."""

MAXIMUM = {"color": "tab:red", "zorder": 3}
