"""Initialization: a model begins where the outcomes are, at their marginal distribution.

`initialize` is the door, `marginal` finds the numbers that a network begins with.
"""

from nllfit.initialization.initialize import initialize

__all__ = ["initialize"]
