"""Targets: what a network learns of the outcomes, and the distribution in their own unit that it then predicts."""

import abc
from typing import Any

import keras
import numpy as np
from tensorflow_probability import distributions as tfd

from nllfit.families import Censored, right_censored
from nllfit.keras3 import NegativeLogLikelihood, heads
from nllfit.tabular.scoring import mean_nll

__all__ = ["SPREADS", "OfFamily", "Target"]

SPREADS = np.geomspace(0.7, 4, 36)


class Target(abc.ABC):
    """What a network predicts: from the outcomes `[n, k]` to a distribution of them.

    Attributes:
      spreads: the factors to try on the width of the predicted distributions.
      is_discrete: whether outcomes have probabilities, and no density.
    """

    spreads: np.ndarray = SPREADS
    is_discrete: bool

    @abc.abstractmethod
    def layers(self) -> list[keras.layers.Layer]:
        """New layers for the end of a network: the first takes hidden units, and the last is a head."""

    @abc.abstractmethod
    def head(self, is_trained: bool = True) -> keras.layers.Layer:
        """The head that a network is trained with, or the one that it predicts with."""

    @abc.abstractmethod
    def seen(self, y: np.ndarray, observed: np.ndarray | None) -> np.ndarray:
        """The outcomes as a network is trained on them."""

    @abc.abstractmethod
    def distribution(self, predicted: tfd.Distribution, spread: float, doubt: float) -> tfd.Distribution:
        """The predicted distribution in the unit of the outcomes.

        Args:
          predicted: what an `Ensemble` of the networks predicts, a mixture.
          spread: the factor on its width.
          doubt: the probability with which an outcome comes from the marginal distribution of the training set.
        """

    def loss(self) -> keras.losses.Loss:
        return NegativeLogLikelihood()

    def losses(
        self,
        predicted: tfd.Distribution,
        doubt: float,
        y: np.ndarray,
        weights: np.ndarray | None,
        observed: np.ndarray | None,
    ) -> np.ndarray:
        """The mean negative log-likelihood of outcomes `[n, k]` with each of the `spreads`."""
        distributions = (self.distribution(predicted, spread, doubt) for spread in self.spreads)
        return np.array([mean_nll(distribution, y, weights, observed) for distribution in distributions])

    def untrained(self, build: Any) -> list[keras.Model]:
        """Networks that are members of the ensemble as they are, from a function that builds one."""
        del build
        return []


class OfFamily(Target):
    """A target whose outcomes have the distribution of a family; right-censored ones train its `Censored` family."""

    def __init__(self, family: Any, is_censored: bool):
        self.family, self.is_censored = family, is_censored
        self.is_discrete = bool(family.is_discrete)

    def head(self, is_trained: bool = True) -> keras.layers.Layer:
        return heads.DistributionHead(Censored(self.family) if is_trained and self.is_censored else self.family)

    def _outcomes(self, y, observed):
        if self.is_censored:
            return right_censored(y[:, 0], np.ones(len(y), bool) if observed is None else observed)
        return y.reshape([len(y), *self.family.event_shape])
