"""Tests `evaluate` for models with several outputs. The names of the outputs identify their outcomes and scores."""

import numpy as np
import pytest

import nllfit
from tests.keras_versions import KITS, in_turn


@pytest.mark.parametrize(("kit", "structure"), in_turn(["dict", "list"]))
def test_outputs_are_evaluated_by_name(kit, structure):
    keras, heads = kit.keras, kit.heads
    inputs = keras.layers.Input((2,))
    height = heads.Normal(name="height")(keras.layers.Dense(2)(inputs))
    kind = heads.Categorical(3, name="kind")(keras.layers.Dense(3)(inputs))
    model = keras.Model(inputs, {"height": height, "kind": kind} if structure == "dict" else [height, kind])
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 2)), {"height": rng.normal(size=(20, 1)), "kind": rng.integers(0, 3, 20)}
    found = nllfit.evaluate(model, x, y)
    assert list(found) == ["height", "kind"]
    outputs = nllfit.predict_distribution(model, x)
    outputs = outputs if structure == "dict" else dict(zip(model.output_names, outputs, strict=True))
    for name, output in outputs.items():
        assert found[name].nll == nllfit.evaluate(output, y=y[name]).nll
    assert nllfit.evaluate(model, x, {"kind": y["kind"]})["kind"].accuracy == found["kind"].accuracy
    with pytest.raises(
        ValueError, match="names the output 'weight', but the outputs of the model are 'height', 'kind'"
    ):
        nllfit.evaluate(model, x, {"weight": y["height"]})
    if structure == "list":
        of_ensemble = nllfit.evaluate(nllfit.Ensemble([model]), x, {"kind": y["kind"]})
        assert of_ensemble["kind"].nll == pytest.approx(found["kind"].nll, rel=1e-6)
        scaled = nllfit.TemperatureScaled(keras.Model(inputs, kind), 1.0)
        assert nllfit.evaluate(scaled, x, {"kind": y["kind"]})["kind"].accuracy == found["kind"].accuracy


@pytest.mark.parametrize("kit", KITS, ids=["tf_keras", "keras3"])
def test_outputs_without_names_are_refused(kit):
    class Subclass(kit.keras.Model):
        def __init__(self):
            super().__init__()
            self.dense, self.head = kit.keras.layers.Dense(2), kit.heads.Normal()

        def call(self, x):
            return self.head(self.dense(x))

    with pytest.raises(ValueError, match="the outputs of the model have no names: return a dict"):
        nllfit.evaluate(Subclass(), np.zeros([3, 2]), {"height": np.zeros([3, 1])})
