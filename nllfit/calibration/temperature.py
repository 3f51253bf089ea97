"""Temperature scaling: one number makes a classifier's probabilities less or more extreme."""

import math
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from numpy.typing import ArrayLike
from tensorflow_probability import distributions as tfd

from nllfit.adapters import Model
from nllfit.calibration.calibrated import Calibrated, rows_for_calibration
from nllfit.evaluation.class_probabilities import class_labels, class_log_probs
from nllfit.families.tfp_classes import MIXTURE_SAME_FAMILY, over_event, unwrapped

__all__ = ["TemperatureScaled", "scale_temperature"]

_HIGHEST_TEMPERATURE = 20.0


def scale_temperature(model: Model, x: Any, y: ArrayLike | None = None, *, batch_size: int = 32) -> "TemperatureScaled":
    """Divides a classifier's logits by the temperature under which held-out rows have the largest likelihood.

    The scaled probabilities are `softmax(log p / T)`. A temperature above 1 makes the probabilities less extreme, as an
    overfitted network needs. The order of the classes does not change, so the accuracy stays the same. The mean
    negative log-likelihood of the held-out rows never increases, because `T = 1` is one of the choices.

    The temperature is between 1/20 and 20. It is 1/20 if the model classifies every held-out row right, because a
    lower temperature then always raises the likelihood. It is 20 if the model is no better than chance.

    Args:
      model: a classifier: a Keras 2 or Keras 3 model whose head is `Bernoulli`, `Categorical`, `OneHotCategorical` or
        another family of labels; or an `Ensemble` or a `Laplace` of such models, whose mixture is scaled.
      x, y: at least two rows that the model was not trained on, in the forms that `nllfit.evaluate` takes.
      batch_size: the number of rows in each call of the model.

    Returns:
      A `TemperatureScaled` model. Its attribute `temperature` is `T`.

    Raises:
      TypeError: if `model` is not a model, or does not end in a head.
      ValueError: if one of these is true:
        - The outcomes are not classes.
        - An outcome has several labels, and the model predicts a mixture, as an `Ensemble` and a `Laplace` do. The
          labels of an outcome depend on each other in a mixture.
        - `nllfit.evaluate` refuses the outcomes.

    Example:
      >>> classifier = tf_keras.Sequential([tf_keras.layers.Dense(1), nllfit.heads.Bernoulli()])
      >>> scaled = scale_temperature(classifier, x, [[0], [1], [0], [1]])
      >>> evaluate(scaled, x, [[0], [1], [0], [1]]).accuracy
      0.5

    Source: Guo, Pleiss, Sun and Weinberger, On calibration of modern neural networks, 2017.
    """
    rows = rows_for_calibration(model, x, y, batch_size)
    log_probs = rows.counted(_class_log_probs(rows.distribution))
    labels = rows.counted(class_labels(rows.y, rows.distribution))
    log_probs = tf.maximum(log_probs, -1e300)  # a probability of 0 would lead to 0 * -inf = NaN
    observed = tf.gather(log_probs, labels, batch_dims=labels.ndim)

    # The derivative of the NLL with respect to 1 / T. The NLL is convex in 1 / T, so the derivative increases, and the
    # NLL is smallest at the only root of the derivative.
    def slope(log_inverse):
        probs = tf.nn.softmax(tf.exp(log_inverse) * log_probs)
        return tf.reduce_mean(tf.reduce_sum(probs * log_probs, -1) - observed)

    end = tf.constant(math.log(_HIGHEST_TEMPERATURE), tf.float64)
    if slope(-end) >= 0:
        inverse = -end
    elif slope(end) <= 0:
        inverse = end
    else:
        inverse = tfp.math.find_root_chandrupatla(slope, -end, end, position_tolerance=1e-12).estimated_root
    return TemperatureScaled(model, float(tf.exp(-inverse)))


class TemperatureScaled(Calibrated):
    """A classifier whose logits are divided by a temperature. `scale_temperature` returns it.

    The probabilities are computed in float64, so that rounding does not make different probabilities equal.
    `save(folder)` writes the model, and `TemperatureScaled.load(folder)` reads it.

    Args:
      model: as for `scale_temperature`.
      temperature: a positive number.

    Raises:
      ValueError: if `temperature` is not a positive number; in a call of the model, if the outcomes are not classes.

    Example:
      >>> classifier = tf_keras.Sequential([tf_keras.layers.Dense(3), nllfit.heads.Categorical(3)])
      >>> TemperatureScaled(classifier, 2.0)(x).probs_parameter().shape
      TensorShape([4, 3])
    """

    def __init__(self, model: Any, temperature: float):
        super().__init__(model)
        if not (isinstance(temperature, (int, float, np.number)) and 0 < temperature < np.inf):
            raise ValueError(f"`temperature` is {temperature!r}: give a number above 0; 1 changes nothing.")
        self.temperature = float(temperature)

    def __repr__(self) -> str:
        return f"TemperatureScaled({self.model!r}, {self.temperature:g})"

    def get_config(self) -> dict[str, Any]:
        return {"temperature": self.temperature}

    def calibrate(self, distribution: tfd.Distribution) -> tfd.Distribution:
        logits = _class_log_probs(distribution) / self.temperature
        arguments = {"dtype": distribution.dtype, "validate_args": distribution.validate_args}
        inner = unwrapped(distribution)
        if isinstance(inner, tfd.OneHotCategorical):
            scaled = tfd.OneHotCategorical(logits, **arguments)
        elif isinstance(inner, (tfd.Bernoulli, tfd.ProbitBernoulli)):
            scaled = tfd.Bernoulli(logits[..., 1] - logits[..., 0], **arguments)
        else:
            scaled = tfd.Categorical(logits, **arguments)
        return over_event(scaled, distribution.event_shape.rank)


def _class_log_probs(distribution):
    log_probs = class_log_probs(distribution)
    if log_probs is None:
        raise ValueError(
            f"`model` predicts a {distribution.name}, whose outcomes are not classes: a temperature is for heads such "
            f"as Bernoulli, Categorical or OneHotCategorical."
        )
    one_hot = isinstance(unwrapped(distribution), tfd.OneHotCategorical)
    labels = distribution.event_shape[:-1] if one_hot else distribution.event_shape
    if isinstance(distribution, MIXTURE_SAME_FAMILY) and labels.num_elements() != 1:
        raise ValueError(
            f"`model` predicts a mixture over outcomes of shape {tuple(distribution.event_shape)}, whose elements "
            f"depend on each other: scale each member's temperature, or train a model for each element."
        )
    return log_probs
