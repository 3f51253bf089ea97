"""Initialization: sets weights of a model so that training starts at the marginal distribution of the outcomes.

`marginal_estimate` estimates the marginal distribution. `initial_biases` sets the weights of the layer before a head,
so that the model predicts this distribution for every input.
"""

from nllfit.initialization.initial_biases import initialize

__all__ = ["initialize"]
