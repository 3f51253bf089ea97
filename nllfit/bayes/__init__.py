"""Latent variables and uncertain weights."""

from nllfit.bayes.laplace import Laplace, laplace

__all__ = ["Laplace", "laplace"]
