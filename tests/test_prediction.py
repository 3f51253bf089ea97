"""`predict_distribution`: random layers, reuse of traces, independent rows, and no accidental broadcasting."""

import gc
import pickle
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import nllfit
from nllfit import Ensemble, predict_distribution
from nllfit.training.outcome_support import outcome_check
from tests.keras_versions import KITS, mainly

X = np.random.default_rng(0).normal(size=[6, 3]).astype("float32")
ASKED = ("cdf", "log_cdf", "log_prob", "log_survival_function", "prob", "survival_function", "unnormalized_log_prob")


def heads_of(kit, names=("normal", "label", "mixture", "vector")):
    """A model with the outputs `names`: a real number, a label, a mixture or a vector."""
    kit.keras.utils.set_random_seed(0)
    x = kit.keras.Input((3,))
    heads = {
        "normal": kit.heads.Normal(),
        "label": kit.heads.Categorical(3),
        "mixture": kit.heads.Mixture("Normal", 2),
        "vector": kit.heads.MultivariateNormalTriL(2),
    }
    dense = kit.keras.layers.Dense
    return kit.keras.Model(
        x, {name: head(dense(head.params_size())(x)) for name, head in heads.items() if name in names}
    )


@pytest.mark.thorough
@mainly(keras)
def test_a_distribution_of_rows_refuses_what_would_be_broadcast_against_them(kit):
    names = ("normal", "vector") if kit.keras is tf_keras else ("label", "mixture")
    model = heads_of(kit, names)
    called, predicted = model(X), nllfit.predict_distribution(model, X)
    for name in names:
        assert_refuses_to_broadcast(name, predicted[name], kit.distribution(called[name]), called[name])


def assert_refuses_to_broadcast(name, predicted, *others):
    outputs = [predicted, predicted.copy(), predicted[:6], *(other for other in others if hasattr(other, "log_prob"))]
    for distribution in outputs:
        event = tuple(distribution.event_shape)
        y = np.ones([6, *event], "float32")
        expected = distribution.log_prob(y)
        assert expected.shape == [6]
        np.testing.assert_allclose(-nllfit.negative_log_likelihood(y, outputs[0]), expected, rtol=1e-5)  # float32
        assert distribution.log_prob(np.ones([2, 6, *event])).shape == [2, 6]
        np.testing.assert_array_equal(distribution.log_prob(np.ones(event)), expected)
        methods = [distribution.log_prob, distribution.prob]
        if distribution is outputs[0]:
            assert tf.function(distribution.prob, autograph=False)(y).shape == [6]
            methods.append(tf.function(distribution.log_prob, autograph=False))
        wrong = [np.ones([6, 1, *event]), np.ones([1, *event]), np.ones([5, *event])]
        wrong += [np.ones(6)] if event else []
        for value in wrong:
            for method in methods:
                with pytest.raises(ValueError, match="against which it would be broadcast") as error:
                    method(value)
                assert str(value.shape) in str(error.value)
                assert str((6, *event)) in str(error.value)
    np.testing.assert_array_equal(outputs[0][1:3].log_prob(y[1:3]), expected[1:3])
    if name in ("label", "normal"):  # TFP cannot pickle the other distributions
        with pytest.raises(ValueError, match="would be broadcast"):
            pickle.loads(pickle.dumps(outputs[0])).log_prob(np.ones([6, 1, *event]))


@mainly(keras)
def test_all_methods_that_take_an_outcome_refuse_to_broadcast(kit):
    label = nllfit.predict_distribution(heads_of(kit, ["label"]), X)["label"]
    for name in ASKED:
        with pytest.raises(ValueError, match="would be broadcast"):
            getattr(label, name)(np.ones([6, 1]))
    assert label.cdf(1).shape == [6]  # one number may be compared with all rows
    assert label.prob(np.tile([[0], [1], [2]], 6)).shape == [3, 6]  # three values for each row


@mainly(tf_keras)
def test_labels_in_a_column_are_scored_as_evaluate_scores_them(kit):
    distribution, labels = (
        nllfit.predict_distribution(heads_of(kit, ["label"]), X)["label"],
        np.array([[0], [1], [2]] * 2),
    )
    nll = nllfit.negative_log_likelihood(labels, distribution)
    np.testing.assert_array_equal(nll, -distribution.log_prob(labels[:, 0]))
    assert abs(nllfit.evaluate(distribution, y=labels).nll - np.mean(nll)) < 1e-6  # rounding of float32


@pytest.mark.thorough
@mainly(tf_keras)
def test_an_ensembles_distribution_refuses_to_broadcast(kit):
    models = [kit.keras.Sequential([kit.keras.layers.Dense(2), kit.heads.Normal()]) for _ in range(2)]
    with pytest.raises(ValueError, match="would be broadcast"):
        Ensemble(models).predict_distribution(X).log_prob(np.ones(6))


