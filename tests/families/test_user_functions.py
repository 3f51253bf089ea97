"""Users' own distributions: a function that returns a distribution, or a class with parameter properties."""

import importlib
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import stats

import nllfit
from nllfit import MixtureFamily, heads
from nllfit.families.law import law_of
from nllfit.families.mixture import mixture_of
from tests.keras_versions import KITS, each_keras, mainly

tfd = tfp.distributions

MODULE = """
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd
from tensorflow_probability import util as tfpu
import {keras} as keras

@keras.saving.register_keras_serializable(package="mine")
def flow(params):
    loc, log_scale, skewness = tf.split(params, 3, axis=-1)
    chain = tfb.Chain([tfb.Shift(loc), tfb.Scale(tf.exp(log_scale)), tfb.SinhArcsinh(skewness)])
    return tfd.Independent(chain(tfd.Normal(tf.zeros_like(loc), 1.0)), 1)

@keras.saving.register_keras_serializable(package="mine")
class Rayleigh(tfd.Distribution):
    def __init__(self, scale, validate_args=False, allow_nan_stats=True, name="Rayleigh"):
        parameters = dict(locals())
        self.scale = tf.convert_to_tensor(scale)
        kind = tfd.NOT_REPARAMETERIZED
        super().__init__(self.scale.dtype, kind, validate_args, allow_nan_stats, parameters, name=name)

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        softplus = lambda: tfb.Softplus(low=tf.constant(1e-10, dtype))
        return dict(scale=tfpu.ParameterProperties(default_constraining_bijector_fn=softplus))

    def get_config(self):
        raise NotImplementedError

    def _event_shape(self):
        return tf.TensorShape([])

    def _event_shape_tensor(self):
        return tf.constant([], tf.int32)

    def _log_prob(self, y):
        return tf.math.log(y) - 2 * tf.math.log(self.scale) - tf.square(y / self.scale) / 2

    def _mean(self):
        return self.scale * 1.2533141373155003

    def _default_event_space_bijector(self):
        return tfb.Softplus()
"""


def own_module(kit, folder, monkeypatch):
    """Writes and imports a user's module, which registers functions and classes with the Keras version of `kit`."""
    name = f"mine_{kit.keras.__name__}"
    (folder / f"{name}.py").write_text(MODULE.format(keras=kit.keras.__name__))
    monkeypatch.syspath_prepend(folder)
    return importlib.import_module(name)


def build(kit, head, seed=0):
    kit.keras.utils.set_random_seed(seed)
    return kit.keras.Sequential([kit.keras.Input((3,)), kit.keras.layers.Dense(head.params_size()), head])


X = np.random.default_rng(0).normal(size=[6, 3]).astype("float32")
Y = np.linspace(-1, 2, 6, dtype="float32")[:, None]


@pytest.mark.thorough
@mainly(keras)
def test_a_users_function_works_as_a_head(kit, tmp_path, monkeypatch):
    module = own_module(kit, tmp_path, monkeypatch)
    model, x, y = build(kit, kit.heads.DistributionLambda(module.flow, 3)), X, Y
    params = model.layers[0](x).numpy() if kit.keras.__name__ == "tf_keras" else np.asarray(model.layers[0](x))
    expected = module.flow(params).log_prob(y)
    np.testing.assert_allclose(kit.distribution(model(x)).log_prob(y), expected, rtol=1e-6)  # rounding of float32
    metrics = [kit.metrics.NegativeLogLikelihood(), "mse"]
    model.compile("adam", kit.loss, metrics=metrics, run_eagerly=True)
    history = model.fit(x, y, epochs=1, verbose=0).history
    assert np.isfinite([*history.values()]).all()
    model.compile("adam", kit.loss, metrics=metrics, jit_compile=False)
    assert np.isfinite(nllfit.fit(model, x, y, epochs=1, verbose=0).history["loss"]).all()
    assert model.output_shape == (None, 1)
    np.testing.assert_array_equal(model.predict(x, verbose=0), model.predict(x, verbose=0))
    with pytest.raises(ValueError, match="has shape"):
        kit.losses(np.concatenate([y, y]), model(x))
    assert np.isfinite(nllfit.evaluate(model, x, y).nll)


@each_keras
def test_an_unregistered_function_cannot_be_saved(kit, tmp_path):
    def unknown(params):
        return tfd.Independent(tfd.Normal(params, 1.0), 1)

    model = build(kit, kit.heads.DistributionLambda(unknown, 1))
    with pytest.raises(ValueError, match=r"`unknown` is not registered with Keras.*register_keras_serializable"):
        model.layers[-1].get_config()
    with pytest.raises(ValueError, match="`unknown` is not registered"):
        model.save(tmp_path / "unknown.keras")
    with pytest.raises(ValueError, match="nobody>knows is not registered with Keras here"):
        kit.heads.DistributionLambda("nobody>knows", 1)


BAD = [
    (lambda params: params, "returns a .*Tensor: let it return a `tfd.Distribution`"),
    (lambda params: tfd.Normal(params, 1.0), r"batch \(3, 2\) and outcomes of shape \(\): let the batch be \(3,\)"),
    (lambda params: tfd.Normal(0.0, 1.0), r"batch \(\)"),
    (lambda params: tfd.JointDistributionSequential([tfd.Normal(params[:, 0], 1.0)] * 2), "tfd.Blockwise"),
    (3.0, "`make_distribution` is 3.0"),
]


