"""Layers with uncertain weights for tf_keras models, from `nllfit.bayes.variational`."""

from typing import Any

import tf_keras

from nllfit.adapters.keras2 import Drawing
from nllfit.bayes.variational_classes import variational_layers

__all__ = [
    "Conv1DTransposeVariational",
    "Conv1DVariational",
    "Conv2DTransposeVariational",
    "Conv2DVariational",
    "Conv3DTransposeVariational",
    "Conv3DVariational",
    "DenseVariational",
    "EmbeddingVariational",
]


class _Layer(Drawing):
    add_weight: Any  # of the layer

    def _add_vector(self, name, size, initializer, trainable=True, regularizer=None):
        options: dict[str, Any] = {"trainable": trainable, "regularizer": regularizer, "experimental_autocast": False}
        return self.add_weight(name, [size], initializer=initializer, **options)

    @staticmethod
    def _first(initializer, shape):
        return tf_keras.initializers.get(initializer)(shape)


_LAYERS = variational_layers(
    tf_keras.layers, _Layer, tf_keras.saving.register_keras_serializable(package="nllfit"), __name__
)
Conv1DTransposeVariational: Any = _LAYERS["Conv1DTransposeVariational"]
Conv1DVariational: Any = _LAYERS["Conv1DVariational"]
Conv2DTransposeVariational: Any = _LAYERS["Conv2DTransposeVariational"]
Conv2DVariational: Any = _LAYERS["Conv2DVariational"]
Conv3DTransposeVariational: Any = _LAYERS["Conv3DTransposeVariational"]
Conv3DVariational: Any = _LAYERS["Conv3DVariational"]
DenseVariational: Any = _LAYERS["DenseVariational"]
EmbeddingVariational: Any = _LAYERS["EmbeddingVariational"]
