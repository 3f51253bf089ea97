"""Estimation: the likelihood of a sample, and the parameters that maximise it."""

from nllfit.estimation.comparison import Comparison, compare
from nllfit.estimation.estimators import Estimate, maximum_likelihood
from nllfit.estimation.likelihoods import likelihood, log_likelihood

__all__ = ["Comparison", "Estimate", "compare", "likelihood", "log_likelihood", "maximum_likelihood"]
