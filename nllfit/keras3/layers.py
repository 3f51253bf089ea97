"""Layers with uncertain weights for Keras 3 models, from `nllfit.bayes.variational`."""

from typing import Any

import keras

from nllfit.adapters.keras3 import Drawing
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
    # Keras's own layers save their kernel by name, which has no value here.
    save_own_variables = keras.layers.Layer.save_own_variables
    load_own_variables = keras.layers.Layer.load_own_variables

    def _add_vector(self, name, size, initializer, trainable=True, regularizer=None):
        options: dict[str, Any] = {"trainable": trainable, "regularizer": regularizer, "autocast": False}
        return self.add_weight([size], initializer, name=name, **options)

    @staticmethod
    def _first(initializer, shape):
        return keras.initializers.get(initializer)(shape)


_LAYERS = variational_layers(keras.layers, _Layer, keras.saving.register_keras_serializable(package="nllfit"), __name__)
Conv1DTransposeVariational: Any = _LAYERS["Conv1DTransposeVariational"]
Conv1DVariational: Any = _LAYERS["Conv1DVariational"]
Conv2DTransposeVariational: Any = _LAYERS["Conv2DTransposeVariational"]
Conv2DVariational: Any = _LAYERS["Conv2DVariational"]
Conv3DTransposeVariational: Any = _LAYERS["Conv3DTransposeVariational"]
Conv3DVariational: Any = _LAYERS["Conv3DVariational"]
DenseVariational: Any = _LAYERS["DenseVariational"]
EmbeddingVariational: Any = _LAYERS["EmbeddingVariational"]
