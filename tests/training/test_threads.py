"""Models in different threads do not affect each other, even while one of the threads reads data."""

import concurrent.futures
import threading

import numpy as np
import pytest
import tensorflow_probability as tfp
import tf_keras

import nllfit
from nllfit.training import streams
from tests.keras_versions import KITS

X = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")


def scores(kit, width):
    """The losses, scores and predictions of a trained model whose hidden layer has `width` units."""
    layers = [kit.keras.layers.Dense(width, "tanh"), kit.keras.layers.Dense(2), kit.heads.Normal()]
    model = kit.keras.Sequential([kit.keras.Input((3,)), *layers])
    model.compile(kit.keras.optimizers.SGD(0.01), kit.loss)
    model.set_weights([np.full(w.shape, 0.1, "float32") for w in model.get_weights()])
    losses = nllfit.fit(model, X, X[:, :1], epochs=5, seed=0, verbose=0, compile="graph").history["loss"]
    evaluation = nllfit.evaluate(model, X, X[:, :1])
    mean = nllfit.predict_distribution(model, X).mean().numpy()
    return [*losses, evaluation.nll, evaluation.crps, *mean[:, 0]]


@pytest.mark.thorough
def test_threads_that_fit_evaluate_and_predict_are_independent():
    jobs = [(kit, 4) for kit in KITS]
    with concurrent.futures.ThreadPoolExecutor(len(jobs)) as threads:
        found = list(threads.map(lambda job: scores(*job), jobs))
    for one, job in zip(found, jobs, strict=True):
        np.testing.assert_array_equal(one, scores(*job), err_msg=str(job))


@pytest.mark.thorough
def test_threads_may_trace_the_same_function_of_tfp_at_once():
    """All threads share TFP's `lbeta`, a `tf.function`. The first trace of the gradient changes this object."""
    ready = threading.Barrier(4)
    assert hasattr(tfp.math.lbeta, "get_concrete_function")  # if it is no `tf.function`, this test shows nothing

    def trained(width):
        kit = KITS[width % 2]
        model = kit.keras.Sequential([kit.keras.Input((3,)), kit.keras.layers.Dense(2), kit.heads.Beta()])
        model.compile(kit.keras.optimizers.SGD(0.01 * width), kit.loss)
        ready.wait()
        return nllfit.fit(model, X, np.full([64, 1], 0.5), epochs=1, seed=0, verbose=0, compile="graph").history["loss"]

    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        assert np.isfinite(list(threads.map(trained, range(1, 5)))).all()


def line():
    model = tf_keras.Sequential([tf_keras.layers.Input((3,)), tf_keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


def test_reading_data_may_wait_for_a_fit_in_another_thread(monkeypatch):
    monkeypatch.setattr(streams, "_MAX_CHUNK_STEPS", 2)  # so that a second chunk is read, in another thread

    def of_array():
        for _ in range(3):
            yield X[:2], X[:2, :1]

    other = threading.Thread(target=lambda: nllfit.fit(line(), of_array(), verbose=0))

    def of_the_other():
        yield from of_array()
        other.start()
        other.join(60)
        assert not other.is_alive()
        yield X[:2], X[:2, :1]

    assert len(nllfit.fit(line(), of_the_other(), verbose=0).history["loss"]) == 1
    assert not other.is_alive()
