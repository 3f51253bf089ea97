"""The layers with uncertain weights for tf_keras models."""

from typing import Any

import tf_keras

from nllfit.adapters.keras2 import Drawing
from nllfit.bayes.variational_layers import LAYERS, variational_layers

__all__ = sorted(LAYERS)


class _Layer(Drawing):
    add_weight: Any  # a method of the other base class, a Keras layer

    def _add_vector(self, name, size, initializer, trainable=True, regularizer=None):
        options: dict[str, Any] = {"trainable": trainable, "regularizer": regularizer, "experimental_autocast": False}
        return self.add_weight(name, [size], initializer=initializer, **options)

    @staticmethod
    def _first(initializer, shape):
        return tf_keras.initializers.get(initializer)(shape)


globals().update(
    variational_layers(tf_keras.layers, _Layer, tf_keras.saving.register_keras_serializable(package="nllfit"), __name__)
)
