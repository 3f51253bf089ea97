"""A mix-in for each loss, shared by both Keras versions, with the loss's formula, arguments and config.

`nllfit.losses` and `nllfit.keras3.losses` put each mix-in before a `DistributionLoss` of their Keras. A new loss is a
mix-in here and one line in each of the two. Each argument of its constructor must be in `get_config`, because models
whose configs are equal share a program.
"""

from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.outcome_losses import log_loss, variance_weighted_log_loss
from nllfit.scores import crps

__all__ = ["CRPS", "BetaNLL", "NegativeLogLikelihood"]


class NegativeLogLikelihood:
    """The negative log-likelihood of each outcome, `-y_pred.log_prob(y_true)`, for any head.

    In tf_keras, `compile` takes `nllfit.negative_log_likelihood`, which is also a function `(y_true, y_pred)` of
    outcomes and a distribution. In Keras 3, `compile` takes `keras3.NegativeLogLikelihood()`. Keras calls a loss with
    `sample_weight` and gets the weighted mean. Outcomes that are masked or have a weight of 0 do not count, whatever
    their values: padding need not be in the support. The loss is computed in the dtype of the head.

    It never broadcasts: `y_true` has the shape `[*batch, *event]` of the distribution's outcomes, or it is an error at
    trace time. (A batch `[B]` against targets `[B, 1]` would give `[B, B]`, which silently trains to nonsense.) The one
    exception is class labels: Keras's `fit` turns `[B]` into `[B, 1]`, and both shapes mean the same.

    Args:
      y_true: outcomes, `[B, *event]`.
      y_pred: the output of a head; in tf_keras, also any `tfd.Distribution` of batch `[B]` and event `[*event]`.
      reduction: an argument of the class, as in Keras's losses; by default the mean over the outcomes that count.
      name: name of the loss.

    Returns:
      `[B]` in nats, a sum over the event, 0 for masked outcomes; Keras takes the mean over the batch. To compare it
      with Keras's own losses, which are means over the event, divide it by the event's size. An object of the class
      returns `[B]` with `reduction="none"`, in Keras 3 `reduction=None`.

    Raises:
      TypeError: if `y_pred` is not a distribution.
      ValueError: if the shape of `y_true` is not that of the outcomes (both are named); in eager mode also if an
        outcome is not finite, is outside the support of a distribution with `validate_args`, which heads set, or has no
        finite likelihood. In a graph the first two are a `tf.errors.InvalidArgumentError`. XLA does not check, and
        Keras 3 compiles with XLA where it can; `compile(jit_compile=False)` checks.

    Example:
      >>> head = nllfit.heads.Normal(scale=1.0)
      >>> negative_log_likelihood(tf.constant([[1.0]]), head(tf.constant([[0.0]]))).numpy()  # 1/2 + log(2 pi)/2
      array([1.4189385], dtype=float32)

    Source: Fisher, On the mathematical foundations of theoretical statistics, 1922.
    """

    def __init__(self, reduction: str | None = "auto", name: str = "negative_log_likelihood"):
        super().__init__(reduction=reduction, name=name)  # type: ignore[call-arg]  # of Keras's loss

    def score(self, y_true: Any, distribution: tfd.Distribution) -> tf.Tensor:
        return log_loss(y_true, distribution)


class CRPS:
    """The continuous ranked probability score of each outcome, `nllfit.crps`, in its unit, as a loss.

    It is the mean of `nllfit.crps`, a sum over the event, under Keras's masks and weights as in
    `NegativeLogLikelihood`. An outlier counts by its distance; in the likelihood of a Normal, by the square.

    Args:
      reduction: as in Keras's losses; by default the mean over the outcomes that count.
      name: name of the loss.

    Raises:
      TypeError, ValueError, NotImplementedError: as from `nllfit.crps`.

    Example:
      >>> model.compile("adam", nllfit.losses.CRPS())

    Source: Gneiting, Raftery, Westveld and Goldman, Calibrated probabilistic forecasting using ensemble model output
    statistics and minimum CRPS estimation, 2005.
    """

    def __init__(self, reduction: str | None = "auto", name: str = "crps"):
        super().__init__(reduction=reduction, name=name)  # type: ignore[call-arg]  # of Keras's loss

    def score(self, y_true: Any, distribution: tfd.Distribution) -> tf.Tensor:
        return crps(y_true, distribution)


class BetaNLL:
    """The negative log-likelihood of each element of an outcome, weighted by its predicted variance to the power beta.

    `sum over the event of -log p(y_i) * stop_gradient(variance_i)^beta`. Under the likelihood (`beta=0`) a Normal head
    learns a mean slowly wherever it has taken a large variance to explain the errors; with `beta=1` the gradient of
    the mean is that of the squared error. `BetaNLL` is only a training loss: its value is not a score.

    It is defined for heads of independent elements with a finite variance (not a `StudentT` with `df <= 2`), and for
    outcomes of one element, mixtures included.

    Args:
      beta: the power, from 0 to 1.
      reduction: as in Keras's losses; by default the mean over the outcomes that count.
      name: name of the loss.

    Raises:
      ValueError: if `beta` is not between 0 and 1; if the elements of the outcome depend on each other, or are class
        labels; if a variance is infinite (XLA does not check); and the errors of `nllfit.negative_log_likelihood`.
      NotImplementedError: if TFP knows no variance of the family.

    Example:
      >>> model.compile("adam", nllfit.losses.BetaNLL(0.5))

    Source: Seitzer, Tavakoli, Antic and Martius, On the pitfalls of heteroscedastic uncertainty estimation with
    probabilistic neural networks, 2022.
    """

    def __init__(self, beta: float = 0.5, reduction: str | None = "auto", name: str = "beta_nll"):
        super().__init__(reduction=reduction, name=name)  # type: ignore[call-arg]  # of Keras's loss
        if isinstance(beta, bool) or not (isinstance(beta, (int, float)) and 0 <= beta <= 1):
            raise ValueError(f"`beta` is {beta!r}: give a number from 0, the likelihood, to 1.")
        self.beta = float(beta)

    def score(self, y_true: Any, distribution: tfd.Distribution) -> tf.Tensor:
        return variance_weighted_log_loss(y_true, distribution, self.beta)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"beta": self.beta}  # type: ignore[misc]  # of Keras's loss
