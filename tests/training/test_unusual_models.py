"""`fit` agrees with `model.fit` for unusual models, data, metrics and training steps."""

import itertools

import keras
import numpy as np
import pytest
import statsmodels.api as sm
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras

import nllfit
from tests.keras_versions import by_keras, in_turn, mainly

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 4)).astype("float32")  # two full batches, because a partial one needs another trace
Y = RNG.normal(size=(64, 1)).astype("float32")


def both(make, *data, compile="auto", **arguments):
    """Trains with `fit` and with `model.fit` from the same weights. Compares both. Returns the history."""
    arguments = {"epochs": 2, "shuffle": False} | arguments
    expected = by_keras(make(), *data, **arguments)
    history = nllfit.fit(make(), *data, verbose=0, compile=compile, **arguments).history
    assert history.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(history[name], values, rtol=1e-5, atol=1e-7, err_msg=name)
    return expected


@pytest.mark.thorough
@mainly(tf_keras, "k")
def test_string_inputs_always_train_in_graph_mode(k):
    words = k.layers.TextVectorization(output_sequence_length=3)
    words.adapt(["a b c"])
    x, y = tf.constant([["a b"]] * 64), np.zeros((64, 1), "float32")

    def make():
        k.utils.set_random_seed(0)
        inputs = k.layers.Input((1,), dtype="string")
        model = k.Sequential([inputs, words, k.layers.Embedding(10, 3), k.layers.Flatten(), k.layers.Dense(1)])
        model.compile("sgd", "mse", jit_compile=False)
        return model

    model, losses = make(), []
    for _ in range(2):
        losses += nllfit.fit(model, x, y, epochs=2, shuffle=False, verbose=0).history["loss"]
    np.testing.assert_allclose(losses, by_keras(make(), x, y, epochs=4, shuffle=False)["loss"], rtol=1e-5)
    with pytest.raises(ValueError, match="strings, which XLA does not take"):
        nllfit.fit(model, x, y, verbose=0, compile="xla")


@pytest.mark.thorough
def test_a_legacy_optimizer_matches_keras():
    # The legacy optimizer matters, because Keras selects it on some machines.
    def make():
        tf_keras.utils.set_random_seed(0)
        model = tf_keras.Sequential([tf_keras.layers.Input((4,)), tf_keras.layers.Dense(1)])
        model.compile(tf_keras.optimizers.legacy.Adam(0.01), "mse")
        return model

    both(make, X, Y)


@pytest.mark.thorough
@mainly(keras, "k")  # `test_a_model_that_is_compiled_again_gets_new_traces` covers tf_keras
def test_a_model_with_its_own_metrics_can_be_compiled_again(k):
    class Own(k.Model):
        def __init__(self):
            super().__init__()
            self.dense, self.tracker = k.layers.Dense(1), k.metrics.Mean("loss")

        @property
        def metrics(self):
            return [self.tracker]

        def call(self, x):
            return self.dense(x)

        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                loss = self.compute_loss(x=x, y=y, y_pred=self(x, training=True))
            gradients = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
            self.tracker.update_state(loss)
            return {"loss": self.tracker.result()}

    model, optimizer = Own(), k.optimizers.SGD(0.0)
    losses = []
    for loss in ("mse", "mae"):
        model.compile(optimizer, loss)
        losses += nllfit.fit(model, X, Y, verbose=0).history["loss"]
    errors = Y - np.asarray(model(X))
    np.testing.assert_allclose(losses, [np.mean(errors**2), np.mean(np.abs(errors))], rtol=1e-5)


@pytest.mark.thorough  # covered by `test_an_outcome_is_checked_after_a_first_call_on_an_array`
@mainly(keras)
def test_a_model_built_by_fit_takes_any_number_of_rows_and_is_checked_each_time(kit):
    model = kit.keras.Sequential([kit.keras.layers.Dense(1), kit.heads.Bernoulli()])
    model.compile("sgd", kit.loss)
    y = (Y > 0).astype("float32")
    nllfit.fit(model, X, y, verbose=0)
    assert model.input_shape == (None, 4)
    y[3] = 2
    with pytest.raises(ValueError, match=r"at row 3, .* cannot have"):
        nllfit.fit(model, X, y, verbose=0)


