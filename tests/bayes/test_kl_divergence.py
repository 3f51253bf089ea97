"""The divergence of a head's distribution from a prior, as a term of the loss."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from scipy import stats
from tensorflow_probability import distributions as tfd

import nllfit
from nllfit.bayes.divergences import exact_divergence
from nllfit.training.architecture import architecture_of
from tests.keras_versions import KITS, by_keras, each_keras, mainly

PARAMS = tf.constant(np.random.default_rng(0).normal(size=[8, 4]), tf.float32)
PRIOR = tfd.MultivariateNormalDiag(tf.zeros(2), [1.0, 2.0])
X = np.random.default_rng(1).normal(size=[64, 5]).astype(np.float32)


def normal_divergence(loc, scale, prior_loc=0.0, prior_scale=1.0):
    """`KL(Normal(loc, scale) || Normal(prior_loc, prior_scale))` by its textbook formula, summed over the last axis."""
    ratio = (scale / prior_scale) ** 2
    return np.sum(0.5 * (ratio + ((loc - prior_loc) / prior_scale) ** 2 - 1 - np.log(ratio)), -1)


def of_rows(output, kit):
    d = kit.distribution(output)
    return d.mean().numpy().astype(np.float64), d.stddev().numpy().astype(np.float64)


@pytest.mark.thorough
@mainly(tf_keras)
def test_the_mean_divergence_is_added_once(kit):
    """`nllfit.KLDivergence` adds the mean divergence over rows, and adds it once.

    In tf_keras, TFP's regularizer is added twice, and TFP's `KLDivergenceAddLoss` adds the sum over rows.
    """
    layers = kit.keras.layers
    head = kit.heads.Normal(2, as_tensor="sample", activity_regularizer=nllfit.KLDivergence(PRIOR, weight=0.5))
    model = kit.keras.Sequential([layers.Input((5,)), layers.Dense(4), head, layers.Dense(1)])
    for _ in range(2):  # the second call must replace the losses of the first
        model(X)
    expected = 0.5 * np.mean(normal_divergence(*of_rows(head(model.layers[0](X)), kit), 0.0, np.array([1.0, 2.0])))
    model(X)
    np.testing.assert_allclose([float(loss) for loss in model.losses], [expected], rtol=1e-5)
    model.compile("sgd", "mse", run_eagerly=True)
    predicted = float(model.evaluate(X, np.zeros([64, 1]), verbose=0, batch_size=64))
    with_nothing = kit.keras.Sequential([model.layers[0], kit.heads.Normal(2), model.layers[2]])
    with_nothing.compile("sgd", "mse", run_eagerly=True)
    assert predicted > float(with_nothing.evaluate(X, np.zeros([64, 1]), verbose=0)) + 0.9 * expected


@each_keras
def test_masked_steps_do_not_count_in_the_divergence(kit):
    head = kit.heads.Normal(
        1, as_tensor="sample", activity_regularizer=nllfit.KLDivergence(tfd.Independent(tfd.Normal([0.0], 1.0), 1))
    )
    masking = kit.keras.layers.Masking()
    x = np.concatenate([PARAMS[:, :2], np.zeros([2, 2], np.float32)]).reshape(2, 5, 2)
    x = np.concatenate([x, np.zeros([2, 3, 2], np.float32)], 1)
    output = head(masking(x))
    divergence = normal_divergence(*of_rows(output, kit))[np.any(x != 0, -1)]
    assert divergence.shape == (8,)
    np.testing.assert_allclose(float(head.losses[0]), divergence.mean(), rtol=1e-5)


PAIRS = {
    "normals, vector": (nllfit.Family("Normal", 2), PRIOR),
    "normals, independent": (nllfit.Family("Normal", 2), tfd.Independent(tfd.Normal(tf.zeros(2), [1.0, 2.0]), 1)),
    "triangle": (nllfit.Family("MultivariateNormalTriL", 2), tfd.Independent(tfd.Normal(tf.zeros(2), [1.0, 2.0]), 1)),
    "gammas": (nllfit.Family("Gamma", 2), tfd.Independent(tfd.Gamma([1.0, 2.0], 1.0), 1)),
    "float64 prior": (nllfit.Family("Normal", 2), tfd.MultivariateNormalDiag(np.zeros(2), np.array([1.0, 2.0]))),
}


@pytest.mark.thorough(but=("normals, vector", "triangle"))
@pytest.mark.parametrize("name", PAIRS)
def test_estimated_divergences_agree_with_exact_ones(name):
    family, prior = PAIRS[name]
    q = family.distribution(PARAMS[:4, : family.params_size] if family.params_size < 5 else tf.ones([4, 5]))
    exact, estimate = nllfit.KLDivergence(prior), nllfit.KLDivergence(prior, num_samples=20_000)
    assert exact.is_exact(q)
    assert not estimate.is_exact(q)
    z = q.sample(20_000, seed=tf.constant([1, 2]))
    p = prior if prior.dtype == tf.float32 else PRIOR
    terms = (q.log_prob(z) - p.log_prob(z)).numpy().mean(1)
    error = 4 * terms.std() / len(terms) ** 0.5
    assert abs(float(exact(q)) - terms.mean()) < error
    assert abs(float(exact(q)) - float(estimate(q, seed=tf.constant([3, 4])))) < 2 * error


@pytest.mark.parametrize("dtypes", [("float32", "float64"), ("float64", "float32")])
@pytest.mark.parametrize("family", [tfd.Categorical, tfd.OneHotCategorical])
def test_a_prior_of_classes_may_have_parameters_of_another_dtype(family, dtypes):
    """The outcomes are integers, so their dtype does not show the dtype of the parameters."""
    params, probs = np.array([[0.0, 1.0, 2.0]], dtypes[0]), np.array([0.2, 0.3, 0.5], dtypes[1])
    predicted = np.exp(params[0]) / np.sum(np.exp(params[0]))
    divergence = nllfit.KLDivergence(family(probs=tf.constant(probs)))(family(logits=tf.constant(params)))
    np.testing.assert_allclose(divergence, stats.entropy(predicted, probs), rtol=1e-5)
    assert divergence.dtype == dtypes[0]


def test_independent_normals_match_the_textbook():
    d = nllfit.Family("Normal", 2).distribution(PARAMS)
    expected = normal_divergence(d.mean().numpy(), d.stddev().numpy(), 0.0, np.array([1.0, 2.0]))
    np.testing.assert_allclose(exact_divergence(d, PRIOR), expected, rtol=1e-5)


@each_keras
def test_an_estimate_uses_the_draw_that_the_head_outputs(kit):
    prior = tfd.MixtureSameFamily(tfd.Categorical([0.0, 0.0]), tfd.MultivariateNormalDiag([[-1.0, 0.0], [1.0, 0.0]]))
    divergence = nllfit.KLDivergence(prior)
    head = kit.heads.Normal(2, as_tensor="sample", activity_regularizer=divergence)
    output = head(PARAMS)
    assert not divergence.is_exact(output)
    z, q = tf.convert_to_tensor(output), kit.distribution(output)
    expected = tf.reduce_mean(q.log_prob(z) - prior.log_prob(z))
    np.testing.assert_allclose([head.losses[0], divergence(output)], expected, rtol=1e-5)


def code(kit, divergence, family="Normal"):
    """A compiled model with a regularized latent variable and 5 outputs."""
    layers = kit.keras.layers
    head = kit.heads.DistributionHead(family, 2, as_tensor="sample", activity_regularizer=divergence, seed=0)
    model = kit.keras.Sequential(
        [layers.Input((5,)), layers.Dense(head.params_size()), head, layers.Dense(5), kit.heads.Normal(5, scale=1.0)]
    )
    model.compile(kit.keras.optimizers.SGD(0.01), kit.loss)
    return model


@pytest.mark.thorough
@mainly(tf_keras)
def test_a_family_is_a_learned_prior(kit, tmp_path):
    """At the optimum, the prior has the moments of the latent variable over all rows together."""
    model = code(kit, nllfit.KLDivergence(nllfit.Family("Normal", 2)))
    model.layers[0].set_weights([np.eye(5, 4, dtype=np.float32), np.array([3.0, -1.0, 0.5, 0.5], np.float32)])
    model.layers[0].trainable = model.layers[2].trainable = False
    model.compile(kit.keras.optimizers.Adam(0.03), kit.loss)
    nllfit.fit(model, X, X, batch_size=64, epochs=1500, verbose=0, compile="graph")
    q = kit.distribution(model.layers[1](model.layers[0](X)))
    learned = nllfit.Family("Normal", 2).distribution(tf.constant(model.layers[1].get_weights()[0]))
    np.testing.assert_allclose(learned.mean(), tf.reduce_mean(q.mean(), 0), atol=1e-3)
    variance = tf.reduce_mean(q.variance(), 0) + tf.math.reduce_variance(q.mean(), 0)
    np.testing.assert_allclose(learned.variance(), variance, rtol=1e-3)
    model.save(tmp_path / "model.keras")
    loaded = kit.keras.models.load_model(tmp_path / "model.keras")
    for a, b in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@mainly(keras)
def test_shared_parameters_and_a_learned_prior_are_trained_together(kit):
    head = kit.heads.Normal(1, shared="scale", activity_regularizer=nllfit.KLDivergence(nllfit.Family("Normal", 1)))
    model = kit.keras.Sequential([kit.keras.layers.Dense(1), head])
    model(X)
    assert [weight.shape for weight in model.trainable_variables] == [(5, 1), (1,), (1,), (2,)]
    before = model.get_weights()
    model.compile(kit.keras.optimizers.SGD(0.1), kit.loss)
    by_keras(model, X, X[:, :1], batch_size=64)
    assert all(np.any(a != b) for a, b in zip(model.get_weights(), before, strict=True))


@pytest.mark.thorough  # the case of a prior that is a distribution is in every run
@mainly(keras)
def test_a_model_is_a_prior_with_trained_weights(kit, tmp_path):
    layers = kit.keras.layers
    prior = kit.keras.Sequential([layers.Input((1,)), layers.Dense(4), kit.heads.Normal(2)])
    model, before = code(kit, nllfit.KLDivergence(prior)), prior.get_weights()
    assert len(model.trainable_weights) == 6
    by_keras(model, X, X)
    assert all(np.any(a != b) for a, b in zip(prior.get_weights(), before, strict=True))
    model.save(tmp_path / "model.keras")
    loaded = kit.keras.models.load_model(tmp_path / "model.keras")
    for a, b in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    model(X), loaded(X)
    np.testing.assert_allclose(float(loaded.losses[0]), float(model.losses[0]), rtol=1e-6)


@pytest.mark.thorough
@mainly(keras)
def test_draws_without_a_gradient_are_refused_with_a_model_as_prior(kit):
    prior = kit.keras.Sequential([kit.keras.layers.Dense(2), kit.heads.NegativeBinomial(1)])
    head = kit.heads.Poisson(1, activity_regularizer=nllfit.KLDivergence(prior))
    with pytest.raises(
        ValueError, match="NegativeBinomial, which is estimated here, needs draws through which a gradient"
    ):
        head(tf.fill([10, 1], 0.5))


@mainly(keras)
def test_a_weight_may_be_a_variable(kit, tmp_path):
    beta = tf.Variable(1.0) if kit is KITS[0] else kit.keras.Variable(1.0)
    model = code(kit, nllfit.KLDivergence(PRIOR, weight=beta))
    losses = []
    for value in (1.0, 3.0):
        beta.assign(value)
        model(X)
        losses.append(float(model.losses[0]))
    np.testing.assert_allclose(losses[1], 3 * losses[0], rtol=1e-6)
    assert len(model.trainable_weights) == 4  # the variable `beta` is not trainable
    model.compile(kit.keras.optimizers.SGD(0.0), kit.loss)
    model.save(tmp_path / "model.keras")
    loaded = kit.keras.models.load_model(tmp_path / "model.keras")
    loaded(X)
    np.testing.assert_allclose(float(loaded.losses[0]), losses[1], rtol=1e-6)


@pytest.mark.thorough
@mainly(keras)
def test_a_callback_may_change_the_weight_between_epochs(kit):
    beta = tf.Variable(1.0) if kit is KITS[0] else kit.keras.Variable(1.0)
    model = code(kit, nllfit.KLDivergence(PRIOR, weight=beta))
    model(X)
    divergence = float(model.losses[0])
    model.compile(kit.keras.optimizers.SGD(0.0), kit.loss)
    setting = kit.keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: beta.assign(1e6 * epoch))
    history = nllfit.fit(model, X, X, epochs=3, batch_size=64, verbose=0, compile="graph", callbacks=[setting])
    np.testing.assert_allclose(np.diff(history.history["loss"]), 1e6 * divergence, rtol=1e-2)


@pytest.mark.thorough
@mainly(tf_keras)
def test_a_weight_may_be_a_schedule_of_training_steps(kit, tmp_path):
    schedule = kit.keras.optimizers.schedules.PolynomialDecay(8.0, 8, 1.0)
    model, once = code(kit, nllfit.KLDivergence(PRIOR, weight=schedule)), code(kit, nllfit.KLDivergence(PRIOR))
    once.set_weights([w for w in model.get_weights() if np.ndim(w)])
    once(X)

    def weight(model):
        model(X)
        return float(model.losses[0]) / float(once.losses[0])

    model.optimizer.learning_rate.assign(0.0)
    np.testing.assert_allclose([weight(model), weight(model)], 8.0, rtol=1e-5)
    by_keras(model, X, X, epochs=4, batch_size=64)
    np.testing.assert_allclose(weight(model), 4.5, rtol=1e-5)
    model(X, training=True)
    model.save(tmp_path / "model.keras")
    np.testing.assert_allclose(weight(kit.keras.models.load_model(tmp_path / "model.keras")), 3.625, rtol=1e-5)


@mainly(keras)
def test_a_subclassed_model_may_have_a_prior_for_each_row(kit):
    class Hierarchy(kit.keras.Model):
        def __init__(self):
            super().__init__()
            self.encoder, self.latent = kit.keras.layers.Dense(4), kit.heads.Normal(2, as_tensor="sample")
            self.prior, self.end = kit.heads.Normal(2), kit.heads.Normal(2, scale=1.0)

        def call(self, x):
            z = self.latent(self.encoder(x))
            prior = kit.distribution(self.prior(x[:, :4]))
            self.add_loss(nllfit.KLDivergence(prior)(z))
            return self.end(tf.convert_to_tensor(z))

    model = Hierarchy()
    model.compile("adam", kit.loss, run_eagerly=True)
    model(X)
    q, p = (of_rows(output, kit) for output in (model.latent(model.encoder(X)), model.prior(X[:, :4])))
    model(X)
    np.testing.assert_allclose([float(loss) for loss in model.losses], [normal_divergence(*q, *p).mean()], rtol=1e-5)
    before = model.encoder.get_weights()[0]
    model.fit(X, X[:, :2], batch_size=64, verbose=0)
    assert np.all(model.encoder.get_weights()[0] != before)


SAVED = {
    "a mixture": tfd.MixtureSameFamily(tfd.Categorical([0.0, 1.0]), tfd.MultivariateNormalDiag([[-1.0, 0], [1, 0]])),
    "independent": tfd.Independent(tfd.Laplace(np.zeros(2), [1.0, 2.0]), 1),
    "a sample": tfd.Sample(tfd.StudentT(5.0, 0.0, 1.0), 2),
    "a family": nllfit.MixtureFamily("Normal", 3, 2),
}


@pytest.mark.parametrize("name", SAVED)
def test_a_prior_is_saved_as_plain_values(name):
    divergence = nllfit.KLDivergence(SAVED[name], 0.5, 7)
    copy = nllfit.KLDivergence.from_config(divergence.get_config())
    assert (copy.weight, copy.num_samples) == (0.5, 7)
    p, again = divergence.prior.example(), copy.prior.example()
    assert p.dtype == again.dtype
    np.testing.assert_array_equal(p.log_prob(tf.ones([2], p.dtype)), again.log_prob(tf.ones([2], p.dtype)))


@pytest.mark.thorough(but="variables")
@pytest.mark.parametrize(
    "prior",
    [
        tfd.MultivariateNormalDiag(tf.Variable([0.0, 0.0], trainable=False)),
        tfd.TransformedDistribution(PRIOR, nllfit.families.links.tfb.Exp()),
    ],
    ids=["variables", "a flow"],
)
def test_a_prior_that_cannot_be_saved_can_be_trained_with(prior, tmp_path):
    family = "LogNormal" if isinstance(prior, tfd.TransformedDistribution) else "Normal"
    model = code(KITS[0], nllfit.KLDivergence(prior), family)
    assert architecture_of(model, X) is None  # None: no other model may share its trace
    assert np.isfinite(by_keras(model, X, X, batch_size=64)["loss"])
    with pytest.raises(NotImplementedError, match="in it cannot be saved or cloned: give a distribution of TFP's"):
        model.save(tmp_path / "model.keras")


HEAD = nllfit.heads.Normal
BAD = {
    "another event": (lambda: HEAD(3, activity_regularizer=nllfit.KLDivergence(PRIOR)), "the head's have shape .3,."),
    "a batch": (
        lambda: HEAD(2, activity_regularizer=nllfit.KLDivergence(tfd.Normal(tf.zeros(2), 1.0))),
        "such as `tfd.Independent.prior, 1.`, which makes its batch the outcome",
    ),
    "rows": (
        lambda: HEAD(2, activity_regularizer=nllfit.KLDivergence(tfd.MultivariateNormalDiag(tf.zeros([3, 2])))),
        "`prior` is a batch .3,. of distributions, but the head gives a batch .1,.: give one distribution for all",
    ),
    "support": (
        lambda: HEAD((), activity_regularizer=nllfit.KLDivergence(tfd.Exponential(1.0))),
        "`prior` is a Exponential, whose outcomes are between 0 and inf, but the head's are between -inf and inf, so",
    ),
    "support of a family": (
        lambda: nllfit.heads.Gamma(2, activity_regularizer=nllfit.KLDivergence(nllfit.Family("Beta", 2))),
        "are between 0 and 1, but the head's are between 0 and inf, so the divergence is infinite: give a prior whose",
    ),
    "support of a distribution": (
        lambda: nllfit.KLDivergence(tfd.Exponential(1.0))(tfd.Normal(0.0, 1.0)),
        "so the divergence is infinite",
    ),
    "several tensors": (
        lambda: nllfit.KLDivergence(tfd.JointDistributionSequential([tfd.Normal(0.0, 1.0)])),
        "is a JointDistributionSequential, whose outcomes are several tensors: give a distribution of one tensor",
    ),
    "counts": (
        lambda: nllfit.heads.Poisson(2, activity_regularizer=nllfit.KLDivergence(nllfit.Family("Geometric", 2))),
        "from a Geometric, which is estimated here, needs draws through which a gradient flows",
    ),
    "num_samples": (lambda: nllfit.KLDivergence(PRIOR, num_samples=0), "`num_samples` is 0: give an int >= 1, or None"),
    "prior": (lambda: nllfit.KLDivergence(1.0), "`prior` is a float: give a distribution, such as"),
    "head": (lambda: nllfit.KLDivergence(HEAD(2)), "`prior` is a head: give a distribution, .*, a family, such as"),
    "variables": (
        lambda: nllfit.KLDivergence(tfd.MultivariateNormalDiag(tf.Variable([0.0, 0.0]))),
        "with the variables Variable:0, which Keras would not train: give a family",
    ),
    "shared": (lambda: nllfit.KLDivergence(nllfit.Family("Normal", 2, shared="loc")), "leave `shared` out"),
    "weight": (lambda: nllfit.KLDivergence(PRIOR, weight=-1.0), "`weight` is -1.0: give a number of at least 0"),
    "no head": (
        lambda: nllfit.KLDivergence(nllfit.Family("Normal", 2))(PRIOR),
        "`prior` is a family, whose parameters are learned with a head",
    ),
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_argument_is_one_sentence(bad):
    make, message = BAD[bad]
    with pytest.raises(ValueError, match=message):
        make()


def test_a_layer_without_a_distribution_is_named():
    layer = tf_keras.layers.Dense(2, activity_regularizer=nllfit.KLDivergence(PRIOR))
    with pytest.raises(
        TypeError, match=r"called on a tensor of shape .*, but measures a distribution: give it to a head"
    ):
        layer(X)
