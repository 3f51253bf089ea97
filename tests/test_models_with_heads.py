"""Models that end in a head: Keras's `fit`, `evaluate` and `predict`, weights, precision, several heads."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras
from scipy import stats

import nllfit
from nllfit.families.law import law_of
from tests.head_builders import all_heads, inputs, outcomes
from tests.head_cases import CASES
from tests.keras_versions import KITS, by_keras, each_keras, in_turn, mainly

# Heads that differ in the form of their outcomes or of their predictions.
KINDS = [
    case
    for case in CASES
    if case.id in ("Categorical", "Censored", "Mixture", "Normal-scale=2.5", "Normal-shared=('scale',)")
]


def runs():
    """Each Keras version runs half of `KINDS` eagerly. It runs the other half in a graph, marked `thorough`.

    `test_extreme_inputs_and_precision.py` traces the losses and the gradients of all heads. `test_keras3.py` exports
    all heads and compares their predictions.
    """
    for i, kit in enumerate(KITS):
        yield pytest.param(kit, KINDS[i::2], True, id=kit.keras.__name__)
        yield pytest.param(kit, KINDS[1 - i :: 2], False, id=f"{kit.keras.__name__}-graph", marks=pytest.mark.thorough)


@pytest.mark.parametrize(("kit", "cases", "eagerly"), list(runs()))
def test_fit_evaluate_and_predict(kit, cases, eagerly):
    model, x, y = all_heads(kit, cases), inputs(CASES[0]), outcomes(cases)
    metrics, built_in = {name: [kit.metrics.NegativeLogLikelihood()] for name in y}, {}
    for name, case in zip(y, cases, strict=True):
        if case.prediction:  # Keras's metrics cannot compare a number with an interval
            built_in[name] = "mse" if y[name].shape[1:] == case.prediction else "sparse_categorical_accuracy"
            metrics[name].append(built_in[name])
    model.compile("adam", dict.fromkeys(y, kit.loss), metrics=metrics, run_eagerly=eagerly, jit_compile=False)
    weights = np.array([1.0, 0.0, 0.5, 2.0])
    given = dict.fromkeys(y, weights)
    # After the last epoch, the validation loss is the loss of the trained model, which is compared below.
    batches = {"batch_size": 3, "validation_batch_size": 4}
    history = model.fit(x, y, sample_weight=given, validation_data=(x, y, given), verbose=0, **batches).history
    outputs, predictions, again = model(x), *(model.predict(x, verbose=0) for _ in range(2))
    joined = nllfit.predict_distribution(model, x, batch_size=3)
    symbolic = dict(zip(model.output_names, model.outputs, strict=True))
    for case, name in zip(cases, y, strict=True):
        # `fit`, `predict` and `predict_distribution` do not run the same program as `model(x)`, so the rounding errors
        # of float32 differ.
        def assert_near(value, expected, atol=0.0, case=case):
            np.testing.assert_allclose(value, expected, rtol=1e-5, atol=atol, err_msg=case.id)

        losses = kit.losses(y[name], outputs[name]).numpy()
        assert np.isfinite(history[f"{name}_loss"]).all()
        assert_near(history[f"val_{name}_loss"], [(weights * losses).mean()])
        assert_near(history[f"val_{name}_nll"], [losses.mean()])
        distribution = kit.distribution(outputs[name])
        # In eager mode, `predict` of tf_keras returns a single batch as a distribution, not as an array.
        prediction = tf.convert_to_tensor(predictions[name]).numpy()
        assert tuple(symbolic[name].shape) == (None, *case.prediction)
        assert prediction.shape == (len(x), *case.prediction)
        assert np.isfinite(prediction).all()
        np.testing.assert_array_equal(prediction, tf.convert_to_tensor(again[name]))
        assert_near(prediction, law_of(distribution).central_value(), atol=1e-6)
        if name in built_in:
            seen = np.square(prediction - y[name]) if built_in[name] == "mse" else prediction.argmax(-1) == y[name]
            assert_near(history[f"val_{name}_{built_in[name]}"], [seen.mean()])
        assert_near(joined[name].log_prob(y[name]), distribution.log_prob(y[name]))


@mainly(keras)
def test_a_clone_and_a_copy_predict_the_same(kit):  # `test_another_process.py` loads every head from its config
    cases = KINDS[KITS.index(kit) :: 2]
    model, x = all_heads(kit, cases), inputs(CASES[0])
    clone = kit.keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    outputs = [m(x) for m in (model, clone)]
    for name, y in outcomes(cases).items():
        log_prob = [kit.distribution(output[name]).log_prob(y) for output in outputs]
        np.testing.assert_array_equal(*log_prob, err_msg=name)
        json.dumps(model.get_layer(name).get_config())


@each_keras
def test_shared_scale_is_the_root_mean_squared_residual(kit):
    residuals = np.random.default_rng(0).normal(scale=2.0, size=[50, 1])
    head = kit.heads.Normal(shared=("scale",), dtype="float64")
    head(tf.zeros([50, 1], tf.float64))
    sigma = np.sqrt((residuals**2).mean())
    head.set_weights([tfp.math.softplus_inverse(tf.constant([sigma - np.finfo(float).eps], tf.float64))])
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(kit.losses(residuals, head(tf.zeros([50, 1], tf.float64))))
    assert head.weights[0].name.endswith(("shared", "shared:0"))
    assert abs(tape.gradient(loss, head.trainable_weights)[0][0]) < 1e-14  # rounding errors of numbers of order 1


@pytest.mark.parametrize(("kit", "policy"), in_turn(["mixed_float16", "mixed_bfloat16"], left_out=["mixed_bfloat16"]))
def test_heads_compute_in_float32_under_a_mixed_policy(kit, policy):
    kit.keras.mixed_precision.set_global_policy(policy)
    try:
        layers = [kit.keras.Input((3,)), kit.keras.layers.Dense(1), kit.heads.Normal(shared=("scale",))]
        model = kit.keras.Sequential(layers)
        model.layers[-1].set_weights([np.array([-50.0])])  # softplus(-50) is 0 in float16
        distribution = kit.distribution(model(np.zeros([1, 3])))
        assert distribution.dtype == tf.float32
        assert np.isfinite(distribution.log_prob([[0.0]])).all()
        model.layers[-1].set_weights([np.array([0.1])])  # 16 bits would round it
        for output in (model(np.zeros([1, 3])), model.layers[-1](tf.zeros([1, 1]))):
            scale = kit.distribution(output).stddev()
            np.testing.assert_allclose(scale, [[np.log1p(np.exp(0.1))]], rtol=1e-6)  # rounding of float32
        model.compile("sgd", kit.loss, metrics=["mse"])
        by_keras(model, np.zeros([4, 3]), np.ones([4, 1]))
        assert np.isfinite(np.concatenate([w.ravel() for w in model.get_weights()])).all()
        assert model.predict(np.zeros([1, 3]), verbose=0).dtype == np.float32
    finally:
        kit.keras.mixed_precision.set_global_policy("float32")


@each_keras
def test_a_float64_model_keeps_its_digits(kit):
    third = 1 / 3
    model = kit.keras.Sequential([kit.keras.layers.Dense(1, dtype="float64"), kit.heads.Normal(scale=0.37)])
    model(np.ones([1, 1]))
    model.layers[0].set_weights([np.array([[third]]), np.zeros(1)])
    loss = kit.losses(np.array([[0.1]]), model(np.ones([1, 1])))
    np.testing.assert_allclose(loss[0], -stats.norm(third, 0.37).logpdf(0.1), rtol=1e-15)


@mainly(tf_keras)
@pytest.mark.parametrize("steps", [6, pytest.param(5, marks=pytest.mark.thorough)])
def test_a_weight_of_a_row_applies_to_all_its_steps(kit, steps):
    model = kit.keras.Sequential([kit.keras.layers.Dense(1), kit.heads.Normal(scale=1.0)])
    nll = [kit.metrics.NegativeLogLikelihood()]
    model.compile("sgd", kit.loss, weighted_metrics=nll, run_eagerly=True)
    # With `steps` = 6 there are as many steps as rows, so the code cannot tell them apart by their number.
    x = np.random.default_rng(0).normal(size=[6, steps, 2]).astype("float32")
    weights = np.arange(6.0)
    losses = kit.losses(x[..., :1], model(x)).numpy() * weights[:, None]
    expected = [losses.mean(), losses.mean() / weights.mean()]
    result = model.evaluate(x, x[..., :1], sample_weight=weights, verbose=0)
    np.testing.assert_allclose(result, expected, rtol=1e-5)  # rounding of float32


@mainly(keras)
def test_two_heads_train_with_a_dictionary_of_losses(kit, tmp_path):
    inputs = kit.keras.Input((3,))
    outputs = {
        "price": kit.heads.Normal(name="price")(kit.keras.layers.Dense(2)(inputs)),
        "sold": kit.heads.Bernoulli(name="sold")(kit.keras.layers.Dense(1)(inputs)),
    }
    model = kit.keras.Model(inputs, outputs)
    model.compile("adam", {name: kit.loss for name in outputs}, metrics={"price": "mae"}, run_eagerly=True)
    x = np.random.default_rng(0).normal(size=[20, 3])
    y = {"price": x[:, :1], "sold": x[:, 1:2] > 0}
    model.fit(x, y, verbose=0)
    total = sum(kit.losses(y[name], model(x)[name]).numpy().mean() for name in outputs)
    np.testing.assert_allclose(model.evaluate(x, y, verbose=0)[0], total, rtol=1e-5)  # rounding of float32
    model.save(tmp_path / "two.keras")
    loaded = kit.keras.models.load_model(tmp_path / "two.keras")
    np.testing.assert_array_equal(*(kit.losses(y["price"], m(x)["price"]) for m in (loaded, model)))
    joined = nllfit.predict_distribution(model, x, batch_size=7)
    sold = tf.convert_to_tensor(model.predict(x, verbose=0)["sold"])
    np.testing.assert_allclose(joined["sold"].mean(), sold, rtol=1e-6)  # rounding of float32
    model = kit.keras.Model(inputs, list(outputs.values()))
    model.compile("adam", [kit.loss, kit.loss], loss_weights=[1.0, 0.5], run_eagerly=True)
    losses = model.evaluate(x, list(y.values()), verbose=0)
    np.testing.assert_allclose(losses[0], losses[1] + losses[2] / 2, rtol=1e-6)  # rounding of float32


@pytest.mark.thorough
@mainly(tf_keras)
def test_a_subclassed_model_with_a_head_trains_and_predicts(kit):
    class Model(kit.keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = kit.keras.layers.Dense(1)
            self.head = kit.heads.Normal(shared=("scale",))

        def call(self, inputs, training=False):
            return self.head(self.dense(inputs))

    model = Model()
    model.compile("sgd", kit.loss, metrics=[kit.metrics.NegativeLogLikelihood(), "mae"], jit_compile=False)
    x = np.random.default_rng(0).normal(size=[20, 3])
    model.fit(x, x[:, :1], verbose=0)
    assert len(model.trainable_weights) == 3
    assert model.head.get_weights()[0] != 0
    nll = kit.losses(x[:, :1], model(x)).numpy().mean()
    np.testing.assert_allclose(model.evaluate(x, x[:, :1], verbose=0)[:2], [nll, nll], rtol=1e-6)  # rounding of float32
    distribution = nllfit.predict_distribution(model, x, batch_size=7)
    np.testing.assert_allclose(distribution.mean(), model.predict(x, verbose=0), rtol=1e-6)


@each_keras
def test_a_family_whose_mean_needs_the_batch_size_is_a_head(kit):
    model = kit.keras.Sequential(
        [kit.keras.Input((2,)), kit.keras.layers.Dense(3), kit.heads.DistributionHead("LambertWNormal")]
    )
    loc = kit.distribution(model(np.ones([4, 2]))).distribution.loc
    np.testing.assert_array_equal(tf.convert_to_tensor(model(np.ones([4, 2]))), loc)


@pytest.mark.parametrize(
    ("name", "options", "size"),
    [
        ("LambertWNormal", {"loc": 0.5}, 2),
        ("LambertWNormal", {"shared": "loc"}, 2),
        ("RelaxedBernoulli", {"shared": "logits"}, 1),
        ("RelaxedOneHotCategorical", {"event_shape": 3, "logits": [0.0, 1.0, 2.0]}, 1),
    ],
)
def test_a_prediction_that_is_the_same_for_all_rows_has_a_row_for_each(name, options, size):
    head = nllfit.heads.DistributionHead(name, **options)
    assert head.params_size() == size
    predicted = tf.convert_to_tensor(head(np.zeros([4, size], "float32")))
    assert predicted.shape == (4, options.get("event_shape", 1))
    np.testing.assert_array_equal(predicted, np.repeat(predicted[:1], 4, 0))


@pytest.mark.thorough(but="Beta")
@pytest.mark.parametrize(
    ("name", "shared", "kit"),
    [
        ("Gamma", "concentration", KITS[0]),
        ("Beta", "concentration1", KITS[1]),
        ("InverseGamma", "concentration", KITS[0]),
    ],
    ids=["Gamma", "Beta", "InverseGamma"],
)
def test_a_family_whose_quantile_has_no_gradient_in_a_branch_trains_under_a_shared_parameter(name, shared, kit):
    head = kit.heads.DistributionHead(name, shared=(shared,))
    model = kit.keras.Sequential([kit.keras.Input((2,)), kit.keras.layers.Dense(head.params_size()), head])
    model.compile("sgd", kit.loss)
    x, y = np.ones([8, 2], "float32"), np.full([8, 1], 0.5, "float32")
    before = head.get_weights()[0]
    assert np.isfinite(by_keras(model, x, y)["loss"]).all()
    assert head.get_weights()[0] != before