@pytest.mark.thorough
@mainly(keras, "k")
def test_a_layer_with_state_matches_keras(k):
    class Stateful(k.Model):
        def __init__(self):
            super().__init__()
            self.recurrent, self.dense = k.layers.SimpleRNN(3, stateful=True), k.layers.Dense(1)

        def call(self, x):
            return self.dense(self.recurrent(x))

    def make():
        k.utils.set_random_seed(0)
        model = Stateful()
        model.compile("sgd", "mse", jit_compile=False)
        return model

    both(make, X[..., None], Y, batch_size=16)


@mainly(tf_keras, "k")
def test_a_model_without_call_matches_keras(k):
    class Step(k.Model):
        def __init__(self):
            super().__init__()
            self.weight = self.add_weight(shape=(4, 1), initializer="zeros", name="w")

        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((x @ self.weight - y) ** 2)
            self.optimizer.apply_gradients([(tape.gradient(loss, self.weight), self.weight)])
            return {"loss": loss}

    model = Step()
    model.compile("sgd", "mse")
    losses = nllfit.fit(model, X, Y, epochs=3, verbose=0).history["loss"]
    assert len(losses) == 3


@pytest.mark.thorough
@mainly(tf_keras, "k")
def test_a_test_step_that_xla_cannot_compile_matches_keras(k):
    class Scored(k.Sequential):
        def test_step(self, data):
            x, y = data
            error = tf.numpy_function(lambda a, b: np.float32(np.mean((a - b) ** 2)), [self(x), y], tf.float32)
            return {"error": tf.ensure_shape(error, [])}

    def make():
        k.utils.set_random_seed(0)
        model = Scored([k.layers.Input((4,)), k.layers.Dense(1)])
        model.compile("sgd", "mse", jit_compile=False)
        return model

    history = both(make, X, Y, validation_data=(X, Y), validation_batch_size=64, compile="xla")
    assert len(history["val_error"]) == 2


@pytest.mark.thorough
@mainly(keras, "k")
def test_training_and_validation_data_may_be_of_different_kinds(k):
    def dataset(rows):
        return tf.data.Dataset.from_tensor_slices((X[:rows], Y[:rows])).batch(32)

    both(lambda: plain(k), X, Y, validation_data=dataset(50))
    unknown = dataset(64).filter(lambda x, y: True)  # its length is only known after the first epoch
    expected = by_keras(plain(k), dataset(64), epochs=2, shuffle=False, validation_data=(X, Y))
    history = nllfit.fit(plain(k), unknown, epochs=2, verbose=0, validation_data=(X, Y)).history
    for name, values in expected.items():
        np.testing.assert_allclose(history[name], values, rtol=1e-5, err_msg=name)


@pytest.mark.thorough
@pytest.mark.parametrize(("kit", "compile"), in_turn(["auto", "graph"]))
def test_an_operation_that_fails_is_named(kit, compile):
    k = kit.keras
    model = k.Sequential([k.layers.Input((1,), dtype="int32"), k.layers.Embedding(5, 2), k.layers.Dense(1)])
    model.compile("sgd", "mse", jit_compile=False)
    before = model.get_weights()
    x = np.zeros((40, 1), "int32")
    x[24] = 9
    with pytest.raises(ValueError, match=r"Epoch 1: a step failed: indices\[.* = 9 is not in \[0, 5\)"):
        nllfit.fit(model, x, np.zeros((40, 1, 1), "float32"), verbose=0, shuffle=False, compile=compile)
    for weight, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, other)


