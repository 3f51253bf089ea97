"""Bad input: a table of malformed arguments of every public function, with the type and the words of the error.

A call that raises has changed nothing: no weight and no file.
"""

import functools
import itertools

import numpy as np
import pytest
import tensorflow as tf
from scipy import sparse, stats
from tensorflow_probability import distributions as tfd

import nllfit
from nllfit import plots
from tests.keras_versions import KITS, each_keras

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras 3's variables

RNG = np.random.default_rng(0)
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


def bad(array, value, row=5):
    array = np.array(array)
    array[row] = value
    return array


def batches(x, y):
    return {"x": tf.data.Dataset.from_tensor_slices((x, y)).batch(4), "y": None}


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


@functools.cache
def model_of(kit, name="Bernoulli"):
    head = getattr(kit.heads, name)()
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
    ({"x": SPARSE}, f"`x` {NOT_SPARSE}"),
    ({"x": SPARSE, "validation_split": 0.5}, f"`x` {NOT_SPARSE}"),
    ({"y": sparse.coo_array(Y)}, r"`y` is a sparse coo_array: give an array, as its `.toarray\(\)`"),
    ({"y": bad(Y, np.nan)}, "`y` has nan at row 5"),
    ({"y": bad(Y, 2.0)}, r"`y` holds, at row 5, \[2.\], which .* cannot have"),
    ({"y": bad(Y, 0.5)}, r"`y` holds, at row 5, \[0.5\], which .* cannot have"),
    ({"y": Y.astype(complex)}, "`y` holds complex numbers"),
    ({"y": Y.astype(str)}, "`y` holds strings, such as b'0.0'"),
    ({"y": Y.astype(object)}, "`y` is of dtype object"),
    ({"y": CENSORED}, f"`y` {UNORDERED}"),
    ({"y": Y[:11]}, "`y` has 11 rows, but `x` has 12"),
    ({"y": np.ones([ROWS, 2])}, r"`y` has shape \(12, 2\).* shape \(12, 1\)"),
    ({"y": [0.0] * 11 + [[1.0]]}, "`y` is a list whose rows differ in length"),
    ({"y": None}, "`y` is missing, and the model is compiled with a loss"),
    ({"y": None, "sample_weight": W}, "`sample_weight` weighs outcomes, and there is no `y`"),
    ({"sample_weight": bad(W, np.inf)}, "`sample_weight` has inf at row 5"),
    ({"sample_weight": bad(W, -1.0)}, "`sample_weight` has -1.0 at row 5: give weights >= 0"),
    ({"sample_weight": W.astype(complex)}, "`sample_weight` holds complex numbers"),
    ({"sample_weight": W[:11]}, "`sample_weight` has 11 rows, but `x` has 12"),
    ({"sample_weight": ["a"] * ROWS}, "`sample_weight` holds strings, such as b'a': give numbers >= 0"),
    ({"sample_weight": 0 * W}, "`sample_weight`, or `class_weight`, gives each row a weight of 0"),
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
    ({"class_weight": {0: 0.0, 1: 0.0}}, "or `class_weight`, gives each row a weight of 0"),
    ({"class_weight": {0: 2.0}, "y": bad(Y, 0.5)}, "`class_weight` weighs classes, and `y` holds other than labels"),
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
    ({"steps_per_epoch": 3, "batch_size": 8}, "`steps_per_epoch` is 3, and 3 steps of 8 rows are more.*at most 2"),
    ({"steps_per_epoch": 10**9}, "`steps_per_epoch` is 1000000000, and .* give at most 12"),
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
    ({"x": itertools.repeat((X, Y[:3])), "y": None}, "`y` has 3 rows, but `x` has 12: give one row an example in each"),
    (
        {"x": rows(X, Y), "y": None},
        r"`y` has 1 rows, but `x` has 2: give batches of rows, as the dataset's `.batch",
    ),
    ({"x": rows(X[:, 0], Y), "y": None}, r"`x` is a single number: give batches of rows, as the dataset's `.batch"),
    ({"sample_weight": "w"}, "`sample_weight` holds strings, such as b'w': give numbers >= 0"),
    ({"x": Batches(), "y": None, "steps_per_epoch": 3}, "ran out .*: let its `__len__` and `__getitem__` give more"),
    ({"x": 3}, TypeError("`x` is a int: give arrays")),
    ({"x": "data.csv"}, TypeError("`x` is a str: give arrays")),
    ({"callbacks": "stop"}, TypeError("`callbacks` holds a builtins.str")),
]


NO_NUMBERS = "not an array of numbers"
NO_DISTRIBUTION = TypeError("`distribution` is a (str|ndarray), but .* give what `nllfit.predict_distribution")
SAMPLE = [1.0, 2.0, 4.0, 3.0]
NORMAL = tfd.Independent(tfd.Normal(tf.zeros([ROWS, 1]), 1.0), 1)


