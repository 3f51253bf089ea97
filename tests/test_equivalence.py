"""Keras's losses equal the heads' losses up to a factor and an offset, in value and gradient, for many shapes."""

import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from hypothesis import given, settings
from hypothesis import strategies as st

import nllfit
from nllfit.equivalence import EQUIVALENCES, PRIORS, priors_table, table
from tests.keras_versions import KITS, mainly

# Relative tolerances by dtype. The error of a loss is divided by the sum of the absolute values of both losses and
# of their offset. The error of a gradient is divided by the largest absolute element in the same row.
TOLERANCES = {"float32": 3e-6, "float64": 1e-12}

each_row = pytest.mark.parametrize("row", EQUIVALENCES, ids=lambda row: row.loss.split("(")[0])


@pytest.fixture(autouse=True, scope="module")
def _no_epsilon():
    backends = [kit.keras.backend for kit in KITS]
    before = [(backend.epsilon(), backend.floatx()) for backend in backends]
    for backend in backends:
        backend.set_epsilon(0.0)  # Keras's Poisson loss adds epsilon to the rate
    yield
    for backend, (epsilon, floatx) in zip(backends, before, strict=True):
        backend.set_epsilon(epsilon)
        backend.set_floatx(floatx)


def draw(row, rng, batch, size, magnitude):
    """Inputs of a head, and outcomes inside its support and on the boundary."""
    u = rng.uniform(-magnitude, magnitude, [batch, size])
    name = row.head_text.split("(")[0]
    if name == "Bernoulli":
        y = rng.integers(0, 2, [batch, size])
    elif name == "OneHotCategorical":
        y = np.eye(size)[rng.integers(0, size, batch)]
    elif name == "Categorical":
        y = rng.integers(0, size, batch)
    elif name == "Poisson":
        u, y = u * min(1, 50 / magnitude), rng.integers(0, 100, [batch, size])  # rates of at most exp(50)
    else:
        y = rng.uniform(-magnitude, magnitude, [batch, size])
    return u, y


@each_row
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    kit=st.sampled_from(KITS),
    seed=st.integers(0, 2**32 - 1),
    batch=st.integers(1, 40),
    size=st.integers(2, 12),
    magnitude=st.sampled_from([0.01, 1.0, 30.0, 1e3, 1e4]),
    s=st.sampled_from([0.5, 1.0, 3.7]),
)
def test_keras_losses_equal_the_heads_losses_in_value_and_gradient(row, dtype, kit, seed, batch, size, magnitude, s):
    kit.keras.backend.set_floatx(dtype)  # the losses of Keras 3 cast their arguments to this dtype
    u, y = draw(row, np.random.default_rng(seed), batch, size, magnitude)
    u = tf.constant(u, dtype)
    y = tf.constant(y, tf.int64 if y.ndim == 1 else dtype)
    scale, offset = row.scale(size, s), row.offset(size, s, y)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(u)
        ours = kit.losses(y, row.head(size, s, kit.heads)(u))
        keras = scale * row.keras_loss(kit.keras)(y, row.link(u))
    # We add the smallest normal number, because smaller (subnormal) numbers may be rounded to 0.
    size_of_terms = np.abs(keras) + np.abs(offset) + np.abs(ours) + np.finfo(dtype).tiny / TOLERANCES[dtype]
    assert np.all(np.abs(ours - (keras + offset)) <= TOLERANCES[dtype] * size_of_terms)
    gradients = [tape.gradient(loss, u).numpy() for loss in (ours, keras)]
    largest = np.abs(gradients).max((0, 2), keepdims=False)[:, None]  # in each row
    assert np.all(np.abs(gradients[0] - gradients[1]) <= TOLERANCES[dtype] * largest + np.finfo(dtype).tiny)


@each_row
def test_a_wrong_factor_is_detected(row):
    """In float64, a factor that is wrong by 1e-5 changes the values by more than the tolerance of the test above."""
    u, y = draw(row, np.random.default_rng(0), 8, 3, 1.0)
    u, y = tf.constant(u), tf.constant(y, tf.int64 if y.ndim == 1 else tf.float64)
    ours = nllfit.negative_log_likelihood(y, row.head(3, 0.5)(u))
    keras = row.scale(3, 0.5) * row.keras_loss()(y, row.link(u)) * (1 + 1e-5) + row.offset(3, 0.5, y)
    assert np.abs(ours - keras).max() > 1e3 * TOLERANCES["float64"]


def test_the_readme_shows_the_rows():
    assert table() in pathlib.Path(__file__).parents[1].joinpath("README.md").read_text()


@mainly(tf_keras)
@pytest.mark.parametrize("row", PRIORS, ids=lambda row: row.regularizer)
def test_a_regularizer_is_a_prior_in_value_and_gradient(row, kit):
    n, w = 37, tf.constant(np.random.default_rng(0).normal(size=[5, 4]) * [[1e-3], [1.0], [1.0], [30.0], [1e3]])
    for scale in (0.2, 1.0, 50.0):
        np.testing.assert_allclose(row.prior(row.factor(scale, n), n).scale, scale, rtol=1e-12)
        factor = float(np.float32(row.factor(scale, n)))  # Keras stores it in float32
        regularizer = row.keras_regularizer(factor, kit.keras)
        for name, value in vars(regularizer).items():  # Keras 3.12 cannot multiply float64 by a float32 factor
            setattr(regularizer, name, tf.cast(value, tf.float64))
        prior = row.prior(factor, n)
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(w)
            ours = -tf.reduce_sum(prior.log_prob(w) - prior.log_prob(tf.zeros_like(w)))
            keras = n * tf.cast(regularizer(w), tf.float64)
        np.testing.assert_allclose(ours, keras, rtol=1e-12)
        np.testing.assert_allclose(tape.gradient(ours, w), tape.gradient(keras, w), rtol=1e-12)


@pytest.mark.thorough
@mainly(keras)
def test_weight_decay_is_not_a_prior(kit):
    """With exact gradients, AdamW finds the maximum of the likelihood. With noisy gradients, the decay shrinks weights.

    When AdamW has converged, the mean gradient is `-decay * w * sqrt(mean of squared gradients)`. An L2 penalty with
    the same coefficient, 0.2, would move the weights by a sixth even with exact gradients.
    """
    optimum = np.array([0.3, -2.0], "float32")
    for noise, tolerance in ((0.0, 1e-2), (3.0, 0.06)):  # noise of gradients, tolerance of weights
        w = kit.keras.Variable([1.0, 1.0]) if kit.keras is keras else tf.Variable([1.0, 1.0])
        steps = kit.keras.optimizers.schedules.ExponentialDecay(0.3, 4, 0.9)
        optimizer = kit.keras.optimizers.AdamW(steps, weight_decay=0.2, beta_1=0.0, beta_2=0.9)
        for i in range(200):
            optimizer.apply_gradients([(tf.convert_to_tensor(w) - optimum + noise * (-1) ** i, w)])
        np.testing.assert_allclose(w.numpy(), optimum / (1 + 0.2 * noise), rtol=tolerance)


def test_the_guide_shows_the_priors():
    guide = pathlib.Path(__file__).parents[1] / "docs" / "from-statsmodels-and-scikit-learn.md"
    assert priors_table() in guide.read_text()
