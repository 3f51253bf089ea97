"""Layers with uncertain weights for Keras 3 models, from `nllfit.bayes.variational_layers`."""

from typing import Any

import keras

from nllfit.adapters.keras3 import Drawing
from nllfit.bayes.variational_layers import LAYERS, variational_layers

__all__ = sorted(LAYERS)


class _Term(keras.regularizers.Regularizer):
    """A `Regularizer` that calls a function. Keras 3.12 does not accept a function as the regularizer of a variable."""

    def __init__(self, term):
        self._term = term

    def __call__(self, x):
        return self._term(x)


class _Layer(Drawing):
    add_weight: Any  # a method of the other base class, a Keras layer
    # The methods of Keras's `Dense` and convolutions would save the attribute `kernel`, which our layers do not set.
    save_own_variables = keras.layers.Layer.save_own_variables
    load_own_variables = keras.layers.Layer.load_own_variables

    def _add_vector(self, name, size, initializer, trainable=True, regularizer=None):
        term = None if regularizer is None else _Term(regularizer)
        options: dict[str, Any] = {"trainable": trainable, "regularizer": term, "autocast": False}
        return self.add_weight([size], initializer, name=name, **options)

    @staticmethod
    def _first(initializer, shape):
        return keras.initializers.get(initializer)(shape)


globals().update(
    variational_layers(keras.layers, _Layer, keras.saving.register_keras_serializable(package="nllfit"), __name__)
)
