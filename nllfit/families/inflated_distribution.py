"""`InflatedDistribution`, a distribution mixed with zeros, and its law."""

import math
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd
from tensorflow_probability import util as tfpu

from nllfit.families.copies import over_batch
from nllfit.families.interval_probability import LogInterval
from nllfit.families.law import Law, has_law, law_of
from nllfit.families.support_checks import asserted
from nllfit.families.wrapped_distribution import DistributionOf

__all__ = ["InflatedDistribution"]


class InflatedDistribution(DistributionOf):
    """The mixture of the number 0 and a scalar `distribution`. The weight of the 0 is `sigmoid(zero_logits)`."""

    def __init__(
        self, zero_logits: Any, distribution: tfd.Distribution, validate_args: bool = False, name: str = "ZeroInflated"
    ):
        self.zero_logits = tf.convert_to_tensor(zero_logits)
        self._begin(dict(locals()))

    @classmethod
    def _parameter_properties(cls, dtype: Any, num_classes: Any = None) -> dict[str, Any]:
        return {
            "zero_logits": tfpu.ParameterProperties(),
            "distribution": tfpu.BatchedComponentProperties(),
        }

    def _default_event_space_bijector(self) -> Any:
        return self.distribution.experimental_default_event_space_bijector()

    @property
    def zero_probs(self) -> tf.Tensor:
        """The weight of the 0 in the mixture. Zeros of `distribution` itself do not count."""
        return tf.sigmoid(self.zero_logits)

    @property
    def _other_probs(self):
        return tf.sigmoid(-self.zero_logits)  # `1 - zero_probs` would have few digits if `zero_probs` is near 1

    def log_shares(self) -> tuple[tf.Tensor, tf.Tensor]:
        """The logarithms of `zero_probs` and of `1 - zero_probs`."""
        return -tf.math.softplus(-self.zero_logits), -tf.math.softplus(self.zero_logits)

    def _log_prob(self, value: tf.Tensor) -> tf.Tensor:
        (log_share, log_rest), own, zero = self.log_shares(), law_of(self.distribution), value == 0
        # A double where: at 0, the density may be infinite and its derivative NaN, so 0 is replaced before `log_prob`.
        others = tf.where(zero, tf.cast(own.some_outcome(), value.dtype), value)
        rest = log_rest + own.constant_but(~zero).log_prob(asserted(self.distribution, others))
        if not own.is_discrete or own.lowest > 0:
            return tf.where(zero, log_share, rest)
        none = tf.zeros([], self.distribution.dtype)
        possible = tf.math.is_finite(tf.stop_gradient(own.constant().log_prob(none)))
        its_zeros = log_rest + own.constant_but(zero & possible).log_prob(none)
        both = tfp.math.log_add_exp(log_share, tf.where(possible, its_zeros, tf.zeros_like(its_zeros)))
        return tf.where(zero, tf.where(possible, both, log_share), rest)

    def _mean(self) -> tf.Tensor:
        mean = tf.cast(law_of(self.distribution).mean(), self.dtype)
        return tf.math.multiply_no_nan(mean, self._other_probs)  # infinity times 0 must give 0

    def _variance(self) -> tf.Tensor:
        own = law_of(self.distribution)
        mean, variance = tf.cast(own.mean(), self.dtype), tf.cast(own.variance(), self.dtype)
        return self._other_probs * (variance + self.zero_probs * tf.square(mean))

    def _sample_n(self, n: Any, seed: Any = None) -> tf.Tensor:
        first, second = tfp.random.split_seed(seed)
        law: Any = law_of(self)
        others = tf.cast(law.own.sample(n, first), self.dtype)
        shape = tf.concat([[n], self.batch_shape_tensor()], 0)
        zero = tfd.Uniform(tf.zeros([], self.dtype), 1.0).sample(shape, seed=second) < self.zero_probs
        return tf.where(zero, tf.zeros([], self.dtype), others)


@has_law(InflatedDistribution)
class InflatedLaw(Law):
    """The law of an `InflatedDistribution`."""

    distribution: InflatedDistribution

    @property
    def own(self) -> Law:
        """The law of the distribution that is mixed with zeros, broadcast to the batch of the mixture."""
        return law_of(over_batch(self.distribution.distribution, self.distribution))

    @property
    def has_exact_tails(self) -> bool:
        return True

    @property
    def lowest(self) -> float:
        return self.own.lowest

    def ends(self) -> tuple[tf.Tensor, tf.Tensor]:
        low, high = self.own.ends()
        return tf.minimum(low, 0.0), tf.maximum(high, 0.0)

    def _some_outcome(self):
        return tf.zeros(self.distribution.batch_shape_tensor(), self.distribution.dtype)

    @property
    def atoms(self) -> tuple[tf.Tensor, tf.Tensor] | None:
        zeros = self._some_outcome()[None]
        return None if self.own.is_discrete else (zeros, self.distribution.zero_probs + zeros)

    def corners(self) -> list[tf.Tensor]:
        zeros = self._some_outcome()
        return [*(corners + zeros for corners in self.own.corners()), zeros[None]]  # the CDF jumps at 0

    def cdf(self):
        own, logits = self.own.cdf(), self.distribution.zero_logits
        share, rest = tf.sigmoid(logits), tf.sigmoid(-logits)

        def both(y):
            zero = tf.cast(y >= 0, y.dtype)
            return tuple(rest * part + share * point for part, point in zip(own(y), (zero, 1 - zero), strict=True))

        return both

    def log_interval(self) -> LogInterval:
        own, (log_share, log_rest) = self.own.log_interval(), self.distribution.log_shares()
        impossible = tf.constant(-math.inf, self.distribution.dtype)

        def log_probability(lower, upper):
            rest = log_rest + own(lower, upper)
            zero = tf.where((lower < 0) & (upper >= 0), log_share + tf.zeros_like(rest), impossible)
            return tf.reduce_logsumexp(tf.stack([zero, rest]), 0)

        return log_probability

    def crps(self, y: tf.Tensor) -> tf.Tensor:
        share, at_zero = self.distribution.zero_probs, self.own.crps(tf.zeros_like(y))
        others = tf.where(tf.math.is_inf(at_zero), at_zero, self.own.crps(y) - share * at_zero)  # avoids `inf - inf`
        return share * tf.abs(y) + (1 - share) * others

    @property
    def has_finite_mean(self) -> bool:
        return self.own.has_finite_mean

    def center(self) -> tf.Tensor:
        return self.median()


@has_law(tfd.ZeroInflatedNegativeBinomial)
class _ZeroInflatedNegativeBinomialLaw(Law):
    """The law of TFP's `ZeroInflatedNegativeBinomial`. Probabilities come from an equal `InflatedDistribution`."""

    def marginals(self) -> tfd.Distribution:
        d = self.distribution
        logits = d.cat.logits_parameter()
        return law_of(InflatedDistribution(logits[..., 0] - logits[..., 1], d.distribution)).marginals()