def loss(y, **options):
    return lambda kit: kit.losses(y, model_of(kit)(X), **options)


def metric(y, *weights):
    return lambda kit: kit.metrics.NegativeLogLikelihood().update_state(y, model_of(kit)(X), *weights)


def lbfgs(**arguments):
    return lambda kit: nllfit.fit_lbfgs(model_of(kit), **{"x": X, "y": Y} | arguments)


def predicted(x):
    return lambda kit: nllfit.predict_distribution(model_of(kit), x)


def categorical(kit):
    return kit.keras.Sequential([kit.keras.layers.Dense(10), kit.heads.Categorical(10)])


def other_keras(argument):
    def call(kit):
        (other,) = [other for other in KITS if other is not kit]
        model = kit.keras.Sequential([kit.keras.layers.Dense(2), kit.heads.Normal()])
        model.compile(
            "sgd", **{argument: type(other.loss)() if argument == "loss" else [other.metrics.NegativeLogLikelihood()]}
        )
        nllfit.fit(model, X, Y)

    return call


def evaluated(x, y, **options):
    return lambda kit: nllfit.evaluate(model_of(kit), x, y, **options)


def initialized(x, y, *weights):
    return lambda kit: nllfit.initialize(model_of(kit), x, y, *weights)


def ensemble(*models):
    return lambda kit: nllfit.Ensemble([model_of(kit, model) for model in models])


def ensemble_fit(build=model_of, n=2, **options):
    return lambda kit: nllfit.Ensemble.fit(build and (lambda: build(kit)), n, X, Y, **options)


def head(name, *arguments, **options):
    return lambda kit: getattr(kit.heads, name)(*arguments, **options)


def uncompiled(kit):
    return nllfit.fit(kit.keras.Sequential([kit.keras.layers.Dense(2), kit.heads.Normal()]), X, Y)


