"""Scores of predicted distributions for outcomes, some of which may be right-censored."""

from typing import Any

import numpy as np
from scipy.special import ndtri
from tensorflow_probability import distributions as tfd

from nllfit.losses import negative_log_likelihood
from nllfit.quantiles import cdf, survival
from nllfit.scores import crps

__all__ = ["mean_crps", "mean_nll", "nll", "normal_scores", "shaped"]

_LARGEST_SCORE = 37.0  # the Normal score of about the smallest probability in float64


def mean_nll(
    distribution: tfd.Distribution, y: np.ndarray, weights: np.ndarray | None = None, observed: np.ndarray | None = None
) -> float:
    """The mean negative log-likelihood of outcomes in nats; `-log S(y)` for a right-censored outcome.

    Args:
      distribution: the predictions, of batch `[n]`.
      y: the outcomes, `[n, k]`.
      weights: the number of times that each row counts, `[n]`, or None.
      observed: `[n]`, False if an outcome is right-censored; None if all were observed.
    """
    return float(np.average(nll(distribution, y, observed), weights=weights))


def nll(distribution: tfd.Distribution, y: np.ndarray, observed: np.ndarray | None = None) -> np.ndarray:
    """The negative log-likelihood of each outcome, `[n]`, as in `mean_nll`."""
    outcomes = shaped(y, distribution)
    losses = np.asarray(negative_log_likelihood(outcomes, distribution), np.float64)
    if observed is not None and not np.all(observed):
        beyond = np.asarray(survival(distribution, outcomes), np.float64).reshape(len(y))
        losses = np.where(observed, losses, -np.log(np.maximum(beyond, np.finfo(float).tiny)))
    return losses


def mean_crps(distribution: tfd.Distribution, y: np.ndarray, weights: np.ndarray | None = None) -> float:
    """The mean continuous ranked probability score, in the unit of the outcomes."""
    return float(np.average(np.asarray(crps(shaped(y, distribution), distribution), np.float64), weights=weights))


def normal_scores(distribution: tfd.Distribution, y: np.ndarray) -> np.ndarray:
    """The Normal scores `Phi^-1(F(y))` `[n]` of outcomes `[n, 1]`."""
    outcomes = shaped(y, distribution)
    below, above = (np.asarray(part(distribution, outcomes), np.float64).reshape(len(y)) for part in (cdf, survival))
    return np.clip(np.where(below < above, ndtri(below), -ndtri(above)), -_LARGEST_SCORE, _LARGEST_SCORE)


def shaped(y: np.ndarray, distribution: Any) -> np.ndarray:
    """Outcomes `[n, k]` reshaped to `[n, *event]` of a distribution."""
    return y.reshape([len(y), *distribution.event_shape])
