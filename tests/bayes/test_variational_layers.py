"""Compares variational layers with closed-form posteriors, with Keras's layers, and with means of many draws."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras

import nllfit
from nllfit import keras3
from nllfit.bayes import variational_layers
from nllfit.bayes.flipout_and_reparameterization import ESTIMATORS
from tests.bayes.test_laplace import PRIOR, SCALE, closed_form, compiled, line
from tests.keras_versions import KITS, by_keras, in_turn, mainly

tfd = tfp.distributions
LAYERS = {KITS[0]: nllfit.layers, KITS[1]: keras3.layers}

# For each Keras layer: its arguments and the shape of its inputs.
CASES = {
    "Dense": ({"units": 3, "activation": "tanh"}, (5, 4)),
    "Conv1D": ({"filters": 4, "kernel_size": 3, "padding": "causal", "dilation_rate": 2}, (5, 7, 2)),
    "Conv2D": ({"filters": 4, "kernel_size": 3, "strides": 2, "groups": 2, "activation": "relu"}, (5, 7, 6, 4)),
    "Conv3D": ({"filters": 2, "kernel_size": 2, "padding": "same"}, (5, 3, 4, 3, 2)),
    "Conv1DTranspose": ({"filters": 3, "kernel_size": 3, "strides": 2}, (5, 4, 2)),
    "Conv2DTranspose": ({"filters": 3, "kernel_size": 2, "padding": "same"}, (5, 3, 4, 2)),
    "Conv3DTranspose": ({"filters": 2, "kernel_size": 2, "use_bias": False}, (5, 3, 2, 3, 2)),
    "Embedding": ({"input_dim": 6, "output_dim": 3}, (5, 4)),
}
each_layer = pytest.mark.parametrize(("kit", "base"), in_turn(CASES))


def made(kit, base, kl_weight=0.1, **kwargs):
    """A variational layer and its inputs."""
    arguments, shape = CASES[base]
    rng = np.random.default_rng(0)
    inputs = rng.integers(0, 6, shape) if base == "Embedding" else rng.normal(size=shape).astype("float32")
    layer = getattr(LAYERS[kit], f"{base}Variational")(**arguments | kwargs, kl_weight=kl_weight)
    return layer, inputs


def vector(layer, means, scale):
    """The parameter vector of independent Normal weights with these means and a common scale."""
    scales = np.full(len(means), scale, "float32")
    return layer._family.unconstrained({"loc": np.float32(means), "scale": scales}, tf.float32)


def test_every_layer_has_a_case():
    assert {f"{base}Variational" for base in CASES} == set(variational_layers.LAYERS)
    for module in LAYERS.values():
        assert set(module.__all__) == set(variational_layers.LAYERS)


@each_layer
def test_weights_without_spread_give_keras_own_layer(kit, base):
    layer, inputs = made(kit, base)
    layer(inputs)
    plain = getattr(kit.keras.layers, base)(**CASES[base][0])
    plain(inputs)
    weights = [np.random.default_rng(1).normal(size=w.shape) for w in plain.get_weights()]
    plain.set_weights(weights)
    layer.set_weights([vector(layer, np.concatenate([np.ravel(w) for w in weights]), 1e-6), *layer.get_weights()[1:]])
    np.testing.assert_allclose(layer(inputs), plain(inputs), atol=1e-4)


@pytest.mark.thorough(but=("tf_keras-Dense", "keras-Conv1D", "keras-Embedding"))
@pytest.mark.parametrize(("kit", "base"), in_turn(CASES, ["Conv2D", "Conv1DTranspose", "Conv3DTranspose"]))
def test_a_layer_computes_with_drawn_weights_and_trains(kit, base):
    """Tests the outputs for a drawn weight vector, the loss, copies of the layer with two seeds, and a training step.

    TFP's `conv_variational_test` has the same checks.
    """
    layer, inputs = made(kit, base, estimator="reparameterization", seed=1)
    assert layer.losses == []
    outputs, plain = layer(inputs), getattr(kit.keras.layers, base)(**CASES[base][0])
    (loss,) = layer.losses
    np.testing.assert_allclose(loss, 0.1 * layer.kl_divergence(), rtol=1e-6)
    assert np.mean(layer(inputs) != outputs) > 0.3  # another draw changes all outputs except a relu's zeros
    seed = tf.constant([1, 2])
    plain(inputs)
    drawn = layer.posterior().sample(seed=seed).numpy()
    shapes = [weight.shape for weight in plain.get_weights()]
    parts = np.split(drawn, np.cumsum([np.prod(shape) for shape in shapes])[:-1])
    plain.set_weights([part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)])
    by_layer = ESTIMATORS["reparameterization"](layer, layer.posterior(), tf.constant(inputs), seed)
    np.testing.assert_allclose(by_layer, plain(inputs), rtol=1e-5, atol=1e-5)
    copies = [type(layer).from_config(layer.get_config() | {"seed": seed}) for seed in (1, 2)]
    for copy in copies:
        copy(inputs)
        copy.set_weights(layer.get_weights()[:1] + copy.get_weights()[1:])
    assert copies[0].get_config() == layer.get_config()
    assert np.mean(copies[0](inputs) != copies[1](inputs)) > 0.3
    model = kit.keras.Sequential([layer])
    model.compile("sgd", "mse")
    before = layer.get_weights()[0]
    by_keras(model, inputs, np.ones(outputs.shape))
    assert np.mean(layer.get_weights()[0] != before) > 0.5


def linear_layer(kit, rows=40, **kwargs):
    """A built layer for the data of `line`, and the data."""
    x, y, design = line(rows=rows)
    layer = LAYERS[kit].DenseVariational(1, prior=PRIOR, kl_weight=1 / rows, **kwargs)
    layer(np.float32(x))
    return layer, np.float32(x), np.float32(y), design


def expected_loss(layer, x, y, num, seed):
    """The negative ELBO per row, averaged over many draws, and the negative log-likelihood per row of each draw."""
    draws = layer.posterior().sample(num, seed=tf.stack([seed, 7]))
    outputs = tf.matmul(draws[:, :-1], x, transpose_b=True) + draws[:, -1:]
    terms = tf.reduce_mean(-tfd.Normal(outputs, SCALE).log_prob(y[:, 0]), axis=1)
    return tf.reduce_mean(terms) + layer.losses[0], terms


REACHED = [
    pytest.param(KITS[1], "MultivariateNormalTriL", 1000, 20_000, 1e-3, id="full"),
    pytest.param(KITS[0], "Normal", 1000, 20_000, 1e-3, id="independent"),
]


@pytest.mark.thorough
@pytest.mark.parametrize(("kit", "posterior", "steps", "draws", "tolerance"), REACHED)
def test_the_posterior_of_least_divergence_is_reached(kit, posterior, steps, draws, tolerance):
    """A posterior with a full covariance matrix becomes the exact posterior, whose precision matrix is `precision`.

    A posterior of independent Normals gets the mean of the exact posterior, and the variances `1 / diag(precision)`.

    We average the parameters over the second half of the steps. Their error falls with the number of draws.
    """
    options = {"estimator": "reparameterization", "kernel_initializer": "zeros"}
    layer, x, y, design = linear_layer(kit, 10, posterior=posterior, **options)
    mean, covariance, evidence = closed_form(design, y)
    optimizer = kit.keras.optimizers.Adam(kit.keras.optimizers.schedules.ExponentialDecay(0.05, steps // 7, 0.5))
    optimizer.build(layer.trainable_variables)
    (weights,), total = layer.trainable_variables, tf.Variable(tf.zeros(layer.trainable_variables[0].shape))

    @tf.function
    def train():
        for step in tf.range(steps):
            with tf.GradientTape() as tape:
                loss, _ = expected_loss(layer, x, y, draws, step)
            optimizer.apply_gradients([(tape.gradient(loss, weights), weights)])
            total.assign_add(tf.where(step < steps // 2, 0.0, 1.0) * weights)

    train()
    layer.set_weights([total / (steps // 2)])
    found = layer.posterior()
    np.testing.assert_allclose(found.mean(), mean, atol=1e-3)
    if posterior == "Normal":
        np.testing.assert_allclose(found.variance(), 1 / np.diag(np.linalg.inv(covariance)), rtol=2 * tolerance)
        return
    np.testing.assert_allclose(found.covariance(), covariance, atol=tolerance * covariance.max())
    loss, terms = expected_loss(layer, x, y, 100_000, 10**6)
    assert abs(-len(x) * loss - evidence) < 4 * len(x) * np.std(terms) / np.sqrt(100_000) < 0.002 * abs(evidence)


@pytest.mark.thorough
def test_training_reaches_the_best_posterior_of_its_family():
    """The best posterior of independent Normals has the means of the exact posterior.

    The standard deviations of this best posterior are `1 / sqrt(diag(precision))`, where `precision` is the precision
    matrix of the exact posterior.

    A batch contains each row two hundred times, so that the local estimator has nearly no noise.
    """
    kit = KITS[1]
    x, y, design = line()
    mean, covariance, _ = closed_form(design, y)
    layer = LAYERS[kit].DenseVariational(1, kl_weight=1 / 40, prior=PRIOR, estimator="local_reparameterization", seed=1)
    model = compiled(kit, layer, kit.heads.Normal(scale=SCALE))
    rate = kit.keras.optimizers.schedules.ExponentialDecay(0.05, 100, 0.6)
    model.compile(kit.keras.optimizers.Adam(rate), kit.loss)
    rows = np.repeat(np.float32(x), 200, axis=0), np.repeat(np.float32(y), 200, axis=0)
    nllfit.fit(model, *rows, batch_size=8000, epochs=1200, verbose=0, seed=0, compile="graph")
    np.testing.assert_allclose(layer.posterior().mean(), mean, atol=1e-3)
    deviations = 1 / np.sqrt(np.diag(np.linalg.inv(covariance)))
    np.testing.assert_allclose(layer.posterior().stddev(), deviations, rtol=5e-3)


def network(kit, **kwargs):
    """A compiled network of two variational layers, and its data."""
    x, y, _ = line()
    layers = LAYERS[kit]
    first = layers.DenseVariational(4, "tanh", **{"kl_weight": "1/n"} | kwargs)
    model = compiled(kit, first, layers.DenseVariational(2, **{"kl_weight": "1/n"} | kwargs), kit.heads.Normal())
    return model, np.float32(x), np.float32(y)


@pytest.mark.thorough
@mainly(tf_keras)
def test_fit_knows_the_number_of_rows_and_model_fit_does_not(kit):
    model, x, y = network(kit, prior=nllfit.Family("Normal", scale=1.0))
    with pytest.raises(ValueError, match=r'`kl_weight` is "1/n", and only `nllfit.fit` .* `kl_weight=1 / len\(x\)`'):
        by_keras(model, x, y)
    model, x, y = network(kit, prior=nllfit.Family("Normal", scale=1.0))
    history = nllfit.fit(model, x, y, epochs=2, batch_size=40, verbose=0, validation_data=(x, y), compile="graph")
    assert np.isfinite(history.history["val_loss"]).all()
    for layer in model.layers[:2]:
        np.testing.assert_allclose(layer.losses, [layer.kl_divergence() / 40], rtol=1e-5)
    rows = tf.data.Dataset.from_tensor_slices((x, y)).take(35).batch(7)
    nllfit.fit(model, rows, verbose=0, compile="graph")
    np.testing.assert_allclose(model.layers[0].losses, [model.layers[0].kl_divergence() / 35], rtol=1e-5)
    with pytest.raises(ValueError, match=r'`kl_weight` is "1/n", .* or on a dataset of known length'):
        nllfit.fit(model, rows.filter(lambda *_: True), verbose=0)


@pytest.mark.thorough
@mainly(keras)
def test_a_layer_is_saved_cloned_and_trained_by_keras(kit, tmp_path):
    given = {
        "kl_weight": 1 / 40,
        "posterior": "MultivariateNormalTriL",
        "prior": tfd.Laplace(0.0, [2.0])[0],
        "estimator": "reparameterization",
        "seed": 3,
    }
    model, x, y = network(kit, **given)
    if kit is KITS[0]:  # eager mode, because tracing takes long
        losses = by_keras(model, x, y, epochs=2)["loss"]
    else:
        model.jit_compile = False
        losses = model.fit(x, y, epochs=2, verbose=0).history["loss"]
    assert np.isfinite(losses).all()
    model.save(tmp_path / "model.keras")
    loaded = kit.keras.models.load_model(tmp_path / "model.keras")
    for layer, same in zip(model.layers[:2], loaded.layers[:2], strict=True):
        assert layer.get_config() == same.get_config()
        np.testing.assert_array_equal(layer.posterior().mean(), same.posterior().mean())
    clone = kit.keras.models.clone_model(model)
    assert [layer.get_config() for layer in clone.layers] == [layer.get_config() for layer in model.layers]
    first = [model(x).distribution.mean() if kit is KITS[1] else model(x).mean() for _ in range(2)]
    assert not np.allclose(*first)  # each call draws other weights


@pytest.mark.thorough
@mainly(keras)
def test_a_seed_fixes_the_draws(kit):
    def trained():
        kit.keras.utils.set_random_seed(0)
        x, y, _ = line()
        layer = LAYERS[kit].DenseVariational(2, seed=5, kl_weight=1 / 40)
        model, data = compiled(kit, layer, kit.heads.Normal()), (np.float32(x), np.float32(y))
        arguments = {"epochs": 2, "batch_size": 20, "shuffle": False}
        if kit is KITS[0]:  # eager mode, because tracing takes long
            return by_keras(model, *data, **arguments)["loss"]
        return nllfit.fit(model, *data, verbose=0, seed=0, compile="graph", **arguments).history["loss"]

    assert trained() == trained()


@pytest.mark.thorough
def test_predictions_mix_the_draws_of_the_weights():
    """For a linear model, the variance of the mixture is the noise variance plus the variance of the drawn means."""
    kit = KITS[1]
    layer, x, _, design = linear_layer(kit)
    model = kit.keras.Sequential([layer, kit.heads.Normal(scale=SCALE)])
    model.compile(loss=kit.loss)
    layer.set_weights([vector(layer, [0.5, -1.0, 0.2, 0.1], 0.4), *layer.get_weights()[1:]])
    mixture = nllfit.predict_distribution(model, x[:5], num_samples=2000)
    expected = SCALE**2 + 0.4**2 * np.sum(design[:5] ** 2, axis=1)
    np.testing.assert_allclose(mixture.variance()[:, 0], expected, rtol=5 * np.sqrt(2 / 2000))


@pytest.mark.thorough
def test_the_divergence_is_exact_or_estimated_and_counts_once():
    kit = KITS[0]
    layer, *_ = linear_layer(kit)
    q, p = layer.posterior(), layer.prior()
    exact = tf.reduce_sum(tfd.kl_divergence(q.distribution, tfd.Normal(0.0, PRIOR)))
    np.testing.assert_allclose(layer.kl_divergence(), exact, rtol=1e-5)
    np.testing.assert_allclose(tfd.kl_divergence(q, tfd.Independent(tfd.Normal([0.0] * 4, PRIOR), 1)), exact, rtol=1e-5)
    assert p.event_shape == [4]
    inputs = kit.keras.Input([4])
    shared = LAYERS[kit].DenseVariational(4, kl_weight=1.0)
    model = kit.keras.Model(inputs, shared(shared(inputs)))
    model(np.ones([2, 4], "float32"))
    assert len(model.losses) == 1
    laplace, *_ = linear_layer_with(kit, tfd.Laplace(0.0, 1.0))
    estimates = [float(laplace.kl_divergence()) for _ in range(40)]
    draws = laplace.posterior().sample(20000, seed=tf.constant([0, 0]))
    terms = laplace.posterior().log_prob(draws) - tf.reduce_sum(tfd.Laplace(0.0, 1.0).log_prob(draws), 1)
    assert abs(np.mean(estimates) - np.mean(terms)) < 4 * np.std(terms) * np.sqrt(1 / 40 + 1 / 20000)


def test_the_divergence_from_one_prior_of_all_weights_is_exact():
    layer, _ = linear_layer_with(KITS[0], tfd.Normal(0.5, np.float64(2.0)))
    exact = tf.reduce_sum(tfd.kl_divergence(layer.posterior().distribution, tfd.Normal(0.5, 2.0)))
    np.testing.assert_allclose(layer.kl_divergence(), exact, rtol=1e-5)


def linear_layer_with(kit, prior):
    layer = LAYERS[kit].DenseVariational(1, kl_weight=0.1, prior=prior)
    layer(np.zeros([1, 3], "float32"))
    return layer, prior


@pytest.mark.thorough
def test_a_family_as_prior_is_learned():
    """Empirical Bayes: if the loss is only the divergence, the prior becomes the posterior."""
    kit = KITS[0]
    layer, _ = linear_layer_with(kit, nllfit.Family("Normal"))
    posterior, prior = layer.trainable_variables
    assert "posterior" in posterior.name
    assert "prior" in prior.name

    @tf.function
    def train():
        for _ in tf.range(300):
            with tf.GradientTape() as tape:
                loss = layer.kl_divergence()
            prior.assign_sub(0.02 * tape.gradient(loss, prior))

    train()
    assert layer.kl_divergence() < 0.05


BAD = {
    "no kl_weight": ({}, r"`kl_weight` is missing: give 1 / num_rows, .* or \"1/n\""),
    "kl_weight": ({"kl_weight": -1}, "`kl_weight` is -1"),
    "kl_weight tensor": ({"kl_weight": tf.constant(0.1)}, "`kl_weight` is <tf.Tensor: .*: give 1 / num_rows"),
    "kl_weight text": ({"kl_weight": "1/N"}, "`kl_weight` is '1/N'"),
    "prior 0": ({"prior": 0.0}, "`prior` is 0.0: give the scale of a Normal, a positive number"),
    "prior True": ({"prior": True}, "`prior` is True"),
    "prior list": ({"prior": [1.0]}, "`prior` is a list: give a distribution"),
    "prior name": ({"prior": "Norml"}, "`prior` is 'Norml': give .* Close to it: Normal"),
    "prior of counts": ({"prior": tfd.Poisson(1.0)}, "`prior` is a .*Poisson, whose outcomes are counts"),
    "prior support": ({"prior": tfd.Exponential(1.0)}, "between 0 and inf, but those of the layer's weights"),
    "prior event": ({"prior": tfd.MultivariateNormalDiag([0.0, 0.0])}, "`prior` is a .* of outcomes of shape"),
    "prior size": ({"prior": nllfit.Family("Normal", 3)}, r"`prior` is a Normal of outcomes of shape \(3,\), but the"),
    "posterior": ({"posterior": "Norml"}, "`posterior` is 'Norml': give .* Close to it: Normal"),
    "posterior size": (
        {"posterior": nllfit.Family("Normal", 3)},
        r"layer has 8 weights: give a family of shape",
    ),
    "posterior of counts": ({"posterior": "Poisson"}, "`posterior` is a .*, through whose draws no gradient flows"),
    "estimator": ({"estimator": "flip"}, "`estimator` is 'flip': give one of 'flipout', 'reparameterization'"),
    "estimators": ({"estimator": ["flipout"]}, r"`estimator` is \['flipout'\]: give one of"),
    "dependent": ({"posterior": "MultivariateNormalTriL"}, 'give `estimator="reparameterization"`'),
    "regularizer": ({"kernel_regularizer": "l2"}, "`kernel_regularizer` is for fixed weights"),
    "seed": ({"seed": -1}, "`seed` is -1"),
}


@pytest.mark.parametrize(("kit", "name"), in_turn(BAD))
def test_a_wrong_argument_is_named(kit, name):
    arguments, message = BAD[name]
    arguments = arguments if name.startswith("no ") else {"kl_weight": 0.1} | arguments
    with pytest.raises(ValueError, match=message):
        LAYERS[kit].DenseVariational(2, **arguments)(np.zeros([5, 3], "float32"))


@pytest.mark.thorough
@pytest.mark.parametrize(("kit", "layers"), [*zip(KITS, ["all", "last"], strict=True)], ids=["all", "last"])
def test_laplace_refuses_layers_that_draw(kit, layers):
    model, x, y = network(kit, kl_weight=0.1)
    with pytest.raises(ValueError, match="`model` draws random numbers when it predicts"):
        nllfit.laplace(model, x, y, layers=layers)
