"""One mix-in class for each loss, with the parts that both Keras versions share: formula, arguments and config.

`nllfit.losses` and `nllfit.keras3.losses` each define a `DistributionLoss`, and combine it with each mix-in. To add a
loss, write a mix-in here and one line in each of these modules. The loss's `get_config` must return each argument of
its constructor, because models whose configs are equal share a compiled program.
"""

import numbers
from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.outcome_losses import log_loss, variance_weighted_log_loss
from nllfit.scores import crps

__all__ = ["CRPS", "BetaNLL", "NegativeLogLikelihood"]


class NegativeLogLikelihood:
    """The negative log-likelihood of each outcome, `-y_pred.log_prob(y_true)`, for any head.

    In tf_keras, give `nllfit.negative_log_likelihood` to `compile`; it is also a function `(y_true, y_pred)` that
    returns the loss of each outcome. In Keras 3, give `keras3.NegativeLogLikelihood()` to `compile`. In training, Keras
    calls the loss with the argument `sample_weight`, which may be None. The loss then returns the sum of weight times
    loss, divided by the number of unmasked outcomes. (A weighted mean would divide by the sum of the weights.)
    Outcomes that are masked or have weight 0 add nothing to the sum, so padding need not be in the support. The loss is
    computed in the dtype of the head.

    The loss never broadcasts: if the shape of `y_true` is not the shape `[*batch, *event]` of the distribution's
    outcomes, the loss raises an error. In a graph, the loss raises this error when TensorFlow traces the graph. (A
    batch `[B]` with targets `[B, 1]` would broadcast to `[B, B]`, and training would silently find wrong weights.)
    There are two exceptions. Class labels may have the shape `[B]` or `[B, 1]`, because the `fit` of tf_keras reshapes
    `[B]` to `[B, 1]`. In Keras 3, outcomes `[B]` are reshaped to `[B, 1]` if the output of the head has the shape
    `[B, 1]`.

    Args:
      y_true: outcomes, `[B, *event]`.
      y_pred: the output of a head; in tf_keras, also any `tfd.Distribution` of batch `[B]` and event `[*event]`.
      reduction: an argument of the class, as in Keras's losses; by default the mean described above.
      name: name of the loss.

    Returns:
      In tf_keras, the losses `[B]` in nats, which are sums over the event. The loss of a masked outcome is 0. To
      compare a loss with Keras's own losses, which are means over the event, divide it by the event's size. A call with
      `sample_weight`, and in Keras 3 every call, returns the mean. If the loss was created with `reduction="none"`
      (`reduction=None` in Keras 3), such a call returns losses `[B]`.

    Raises:
      TypeError: if `y_pred` is not a distribution.
      ValueError: if `y_true` does not have the shape of the outcomes, or `sample_weight` has neither one number for
        each row, `[B]`, nor one for each outcome, `[*batch]`.
      ValueError: in eager mode, if an outcome or its log-likelihood is not finite, or an outcome is outside the support
        (unless the head has `validate_args=False`).
      tf.errors.InvalidArgumentError: in a graph, if an outcome is not finite or is outside the support, or if `y_true`
        and `y_pred` differ in the number of rows. A program that XLA compiled makes none of these checks. Keras 3
        compiles with XLA where it can, unless `compile` is called with `jit_compile=False`.

    Example:
      >>> head = nllfit.heads.Normal(scale=1.0)
      >>> negative_log_likelihood(tf.constant([[1.0]]), head(tf.constant([[0.0]]))).numpy()  # 1/2 + log(2 pi)/2
      array([1.4189385], dtype=float32)

    Source: Fisher, On the mathematical foundations of theoretical statistics, 1922.
    """

    score = staticmethod(log_loss)

    def __init__(self, reduction: str | None = "auto", name: str = "negative_log_likelihood"):
        super().__init__(reduction=reduction, name=name)  # type: ignore[call-arg]  # super() is Keras's loss


class CRPS:
    """`nllfit.crps` as a loss: the continuous ranked probability score of each outcome, in the unit of the outcome.

    A call returns the mean over outcomes, and masks and weights act as in `NegativeLogLikelihood`. An outlier at a
    distance `d` from the prediction adds about `d` to the loss, but a multiple of `d^2` to the negative log-likelihood
    of a Normal.

    Args:
      reduction: as in Keras's losses; by default the mean, as for `NegativeLogLikelihood`.
      name: name of the loss.

    Raises:
      TypeError, ValueError, NotImplementedError: in the cases in which `nllfit.crps` raises them.

    Example:
      >>> model.compile("adam", nllfit.losses.CRPS())

    Source: Gneiting, Raftery, Westveld and Goldman, Calibrated probabilistic forecasting using ensemble model output
    statistics and minimum CRPS estimation, 2005.
    """

    score = staticmethod(crps)

    def __init__(self, reduction: str | None = "auto", name: str = "crps"):
        super().__init__(reduction=reduction, name=name)  # type: ignore[call-arg]  # super() is Keras's loss


class BetaNLL:
    """The negative log-likelihood of each element of an outcome, weighted by its predicted variance to the power beta.

    The loss is the sum over the event of `-log p(y_i) * stop_gradient(variance_i)^beta`. With `beta=0` it is the
    negative log-likelihood, under which the mean of a Normal head learns slowly at inputs with a large predicted
    variance. With `beta=1`, the gradient with respect to the mean is proportional to the gradient of the squared error.
    `BetaNLL` is only a training loss: its value is not a score.

    The variance must be finite, so a `StudentT` must have `df > 2`. The elements of an outcome must be independent, or
    an outcome must have only one element, as under a mixture with `event_shape=1`.

    Args:
      beta: the power, from 0 to 1.
      reduction: as in Keras's losses; by default the mean, as for `NegativeLogLikelihood`.
      name: name of the loss.

    Raises:
      ValueError: in the cases in which `nllfit.negative_log_likelihood` raises it, or if one of these is true:
        - `beta` is not between 0 and 1.
        - The elements of the outcome depend on each other, or are class labels.
        - A variance is infinite. (In a graph this is a `tf.errors.InvalidArgumentError`. XLA does not check it.)
      NotImplementedError: if the distribution has no method for the variance.

    Example:
      >>> model.compile("adam", nllfit.losses.BetaNLL(0.5))

    Source: Seitzer, Tavakoli, Antic and Martius, On the pitfalls of heteroscedastic uncertainty estimation with
    probabilistic neural networks, 2022.
    """

    def __init__(self, beta: float = 0.5, reduction: str | None = "auto", name: str = "beta_nll"):
        super().__init__(reduction=reduction, name=name)  # type: ignore[call-arg]  # super() is Keras's loss
        given: Any = beta
        if isinstance(given, bool) or not (isinstance(given, numbers.Real) and 0 <= float(given) <= 1):
            raise ValueError(f"`beta` is {beta!r}: give a number from 0, the likelihood, to 1.")
        self.beta = float(given)

    def score(self, y_true: Any, distribution: tfd.Distribution) -> tf.Tensor:
        return variance_weighted_log_loss(y_true, distribution, self.beta)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"beta": self.beta}  # type: ignore[misc]  # super() is Keras's loss
