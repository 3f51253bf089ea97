"""The law of `tfd.TruncatedNormal` and `tfd.TruncatedCauchy`."""

from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.families.interval_probability import LogInterval
from nllfit.families.law import Law, has_law, law_of
from nllfit.families.windows import TruncatedDistribution

__all__ = ["TfpTruncatedLaw"]


@has_law(tfd.TruncatedCauchy, tfd.TruncatedNormal)
class TfpTruncatedLaw(Law):
    """The law of TFP's own truncated families. It computes probabilities as `TruncatedLaw` does.

    TFP's bijector gives NaN as the ends of a window that is open on one side, and TFP's survival function is
    `1 - cdf`.
    """

    @property
    def _window(self) -> Any:
        d: Any = self.distribution
        whole = tfd.Normal if isinstance(d, tfd.TruncatedNormal) else tfd.Cauchy
        return law_of(TruncatedDistribution(whole(d.loc, d.scale), d.low, d.high))

    def ends(self) -> tuple[tf.Tensor, tf.Tensor]:
        return self._window.ends()

    def _some_outcome(self):
        return self._window.some_outcome()

    def cdf(self):
        return self._window.cdf()

    def log_interval(self) -> LogInterval:
        return self._window.log_interval()
