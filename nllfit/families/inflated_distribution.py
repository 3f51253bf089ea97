"""`InflatedDistribution`, a distribution mixed with zeros, and the `Law` class with its formulas."""

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
    def _base_probs(self):
        return tf.sigmoid(-self.zero_logits)  # `1 - zero_probs` would have few digits if `zero_probs` is near 1

    def log_shares(self) -> tuple[tf.Tensor, tf.Tensor]:
        """The logarithms of `zero_probs` and of `1 - zero_probs`."""
        return -tf.math.softplus(-self.zero_logits), -tf.math.softplus(self.zero_logits)

    def _log_prob(self, value: tf.Tensor) -> tf.Tensor:
        (log_zero_weight, log_base_weight), base, is_zero = self.log_shares(), law_of(self.distribution), value == 0
        # The double-where trick: at 0, the density may be infinite and its derivative NaN, so we replace 0 before
        # `log_prob`.
        nonzero = tf.where(is_zero, tf.cast(base.some_outcome(), value.dtype), value)
        log_prob_nonzero = log_base_weight + base.constant_but(~is_zero).log_prob(asserted(self.distribution, nonzero))
        if not base.is_discrete or base.lowest > 0:
            return tf.where(is_zero, log_zero_weight, log_prob_nonzero)
        zero = tf.zeros([], self.distribution.dtype)
        possible = tf.math.is_finite(tf.stop_gradient(base.constant().log_prob(zero)))
        from_base = log_base_weight + base.constant_but(is_zero & possible).log_prob(zero)
        log_prob_zero = tfp.math.log_add_exp(log_zero_weight, tf.where(possible, from_base, tf.zeros_like(from_base)))
        return tf.where(is_zero, tf.where(possible, log_prob_zero, log_zero_weight), log_prob_nonzero)

    def _mean(self) -> tf.Tensor:
        mean = tf.cast(law_of(self.distribution).mean(), self.dtype)
        return tf.math.multiply_no_nan(mean, self._base_probs)  # infinity times 0 must give 0

    def _variance(self) -> tf.Tensor:
        base = law_of(self.distribution)
        mean, variance = tf.cast(base.mean(), self.dtype), tf.cast(base.variance(), self.dtype)
        return self._base_probs * (variance + self.zero_probs * tf.square(mean))

    def _sample_n(self, n: Any, seed: Any = None) -> tf.Tensor:
        first, second = tfp.random.split_seed(seed)
        law: Any = law_of(self)
        others = tf.cast(law.base.sample(n, first), self.dtype)
        shape = tf.concat([[n], self.batch_shape_tensor()], 0)
        is_zero = tfd.Uniform(tf.zeros([], self.dtype), 1.0).sample(shape, seed=second) < self.zero_probs
        return tf.where(is_zero, tf.zeros([], self.dtype), others)


@has_law(InflatedDistribution)
class InflatedLaw(Law):
    """The `Law` of an `InflatedDistribution`."""

    distribution: InflatedDistribution

    @property
    def base(self) -> Law:
        """The `Law` of the distribution that is mixed with zeros. Its batch is the batch of the mixture."""
        return law_of(over_batch(self.distribution.distribution, self.distribution))

    @property
    def has_exact_tails(self) -> bool:
        return True

    @property
    def lowest(self) -> float:
        return self.base.lowest

    def ends(self) -> tuple[tf.Tensor, tf.Tensor]:
        low, high = self.base.ends()
        return tf.minimum(low, 0.0), tf.maximum(high, 0.0)

    def _some_outcome(self):
        return tf.zeros(self.distribution.batch_shape_tensor(), self.distribution.dtype)

    @property
    def atoms(self) -> tuple[tf.Tensor, tf.Tensor] | None:
        zeros = self._some_outcome()[None]
        return None if self.base.is_discrete else (zeros, self.distribution.zero_probs + zeros)

    def corners(self) -> list[tf.Tensor]:
        zeros = self._some_outcome()
        return [*(corners + zeros for corners in self.base.corners()), zeros[None]]  # the CDF jumps at 0

    def cdf(self):
        base_tails, logits = self.base.cdf(), self.distribution.zero_logits
        share, rest = tf.sigmoid(logits), tf.sigmoid(-logits)

        def tails(y):
            zero_cdf = tf.cast(y >= 0, y.dtype)
            return tuple(
                rest * base + share * zero for base, zero in zip(base_tails(y), (zero_cdf, 1 - zero_cdf), strict=True)
            )

        return tails

    def log_interval(self) -> LogInterval:
        base_log_interval, (log_zero_weight, log_base_weight) = self.base.log_interval(), self.distribution.log_shares()
        impossible = tf.constant(-math.inf, self.distribution.dtype)

        def log_probability(lower, upper):
            from_base = log_base_weight + base_log_interval(lower, upper)
            from_zero = tf.where((lower < 0) & (upper >= 0), log_zero_weight + tf.zeros_like(from_base), impossible)
            return tf.reduce_logsumexp(tf.stack([from_zero, from_base]), 0)

        return log_probability

    def crps(self, y: tf.Tensor) -> tf.Tensor:
        # The formula follows from `CRPS = E|Y - y| - E|Y - Y'| / 2`, where `Y` and `Y'` are independent draws.
        share, at_zero = self.distribution.zero_probs, self.base.crps(tf.zeros_like(y))
        rest = tf.where(tf.math.is_inf(at_zero), at_zero, self.base.crps(y) - share * at_zero)  # avoids `inf - inf`
        return share * tf.abs(y) + (1 - share) * rest

    @property
    def has_finite_mean(self) -> bool:
        return self.base.has_finite_mean

    def center(self) -> tf.Tensor:
        return self.median()


@has_law(tfd.ZeroInflatedNegativeBinomial)
class _ZeroInflatedNegativeBinomialLaw(Law):
    """The `Law` of TFP's `ZeroInflatedNegativeBinomial`. `marginals` converts it to an `InflatedDistribution`."""

    def marginals(self) -> tfd.Distribution:
        d = self.distribution
        logits = d.cat.logits_parameter()
        return law_of(InflatedDistribution(logits[..., 0] - logits[..., 1], d.distribution)).marginals()