# Calls that depend on the version of Keras.
OF_A_KERAS = {
    "fit, not compiled": (uncompiled, "The model is not compiled: call .*(nllfit.negative|keras3.Negative)"),
    # losses and metrics
    "loss, text": (loss(Y.astype(str)), f"`y_true` is of dtype .*, {NO_NUMBERS}"),
    "loss, complex": (loss(Y.astype(complex)), f"`y_true` is of dtype complex128, {NO_NUMBERS}"),
    "loss, dates": (loss(Y.astype("datetime64[s]")), f"`y_true` is of dtype datetime64.*, {NO_NUMBERS}"),
    "loss, objects": (loss(Y.astype(object)), f"`y_true` is of dtype object, {NO_NUMBERS}"),
    "loss, censored data": (loss(CENSORED), f"`y_true` {UNORDERED}"),
    "loss, None": (loss(None), f"`y_true` is a NoneType, {NO_NUMBERS}"),
    "loss, ragged": (loss([[1.0]] * 11 + [[1.0, 2.0]]), f"`y_true` is a list, {NO_NUMBERS}"),
    "loss, rows": (loss(Y[:3]), r"`y_true` has shape \(3, 1\), but the head models outcomes of shape \(12, 1\)"),
    "loss, broadcast": (loss(Y[:1]), r"`y_true` has shape \(1, 1\), but the head models outcomes of shape \(12, 1\)"),
    "loss, support": (loss(bad(Y, 2.0)), "`y_true` holds an outcome that .* cannot have: Sample must be less than or"),
    "loss, NaN": (loss(bad(Y, np.nan)), "`y_true` holds an outcome that .* cannot have: It is not finite"),
    "loss, tensor": (
        lambda kit: kit.losses(Y, tf.zeros([ROWS, 1])),
        TypeError(r"`y_pred` is a tensor of shape \(12, 1\),? "),
    ),
    "metric, text": (metric(Y.astype(str)), f"`y_true` is of dtype .*, {NO_NUMBERS}"),
    "metric, rows": (metric(Y[:3]), r"`y_true` has shape \(3, 1\)"),
    "metric, weights": (
        metric(Y, np.ones([ROWS, 4])),
        r"`sample_weight` has shape \(12, 4\), but the outcomes are a batch",
    ),
    "metric, text weights": (metric(Y, W.astype(str)), f"`sample_weight` is of dtype .*, {NO_NUMBERS}"),
    "metric, tensor": (
        lambda kit: kit.metrics.NegativeLogLikelihood().update_state(Y, tf.zeros([ROWS, 1])),
        TypeError(r"`y_pred` is a tensor of shape \(12, 1\),? "),
    ),
    # solving
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
    # prediction and evaluation
    "predict, no rows": (lambda kit: nllfit.predict_distribution(model_of(kit), X[:0]), "`x` has no rows"),
    "predict, text": (predicted("abc"), TypeError("`x` is a str: give arrays or a `tf.data.Dataset`")),
    "predict, an iterator": (predicted(iter([X])), TypeError("`x` is a list_iterator: give arrays")),
    "predict, None": (predicted(None), "`x` is missing"),
    "predict, a number": (predicted(3.0), "`x` is a single number"),
    "predict, ragged": (predicted(tf.ragged.constant([[1.0], [1.0, 2.0]])), "`x` holds a RaggedTensor"),
    "predict, sparse": (predicted(SPARSE), f"`x` {NOT_SPARSE}"),
    "predict, texts": (predicted(X.astype(str)), "`x` holds strings, and the model takes numbers"),
    "predict, objects": (predicted(X.astype(object)), "`x` is of dtype object"),
    "predict, dates": (predicted(X.astype("datetime64[s]")), "`x` is of dtype datetime64"),
    "predict, complex": (predicted(X.astype(complex)), "`x` holds complex numbers: give real ones"),
    "predict, rank": (predicted(X[:, 0]), r"`x` has rows of shape \(\), but the model takes rows of shape \(2,\)"),
    "lbfgs, sparse": (lbfgs(x=SPARSE), f"`x` {NOT_SPARSE}"),
    "lbfgs, no weights": (lbfgs(sample_weight=0 * W), "`sample_weight`, .* gives each row a weight of 0"),
    "standard errors, sparse": (
        lambda kit: nllfit.standard_errors(model_of(kit), SPARSE, Y),
        f"`x` {NOT_SPARSE}",
    ),
    "evaluate, sparse": (evaluated(SPARSE, Y), f"`x` {NOT_SPARSE}"),
    "evaluate, sparse y": (evaluated(X, sparse.csr_matrix(Y)), f"`y` {NOT_SPARSE}"),
    "evaluate, complex x": (evaluated(X.astype(complex), Y), "`x` holds complex numbers"),
    "initialize, sparse": (initialized(SPARSE, Y), f"`x` {NOT_SPARSE}"),
    "initialize, sparse y": (initialized(X, sparse.csr_matrix(Y)), f"`y` {NOT_SPARSE}"),
    "initialize, no weights": (initialized(X, Y, 0 * W), "`sample_weight`, .* gives each row a weight of 0"),
    "label": (
        lambda kit: kit.losses([10] * ROWS, categorical(kit)(X)),
        r"which is outside the valid range of \[0, 10\)\. Look",
    ),
    "loss of the other Keras": (other_keras("loss"), TypeError("`loss` of `model.compile` holds a NegativeLogLik")),
    "evaluate, text": (evaluated(X, Y.astype(str)), f"`y` is of dtype .*, {NO_NUMBERS}"),
    "evaluate, complex": (evaluated(X, Y.astype(complex)), f"`y` is of dtype complex128, {NO_NUMBERS}"),
    "evaluate, None": (evaluated(X, [None] * ROWS), f"`y` is a list, {NO_NUMBERS}"),
    "evaluate, rows": (evaluated(X, Y[:3]), r"`y` has shape \(3, 1\), but the head models outcomes of shape \(12, 1\)"),
    "evaluate, NaN": (evaluated(X, bad(Y, np.nan)), r"`y` holds, at row 5, \[nan\]"),
    "evaluate, support": (evaluated(X, bad(Y, 2.0)), r"`y` holds, at row 5, \[2.\], which .* cannot have"),
    "evaluate, NaN in x": (evaluated(bad(X, np.nan), Y), "`x` has nan at row 5"),
    "recalibrate, NaN in x": (
        lambda kit: nllfit.recalibrate(model_of(kit, "Normal"), bad(X, np.nan), Y),
        "`x` has nan at row 5",
    ),
    "evaluate, no x": (evaluated(None, Y), "`x` is missing"),
    "evaluate, no y": (evaluated(X, None), "`y` is missing"),
    "evaluate, one row": (evaluated(X[:1], Y[:1]), "`y` has 1 rows: give at least two"),
    "evaluate, seed": (evaluated(X, Y, seed="a"), "`seed` is 'a': give an int >= 0"),
    "evaluate, censored data": (evaluated(X, CENSORED), f"`y` {UNORDERED}"),
    "evaluate, levels": (evaluated(X, Y, levels=("a",)), "`levels` is .*'a'.*: give a list of numbers between 0 and 1"),
    "evaluate, one level": (evaluated(X, Y, levels=0.9), r"`levels` is 0.9: give .* between 0 and 1, such as \[0.9\]"),
    "conformalize, one level": (
        lambda kit: nllfit.conformalize(model_of(kit, "Normal"), X, Y, levels=0.9),
        "`levels` is 0.9: give a list of numbers between 0 and 1",
    ),
    "temperature, numbers": (
        lambda kit: nllfit.scale_temperature(model_of(kit, "Normal"), X, Y),
        "outcomes are not classes",
    ),
    "temperature": (lambda kit: nllfit.TemperatureScaled(model_of(kit), "a"), "`temperature` is 'a': give a number"),
    "temperature, zero": (lambda kit: nllfit.TemperatureScaled(model_of(kit), 0), "`temperature` is 0: give a number"),
    "initialize, no x": (initialized(None, Y), "`x` is missing"),
    "initialize, no y": (initialized(X, None), "`y` is missing"),
    "initialize, text": (initialized(X, Y.astype(str)), NO_NUMBERS),
    "initialize, censored data": (initialized(X, CENSORED), f"`y` {UNORDERED}"),
    "initialize, NaN": (initialized(X, bad(Y, np.nan)), "`y` holds outcomes that are not finite"),
    "initialize, support": (initialized(X, bad(Y, 2.0)), "which Bernoulli cannot have"),
    "initialize, weights": (initialized(X, Y, -W), "`sample_weight` has -1.0 at row 0: give weights >= 0"),
    "initialize, short weights": (initialized(X, Y, W[:3]), "`sample_weight` has 3 rows, but `x` has 12"),
    "initialize, rows": (initialized(X, Y[:3]), "`y` has 3 rows, but `x` has 12: give one row an example in each"),
    "initialize, a number": (initialized(3.0, Y), "`x` is a single number"),
    "initialize, NaN in x": (initialized(bad(X, np.nan), Y), "`x` has nan at row 5"),
    "initialize, a dataset": (initialized(**batches(X, Y) | {"y": Y}), "`x` is a dataset: give arrays"),
    # ensembles
    "ensemble, empty": (ensemble(), "`models` is empty"),
    "ensemble, heads": (ensemble("Bernoulli", "Normal"), "A member's head has the family"),
    "ensemble, a model": (
        lambda kit: nllfit.Ensemble(model_of(kit)),
        TypeError("`models` is a Sequential: give a list"),
    ),
    "ensemble, saved over": (lambda kit: nllfit.Ensemble([model_of(kit)]).save(__file__), "holds something already"),
    "ensemble, none": (ensemble_fit(n=0), "`n` is 0"),
    "ensemble, build": (ensemble_fit(None), "`build` is a NoneType: give a function"),
    "ensemble, a model as build": (
        lambda kit: nllfit.Ensemble.fit(model_of(kit), 2, X, Y),
        "`build` is a Sequential: give a function",
    ),
    "ensemble, built": (ensemble_fit(lambda kit: 3), TypeError("`model` is a int, not a Keras model")),
    "ensemble, built once": (ensemble_fit(), "`build` returned the same model twice"),
    "ensemble, seed": (ensemble_fit(seed="a"), "`seed` is 'a'"),
    "ensemble, callbacks": (ensemble_fit(callbacks=[]), "members cannot share a callback"),
    # heads
    "head, event": (head("Normal", "a"), "`event_shape` is 'a': give an int >= 1"),
    "head, no event": (head("Normal", 0), "`event_shape` is 0: give an int >= 1"),
    "head, a large event": (head("Normal", 10**12), "`event_shape` is 1000000000000: give an int >= 1 and <= 8388608"),
    "head, a large shape": (
        head("Normal", (10**5, 10**5)),
        "`event_shape` is .* has 10000000000 numbers, but the most",
    ),
    "head, a large matrix": (
        head("MultivariateNormalTriL", 10**6),
        "vector of parameters of MultivariateNormalTriL has 500001500000 numbers.* give a smaller `event_shape`",
    ),
    "head, many classes": (head("Categorical", 10**9), "`num_classes` is 1000000000: give an int >= 2 and <= "),
    "head, many one-hot classes": (head("OneHotCategorical", 10**9), "`num_classes` is 1000000000: give an int >= 2"),
    "head, many components": (head("Mixture", "Normal", 10**9), "`num_components` is 1000000000: give an int >= 1 and"),
    "head, a large mixture": (
        head("Mixture", "Normal", 10**4, 10**3),
        "vector of parameters of a Mixture of 10000 Normal has 20010000 numbers, but the most are 8388608",
    ),
    "head, many numbers": (
        head("DistributionLambda", lambda params: tfd.Normal(params[..., 0], 1.0), 10**9),
        "`params_size` is 1000000000: give an int >= 1 and <= 8388608",
    ),
    "head, a large family within": (head("Censored", "Normal", 10**8), "`event_shape` is 100000000: give an int >= 1"),
    "head, text": (head("Normal", scale="a"), "Normal cannot be built with scale='a'"),
    "head, negative": (head("Normal", scale=-1.0), "`scale` must be positive"),
    "head, NaN": (head("Normal", scale=np.nan), "`scale` is held at nan: give a finite value"),
    "head, shape": (head("Normal", scale=[1.0, 2.0]), r"outcomes of shape \(2,\), but `event_shape` is \(1,\)"),
    "head, name": (
        head("Normal", scal=1.0),
        "Normal has no parameter `scal`. It has loc, scale, allow_nan_stats, vali",
    ),
    "head, alias": (head("DistributionHead", "Gaussian"), "`distribution` is 'Gaussian'.* Close to it: Normal, "),
    "head, event shape": (head("Normal", {}), "`event_shape` is {}: give an int >= 1"),
    "head, shared list": (head("Normal", shared=[[]]), r"`shared` is \[\[\]\]: give names of parameters"),
    "head, shared of zeros": (
        lambda kit: kit.heads.ZeroInflated("Poisson", shared=[[]]),
        r"`shared` is \[\[\]\]: give names of parameters",
    ),
    "head, shared": (head("Normal", shared=("foo",)), "Normal has no parameter `foo`"),
    "head, all shared": (head("Normal", shared=("loc", "scale")), "Every free parameter of Normal is shared"),
    "head, floor": (head("Normal", floor=1e-3), "`floor` is 0.001: give a dict"),
    "head, floor of": (head("Normal", floor={"loc": 1.0}), "`floor` names `loc`"),
    "head, link": (head("Normal", link={"scale": "foo"}), "`link` gives `scale` 'foo': give one of exp"),
    "head, classes": (head("Categorical", 1), "`num_classes` is 1: give an int >= 2"),
    "head, no family": (
        head("DistributionHead", "Nrmal"),
        "`distribution` is 'Nrmal': give a class .* Close to it: Normal",
    ),
    "head, a distribution": (head("DistributionHead", tfd.Normal(0.0, 1.0)), "`distribution` is <tfp.*: give a class"),
    "head, of one": (head("DistributionHead", "Inflated", 1), "`distribution`: it is a distribution: choose another"),
    "head, of another": (
        head("DistributionHead", "TransformedDistribution", 1),
        "it is a distribution: choose another",
    ),
    "head, held": (head("DistributionHead", "Binomial"), "hold it at a value, `total_count=...`"),
    "head, components": (head("Mixture", "Normal", 0), "`num_components` is 0: give an int >= 1"),
    "head, units": (lambda kit: kit.heads.Normal()(tf.zeros([3, 5])), "`params` is float32 of shape .* takes 2"),
}

