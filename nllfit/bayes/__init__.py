"""Priors, posteriors and divergences, for latent variables and for uncertain weights."""

from nllfit.bayes.kl_regularizer import KLDivergence

__all__ = ["KLDivergence"]
