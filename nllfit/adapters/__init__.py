"""Adapters: the only modules that use private names of Keras, TensorFlow and TensorFlow Probability.

Methods that subclasses of `tfd.Distribution` override, such as `_log_prob`, do not count as private names here.

    adapter.py       the interface to a model of either Keras version
    keras2.py        private names of tf_keras, in an implementation of the interface
    keras3.py        private names of Keras 3, in an implementation of the interface
    tensorflow.py    private names of TensorFlow
    tensorflow_probability.py  private names of TensorFlow Probability
    keras_models.py  functions that use only public names of both Keras versions

`adapter_of(model)` returns the adapter for the Keras version of a model, so other modules need not know the version.
The docstring or comment at each private name says what breaks without the name. `tests/adapters/test_canaries.py`
has a test for each private name. The test fails if a new version of Keras, TensorFlow or TFP no longer has the name.
"""

import sys

import tf_keras

from nllfit.adapters.adapter import Adapter, Model
from nllfit.adapters.keras2 import Keras2

__all__ = ["Adapter", "Model", "adapter_of"]


def adapter_of(model: Model) -> Adapter:
    """Returns the adapter of a model. Raises a `TypeError` if `model` is not a Keras model."""
    if isinstance(model, tf_keras.Model):
        return Keras2(model)
    keras = sys.modules.get("keras")  # if Keras 3 is not imported, no model is from it
    if keras is not None and isinstance(model, keras.Model):
        from nllfit.adapters.keras3 import Keras3

        return Keras3(model)
    raise TypeError(f"`model` is a {type(model).__name__}, not a Keras model.")