# Calls that do not depend on Keras.
COMMON = {
    "predict, model": (
        lambda: nllfit.predict_distribution("model", X),
        TypeError("`model` is a str, not a Keras model"),
    ),
    "fit, model": (lambda: nllfit.fit(None, X, Y), TypeError("`model` is a NoneType, not a Keras model")),
    "lbfgs, model": (lambda: nllfit.fit_lbfgs("model", X, Y), TypeError("`model` is a str, not a Keras model")),
    "evaluate, model": (lambda: nllfit.evaluate("model", X, Y), TypeError("`model` is a str, not a Keras model")),
    "evaluate, distribution": (lambda: nllfit.evaluate(NORMAL, X, Y), "needs no `x`"),
    "evaluate, batch_size": (
        lambda: nllfit.evaluate(model_of(KITS[1]), X, Y, batch_size=0),
        "`batch_size` is 0: give an int >= 1",
    ),
    "evaluate, dataset and y": (
        lambda: nllfit.evaluate(model_of(KITS[0]), batches(X, Y)["x"], Y),
        r"`x` is a dataset of batches `\(x, y\)`, which needs no `y`",
    ),
    "evaluate, weights": (
        lambda: nllfit.evaluate(model_of(KITS[0]), tf.data.Dataset.from_tensors((X, Y, np.ones(len(X))))),
        "`x` is a dataset with weights, but an evaluation counts each row once",
    ),
    "evaluate, without end": (
        lambda: nllfit.evaluate(model_of(KITS[0]), batches(X, Y)["x"].repeat()),
        "`x` is an infinite dataset",
    ),
    "evaluate, empty": (
        lambda: nllfit.evaluate(model_of(KITS[0]), batches(X, Y)["x"].take(0)),
        "The dataset in `x` is empty",
    ),
    "predict_distribution, without end": (
        lambda: nllfit.predict_distribution(model_of(KITS[1]), batches(X, Y)["x"].repeat()),
        "`x` is an infinite dataset",
    ),
    "evaluate, one": (
        lambda: nllfit.evaluate(tfd.Normal(0.0, 1.0), y=SAMPLE),
        r"of batch \[\]: give a distribution of batch \[n\], one for each row",
    ),
    "initialize, model": (lambda: nllfit.initialize("model", X, Y), TypeError("`model` is a str")),
    "ensemble, two versions of Keras": (
        lambda: nllfit.Ensemble([model_of(kit) for kit in KITS]),
        "`models` are of keras and tf_keras",
    ),
    "ensemble, int": (lambda: nllfit.Ensemble([1]), TypeError("`model` is a int, not a Keras model")),
    "ensemble, folder": (lambda: nllfit.Ensemble.load("nowhere"), "`folder` nowhere holds no .keras file"),
    "compare_scores": (
        lambda: nllfit.compare_scores(1, 2),
        TypeError("`a` is a int: give what `evaluate` returns for a model"),
    ),
    "compare_scores, outcomes": (
        lambda: nllfit.compare_scores(nllfit.evaluate(NORMAL, y=Y), nllfit.evaluate(NORMAL, y=1 - Y)),
        "are evaluations of different outcomes",
    ),
    "compare_scores, kinds": (
        lambda: nllfit.compare_scores(
            nllfit.evaluate(NORMAL, y=Y),
            nllfit.evaluate(tfd.Independent(tfd.Bernoulli(tf.zeros([ROWS, 1])), 1), y=Y),
        ),
        "One of `a` and `b` evaluates class probabilities and the other a distribution of numbers",
    ),
    "loss, no prediction": (lambda: nllfit.negative_log_likelihood(Y, None), TypeError("`y_pred` is a NoneType")),
    "beta-NLL": (lambda: nllfit.losses.BetaNLL("a"), "`beta` is 'a': give a number from 0"),
    "beta-NLL, bool": (lambda: nllfit.losses.BetaNLL(True), "`beta` is True"),
    "beta-NLL, labels": (
        lambda: nllfit.losses.BetaNLL()(np.zeros([4, 1]), tfd.Categorical(tf.zeros([4, 3]))),
        "the labels of Categorical are no numbers",
    ),
    "crps, text": (lambda: nllfit.crps(Y.astype(str), NORMAL), NO_NUMBERS),
    "crps, complex": (lambda: nllfit.crps(Y.astype(complex), NORMAL), NO_NUMBERS),
    "crps, shape": (
        lambda: nllfit.crps(Y[:, 0], NORMAL),
        r"`y_true` has shape \(12,\), .*: reshape it with `y\[:, None\]`",
    ),
    "crps, no distribution": (
        lambda: nllfit.crps(Y, 3),
        TypeError("`y_pred` is a int, but .* `nllfit.predict_distribution"),
    ),
    # probabilities
    "quantile, text": (lambda: nllfit.quantile(NORMAL, "a"), "`q` is 'a': give a probability above 0 and below 1"),
    "quantile, complex": (lambda: nllfit.quantile(NORMAL, 0.5j), "`q` is 0.5j: give a probability"),
    "quantile, 1": (lambda: nllfit.quantile(NORMAL, 1.0), "`q` is 1.0: give a probability"),
    "quantile, NaN": (lambda: nllfit.quantile(NORMAL, np.nan), "`q` is nan: give a probability"),
    "quantile, name": (lambda: nllfit.quantile("Normal", 0.5), NO_DISTRIBUTION),
    "interval, text": (lambda: nllfit.interval(NORMAL, "a"), "`level` is 'a': give a number between 0 and 1"),
    "interval, percent": (lambda: nllfit.interval(NORMAL, 90), "`level` is 90: give a number between 0 and 1"),
    "interval, None": (lambda: nllfit.interval(NORMAL, None), "`level` is None: give a number"),
    "cdf, text": (lambda: nllfit.cdf(NORMAL, "a"), f"`y` is a str, {NO_NUMBERS}"),
    "cdf, complex": (lambda: nllfit.cdf(NORMAL, 1j), f"`y` is a complex, {NO_NUMBERS}"),
    "cdf, shape": (
        lambda: nllfit.cdf(NORMAL, np.ones([5, 7])),
        r"`y` has shape \(5, 7\), but the distribution's outcomes",
    ),
    "survival, None": (lambda: nllfit.survival(NORMAL, None), f"`y` is a NoneType, {NO_NUMBERS}"),
    "cdf, what predict returns": (lambda: nllfit.cdf(Y, 0.5), NO_DISTRIBUTION),
    "survival, name": (lambda: nllfit.survival("Normal", 0.5), NO_DISTRIBUTION),
    # families
    "family, None": (lambda: nllfit.Family(None), "`distribution` is None: give a class"),
    "family, params": (lambda: nllfit.Family("Normal").distribution("a"), f"`params` is a str, {NO_NUMBERS}"),
    "family, size": (lambda: nllfit.Family("Normal").distribution(tf.zeros([3])), "takes 2 floating-point numbers"),
    "family, no shared": (
        lambda: nllfit.Family("Normal", shared="scale").distribution(tf.zeros([3, 1])),
        "`shared` is None: give the 1 numbers of scale",
    ),
    "mixture, shared": (lambda: nllfit.MixtureFamily("Normal", 2, shared="scale"), "share no parameters"),
    # estimation
    "estimate, text": (lambda: nllfit.maximum_likelihood("Normal", ["a"]), f"`y` is of dtype <U1, {NO_NUMBERS}"),
    "estimate, number": (lambda: nllfit.maximum_likelihood("Normal", 1.0), r"`y` has shape \(\): give at least one"),
    "estimate, empty": (lambda: nllfit.maximum_likelihood("Normal", []), r"`y` has shape \(0,\): give at least one"),
    "estimate, set": (lambda: nllfit.maximum_likelihood("Normal", {1.0, 2.0}), f"`y` is {NO_NUMBERS}"),
    "estimate, ragged": (lambda: nllfit.maximum_likelihood("Normal", [[1.0], [1.0, 2.0]]), f"`y` is {NO_NUMBERS}"),
    "estimate, complex": (
        lambda: nllfit.maximum_likelihood("Normal", [1j, 2]),
        f"`y` is of dtype complex128, {NO_NUMBERS}",
    ),
    "estimate, NaN": (lambda: nllfit.maximum_likelihood("Normal", [1.0, np.nan]), "`y` holds 1 NaN or infinite values"),
    "estimate, one": (
        lambda: nllfit.maximum_likelihood("Normal", [1.0]),
        "`y` has 1 numbers, fewer than the 2 parameters",
    ),
    "estimate, constant": (lambda: nllfit.maximum_likelihood("Normal", [1.0] * 3), "`y` has all values equal"),
    "estimate, name": (lambda: nllfit.maximum_likelihood("Nrmal", SAMPLE), "`distribution` is 'Nrmal'"),
    "estimate, support": (
        lambda: nllfit.maximum_likelihood("Gamma", [-1.0, 2.0]),
        "`y` holds -1.0, which Gamma cannot",
    ),
    "estimate, weights": (
        lambda: nllfit.maximum_likelihood("Normal", SAMPLE, weights="a"),
        "`weights` is not an array",
    ),
    "estimate, negative": (
        lambda: nllfit.maximum_likelihood("Normal", [1.0, 2.0], weights=[-1, 1]),
        "a negative, NaN or",
    ),
    "estimate, held": (
        lambda: nllfit.maximum_likelihood("Normal", SAMPLE, scale="a"),
        "cannot be built with scale='a'",
    ),
    "estimate, no parameter": (
        lambda: nllfit.maximum_likelihood("Normal", SAMPLE, foo=1),
        "Normal has no parameter `foo`",
    ),
    "estimate, level": (lambda: estimate().confidence_intervals(level="a"), "`level` is 'a': give a probability"),
    "estimate, method": (lambda: estimate().confidence_intervals(method="foo"), "`method` is 'foo': give \"wald\" or"),
    "estimate, profile": (lambda: estimate().profile("foo", [1.0]), "`foo` is not a parameter of this fit"),
    "estimate, values": (lambda: estimate().profile("loc", "a"), "`values` is 'a': give a number"),
    "estimate, index": (lambda: estimate().profile("loc", [1.0], index=3), "`index` is 3, but `loc` has shape"),
    "likelihood, name": (
        lambda: nllfit.likelihood("Normal", SAMPLE),
        TypeError("`distribution` is 'Normal': give a dist"),
    ),
    "likelihood, class": (lambda: nllfit.log_likelihood(tfd.Normal, SAMPLE), TypeError("give a distribution, such as")),
    "likelihood, complex": (
        lambda: nllfit.likelihood(tfd.Normal(0.0, 1.0), [1j]),
        "`y` is of dtype complex128: give numbers",
    ),
    "likelihood, NaN": (
        lambda: nllfit.likelihood(tfd.Normal(0.0, 1.0), [np.nan]),
        "`y` holds 1 NaN: remove the missing",
    ),
    "likelihood, empty": (lambda: nllfit.log_likelihood(tfd.Normal(0.0, 1.0), []), "`y` is empty: give at least one"),
    "likelihood, fraction": (
        lambda: nllfit.likelihood(tfd.Poisson(1.0), [0.5]),
        "`y` holds 0.5, which Poisson cannot have",
    ),
    "likelihood, domain": (lambda: nllfit.likelihood(tfd.Normal(0.0, -1.0), SAMPLE), "`scale` must be positive"),
    "compare, none": (lambda: nllfit.compare(SAMPLE, []), "`distributions` is empty: give at least one family"),
    "compare, int": (lambda: nllfit.compare(SAMPLE, 3), "`distributions` is 3: give a list of families"),
    "compare, text": (lambda: nllfit.compare("a", ["Normal"]), f"`y` is of dtype <U1, {NO_NUMBERS}"),
    # figures
    "reliability, text": (lambda: plots.reliability_diagram(None, ["a"], [0.5]), f"`y` is a list, {NO_NUMBERS}"),
    "reliability, text probabilities": (
        lambda: plots.reliability_diagram(None, [0], ["a"]),
        f"`probabilities` is a list, {NO_NUMBERS}",
    ),
    "reliability, 2": (lambda: plots.reliability_diagram(None, [0, 2], [0.5, 0.5]), "`y` holds other than 0 and 1"),
    "reliability, label": (
        lambda: plots.reliability_diagram(None, [0, 7], [[0.5, 0.5]] * 2),
        "`y` holds other than labels 0 to 1",
    ),
    "reliability, sums": (
        lambda: plots.reliability_diagram(None, [0, 1], [[0.9, 0.9]] * 2),
        "rows that do not sum to 1",
    ),
    "reliability, 1.5": (lambda: plots.reliability_diagram(None, [0], [1.5]), "numbers that are not between 0 and 1"),
    "reliability, rows": (lambda: plots.reliability_diagram(None, [0, 1], [0.5]), r"`y` has shape \(2,\) and `prob"),
    "reliability, bins": (lambda: plots.reliability_diagram(None, [0], [0.5], num_bins=0), "`num_bins` is 0"),
    "PIT, bins": (lambda: plots.pit_histogram(None, [0.5], num_bins="a"), "`num_bins` is 'a'"),
    "PIT, text": (lambda: plots.pit_histogram(None, ["a"]), "`pit` is empty or has a number that is not between"),
    "PIT, 2": (lambda: plots.coverage_curve(None, [2.0]), "`pit` is empty or has a number that is not between"),
    "training curves": (lambda: plots.training_curves(None, {}), "`history` has no epochs"),
    "likelihood curve": (
        lambda: plots.likelihood_curve(None, tfd.Normal([0.0, 1.0], 1.0), SAMPLE, [0.0]),
        "`distribution` has batch shape",
    ),
}


