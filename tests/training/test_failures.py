"""`fit` raises an error if it cannot train. After a run that diverges, the model has the last finite weights."""

import numpy as np
import pytest
import tf_keras

import nllfit
from nllfit.training.failures import not_finite
from tests.keras_versions import KERAS_VERSIONS, in_turn
from tests.training.networks import X, Y, bad, dense, rows_of

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # raised by Keras 3's variables
    pytest.mark.filterwarnings("ignore:.shuffle=True. was passed:UserWarning"),  # Keras 3 warns about its own default
]


@pytest.mark.parametrize("name", ["Gamma", "LogNormal", "Beta"])
def test_an_outcome_on_the_edge_of_an_open_support_is_refused_with_the_weights_untouched(name):
    head = getattr(nllfit.heads, name)()
    model = tf_keras.Sequential([tf_keras.layers.Input((8,)), tf_keras.layers.Dense(head.params_size()), head])
    model.compile("adam", nllfit.negative_log_likelihood)
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"at row 20, \[0.\], which .* cannot have: Its log-likelihood is not finite"):
        nllfit.fit(model, X, bad(Y / 2, 0.0), verbose=0)
    for weight, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, other)


@KERAS_VERSIONS
def test_models_that_only_keras_can_fit_are_refused(k):
    model = dense(k, run_eagerly=True)
    x, y, _ = rows_of(model)
    with pytest.raises(ValueError, match=r"use .model.fit."):
        nllfit.fit(model, x, y, verbose=0)
    with pytest.raises(ValueError, match="not compiled"):
        nllfit.fit(k.Sequential([k.layers.Dense(1)]), x, y)
    with pytest.raises(TypeError, match="not a Keras model"):
        nllfit.fit(object(), x, y)


@pytest.mark.thorough  # parameters also diverge in the test at the end of this file
@pytest.mark.parametrize("compile", ["graph", "xla"])
def test_diverging_parameters_raise_and_the_model_is_restored(compile):
    # With some other seeds, the huge steps make the scale so large that the loss stays finite.
    tf_keras.utils.set_random_seed(0)
    model = tf_keras.Sequential([tf_keras.layers.Dense(2, input_shape=(3,)), nllfit.heads.Normal()])
    model.compile(tf_keras.optimizers.SGD(1e25), nllfit.negative_log_likelihood)
    x = np.random.default_rng(0).normal(size=[40, 3])
    with pytest.raises(FloatingPointError, match=r"the loss is (nan|inf)(, and `dense.*` is| with finite weights)"):
        nllfit.fit(model, x, x[:, :1], epochs=3, verbose=0, compile=compile)
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


@pytest.mark.thorough
def test_an_overflow_in_float16_is_explained():
    model = tf_keras.Sequential([tf_keras.layers.Dense(2, dtype="float16", name="half"), nllfit.heads.Normal()])
    model.compile("adam", nllfit.negative_log_likelihood)
    with pytest.raises(FloatingPointError, match="`half` computes in float16, which ends at 65504: try bfloat16"):
        nllfit.fit(model, np.full([4, 3], 6e4, "float32"), np.zeros([4, 1], "float32"), verbose=0, compile="graph")
    assert not_finite(model, 0, np.nan).startswith(
        "Epoch 1: the loss is nan with finite weights. The model is as it was"
    )


@pytest.mark.parametrize(("kit", "compile"), in_turn(["xla", "graph"], left_out=["xla"]))
def test_a_non_finite_loss_stops_the_run_and_restores_the_epoch(kit, compile):
    k = kit.keras

    class Explode(k.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                self.model.optimizer.learning_rate.assign(1e38)

        def on_epoch_end(self, epoch, logs=None):
            self.kept = self.model.get_weights()

    model = dense(k, optimizer=k.optimizers.SGD(0.01))
    x, y, _ = rows_of(model)
    explode = Explode()
    with pytest.raises(FloatingPointError, match=f"Epoch 3: the loss is .*`{model.layers[0].name}`"):
        nllfit.fit(model, x, y, epochs=5, callbacks=[explode], verbose=0, compile=compile)
    assert len(model.history.epoch) == 2
    for weight, other in zip(model.get_weights(), explode.kept, strict=True):
        np.testing.assert_array_equal(weight, other)
