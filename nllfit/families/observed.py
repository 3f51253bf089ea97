"""Observations of a number: what is known of it comes in several columns, such as the ends of an interval."""

from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.families.copies import real_dtype
from nllfit.families.law import Law, has_law, law_of

__all__ = ["Observed"]


class Observed(tfd.AutoCompositeTensorDistribution):
    """The distribution of observations `[columns]`, of a number or of another observation, which has `distribution`.

    A subclass gives its parameters, `_columns`, `_observed(value)` and `_log_prob`.
    """

    distribution: tfd.Distribution

    def _begin(
        self, distribution: tfd.Distribution, validate_args: bool, parameters: dict[str, Any], name: str
    ) -> None:
        """What the constructor does after it has kept its arguments."""
        self.distribution = distribution
        super().__init__(
            dtype=real_dtype(distribution),
            reparameterization_type=tfd.NOT_REPARAMETERIZED,
            validate_args=validate_args,
            allow_nan_stats=True,
            parameters=parameters,
            name=name,
        )

    @property
    def _columns(self) -> int:
        raise NotImplementedError

    def _event_shape(self) -> tf.TensorShape:
        return tf.TensorShape([self._columns])

    def _event_shape_tensor(self) -> tf.Tensor:
        return tf.constant([self._columns])

    def _observed(self, number: tf.Tensor) -> tf.Tensor:
        """The observation of a number that is known, or of another observation, in the columns of this one."""
        raise NotImplementedError

    def _sample_n(self, n: Any, seed: Any = None) -> tf.Tensor:
        return self._observed(tf.cast(law_of(self.distribution).sample(n, seed), self.dtype))


@has_law(Observed)
class ObservedLaw(Law):
    """Observations: whatever is asked of one number is asked of the number itself."""

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
