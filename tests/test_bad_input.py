"""Wrong arguments of losses, predictions, `evaluate`, `initialize` and ensembles: the error names the argument."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import sparse
from tensorflow_probability import distributions as tfd

import nllfit
from tests.keras_versions import KITS, each_keras
from tests.refusals import (
    CENSORED,
    HAS_MASK,
    MASKED,
    NO_NUMBERS,
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
NORMAL = tfd.Independent(tfd.Normal(tf.zeros([ROWS, 1]), 1.0), 1)
SAMPLE = [1.0, 2.0, 4.0, 3.0]


def loss(y, **options):
    return lambda kit: kit.losses(y, model_of(kit)(X), **options)


def metric(y, *weights):
    return lambda kit: kit.metrics.NegativeLogLikelihood().update_state(y, model_of(kit)(X), *weights)


def predicted(x):
    return lambda kit: nllfit.predict_distribution(model_of(kit), x)


def categorical(kit):
    return kit.keras.Sequential([kit.keras.layers.Dense(10), kit.heads.Categorical(10)])


def evaluated(x, y, **options):
    return lambda kit: nllfit.evaluate(model_of(kit), x, y, **options)


def initialized(x, y, *weights):
    return lambda kit: nllfit.initialize(model_of(kit), x, y, *weights)


def ensemble(*models):
    return lambda kit: nllfit.Ensemble([model_of(kit, model) for model in models])


def ensemble_fit(build=model_of, n=2, **options):
    return lambda kit: nllfit.Ensemble.fit(build and (lambda: build(kit)), n, X, Y, **options)


OF_A_KERAS = {
    "loss, text": (loss(Y.astype(str)), f"`y_true` is of dtype .*, {NO_NUMBERS}"),
    "loss, complex": (loss(Y.astype(complex)), f"`y_true` is of dtype complex128, {NO_NUMBERS}"),
    "loss, dates": (loss(Y.astype("datetime64[s]")), f"`y_true` is of dtype datetime64.*, {NO_NUMBERS}"),
    "loss, objects": (loss(Y.astype(object)), f"`y_true` is of dtype object, {NO_NUMBERS}"),
    "loss, censored data": (loss(CENSORED), f"`y_true` {UNORDERED}"),
    "loss, masked": (loss(MASKED), f"`y_true` {HAS_MASK}"),
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
    "predict, no rows": (lambda kit: nllfit.predict_distribution(model_of(kit), X[:0]), "`x` has no rows"),
    "predict, text": (predicted("abc"), TypeError("`x` is a str: give arrays or a `tf.data.Dataset`")),
    "predict, an iterator": (predicted(iter([X])), TypeError("`x` is a list_iterator: give arrays")),
    "predict, None": (predicted(None), "`x` is missing"),
    "predict, a number": (predicted(3.0), "`x` is a single number"),
    "predict, ragged": (predicted(tf.ragged.constant([[1.0], [1.0, 2.0]])), "`x` holds a RaggedTensor"),
    "predict, ragged dataset": (
        predicted(tf.data.Dataset.from_tensors(tf.ragged.constant([[1.0], [1.0, 2.0]]))),
        "The dataset in `x` holds a RaggedTensor",
    ),
    "predict, sparse dataset": (
        predicted(tf.data.Dataset.from_tensors(tf.sparse.from_dense([[1.0]]))),
        "The dataset in `x` holds a SparseTensor",
    ),
    "predict, sparse": (predicted(SPARSE), f"`x` {NOT_SPARSE}"),
    "predict, texts": (predicted(X.astype(str)), "`x` holds strings, and the model takes numbers"),
    "predict, objects": (predicted(X.astype(object)), "`x` is of dtype object"),
    "predict, dates": (predicted(X.astype("datetime64[s]")), "`x` is of dtype datetime64"),
    "predict, complex": (predicted(X.astype(complex)), "`x` holds complex numbers: give real ones"),
    "predict, rank": (predicted(X[:, 0]), r"`x` has rows of shape \(\), but the model takes rows of shape \(2,\)"),
    "standard errors, sparse": (
        lambda kit: nllfit.standard_errors(model_of(kit), SPARSE, Y),
        f"`x` {NOT_SPARSE}",
    ),
    "evaluate, sparse": (evaluated(SPARSE, Y), f"`x` {NOT_SPARSE}"),
    "evaluate, sparse y": (evaluated(X, sparse.csr_matrix(Y)), f"`y` {NOT_SPARSE}"),
    "evaluate, masked": (evaluated(X, MASKED), f"`y` {HAS_MASK}"),
    "evaluate, complex x": (evaluated(X.astype(complex), Y), "`x` holds complex numbers"),
    "initialize, sparse y": (initialized(X, sparse.csr_matrix(Y)), f"`y` {NOT_SPARSE}"),
    "initialize, masked": (initialized(X, MASKED), f"`y` {HAS_MASK}"),
    "initialize, no weights": (initialized(X, Y, 0 * W), "`sample_weight` or .* gives each row a weight of 0"),
    "label": (
        lambda kit: kit.losses([10] * ROWS, categorical(kit)(X)),
        r"which is outside the valid range of \[0, 10\)\. Look",
    ),
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
    "initialize, rows": (initialized(X, Y[:3]), "`y` has 3 rows, but `x` has 12: give one row per example in each"),
    "initialize, a number": (initialized(3.0, Y), "`x` is a single number"),
    "initialize, NaN in x": (initialized(bad(X, np.nan), Y), "`x` has nan at row 5"),
    "initialize, a dataset": (initialized(**batches(X, Y) | {"y": Y}), "`x` is a dataset: give arrays"),
    "ensemble, empty": (ensemble(), "`models` is empty"),
    "ensemble, heads": (ensemble("Bernoulli", "Normal"), "One member's head has the family"),
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
}


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
        "the labels of Categorical are not numbers",
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
}


@each_keras
@pytest.mark.parametrize("name", OF_A_KERAS)
def test_a_wrong_argument_is_named_and_no_weight_changes(kit, name):
    check_refusal(kit, *OF_A_KERAS[name])


@pytest.mark.parametrize("name", COMMON)
def test_a_wrong_argument_is_named(name):
    call, message = COMMON[name]
    with refuses(message):
        call()
