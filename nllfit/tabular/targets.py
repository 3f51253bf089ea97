"""Targets: the transformed outcomes that a network learns, and the distribution in the original unit that results."""

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
    """The last layers, the training outcomes and the predicted distribution of a network, for outcomes `[n, k]`.

    Attributes:
      spreads: the factors to try on the width of the predicted distributions.
      is_discrete: whether outcomes have probabilities and not a density.
    """

    spreads: np.ndarray = SPREADS
    is_discrete: bool

    @abc.abstractmethod
    def layers(self) -> list[keras.layers.Layer]:
        """New layers for the end of a network: the first takes the hidden units, and the last is a head."""

    @abc.abstractmethod
    def head(self, is_trained: bool = True) -> keras.layers.Layer:
        """The head for training or, with `is_trained=False`, the head for prediction."""

    @abc.abstractmethod
    def seen(self, y: np.ndarray, observed: np.ndarray | None) -> np.ndarray:
        """The outcomes in the form on which a network is trained."""

    @abc.abstractmethod
    def distribution(self, predicted: tfd.Distribution, spread: float, doubt: float) -> tfd.Distribution:
        """The predicted distribution in the unit of the outcomes.

        Args:
          predicted: the prediction of an `Ensemble` of the networks, a mixture.
          spread: the factor on its width.
          doubt: the weight of the marginal distribution of the training set in the result.
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
        """Untrained networks to add to the ensemble; `build` makes one."""
        del build
        return []


class OfFamily(Target):
    """A target with a family's distribution; right-censored outcomes are trained with its `Censored` family."""

    def __init__(self, family: Any, is_censored: bool):
        self.family, self.is_censored = family, is_censored
        self.is_discrete = bool(family.is_discrete)

    def head(self, is_trained: bool = True) -> keras.layers.Layer:
        return heads.DistributionHead(Censored(self.family) if is_trained and self.is_censored else self.family)

    def _outcomes(self, y, observed):
        if self.is_censored:
            return right_censored(y[:, 0], np.ones(len(y), bool) if observed is None else observed)
        return y.reshape([len(y), *self.family.event_shape])
