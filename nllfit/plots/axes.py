"""What the figures share: the type of what they draw on, and the look of a marked maximum."""

from typing import Any, TypeAlias

__all__ = ["MAXIMUM", "Axes"]

Axes: TypeAlias = Any
"""`matplotlib.axes.Axes`: who has one has imported matplotlib, which nllfit need not."""

MAXIMUM = {"color": "tab:red", "zorder": 3}
