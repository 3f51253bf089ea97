"""Latent variables and uncertain weights."""

from nllfit.bayes.kl_divergence import KLDivergence

__all__ = ["KLDivergence"]
