"""Outcomes that are masked or have weight 0, valid or not, do not change losses, weighted metrics or training."""

import functools

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
import tf_keras

import nllfit
from nllfit.calibration import recalibration
from nllfit.families.law import law_of
from nllfit.head_outputs import distribution_of
from tests.families.test_tfp_families import WORKING
from tests.head_builders import make_head, numbers, one_keras_each
from tests.keras_versions import KITS, each_keras, in_turn, mainly

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # raised by Keras 3's variables
    pytest.mark.filterwarnings("ignore:Gradients do not exist"),
]
RNG = np.random.default_rng(0)
ROWS, STEPS = 12, 4
# For each head: its arguments, a valid outcome, and an invalid outcome to use as padding.
OUTPUTS = {"LogNormal": ((), [1.5], 0.0), "Categorical": ((3,), 2, -1)}
MASK, WEIGHTS = np.ones([2, ROWS, STEPS], "float32")
MASK[::2, 2:] = MASK[5] = 0  # row 5 is masked completely
MASK[8:] = 0  # the last batch is masked completely
WEIGHTS[1:4, 0] = WEIGHTS[6] = 0
X = RNG.normal(size=[ROWS, STEPS, 2]).astype("float32") * MASK[..., None]


def make(kit, **compiled):
    """A model of sequences with one output for each head. It masks the steps whose inputs are 0."""
    k = kit.keras
    k.utils.set_random_seed(0)
    inputs = k.layers.Input((STEPS, 2))
    hidden = k.layers.Masking()(inputs)
    outputs = {}
    for name, (arguments, _, _) in OUTPUTS.items():
        head = getattr(kit.heads, name)(*arguments, name=name.lower())
        outputs[head.name] = head(k.layers.Dense(head.params_size())(hidden))
    model = k.Model(inputs, outputs)
    metrics = {name: kit.metrics.NegativeLogLikelihood() for name in outputs}
    model.compile(k.optimizers.SGD(0.1), dict.fromkeys(outputs, kit.loss), weighted_metrics=metrics, **compiled)
    return model


def outcomes(counts):
    """The outcomes of each output: valid where `counts` is positive, and invalid where it is 0."""
    found = {}
    for name, (_, outcome, padding) in OUTPUTS.items():
        values = np.broadcast_to(np.asarray(outcome), [ROWS, STEPS, *np.shape(outcome)])
        where = counts.reshape(counts.shape + (1,) * (values.ndim - 2)) > 0
        found[name.lower()] = np.where(where, values, np.asarray(padding, values.dtype))
    return found


WAYS = {
    "eager": ("fit", {"run_eagerly": True}, {}),
    "graph": ("fit", {"jit_compile": False}, {}),
    "xla": ("fit", {"jit_compile": True}, {}),
    "nllfit, a dataset": ("nllfit", {}, {"compile": "graph"}),
    "nllfit, xla": ("nllfit", {}, {"compile": "xla"}),
}


# The next test leaves out these pairs of a Keras version and a way to train. It tests each of these ways with the other
# Keras version.
COVERED = "keras-eager", "keras-graph", "tf_keras-xla", "tf_keras-nllfit, a dataset", "keras-nllfit, xla"


# `test_an_outcome_of_weight_0_affects_neither_loss_nor_gradient` calls the loss in eager mode. Keras calls it in the
# same way in graph mode and under XLA, so the test of all these modes is marked `thorough`.
@pytest.mark.thorough
@pytest.mark.parametrize(("kit", "way"), [case for case in in_turn(WAYS) if case.id not in COVERED])
def test_invalid_outcomes_in_the_padding_do_not_change_training(kit, way):
    trainer, compiled, arguments = WAYS[way]
    model, runs = make(kit, **compiled), []
    start, fit = model.get_weights(), model.fit if trainer == "fit" else functools.partial(nllfit.fit, model)
    # First all outcomes are valid. Then outcomes that are masked or have weight 0 are invalid.
    for counts in (np.ones_like(MASK), MASK * WEIGHTS):
        model.set_weights(start)
        y = outcomes(counts)
        data = X, y, dict.fromkeys(y, WEIGHTS)
        arrays = dict(zip(("x", "y", "sample_weight"), data, strict=True)) | {"batch_size": 4}
        given = {"x": tf.data.Dataset.from_tensor_slices(data).batch(4)} if way == "nllfit, a dataset" else arrays
        history = fit(**given, shuffle=False, verbose=0, **arguments).history
        # The program of `evaluate` does not depend on the way of training, so two of the ways test it.
        scores = model.evaluate(**arrays, verbose=0) if way in ("eager", "graph") else []
        runs.append((history, model.get_weights(), scores))
    (harmless, expected, scores), (history, weights, others) = runs
    assert np.isfinite(list(history.values())).all()
    assert [name for name in history if "nll" in name]
    for name, values in harmless.items():
        np.testing.assert_array_equal(history[name], values, err_msg=name)
    np.testing.assert_array_equal(others, scores)
    for weight, other, first in zip(weights, expected, start, strict=True):
        np.testing.assert_array_equal(weight, other)
        assert (weight != first).any()


