"""Adapters: the only modules with private names of Keras, TensorFlow and TensorFlow Probability.

    adapter.py       what training asks of a Keras version
    keras2.py        the same for tf_keras
    keras3.py        the same for Keras 3
    tensorflow.py    TensorFlow and TensorFlow Probability
    keras_models.py  what is public and the same in both Keras versions

`adapter_of(model)` returns the adapter for the Keras version of a model; no other module asks for the version. Each
private name has a line that says what breaks without it, and a row in `tests/adapters/test_canaries.py`. If a new
version no longer has the name, that test fails and names it.
"""

import sys

import tf_keras

from nllfit.adapters.adapter import Adapter, Model
from nllfit.adapters.keras2 import Keras2

__all__ = ["Adapter", "Model", "adapter_of"]


def adapter_of(model: Model) -> Adapter:
    """The adapter of a model; a `TypeError` for anything but a model."""
    if isinstance(model, tf_keras.Model):
        return Keras2(model)
    keras = sys.modules.get("keras")  # if Keras 3 is not imported, no model is from it
    if keras is not None and isinstance(model, keras.Model):
        from nllfit.adapters.keras3 import Keras3

        return Keras3(model)
    raise TypeError(f"`model` is a {type(model).__name__}, not a Keras model.")
