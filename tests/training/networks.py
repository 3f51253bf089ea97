"""Small networks, data for them, and the comparison of two runs of training."""

import numpy as np
import tf_keras

import nllfit

ROWS, BATCH = 128, 32  # four batches
PARTIAL = 130  # rows, of which the last two form a partial batch with its own trace


def crossentropy(k):
    return k.losses.SparseCategoricalCrossentropy(from_logits=True)


def sequential(k, shape, layers, dtype="float32", **compiled):
    k.utils.set_random_seed(0)
    model = k.Sequential([k.layers.Input(shape, dtype=dtype), *layers(), k.layers.Dense(3)])
    # SGD and not Adam, because the steps of SGD depend on the scale of a gradient, and SGD has fewer operations.
    usual = {"optimizer": k.optimizers.SGD(0.1, momentum=0.9), "loss": crossentropy(k), "metrics": ["accuracy"]}
    # Some tests train such a model with Keras. By default, Keras 3 would compile it with XLA.
    model.compile(**usual | {"jit_compile": False} | compiled)
    return model


def dense(k, **compiled):
    return sequential(k, (8,), lambda: [k.layers.Dense(16, activation="relu")], **compiled)


def rows_of(model, n=ROWS, seed=0):
    rng = np.random.default_rng(seed)
    shape = (n, *model.inputs[0].shape[1:])
    x = rng.normal(size=shape).astype("float32")
    if "embedding" in model.layers[0].name:
        x = rng.integers(0, 20, shape).astype("int32")
    return x, rng.integers(0, 3, n), rng.uniform(0.5, 2.0, n).astype("float32")


def assert_same_run(history, expected, model, reference):
    """Compares losses with a relative tolerance of 1e-5, and weights with 1e-4 plus an absolute tolerance of 2e-5.

    The order of sums in float32 causes errors of about 1e-6 after 25 steps of Adam.
    """
    assert list(history) == list(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(history[name], values, rtol=1e-5, err_msg=name)
    for weight, other in zip(model.get_weights(), reference.get_weights(), strict=True):
        np.testing.assert_allclose(weight, other, rtol=1e-4, atol=2e-5)


def head_model():
    model = tf_keras.Sequential([tf_keras.layers.Input((8,)), tf_keras.layers.Dense(1), nllfit.heads.Bernoulli()])
    model.compile("adam", nllfit.negative_log_likelihood)
    return model


def bad(array, value, row=20):
    array = np.array(array, "float32")
    array[row] = value
    return array


X, Y = np.ones((40, 8), "float32"), np.ones((40, 1), "float32")
