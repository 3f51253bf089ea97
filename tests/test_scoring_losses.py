"""CRPS and beta-NLL as losses, and CRPS as a metric, in Keras 2 and Keras 3."""

import functools
import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import stats

import nllfit
from nllfit import keras3
from tests.keras_versions import KITS, each_keras, mainly

tfd = tfp.distributions
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras 3's variables

RNG = np.random.default_rng(0)
X = RNG.normal(size=[64, 1]).astype("float32")
Y = (2 * X + 1 + 0.1 * RNG.normal(size=[64, 1])).astype("float32")


def losses_of(kit):
    return nllfit.losses if kit.heads is nllfit.heads else keras3.losses


def make(kit, loss, **compiled):
    k = kit.keras
    k.utils.set_random_seed(0)
    head = kit.heads.Normal()
    model = k.Sequential([k.layers.Input((1,)), k.layers.Dense(head.params_size()), head])
    model.compile(k.optimizers.Adam(0.1), loss, metrics=[kit.metrics.CRPS()], **compiled)
    return model


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("kit", "name"), [(KITS[0], "CRPS"), (KITS[1], "BetaNLL")], ids=["tf_keras-CRPS", "keras-BetaNLL"]
)
def test_scoring_losses_train_save_and_reload(kit, name, tmp_path):
    loss = getattr(losses_of(kit), name)()
    runs = []
    for trainer in ("fit", "nllfit"):
        model = make(kit, loss, jit_compile=False)
        fit = model.fit if trainer == "fit" else functools.partial(nllfit.fit, model, compile="graph")
        history = fit(X, Y, batch_size=16, epochs=40, shuffle=False, verbose=0).history
        runs.append(history)
        assert history["crps"][-1] < 0.1 < history["crps"][0]  # the CRPS of the true model is 0.056
    np.testing.assert_allclose(runs[0]["loss"], runs[1]["loss"], rtol=1e-3)  # 160 steps in float32, traced in two ways
    model.save(tmp_path / "model.keras")
    loaded = kit.keras.models.load_model(tmp_path / "model.keras")
    model.run_eagerly = loaded.run_eagerly = True  # a trace takes longer than two batches
    np.testing.assert_allclose(loaded.evaluate(X, Y, verbose=0), model.evaluate(X, Y, verbose=0), rtol=1e-6)


@each_keras
def test_scoring_losses_are_weighted_and_masked_means(kit, rng):
    params = rng.normal(size=[8, 4])
    y, weights = rng.normal(size=[8, 2]), np.arange(8.0)
    output = kit.heads.Normal(2, dtype="float64")(params)
    normal = kit.distribution(output).distribution
    by_name = {
        "CRPS": nllfit.crps(y, normal).numpy(),
        "BetaNLL": -normal.log_prob(y).numpy() * normal.stddev().numpy() ** (2 * 0.3),
    }
    spoilt = np.where(weights[:, None] == 0, np.nan, y)
    for name, scores in by_name.items():
        scores = scores.sum(-1)
        loss = getattr(losses_of(kit), name)(**({"beta": 0.3} if name == "BetaNLL" else {}))
        assert float(loss(y, output)) == pytest.approx(scores.mean(), rel=1e-12)
        assert float(loss(spoilt, output, sample_weight=weights)) == pytest.approx(np.mean(weights * scores), rel=1e-12)
        assert type(loss).from_config(loss.get_config()).get_config() == loss.get_config()
    metric = kit.metrics.CRPS(dtype="float64")
    for rows in (slice(0, 3), slice(3, 8)):
        output = kit.heads.Normal(2, dtype="float64")(params[rows])
        metric.update_state(spoilt[rows], output, weights[rows])
    assert float(metric.result()) == pytest.approx(np.average(by_name["CRPS"].sum(-1), weights=weights), rel=1e-12)


def test_beta_nll_at_beta_1_has_the_squared_errors_gradient_for_the_mean():
    y, loc, scale = tf.constant([[3.0]]), tf.constant([[1.0]]), tf.constant([[5.0]])
    with tf.GradientTape() as tape:
        tape.watch([loc, scale])
        value = nllfit.losses.BetaNLL(np.float32(1.0))(y, tfd.Independent(tfd.Normal(loc, scale), 1))
    gradients = tape.gradient(value, [loc, scale])
    np.testing.assert_allclose(gradients, [[[-2.0]], [[25 / 5 - 4 / 5]]], rtol=1e-6)


@mainly(keras)  # the loss for tf_keras calls the same function
def test_beta_nll_refuses_impossible_outcomes_in_a_graph(kit):
    loss = losses_of(kit).BetaNLL()
    traced = tf.function(lambda y: loss(y, kit.heads.Gamma(1)(tf.ones([2, 2]))))
    assert np.isfinite(traced(tf.constant([[1.0], [2.0]])))
    with pytest.raises(tf.errors.InvalidArgumentError, match="must be non-negative"):
        traced(tf.constant([[1.0], [-2.0]]))


def test_beta_nll_needs_independent_elements():
    mixture = tfd.MixtureSameFamily(
        tfd.Categorical(logits=tf.zeros([4, 2])), tfd.Independent(tfd.Normal(tf.zeros([4, 2, 1]), 1.0), 1)
    )
    y = np.ones([4, 1], "float32")
    loss = nllfit.losses.BetaNLL()(y, mixture)
    np.testing.assert_allclose(loss, np.mean(nllfit.negative_log_likelihood(y, mixture)), rtol=1e-6)
    with pytest.raises(ValueError, match=r"elements of Multivariate.*, of shape \(2,\), depend on each other"):
        nllfit.losses.BetaNLL()(np.ones([4, 2]), tfd.MultivariateNormalDiag(tf.zeros([4, 2])))
    with pytest.raises(ValueError, match="`beta` is 2"):
        nllfit.losses.BetaNLL(2)


@each_keras
def test_configs_hold_each_argument(kit):
    """Models with equal configs share a program, so an argument that is missing in the config would have no effect."""
    for part in (losses_of(kit), kit.metrics):
        for name in part.__all__:
            found = getattr(part, name)
            if isinstance(found, type):
                given = set(inspect.signature(found.__init__).parameters) - {
                    "self",
                    "args",
                    "kwargs",
                    "dtype",
                }  # Keras's losses have no dtype in their configs
                assert given <= set(found().get_config()) | {"fn"}, name


@pytest.mark.thorough
def test_beta_nll_weights_a_truncated_outcome_by_the_variance_within_the_window():
    window = nllfit.Truncated("Normal", low=0.5).distribution(tf.zeros([1, 2], tf.float64))
    scale = float(window.distribution.scale[0])
    reference = stats.truncnorm(0.5 / scale, np.inf, scale=scale)
    expected = -reference.logpdf(0.7) * reference.var()
    assert float(nllfit.losses.BetaNLL(1.0)([0.7], window)) == pytest.approx(expected, rel=1e-8)
