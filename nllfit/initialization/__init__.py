"""Initialization: a model begins where the outcomes are, at their marginal distribution.

`last_weights` sets the weights before a head, `marginal` finds the numbers that a network begins with.
"""

from nllfit.initialization.last_weights import initialize

__all__ = ["initialize"]
