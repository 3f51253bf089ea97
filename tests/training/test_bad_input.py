"""`fit` and `fit_lbfgs` raise errors that name the invalid argument, and train nothing."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from scipy import sparse

import nllfit
from tests.keras_versions import KITS, each_keras, mainly
from tests.refusals import (
    CENSORED,
    HAS_MASK,
    MASKED,
    NOT_SPARSE,
    ROWS,
    SPARSE,
    UNORDERED,
    W,
    X,
    Y,
    bad,
    batches,
    check_refusal,
    model_of,
    refuses,
)

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras 3's variables


def rows(x, y):
    return tf.data.Dataset.from_tensor_slices((x, y))


class Batches:
    def __len__(self):
        return 2

    def __getitem__(self, i):
        if i >= len(self):
            raise IndexError
        return X[:4], Y[:4]

    def __iter__(self):
        return map(self.__getitem__, range(len(self)))


FIT = [
    # arrays
    ({"x": bad(X, np.nan)}, "`x` has nan at row 5"),
    ({"x": bad(X, -np.inf)}, "`x` has -inf at row 5"),
    ({"x": X.astype(complex)}, "`x` holds complex numbers: give real ones"),
    ({"x": np.where(np.eye(*X.shape) == 1, "red", X.astype(object))}, "`x` holds 'red', which is not a number"),
    ({"x": X.astype(object)}, "`x` is of dtype object: convert it to numbers"),
    ({"x": X.astype("datetime64[s]")}, "`x` is of dtype datetime64"),
    ({"x": X.astype(str)}, "`x` holds strings, and the model takes numbers"),
    ({"x": [[1.0, 2.0]] * 11 + [[1.0]]}, "`x` is a list whose rows differ in length"),
    ({"x": [None] * ROWS}, "`x` holds a None"),
    ({"x": X[:0], "y": Y[:0]}, "`x` is empty"),
    ({"x": np.float32(1)}, "`x` is a single number"),
    ({"x": tf.ragged.constant([[1.0], [1.0, 2.0]])}, "`x` holds a RaggedTensor, which has no fixed shape"),
    ({"x": SPARSE}, f"`x` {NOT_SPARSE}"),
    ({"x": SPARSE, "validation_split": 0.5}, f"`x` {NOT_SPARSE}"),
    ({"y": sparse.coo_array(Y)}, r"`y` is a sparse coo_array: give an array, as its `.toarray\(\)`"),
    ({"y": bad(Y, np.nan)}, "`y` has nan at row 5"),
    ({"y": bad(Y, 2.0)}, r"`y` holds, at row 5, \[2.\], which .* cannot have"),
    ({"y": bad(Y, 0.5)}, r"`y` holds, at row 5, \[0.5\], which .* cannot have"),
    ({"y": Y.astype(complex)}, "`y` holds complex numbers"),
    ({"y": Y.astype(str)}, "`y` holds strings, such as b'0.0'"),
    ({"y": Y.astype(object)}, "`y` is of dtype object"),
    ({"y": MASKED}, f"`y` {HAS_MASK}"),
    ({"x": np.ma.masked_less(X, 2.0)}, "`x` has 24 masked values"),
    ({"y": CENSORED}, f"`y` {UNORDERED}"),
    ({"y": Y[:11]}, "`y` has 11 rows, but `x` has 12"),
    ({"y": np.ones([ROWS, 2])}, r"`y` has shape \(12, 2\).* shape \(12, 1\)"),
    ({"y": [0.0] * 11 + [[1.0]]}, "`y` is a list whose rows differ in length"),
    ({"y": None}, "`y` is missing, and the model is compiled with a loss"),
    ({"y": None, "sample_weight": W}, "`sample_weight` weights outcomes, and there is no `y`"),
    ({"sample_weight": bad(W, np.inf)}, "`sample_weight` has inf at row 5"),
    ({"sample_weight": bad(W, -1.0)}, "`sample_weight` has -1.0 at row 5: give weights >= 0"),
    ({"sample_weight": W.astype(complex)}, "`sample_weight` holds complex numbers"),
    ({"sample_weight": W[:11]}, "`sample_weight` has 11 rows, but `x` has 12"),
    ({"sample_weight": ["a"] * ROWS}, "`sample_weight` holds strings, such as b'a': give numbers >= 0"),
    ({"sample_weight": 0 * W}, "`sample_weight` or `class_weight` gives each row a weight of 0"),
    ({"sample_weight": [None] * ROWS}, "`sample_weight` holds no weights"),
    ({"sample_weight": np.ones([ROWS, 3])}, r"`sample_weight` has shape .*, but the outcomes are a batch of shape"),
    # labels and their weights
    ({"class_weight": [1.0, 2.0]}, r"`class_weight` is \[1.0, 2.0\]: give a dict"),
    ({"class_weight": {0: 1.0, 1: np.nan}}, "`class_weight` is .*nan.*: give finite weights >= 0"),
    ({"class_weight": {0: 1.0, 1: -1.0}}, "`class_weight` is .*-1.0.*: give finite weights >= 0"),
    (
        {"class_weight": {"cat": 1.0}},
        "`class_weight` is {'cat': 1.0}: give finite weights >= 0 of labels, which are ints",
    ),
    ({"class_weight": {0: 0.0, 1: 0.0}}, "or `class_weight` gives each row a weight of 0"),
    ({"class_weight": {0: 2.0}, "y": bad(Y, 0.5)}, "weights classes, but `y` does not hold class labels"),
    # validation data
    ({"validation_data": (X, bad(Y, np.nan))}, "`validation_data's y` has nan at row 5"),
    ({"validation_data": (X, bad(Y, 2.0))}, "`validation_data's y` holds, at row 5"),
    ({"validation_data": (bad(X, np.nan), Y)}, "`validation_data's x` has nan at row 5"),
    ({"validation_data": ([[1.0], [1.0, 2.0]], Y[:2])}, "`validation_data's x` is a list whose rows differ in length"),
    ({"validation_data": (X, CENSORED)}, f"`validation_data's y` {UNORDERED}"),
    ({"validation_data": (SPARSE, Y)}, f"`validation_data's x` {NOT_SPARSE}"),
    ({"validation_data": (X, Y), "validation_steps": 10**9}, "`validation_steps` is 1000000000.* give at most 12"),
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
    ({"validation_split": 0.99}, "leaves no row"),
    # numbers and choices
    ({"epochs": -1}, "`epochs` is -1"),
    ({"epochs": "3"}, "`epochs` is '3'"),
    ({"initial_epoch": -1}, "`initial_epoch` is -1"),
    ({"batch_size": 0}, "`batch_size` is 0"),
    ({"batch_size": 2.5}, "`batch_size` is 2.5"),
    ({"batch_size": True}, "`batch_size` is True"),
    ({"steps_per_epoch": 0}, "`steps_per_epoch` is 0"),
    ({"steps_per_epoch": 2.0}, "`steps_per_epoch` is 2.0"),
    ({"steps_per_epoch": 3, "batch_size": 8}, "`steps_per_epoch` is 3, and 3 steps of 8 rows are more.*at most 2"),
    ({"steps_per_epoch": 10**9}, "`steps_per_epoch` is 1000000000, and .* give at most 12"),
    ({"seed": -1}, "`seed` is -1"),
    ({"seed": 0.5}, "`seed` is 0.5"),
    ({"verbose": "loud"}, """`verbose` is 'loud': give 0, 1, 2 or "auto"."""),
    ({"verbose": 7}, "`verbose` is 7"),
    ({"shuffle": "batch"}, "`shuffle` is 'batch': give True or False"),
    ({"compile": "fast"}, "`compile` is 'fast'"),
    # batches
    ({"x": batches(X, Y)["x"]}, "`x` is a dataset, so `y` and `sample_weight` must be in its batches: leave them out"),
    ({"x": batches(X, Y)["x"].repeat(), "y": None}, "The dataset is infinite"),
    ({"x": batches(X, Y)["x"].take(0), "y": None}, "The dataset in `x` is empty"),
    ({"x": batches(X, Y)["x"], "y": None, "validation_split": 0.5}, "`validation_split` takes rows of arrays"),
    (batches(bad(X, np.nan, 1), Y), "`x` has nan at row 1 of batch 0"),
    (batches(X, bad(Y, 2.0, 1)), "`y` holds, at row 1"),
    (batches(X, bad(Y, 2.0, 9)), "`y` holds, at row 1 of batch 2 of epoch 1"),
    ({"x": itertools.repeat((X, Y, W, W)), "y": None}, "one has 4 parts"),
    ({"x": itertools.repeat((X, Y[:3])), "y": None}, "`y` has 3 rows, but `x` has 12: give one row per example"),
    (
        {"x": rows(X, Y), "y": None},
        r"`y` has 1 rows, but `x` has 2: give batches of rows, as the dataset's `.batch",
    ),
    ({"x": rows(X[:, 0], Y), "y": None}, r"`x` is a single number: give batches of rows, as the dataset's `.batch"),
    ({"sample_weight": "w"}, "`sample_weight` holds strings, such as b'w': give numbers >= 0"),
    ({"x": Batches(), "y": None, "steps_per_epoch": 3}, "ran out .*: let its `__len__` and `__getitem__` give more"),
    ({"x": None}, TypeError("`x` is a NoneType: give arrays")),
    ({"x": 3}, TypeError("`x` is a int: give arrays")),
    ({"x": "data.csv"}, TypeError("`x` is a str: give arrays")),
    ({"callbacks": "stop"}, TypeError("`callbacks` holds a builtins.str")),
]


def lbfgs(**arguments):
    return lambda kit: nllfit.fit_lbfgs(model_of(kit), **{"x": X, "y": Y} | arguments)


def other_keras(argument):
    def call(kit):
        (other,) = [other for other in KITS if other is not kit]
        model = kit.keras.Sequential([kit.keras.layers.Dense(2), kit.heads.Normal()])
        model.compile(
            "sgd", **{argument: type(other.loss)() if argument == "loss" else [other.metrics.NegativeLogLikelihood()]}
        )
        nllfit.fit(model, X, Y)

    return call


def constrained(kit):
    model = kit.keras.Sequential([kit.keras.layers.Dense(1, kernel_constraint="non_neg")])
    model.compile("sgd", "mse")
    nllfit.fit_lbfgs(model, X, Y)


def uncompiled(kit):
    return nllfit.fit(kit.keras.Sequential([kit.keras.layers.Dense(2), kit.heads.Normal()]), X, Y)


SOLVING = {
    "fit, not compiled": (uncompiled, "The model is not compiled: call .*(nllfit.negative|keras3.Negative)"),
    "lbfgs, complex": (lbfgs(y=Y.astype(complex)), "`y` holds complex numbers"),
    "lbfgs, censored data": (lbfgs(y=CENSORED), f"`y` {UNORDERED}"),
    "lbfgs, support": (lbfgs(y=bad(Y, 2.0)), "`y` holds, at row 5"),
    "lbfgs, NaN": (lbfgs(x=bad(X, np.nan)), "`x` has nan at row 5"),
    "lbfgs, rows": (lbfgs(y=Y[1:]), "`y` has 11 rows"),
    "lbfgs, no outcomes": (lbfgs(y=None), "`y` is missing"),
    "lbfgs, weights": (lbfgs(sample_weight=-W), "`sample_weight` has -1.0 at row 0"),
    "lbfgs, iterations": (lbfgs(max_iterations=0), "`max_iterations` is 0"),
    "lbfgs, tolerance": (lbfgs(tolerance="a"), "`tolerance` is 'a': give a finite number >= 0"),
    "lbfgs, no tolerance": (lbfgs(tolerance=np.nan), "`tolerance` is nan"),
    "lbfgs, any tolerance": (lbfgs(tolerance=np.inf), "`tolerance` is inf: give a finite number"),
    "lbfgs, a tolerance of True": (lbfgs(tolerance=True), "`tolerance` is True: give a finite number"),
    "lbfgs, batches": (lbfgs(**batches(X, Y)), "`x` is a .*, and .* takes all the data at once"),
    "lbfgs, sparse y": (lbfgs(y=SPARSE), f"`y` {NOT_SPARSE}"),
    "lbfgs, constraint": (constrained, "has a constraint, NonNeg, but L-BFGS .*: train the model with `nllfit.fit`"),
    "lbfgs, no weights": (lbfgs(sample_weight=0 * W), "`sample_weight` or .* gives each row a weight of 0"),
    "loss of the other Keras": (other_keras("loss"), TypeError("`loss` of `model.compile` holds a NegativeLogLik")),
}


@each_keras
@pytest.mark.parametrize(("arguments", "message"), FIT)
def test_fit_names_a_wrong_argument_and_trains_nothing(kit, arguments, message):
    model = model_of(kit)
    before = model.get_weights()
    with refuses(message):
        nllfit.fit(model, **{"x": X, "y": Y, "verbose": 0} | arguments)
    for weight, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, other)


@each_keras
@pytest.mark.parametrize("name", SOLVING)
def test_a_wrong_argument_is_named_and_no_weight_changes(kit, name):
    check_refusal(kit, *SOLVING[name])


@each_keras
def test_a_layer_of_other_units_than_its_head_takes_is_named_in_one_line(kit):
    model = kit.keras.Sequential([kit.keras.layers.Dense(2), kit.heads.Categorical(3)])
    model.compile("sgd", kit.loss)
    with pytest.raises(ValueError, match=r"^`params` is float32 .* Give the layer before it 3 units\.$"):
        nllfit.fit(model, X, Y, verbose=0)


@mainly(keras)
def test_strings_are_refused_after_numbers_of_their_shape(kit):
    nllfit.fit(model_of(kit), X, Y, verbose=0)
    with refuses("`x` holds strings, and the model takes numbers"):
        nllfit.fit(model_of(kit), X.astype(str), Y, verbose=0)


@mainly(tf_keras)
def test_an_outcome_is_checked_after_a_first_call_on_an_array(kit):
    """The call with an array makes Keras build the `Sequential` for batches of the array's size."""
    model = kit.keras.Sequential([kit.keras.layers.Dense(1), kit.heads.Bernoulli()])
    model.compile("sgd", kit.loss)
    nllfit.initialize(model, X, Y)
    with pytest.raises(ValueError, match="`y` holds, at row 5"):
        nllfit.fit(model, X, bad(Y, 2.0), verbose=0)
