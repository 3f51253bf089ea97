"""The estimators of variational layers: their outputs have the same distribution, and their gradients are unbiased.

The variance of the gradients is compared with a formula.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from nllfit.bayes.flipout_and_reparameterization import ESTIMATORS
from tests.bayes.test_laplace import SCALE, line
from tests.bayes.test_variational_layers import LAYERS, linear_layer, made, vector
from tests.keras_versions import KITS, mainly

# The means and the standard deviation of the drawn weights. The best posterior has other values.
MEANS, SPREAD = np.array([0.5, -1.0, 0.2, 0.1]), 0.4


def many(layer, row, estimator, num=2000):
    """The outputs for one row in `num` independent calls of the layer, `[num, ...]`."""
    estimate = ESTIMATORS[estimator]
    seeds = tf.stack([tf.range(num), tf.range(num)], axis=1)
    draw = tf.function(
        lambda: tf.map_fn(
            lambda seed: estimate(layer, layer.posterior(), tf.constant(row), seed)[0],
            seeds,
            fn_output_signature=tf.float32,
        )
    )
    return draw().numpy().reshape([num, -1])


@pytest.mark.thorough
@pytest.mark.parametrize(("kit", "base"), [*zip(KITS, ["Dense", "Conv2D"], strict=True)], ids=["Dense", "Conv2D"])
def test_flipout_draws_a_row_from_the_distribution_of_reparameterization(kit, base):
    layer, inputs = made(kit, base, activation="linear")
    layer(inputs[:1])
    size = layer.posterior().event_shape[0]
    layer.set_weights([vector(layer, np.random.default_rng(2).normal(size=size), 0.7), *layer.get_weights()[1:]])
    flipped, drawn = (many(layer, inputs[:1], name) for name in ("flipout", "reparameterization"))
    error = np.sqrt((flipped.var(0) + drawn.var(0)) / 2000)
    assert np.all(np.abs(flipped.mean(0) - drawn.mean(0)) < 5 * error)
    np.testing.assert_allclose(flipped.var(0), drawn.var(0), rtol=5 * np.sqrt(4 / 2000))


@pytest.mark.thorough
def test_gradients_are_unbiased():
    """The gradient of a batch's loss, averaged over random draws, equals the gradient of the expected loss."""
    layer, x, y, design = linear_layer(KITS[0])
    weights = tf.Variable(vector(layer, MEANS, SPREAD))
    with tf.GradientTape() as tape:
        q = layer._family.distribution(weights)
        means = tf.linalg.matvec(np.float32(design), q.mean())
        variances = tf.linalg.matvec(np.float32(design) ** 2, q.variance())
        loss = tf.reduce_mean(((means - y[:, 0]) ** 2 + variances) / (2 * SCALE**2))
    exact = tape.gradient(loss, weights)
    for estimator in ESTIMATORS:
        found = gradients(estimator, x, y, 4000)
        error = found.std(0) / np.sqrt(len(found))
        assert np.all(np.abs(found.mean(0) - exact) < 4 * error), estimator


@pytest.mark.thorough
def test_only_flipout_has_noise_that_falls_with_the_batch():
    """The noise of the gradient for the means, compared with the formula of Wen et al. (2018).

    Up to a constant, row `i` has the gradient `x_i (x_i'e_i)`, where `e_i` are the deviations of the weights from their
    means. Under reparameterization all rows of a batch have the same deviations, so their gradients are correlated. The
    signs of flipout remove this correlation.
    """
    x, y, design = line()
    of_rows = design * (design**2 @ np.full(4, SPREAD**2))[:, None] ** 0.5
    expected = {
        "reparameterization": lambda n: np.sum((design.T @ design / 40 * SPREAD) ** 2, axis=1),
        "flipout": lambda n: np.sum(of_rows**2, axis=0) / 40 / n,
        "local_reparameterization": lambda n: np.sum(of_rows**2, axis=0) / 40 / n,
    }
    for estimator, variance in expected.items():
        for times in (1, 4):
            found = gradients(estimator, *(np.tile(np.float32(part), [times, 1]) for part in (x, y)), 2000)[:, :4]
            squares = (found - found.mean(0)) ** 2
            error = squares.std(0) / np.sqrt(len(squares))
            exact = variance(40 * times) / SCALE**4
            assert np.all(np.abs(squares.mean(0) - exact) < 4 * error), (estimator, times)
    ratio = expected["reparameterization"](160) / expected["flipout"](160)
    assert np.all(ratio > 10)


def gradients(estimator, x, y, num):
    """The gradients of a Normal's mean negative log-likelihood, in `num` independent calls of a layer, `[num, p]`."""
    layer, *_ = linear_layer(KITS[0], estimator=estimator)
    weights = layer.trainable_variables[0]
    weights.assign(vector(layer, MEANS, SPREAD))

    def gradient(seed):
        with tf.GradientTape() as tape:
            outputs = ESTIMATORS[estimator](layer, layer.posterior(), tf.constant(x), seed)
            loss = tf.reduce_mean((outputs - y) ** 2) / (2 * SCALE**2)
        return tf.convert_to_tensor(tape.gradient(loss, weights))

    seeds = tf.stack([tf.range(num), tf.range(num)], axis=1)
    return tf.function(lambda: tf.map_fn(gradient, seeds, fn_output_signature=tf.float32))().numpy()


@mainly(keras)
@pytest.mark.parametrize("estimator", ["flipout", "local_reparameterization"])
def test_integer_inputs_give_the_same_draws_as_their_floats(kit, estimator):
    x = np.array([[100_000, 3], [-7, 50_000]])
    values = []
    for dtype in ("float32", "int32", "uint8"):
        layer = LAYERS[kit].DenseVariational(1, kl_weight=0.1, estimator=estimator, seed=1)
        given = (x % 100).astype(dtype) if dtype == "uint8" else x.astype(dtype)
        layer(given)
        layer.set_weights([np.zeros_like(w) for w in layer.get_weights()])
        values.append(np.array(layer(given)))
    np.testing.assert_allclose(values[1], values[0], rtol=1e-5)
    assert np.isfinite(values[2]).all()


@mainly(keras)
def test_local_reparameterization_is_refused_for_shared_weights(kit):
    layer, inputs = made(kit, "Conv1D", estimator="local_reparameterization")
    with pytest.raises(ValueError, match="only for Dense layers of inputs"):
        layer(inputs)
