"""Features of Keras 3: agreement with Keras 2, XLA, export, masks and weights, and errors for the wrong Keras."""

import importlib

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from sklearn import datasets

import nllfit
from nllfit import keras3
from nllfit.equivalence import EQUIVALENCES
from nllfit.families.law import law_of
from tests.head_builders import ONCE, all_heads, inputs, make_head, numbers, outcomes
from tests.head_cases import CASES
from tests.keras_versions import KITS, by_keras


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=case.id, marks=pytest.mark.thorough if case.name == "Truncated" else ()) for case in CASES],
)
def test_keras_2_and_keras_3_give_the_same_losses(case):
    heads, u = [make_head(kit, case, dtype="float64") for kit in KITS], numbers(case)
    for head in heads:
        head(u)
        head.set_weights([np.full(weight.shape, 0.3) for weight in head.get_weights()])
    outputs = [head(u) for head in heads]
    losses = [kit.losses(case.outcomes, output).numpy() for kit, output in zip(KITS, outputs, strict=True)]
    assert losses[0].dtype == losses[1].dtype == np.float64
    np.testing.assert_allclose(*losses, rtol=1e-12)  # rounding errors depend on the alignment of arrays in memory
    np.testing.assert_allclose(*map(tf.convert_to_tensor, outputs), rtol=1e-12)


# One head is for integer outcomes, and one for real outcomes. The second head has a shared scale, which is a weight of
# the layer. Keras 3 is enough, because both Keras versions run the same operations.
# `test_extreme_inputs_and_precision.py` compares all heads under XLA.
QUICK = [case for case in ONCE if case.id in ("Bernoulli", "Normal-shared=('scale',)")]


def test_losses_and_gradients_of_heads_are_the_same_under_xla():
    kit = KITS[1]
    model, x, y = all_heads(kit, QUICK), inputs(CASES[0]), outcomes(QUICK)

    def losses_and_gradients(x):
        with tf.GradientTape() as tape:
            losses = {name: tf.reduce_mean(kit.losses(y[name], output)) for name, output in model(x).items()}
            total = tf.add_n(list(losses.values()))
        return losses, tape.gradient(total, model.trainable_weights)

    losses, gradients = losses_and_gradients(x)
    in_xla = tf.function(losses_and_gradients, autograph=False, jit_compile=True)(x)
    for name, loss in losses.items():
        # XLA and eager mode round differently in float32.
        np.testing.assert_allclose(in_xla[0][name], loss, rtol=1e-5, err_msg=name)
    for weight, one, other in zip(model.trainable_weights, gradients, in_xla[1], strict=True):
        largest = np.abs(one).max()
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-5 * largest, err_msg=weight.name)
        assert largest > 0


# Each head is exported with one Keras version, because both versions export the same operations.
@pytest.mark.thorough
@pytest.mark.parametrize(("kit", "cases"), [(KITS[0], ONCE[::2]), (KITS[1], ONCE[1::2])], ids=["tf_keras", "keras"])
def test_exported_heads_serve_their_predictions(kit, cases, tmp_path):
    assert_predicts_and_serves(kit, all_heads(kit, cases), inputs(CASES[0]), cases, tmp_path / "served")


def assert_predicts_and_serves(kit, model, x, cases, folder):
    """Checks that the outputs of `all_heads` are the means, have the declared shapes, and can be exported."""
    outputs, symbolic = model(x), dict(zip(model.output_names, model.outputs, strict=True))
    model.export(folder)
    loaded = tf.saved_model.load(str(folder))
    served = loaded.serve(x)
    for i, case in enumerate(cases):
        name, center = f"head{i}", law_of(kit.distribution(outputs[f"head{i}"])).central_value()
        assert tuple(symbolic[name].shape) == (None, *case.prediction)
        assert center.shape == (len(x), *case.prediction)
        assert np.isfinite(center).all()
        for value in (tf.convert_to_tensor(outputs[name]), served[name]):
            np.testing.assert_allclose(value, center, rtol=1e-5, atol=1e-6, err_msg=name)  # rounding of float32