def predict_and_forget(kit):
    """A weak reference to a model that was used and then deleted."""
    kit.keras.utils.set_random_seed(0)
    traces = []

    class Noise(kit.keras.layers.Layer):
        def call(self, inputs):
            traces.append(None)
            return inputs + tf.random.normal(tf.shape(inputs))

    model = kit.keras.Sequential([Noise(), kit.keras.layers.Dense(2), kit.heads.Normal()])
    means = [nllfit.predict_distribution(model, X).mean().numpy() for _ in range(2)]
    assert np.all(means[0] != means[1])
    before = len(traces)
    for _ in range(3):
        nllfit.predict_distribution(model, X)
    assert len(traces) == before
    return weakref.ref(model)


@pytest.mark.thorough
@mainly(tf_keras)
def test_random_layers_draw_again_and_models_are_freed(kit):
    forgotten = predict_and_forget(kit)
    gc.collect()
    assert forgotten() is None


@mainly(tf_keras)
def test_a_model_that_is_compiled_again_is_traced_again(kit):
    layers = [
        kit.keras.layers.Dense(1, use_bias=False),
        kit.keras.layers.Lambda(lambda x: x),
        kit.heads.Normal(scale=1.0),
    ]
    model = kit.keras.Sequential(layers)
    model.compile("sgd", kit.loss)
    before = nllfit.predict_distribution(model, X).mean()
    model.layers[1].function = lambda x: 2 * x
    model.compile("sgd", kit.loss)
    np.testing.assert_allclose(nllfit.predict_distribution(model, X).mean(), 2 * before, rtol=1e-6)  # float32 rounding


@mainly(keras)
def test_inputs_of_another_rank_are_traced_again(kit):
    class Model(kit.keras.Model):
        def __init__(self):
            super().__init__()
            self.dense, self.head = kit.keras.layers.Dense(2), kit.heads.Normal()

        def call(self, inputs, training=False):
            return self.head(self.dense(inputs))

    model = Model()
    rows = nllfit.predict_distribution(model, X).mean()
    steps = nllfit.predict_distribution(model, np.stack([X, X], 1)).mean()
    np.testing.assert_allclose(steps, np.stack([rows, rows], 1), rtol=1e-6)  # rounding of float32


@pytest.mark.thorough
@mainly(tf_keras)
def test_a_nan_row_does_not_affect_other_rows(kit, tmp_path):
    model, x, outcomes = heads_of(kit, ("label", "mixture")), X.copy(), {"label": [1] * 6, "mixture": [[0.0]] * 6}
    whole = model.predict(x, verbose=0)
    x[1] = np.nan
    kept = np.arange(6) != 1
    model.export(tmp_path / "model", **({"verbose": False} if kit.keras.__name__ == "keras" else {}))
    loaded = tf.saved_model.load(tmp_path / "model")
    served, predicted, tensors = loaded.serve(x), nllfit.predict_distribution(model, x), model.predict(x, verbose=0)
    for name, expected in whole.items():
        for values in (tensors[name], served[name], tf.convert_to_tensor(model(x)[name])):
            np.testing.assert_allclose(np.asarray(values)[kept], expected[kept], rtol=1e-5, atol=1e-6)  # float32
            assert np.all(np.isnan(np.asarray(values)[1]))
    for name, y in outcomes.items():
        assert np.isfinite(predicted[name].log_prob(y)).tolist() == kept.tolist()


@mainly(tf_keras)
@pytest.mark.parametrize("name", ["Beta", "Weibull", "Triangular", "NegativeBinomial"])
def test_nan_parameters_of_a_row_do_not_affect_other_rows(kit, name):
    head = kit.heads.DistributionHead(name)
    params = np.zeros([3, head.params_size()], "float32")
    expected = tf.convert_to_tensor(head(params))[:1]
    params[1] = np.nan
    for call in (head, tf.function(lambda u: tf.convert_to_tensor(head(u)))):
        prediction = tf.convert_to_tensor(call(params))
        np.testing.assert_allclose(prediction, [expected[0], [np.nan], expected[0]], rtol=1e-6)  # rounding of float32


@mainly(keras)
def test_a_model_may_have_a_head_and_a_plain_output(kit):
    x = kit.keras.Input((3,))
    outputs = {"head": kit.heads.Normal()(kit.keras.layers.Dense(2)(x)), "plain": kit.keras.layers.Dense(4)(x)}
    model = kit.keras.Model(x, outputs)
    predicted, tensors = nllfit.predict_distribution(model, X, batch_size=4), model.predict(X, verbose=0)
    assert tf.is_tensor(predicted["plain"])
    np.testing.assert_allclose(predicted["plain"], tensors["plain"], rtol=1e-5, atol=1e-6)  # rounding of float32
    np.testing.assert_allclose(predicted["head"].mean(), tensors["head"], rtol=1e-5, atol=1e-6)
    plain = kit.keras.Model(x, outputs["plain"])
    for _ in range(2):
        with pytest.raises(TypeError, match=r"^The model's output is a .* not a distribution: end the model in a head"):
            nllfit.predict_distribution(plain, X)
    with pytest.raises(TypeError, match="not a distribution: end the model in a head"):
        Ensemble([model, model]).predict_distribution(X)


