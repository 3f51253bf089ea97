"""Losses for Keras 3 models: the functions of `nllfit.losses` on the distribution that a prediction carries."""

from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit import losses
from nllfit.adapters.keras3 import infers_shapes
from nllfit.outputs import kind_of
from nllfit.scores import crps

__all__ = ["CRPS", "BetaNLL", "DistributionLoss", "NegativeLogLikelihood"]


class DistributionLoss(keras.losses.Loss):
    """A loss of Keras 3 that sees the distribution; a subclass gives `score(y_true, distribution)`, one number each.

    What has a weight of 0 or is masked does not matter to it, whatever it is: see `nllfit.losses.counted`.
    """

    # In place of Keras's `floatx`, to which it would cast the prediction before `call`: a copy has no distribution.
    dtype = None
    takes_padding = True

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> tf.Tensor:
        outcomes, weights = losses.counted(y_true, y_pred, sample_weight)
        return super().__call__(outcomes, y_pred, weights)

    def call(self, y_true: Any, y_pred: Any) -> tf.Tensor:
        if tf.is_tensor(y_pred) and hasattr(y_pred, "distribution"):
            return self.score(y_true, y_pred.distribution)
        if infers_shapes():
            return tf.zeros(tf.shape(y_pred)[:1])
        raise TypeError(
            f"`y_pred` is {kind_of(y_pred)}, without a distribution: end the model in a head of "
            f"`nllfit.keras3`, such as `keras3.heads.Normal(1)`, and apply nothing after it."
        )

    def score(self, y_true: Any, distribution: tfd.Distribution) -> tf.Tensor:
        raise NotImplementedError(f"{type(self).__name__} has no score.")


@keras.saving.register_keras_serializable(package="nllfit.losses")  # the metric has the same name
class NegativeLogLikelihood(DistributionLoss):
    """The negative log-likelihood of each outcome, `-log_prob(y_true)`, for any Keras 3 head.

    It is `nllfit.negative_log_likelihood`, which never broadcasts, under Keras's own masks, weights and reduction: by
    default the mean over the batch, and over the steps that are not masked; a weight of a row is that of all its steps.
    What is masked or has a weight of 0 may be anything: padding need not be an outcome. It is computed in the dtype of
    the head.

    Args:
      reduction: as Keras's losses have it; None gives `[B]`, a sum over the event, in nats.
      name: name of the loss.

    Raises:
      TypeError, ValueError: as `nllfit.negative_log_likelihood`. Keras 3 compiles with XLA where it can, and XLA does
        not check outcomes against the support: `compile(jit_compile=False)` does.

    Example:
      >>> from nllfit import keras3
      >>> head = keras3.heads.Normal(scale=1.0)
      >>> keras3.NegativeLogLikelihood(reduction=None)([[1.0]], head(tf.constant([[0.0]]))).numpy()  # 1/2 + log(2 pi)/2
      array([1.4189385], dtype=float32)

    Source: Fisher, On the mathematical foundations of theoretical statistics, 1922.
    """

    def __init__(self, reduction: str | None = "sum_over_batch_size", name: str = "negative_log_likelihood"):
        super().__init__(name, reduction)

    def score(self, y_true: Any, distribution: tfd.Distribution) -> tf.Tensor:
        return losses.log_loss(y_true, distribution)


@keras.saving.register_keras_serializable(package="nllfit.losses")
class CRPS(DistributionLoss):
    """`nllfit.losses.CRPS` for Keras 3: the continuous ranked probability score, in the unit of the outcome.

    Args:
      reduction: as Keras's losses have it; None gives `[B]`, a sum over the event.
      name: name of the loss.

    Raises:
      TypeError, ValueError, NotImplementedError: as `nllfit.crps`.

    Example:
      >>> from nllfit import keras3
      >>> head = keras3.heads.Normal(scale=1.0)
      >>> keras3.losses.CRPS()([[0.0]], head(tf.constant([[0.0]]))).numpy().round(4)  # (sqrt(2) - 1) / sqrt(pi)
      np.float32(0.2337)

    Source: Gneiting, Raftery, Westveld and Goldman, Calibrated probabilistic forecasting using ensemble model output
    statistics and minimum CRPS estimation, 2005.
    """

    def __init__(self, reduction: str | None = "sum_over_batch_size", name: str = "crps"):
        super().__init__(name, reduction)

    def score(self, y_true: Any, distribution: tfd.Distribution) -> tf.Tensor:
        return crps(y_true, distribution)


@keras.saving.register_keras_serializable(package="nllfit.losses")
class BetaNLL(DistributionLoss):
    """`nllfit.losses.BetaNLL` for Keras 3: the likelihood weighted by the predicted variance to the power beta.

    Args:
      beta: the power, from 0 to 1.
      reduction: as Keras's losses have it; None gives `[B]`, a sum over the event.
      name: name of the loss.

    Raises:
      TypeError, ValueError, NotImplementedError: as `nllfit.losses.BetaNLL`.

    Example:
      >>> from nllfit import keras3
      >>> head = keras3.heads.Normal(scale=2.0)
      >>> keras3.losses.BetaNLL(0.5)([[0.0]], head(tf.constant([[0.0]]))).numpy().round(4)  # 2 (log(8 pi) / 2)
      np.float32(3.2242)

    Source: Seitzer, Tavakoli, Antic and Martius, On the pitfalls of heteroscedastic uncertainty estimation with
    probabilistic neural networks, 2022.
    """

    def __init__(self, beta: float = 0.5, reduction: str | None = "sum_over_batch_size", name: str = "beta_nll"):
        super().__init__(name, reduction)
        self.beta = losses.as_beta(beta)

    def score(self, y_true: Any, distribution: tfd.Distribution) -> tf.Tensor:
        return losses.variance_weighted_log_loss(y_true, distribution, self.beta)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"beta": self.beta}
