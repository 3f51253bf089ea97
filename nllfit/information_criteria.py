"""Information criteria and Wald intervals of a maximum-likelihood fit."""

import math
import numbers
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

__all__ = ["MaximumLikelihoodFit", "check_level", "wald_interval"]


class MaximumLikelihoodFit:
    """The base class of maximum-likelihood fits, which computes information criteria."""

    log_likelihood: float
    num_observations: float
    num_parameters: int
    converged: bool

    @property
    def aic(self) -> float:
        """Akaike's information criterion, `2 k - 2 log L`, for `k = num_parameters`; smaller is better."""
        return 2 * self.num_parameters - 2 * self.log_likelihood

    @property
    def bic(self) -> float:
        """The Bayesian information criterion, `k log(n) - 2 log L`; smaller is better."""
        return self.num_parameters * math.log(self.num_observations) - 2 * self.log_likelihood

    def _heading(self, label: str, covariance: str, width: int) -> list[str]:
        left = {
            "Family:": label,
            "No. Observations:": f"{self.num_observations:g}",
            "No. Parameters:": self.num_parameters,
            "Converged:": self.converged,
        }
        right = {
            "Log-Likelihood:": f"{self.log_likelihood:.3f}",
            "AIC:": f"{self.aic:.3f}",
            "BIC:": f"{self.bic:.3f}",
            "Covariance:": covariance,
        }
        return [
            f"{title}{entry!s:>{width - 42 - len(title)}}   {other:<16}{number:>23}"
            for (title, entry), (other, number) in zip(left.items(), right.items(), strict=True)
        ]


def wald_interval(estimate: np.ndarray, error: np.ndarray, level: float) -> np.ndarray:
    """Returns `estimate +- z * error` as an array `[..., 2]`.

    `z` is the quantile of the standard Normal at the probability `(1 + level) / 2`.
    """
    half = float(tfd.Normal(tf.constant(0.0, tf.float64), 1.0).quantile((1 + level) / 2)) * error
    return np.stack([estimate - half, estimate + half], -1)


def check_level(level: Any) -> None:
    """Raises a `ValueError` if `level` is not a number between 0 and 1."""
    if not (isinstance(level, numbers.Real) and 0 < float(level) < 1):
        raise ValueError(f"`level` is {level!r}: give a probability between 0 and 1, such as 0.95.")
