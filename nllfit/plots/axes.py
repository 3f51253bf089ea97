"""The type of matplotlib's axes, the style of a marked maximum, and half the width of a 95% interval."""

from typing import Any, TypeAlias

__all__ = ["MAXIMUM", "Z_95", "Axes"]

Axes: TypeAlias = Any
"""Stands for `matplotlib.axes.Axes`. It is `Any`, because nllfit does not import matplotlib."""

MAXIMUM = {"color": "tab:red", "zorder": 3}
Z_95 = 1.959963984540054  # half the width of a 95% interval, in standard errors