@pytest.mark.thorough
@mainly(keras)
def test_a_row_that_a_layer_cannot_take_is_named_also_in_a_validation_dataset(kit):
    k = kit.keras
    model = k.Sequential([k.layers.Input((1,), dtype="int32"), k.layers.Embedding(5, 2), kit.heads.Normal()])
    model.compile("sgd", kit.loss, jit_compile=False)
    before = model.get_weights()
    x, y = np.zeros((8, 1), "int32"), np.zeros((8, 1, 1), "float32")
    wrong = np.where(np.arange(8) == 5, 9, 0)[:, None].astype("int32")
    validation = tf.data.Dataset.from_tensor_slices((wrong, y)).batch(4)
    with pytest.raises(ValueError, match=r"cannot take row 0 of `x`: indices\[.* = 9 is not in \[0, 5\)"):
        nllfit.fit(model, wrong[5:], y[5:], verbose=0)
    with pytest.raises(ValueError, match=r"Epoch 1: a step failed: indices\[.* = 9 is not in \[0, 5\)"):
        nllfit.fit(model, x, y, verbose=0, validation_data=validation, compile="graph")
    for weight, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, other)


@pytest.mark.thorough
@mainly(keras)
def test_all_functions_say_in_one_line_why_a_layer_cannot_take_a_row(kit):
    k = kit.keras
    layers = [k.layers.Embedding(5, 2), k.layers.Flatten(), k.layers.Dense(2), kit.heads.Normal()]
    model = k.Sequential([k.layers.Input((1,), dtype="int32"), *layers])
    model.compile("sgd", kit.loss)
    x, y = np.array([[0], [1], [9], [0]], "int32"), np.arange(4, dtype="float32")[:, None]
    calls = {
        "`x`": lambda: nllfit.initialize(model, x, y),
        "some row of `x`": lambda: nllfit.standard_errors(model, x, y),
        "a batch of `x`": lambda: nllfit.predict_distribution(model, x),
    }
    reason = r"indices\[2,0\] = 9 is not in \[0, 5\)"
    for rows, call in calls.items():
        with pytest.raises(ValueError, match=rf"^The model cannot take {rows}: {reason}\.$"):
            call()


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
@mainly(keras)
def test_outcomes_are_checked_against_their_own_head(kit):
    k = kit.keras
    inputs = k.layers.Input((4,))
    positive = kit.heads.Gamma(name="z")(k.layers.Dense(2)(inputs))
    real = kit.heads.Normal(name="a")(k.layers.Dense(2)(inputs))
    model = k.Model(inputs, [positive, real])
    model.compile("sgd", [None, kit.loss])
    nllfit.fit(model, X, [np.zeros_like(Y), Y - 9], verbose=0, compile="graph")
    model.compile("sgd", [kit.loss, kit.loss])
    with pytest.raises(ValueError, match="Gamma cannot have"):
        nllfit.fit(model, X, [Y - 9, Y], verbose=0)


@pytest.mark.thorough
def test_outcomes_by_name_belong_to_that_output():
    def make():
        tf_keras.utils.set_random_seed(0)
        inputs = tf_keras.layers.Input((4,))
        positive = nllfit.heads.Gamma(name="z")(tf_keras.layers.Dense(2)(inputs))
        real = nllfit.heads.Normal(name="a")(tf_keras.layers.Dense(2)(inputs))
        model = tf_keras.Model(inputs, [positive, real])
        model.compile("adam", {"a": nllfit.negative_log_likelihood})
        return model

    both(make, X, {"a": Y - 9})


@pytest.mark.thorough
@mainly(keras, "k")
def test_a_metric_with_several_results_matches_keras(k):
    class Ends(k.metrics.Metric):
        def __init__(self):
            super().__init__(name="ends")
            self.low = self.add_weight(shape=(), initializer="zeros", name="low")

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.low.assign(tf.reduce_min(y_pred))

        def result(self):
            return {"low": self.low + 0.0, "twice": 2.0 * self.low}

    def make():
        k.utils.set_random_seed(0)
        model = k.Sequential([k.layers.Input((4,)), k.layers.Dense(1)])
        model.compile("sgd", "mse", metrics=[Ends()], jit_compile=False)
        return model

    assert {"low", "twice"} <= both(make, X, Y).keys()


