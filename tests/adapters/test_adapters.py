"""The adapters describe models of Keras 2 and of Keras 3 in the same way."""

import pytest

from nllfit.adapters import adapter_of
from tests.keras_versions import KERAS_VERSIONS


@KERAS_VERSIONS
def test_nested_layers_are_found(k):
    inner = k.layers.Dense(1)
    model = k.Sequential([k.layers.Input([2, 3]), k.layers.TimeDistributed(inner)])
    layers = adapter_of(model).layers
    assert any(layer is inner for layer in layers)
    assert any(layer is model for layer in layers)


def test_only_a_model_has_an_adapter():
    with pytest.raises(TypeError, match="`model` is a dict, not a Keras model"):
        adapter_of({})
