"""Inference: standard errors, intervals and p-values of the weights of a network fitted by maximum likelihood."""

from nllfit.inference.coefficients import Coefficients
from nllfit.inference.standard_errors import standard_errors

__all__ = ["Coefficients", "standard_errors"]