def test_masks_weights_and_reductions_match_keras_own_losses():
    """With a scale of 1, the negative log-likelihood is half the squared error plus a constant."""
    x = np.random.default_rng(0).normal(size=[6, 5, 2]).astype("float32")
    y = np.random.default_rng(1).normal(size=[6, 5, 1]).astype("float32")
    weights = np.random.default_rng(2).uniform(size=[6, 5]).astype("float32")
    x[1:, 3:], x[4, 1:] = 0, 0
    masked = keras.layers.Masking()(keras.Input((5, 2)))
    model = keras.Model(masked._keras_history.operation.input, keras.layers.LSTM(1, return_sequences=True)(masked))
    prediction = model(x)
    output = keras3.heads.Normal(scale=1.0)(prediction)
    assert prediction._keras_mask is output._keras_mask
    constant_loss = keras.losses.MeanSquaredError  # the squared error between ones and zeros is 1 at each step
    for reduction in ("sum_over_batch_size", "sum", "mean_with_sample_weight", None):
        for sample_weight in (None, weights):
            squared = keras.losses.MeanSquaredError(reduction)(y, prediction, sample_weight)
            constant = constant_loss(reduction)(tf.ones_like(y), _like(tf.zeros_like(y), prediction), sample_weight)
            ours = keras3.NegativeLogLikelihood(reduction)(y, output, sample_weight)
            expected = squared / 2 + np.log(2 * np.pi) / 2 * constant
            np.testing.assert_allclose(ours, expected, rtol=1e-5)  # rounding of float32
    for sample_weight in (None, weights):
        metrics = [keras.metrics.MeanSquaredError(), keras3.metrics.NegativeLogLikelihood()]
        metrics[0].update_state(y, prediction, sample_weight)
        metrics[1].update_state(y, output, sample_weight)
        mse, nll = (metric.result() for metric in metrics)
        np.testing.assert_allclose(nll, mse / 2 + np.log(2 * np.pi) / 2, rtol=1e-5)  # rounding of float32


def _like(tensor, masked):
    tensor._keras_mask = masked._keras_mask
    return tensor


@pytest.mark.thorough  # in every run, `tests/test_equivalence.py` compares the losses themselves
@pytest.mark.parametrize("row", EQUIVALENCES[:4], ids=lambda row: row.loss.split("(")[0])
def test_training_with_keras_own_losses_and_their_twins_stays_equal(row):
    x, digit = datasets.load_digits(return_X_y=True)
    x, digit = x[:300] / 16, digit[:300]
    y, size = {
        "BinaryCrossentropy": (digit[:, None] > 4, 1),
        "CategoricalCrossentropy": (np.eye(10)[digit], 10),
        "SparseCategoricalCrossentropy": (digit, 10),
        "MeanSquaredError": (x[:, 20:23], 3),
    }[row.loss.split("(")[0]]
    s, scale = 0.7, row.scale(size, 0.7)
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")  # Keras averages the loss in a metric of this dtype
    try:
        keras.utils.set_random_seed(0)
        base = keras.Sequential([keras.Input((64,)), keras.layers.Dense(16, "tanh"), keras.layers.Dense(size)])
        twin = keras.Sequential([keras.models.clone_model(base), row.head(size, s, keras3.heads)])
        twin.set_weights(base.get_weights())
        if scale == 1:
            optimizers = keras.optimizers.Adam(), keras.optimizers.Adam()
        else:
            optimizers = keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.1 / scale)
        base.compile(optimizers[0], lambda y, u: tf.reduce_mean(row.keras_loss(keras)(y, u)))
        twin.compile(optimizers[1], keras3.NegativeLogLikelihood())
        theirs, ours = (by_keras(m, x, y, batch_size=100, epochs=2, shuffle=False)["loss"] for m in (base, twin))
        assert theirs[-1] < theirs[0]
        np.testing.assert_allclose(ours, scale * np.array(theirs) + row.offset(size, s, y), rtol=1e-12)  # float64
        for one, other in zip(base.get_weights(), twin.get_weights(), strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-9)
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")