@one_keras_each
def test_an_outcome_of_weight_0_affects_neither_loss_nor_gradient(kit, case):
    head, u, y = make_head(kit, case, dtype="float64"), tf.constant(numbers(case)), np.array(case.outcomes, "float64")
    weights, harmful, found = np.array([0.0, 0.0, 1.0, 2.0]), y.copy(), []
    harmful[0], harmful[1] = np.nan, case.invalid if case.invalid is not None else -np.inf
    for outcomes in (y, harmful):
        with tf.GradientTape() as tape:
            tape.watch(u)
            output = head(u)
            loss = kit.loss(outcomes, output, sample_weight=weights)
        metric = kit.metrics.NegativeLogLikelihood(dtype="float64")
        metric.update_state(outcomes, output, weights)
        found.append([loss, tape.gradient(loss, u), metric.result()])
    for one, other in zip(*found, strict=True):
        # The order of a sum depends on the threads, so the last bit differs in about one call of a thousand.
        np.testing.assert_allclose(one, other, rtol=1e-14, atol=0)


@pytest.mark.thorough(but=("Bernoulli", "Categorical", "Dirichlet", "Gamma", "Normal", "Poisson", "Uniform", "Wishart"))
@pytest.mark.parametrize("name", WORKING)
@pytest.mark.filterwarnings("ignore")  # deprecation warnings inside TFP
def test_every_family_has_an_outcome_in_its_support(name):
    head = nllfit.heads.DistributionHead(name, 3)
    distribution = distribution_of(head(tf.random.stateless_normal([5, head.params_size()], (1, 2))))
    outcome = law_of(distribution).some_outcome()
    assert outcome.shape == [*distribution.batch_shape, *distribution.event_shape]
    assert np.isfinite(nllfit.negative_log_likelihood(outcome, distribution)).all()


def test_the_unreduced_loss_of_a_masked_outcome_is_0():
    model = make(KITS[0])
    for output in (model(X), nllfit.predict_distribution(model, X)):
        for score in (nllfit.negative_log_likelihood, nllfit.crps):
            losses = score(outcomes(MASK)["lognormal"], output["lognormal"])
            np.testing.assert_array_equal(losses.numpy() != 0, MASK > 0)


@each_keras
def test_weights_of_another_shape_are_refused(kit):
    head = kit.heads.Normal(3)(tf.zeros([8, 6]))
    for weights in (np.ones([8, 3]), np.ones([7])):
        with pytest.raises(ValueError, match=r"`sample_weight` has shape \((8, 3|7,)\), but the outcomes .* \(8,\)"):
            kit.loss(np.zeros([8, 3]), head, sample_weight=weights)


@mainly(tf_keras)
def test_an_invalid_outcome_that_is_not_masked_is_still_refused(kit):
    model, y = make(kit), outcomes(MASK)
    for bad, message in (
        (np.nan, r"`y` \(array 1\) has nan at row 3"),
        (-2, r"(?s)`y` holds, at row 3, .*LogNormal cannot"),
    ):
        y["lognormal"][3, 1] = bad
        with pytest.raises(ValueError, match=message):
            nllfit.fit(model, X, y, verbose=0)


