"""The heads, the loss and the metrics for Keras 3 models, which `tf.keras` has built since TensorFlow 2.16.

    from nllfit import keras3

    model = keras.Sequential([keras.layers.Dense(2), keras3.heads.Normal(1)])
    model.compile("adam", keras3.NegativeLogLikelihood(), metrics=[keras3.metrics.NegativeLogLikelihood(), "mae"])

A Keras 3 layer must return tensors. So a head returns the prediction, the distribution's `central_value`, as a tensor
that carries the distribution: `model(x).distribution`. The loss and the metric read it there; `predict`, Keras's own
metrics and an exported model see the tensor. An operation on the tensor drops the distribution, so a head comes last.
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