class TestWrongKeras:
    TO_KERAS3 = (
        r"nllfit\.heads\.Normal` is a layer of tf_keras.*keras3\.heads\.Normal`, after `from nllfit import keras3"
    )
    TO_TF_KERAS = r"keras3\.heads\.Normal` is a layer of Keras 3.*nllfit\.heads\.Normal`, after `import nllfit"

    def test_in_a_sequential_model(self):
        with pytest.raises(ValueError, match=self.TO_KERAS3):
            keras.Sequential([keras.layers.Dense(1), nllfit.heads.Normal(scale=1.0)])
        with pytest.raises(TypeError, match=self.TO_TF_KERAS):
            tf_keras.Sequential([tf_keras.layers.Dense(1), keras3.heads.Normal(scale=1.0)])

    def test_in_a_functional_model(self):
        with pytest.raises(TypeError, match=self.TO_KERAS3):
            nllfit.heads.Normal(scale=1.0)(keras.Input((1,)))
        with pytest.raises(TypeError, match=self.TO_TF_KERAS):
            keras3.heads.Normal(scale=1.0)(tf_keras.Input((1,)))

    def test_in_a_loss(self):
        u, y = tf.zeros([2, 1]), np.zeros([2, 1])
        with pytest.raises(TypeError, match=r"without a distribution.*keras3\.heads\.Normal"):
            keras3.NegativeLogLikelihood()(y, nllfit.heads.Normal(scale=1.0)(u))
        with pytest.raises(TypeError, match=r"the loss `keras3\.NegativeLogLikelihood\(\)`"):
            nllfit.negative_log_likelihood(y, keras3.heads.Normal(scale=1.0)(u))


@pytest.mark.parametrize("last", [keras.layers.Dense(1), keras.layers.Activation("relu")], ids=["no head", "not last"])
def test_a_prediction_without_a_distribution_is_refused_by_losses(last):
    model = keras.Sequential([keras.layers.Dense(1), keras3.heads.Normal(scale=1.0), last])
    model.compile("sgd", keras3.NegativeLogLikelihood(), jit_compile=False)
    with pytest.raises(TypeError, match="without a distribution: end the model in a head"):
        model.fit(np.zeros([4, 1]), np.zeros([4, 1]), verbose=0)
    with pytest.raises(TypeError, match="not a distribution: end the model in a head"):
        nllfit.predict_distribution(model, np.zeros([4, 1]))


def test_the_distribution_of_a_symbolic_prediction_says_what_to_do():
    output = keras3.heads.Normal(2)(keras.Input([4]))
    with pytest.raises(AttributeError, match=r"next layer receives .* mean\. If .* call the head in its `call` method"):
        output.distribution  # noqa: B018
    assert not hasattr(output, "distribution")  # otherwise the losses would accept it


class Sampled(keras.layers.Layer):
    """A layer that contains a head and returns a sample, as the error message advises."""

    def __init__(self, size):
        super().__init__()
        self.head = keras3.heads.Normal(size)

    def call(self, inputs):
        return self.head(inputs).distribution.sample()


def test_a_users_layer_can_output_a_sample_of_a_head():
    model = keras.Sequential([keras.Input([4]), Sampled(2)])
    x = np.zeros([1000, 4], "float32")
    (first, second) = (model(x).numpy() for _ in range(2))
    assert not np.allclose(first, second)
    scale = np.log(2)  # softplus(0)
    assert first.std() == pytest.approx(scale, abs=4 * scale / np.sqrt(2 * first.size))


def test_callbacks_know_that_smaller_losses_are_better():
    model = keras.Sequential([keras.layers.Dense(1), keras3.heads.Normal(scale=1.0)])
    metrics = [keras3.metrics.NegativeLogLikelihood()]
    model.compile(keras.optimizers.SGD(10.0), keras3.NegativeLogLikelihood(), metrics=metrics, run_eagerly=True)
    x = np.random.default_rng(0).normal(size=[20, 1])
    stop = keras.callbacks.EarlyStopping("val_nll")
    history = model.fit(x, x, epochs=9, validation_data=(x, x), callbacks=[stop], verbose=0).history
    assert len(history["val_nll"]) == 2  # training diverges, so the second epoch is worse and stops it


def test_another_backend_is_refused(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ImportError) as error:
        importlib.reload(keras3)
    assert str(error.value) == (
        "nllfit.keras3 needs Keras 3 on TensorFlow, but Keras's backend is 'jax': set the environment variable "
        "KERAS_BACKEND=tensorflow before Python starts."
    )


@pytest.mark.thorough
def test_weights_may_be_per_row_and_then_per_step():
    model = keras.Sequential([keras.layers.Dense(1), keras3.heads.Normal(scale=1.0)])
    model.compile("sgd", keras3.NegativeLogLikelihood())
    x = np.zeros([8, 5, 1], "float32")
    losses = [model.evaluate(x, x, sample_weight=np.ones(shape), verbose=0) for shape in ([8], [8, 5], [8])]
    assert losses[0] == losses[1] == losses[2]
