"""The adapters describe models of Keras 2 and of Keras 3 in the same way."""

import pytest

from nllfit.adapters import adapter_of
from nllfit.training.architecture import architecture_of
from tests.keras_versions import KERAS_VERSIONS


def model_of(k):
    model = k.Sequential([k.layers.Input([2]), k.layers.Dense(1)])
    model.compile(k.optimizers.AdamW(0.1, weight_decay=0.5), k.losses.MeanSquaredError())
    return model


@KERAS_VERSIONS
@pytest.mark.parametrize("by", ["var_list", "var_names"])
def test_a_model_with_undecayed_weights_shares_no_trace(k, by):
    """The config of an optimizer does not say which weights are excluded from the decay.

    So a model with excluded weights must not share the trace of another model: in that trace these weights would decay.
    """
    model, other = model_of(k), model_of(k)
    model.optimizer.exclude_from_weight_decay(
        **{by: {"var_list": model.trainable_variables, "var_names": ["bias"]}[by]}
    )
    assert adapter_of(model).excludes_from_weight_decay
    assert architecture_of(model, [[1.0]]) is None
    assert not adapter_of(other).excludes_from_weight_decay
    assert architecture_of(other, [[1.0]]) is not None


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
