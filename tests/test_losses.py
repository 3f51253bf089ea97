"""The loss refuses to broadcast, eagerly and in a graph, and says what to do."""

import gc
import sys
import weakref

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras

import nllfit
from nllfit import heads
from tests.keras_versions import each_keras

tfd = tfp.distributions


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(
    ("batch", "event", "y", "advice"),
    [
        ([64], [], [64, 1], r"\(64, 1\), but the head models outcomes of shape \(64,\): reshape it with `y\[..., 0\]`"),
        ([64], [1], [64], r"\(64,\), but the head models outcomes of shape \(64, 1\): reshape it with `y\[:, None\]`"),
        ([64], [3], [64, 1], r"\(64, 1\), but the head models outcomes of shape \(64, 3\)"),
        ([64], [3], [1, 3], r"\(1, 3\), but the head models outcomes of shape \(64, 3\)"),
        ([64], [3], [3], r"\(3,\), but the head models outcomes of shape \(64, 3\)"),
        ([64], [1], [10, 64, 1], r"\(10, 64, 1\), but the head models outcomes of shape \(64, 1\)"),
        ([64, 5], [1], [64, 5], r"reshape it with `y\[..., None\]`"),
    ],
)
def test_losses_refuse_to_broadcast(batch, event, y, advice, compiled):
    distribution = tfd.Independent(tfd.Normal(tf.zeros(batch + event), 1.0), len(event))
    loss = tf.function(nllfit.negative_log_likelihood) if compiled else nllfit.negative_log_likelihood
    with pytest.raises(ValueError, match=advice):
        loss(tf.zeros(y), distribution)


def test_an_unknown_batch_size_is_checked_when_it_is_known():
    @tf.function(input_signature=[tf.TensorSpec([None, 1]), tf.TensorSpec([None, 1])])
    def loss(y, loc):
        return nllfit.negative_log_likelihood(y, tfd.Independent(tfd.Normal(loc, 1.0), 1))

    assert loss(tf.zeros([4, 1]), tf.zeros([4, 1])).shape == [4]
    with pytest.raises(tf.errors.InvalidArgumentError, match="would broadcast"):
        loss(tf.zeros([4, 1]), tf.zeros([1, 1]))


@pytest.mark.parametrize("y_shape", [(20, 2), (20, 1, 1), (20, 3)])
def test_fit_refuses_targets_of_another_shape(y_shape):
    model = tf_keras.Sequential([tf_keras.layers.Dense(2, input_shape=(3,)), heads.Normal()])
    model.compile("adam", nllfit.negative_log_likelihood)
    with pytest.raises(ValueError, match=r"has shape \(None, .* outcomes of shape \(None, 1\)"):
        model.fit(np.zeros([20, 3]), np.zeros(y_shape), verbose=0)


def test_fit_accepts_flat_targets_like_keras():
    model = tf_keras.Sequential([tf_keras.layers.Dense(1, input_shape=(1,)), heads.Normal(scale=1.0)])
    model.compile(tf_keras.optimizers.Adam(0.1), nllfit.negative_log_likelihood)
    x = np.linspace(-1, 1, 64)
    model.fit(x[:, None], 2 * x + 1, epochs=60, verbose=0)
    # After 120 steps the weights are within 0.01 of the optimum.
    np.testing.assert_allclose(np.concatenate(model.get_weights(), axis=None), [2, 1], atol=0.01)


@each_keras
def test_heads_whose_tensor_is_not_a_column_accept_flat_labels(kit):
    """The tensor of an ordered head contains the probabilities of the classes, so Keras does not reshape labels."""
    k = kit.keras
    x = np.linspace(-2, 2, 60)[:, None]
    labels = np.digitize(x[:, 0] + np.tile([-0.8, 0.5, 0.1], 20), [-0.5, 0.5])
    found = []
    for y in labels, labels[:, None]:
        head = kit.heads.DistributionHead("OrderedLogistic", num_classes=3, shared=("cutpoints",))
        model = k.Sequential([k.layers.Input([1]), k.layers.Dense(1, use_bias=False, kernel_initializer="ones"), head])
        model.compile("sgd", kit.loss, weighted_metrics=[kit.metrics.CRPS()])
        history = model.fit(x, y, sample_weight=np.ones(60), shuffle=False, verbose=0)
        trained = nllfit.fit(model, x, y, shuffle=False, verbose=0)
        nllfit.fit_lbfgs(model, x, y, verbose=0)
        errors = nllfit.standard_errors(model, x, y)
        found.append(
            [*history.history["loss"], *history.history["crps"], *trained.history["loss"], *np.diag(errors.covariance)]
        )
    np.testing.assert_allclose(found[0], found[1], rtol=1e-6)


def test_integers_and_other_floats_are_cast():
    distribution = heads.Normal(2)(tf.zeros([1, 4]))
    expected = nllfit.negative_log_likelihood([[1.0, 2.0]], distribution)
    for dtype in ("int64", "uint8", "float64", "float16"):
        np.testing.assert_array_equal(nllfit.negative_log_likelihood(np.array([[1, 2]], dtype), distribution), expected)


def test_booleans_are_accepted_as_labels():
    logits = tf.constant([[0.3], [-2.0]])
    for head, y in ((heads.Bernoulli(), [[True], [False]]), (heads.OneHotCategorical(2), np.eye(2, dtype=bool))):
        params = tf.concat([logits, -logits], 1)[:, : head.family.params_size]
        expected = nllfit.negative_log_likelihood(np.array(y, "float32"), head(params))
        np.testing.assert_array_equal(nllfit.negative_log_likelihood(y, head(params)), expected)


