"""The subclass of `Law` for `tfd.TruncatedNormal` and `tfd.TruncatedCauchy`."""

from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.families.interval_probability import LogInterval
from nllfit.families.law import Law, has_law, law_of
from nllfit.families.tail_integrals import tail_integrals
from nllfit.families.truncated_distribution import TruncatedDistribution

__all__ = ["TfpTruncatedLaw"]

# Both constants are in units of the scale. The closed form of the CRPS has fewer than 9 correct digits if the window is
# narrower than `_NARROW`, or if the distance of the window from `loc` is larger than `_FAR`.
_NARROW, _FAR = 1e-2, 30.0


@has_law(tfd.TruncatedCauchy, tfd.TruncatedNormal)
class TfpTruncatedLaw(Law):
    """The law of TFP's own truncated families. It computes probabilities by `TruncatedLaw`, for two reasons.

    TFP's bijector gives NaN as the ends of a window that is open on one side. TFP's survival function is `1 - cdf`,
    which loses digits in the upper tail.
    """

    @property
    def _window(self) -> Any:
        d: Any = self.distribution
        untruncated = tfd.Normal if isinstance(d, tfd.TruncatedNormal) else tfd.Cauchy
        return law_of(TruncatedDistribution(untruncated(d.loc, d.scale), d.low, d.high))

    def ends(self) -> tuple[tf.Tensor, tf.Tensor]:
        return self._window.ends()

    def _some_outcome(self):
        return self._window.some_outcome()

    def cdf(self):
        return self._window.cdf()

    def log_interval(self) -> LogInterval:
        return self._window.log_interval()

    def crps(self, y: tf.Tensor) -> tf.Tensor:
        """Returns the closed form of the CRPS, or the integral where the terms of the closed form cancel."""
        d: Any = self.distribution
        if self.facts.crps is None:
            return super().crps(y)
        is_wide = d.high - d.low > _NARROW * d.scale
        is_accurate = is_wide & (tf.maximum(d.low - d.loc, d.loc - d.high) < _FAR * d.scale)
        ends = tf.where(is_accurate, d.low, d.loc - d.scale), tf.where(is_accurate, d.high, d.loc + d.scale)
        closed = self.facts.crps(type(d)(d.loc, d.scale, *ends), y)

        def integrated():
            return tf.where(is_accurate, closed, sum(tail_integrals(self, y, lambda p, _: tf.square(p))))

        return tf.cond(tf.reduce_all(is_accurate), lambda: closed, integrated)