@each_keras
def test_a_weight_of_2_equals_a_repeated_row(kit):
    u, y = np.random.default_rng(0).normal(size=[3, 2]), np.array([[0.5], [1.0], [-2.0]])
    twice = np.array([0, 1, 1, 2])
    results = []
    for rows, weights in ((np.arange(3), np.array([1.0, 2.0, 1.0])), (twice, np.ones(4))):
        params = tf.constant(u[rows])
        with tf.GradientTape() as tape:
            tape.watch(params)
            output = kit.heads.Normal(dtype="float64")(params)
            loss = kit.loss(y[rows], output, sample_weight=weights) * len(rows)  # Keras divides by the number of rows
        metric = kit.metrics.NegativeLogLikelihood(dtype="float64")
        metric.update_state(y[rows], output, weights)
        gradient = tape.gradient(loss, params).numpy()
        results.append([loss, metric.result(), *(gradient[rows == i].sum() for i in range(3))])
    np.testing.assert_allclose(*results, rtol=1e-15)


def sequences(kit, padding=(100.0, np.nan)):
    """Returns three values: a model with a head at each time step; sequences of word indices; their outcomes.

    A time step is padding if its word index is 0. The outcomes of such steps are the numbers in `padding`, repeated.
    """
    kit.keras.utils.set_random_seed(0)
    words = np.tile([[1, 2, 3, 1], [2, 1, 2, 0], [3, 1, 0, 0], [3, 2, 1, 0]], [10, 1])
    y = np.random.default_rng(0).normal(size=[*words.shape, 1]).astype("float32")
    y[words == 0] = np.resize(padding, [np.sum(words == 0), 1])
    layers = kit.keras.layers
    head = kit.heads.Normal()
    return kit.keras.Sequential([layers.Embedding(4, 4, mask_zero=True), layers.Dense(2), head]), words, y


@pytest.mark.thorough
@mainly(keras)
def test_evaluations_ignore_padding(kit):
    model, words, y = sequences(kit)
    losses, counts = np.asarray(kit.losses(np.where(words[..., None], y, 0.0), model(words))), words > 0
    of_one, of_several = (nllfit.evaluate(m, words, y, batch_size=7) for m in (model, nllfit.Ensemble([model, model])))
    for evaluation in (of_one, of_several):
        np.testing.assert_allclose(evaluation.scores["nll"], losses[counts], rtol=1e-5)  # rounding of float32
        assert evaluation.num_rows == counts.sum()
        np.testing.assert_array_equal(evaluation.y, y[counts])
        assert max(evaluation.crps, evaluation.rmse, evaluation.interval_score[0.9]) < 10
        assert np.isfinite(evaluation.calibration_error)
    assert nllfit.compare_scores(of_several, of_one)["crps"].better is None
    model.compile(loss=kit.loss, metrics=[kit.metrics.NegativeLogLikelihood()], jit_compile=False)
    np.testing.assert_allclose(model.evaluate(words, y, verbose=0), [of_one.nll] * 2, rtol=1e-5)


@pytest.mark.thorough  # the tests of `conformalize` and `scale_temperature` cover the same code
def test_recalibration_ignores_padding():
    model, words, y = sequences(KITS[0])
    counts = words > 0
    distribution = nllfit.predict_distribution(model, words)
    pits = np.asarray(nllfit.cdf(distribution, y))[counts]
    calibrated = nllfit.recalibrate(model, words, y)
    of_counted = recalibration._predicted(scipy.stats.norm.ppf(pits[:, 0]))  # the map for steps without padding
    np.testing.assert_allclose(calibrated.predicted[0], of_counted, atol=1e-3)  # the CDFs are in float32
    assert nllfit.evaluate(calibrated, words, y).num_rows == counts.sum()  # the calibrated distributions keep the mask
    conformal = nllfit.conformalize(model, words, y, levels=[0.8])
    low, high = (np.asarray(end, float) for end in nllfit.interval(distribution, 0.8))
    for step, correction in enumerate(conformal.corrections[0.8]):
        rows = counts[:, step]
        errors = np.sort(np.maximum(low - y, y - high)[rows, step, 0])
        assert correction == pytest.approx(errors[int(np.ceil((rows.sum() + 1) * 0.8)) - 1], abs=1e-5)
    with pytest.raises(ValueError, match="needs 19 held-out rows, but there are 10 that are not masked at step 3"):
        nllfit.conformalize(model, words, y, levels=[0.95])


