"""Training by maximum likelihood with TensorFlow Probability and Keras."""

from nllfit import equivalence, heads, losses, metrics
from nllfit.evaluation import predict_distribution
from nllfit.families import Family, MixtureFamily
from nllfit.losses import negative_log_likelihood
from nllfit.solver import fit_lbfgs
from nllfit.training import fit

__all__ = [
    "Family",
    "MixtureFamily",
    "equivalence",
    "fit",
    "fit_lbfgs",
    "heads",
    "losses",
    "metrics",
    "negative_log_likelihood",
    "predict_distribution",
]
