"""`evaluate` of a model with several outputs, by their names."""

import numpy as np
import pytest

import nllfit
from tests.keras_versions import KITS


@pytest.mark.parametrize("structure", ["dict", "list"])
@pytest.mark.parametrize("kit", KITS, ids=["tf_keras", "keras3"])
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
