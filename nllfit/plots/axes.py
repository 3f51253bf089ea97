"""The type of matplotlib's axes, the style of a marked maximum, and the 0.975 quantile of a standard normal."""

from typing import Any, TypeAlias

__all__ = ["MAXIMUM", "Z_95", "Axes"]

Axes: TypeAlias = Any
"""Stands for `matplotlib.axes.Axes`. It is `Any`, because nllfit does not import matplotlib."""

MAXIMUM = {"color": "tab:red", "zorder": 3}
# A 95% interval extends this number of standard errors to each side of the estimate.
Z_95 = 1.959963984540054
