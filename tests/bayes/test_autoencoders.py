"""Variational autoencoders as Sequential, functional and subclassed models, as in the tests of `tfp.layers`.

The pixels are independent, so a latent variable does not help: at the optimum the divergence is 0, and the loss is
the entropy of the pixels.
"""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import distributions as tfd

import nllfit
from tests.keras_versions import KITS

SHAPE = (2, 2, 1)
X = (np.random.default_rng(0).random([1000, *SHAPE]) > 0.75).astype(np.float32)
P = X.mean(0)
ENTROPY = -np.sum(P * np.log(P) + (1 - P) * np.log(1 - P))


def parts(kit, divergence, draws=1):
    """The layers of an encoder and of a decoder."""
    layers, heads = kit.keras.layers, kit.heads
    encoder = [
        layers.Flatten(),
        layers.Dense(10, "relu"),
        layers.Dense(heads.MultivariateNormalTriL.params_size(2)),
        *([layers.RepeatVector(draws)] if draws > 1 else []),
        heads.MultivariateNormalTriL(2, as_tensor="sample", activity_regularizer=divergence),
    ]
    return encoder, [layers.Dense(10, "relu"), layers.Dense(4)], heads.Bernoulli(SHAPE)


def chained(layers, inputs):
    for layer in layers:
        inputs = layer(inputs)
    return inputs


def sequential(kit):
    """A Sequential model. The prior is a model with a learned mean, and the divergence's weight is a variable."""
    layers, heads = kit.keras.layers, kit.heads
    prior = kit.keras.Sequential([layers.Input((1,)), layers.Dense(2, use_bias=False), heads.Normal(2, scale=1.0)])
    encoder, decoder, end = parts(kit, nllfit.KLDivergence(prior, weight=tf.Variable(0.9)))
    return kit.keras.Sequential([layers.Input(SHAPE), *encoder, *decoder, end]), 8 + 1


def functional(kit):
    """A functional model. The prior is a family with learned parameters."""
    encoder, decoder, end = parts(kit, nllfit.KLDivergence(nllfit.Family("Normal", 2), weight=0.9))
    images = kit.keras.Input(SHAPE)
    return kit.keras.Model(images, chained([*encoder, *decoder, end], images)), 8 + 1


def subclassed(kit):
    class Part(kit.keras.Model):
        def __init__(self, layers):
            super().__init__()
            self.parts = layers

        def call(self, inputs):
            return chained(self.parts, inputs)

    prior = tfd.Independent(tfd.Normal(tf.zeros(2), 1.0), 1)
    encoder, decoder, end = parts(kit, nllfit.KLDivergence(prior, weight=0.9))
    model = Part([Part(encoder), Part([*decoder, end])])
    model(X[:1])
    return model, 8


def several_draws(kit):
    """A model with two draws for each image: it averages the two decoded probabilities and adds both divergences."""

    class Averaged(kit.keras.layers.Layer):
        def call(self, logits):
            probs = tf.reduce_mean(tf.sigmoid(logits), 1)
            return tf.math.log(probs) - tf.math.log1p(-probs)

        def compute_output_shape(self, shape):
            return (shape[0], shape[2])

    prior = tfd.MultivariateNormalDiag(tf.zeros(2))
    encoder, decoder, end = parts(kit, nllfit.KLDivergence(prior, weight=2.0), draws=2)
    images = kit.keras.Input(SHAPE)
    return kit.keras.Model(images, chained([*encoder, *decoder, Averaged(), end], images)), 8


# Sequential and functional models are tested with one Keras version each. Subclassed models are tested with both
# versions, which collect the losses of their layers differently.
CASES = [
    pytest.param(KITS[i], build, id=f"{KITS[i].keras.__name__}-{build.__name__}")
    for i, build in ((0, sequential), (1, functional), (0, subclassed), (1, subclassed), (0, several_draws))
]


@pytest.mark.thorough
@pytest.mark.parametrize(("kit", "build"), CASES)
def test_variational_autoencoders_train(kit, build):
    kit.keras.utils.set_random_seed(0)
    model, num_weights = build(kit)
    assert len(model.trainable_weights) == num_weights
    model.compile(kit.keras.optimizers.Adam(0.02), kit.loss)
    arguments = {"batch_size": 50, "validation_data": (X[:500], X[:500]), "verbose": 0, "compile": "graph"}
    history = nllfit.fit(model, X, X, epochs=15, **arguments).history
    assert history["loss"][0] > history["loss"][-1] + 0.1
    assert abs(history["loss"][-1] - ENTROPY) < 0.1
    assert abs(history["val_loss"][-1] - ENTROPY) < 0.2
    np.testing.assert_allclose(np.mean(kit.distribution(model(X)).mean(), 0), P, atol=0.05)
