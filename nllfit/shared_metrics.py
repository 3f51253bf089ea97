"""One mix-in class for each metric, with the parts that both Keras versions share.

`nllfit.metrics` and `nllfit.keras3.metrics` make a metric from a mix-in and Keras's `Mean`. To add a metric, write a
mix-in here and one line in each of these modules. The method `score(y_true, distribution)` of a mix-in returns the
scores `[*batch]`. The metric's `get_config` must return each argument of its constructor, because models whose configs
are equal share a compiled program.
"""

from typing import Any

from nllfit.outcome_losses import log_loss
from nllfit.scores import crps

__all__ = ["CRPS", "NegativeLogLikelihood", "Score"]


class Score:
    """The base class of the metrics that compare an outcome with its predicted distribution."""


class NegativeLogLikelihood(Score):
    """The mean negative log-likelihood of the outcomes seen so far, in nats, without masked outcomes.

    List an instance of this class in `metrics` of `compile`, or in `weighted_metrics` for the mean weighted by
    `sample_weight`. In `metrics`, rows of weight 0 count, so their outcomes must be in the support. Do not list a
    function, such as `nllfit.negative_log_likelihood`: Keras calls a function with a tensor of predictions, which does
    not contain the distribution. In Keras 3, use `keras3.metrics.NegativeLogLikelihood`.

    Args:
      name: name of the metric in logs and history.
      dtype: as in Keras's metrics.

    Example:
      >>> model.compile("adam", nllfit.negative_log_likelihood, metrics=[nllfit.metrics.NegativeLogLikelihood(), "mae"])
    """

    score = staticmethod(log_loss)

    def __init__(self, name: str = "nll", dtype: Any = None):
        super().__init__(name=name, dtype=dtype)  # type: ignore[call-arg]  # super() is Keras's metric


class CRPS(Score):
    """The mean `nllfit.crps` of the outcomes seen so far, in their unit, without masked outcomes.

    In `weighted_metrics` of `compile`, the mean is weighted by `sample_weight`; in `metrics` it is not, and outcomes of
    weight 0 must be in the support.

    Args:
      name: name of the metric in logs and history.
      dtype: as in Keras's metrics.

    Example:
      >>> model.compile("adam", nllfit.negative_log_likelihood, metrics=[nllfit.metrics.CRPS()])
    """

    score = staticmethod(crps)

    def __init__(self, name: str = "crps", dtype: Any = None):
        super().__init__(name=name, dtype=dtype)  # type: ignore[call-arg]  # super() is Keras's metric
