"""`Observed`, the base class of distributions of censored and of truncated observations, and its `Law`."""

from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.families.law import Law, has_law, law_of
from nllfit.families.wrapped_distribution import DistributionOf

__all__ = ["Observed"]


class Observed(DistributionOf):
    """The base class of distributions of censored numbers, and of numbers with a truncation window.

    An outcome is a vector. It contains the ends of an interval in which the number lies, or the number and the ends of
    its truncation window. A subclass defines `_columns`, `_observed` and the methods that `DistributionOf` requires.
    """

    def _observed(self, number: tf.Tensor) -> tf.Tensor:
        """Converts numbers drawn from `distribution` to outcomes, which have one more axis."""
        raise NotImplementedError

    def _sample_n(self, n: Any, seed: Any = None) -> tf.Tensor:
        return self._observed(tf.cast(law_of(self.distribution).sample(n, seed), self.dtype))


@has_law(Observed)
class ObservedLaw(Law):
    """The law of an `Observed`. An outcome is a vector that says what is known about a number.

    The vector contains the ends of an interval in which the number lies, or the number and the ends of its truncation
    window. Quantiles, predictions and so on describe the distribution of the number before censoring, or before
    truncation to this window.
    """

    def latent(self) -> tfd.Distribution:
        return law_of(self.distribution.distribution).latent()

    def marginals(self) -> tfd.Distribution:
        return law_of(self.latent()).marginals()

    def central_value(self) -> tf.Tensor:
        return law_of(self.latent()).central_value()

    @property
    def has_exact_tails(self) -> bool:
        return law_of(self.distribution.distribution).has_exact_tails

    def _some_outcome(self):
        number = law_of(self.distribution.distribution).some_outcome()
        return self.distribution._observed(tf.cast(number, self.distribution.dtype))
