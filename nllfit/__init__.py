"""Training by maximum likelihood with TensorFlow Probability and Keras."""

from nllfit import equivalence, heads, losses, metrics
from nllfit.comparison import Comparison, compare
from nllfit.estimation import Estimate, maximum_likelihood
from nllfit.evaluation import predict_distribution
from nllfit.families import Family
from nllfit.likelihood import likelihood, log_likelihood
from nllfit.losses import negative_log_likelihood
from nllfit.mixtures import MixtureFamily
from nllfit.solver import fit_lbfgs
from nllfit.training import fit

__all__ = [
    "Comparison",
    "Estimate",
    "Family",
    "MixtureFamily",
    "compare",
    "equivalence",
    "fit",
    "fit_lbfgs",
    "heads",
    "likelihood",
    "log_likelihood",
    "losses",
    "maximum_likelihood",
    "metrics",
    "negative_log_likelihood",
    "predict_distribution",
]
