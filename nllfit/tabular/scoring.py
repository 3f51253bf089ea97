"""Scores of predicted distributions. Some of the outcomes may be censored."""

from typing import Any

import numpy as np
import tensorflow as tf
from scipy.special import ndtri
from tensorflow_probability import distributions as tfd

from nllfit.cdf_and_quantiles import cdf, survival
from nllfit.families.law import elements_of
from nllfit.losses import negative_log_likelihood
from nllfit.scores import crps

__all__ = ["mean_crps", "mean_nll", "nll", "normal_scores", "shaped"]

_LARGEST_SCORE = 37.0  # its tail probability is near the smallest number in float64


def mean_nll(
    distribution: tfd.Distribution, y: np.ndarray, weights: np.ndarray | None = None, is_censored: bool = False
) -> float:
    """Returns the mean negative log-likelihood of outcomes in nats.

    The negative log-likelihood of an interval is `-log(F(upper) - F(lower))`.

    Args:
      distribution: the predictions, of batch `[n]`.
      y: the outcomes, `[n, k]`. Censored outcomes are pairs `[n, 2]`.
      weights: the number of times that each row counts, `[n]`, or None.
      is_censored: whether `y` are pairs.
    """
    return float(np.average(nll(distribution, y, is_censored), weights=weights))


def nll(distribution: tfd.Distribution, y: np.ndarray, is_censored: bool = False) -> np.ndarray:
    """Returns the negative log-likelihood of each outcome, `[n]`. The arguments are those of `mean_nll`."""
    if not is_censored:
        return np.asarray(negative_log_likelihood(shaped(y, distribution), distribution), np.float64)
    lower, upper = (shaped(end[:, None], distribution) for end in y.T)
    is_exact = y[:, 0] == y[:, 1]
    log_interval = elements_of(distribution).log_interval()
    intervals = np.asarray(log_interval(*map(tf.convert_to_tensor, (lower, upper)))).reshape(len(y))
    if not np.any(is_exact):
        return -intervals
    placeholder = y[is_exact][0, 0]
    exact = negative_log_likelihood(
        shaped(np.where(is_exact, y[:, 0], placeholder)[:, None], distribution), distribution
    )
    return np.where(is_exact, exact, -intervals)


def mean_crps(distribution: tfd.Distribution, y: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Returns the mean continuous ranked probability score, in the unit of the outcomes."""
    return float(np.average(np.asarray(crps(shaped(y, distribution), distribution), np.float64), weights=weights))


def normal_scores(distribution: tfd.Distribution, y: np.ndarray) -> np.ndarray:
    """Returns the Normal scores `Phi^-1(F(y))`, `[n]`, of outcomes `[n, 1]`."""
    outcomes = shaped(y, distribution)
    below, above = (np.asarray(part(distribution, outcomes), np.float64).reshape(len(y)) for part in (cdf, survival))
    return np.clip(np.where(below < above, ndtri(below), -ndtri(above)), -_LARGEST_SCORE, _LARGEST_SCORE)


def shaped(y: np.ndarray, distribution: Any) -> np.ndarray:
    """Reshapes outcomes `[n, k]` to `[n, *event]`, the shape of the distribution's outcomes."""
    return y.reshape([len(y), *distribution.event_shape])