@each_keras
@pytest.mark.parametrize(("function", "message"), BAD, ids=[message for _, message in BAD])
def test_functions_without_a_suitable_distribution_are_refused(kit, function, message):
    with pytest.raises(ValueError, match=message):
        kit.heads.DistributionLambda(function, 2)


def test_functions_may_return_mixtures_of_families_and_joint_distributions():
    def both(params):
        logits, loc, scale = params[..., :2], params[..., 2:3], tf.nn.softplus(params[..., 3:4])
        parts = [tfd.Independent(tfd.Normal(loc, scale), 1), tfd.Independent(tfd.StudentT(3.0, loc, scale), 1)]
        return tfd.Mixture(tfd.Categorical(logits), parts)

    output = nllfit.heads.DistributionLambda(both, 4)(tf.zeros([2, 4]))
    scale = np.log(2)
    expected = np.log(stats.norm(0, scale).pdf(0.3) / 2 + stats.t(3, 0, scale).pdf(0.3) / 2)
    np.testing.assert_allclose(output.log_prob([[0.3], [0.3]]), [expected] * 2, rtol=1e-6)  # rounding of float32
    np.testing.assert_array_equal(tf.convert_to_tensor(output), [[0.0], [0.0]])


def test_a_users_class_with_parameter_properties_is_a_family(tmp_path, monkeypatch):
    module = own_module(KITS[0], tmp_path, monkeypatch)
    family = nllfit.Family(module.Rayleigh)
    assert family.parameter_names == ("scale",)
    y = stats.rayleigh(scale=2.0).rvs(200, random_state=0)
    estimate = nllfit.maximum_likelihood(module.Rayleigh, y)
    assert estimate.converged
    np.testing.assert_allclose(estimate.parameters["scale"], np.sqrt(np.mean(y**2) / 2), rtol=1e-8)
    np.testing.assert_allclose(
        estimate.standard_errors["scale"], estimate.parameters["scale"] / np.sqrt(4 * 200), rtol=1e-5
    )

    class Normal(module.Rayleigh):
        pass

    with pytest.raises(ValueError, match="rename yours"):
        nllfit.Family(Normal)


def test_a_histogram_accepts_outcomes_of_every_bin():
    """Each outcome is outside the supports of all components but one."""
    edges = np.array([0.0, 1.0, 2.0, 4.0], np.float32)

    def histogram(params):
        bins = tfd.Uniform(edges[:-1, None], edges[1:, None])
        return tfd.MixtureSameFamily(tfd.Categorical(logits=params), tfd.Independent(bins, 1))

    head = heads.DistributionLambda(histogram, 3)
    params = tf.math.log([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])
    loss = tf.function(lambda y: nllfit.negative_log_likelihood(y, head(params)), autograph=False)
    for function in (loss, lambda y: nllfit.negative_log_likelihood(y, head(params))):
        np.testing.assert_allclose(function(tf.constant([[0.5], [3.0]])), -np.log([0.2, 0.05]), rtol=1e-6)
        with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match="It is outside the support"):
            function(tf.constant([[0.5], [4.5]]))


def test_a_member_of_an_ensemble_may_exclude_an_outcome():
    mixture = MixtureFamily("Pareto", 2)
    scales = np.log(np.expm1([1.0, 2.0]))
    for distribution in (
        mixture.distribution(tf.constant([[0.0, 0.0, 0.5, scales[0], 0.5, scales[1]]])),
        mixture_of(nllfit.Family("Pareto"), [tf.constant([[0.5, scale]]) for scale in scales], [None, None]),
    ):
        shape = np.log1p(np.exp(0.5))
        np.testing.assert_allclose(distribution.prob([1.5]), stats.pareto(shape).pdf(1.5) / 2, rtol=1e-5)
        with pytest.raises(tf.errors.InvalidArgumentError, match="outside the support"):
            distribution.prob([0.5])


@keras.saving.register_keras_serializable(package="mine")
def weibull(params):
    return tfd.Weibull(tf.exp(params[..., 0]), tf.exp(params[..., 1]))


def test_the_family_of_a_function_is_restored_from_a_saved_head():
    family = heads.DistributionLambda(weibull, 2).family
    for head in (heads.DistributionHead(family), heads.Censored(family)):
        copy = type(head).from_config(json.loads(json.dumps(head.get_config())))
        assert copy.family == head.family


def test_a_mixture_predicts_the_mean_of_the_predictions_of_its_components():
    weights = tfd.Categorical(probs=[[0.25, 0.75]])
    mixture = tfd.Mixture(weights, [tfd.Normal([2.0], 1.0), tfd.Cauchy([4.0], 1.0)])  # a Cauchy predicts its median
    np.testing.assert_allclose(law_of(mixture).central_value(), [3.5], rtol=1e-6)
    angles = tfd.Mixture(weights, [tfd.VonMises([3.0], 5.0), tfd.VonMises([-3.0], 5.0)])
    direction = np.arctan2(-0.5 * np.sin(3), np.cos(3))
    np.testing.assert_allclose(law_of(angles).central_value(), [direction], rtol=1e-6)
