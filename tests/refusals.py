"""Helpers of the tests of errors: malformed arguments, models, and a check of the message."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from scipy import sparse, stats

ROWS = 12
X, Y, W = (
    np.ones([ROWS, 2], "float32"),
    np.tile([[0.0], [1.0]], [ROWS // 2, 1]).astype("float32"),
    np.ones(ROWS, "float32"),
)
CENSORED = stats.CensoredData.right_censored(np.ones(ROWS), Y[:, 0])
SPARSE = sparse.csr_matrix(X)
NOT_SPARSE = r"is a sparse csr_matrix: give an array, as its `.toarray\(\)` makes it"
UNORDERED = r"is SciPy's `CensoredData`, which does not keep the order .*: give pairs `\[n, 2\]`"
MASKED = np.ma.masked_less(Y, 0.5)
HAS_MASK = f"has {ROWS // 2} masked values: leave their rows out, here and in the other arrays"
NO_NUMBERS = "not an array of numbers"


def bad(array, value, row=5):
    array = np.array(array)
    array[row] = value
    return array


def batches(x, y):
    return {"x": tf.data.Dataset.from_tensor_slices((x, y)).batch(4), "y": None}


@functools.cache
def model_of(kit, name="Bernoulli"):
    head = getattr(kit.heads, name)()
    layers = kit.keras.layers
    model = kit.keras.Sequential([layers.Input((2,)), layers.Dense(head.params_size()), head])
    model.compile("sgd", kit.loss)
    return model


def refuses(message):
    """Returns `pytest.raises` with the type and the text of an exception.

    `message` is an exception, or the text of a `ValueError`.
    """
    error = message if isinstance(message, Exception) else ValueError(message)
    return pytest.raises(type(error), match=str(error))


def check_refusal(kit, call, message):
    """Checks that `call` raises the error and does not change the weights of the models."""
    before = [model_of(kit, head).get_weights() for head in ("Bernoulli", "Normal")]
    with refuses(message):
        call(kit)
    for head, weights in zip(("Bernoulli", "Normal"), before, strict=True):
        for weight, other in zip(model_of(kit, head).get_weights(), weights, strict=True):
            np.testing.assert_array_equal(weight, other)
