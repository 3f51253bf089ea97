"""Mixtures over several forward passes of a model with random layers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import nllfit
from tests.bayes.test_sampled_heads import X, coder
from tests.keras_versions import KITS, mainly

PASSES = 100


@pytest.mark.thorough
@mainly(keras)
def test_a_mixture_over_passes_integrates_the_latent_variable_out(kit):
    """With a linear decoder, the mean and the variance of the outcome are known."""
    model = coder(kit)
    z = kit.distribution(model.layers[1](model.layers[0](X)))
    kernel, bias = model.layers[2].get_weights()
    mean, variance = z.mean() @ kernel + bias, 1.0 + z.variance() @ kernel**2
    mixture = nllfit.predict_distribution(model, X, batch_size=24, num_samples=PASSES)
    assert mixture.batch_shape == [64]
    error = (mixture.mean() - mean) / np.sqrt((variance - 1) / PASSES)
    # One of 64 * 5 standardised errors exceeds 4.5 with a probability of 0.002.
    assert np.max(np.abs(error)) < 4.5
    assert np.max(np.abs(mixture.variance() / variance - 1)) < 4.5 * (2 / PASSES) ** 0.5
    nll = np.mean(nllfit.negative_log_likelihood(X, mixture))
    one_pass = [np.mean(nllfit.negative_log_likelihood(X, nllfit.predict_distribution(model, X))) for _ in range(3)]
    assert nll < np.mean(one_pass)  # by Jensen's inequality, as -log is convex


def dropout(kit, shape=(5,), steps=()):
    """A model with Monte Carlo dropout and one outcome per row or step."""
    layers, inputs = kit.keras.layers, kit.keras.Input([*steps, *shape])
    hidden = layers.Masking()(inputs) if steps else layers.Dense(20, "tanh")(inputs)
    return kit.keras.Model(inputs, kit.heads.Normal(1)(layers.Dense(2)(layers.Dropout(0.5)(hidden, training=True))))


@pytest.mark.thorough  # one Keras version is enough: the test above runs both
def test_an_ensemble_of_passes_is_evaluated_calibrated_and_saved(tmp_path):
    ensemble, y = nllfit.Ensemble([dropout(KITS[1])], num_samples=10), X[:, :1]
    assert ensemble(X).distribution.mixture_distribution.logits.shape == [64, 10]
    mixture = nllfit.predict_distribution(ensemble, X)
    low, high = nllfit.interval(mixture, 0.9)
    assert np.all(low < high)
    assert nllfit.crps(y, mixture).shape == [64]
    for calibrated in (nllfit.recalibrate(ensemble, X, y), nllfit.conformalize(ensemble, X, y)):
        assert nllfit.predict_distribution(calibrated, X).batch_shape == [64]
        with pytest.raises(ValueError, match=r"calibrate `nllfit.Ensemble\(\[model\], num_samples=3\)`"):
            nllfit.predict_distribution(calibrated, X, num_samples=3)
    ensemble.save(tmp_path / "folder")
    assert nllfit.Ensemble.load(tmp_path / "folder").num_samples == 10


@pytest.mark.thorough
def test_masks_and_tensors_come_with_the_mixture():
    kit = KITS[0]
    x = np.ones([4, 6, 5], np.float32)
    x[:, 4:] = 0
    mixture = nllfit.predict_distribution(dropout(kit, steps=(None,)), x, num_samples=5)
    assert mixture.batch_shape == [4, 6]
    y = np.where(np.any(x != 0, -1), 1.0, np.nan)[..., None]
    assert np.isfinite(nllfit.evaluate(mixture, y=y).nll)
    model = dropout(kit)
    two = kit.keras.Model(model.inputs, [model.layers[-2].output, model.output])
    passes = nllfit.predict_distribution(two, X, num_samples=PASSES)
    single = tf.stack([nllfit.predict_distribution(two, X)[0] for _ in range(20)])
    np.testing.assert_allclose(passes[0], tf.reduce_mean(single, 0), atol=1.5)
    assert np.std(passes[0] - passes[1].components_distribution.mean()[:, 0]) > 0


@pytest.mark.parametrize(
    "make",
    [
        lambda n: nllfit.predict_distribution(coder(KITS[0]), X, num_samples=n),
        lambda n: nllfit.Ensemble([coder(KITS[0])], num_samples=n),
    ],
    ids=["predict_distribution", "Ensemble"],
)
def test_a_number_of_passes_is_at_least_one(make):
    with pytest.raises(ValueError, match="`num_samples` is 0: give an int >= 1"):
        make(0)
