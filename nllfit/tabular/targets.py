"""Targets: the form in which models learn outcomes, and the distribution that follows from a model's outputs."""

import abc
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.families import Censored
from nllfit.families.mixture import mixture_of
from nllfit.tabular.scoring import nll

__all__ = ["SPREADS", "Target", "has_few_values"]

_MOST_VALUES = 100
_LEAST_REPEATS = 10  # the least mean number of rows per distinct value
SPREADS = np.geomspace(0.7, 4, 36)


class Target(abc.ABC):
    """The form in which models learn outcomes `[n, k]`, and the distribution that follows from their outputs.

    Attributes:
      family: the family that is predicted.
      trained_family: the family of the outcomes in training, which are pairs under censoring.
      beta: the loss in training is `BetaNLL(beta)`, or the negative log-likelihood if 0.
      step, offset: the parameters of the family are `offset + step * output`, arrays `[params_size]`.
      marginal: the parameters of the marginal distribution, which then is one more member of the ensemble; None if
        `distribution` adds the marginal distribution to the mixture.
      spreads: the factors to try on the width of the predicted distributions.
      is_for_networks: whether networks can predict the target, and not only trees.
      is_discrete: whether outcomes have probabilities and not a density.
      is_concentrated: whether the target predicts a few values: the likelihood is then not comparable to a density.
    """

    spreads: np.ndarray = SPREADS
    beta: float = 0.0
    marginal: np.ndarray | None = None
    is_for_networks: bool = True

    def __init__(self, family: Any, is_censored: bool = False):
        self.family, self.is_censored = family, is_censored
        self.is_discrete = self.is_concentrated = bool(family.is_discrete)
        self.step, self.offset = np.ones(family.params_size), np.zeros(family.params_size)

    @property
    def trained_family(self) -> Any:
        return Censored(self.family) if self.is_censored else self.family

    def mixture(self, outputs: Sequence[tf.Tensor]) -> tfd.Distribution:
        """The equal mixture of the members' distributions, from the outputs `[n, params_size]` of each."""
        params = [tf.cast(self.offset, tf.float32) + tf.cast(self.step, tf.float32) * output for output in outputs]
        if self.marginal is not None:
            params.append(tf.zeros_like(params[0]) + tf.cast(self.marginal, tf.float32))
        return mixture_of(self.family.holding({"validate_args": False}), params, [None] * len(params))

    @abc.abstractmethod
    def seen(self, y: np.ndarray) -> np.ndarray:
        """The outcomes in the form on which a network is trained."""

    def statistics(self, y: np.ndarray) -> np.ndarray | None:
        """Numbers `[n, t]`, whose means trees predict; None if trees cannot predict the target."""
        del y
        return None

    def outputs_of(self, means: np.ndarray) -> tf.Tensor:
        """The outputs `[n, params_size]` of the distribution with these means of the statistics, `[n, t]`."""
        raise NotImplementedError

    @abc.abstractmethod
    def distribution(self, predicted: tfd.Distribution, spread: Any, doubt: float) -> tfd.Distribution:
        """The predicted distribution in the unit of the outcomes.

        Args:
          predicted: the `mixture` of an ensemble.
          spread: the factor on its width, or an array of them, one for each row.
          doubt: the weight of the marginal distribution of the training set in the result.
        """

    def losses(
        self,
        outputs: Sequence[tf.Tensor],
        doubt: float,
        y: np.ndarray,
        weights: np.ndarray | None,
    ) -> np.ndarray:
        """The mean negative log-likelihood of outcomes `[n, k]` with each of the `spreads`."""
        count = len(self.spreads)
        predicted = self.mixture([tf.tile(output, [count, 1]) for output in outputs])  # one call for all spreads
        distribution = self.distribution(predicted, np.repeat(self.spreads, len(y)), doubt)
        losses = nll(distribution, np.tile(y, [count, 1]), self.is_censored).reshape(count, len(y))
        return np.average(losses, axis=1, weights=weights)

    def _outcomes(self, y):
        return y if self.is_censored else y.reshape([len(y), *self.family.event_shape])


def has_few_values(y: np.ndarray) -> bool:
    """Whether outcomes `[n, 1]` repeat a few values, so that each may have its own probability."""
    return len(np.unique(y)) <= min(_MOST_VALUES, len(y) / _LEAST_REPEATS)
