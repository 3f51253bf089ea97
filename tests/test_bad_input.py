"""What is refused: a table of malformed input to every public function, with the error's type and words.

What raises has changed nothing: no weight, no file.
"""

import functools
import itertools

import numpy as np
import pytest
import tensorflow as tf

import nllfit
from tests.kerases import each_keras

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras 3's variables

RNG = np.random.default_rng(0)
ROWS = 12
X, Y, W = (
    np.ones([ROWS, 2], "float32"),
    np.tile([[0.0], [1.0]], [ROWS // 2, 1]).astype("float32"),
    np.ones(ROWS, "float32"),
)


def bad(array, value, row=5):
    array = np.array(array)
    array[row] = value
    return array


def batches(x, y):
    return {"x": tf.data.Dataset.from_tensor_slices((x, y)).batch(4), "y": None}


@functools.cache
def model_of(kit, head="Bernoulli", *arguments):
    head = getattr(kit.heads, head)(*arguments)
    layers = kit.keras.layers
    model = kit.keras.Sequential([layers.Input((2,)), layers.Dense(head.params_size()), head])
    model.compile("sgd", kit.loss)
    return model


FIT = [
    # arrays
    ({"x": bad(X, np.nan)}, "`x` has nan at row 5"),
    ({"x": bad(X, -np.inf)}, "`x` has -inf at row 5"),
    ({"x": X.astype(complex)}, "`x` holds complex numbers: give real ones"),
    ({"x": X.astype(object)}, "`x` is of dtype object, of which TensorFlow makes no tensor"),
    ({"x": X.astype("datetime64[s]")}, "`x` is of dtype datetime64"),
    ({"x": X.astype(str)}, "`x` holds strings, and the model takes numbers"),
    ({"x": [[1.0, 2.0]] * 11 + [[1.0]]}, "`x` is a list whose rows differ in length"),
    ({"x": [None] * ROWS}, "`x` holds a None"),
    ({"x": X[:0], "y": Y[:0]}, "`x` is empty"),
    ({"x": np.float32(1)}, "`x` is a single number"),
    ({"x": tf.ragged.constant([[1.0], [1.0, 2.0]])}, "`x` holds a RaggedTensor, which has no fixed shape"),
    ({"y": bad(Y, np.nan)}, "`y` has nan at row 5"),
    ({"y": bad(Y, 2.0)}, r"`y` holds, at row 5, \[2.\], which .* cannot have"),
    ({"y": bad(Y, 0.5)}, r"`y` holds, at row 5, \[0.5\], which .* cannot have"),
    ({"y": Y.astype(complex)}, "`y` holds complex numbers"),
    ({"y": Y.astype(str)}, "`y` holds strings, such as b'0.0'"),
    ({"y": Y.astype(object)}, "`y` is of dtype object"),
    ({"y": Y[:11]}, "`y` has 11 rows, but `x` has 12"),
    ({"y": np.ones([ROWS, 2])}, r"shape \(1, 2\).* shape \(1, 1\)"),
    ({"y": [0.0] * 11 + [[1.0]]}, "`y` is a list whose rows differ in length"),
    ({"y": None}, "`y` is missing, and the model is compiled with a loss"),
    ({"y": None, "sample_weight": W}, "`sample_weight` weighs outcomes, and there is no `y`"),
    ({"sample_weight": bad(W, np.inf)}, "`sample_weight` has inf at row 5"),
    ({"sample_weight": bad(W, -1.0)}, "`sample_weight` has -1.0 at row 5: give weights >= 0"),
    ({"sample_weight": W.astype(complex)}, "`sample_weight` holds complex numbers"),
    ({"sample_weight": W[:11]}, "`sample_weight` has 11 rows, but `x` has 12"),
    ({"sample_weight": np.ones([ROWS, 3])}, r"`sample_weight` has shape .*, but the outcomes are a batch of shape"),
    # labels and their weights
    ({"class_weight": [1.0, 2.0]}, r"`class_weight` is \[1.0, 2.0\]: give a dict"),
    ({"class_weight": {0: 1.0, 1: np.nan}}, "`class_weight` is .*nan.*: give finite weights >= 0"),
    ({"class_weight": {0: 1.0, 1: -1.0}}, "`class_weight` is .*-1.0.*: give finite weights >= 0"),
    (
        {"class_weight": {"cat": 1.0}},
        "`class_weight` is {'cat': 1.0}: give finite weights >= 0 of labels, which are ints",
    ),
    ({"class_weight": {0: 2.0}, "y": bad(Y, 0.5)}, "`class_weight` weighs classes, and `y` holds other than labels"),
    # validation data
    ({"validation_data": (X, bad(Y, np.nan))}, "`validation_data's y` has nan at row 5"),
    ({"validation_data": (X, bad(Y, 2.0))}, "`validation_data's y` holds, at row 5"),
    ({"validation_data": (bad(X, np.nan), Y)}, "`validation_data's x` has nan at row 5"),
    ({"validation_data": ([[1.0], [1.0, 2.0]], Y[:2])}, "`validation_data's x` is a list whose rows differ in length"),
    ({"validation_data": (X,)}, "`validation_data's y` is missing"),
    ({"validation_data": (X, Y, W, W)}, "`validation_data` has 4 parts"),
    ({"validation_data": (X, Y), "validation_freq": 0}, "`validation_freq` is 0"),
    ({"validation_data": (X, Y), "validation_freq": ["a"]}, "`validation_freq` is 'a': give an int >= 1"),
    ({"validation_data": (X, Y), "validation_batch_size": 0}, "`validation_batch_size` is 0"),
    ({"validation_data": (X, Y), "validation_steps": -1}, "`validation_steps` is -1"),
    ({"validation_split": 1.0}, "`validation_split` is 1.0"),
    ({"validation_split": "a"}, "`validation_split` is 'a': give the fraction of rows to hold out"),
    ({"validation_split": np.nan}, "`validation_split` is nan"),
    ({"validation_split": -0.1}, "`validation_split` is -0.1"),
    ({"validation_split": 0.99}, "leaves none"),
    # numbers and choices
    ({"epochs": -1}, "`epochs` is -1"),
    ({"epochs": "3"}, "`epochs` is '3'"),
    ({"initial_epoch": -1}, "`initial_epoch` is -1"),
    ({"batch_size": 0}, "`batch_size` is 0"),
    ({"batch_size": 2.5}, "`batch_size` is 2.5"),
    ({"batch_size": True}, "`batch_size` is True"),
    ({"steps_per_epoch": 0}, "`steps_per_epoch` is 0"),
    ({"steps_per_epoch": 2.0}, "`steps_per_epoch` is 2.0"),
    ({"steps_per_epoch": 3, "batch_size": 8}, "3 steps of 8 rows are more.*at most 2"),
    ({"seed": -1}, "`seed` is -1"),
    ({"seed": 0.5}, "`seed` is 0.5"),
    ({"verbose": "loud"}, """`verbose` is 'loud': give 0, 1, 2 or "auto"."""),
    ({"verbose": 7}, "`verbose` is 7"),
    ({"shuffle": "batch"}, "`shuffle` is 'batch': give True or False"),
    ({"compile": "fast"}, "`compile` is 'fast'"),
    # batches
    ({"x": batches(X, Y)["x"]}, "`x` is a dataset, so that `y` and `sample_weight` are in its batches: leave them out"),
    ({"x": batches(X, Y)["x"].repeat(), "y": None}, "The dataset is infinite"),
    ({"x": batches(X, Y)["x"].take(0), "y": None}, "The dataset in `x` is empty"),
    ({"x": batches(X, Y)["x"], "y": None, "validation_split": 0.5}, "`validation_split` takes rows of arrays"),
    (batches(bad(X, np.nan, 1), Y), "`x` has nan at row 1 of batch 0"),
    (batches(X, bad(Y, 2.0, 1)), "`y` holds, at row 1"),
    (batches(X, bad(Y, 2.0, 9)), "`y` holds, at row 1 of batch 2 of epoch 1"),
    ({"x": itertools.repeat((X, Y, W, W)), "y": None}, "one has 4 parts"),
    ({"x": 3}, TypeError("`x` is a int: give arrays")),
    ({"x": "data.csv"}, TypeError("`x` is a str: give arrays")),
    ({"callbacks": "stop"}, TypeError("`callbacks` holds a builtins.str")),
]


def refuses(message):
    """What `pytest.raises` of an error, or of a `ValueError` with a message."""
    error = message if isinstance(message, Exception) else ValueError(message)
    return pytest.raises(type(error), match=str(error))


@each_keras
@pytest.mark.parametrize(("arguments", "message"), FIT)
def test_fit(kit, arguments, message):
    model = model_of(kit)
    before = model.get_weights()
    with refuses(message):
        nllfit.fit(model, **{"x": X, "y": Y, "verbose": 0} | arguments)
    for weight, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, other)
