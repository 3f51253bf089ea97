"""Finds the distribution in a head's output, and makes such outputs, in either Keras version."""

from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from nllfit.adapters.tensorflow import mask_of, untouched, with_mask
from nllfit.adapters.tensorflow_probability import made_by_head

__all__ = ["as_distribution", "distribution_of", "kind_of", "no_distribution", "output_like", "refuse_estimators"]


def distribution_of(output: Any) -> tfp.distributions.Distribution | None:
    """Returns the distribution in a head's output, in either Keras version, or None for the output of another layer.

    A `tfd.Distribution` that is not the output of a head is returned as it is.
    """
    if isinstance(output, tfp.distributions.Distribution):
        return made_by_head(output)
    found = getattr(output, "distribution", None)
    return found if isinstance(found, tfp.distributions.Distribution) else None


def as_distribution(output: Any, name: str = "`y_pred`") -> tfp.distributions.Distribution:
    """Returns the distribution in a head's output. Raises a `TypeError` for the output of another layer."""
    distribution = distribution_of(output)
    if distribution is None:
        raise no_distribution(output, name)
    return distribution


def no_distribution(output: Any, name: str = "`y_pred`") -> Exception:
    """Returns the error for an `output` without a distribution, such as the result of `model.predict`."""
    if tf.is_tensor(output):
        advice = (
            "end the model in a head, such as `nllfit.heads.Normal(1)`, and give what it returns. In a Keras 3 model, "
            "`from nllfit import keras3` and use `keras3.heads.Normal(1)` and the loss `keras3.NegativeLogLikelihood()`"
        )
    else:
        advice = (
            "give the result of `nllfit.predict_distribution(model, x)` or of `model(x)`, because Keras's "
            "`model.predict(x)` returns only the mean"
        )
    return untouched(TypeError(f"{name} is {kind_of(output)}, but a distribution is needed: {advice}."))


def kind_of(output: Any) -> str:
    """Describes an output for a message: a tensor by its shape, any other output by its class."""
    if isinstance(output, type):
        return f"the class {output.__name__}"
    return f"a tensor of shape {tuple(output.shape)}" if tf.is_tensor(output) else f"a {type(output).__name__}"


def output_like(output: Any, distribution: tfp.distributions.Distribution, prediction: tf.Tensor) -> Any:
    """Returns a head's output that contains `distribution`.

    In tf_keras the result is the distribution itself. In Keras 3 the result is `prediction` with the attribute
    `distribution`.

    Args:
      output: the output of a head. The result is of the same Keras version and has the same mask.
      distribution: the distribution.
      prediction: the central value of `distribution`.
    """
    if hasattr(output, "log_prob"):
        return with_mask(distribution, mask_of(output))
    # A copy, because `prediction` may be the tensor of a parameter, such as `loc`, which must not get the attribute.
    prediction = tf.identity(tf.cast(prediction, output.dtype))
    prediction.distribution = distribution
    return with_mask(prediction, mask_of(output))


def refuse_estimators(model: Any) -> None:
    """Raises a `TypeError` for an estimator of `nllfit.tabular` or a fitted regression, which are not Keras models."""
    if hasattr(model, "predict_distribution") and not callable(model):
        raise TypeError(
            f"`model` is a {type(model).__name__}, not a Keras model: call its own methods. To score it, call "
            f"`nllfit.evaluate(model.predict_distribution(data), y=y)`."
        )
