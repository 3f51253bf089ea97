"""A mix-in for each metric, shared by both Keras versions.

`nllfit.metrics` and `nllfit.keras3.metrics` put each mix-in before a mean of their Keras. A new metric is a mix-in here
and one line in each of the two. Its `score(y_true, y_pred)` returns `[*batch]`. Each argument of its constructor must
be in `get_config`, because models whose configs are equal share a program.
"""

from typing import Any

from nllfit.outcome_losses import log_loss
from nllfit.scores import crps

__all__ = ["CRPS", "NegativeLogLikelihood"]


class NegativeLogLikelihood:
    """The mean negative log-likelihood of the outcomes seen so far, in nats, weighted by `sample_weight`.

    Keras passes the prediction, a tensor, to a metric that is a function, but the distribution to this object, which
    can be listed together with Keras's own metrics. In Keras 3 it is `keras3.metrics.NegativeLogLikelihood`.

    Args:
      name: name of the metric in logs and history.
      dtype: as in Keras's metrics.

    Example:
      >>> model.compile("adam", nllfit.negative_log_likelihood, metrics=[nllfit.metrics.NegativeLogLikelihood(), "mae"])
    """

    score = staticmethod(log_loss)

    def __init__(self, name: str = "nll", dtype: Any = None):
        super().__init__(name=name, dtype=dtype)  # type: ignore[call-arg]  # of Keras's metric


class CRPS:
    """The mean `nllfit.crps` of the outcomes seen so far, in their unit, weighted by `sample_weight`.

    Args:
      name: name of the metric in logs and history.
      dtype: as in Keras's metrics.

    Example:
      >>> model.compile("adam", nllfit.negative_log_likelihood, metrics=[nllfit.metrics.CRPS()])
    """

    score = staticmethod(crps)

    def __init__(self, name: str = "crps", dtype: Any = None):
        super().__init__(name=name, dtype=dtype)  # type: ignore[call-arg]  # of Keras's metric
