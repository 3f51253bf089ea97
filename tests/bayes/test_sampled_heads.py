"""Heads that output a random draw from their distribution."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tensorflow_probability import distributions as tfd

import nllfit
from nllfit.training import graph_or_xla
from nllfit.training.epoch_programs import Program
from tests.keras_versions import KITS, each_keras, mainly

PARAMS = tf.constant(np.random.default_rng(0).normal(size=[8, 4]), tf.float32)
X = np.random.default_rng(1).normal(size=[64, 5]).astype(np.float32)
PRIOR = tfd.MultivariateNormalDiag(tf.zeros(2))


def coder(kit, seed=0, **options):
    """A compiled autoencoder of vectors of 5 numbers. The latent variable is a sampled vector of 2 numbers."""
    kit.keras.utils.set_random_seed(seed)
    layers, divergence = kit.keras.layers, nllfit.KLDivergence(PRIOR)
    model = kit.keras.Sequential(
        [
            layers.Input((5,)),
            layers.Dense(4),
            kit.heads.Normal(2, as_tensor="sample", activity_regularizer=divergence, **options),
            layers.Dense(5),
            kit.heads.Normal(5, scale=1.0),
        ]
    )
    model.compile(kit.keras.optimizers.SGD(0.02), kit.loss)
    return model


def draw(head, params=PARAMS):
    return tf.convert_to_tensor(head(params)).numpy()


@each_keras
def test_a_sampled_head_outputs_draws_and_not_the_mean(kit):
    head = kit.heads.Normal(2, as_tensor="sample", seed=1)
    output = head(tf.repeat(PARAMS[:1], 4000, 0))
    z, d = tf.convert_to_tensor(output).numpy(), kit.distribution(output)
    mean, stddev = d.mean()[0].numpy(), d.stddev()[0].numpy()
    np.testing.assert_array_less(np.abs(z.mean(0) - mean), 4 * stddev / 4000**0.5)
    np.testing.assert_array_less(np.abs(z.std(0) / stddev - 1), 4 / 8000**0.5)
    np.testing.assert_array_equal(tf.convert_to_tensor(kit.heads.Normal(2)(PARAMS)), PARAMS[:, :2])


@each_keras
def test_seeded_draws_are_reproducible_and_differ_between_calls(kit):
    one, two, three = (kit.heads.Normal(2, as_tensor="sample", seed=seed) for seed in (3, 3, 4))
    first, second = draw(one), draw(one)
    assert not np.any(first == second)
    np.testing.assert_array_equal([draw(two), draw(two)], [first, second])
    assert not np.any(draw(three) == first)
    draws = []
    for _ in range(2):
        kit.keras.utils.set_random_seed(5)
        draws.append(draw(kit.heads.Normal(2, as_tensor="sample")))
    np.testing.assert_array_equal(*draws)


@each_keras
def test_the_gradient_flows_through_a_draw(kit):
    head, params = kit.heads.Normal(2, scale=2.0, as_tensor="sample"), tf.Variable(PARAMS[:, :2])
    with tf.GradientTape() as tape:
        z = tf.convert_to_tensor(head(params))
    np.testing.assert_array_equal(tape.gradient(z, params), np.ones([8, 2]))  # z = loc + 2 eps


@mainly(keras)
def test_predict_and_training_both_draw(kit):
    model = coder(kit)
    a, b = (model.predict(X, verbose=0) for _ in range(2))
    assert a.shape == (64, 5)
    assert np.mean(a != b) > 0.99
    assert not np.allclose(*(tf.convert_to_tensor(model(X, training=True)) for _ in range(2)))


@pytest.mark.thorough
@mainly(tf_keras)
def test_saved_and_cloned_models_draw_the_same(kit, tmp_path):
    model = coder(kit, seed=0)
    model.layers[1].seed = 7  # clones and loaded heads get this seed from the config
    model.save(tmp_path / "model.keras")
    copies = [kit.keras.models.load_model(tmp_path / "model.keras"), kit.keras.models.clone_model(model)]
    copies[1].set_weights(model.get_weights())
    outputs = [tf.convert_to_tensor(copy(X)) for copy in copies]
    np.testing.assert_array_equal(*outputs)
    for copy in copies:
        assert copy.layers[1].as_tensor == "sample"
        assert repr(copy.layers[1].regularizer) == repr(model.layers[1].regularizer)
        assert len([copy(X), copy.losses][1]) == 1


@pytest.mark.thorough
@pytest.mark.parametrize(("kit", "compile"), [(KITS[0], "graph"), (KITS[1], "xla")], ids=["graph", "xla"])
def test_fit_trains_through_draws_with_a_shared_trace(kit, compile, monkeypatch):
    history = nllfit.fit(coder(kit, 1), X, X, epochs=100, batch_size=32, verbose=0, compile=compile).history["loss"]
    # The loss without the latent variable: the model predicts the mean of each column, and the divergence is 0.
    alone = 0.5 * np.sum(X.var(0)) + 2.5 * np.log(2 * np.pi)
    assert history[0] > alone + 1
    assert np.mean(history[-10:]) < alone + 0.2
    made = []
    monkeypatch.setattr(Program, "__init__", lambda *_: made.append(1))
    nllfit.fit(coder(kit, 2), X, X, epochs=1, batch_size=32, verbose=0, compile=compile)
    assert not made


@pytest.mark.thorough
@mainly(tf_keras)
def test_a_resumed_run_continues_the_sequence_of_draws(kit, tmp_path, monkeypatch):
    """Epochs 0 and 1 run in graph mode, 2 and 3 under XLA. The run is interrupted once in each mode."""
    monkeypatch.setattr(graph_or_xla, "REPEATABLE_GRAPH_STEPS", 4)
    callbacks, arguments = kit.keras.callbacks, {"seed": 0, "batch_size": 32, "verbose": 0}
    ways, run = [], Program.run
    monkeypatch.setattr(Program, "run", lambda self, *args: [ways.append(args[-1]), run(self, *args)][1])
    whole = nllfit.fit(coder(kit), X, X, epochs=4, **arguments).history["loss"]
    assert ways[0] == "graph"
    assert ways[-1] == "xla"
    backup = callbacks.BackupAndRestore(tmp_path, delete_checkpoint=False)
    parts = []
    for seed, epochs in ((0, 1), (1, 3), (2, 4)):  # the backup must replace the weights and states of another seed
        parts += nllfit.fit(coder(kit, seed), X, X, epochs=epochs, callbacks=[backup], **arguments).history["loss"]
    assert parts == whole


@each_keras
def test_a_float64_model_draws_in_float64(kit):
    head = kit.heads.Normal(2, as_tensor="sample", activity_regularizer=nllfit.KLDivergence(PRIOR), dtype="float64")
    assert draw(head, tf.cast(PARAMS, tf.float64)).dtype == np.float64
    assert head.losses[0].dtype == tf.float64


@pytest.mark.thorough
@pytest.mark.parametrize("ask", [nllfit.laplace, nllfit.fit_lbfgs, nllfit.standard_errors])
def test_curvature_is_asked_of_no_model_that_draws(ask):
    with pytest.raises(
        ValueError, match=r"`model` draws random numbers when it predicts, .* train it with `nllfit.fit`"
    ):
        ask(coder(KITS[0]), X, X)


RELAXED = "RelaxedOneHotCategorical"


def test_relaxed_labels_are_a_latent_variable():
    head = nllfit.heads.DistributionHead(RELAXED, 4, temperature=0.5, as_tensor="sample")
    params = tf.Variable(PARAMS[:, : head.params_size()])
    with tf.GradientTape() as tape:
        z = tf.convert_to_tensor(head(params))
        square = tf.reduce_sum(z**2)
    np.testing.assert_allclose(tf.reduce_sum(z, -1), 1.0, rtol=1e-5)
    assert np.any(tape.gradient(square, params) != 0)


BAD = {
    "counts": (lambda heads: heads.Poisson(2, as_tensor="sample"), "those of Poisson have none: use a relaxed family"),
    "labels": (lambda heads: heads.Categorical(3, as_tensor="sample"), "RelaxedOneHotCategorical for classes"),
    "a mixture": (
        lambda heads: heads.Mixture("Normal", 2, 3, as_tensor="sample"),
        "use a continuous family that TFP reparam",
    ),
    "as_tensor": (lambda heads: heads.Normal(2, as_tensor="draw"), '`as_tensor` is \'draw\': give "mean", or "sample"'),
    "seed": (lambda heads: heads.Normal(2, as_tensor="sample", seed=0.5), "`seed` is 0.5: give an int >= 0"),
    "a regularizer of tensors": (
        lambda heads: heads.Normal(2, activity_regularizer="l2"),
        "`activity_regularizer` is 'l2', but that of a head is a function of its distribution",
    ),
}


@pytest.mark.parametrize("bad", BAD)
def test_an_unsuitable_sampled_head_is_refused_with_advice(bad):
    for kit in KITS:
        make, message = BAD[bad]
        with pytest.raises(ValueError, match=message):
            make(kit.heads)
