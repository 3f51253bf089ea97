"""Every named head, row by row: numbers against SciPy, shapes, errors, saving, cloning, prediction."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras

import nllfit
from nllfit import catalogue, heads
from nllfit.outputs import central_value
from tests.cases import CASES

tfd = tfp.distributions

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def make_head(case, **kwargs):
    return getattr(heads, case.name)(*case.args, **case.kwargs, **kwargs)


def params_size(case):
    return getattr(heads, case.name).params_size(*case.args, **case.kwargs)


def numbers(case, dtype="float64", seed=0):
    return np.random.default_rng(seed).normal(size=[len(case.outcomes), params_size(case)]).astype(dtype)


def make_model(case, dtype="float32"):
    tf_keras.utils.set_random_seed(1)
    return tf_keras.Sequential(
        [
            tf_keras.layers.Dense(8, "tanh", input_shape=(3,), dtype=dtype),
            tf_keras.layers.Dense(params_size(case), dtype=dtype),
            make_head(case, dtype=dtype),
        ]
    )


def inputs(case, dtype="float32"):
    return np.random.default_rng(2).normal(size=[len(case.outcomes), 3]).astype(dtype)


def test_every_named_head_has_a_row():
    assert {case.name for case in CASES} == set(catalogue.__all__) == set(heads.__all__) - {"DistributionHead"}


@each_case
@each_dtype
def test_log_prob_is_the_reference(case, dtype):
    u = numbers(case, dtype)
    y = case.outcomes.astype(dtype)
    log_prob = make_head(case, dtype=dtype)(u).log_prob(y).numpy()
    expected = case.log_prob(u.astype("float64"), y.astype("float64"), np.finfo(dtype).eps)
    assert log_prob.dtype == dtype
    assert log_prob.shape == (len(y),)
    # A handful of roundings in each of a few terms of this size: 1 + |log p| bounds the terms that cancel.
    tolerance = {"float32": 3e-6, "float64": 1e-12}[dtype]
    np.testing.assert_array_less(np.abs(log_prob - expected), tolerance * (1 + np.abs(expected)))


@each_case
def test_loss_is_minus_log_prob_and_its_gradient_is_the_difference_quotient(case):
    head, u, y = make_head(case, dtype="float64"), tf.constant(numbers(case)), case.outcomes
    with tf.GradientTape() as tape:
        tape.watch(u)
        loss = nllfit.negative_log_likelihood(y, head(u))
    np.testing.assert_array_equal(loss, -head(u).log_prob(y))
    gradient, step = tape.gradient(loss, u).numpy(), 1e-6
    for j in range(u.shape[1]):
        shift = step * np.eye(u.shape[1])[j]
        up, down = (nllfit.negative_log_likelihood(y, head(u + sign * shift)).numpy() for sign in (1, -1))
        # Central differences: rounding 1e-16 |loss| / step, truncation of order step^2.
        np.testing.assert_allclose(
            gradient[:, j], (up - down) / (2 * step), rtol=1e-6, atol=1e-8 * (1 + np.abs(up).max())
        )


@each_case
def test_wrong_shapes_are_refused_with_both_shapes(case):
    distribution = make_head(case)(numbers(case, "float32"))
    y = case.outcomes
    for wrong in (y[..., None, None], np.concatenate([y, y]), y[0] if y.ndim > 1 else y[None]):
        with pytest.raises(ValueError, match="has shape") as error:
            nllfit.negative_log_likelihood(wrong, distribution)
        assert str(wrong.shape) in str(error.value)
        assert str(y.shape) in str(error.value)


@each_case
def test_outcomes_out_of_support_are_refused(case):
    if case.invalid is None:
        assert np.isfinite(make_head(case)(numbers(case, "float32")).log_prob(case.outcomes)).all()
        return
    outcomes = np.array(case.outcomes)
    outcomes[1] = case.invalid
    with pytest.raises(ValueError, match="`y_true` holds an outcome that"):
        nllfit.negative_log_likelihood(outcomes, make_head(case)(numbers(case, "float32")))


@each_case
def test_a_wrong_number_of_units_is_refused(case):
    with pytest.raises(ValueError, match=f"takes {params_size(case)} numbers"):
        make_head(case)(tf.zeros([4, params_size(case) + 1]))


@each_case
def test_fit_evaluate_and_predict(case):
    model, x, y = make_model(case), inputs(case), case.outcomes
    model.compile("adam", nllfit.negative_log_likelihood, metrics=[nllfit.metrics.NegativeLogLikelihood()])
    expected = nllfit.negative_log_likelihood(y, model(x)).numpy()
    weights = np.array([1.0, 0.0, 0.5, 2.0])
    loss, metric = model.evaluate(x, y, sample_weight=weights, verbose=0)
    np.testing.assert_allclose(loss, (weights * expected).mean(), rtol=1e-5)  # float32, a mean of four
    np.testing.assert_allclose(metric, expected.mean(), rtol=1e-5)
    history = model.fit(x, y, epochs=2, batch_size=3, sample_weight=weights, validation_data=(x, y), verbose=0).history
    assert np.isfinite([history["loss"], history["val_nll"]]).all()
    prediction = model.predict(x, verbose=0)
    assert prediction.shape == (len(y), *case.prediction)
    assert np.isfinite(prediction).all()
    np.testing.assert_array_equal(prediction, model.predict(x, verbose=0))
    center = central_value(model(x).tensor_distribution)
    np.testing.assert_allclose(prediction, center, rtol=1e-5, atol=1e-6)  # float32, a compiled program and not
    joined = nllfit.predict_distribution(model, x, batch_size=3)
    np.testing.assert_allclose(joined.log_prob(y), model(x).log_prob(y), rtol=1e-5)  # float32, batches of another size


@each_case
def test_clone_and_copy(case):
    model, x = make_model(case), inputs(case)
    clone = tf_keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(clone(x).log_prob(case.outcomes), model(x).log_prob(case.outcomes))
    json.dumps(model.layers[-1].get_config())


LOAD = """
import sys, numpy as np, tf_keras, nllfit
folder = sys.argv[1]
data = np.load(folder + "/data.npz")
for i in range(len(data.files) // 3):
    for suffix in ("keras", "h5"):
        model = tf_keras.models.load_model(f"{folder}/{i}.{suffix}", safe_mode=True)
        assert model.loss is nllfit.negative_log_likelihood
        log_prob = model(data[f"x{i}"]).log_prob(data[f"y{i}"])
        np.testing.assert_array_equal(log_prob, data[f"l{i}"], err_msg=f"{i}.{suffix}")
print("loaded", i + 1)
"""


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_saved_models_load_in_another_process(tmp_path):
    data = {}
    for i, case in enumerate(CASES):
        model = make_model(case)
        model.compile("adam", nllfit.negative_log_likelihood, metrics=[nllfit.metrics.NegativeLogLikelihood()])
        model.fit(inputs(case), case.outcomes, verbose=0)
        model.save(tmp_path / f"{i}.keras")
        model.save(tmp_path / f"{i}.h5")
        x, y = inputs(case), case.outcomes
        data |= {f"x{i}": x, f"y{i}": y, f"l{i}": model(x).log_prob(y).numpy()}
    np.savez(tmp_path / "data.npz", **data)
    result = subprocess.run([sys.executable, "-c", LOAD, str(tmp_path)], capture_output=True, text=True, check=False)
    assert result.stdout.split() == ["loaded", str(len(CASES))], result.stderr[-2000:]


def test_export_serves_the_mean(tmp_path):
    case = next(case for case in CASES if case.name == "StudentT")
    model, x = make_model(case), inputs(case)
    model.export(tmp_path / "served")
    served = tf.saved_model.load(str(tmp_path / "served"))
    np.testing.assert_array_equal(served.serve(x), model.predict(x, verbose=0))


def test_the_generic_head_is_the_named_one():
    u, y = tf.random.stateless_normal([5, 2], (1, 2)), tf.ones([5, 1])
    generic = heads.DistributionHead(tfd.Gamma, 1)
    np.testing.assert_array_equal(generic(u).log_prob(y), heads.Gamma(1)(u).log_prob(y))
    assert heads.DistributionHead.from_config(generic.get_config()).family.name == "Gamma"
    assert heads.DistributionHead.params_size("JohnsonSU", 2) == 8


def test_shared_scale_is_the_root_mean_squared_residual():
    residuals = np.random.default_rng(0).normal(scale=2.0, size=[50, 1])
    head = heads.Normal(shared=("scale",), dtype="float64")
    head(tf.zeros([50, 1], tf.float64))
    sigma = np.sqrt((residuals**2).mean())
    head.set_weights([tfp.math.softplus_inverse(tf.constant([sigma - np.finfo(float).eps], tf.float64))])
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(nllfit.negative_log_likelihood(residuals, head(tf.zeros([50, 1], tf.float64))))
    assert abs(tape.gradient(loss, head.trainable_weights)[0][0]) < 1e-14  # the gradient of a mean of order 1


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_heads_compute_in_float32_under_a_mixed_policy(policy):
    tf_keras.mixed_precision.set_global_policy(policy)
    try:
        model = tf_keras.Sequential([tf_keras.layers.Dense(2, input_shape=(3,)), heads.Normal()])
        model.layers[0].set_weights([np.zeros([3, 2]), np.array([0.0, -50.0])])  # softplus(-50) is 0 in 16 bits
        distribution = model(np.zeros([1, 3]))
        assert distribution.dtype == tf.float32
        assert np.isfinite(distribution.log_prob([[0.0]])).all()
        assert model.predict(np.zeros([1, 3]), verbose=0).dtype == np.float32
    finally:
        tf_keras.mixed_precision.set_global_policy("float32")


def test_a_float64_model_keeps_its_digits():
    third = 1 / 3
    model = tf_keras.Sequential([tf_keras.layers.Dense(1, input_shape=(1,), dtype="float64"), heads.Normal(scale=0.37)])
    model.layers[0].set_weights([np.array([[third]]), np.zeros(1)])
    from scipy import stats

    np.testing.assert_allclose(
        model(np.ones([1, 1])).log_prob([[0.1]])[0], stats.norm(third, 0.37).logpdf(0.1), rtol=1e-15
    )


@pytest.mark.parametrize(("df", "loc"), [(0.3, 5.0), (1.0, -2.0), (5.0, 7.0)])
def test_prediction_is_never_nan(df, loc):
    head = heads.DistributionHead("StudentT", df=df)
    np.testing.assert_array_equal(tf.convert_to_tensor(head(tf.constant([[loc, 0.0]]))), [[loc]])
    cauchy = heads.DistributionHead("Cauchy")
    np.testing.assert_allclose(tf.convert_to_tensor(cauchy(tf.constant([[loc, 0.0]]))), [[loc]], rtol=1e-6)


def test_masked_steps_contribute_nothing():
    inputs = tf_keras.Input((5, 2))
    hidden = tf_keras.layers.LSTM(4, return_sequences=True)(tf_keras.layers.Masking()(inputs))
    model = tf_keras.Model(inputs, heads.Normal()(tf_keras.layers.Dense(2)(hidden)))
    model.compile("sgd", nllfit.negative_log_likelihood)
    x = np.random.default_rng(0).normal(size=[6, 5, 2]).astype("float32")
    y = np.random.default_rng(1).normal(size=[6, 5, 1]).astype("float32")
    x[:, 3:] = 0
    expected = nllfit.negative_log_likelihood(y, model(x))[:, :3].numpy().mean()
    y[:, 3:] = 1e6
    np.testing.assert_allclose(model.evaluate(x, y, verbose=0), expected, rtol=1e-5)  # float32


def test_two_heads_and_a_dictionary_of_losses(tmp_path):
    inputs = tf_keras.Input((3,))
    outputs = {
        "price": heads.Normal(name="price")(tf_keras.layers.Dense(2)(inputs)),
        "sold": heads.Bernoulli(name="sold")(tf_keras.layers.Dense(1)(inputs)),
    }
    model = tf_keras.Model(inputs, outputs)
    model.compile("adam", {name: nllfit.negative_log_likelihood for name in outputs}, metrics={"price": "mae"})
    x = np.random.default_rng(0).normal(size=[20, 3])
    y = {"price": x[:, :1], "sold": (x[:, 1:2] > 0).astype("float32")}
    model.fit(x, y, verbose=0, epochs=2)
    total = sum(nllfit.negative_log_likelihood(y[name], model(x)[name]).numpy().mean() for name in outputs)
    np.testing.assert_allclose(model.evaluate(x, y, verbose=0)[0], total, rtol=1e-5)  # float32
    model.save(tmp_path / "two.keras")
    loaded = tf_keras.models.load_model(tmp_path / "two.keras")
    np.testing.assert_array_equal(loaded(x)["price"].log_prob(y["price"]), model(x)["price"].log_prob(y["price"]))
    joined = nllfit.predict_distribution(model, x, batch_size=7)
    np.testing.assert_allclose(joined["sold"].mean(), model.predict(x, verbose=0)["sold"], rtol=1e-6)  # float32


def test_labels_may_be_a_column_or_not():
    distribution = heads.Categorical(3)(tf.random.stateless_normal([4, 3], (1, 2)))
    labels = np.array([0, 1, 2, 1])
    for given in (labels, labels[:, None], labels.astype("float32"), tf.constant(labels, tf.int64)):
        np.testing.assert_array_equal(
            nllfit.negative_log_likelihood(given, distribution), -distribution.log_prob(labels)
        )
    with pytest.raises(ValueError, match="cannot have"):
        nllfit.negative_log_likelihood(labels + 0.5, distribution)


def test_bad_arguments_are_refused_at_construction():
    for arguments, text in [
        ({"scal": 1.0}, "no parameter `scal`"),
        ({"scale": -1.0}, "`scale` must be positive"),
        ({"scale": 0.0}, "`scale` must be positive"),
        ({"event_shape": 0}, "`event_shape` is 0"),
        ({"event_shape": -1}, "`event_shape` is -1"),
        ({"event_shape": 1.5}, "`event_shape` is 1.5"),
        ({"loc": 0.0, "scale": 1.0}, "Every parameter of Normal is fixed"),
        ({"shared": ("loc", "scale")}, "Every free parameter of Normal is shared"),
    ]:
        with pytest.raises(ValueError, match=text):
            heads.Normal(**arguments)
    with pytest.raises(ValueError, match="`num_classes` is 1"):
        heads.Categorical(1)
