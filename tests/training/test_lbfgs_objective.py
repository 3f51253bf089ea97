"""`fit_lbfgs` minimises the loss that `evaluate` returns, also for models with unusual layers."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import nllfit
from tests.keras_versions import KITS, each_keras, mainly

RNG = np.random.default_rng(0)
X = (RNG.normal(size=(50, 2)) * [3.0, 0.5] + [10.0, -4.0]).astype("float32")
Y = (X @ [[1.0], [-2.0]] + 3.0 + RNG.normal(size=(50, 1))).astype("float32")
DESIGN = np.column_stack([X, np.ones(50)]).astype("float64")
LEAST_SQUARES = np.mean((Y - DESIGN @ np.linalg.lstsq(DESIGN, Y, rcond=None)[0]) ** 2)


@pytest.fixture(autouse=True)
def _seeds():
    for kit in KITS:
        kit.keras.utils.set_random_seed(0)


def solved(model, x, y):
    """Asserts that `fit_lbfgs` converges, and that `evaluate` gives the same loss. Returns this loss."""
    history = nllfit.fit_lbfgs(model, x, y, verbose=0)
    assert history.converged, history.message
    loss = history.history["loss"][-1]
    model.run_eagerly = True  # otherwise Keras traces `evaluate`
    assert loss == pytest.approx(model.evaluate(x, y, batch_size=len(y), verbose=0), rel=1e-5)  # rounding of float32
    return loss


@pytest.mark.thorough  # `test_a_variable_frozen_in_keras_3_keeps_its_value` also freezes a part of a model
@mainly(tf_keras)
def test_a_frozen_head_keeps_its_scale(kit):
    head = kit.heads.Normal(shared="scale")
    model = kit.keras.Sequential([kit.keras.layers.Input((2,)), kit.keras.layers.Dense(1), head])
    before = head.get_weights()
    head.trainable = False
    model.compile("sgd", kit.loss)
    loss = solved(model, X, Y)
    np.testing.assert_array_equal(head.get_weights(), before)
    scale = kit.distribution(model(X[:1])).stddev().numpy().item()
    assert loss == pytest.approx(LEAST_SQUARES / (2 * scale**2) + np.log(scale) + np.log(2 * np.pi) / 2, rel=1e-6)


def line(kit, *before):
    """Returns a compiled model and its last layer: a `Dense` layer after the layers `before`."""
    layer = kit.keras.layers.Dense(1)
    model = kit.keras.Sequential([kit.keras.layers.Input((2,)), *before, layer])
    model.compile("sgd", "mse")
    return model, layer


@pytest.mark.thorough
@mainly(keras)
def test_the_statistics_of_a_normalization_are_used(kit):
    normalization = kit.keras.layers.Normalization()
    normalization.adapt(X)
    model, _ = line(kit, normalization)
    assert solved(model, X, Y) == pytest.approx(LEAST_SQUARES, rel=1e-6)


@pytest.mark.thorough
@mainly(tf_keras)
def test_an_attribute_set_after_construction_is_used(kit):
    class Scale(kit.keras.layers.Layer):
        factor = 1.0

        def call(self, inputs):
            return inputs * self.factor

    scale = Scale()
    scale.factor = 10.0
    model, layer = line(kit, scale)
    assert solved(model, X, Y) == pytest.approx(LEAST_SQUARES, rel=1e-5)  # the search is in float32
    expected = np.linalg.lstsq(DESIGN, Y, rcond=None)[0][:2] / 10
    np.testing.assert_allclose(layer.get_weights()[0], expected, rtol=1e-3)  # a loss with 7 digits gives weights with 3


@pytest.mark.thorough(but="True")
@pytest.mark.parametrize("of_layer", [True, False])
def test_a_penalty_of_add_loss_is_minimised(of_layer):
    model, layer = line(KITS[0])
    layer.set_weights([np.zeros([2, 1]), np.zeros(1)])  # the penalty is 0 here
    (layer if of_layer else model).add_loss(lambda: 100 * tf.reduce_sum(layer.kernel**2))
    solved(model, X, Y)
    centered = X.astype("float64") - X.mean(0, dtype="float64")
    ridge = np.linalg.solve(centered.T @ centered + 100 * len(X) * np.eye(2), centered.T @ (Y - Y.mean()))
    np.testing.assert_allclose(layer.get_weights()[0], ridge, rtol=1e-3, atol=1e-5)  # the search is in float32


@pytest.mark.thorough  # covered by the test of `add_loss` above: `model.losses` also contains activity penalties
@mainly(keras)
def test_the_activity_penalty_of_any_layer_is_minimised(kit):
    """In tf_keras, the config of an `Activation` does not contain the penalty."""
    best = np.linalg.lstsq(X.astype("float64"), Y, rcond=None)[0]
    for strength in (0.0, 1.0):
        dense, penalty = kit.keras.layers.Dense(1, use_bias=False), kit.keras.regularizers.L2(strength)
        end = kit.keras.layers.Activation("linear", activity_regularizer=penalty)
        model = kit.keras.Sequential([kit.keras.layers.Input((2,)), dense, end])
        model.compile("sgd", "mse")
        end(np.ones_like(Y))
        unit = float(sum(end.losses))  # Keras 3.12 adds up the penalty over a batch's rows; newer versions average it
        solved(model, X, Y)
        np.testing.assert_allclose(dense.get_weights()[0], best / (1 + unit), rtol=2e-3)  # the search is in float32


@mainly(tf_keras)
def test_a_loss_by_name_and_a_penalty_are_minimised_in_float64(kit):
    dense = kit.keras.layers.Dense(1, use_bias=False, kernel_regularizer=kit.keras.regularizers.L2(0.5))
    model = kit.keras.Sequential([kit.keras.layers.Input((2,)), dense])
    model.compile("sgd", "mse")
    solved(model, X, Y)
    x, y = X.astype("float64"), Y.astype("float64")
    ridge = np.linalg.solve(x.T @ x + 0.5 * len(x) * np.eye(2), x.T @ y)
    np.testing.assert_allclose(dense.get_weights()[0], ridge, rtol=1e-6)


@pytest.mark.thorough  # `test_a_loss_by_name_and_a_penalty_are_minimised_in_float64` also has a regularizer
@mainly(keras)
@pytest.mark.parametrize("strength", [None, 0.5])
def test_a_regularizer_that_is_set_after_the_layer_was_built_has_no_effect_as_in_keras(kit, strength):
    penalties = [None if size is None else kit.keras.regularizers.L2(size) for size in (strength, 3.0)]
    dense = kit.keras.layers.Dense(1, kernel_regularizer=penalties[0])
    model = kit.keras.Sequential([kit.keras.layers.Input((2,)), dense])
    dense.kernel_regularizer = penalties[1]
    model.compile("sgd", "mse")
    solved(model, X, Y)


@each_keras
def test_a_model_without_a_loss_is_refused(kit):
    model = kit.keras.Sequential([kit.keras.layers.Input((2,)), kit.keras.layers.Dense(1)])
    model.compile("sgd")
    with pytest.raises(ValueError, match="No loss to compute"):
        nllfit.fit_lbfgs(model, X, Y, verbose=0)


@pytest.mark.thorough  # `test_a_variable_frozen_in_keras_3_keeps_its_value` also freezes a part of a model
@mainly(tf_keras)
def test_layers_may_be_frozen_between_two_searches(kit):
    layers = [kit.keras.layers.Dense(2), kit.keras.layers.Dense(2)]
    total = kit.keras.layers.Lambda(lambda u: tf.reduce_sum(u, -1, keepdims=True))
    model = kit.keras.Sequential([kit.keras.layers.Input((2,)), *layers, total])
    model.compile("sgd", "mse")
    for layer, frozen in (layers, layers[::-1]):
        layer.trainable, frozen.trainable = True, False
        before = frozen.get_weights()
        assert solved(model, X, Y) == pytest.approx(LEAST_SQUARES, rel=1e-5)
        for weight, other in zip(frozen.get_weights(), before, strict=True):
            np.testing.assert_array_equal(weight, other)
        model.run_eagerly = False


def test_a_variable_frozen_in_keras_3_keeps_its_value():
    model, layer = line(KITS[1])
    layer.kernel.trainable = False
    model.compile("sgd", "mse")
    kernel = layer.get_weights()[0]
    solved(model, X, Y)
    np.testing.assert_array_equal(layer.get_weights()[0], kernel)
    assert layer.get_weights()[1].item() == pytest.approx(np.mean(Y - X @ kernel), rel=1e-3)  # searched in float32


@pytest.mark.thorough
@mainly(keras)
@pytest.mark.parametrize("name", ["StringLookup", "IntegerLookup", "Discretization"])
def test_groups_of_a_preprocessing_layer_get_their_means(kit, name):
    layers = kit.keras.layers
    values = {"StringLookup": np.array(["a", "b", "c"]), "IntegerLookup": np.array([7, 8, 9])}.get(name, X[:3, 0])
    x = values[np.arange(50) % 3][:, None]
    grouping = layers.Discretization(num_bins=3) if name == "Discretization" else getattr(layers, name)()
    grouping.adapt(x)
    inputs = layers.Input((1,), dtype={"S": "string", "I": "int64", "D": "float32"}[name[0]])
    model = kit.keras.Model(inputs, layers.Flatten()(layers.Embedding(4, 1)(grouping(inputs))))
    model.compile("sgd", "mse")
    loss = solved(model, tf.constant(x), Y)
    groups = np.unique(grouping(tf.constant(x)), return_inverse=True)[1].ravel()
    means = np.array([Y[groups == group].mean() for group in groups])[:, None]
    assert loss == pytest.approx(np.mean((Y - means) ** 2), rel=1e-5)  # the search may be in float32