@functools.cache
def estimate():
    return nllfit.maximum_likelihood("Normal", SAMPLE)


def refuses(message):
    """`pytest.raises` for an exception class, or for a `ValueError` with a message."""
    error = message if isinstance(message, Exception) else ValueError(message)
    return pytest.raises(type(error), match=str(error))


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
def test_a_layer_of_other_units_than_its_head_takes_is_named_in_one_line(kit):
    model = kit.keras.Sequential([kit.keras.layers.Dense(2), kit.heads.Categorical(3)])
    model.compile("sgd", kit.loss)
    with pytest.raises(ValueError, match=r"^`params` is float32 .* Give the layer before it 3 units\.$"):
        nllfit.fit(model, X, Y, verbose=0)


@each_keras
def test_strings_are_refused_after_numbers_of_their_shape(kit):
    nllfit.fit(model_of(kit), X, Y, verbose=0)
    with refuses("`x` holds strings, and the model takes numbers"):
        nllfit.fit(model_of(kit), X.astype(str), Y, verbose=0)


@each_keras
def test_an_outcome_is_checked_after_a_first_call_on_an_array(kit):
    """The first call makes Keras build the `Sequential` for batches of that size."""
    model = kit.keras.Sequential([kit.keras.layers.Dense(1), kit.heads.Bernoulli()])
    model.compile("sgd", kit.loss)
    nllfit.initialize(model, X, Y)
    with pytest.raises(ValueError, match="`y` holds, at row 5"):
        nllfit.fit(model, X, bad(Y, 2.0), verbose=0)


@each_keras
@pytest.mark.parametrize("name", OF_A_KERAS)
def test_a_wrong_argument_is_named_in_both_keras_versions(kit, name):
    call, message = OF_A_KERAS[name]
    before = [model_of(kit, head).get_weights() for head in ("Bernoulli", "Normal")]
    with refuses(message):
        call(kit)
    for head, weights in zip(("Bernoulli", "Normal"), before, strict=True):
        for weight, other in zip(model_of(kit, head).get_weights(), weights, strict=True):
            np.testing.assert_array_equal(weight, other)


@pytest.mark.parametrize("name", COMMON)
def test_a_wrong_argument_is_named(name):
    call, message = COMMON[name]
    with refuses(message):
        call()
