"""Initialization: sets weights of a model so that training starts at the marginal distribution of the outcomes.

`marginal` estimates the marginal distribution. `last_weights` sets the weights of the layer before a head, so that the
model predicts this distribution for every input.
"""

from nllfit.initialization.last_weights import initialize

__all__ = ["initialize"]
