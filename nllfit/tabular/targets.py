"""A `Target` defines how a model learns outcomes, and how the outputs of the model become a distribution."""

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

# Outcomes have few values if there are at most `_MOST_VALUES` distinct values, and on average at least `_LEAST_REPEATS`
# rows for each distinct value.
_MOST_VALUES = 100
_LEAST_REPEATS = 10
# The maximum number of distribution parameters that one call of `chunk_losses` computes for each member of an ensemble.
# In float64 they take 32 MiB.
_MOST_NUMBERS = 2**22
SPREADS = np.geomspace(0.7, 4, 36)


class Target(abc.ABC):
    """Defines how a model learns outcomes `[n, k]`, and how its outputs become a distribution.

    Attributes:
      family: the family that is predicted.
      trained_family: the family in the training loss: `family`, or `Censored(family)` if outcomes are censored.
      beta: the loss in training is `BetaNLL(beta)`; for 0 it is the negative log-likelihood.
      step, offset: arrays `[params_size]`. If `output` is the output of a network, `offset + step * output` are the
        unconstrained parameters of the family.
      marginal: the unconstrained parameters `[params_size]` of the marginal distribution that the method `mixture` adds
        to the members of the ensemble. None if the method `distribution` adds the marginal distribution later. Then
        `mixture` adds nothing.
      spreads: the factors to try on the width of the predicted distributions.
      is_for_networks: whether networks can predict the target. If False, only trees can.
      is_discrete: whether outcomes have probabilities and not a density.
      is_concentrated: whether the predicted distribution has a density that is concentrated at a few values.
      has_atom: whether the predicted distribution has a density and a positive probability of the outcome 0.
    """

    spreads: np.ndarray = SPREADS
    beta: float = 0.0
    marginal: np.ndarray | None = None
    is_for_networks: bool = True
    is_concentrated: bool = False
    has_atom: bool = False

    def __init__(self, family: Any, is_censored: bool = False):
        self.family, self.is_censored = family, is_censored
        self.is_discrete = bool(family.is_discrete)
        self.step, self.offset = np.ones(family.params_size), np.zeros(family.params_size)

    @property
    def kind(self) -> tuple[bool, bool, bool]:
        """The kind of the likelihood. The likelihoods of two targets can be compared only if their kinds are equal."""
        return self.is_discrete, self.is_concentrated, self.has_atom

    @property
    def trained_family(self) -> Any:
        return Censored(self.family) if self.is_censored else self.family

    def mixture(self, outputs: Sequence[tf.Tensor]) -> tfd.Distribution:
        """Returns the equally weighted mixture of the distributions of an ensemble's members.

        `outputs` are the outputs of each member, `[n, params_size]`. The mixture is in float64, because the
        log-probability of a large count would lose its digits in float32.
        """
        params = [self.offset + self.step * tf.cast(output, tf.float64) for output in outputs]
        if self.marginal is not None:
            params.append(tf.zeros_like(params[0]) + self.marginal)
        return mixture_of(self.family.holding({"validate_args": False}), params, [None] * len(params))

    @abc.abstractmethod
    def training_outcomes(self, y: np.ndarray) -> np.ndarray:
        """Returns the outcomes `[n, ...]` in the form in which networks are trained on them, e.g. standardised."""

    def statistics(self, y: np.ndarray) -> np.ndarray | None:
        """Returns several statistics of each outcome, `[n, num_statistics]`.

        Trees predict the mean of each statistic, given the columns of a row. If trees cannot predict the target, the
        method returns None.
        """
        del y
        return None

    def outputs_of(self, means: np.ndarray) -> tf.Tensor:
        """Converts predicted means of the `statistics`, `[n, num_statistics]`, to outputs `[n, params_size]`."""
        raise NotImplementedError

    @abc.abstractmethod
    def distribution(self, predicted: tfd.Distribution, spread: Any, doubt: float) -> tfd.Distribution:
        """Returns the predicted distribution in the unit of the outcomes.

        Args:
          predicted: the `mixture` of an ensemble.
          spread: the factor on the width of the distributions, a number or an array `[n]`.
          doubt: the weight of the marginal distribution of the training set in the result.
        """

    def losses(
        self,
        outputs: Sequence[tf.Tensor],
        doubt: float,
        y: np.ndarray,
        weights: np.ndarray | None,
    ) -> np.ndarray:
        """Returns the mean negative log-likelihood of outcomes `[n, k]` for each of the `spreads`."""
        count = len(self.spreads)
        size = max(1, _MOST_NUMBERS // (count * outputs[0].shape[1]))

        def chunk_losses(rows):  # repeats the rows, to evaluate all spreads in one call
            predicted = self.mixture([tf.tile(output[rows], [count, 1]) for output in outputs])
            outcomes = y[rows]
            distribution = self.distribution(predicted, np.repeat(self.spreads, len(outcomes)), doubt)
            return nll(distribution, np.tile(outcomes, [count, 1]), self.is_censored).reshape(count, len(outcomes))

        chunks = [chunk_losses(slice(start, start + size)) for start in range(0, len(y), size)]
        return np.average(np.concatenate(chunks, axis=1), axis=1, weights=weights)

    def _outcomes(self, y):
        return y if self.is_censored else y.reshape([len(y), *self.family.event_shape])


def has_few_values(y: np.ndarray) -> bool:
    """Returns whether outcomes `[n, 1]` have so few distinct values that each may have its own probability."""
    return len(np.unique(y)) <= min(_MOST_VALUES, len(y) / _LEAST_REPEATS)
