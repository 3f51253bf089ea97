"""Scoring: what predicted distributions think of outcomes, some of which may be right-censored."""

from typing import Any

import numpy as np
from scipy.special import ndtri
from tensorflow_probability import distributions as tfd

from nllfit.losses import negative_log_likelihood
from nllfit.quantiles import cdf, survival
from nllfit.scores import crps

__all__ = ["mean_crps", "mean_nll", "normal_scores", "shaped"]

_FURTHEST = 37.0  # the Normal score of the least probability in float64


def mean_nll(
    distribution: tfd.Distribution, y: np.ndarray, weights: np.ndarray | None = None, observed: np.ndarray | None = None
) -> float:
    """The mean negative log-likelihood of outcomes in nats, `-log S(y)` where an outcome was not observed.

    Args:
      distribution: of batch `[n]`.
      y: `[n, k]`.
      weights: `[n]`, how often each row counts, or None.
      observed: `[n]`, False where all that is known is that the outcome is larger; None if all were observed.
    """
    outcomes = shaped(y, distribution)
    losses = np.asarray(negative_log_likelihood(outcomes, distribution), np.float64)
    if observed is not None and not np.all(observed):
        beyond = np.asarray(survival(distribution, outcomes), np.float64).reshape(len(y))
        losses = np.where(observed, losses, -np.log(np.maximum(beyond, np.finfo(float).tiny)))
    return float(np.average(losses, weights=weights))


def mean_crps(distribution: tfd.Distribution, y: np.ndarray, weights: np.ndarray | None = None) -> float:
    """The mean continuous ranked probability score, in the unit of the outcomes."""
    return float(np.average(np.asarray(crps(shaped(y, distribution), distribution), np.float64), weights=weights))


def normal_scores(distribution: tfd.Distribution, y: np.ndarray) -> np.ndarray:
    """The Normal scores `[n]` of outcomes `[n, 1]`: the numbers below which a Normal has as much probability."""
    outcomes = shaped(y, distribution)
    below, above = (np.asarray(part(distribution, outcomes), np.float64).reshape(len(y)) for part in (cdf, survival))
    return np.clip(np.where(below < above, ndtri(below), -ndtri(above)), -_FURTHEST, _FURTHEST)


def shaped(y: np.ndarray, distribution: Any) -> np.ndarray:
    """Outcomes `[n, k]` in the shape that a distribution of batch `[n]` has them in."""
    return y.reshape([len(y), *distribution.event_shape])
