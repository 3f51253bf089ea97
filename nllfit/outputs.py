"""The distribution of a head's output, in either Keras version, and the errors for outputs without one."""

from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from nllfit.adapters.tensorflow import made_by_head, mask_of, untouched, with_mask

__all__ = ["as_distribution", "distribution_of", "kind_of", "no_distribution", "output_like"]


def distribution_of(output: Any) -> tfp.distributions.Distribution | None:
    """The distribution of a head's output, or the argument if it is a distribution; None for any other tensor."""
    if isinstance(output, tfp.distributions.Distribution):
        return made_by_head(output)
    found = getattr(output, "distribution", None)
    return found if isinstance(found, tfp.distributions.Distribution) else None


def as_distribution(output: Any, name: str = "`y_pred`") -> tfp.distributions.Distribution:
    """The distribution of a head's output, in either Keras version; any other output raises a `TypeError`."""
    distribution = distribution_of(output)
    if distribution is None:
        raise no_distribution(output, name)
    return distribution


def no_distribution(output: Any, name: str = "`y_pred`") -> Exception:
    """The error for a prediction without a distribution, from `model.predict` or from a model without a head."""
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
    """How a message describes the output of a layer; the classes of TensorFlow's tensors mean nothing to a user."""
    if isinstance(output, type):
        return f"the class {output.__name__}"
    return f"a tensor of shape {tuple(output.shape)}" if tf.is_tensor(output) else f"a {type(output).__name__}"


def output_like(output: Any, distribution: tfp.distributions.Distribution, prediction: tf.Tensor) -> Any:
    """A distribution and its prediction as a head of the same Keras as `output` would return them, with its mask."""
    if hasattr(output, "log_prob"):
        return with_mask(distribution, mask_of(output))
    prediction = tf.identity(tf.cast(prediction, output.dtype))  # a copy: it may be the distribution's parameter
    prediction.distribution = distribution
    return with_mask(prediction, mask_of(output))
