"""Latent variables and uncertain weights."""

from nllfit.bayes.kl_divergence import KLDivergence
from nllfit.bayes.laplace import Laplace, laplace

__all__ = ["KLDivergence", "Laplace", "laplace"]
