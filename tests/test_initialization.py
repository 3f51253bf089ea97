"""`initialize`: training starts at the marginal distribution of the outcomes, in Keras 2 and Keras 3."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from scipy import sparse, stats

import nllfit
from nllfit import Family, MixtureFamily, maximum_likelihood
from nllfit.initialization import marginal_estimate
from nllfit.initialization.marginal_estimate import marginal_numbers
from tests.files import data_file
from tests.keras_versions import KITS, alternately, in_turn, mainly

CONCRETE = np.loadtxt(data_file("uci/concrete.txt"))
X = ((CONCRETE[:, :-1] - CONCRETE[:, :-1].mean(0)) / CONCRETE[:, :-1].std(0)).astype("float32")
Y = CONCRETE[:, -1:].astype("float32")  # strengths, 2 to 83 MPa


def make_model(kit, head, hidden=8, **kwargs):
    layers = kit.keras.layers
    return kit.keras.Sequential(
        [layers.Dense(hidden, "tanh", **kwargs), layers.Dense(head.params_size(), **kwargs), head]
    )


@pytest.fixture
def estimates(monkeypatch):
    """A list that gets the estimates that `initialize` computes, so that a test does not need to fit them again."""
    found = []

    def kept(*args, **kwargs):
        found.append(maximum_likelihood(*args, **kwargs))
        return found[-1]

    monkeypatch.setattr(marginal_estimate, "maximum_likelihood", kept)
    return found


def first_loss(kit, model, x, y):
    """The loss of the first epoch of a training with one batch."""
    model.compile("sgd", kit.loss, run_eagerly=True)
    return float(model.fit(x, y, batch_size=len(x), verbose=0).history["loss"][0])


@pytest.mark.thorough(but=("tf_keras-Normal", "keras-Laplace"))
@pytest.mark.parametrize(
    ("kit", "family"),
    [
        *in_turn(
            [
                ("Normal", {"scale": 2.0}),
                ("Weibull", {}),  # with Keras's initial weights the loss is 1e7
                ("Moyal", {}),  # with Keras's initial weights the loss is NaN
                ("Laplace", {"floor": {"scale": 1e-3}}),
                ("Uniform", {}),  # its bounds are the extreme outcomes, which float32 rounds
                ("Pareto", {}),
            ]
        ),
        *alternately(  # one Keras version each, because the estimate does not depend on it
            [
                ("Gamma", {}),
                ("GeneralizedPareto", {}),
                ("SinhArcsinh", {}),
                ("StudentT", {}),
                ("TruncatedNormal", {"low": 0.0, "high": 100.0}),
            ]
        ),
    ],
)
def test_the_first_loss_is_that_of_the_marginal_distribution(kit, family, estimates):
    name, fixed = family
    model = make_model(kit, kit.heads.DistributionHead(name, **fixed))
    nllfit.initialize(model, X, Y)
    (estimate,) = estimates
    expected = -estimate.log_likelihood / len(Y)
    # The losses differ by less than 0.01 nats. They are not equal, because bounds get a margin, and large parameters,
    # such as `df`, are reduced.
    assert abs(first_loss(kit, model, X, Y) - expected) < 0.01


def entropy_of(rate):
    return -rate * np.log(rate) - (1 - rate) * np.log1p(-rate)


@pytest.mark.thorough
@pytest.mark.parametrize("kit", KITS[:1], ids=["tf_keras"])  # the estimates do not depend on the version of Keras
def test_initialize_matches_the_frequencies_of_labels_and_counts(kit):
    rng = np.random.default_rng(0)
    labels, counts = rng.choice(4, [300, 1], p=[0.1, 0.2, 0.7, 0.0]), rng.poisson(5, [300, 2])
    rate = np.bincount(labels[:, 0], minlength=4) / 300
    soft = np.where(labels == 1, 0.9, 0.1)
    entropy = -np.sum(rate[:3] * np.log(rate[:3]))
    for head, y, expected in (
        (kit.heads.Categorical(4), labels, entropy),  # one of the four labels does not occur
        (kit.heads.OneHotCategorical(4), np.eye(4)[labels[:, 0]], entropy),
        (kit.heads.Bernoulli(), labels == 1, entropy_of(np.mean(labels == 1))),
        (kit.heads.Bernoulli(validate_args=False), soft, entropy_of(np.mean(soft))),
        (kit.heads.Poisson(2), counts, -stats.poisson(counts.mean(0)).logpmf(counts).sum() / 300),
    ):
        model = make_model(kit, head)
        nllfit.initialize(model, X[:300], y)
        loss = kit.losses(np.asarray(y, "float32"), model(X[:300])).numpy().mean()
        assert abs(loss - expected) < 0.002  # nats; not exact, because logits are finite


@pytest.mark.thorough
@pytest.mark.parametrize("kit", KITS[1:], ids=["keras"])  # the estimates do not depend on the version of Keras
def test_the_components_of_a_mixture_start_at_different_places(kit, estimates):
    rng = np.random.default_rng(0)
    y = np.concatenate([rng.normal(-3, 0.5, [200, 1]), rng.normal(4, 1, [100, 1])]).astype("float32")
    model = make_model(kit, kit.heads.Mixture("Normal", 2))
    nllfit.initialize(model, X[:300], y)
    mixture = kit.distribution(model(X[:1]))
    places = np.sort(mixture.components_distribution.mean()[0, :, 0])
    np.testing.assert_allclose(places, [-3, 4], atol=0.3)  # three standard errors of the smaller component
    (estimate,) = estimates
    assert abs(first_loss(kit, model, X[:300], y) + estimate.log_likelihood / 300) < 1e-3


@pytest.mark.thorough(but=("Normal", "Gamma"))
@pytest.mark.parametrize(
    ("family", "sample"),
    [
        (Family("Normal", 50), lambda rng: 1e4 + rng.normal(size=[200, 50])),
        (Family("Gamma", 20), lambda rng: rng.gamma(2.0, 3.0, [200, 20])),
        (MixtureFamily("Normal", 3, 5), lambda rng: rng.normal(np.repeat([-8, 0, 7], 100)[:, None], 1, [300, 5])),
    ],
    ids=["Normal", "Gamma", "mixture"],  # explicit, because all test processes need the same ids
)
def test_many_parameters_are_estimated_by_lbfgs(family, sample):
    y = sample(np.random.default_rng(0))
    numbers = marginal_numbers(family, y, np.ones(len(y)))
    loss = -np.mean(family.distribution(tf.constant(numbers)).log_prob(y))
    if isinstance(family, MixtureFamily):
        parts = [stats.norm(part.mean(0), part.std(0)).logpdf(part).sum() for part in np.split(y, 3)]
        expected = np.log(3) - sum(parts) / 300  # the components do not overlap
    else:
        scipys, fixed = {"Normal": (stats.norm, {}), "Gamma": (stats.gamma, {"floc": 0})}[family.name]
        columns = [scipys(*scipys.fit(column, **fixed)).logpdf(column).sum() for column in y.T[:3]]
        expected = -np.sum(columns) / 200
        loss = -np.mean(family.distribution(tf.constant(numbers)).distribution.log_prob(y)[:, :3].numpy().sum(1))
    assert abs(loss - expected) < 1e-3


@pytest.mark.parametrize("components", [7, 10])
def test_components_do_not_concentrate_at_repeated_values(components):
    y = np.random.default_rng(1).integers(0, 8, [1000, 1]).astype(float)
    family = MixtureFamily("Normal", components, 1)
    mixture = family.distribution(tf.constant(marginal_numbers(family, y, np.ones(1000))))
    np.testing.assert_allclose([mixture.mean()[0], mixture.stddev()[0]], [y.mean(), y.std()], rtol=0.15)
    assert -np.mean(mixture.log_prob(y)) < -np.mean(stats.norm(*stats.norm.fit(y)).logpdf(y))
    assert np.min(mixture.components_distribution.stddev()) > 0.1


@mainly(keras)
def test_initialize_uses_masks_and_weights_and_sets_shared_parameters(kit):
    layers = kit.keras.layers
    inputs = kit.keras.Input((6, 2))
    hidden = layers.LSTM(4, return_sequences=True)(layers.Masking()(inputs))
    head = kit.heads.Normal(shared=("scale",))
    model = kit.keras.Model(inputs, head(layers.Dense(1)(hidden)))
    x = np.random.default_rng(0).normal(size=[20, 6, 2]).astype("float32")
    y = np.random.default_rng(1).normal(7, 3, size=[20, 6, 1]).astype("float32")
    x[:, 4:], y[:, 4:] = 0, np.nan  # padding
    weights = np.arange(20.0)
    nllfit.initialize(model, x, y, weights)
    mean = np.average(y[:, :4, 0].mean(1), weights=weights)
    scale = np.sqrt(np.average(((y[:, :4, 0] - mean) ** 2).mean(1), weights=weights))
    distribution = kit.distribution(model(x[:1]))
    np.testing.assert_allclose(distribution.mean()[0, :, 0], np.full(6, mean), rtol=1e-5)  # rounding of float32
    np.testing.assert_allclose(distribution.stddev()[0, :, 0], np.full(6, scale), rtol=1e-5)


@mainly(keras)
def test_initialize_finds_several_biases_also_in_subclassed_models(kit):
    layers = kit.keras.layers

    class Model(kit.keras.Model):
        def __init__(self):
            super().__init__()
            self.trunk = kit.keras.Sequential([layers.Dense(4, "relu"), layers.Dense(3)])
            self.loc, self.scale, self.join = layers.Dense(1), layers.Dense(1), layers.Concatenate()
            self.head, self.flat, self.other = kit.heads.Normal(), layers.Dense(6), kit.heads.Normal(name="steps")
            self.reshape = layers.Reshape((3, 2))

        def call(self, inputs, training=False):
            hidden = self.trunk(inputs)
            one = self.head(self.join([self.loc(hidden), self.scale(inputs)]))
            return {"one": one, "steps": self.other(self.reshape(self.flat(hidden))), "plain": hidden}

    model = Model()
    y = {"one": Y, "steps": np.repeat(Y[:, None], 3, 1), "plain": np.zeros([len(Y), 3])}
    nllfit.initialize(model, X, y)
    for name in ("one", "steps"):
        distribution = kit.distribution(model(X[:2])[name])
        np.testing.assert_allclose(distribution.mean(), np.full(y[name][:2].shape, Y.mean()), rtol=1e-5)  # float32
        np.testing.assert_allclose(distribution.stddev(), np.full(y[name][:2].shape, Y.std()), rtol=1e-5)
    assert np.std(model(X)["plain"]) > 0.1  # an output without a head is not changed
    with pytest.raises(ValueError, match="`y` does not have the structure of the model's outputs"):
        nllfit.initialize(model, X, Y)


def test_initialize_sets_one_of_several_biases_that_are_added():
    layers = keras.layers
    inputs = keras.Input(X.shape[1:])
    wide, deep = layers.Dense(2)(inputs), layers.Dense(2)(layers.Dense(4, "relu")(inputs))
    model = keras.Model(inputs, nllfit.keras3.heads.Normal()(layers.Add()([wide, deep])))
    nllfit.initialize(model, X, Y)
    np.testing.assert_allclose(model(X[:2]), np.full([2, 1], Y.mean()), rtol=1e-5)  # rounding of float32


@pytest.mark.parametrize(
    ("kit", "options"),
    in_turn([("no bias", {"use_bias": False}), ("frozen", {"trainable": False}), ("bounded", {"activation": "tanh"})]),
)
def test_a_model_without_a_bias_is_refused_and_not_changed(kit, options):
    layers = kit.keras.layers
    model = kit.keras.Sequential([layers.Dense(4), layers.Dense(2, **options[1]), kit.heads.Normal()])
    before = [weight.copy() for weight in (model(X[:1]), model.get_weights())[1]]
    with pytest.raises(
        ValueError, match=re.escape("no trainable bias sets the 2 parameters of Normal: put a `Dense(2)`")
    ):
        nllfit.initialize(model, X, Y)
    for weight, was in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, was)


@pytest.mark.parametrize(("kit", "convert"), in_turn([("dense", np.asarray), ("sparse", sparse.csr_matrix)]))
def test_dependence_on_the_input_is_found_if_few_rows_are_not_zero(kit, convert):
    layers, x = kit.keras.layers, np.zeros([1000, 2], "float32")
    x[400:409] = X[:9, :2]
    inputs = layers.Input((2,))
    parts = [layers.Dense(2)(layers.Dense(3)(inputs)), layers.Dense(2, use_bias=False)(inputs)]
    model = kit.keras.Model(inputs, kit.heads.Normal()(layers.Add()(parts)))
    with pytest.raises(ValueError, match="no trainable bias sets the 2 parameters of Normal"):
        nllfit.initialize(model, convert[1](x), Y[:1000])


@mainly(keras)
def test_invalid_outcomes_are_refused_by_initialize(kit):
    model = make_model(kit, kit.heads.Gamma())
    with pytest.raises(
        ValueError, match=r"`y` has shape \(1030, 2\), but the head models outcomes of shape \(1030, 1\)"
    ):
        nllfit.initialize(model, X, np.repeat(Y, 2, 1))
    with pytest.raises(ValueError, match="which Gamma cannot have"):
        nllfit.initialize(model, X, -Y)
    with pytest.raises(ValueError, match=r"`y` holds \[0.5\], which Bernoulli cannot have"):
        nllfit.initialize(make_model(kit, kit.heads.Bernoulli()), X[:2], np.array([[1.0], [0.5]]))
    plain = kit.keras.Sequential([kit.keras.layers.Dense(1)])
    with pytest.raises(TypeError, match="not a distribution"):
        nllfit.initialize(plain, X, Y)


@pytest.mark.parametrize(("kit", "policy"), in_turn(["float64", "mixed_float16"]))
def test_initialize_works_in_float64_and_mixed_precision(kit, policy):
    kit.keras.mixed_precision.set_global_policy(policy)
    try:
        model = make_model(kit, kit.heads.Normal())
    finally:
        kit.keras.mixed_precision.set_global_policy("float32")
    nllfit.initialize(model, X, Y.astype("float64"))
    mean = kit.distribution(model(X[:1])).mean()
    tolerance = {"float64": 1e-6, "mixed_float16": 1e-3}[policy]  # rounding of float32 and of float16
    np.testing.assert_allclose(mean, [[Y.mean(dtype="float64")]], rtol=tolerance)


def test_initialize_finds_a_bias_of_many_steps_in_16_bits():
    """In bfloat16, TensorFlow's sum of 301 ones is 256. The second model's bias has two elements for each time step."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, 301, 1)).astype("float32"), rng.normal(2.0, 1.0, size=(5, 301, 1))
    head = nllfit.heads.Normal(1)
    model = tf_keras.Sequential([tf_keras.layers.Dense(2, dtype="mixed_bfloat16"), head])
    nllfit.initialize(model, x, y)
    np.testing.assert_allclose(model(x).mean(), np.full(y.shape, y.mean()), rtol=1e-2)
    of_steps = tf_keras.Sequential([tf_keras.layers.Dense(8), tf_keras.layers.Reshape([4, 2]), head])
    nllfit.initialize(of_steps, x[:, 0], y[:, :4])
    np.testing.assert_allclose(of_steps(x[:, 0]).mean(), np.full([5, 4, 1], y[:, :4].mean()), rtol=1e-5)


@pytest.mark.thorough
def test_a_parameter_with_its_estimate_at_infinity_stays_finite():
    y = np.random.default_rng(0).uniform(-1, 1, 200)  # lighter tails than any StudentT, so the best `df` is infinite
    family = Family("StudentT")
    numbers = marginal_numbers(family, y, np.ones(200))
    assert np.abs(numbers).max() < 1000
    log_likelihood = np.mean(family.distribution(tf.constant(numbers)).log_prob(y))
    assert log_likelihood == pytest.approx(np.mean(stats.norm(*stats.norm.fit(y)).logpdf(y)), abs=0.01)  # nats
