"""Inference: standard errors, intervals and p-values of the weights of a network fitted by maximum likelihood."""

from nllfit.inference.standard_errors import standard_errors
from nllfit.inference.weight_table import Coefficients

__all__ = ["Coefficients", "standard_errors"]
