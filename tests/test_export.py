"""Exported models return the predictions of the original model, in TensorFlow and in TensorFlow Lite."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import nllfit
from tests.head_builders import all_heads, inputs
from tests.head_cases import CASES
from tests.keras_versions import KITS, mainly

Z = 1.6448536269514722  # the 95% quantile of the standard Normal


def answers(outputs):
    """The mean and the 90% interval of each output."""
    found = {}
    for name, output in outputs.items():
        found[f"{name}_mean"] = tf.convert_to_tensor(output)
        found[f"{name}_low"], found[f"{name}_high"] = nllfit.interval(output, 0.9)
    return found


def export(kit, model, function, rows, folder):
    """Exports `function(model(x))` with the `ExportArchive` of the model's Keras, as `docs/serving.md` does.

    `tf.saved_model.save` and `TFLiteConverter.from_concrete_functions` would lose the variables of a Keras 3 model.
    In an export, Keras 3's `Variable._export_to_saved_model_graph` creates a new variable. The exported function reads
    this new variable, and only `tf.saved_model.load` sets its value.
    """
    archive = kit.keras.export.ExportArchive()
    archive.track(model)
    signature = [tf.TensorSpec([rows, 3], tf.float32, name="x")]
    archive.add_endpoint("serve", lambda x: function(model(x)), signature)
    archive.write_out(str(folder))


def in_a_session(folder, x):
    """The answers of an exported model in a TensorFlow 1 session. TensorFlow Serving loads models in the same way."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        signature = tf.compat.v1.saved_model.load(session, ["serve"], str(folder)).signature_def["serving_default"]
        outputs = {name: tensor.name for name, tensor in signature.outputs.items()}
        return session.run(outputs, {signature.inputs["x"].name: x})


# A head whose quantiles have a formula, and a head whose quantiles need a search.
# `tests/experiments/test_serving.py` exports more heads and compares the answers.
EXPORTED = [
    pytest.param(kit, [case for case in CASES if case.id in ("Normal", searched)], id=kit.keras.__name__)
    for kit, searched in zip(KITS, ("Mixture", "Bernoulli"), strict=True)
]


@pytest.mark.thorough
@pytest.mark.parametrize(("kit", "cases"), EXPORTED)
def test_exported_means_and_intervals_match_the_model(kit, cases, tmp_path):
    model, x = all_heads(kit, cases), inputs(CASES[0])
    export(kit, model, answers, None, tmp_path)
    served = tf.saved_model.load(str(tmp_path)).signatures["serving_default"]
    first, second = served(x=tf.constant(x)), served(x=tf.constant(x))
    by_session = in_a_session(tmp_path, x)
    expected, predicted = answers(model(x)), model.predict(x, verbose=0)
    for name, values in predicted.items():
        np.testing.assert_allclose(first[f"{name}_mean"], values, rtol=1e-6, atol=1e-6, err_msg=name)
    for name, values in expected.items():
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
        np.testing.assert_allclose(first[name], values, rtol=1e-6, atol=1e-6, err_msg=name)
        np.testing.assert_allclose(by_session[name], values, rtol=1e-6, atol=1e-6, err_msg=name)


@pytest.mark.thorough
@mainly(keras)
def test_tensorflow_lite_matches_the_model(kit, tmp_path):
    layers = kit.keras.layers
    head = kit.heads.Normal()
    model = kit.keras.Sequential([layers.Input((3,)), layers.Dense(4, "tanh"), layers.Dense(2), head])
    x = np.random.default_rng(0).normal(size=[1, 3]).astype("float32")

    def small(output):
        """The mean, the parameters and an interval, computed with operations that TensorFlow Lite supports."""
        normal = kit.distribution(output).distribution
        ends = {name: normal.loc + z * normal.scale for name, z in (("low", -Z), ("high", Z))}
        return {"mean": tf.convert_to_tensor(output), "loc": normal.loc, "scale": normal.scale} | ends

    export(kit, model, small, 1, tmp_path)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow warns that its interpreter moves to another package
        interpreter = tf.lite.Interpreter(model_content=converter.convert())
    run = interpreter.get_signature_runner()
    first, second = run(x=x), run(x=x)
    expected = small(model(x))
    assert first.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(first[name], second[name])
        np.testing.assert_allclose(first[name], values, rtol=1e-6, atol=1e-6, err_msg=name)
    np.testing.assert_allclose(first["mean"], model.predict(x, verbose=0), rtol=1e-6, atol=1e-6)
    for name, values in zip(("low", "high"), nllfit.interval(model(x), 0.9), strict=True):
        np.testing.assert_allclose(first[name], values, rtol=1e-6, atol=1e-6, err_msg=name)