def test_python_numbers_keep_float64():
    distribution = heads.Normal(scale=1.0)(tf.zeros([1, 1], tf.float64))
    expected = nllfit.negative_log_likelihood(np.array([[0.37]]), distribution)
    np.testing.assert_array_equal(nllfit.negative_log_likelihood([[0.37]], distribution), expected)


@pytest.mark.parametrize(
    ("head", "outcome"),
    [("Gamma", 0.0), ("Beta", 0.0), ("Beta", 1.0), ("LogNormal", 0.0), ("Normal", np.nan), ("StudentT", np.inf)],
)
def test_outcomes_without_a_finite_likelihood_are_refused(head, outcome):
    make = getattr(heads, head)
    with pytest.raises(ValueError, match="`y_true` holds an outcome that"):
        nllfit.negative_log_likelihood([[outcome]], make()(tf.zeros([1, make.params_size()])))


@pytest.mark.thorough(but="nan")
@pytest.mark.parametrize("outcome", [np.nan, np.inf])
def test_fit_refuses_outcomes_that_are_not_finite(outcome):
    model = tf_keras.Sequential([tf_keras.layers.Dense(2, input_shape=(3,)), heads.Normal()])
    model.compile("adam", nllfit.negative_log_likelihood)
    with pytest.raises(tf.errors.InvalidArgumentError, match="It is not finite"):
        model.fit(np.zeros([20, 3]), np.full([20, 1], outcome), verbose=0)


def test_integer_and_one_hot_labels_for_the_wrong_head_are_refused():
    with pytest.raises(ValueError, match="use a `OneHotCategorical` head"):
        nllfit.negative_log_likelihood(np.eye(3), heads.Categorical(3)(tf.zeros([3, 3])))
    with pytest.raises(ValueError, match="use a `Categorical` head"):
        nllfit.negative_log_likelihood([0, 1, 2], heads.OneHotCategorical(3)(tf.zeros([3, 3])))


def test_a_tensor_instead_of_a_distribution_is_refused():
    with pytest.raises(TypeError, match="end the model in a head"):
        nllfit.negative_log_likelihood(tf.zeros([3, 1]), tf.zeros([3, 1]))


def test_soft_labels_are_scored_where_validation_is_off():
    logits, labels = tf.constant([[0.3]]), [[0.9]]
    with pytest.raises(ValueError, match="the value cannot contain fractional components"):
        nllfit.negative_log_likelihood(labels, heads.Bernoulli()(logits))
    soft = nllfit.negative_log_likelihood(labels, heads.Bernoulli(validate_args=False)(logits))
    np.testing.assert_allclose(soft, tf.nn.sigmoid_cross_entropy_with_logits([[0.9]], logits)[0], rtol=3e-6)  # float32


@pytest.mark.thorough
def test_fit_refuses_labels_out_of_support():
    model = tf_keras.Sequential([tf_keras.layers.Dense(1, input_shape=(3,)), heads.Bernoulli()])
    model.compile("adam", nllfit.negative_log_likelihood)
    with pytest.raises(tf.errors.InvalidArgumentError, match="Sample must be less than or equal to `1`"):
        model.fit(np.zeros([20, 3]), np.full(20, 2.0), verbose=0)


def test_predict_distribution_takes_datasets_and_refuses_nothing_and_non_heads():
    model = tf_keras.Sequential([tf_keras.layers.Dense(2, input_shape=(3,)), heads.Normal()])
    x = np.random.default_rng(0).normal(size=[10, 3]).astype("float32")
    distribution = nllfit.predict_distribution(model, tf.data.Dataset.from_tensor_slices(x).batch(4))
    np.testing.assert_allclose(distribution.mean(), model(x).mean(), rtol=1e-5)  # rounding of float32
    with pytest.raises(ValueError, match="`x` has no rows"):
        nllfit.predict_distribution(model, x[:0])
    with pytest.raises(TypeError, match="end the model in a head"):
        nllfit.predict_distribution(tf_keras.Sequential([tf_keras.layers.Dense(2, input_shape=(3,))]), x)


def test_an_invalid_outcome_is_named_for_one_row_and_for_many():
    for y in ([[-1.0]], [[1.0], [-1.0]], -np.ones([50, 1])):
        with pytest.raises(ValueError, match="Poisson cannot have: the value must be non-negative"):
            nllfit.negative_log_likelihood(y, heads.Poisson()(tf.zeros([len(y), 1])))


@each_keras
def test_the_graph_of_a_loss_is_freed(kit):
    head = kit.heads.Normal()

    def traced():
        function = tf.function(lambda params, y: kit.losses(y, head(params)), autograph=False)
        return weakref.ref(function.get_concrete_function(tf.zeros([4, 2]), tf.zeros([4, 1])).graph)

    graph = traced()
    if (3, 13) <= sys.version_info < (3, 13, 4):
        # The garbage collector of these versions misses an object whose `__dict__` was read before its attributes were
        # set (CPython issue 133543). TFP's wrappers of distributions are such objects, so the test clears them.
        for wrapper in [o for o in gc.get_objects() if type(o).__name__ == "_TensorCoercible"]:
            vars(wrapper).clear()
    gc.collect()
    assert graph() is None
