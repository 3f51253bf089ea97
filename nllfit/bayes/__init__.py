"""Priors, posteriors and divergences, for latent variables and for uncertain weights."""

from nllfit.bayes.kl_divergence import KLDivergence

__all__ = ["KLDivergence"]
