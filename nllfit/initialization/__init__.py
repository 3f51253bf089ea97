"""Initialization: before training, a model predicts the marginal distribution of the outcomes.

`marginal` estimates the marginal distribution, and `last_weights` sets the weights before a head to predict it.
"""

from nllfit.initialization.last_weights import initialize

__all__ = ["initialize"]
