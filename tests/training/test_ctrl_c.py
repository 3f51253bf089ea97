"""Ctrl-C stops `fit` within seconds, even while TensorFlow traces, and the model can be used afterwards."""

import signal
import threading
import time

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import nllfit
from tests.keras_versions import by_keras, mainly

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 4)).astype("float32")
Y = RNG.normal(size=(64, 1)).astype("float32")


def line(k, *before):
    k.utils.set_random_seed(0)
    model = k.Sequential([k.layers.Input((4,)), *before, k.layers.Dense(1)])
    model.compile(k.optimizers.SGD(0.01), "mse")
    return model


@pytest.mark.thorough
@mainly(tf_keras, "k")
def test_ctrl_c_during_a_trace_leaves_a_working_model(k):
    class Interrupted(k.layers.Layer):
        stops = True

        def call(self, x, training=False):
            if training and Interrupted.stops and not tf.executing_eagerly():
                Interrupted.stops = False
                signal.raise_signal(signal.SIGINT)
            return x

    model = line(k, Interrupted())
    with pytest.raises(KeyboardInterrupt):
        nllfit.fit(model, X, Y, verbose=0)
    losses = nllfit.fit(model, X, Y, epochs=2, shuffle=False, verbose=0).history["loss"]
    expected = by_keras(line(k), X, Y, epochs=2, shuffle=False)["loss"]
    np.testing.assert_allclose(losses, expected, rtol=1e-6)


def test_ctrl_c_ends_a_long_run_at_once_and_the_next_fit_works():
    model = line(tf_keras)
    nllfit.fit(model, X, Y, epochs=2, verbose=0)
    main, sent = threading.main_thread().ident, []

    def interrupt():
        sent.append(time.perf_counter())
        signal.pthread_kill(main, signal.SIGINT)

    threading.Timer(0.5, interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        nllfit.fit(model, X, Y, epochs=10**6, verbose=0)
    # Ctrl-C takes effect when the running call of the program ends. A call takes at most 0.25 s on a quiet machine.
    assert time.perf_counter() - sent[0] < 5
    before = model.evaluate(X, Y, verbose=0)
    assert nllfit.fit(model, X, Y, epochs=3, verbose=0).history["loss"][-1] <= before * (1 + 1e-2)