@pytest.mark.thorough
def test_temperature_scaling_ignores_padding():
    _, words, _ = sequences(KITS[0], 0.0)
    layers, rng = tf_keras.layers, np.random.default_rng(1)
    normal = tf_keras.initializers.RandomNormal(stddev=5.0, seed=0)
    heads = layers.Embedding(4, 3, normal, mask_zero=True), nllfit.heads.Categorical(3)
    model = tf_keras.Sequential(heads)
    logits = nllfit.predict_distribution(model, words).logits_parameter().numpy()
    labels = np.where(rng.uniform(size=words.shape) < 0.7, logits.argmax(-1), rng.integers(0, 3, words.shape))
    logits, labels[words == 0] = logits[words > 0], -1
    alone = tf_keras.Sequential([layers.Activation("linear"), nllfit.heads.Categorical(3)])
    expected = nllfit.scale_temperature(alone, logits, labels[words > 0]).temperature
    assert nllfit.scale_temperature(model, words, labels).temperature == pytest.approx(expected, rel=1e-6)
    assert 1 < expected < 19


@pytest.mark.thorough
@mainly(keras)  # one piece of code replaces NaN in the padding for both versions
def test_keras_metrics_do_not_see_nan_in_the_padding(kit):
    model, words, y = sequences(kit, 0.0)
    model.compile("sgd", kit.loss, metrics=["mae"], weighted_metrics=["mse"])
    model(words)
    start, runs = model.get_weights(), []
    for outcomes in (y, np.where(words[..., None] > 0, y, np.nan)):
        batches = tf.data.Dataset.from_tensor_slices((words, outcomes)).batch(8)
        for data in ((words, outcomes), (batches,)):
            model.set_weights(start)
            runs.append(nllfit.fit(model, *data, shuffle=False, verbose=0, compile="graph").history)
            assert np.isfinite(np.concatenate([*map(np.ravel, model.get_weights()), *runs[-1].values()])).all()
    assert runs[:2] == runs[2:]
    assert [len(history) for history in runs] == [3] * 4


@pytest.mark.thorough
def test_an_unweighted_metric_sees_outcomes_of_weight_0():
    x, y, weights = np.ones([4, 1], "float32"), np.array([[np.nan], [1.0], [2.0], [3.0]]), np.array([0, 1, 1, 1])
    for compiled, is_finite in (({"weighted_metrics": ["mae"]}, True), ({"metrics": ["mae"]}, False)):
        model = tf_keras.Sequential([tf_keras.layers.Dense(2), nllfit.heads.Normal()])
        model.compile("adam", nllfit.negative_log_likelihood, **compiled)
        history = nllfit.fit(model, x, y, sample_weight=weights, verbose=0, compile="graph").history
        assert np.isfinite(history["loss"][0])
        assert np.isfinite(history["mae"][0]) == is_finite


@pytest.mark.parametrize(("head", "outcome"), [(nllfit.heads.Normal, np.nan), (nllfit.heads.Poisson, -1.0)])
def test_an_unweighted_metric_of_a_distribution_refuses_impossible_outcomes_of_weight_0(head, outcome):
    y, weights = np.array([[outcome], [1.0], [2.0], [3.0]]), np.array([0, 1, 1, 1])
    model = tf_keras.Sequential([tf_keras.layers.Dense(head().params_size(), input_shape=(1,)), head()])
    model.compile("adam", nllfit.negative_log_likelihood, metrics=[nllfit.metrics.NegativeLogLikelihood()])
    with pytest.raises(ValueError, match=r"row 0 \(a row of weight 0 counts in `metrics` of `compile`"):
        nllfit.fit(model, np.ones([4, 1], "float32"), y, sample_weight=weights, verbose=0)


def test_nan_in_the_padding_is_refused_for_other_losses():
    model = tf_keras.Sequential([tf_keras.layers.Dense(2, input_shape=(2,)), nllfit.heads.Normal()])
    model.compile("adam", lambda y, distribution: -distribution.log_prob(y))
    with pytest.raises(ValueError, match="`y` has nan at row 1"):
        nllfit.fit(model, X[:2, 0], np.array([[0.0], [np.nan]]), sample_weight=np.array([1.0, 0.0]), verbose=0)
