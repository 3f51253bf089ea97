"""Heads, layers, losses and metrics for Keras 3. (Since TensorFlow 2.16, `tf.keras` is Keras 3.)

    from nllfit import keras3

    model = keras.Sequential([keras.layers.Dense(2), keras3.heads.Normal(1)])
    model.compile("adam", keras3.NegativeLogLikelihood(), metrics=[keras3.metrics.NegativeLogLikelihood(), "mae"])

A Keras 3 layer must return tensors. So a head returns the distribution's `central_value` as a tensor, and the tensor
has the attribute `distribution`: `model(x).distribution`. The losses and metrics of `keras3` read this attribute.
`predict`, Keras's own metrics and an exported model use the tensor. If a loss reads the distribution of a head, this
head must be the last layer, because the result of an operation on the tensor has no `distribution`.
"""

import keras

from nllfit.bayes import KLDivergence
from nllfit.keras3 import heads, layers, losses, metrics
from nllfit.keras3.losses import NegativeLogLikelihood

if keras.backend.backend() != "tensorflow":
    raise ImportError(
        f"nllfit.keras3 needs Keras 3 on TensorFlow, but Keras's backend is {keras.backend.backend()!r}: set the "
        f"environment variable KERAS_BACKEND=tensorflow before Python starts."
    )

keras.saving.register_keras_serializable(package="nllfit")(KLDivergence)

__all__ = ["NegativeLogLikelihood", "heads", "layers", "losses", "metrics"]