def plain(k):
    k.utils.set_random_seed(0)
    model = k.Sequential([k.layers.Input((4,)), k.layers.Dense(1)])
    model.compile("sgd", "mse", jit_compile=False)
    return model


@pytest.mark.thorough
@mainly(tf_keras, "k")  # `test_sequences_are_notified_of_each_epoch` covers both versions
def test_batches_may_be_lists(k):
    base = k.utils.Sequence if k is tf_keras else k.utils.PyDataset

    class Lists(base):
        def __len__(self):
            return 2

        def __getitem__(self, i):
            return [X[32 * i : 32 * i + 32], Y[32 * i : 32 * i + 32]]

    both(lambda: plain(k), Lists())


@pytest.mark.thorough
@mainly(keras, "k")
def test_one_output_may_have_no_weights(k, rng):
    def make():
        k.utils.set_random_seed(0)
        inputs = k.layers.Input((4,))
        model = k.Model(inputs, [k.layers.Dense(1, name="a")(inputs), k.layers.Dense(1, name="b")(inputs)])
        model.compile("sgd", ["mse", "mse"], jit_compile=False)
        return model

    weights = rng.uniform(size=64).astype("float32")
    both(make, X, [Y, Y], sample_weight=[weights, None])


@mainly(tf_keras, "k")
def test_changes_by_a_callback_survive_a_diverging_epoch(k):
    model = plain(k)
    model.compile(k.optimizers.SGD(1e-3), "mse")
    epochs = itertools.count(1)

    class Sets(k.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.set_weights([np.full_like(w, 7.0) for w in self.model.get_weights()])
            if next(epochs) == 2:
                self.model.optimizer.learning_rate = 1e30

    with pytest.raises(FloatingPointError, match="Epoch 3"):
        nllfit.fit(model, X, Y, epochs=5, verbose=0, callbacks=[Sets()])
    for weight in model.get_weights():
        np.testing.assert_array_equal(weight, 7.0)
    assert float(np.asarray(model.optimizer.learning_rate)) == pytest.approx(1e30)


def test_validation_data_with_too_many_parts_are_refused():
    with pytest.raises(ValueError, match="`validation_data` has 4 parts"):
        nllfit.fit(plain(tf_keras), X, Y, validation_data=(X, Y, None, None), verbose=0)


@pytest.mark.thorough
@mainly(keras)  # `test_replicas_and_workers.py` tests both versions with two devices
def test_a_model_in_a_strategy_with_one_device_matches_keras(kit):
    class Line(kit.keras.Model):  # Keras builds it in the first training step
        def __init__(self):
            super().__init__()
            self.dense, self.head = kit.keras.layers.Dense(2), kit.heads.Normal()

        def call(self, x):
            return self.head(self.dense(x))

    def sequence():
        return kit.keras.Sequential([kit.keras.layers.Input((4,)), kit.keras.layers.Dense(2), kit.heads.Normal()])

    def make(build):
        kit.keras.utils.set_random_seed(0)
        with tf.distribute.OneDeviceStrategy("CPU").scope():
            model = build()
            model.compile("sgd", kit.loss, jit_compile=False)
        return model

    both(lambda: make(Line), X, Y, epochs=1)
    model, losses = make(sequence), []
    for fit in (by_keras, nllfit.fit, by_keras):
        model.run_eagerly = False
        history = fit(model, X, Y, verbose=0)
        losses += (history if fit is by_keras else history.history)["loss"]
    assert losses == sorted(losses, reverse=True)


@pytest.mark.thorough  # in every run, `test_failures.py` tests another loss that is not finite
@mainly(tf_keras)
def test_an_overflowing_rate_is_not_blamed_on_the_outcomes(kit, rng):
    k = kit.keras
    model = k.Sequential([k.layers.Input((4,)), k.layers.Dense(1, bias_initializer="ones"), kit.heads.Poisson()])
    model.compile("sgd", kit.loss)
    counts = rng.poisson(3.0, [64, 1]).astype("float32")
    model.set_weights([np.zeros([4, 1]), np.full([1], 1000.0)])
    with pytest.raises(FloatingPointError, match=r"Epoch 1: the loss is .* standardised inputs"):
        nllfit.fit(model, X, counts, verbose=0)
    with pytest.raises(ValueError, match=r"`y_pred` is a .*Poisson under which no outcome has a finite likelihood"):
        kit.losses(counts, model(X))
    with pytest.raises(ValueError, match=r"`model` predicts, for row 0, a .*Poisson under which no outcome has a fin"):
        nllfit.evaluate(model, X, counts)


@pytest.mark.thorough
@mainly(keras)
def test_totals_by_row_are_weights_of_shares(kit):
    with pytest.raises(ValueError, match=r"`Bernoulli\(validate_args=False\)` on the shares `y / total_count` with"):
        kit.heads.DistributionHead("Binomial", total_count=np.full([64, 1], 9.0))
    rng = np.random.default_rng(3)
    totals = rng.integers(1, 30, 64)
    y = rng.binomial(totals, 1 / (1 + np.exp(-0.7 * X[:, 0] + 0.2)))
    k = kit.keras
    model = k.Sequential([k.layers.Input((4,)), k.layers.Dense(1), kit.heads.Bernoulli(validate_args=False)])
    model.compile("sgd", kit.loss)
    nllfit.initialize(model, X, (y / totals)[:, None], sample_weight=totals)
    np.testing.assert_allclose(kit.distribution(model(X[:1])).mean()[0, 0], y.sum() / totals.sum(), rtol=1e-5)
    assert nllfit.fit_lbfgs(model, X, (y / totals)[:, None], sample_weight=totals).converged
    expected = sm.GLM(np.c_[y, totals - y], sm.add_constant(X.astype(float)), sm.families.Binomial()).fit().params
    found = np.r_[np.ravel(model.layers[-2].bias), np.ravel(model.layers[-2].kernel)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.thorough
def test_an_operation_that_xla_cannot_compile_is_named_with_advice():
    class Counted(tf_keras.layers.Layer):
        def call(self, x):
            return tf.ensure_shape(tf.numpy_function(np.abs, [tf.stop_gradient(x)], tf.float32), x.shape)

    layers = {"XLA compilation requires a fixed tensor list size": tf_keras.layers.SimpleRNN(3), "no PyFunc": Counted()}
    for reason, layer in layers.items():
        model = tf_keras.Sequential([tf_keras.layers.Input((4, 1)), layer, tf_keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        before = model.get_weights()
        message = rf"XLA cannot compile a step \(.*{reason}\): fit with `compile=\"graph\"`"
        with pytest.raises(ValueError, match=message):
            nllfit.fit(model, X[..., None], Y[:, None], verbose=0, compile="xla")
        assert all(map(np.array_equal, model.get_weights(), before))
    nllfit.fit(model, X[..., None], Y[:, None], verbose=0, compile="graph")


@pytest.mark.thorough
@mainly(keras, "k")
def test_dropout_resumes_its_random_state_except_after_loading(k, tmp_path):
    def trained(epochs):
        k.utils.set_random_seed(0)
        model = k.Sequential([k.layers.Input((4,)), k.layers.Dropout(0.5), k.layers.Dense(1)])
        model.compile("sgd", "mse")
        nllfit.fit(model, X, Y, epochs=epochs, seed=0, verbose=0)
        return model

    def resumed(model):
        nllfit.fit(model, X, Y, epochs=3, initial_epoch=2, seed=0, verbose=0)
        return model.get_weights()[0]

    never_stopped, model = trained(3), trained(2)
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(resumed(model), never_stopped.get_weights()[0])
    # No Keras version saves the state of a generator in a model. If this test fails with a new version because that
    # version saves the state, `fit` no longer needs to warn.
    loaded = resumed(k.models.load_model(tmp_path / "model.keras"))
    assert np.abs(loaded - never_stopped.get_weights()[0]).max() > 1e-6


class Amplitude(tf_keras.layers.Layer):
    """A Gaussian process kernel with a learned amplitude."""

    def __init__(self):
        super().__init__()
        self.amplitude = self.add_weight(initializer="ones", name="amplitude")

    def call(self, inputs):
        return inputs

    @property
    def kernel(self):
        return tfp.math.psd_kernels.ExponentiatedQuadratic(self.amplitude)


@pytest.mark.thorough
def test_a_joint_distribution_of_all_rows_matches_keras():
    x = np.linspace(-1, 1, 20, dtype="float32")[:, None]
    y = np.sin(3 * x)

    def gaussian_process():
        layer = tfp.layers.VariationalGaussianProcess(
            num_inducing_points=4,
            kernel_provider=Amplitude(),
            inducing_index_points_initializer=tf_keras.initializers.constant(np.linspace(-1, 1, 4)[None, :, None]),
        )
        model = tf_keras.Sequential([tf_keras.layers.InputLayer((1,)), layer])
        model.compile("sgd", lambda y, process: process.variational_loss(y, kl_weight=0.01))
        return model

    arguments = {"batch_size": 10, "epochs": 2, "shuffle": False, "verbose": 0}
    expected = gaussian_process().fit(x, y, **arguments).history
    found = nllfit.fit(gaussian_process(), x, y, **arguments, compile="graph").history
    np.testing.assert_allclose(found["loss"], expected["loss"], rtol=1e-5)


@pytest.mark.thorough
@mainly(keras, "k")
def test_a_layer_frozen_after_compile_trains_again_when_unfrozen(k):
    model = k.Sequential([k.layers.Input((4,)), k.layers.Dense(3), k.layers.Dense(1)])
    model.compile("sgd", "mse")
    nllfit.fit(model, X, Y, verbose=0)
    model.layers[0].trainable = False
    frozen = model.layers[0].get_weights()[0]
    nllfit.fit(model, X, Y, verbose=0)
    np.testing.assert_array_equal(model.layers[0].get_weights()[0], frozen)
    model.layers[0].trainable = True
    nllfit.fit(model, X, Y, verbose=0)
    assert not np.array_equal(model.layers[0].get_weights()[0], frozen)


def test_a_variable_of_keras_3_that_is_frozen_after_a_fit_keeps_its_value():
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    nllfit.fit(model, X, Y, verbose=0)
    model.layers[0].kernel.trainable = False
    kernel, bias = model.get_weights()
    nllfit.fit(model, X, Y, verbose=0)
    np.testing.assert_array_equal(model.get_weights()[0], kernel)
    assert model.get_weights()[1] != bias


@mainly(keras, "k")
def test_a_layer_that_was_frozen_at_the_first_step_needs_another_compile(k):
    model = k.Sequential([k.layers.Input((4,)), k.layers.Dense(3), k.layers.Dense(1)])
    model.layers[0].trainable = False
    model.compile("adam", "mse")
    nllfit.fit(model, X, Y, verbose=0)
    model.layers[0].trainable = True
    with pytest.raises(ValueError, match="frozen when the optimizer created its variables is trainable now"):
        nllfit.fit(model, X, Y, verbose=0)


@pytest.mark.thorough  # `test_targets_may_be_given_by_output_name` has two outputs in a dict
@mainly(keras)
@pytest.mark.parametrize("by_name", [True, False])
def test_a_model_with_one_output_in_a_dict_is_trained_as_by_keras(kit, by_name):
    losses = []
    for fit in (by_keras, lambda *args, **kwargs: nllfit.fit(*args, **kwargs).history):
        kit.keras.utils.set_random_seed(0)
        inputs = kit.keras.Input((4,))
        model = kit.keras.Model(inputs, {"y": kit.heads.Normal(name="y")(kit.keras.layers.Dense(2)(inputs))})
        model.compile("sgd", kit.loss)
        y = {"y": X[:, :1]} if by_name else X[:, :1]
        losses.append(fit(model, X, y, epochs=2, shuffle=False, verbose=0)["loss"])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
