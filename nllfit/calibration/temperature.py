"""Temperature scaling: one number by which a classifier is made less, or more, sure of itself."""

import math
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from numpy.typing import ArrayLike
from tensorflow_probability import distributions as tfd

from nllfit.calibration.calibrated import Calibrated, rows_for_calibration
from nllfit.evaluation.class_probabilities import class_labels, class_log_probs, of_one_outcome
from nllfit.families.kinds import MIXTURE_SAME_FAMILY, over_event
from nllfit.kerases import Model

__all__ = ["TemperatureScaled", "scale_temperature"]

_HIGHEST = 20.0


def scale_temperature(model: Model, x: Any, y: ArrayLike | None = None, *, batch_size: int = 32) -> "TemperatureScaled":
    """Divides a classifier's logits by the temperature that makes held-out rows the likeliest.

    `p_k = softmax(log p / T)_k`: above 1 the probabilities move towards each other, as those of a network that has
    learned its training rows by heart must. The order of the classes stays, and with it the accuracy; the mean negative
    log-likelihood of the held-out rows never rises, for `T = 1` is one of the choices.

    `T` is sought between 1/20 and 20. At the lower end all rows were classified right, and are too few to tell how
    often the model errs; at the upper end it does no better than chance.

    Args:
      model: a classifier: a model of either Keras whose head is `Bernoulli`, `Categorical`, `OneHotCategorical` or
        another family of labels, or an `Ensemble` of such, whose mixture is scaled.
      x, y: rows that the model was not trained on, as `nllfit.evaluate` takes them, at least two.
      batch_size: rows a call of the model.

    Returns:
      A `TemperatureScaled` model, with its `temperature`.

    Raises:
      TypeError: if `model` is no model, or does not end in a head.
      ValueError: if its outcomes are no classes, or several events that depend on each other (the mixture of an
        ensemble's), and for outcomes that `nllfit.evaluate` refuses.

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
    log_probs = tf.maximum(log_probs, -1e300)  # a class without probability stays one
    observed = tf.gather(log_probs, labels, batch_dims=labels.ndim)

    def slope(log_inverse):  # of the convex NLL in 1 / T
        probs = tf.nn.softmax(tf.exp(log_inverse) * log_probs)
        return tf.reduce_mean(tf.reduce_sum(probs * log_probs, -1) - observed)

    end = tf.constant(math.log(_HIGHEST), tf.float64)
    if slope(-end) >= 0:
        inverse = -end
    elif slope(end) <= 0:
        inverse = end
    else:
        inverse = tfp.math.find_root_chandrupatla(slope, -end, end, position_tolerance=1e-12).estimated_root
    return TemperatureScaled(model, float(tf.exp(-inverse)))


class TemperatureScaled(Calibrated):
    """A classifier whose logits are divided by a temperature; `scale_temperature` finds it.

    It computes in float64, in which no two classes that had different probabilities become equal. `save(folder)`
    keeps it, and `TemperatureScaled.load(folder)` brings it back.

    Args:
      model: as of `scale_temperature`.
      temperature: above 0.

    Raises:
      ValueError: if `temperature` is not a positive number; when it is called, if the outcomes are no classes.

    Example:
      >>> classifier = tf_keras.Sequential([tf_keras.layers.Dense(3), nllfit.heads.Categorical(3)])
      >>> TemperatureScaled(classifier, 2.0)(x).probs_parameter().shape
      TensorShape([4, 3])
    """

    def __init__(self, model: Any, temperature: float):
        super().__init__(model)
        if not (isinstance(temperature, (int, float, np.number)) and 0 < temperature < np.inf):
            raise ValueError(f"`temperature` is {temperature!r}: give a number above 0; 1 leaves the model as it is.")
        self.temperature = float(temperature)

    def __repr__(self) -> str:
        return f"TemperatureScaled({self.model!r}, {self.temperature:g})"

    def get_config(self) -> dict[str, Any]:
        return {"temperature": self.temperature}

    def calibrate(self, distribution: tfd.Distribution) -> tfd.Distribution:
        logits = _class_log_probs(distribution) / self.temperature
        arguments = {"dtype": distribution.dtype, "validate_args": distribution.validate_args}
        one = of_one_outcome(distribution)
        if isinstance(one, tfd.OneHotCategorical):
            return tfd.OneHotCategorical(logits, **arguments)
        if isinstance(one, (tfd.Bernoulli, tfd.ProbitBernoulli)):
            scaled = tfd.Bernoulli(logits[..., 1] - logits[..., 0], **arguments)
        else:
            scaled = tfd.Categorical(logits, **arguments)
        return over_event(scaled, distribution.event_shape.rank)


def _class_log_probs(distribution):
    log_probs = class_log_probs(distribution)
    if log_probs is None:
        raise ValueError(
            f"`model` predicts by {distribution.name}, whose outcomes are no classes: a temperature is for a head such "
            f"as Bernoulli, Categorical or OneHotCategorical."
        )
    one_hot = isinstance(of_one_outcome(distribution), tfd.OneHotCategorical)
    if isinstance(distribution, MIXTURE_SAME_FAMILY) and not one_hot and distribution.event_shape.num_elements() != 1:
        raise ValueError(
            f"`model` predicts by a mixture over outcomes of shape {tuple(distribution.event_shape)}, whose elements "
            f"depend on each other: scale the members' temperatures, or give each element a model."
        )
    return log_probs