@pytest.mark.thorough
# One Keras version is enough, because nllfit converts the lists, by the same code for both versions.
@pytest.mark.parametrize("kit", KITS[1:], ids=["keras"])
def test_prediction_and_evaluation_accept_lists_like_fit(kit):
    x, y = rng_rows()
    model = kit.keras.Sequential([kit.keras.layers.Input((3,)), kit.keras.layers.Dense(2), kit.heads.Normal()])
    expected = predict_distribution(model, x)
    np.testing.assert_array_equal(predict_distribution(model, x.tolist()).mean(), expected.mean())
    nll = nllfit.evaluate(model, x, y).nll
    assert nllfit.evaluate(model, x.tolist(), y[:, 0].tolist()).nll == pytest.approx(nll, rel=1e-6)
    assert nllfit.evaluate(expected, y=y[:, 0]).nll == nll
    for calibrate in (nllfit.recalibrate, nllfit.conformalize):
        made, other = calibrate(model, x, y), calibrate(model, x, y[:, 0])
        assert made.get_config() == other.get_config()
    biases = []
    for outcomes in (y, y[:, 0], y[:, 0].tolist()):
        nllfit.initialize(model, x.tolist(), outcomes)
        biases.append(model.get_weights()[1])
    np.testing.assert_allclose(biases, [biases[0]] * 3, rtol=1e-6)
    model.compile("adam", kit.loss)
    assert len(nllfit.Ensemble.fit(lambda: model, 1, x.tolist(), y[:, 0].tolist(), seed=0).models) == 1


@mainly(keras)
def test_rows_are_in_batches_and_python_sees_none_of_them(kit):
    calls = []

    class BatchSize(kit.keras.layers.Layer):
        def call(self, inputs):
            calls.append(None)
            return tf.zeros_like(inputs[:, :1]) + tf.cast(tf.shape(inputs)[0], inputs.dtype)

        def compute_output_shape(self, input_shape):
            return (*input_shape[:-1], 1)

        def compute_output_spec(self, inputs):
            return keras.KerasTensor((*inputs.shape[:-1], 1), inputs.dtype)

    x = kit.keras.Input((3,))
    head = kit.heads.Normal(scale=1.0)(kit.keras.layers.Dense(1)(x))
    model = kit.keras.Model(x, {"head": head, "size": BatchSize()(x)})
    rows = np.random.default_rng(0).normal(size=[1030, 3])
    traced = len(calls)
    predicted = predict_distribution(model, rows, batch_size=4)
    assert predicted["size"][:, 0].numpy().tolist() == [4] * 1028 + [2] * 2
    assert len(calls) - traced <= 2
    np.testing.assert_allclose(predicted["head"].mean(), model.predict(rows, verbose=0)["head"], rtol=1e-5, atol=1e-6)
    batches = tf.data.Dataset.from_tensor_slices((rows.astype("float32"), rows)).batch(500)
    of_dataset = predict_distribution(model, batches)
    assert of_dataset["size"][:, 0].numpy().tolist() == [500] * 1000 + [30] * 30
    np.testing.assert_allclose(of_dataset["head"].mean(), predicted["head"].mean(), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="The dataset in `x` is empty: there is nothing to predict"):
        predict_distribution(model, batches.take(0))


@mainly(tf_keras)
def test_a_float64_model_sees_every_digit(kit):
    x = 1 + np.arange(6.0)[:, None] * 1e-12
    dense = kit.keras.layers.Dense(1, kernel_initializer="ones", dtype="float64")
    head = kit.heads.Normal(scale=1.0, dtype="float64")
    model = kit.keras.Sequential([kit.keras.layers.Input((1,), dtype="float64"), dense, head])
    np.testing.assert_array_equal(predict_distribution(model, x).mean(), x)


def rng_rows():
    rng = np.random.default_rng(0)
    return rng.normal(size=[60, 3]).astype("float32"), rng.normal(size=[60, 1]).astype("float32")


@pytest.mark.thorough
@mainly(keras)
def test_tensorflow_does_not_warn_of_retracing_where_several_masked_models_predict(kit, caplog):
    x = np.ones([4, 3, 1], "float32")
    for _ in range(6):
        layers = [kit.keras.layers.Input((3, 1)), kit.keras.layers.Masking(), kit.keras.layers.Dense(1)]
        model = kit.keras.Sequential([*layers, kit.heads.Normal(scale=1.0)])
        model.compile("sgd", kit.loss)
        outcome_check(model, (tf.constant(x), tf.constant(x)), "y")(tf.constant(x), tf.constant(x))
        assert nllfit.predict_distribution(model, x).batch_shape == [4, 3]
    assert "retracing" not in caplog.text
