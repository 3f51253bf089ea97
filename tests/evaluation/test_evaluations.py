"""Evaluations: scores against scikit-learn and SciPy, calibration of correct and wrong models, and error messages."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras
from scipy import special, stats
from sklearn import metrics
from sklearn.calibration import calibration_curve

import nllfit
from nllfit import Ensemble, compare_scores, evaluate, predict_distribution
from nllfit.evaluation import predicted_rows
from nllfit.evaluation.score_comparison import ScoreDifference
from tests.keras_versions import KITS, mainly

tfd = tfp.distributions

RNG = np.random.default_rng(0)
LOC, SCALE = RNG.normal(size=[300, 1]), RNG.uniform(0.5, 2.0, [300, 1])
Y = LOC + SCALE * RNG.normal(size=[300, 1])


def normal(loc=LOC, scale=SCALE):
    return tfd.Independent(tfd.Normal(tf.constant(loc), scale, validate_args=True), 1, validate_args=True)


def test_scores_of_numbers_match_scikit_learn_and_scipy():
    found = evaluate(normal(), y=Y, levels=(0.5, 0.9))
    reference = stats.norm(LOC, SCALE)
    np.testing.assert_allclose(found.scores["nll"], -reference.logpdf(Y)[:, 0], rtol=1e-12)
    assert found.nll == pytest.approx(-reference.logpdf(Y).mean(), rel=1e-12)
    assert found.nll_se == pytest.approx(stats.sem(reference.logpdf(Y)[:, 0]), rel=1e-12)
    assert found.rmse == pytest.approx(metrics.root_mean_squared_error(Y, LOC), rel=1e-12)
    assert found.mae == pytest.approx(metrics.mean_absolute_error(Y, LOC), rel=1e-12)
    assert found.sharpness == pytest.approx(np.sqrt(np.mean(SCALE**2)), rel=1e-12)
    np.testing.assert_allclose(found.pit, reference.cdf(Y), rtol=1e-12)
    np.testing.assert_array_equal(found.scores["crps"], nllfit.crps(Y, normal()))
    assert found.crps == np.mean(found.scores["crps"])
    for level in (0.5, 0.9):
        low, high = reference.interval(level)
        assert found.coverage[level] == np.mean((low <= Y) & (high >= Y))
        assert found.width[level] == pytest.approx(np.mean(high - low), rel=1e-12)
        # The interval score is 2 / alpha times the sum of the pinball losses of both ends.
        alpha = 1 - level
        pinball = metrics.mean_pinball_loss(Y, low, alpha=alpha / 2) + metrics.mean_pinball_loss(
            Y, high, alpha=1 - alpha / 2
        )
        assert found.interval_score[level] == pytest.approx(2 / alpha * pinball, rel=1e-12)
        assert np.mean(found.scores[f"interval_score_{level}"]) == pytest.approx(found.interval_score[level])
    grid = np.linspace(0, 1, 20_001)
    shares = np.searchsorted(np.sort(found.pit[:, 0]), grid, side="right") / 300
    assert found.calibration_error == pytest.approx(np.mean(np.abs(shares - grid)), abs=1e-4)  # the error of the grid
    assert found.accuracy is found.brier is found.class_calibration_error is None


def probabilities(num_rows=500, num_classes=4):
    logits = np.random.default_rng(1).normal(size=[num_rows, num_classes]) * 2
    labels = np.random.default_rng(2).integers(0, num_classes, num_rows)
    return logits, np.exp(logits) / np.exp(logits).sum(-1, keepdims=True), labels


@pytest.mark.parametrize("one_hot", [False, True])
def test_scores_of_classes_match_scikit_learn(one_hot):
    logits, probs, labels = probabilities()
    y = np.eye(4)[labels] if one_hot else labels
    found = evaluate((tfd.OneHotCategorical if one_hot else tfd.Categorical)(tf.constant(logits)), y=y)
    assert found.nll == pytest.approx(metrics.log_loss(labels, probs), rel=1e-12)
    assert found.accuracy == metrics.accuracy_score(labels, probs.argmax(-1))
    assert found.brier == pytest.approx(metrics.brier_score_loss(labels, probs), rel=1e-12)
    assert found.sharpness == pytest.approx(stats.entropy(probs, axis=-1).mean(), rel=1e-12)
    right = probs.argmax(-1) == labels
    assert found.calibration_error == pytest.approx(ece(probs.max(-1), right), rel=1e-12)
    by_class = [ece(probs[:, k], labels == k) for k in range(4)]
    assert found.class_calibration_error == pytest.approx(np.mean(by_class), rel=1e-12)
    assert found.rmse is found.pit is None
    assert found.coverage == {}


def ece(probs, happened, num_bins=15):
    shares, means = calibration_curve(happened, probs, n_bins=num_bins)
    counts = np.histogram(probs, np.linspace(0, 1, num_bins + 1))[0]
    return np.sum(counts[counts > 0] * np.abs(shares - means)) / len(probs)


def test_scores_of_events_match_scikit_learn():
    logits, y = np.random.default_rng(0).normal(size=[400, 1]), np.random.default_rng(1).integers(0, 2, [400, 1])
    probs = 1 / (1 + np.exp(-logits))
    found = evaluate(tfd.Independent(tfd.Bernoulli(tf.constant(logits)), 1), y=y)
    assert found.nll == pytest.approx(metrics.log_loss(y, probs), rel=1e-12)
    assert found.brier == pytest.approx(metrics.brier_score_loss(y, probs[:, 0]), rel=1e-12)
    assert found.accuracy == metrics.accuracy_score(y, probs > 0.5)
    assert found.calibration_error == pytest.approx(
        ece(np.maximum(probs, 1 - probs)[:, 0], (probs > 0.5)[:, 0] == y[:, 0]), rel=1e-12
    )


@pytest.mark.parametrize("head", ["Bernoulli", "Categorical", "OneHotCategorical"])
def test_the_brier_score_of_two_classes_is_between_0_and_1_for_every_head(head):
    logits, y = np.random.default_rng(0).normal(size=[50, 2]), np.random.default_rng(1).integers(0, 2, 50)
    probs = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    heads = {
        "Bernoulli": (tfd.Bernoulli(tf.constant(logits[:, 1] - logits[:, 0])), y),
        "Categorical": (tfd.Categorical(tf.constant(logits)), y),
        "OneHotCategorical": (tfd.OneHotCategorical(tf.constant(logits)), np.eye(2)[y]),
    }
    distribution, outcomes = heads[head]
    found = evaluate(distribution, y=outcomes)
    assert found.brier == pytest.approx(metrics.brier_score_loss(y, probs[:, 1]), rel=1e-12)
    # `probs` has a column for each of the two classes. scikit-learn then returns the mean over the two columns.
    assert found.brier == pytest.approx(metrics.brier_score_loss(y, probs), rel=1e-12)
    np.testing.assert_allclose(found.scores["brier"], (probs[:, 1] - y) ** 2, rtol=1e-12)


def true_and_wrong():
    """Returns a dict. Its values are pairs of distributions of the same outcomes: a true one and a wrong one."""
    params = np.random.default_rng(0).normal(size=[4000, 6])
    mixture = nllfit.MixtureFamily("Normal", 2, 1).distribution(params)
    count = nllfit.Family("NegativeBinomial", 1).distribution(params[:, :2])
    return {
        "Normal": (normal(params[:, :1], np.exp(params[:, 1:2])), normal(params[:, :1], 3 * np.exp(params[:, 1:2]))),
        "mixture": (mixture, normal(mixture.mean(), mixture.stddev() / 2)),
        "count": (count, tfd.Independent(tfd.Poisson(count.mean() + 1e-3), 1)),
    }


PAIRS = true_and_wrong()


@pytest.mark.thorough(but="Normal")
@pytest.mark.parametrize("name", PAIRS)
def test_only_a_true_model_has_uniform_pits(name):
    true, wrong = PAIRS[name]
    y = true.sample(seed=(1, 2))
    good, bad = evaluate(true, y=y, levels=(0.5, 0.9)), evaluate(wrong, y=y, levels=(0.9,))
    rejected = [np.sum(stats.kstest(e.pit.reshape(200, 20), "uniform", axis=-1).pvalue < 0.05) for e in (good, bad)]
    low, high = stats.binom(200, 0.05).interval(0.999)
    assert low <= rejected[0] <= high < rejected[1]
    assert good.calibration_error < 3 * 0.31 / np.sqrt(4000) < bad.calibration_error
    if name != "count":  # intervals of counts have at least their nominal probability
        for level, share in good.coverage.items():
            assert abs(share - level) < 4 * np.sqrt(level * (1 - level) / 4000)
    assert compare_scores(good, bad)["nll"].better == "a"


def test_a_true_classifier_is_calibrated_and_an_overconfident_one_is_not():
    logits = tf.constant(np.random.default_rng(0).normal(size=[20_000, 5]))
    y = tfd.Categorical(logits).sample(seed=(1, 2))
    good, bad = evaluate(tfd.Categorical(logits), y=y), evaluate(tfd.Categorical(3 * logits), y=y)
    # If the model is correct, a bin with n_k rows has an error of sqrt(p (1 - p) / n_k), at most 0.5 / sqrt(n_k). Over
    # 15 bins the mean of these errors is less than 0.5 sqrt(15 / n).
    assert good.calibration_error < 0.5 * np.sqrt(15 / 20_000) < 0.1 < bad.calibration_error
    assert good.class_calibration_error < bad.class_calibration_error / 5
    assert good.nll == pytest.approx(good.sharpness, abs=4 * good.nll_se)
    assert good.accuracy == bad.accuracy


@mainly(tf_keras)
def test_models_datasets_ensembles_and_distributions_can_be_evaluated(kit):
    x = np.random.default_rng(0).normal(size=[40, 3]).astype("float32")
    y = x[:, :1] + 1
    models = [kit.keras.Sequential([kit.keras.layers.Dense(2), kit.heads.Normal()]) for _ in range(2)]
    for model in (models[0], Ensemble(models)):
        expected = evaluate(predict_distribution(model, x), y=y, levels=(0.9,)).to_dict()
        assert evaluate(model, x, y, levels=(0.9,)).to_dict() == expected
        data = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(40).batch(16)
        shuffled = evaluate(model, data, levels=()).to_dict()
        assert shuffled["nll"] == pytest.approx(expected["nll"], rel=1e-6)  # a float32 sum depends on the row order
        assert shuffled["rmse"] == pytest.approx(expected["rmse"], rel=1e-6)


HEADS = {
    "Normal": (lambda h: h.Normal(2), (2,)),
    "shared": (lambda h: h.Normal(2, shared="scale"), (2,)),
    "Mixture": (lambda h: h.Mixture("Normal", 3, 2), (2,)),
    "MultivariateNormalTriL": (lambda h: h.MultivariateNormalTriL(2), (2,)),
    "Poisson": (lambda h: h.Poisson((2, 2)), (2, 2)),
    "Cauchy": (lambda h: h.DistributionHead("Cauchy"), (1,)),
}


@pytest.mark.thorough(but="shared")
@pytest.mark.parametrize("name", HEADS)
def test_scores_do_not_depend_on_the_block_size(name, monkeypatch):
    make, event = HEADS[name]
    head = make(nllfit.heads)
    distribution = head(tf.random.stateless_normal([5, head.family.params_size], (1, 2))).tensor_distribution
    y = distribution.sample(seed=(3, 4)).numpy()
    whole = evaluate(distribution, y=y)
    monkeypatch.setattr(predicted_rows, "row_blocks", lambda *_: [slice(0, 3), slice(3, 6)])
    parts = evaluate(distribution, y=y)
    assert parts.to_dict().keys() == whole.to_dict().keys()
    for score, values in whole.scores.items():
        assert values.shape == (5,)
        # For vectors, the CRPS is an energy score from random draws. The draws for a row depend on the row's block.
        is_of_draws = score == "crps" and name == "MultivariateNormalTriL"
        np.testing.assert_allclose(parts.scores[score], values, **({"atol": 0.5} if is_of_draws else {"rtol": 1e-5}))
    for name in ("coverage", "width", "interval_score"):
        assert getattr(parts, name) == pytest.approx(getattr(whole, name), rel=1e-5)
    assert json.loads(json.dumps(whole.to_dict(), allow_nan=False)) == whole.to_dict()
    if whole.pit is not None:
        assert whole.pit.shape == (5, *event)
    assert str(whole.num_rows) in whole.summary()


def test_a_sequence_has_a_score_for_each_row():
    distribution = normal(LOC.reshape(60, 5, 1), SCALE.reshape(60, 5, 1))
    found = evaluate(distribution, y=Y.reshape(60, 5, 1))
    np.testing.assert_allclose(found.scores["nll"], -stats.norm(LOC, SCALE).logpdf(Y).reshape(60, 5).mean(-1))
    assert found.nll == pytest.approx(evaluate(normal(), y=Y).nll)
    assert found.nll_se == pytest.approx(stats.sem(found.scores["nll"]))


@pytest.mark.thorough
def test_angles_may_be_in_any_turn():
    rng = np.random.default_rng(0)
    loc, errors = rng.uniform(-np.pi, np.pi, 40), rng.vonmises(0.0, 2.0, 40)
    found = evaluate(tfd.VonMises(loc, 2.0), y=np.mod(loc + errors, 2 * np.pi), levels=(0.5,))
    np.testing.assert_allclose(found.pit, stats.vonmises(2.0).cdf(errors), rtol=1e-6)
    half = stats.vonmises(2.0).ppf(0.75)
    assert found.coverage[0.5] == np.mean(np.abs(errors) < half)
    assert found.rmse == pytest.approx(np.sqrt(np.mean(errors**2)))


@pytest.mark.thorough
def test_models_of_angles_can_be_compared():
    y = np.array([3.1, -3.1, 3.0, 9.0])
    a, b = (evaluate(tfd.VonMises(np.full(4, loc), 2.0), y=y, levels=()) for loc in (3.0, -2.5))
    np.testing.assert_array_equal(a.y, y)
    assert compare_scores(a, b)["nll"].difference == pytest.approx(np.mean(2 * (np.cos(y + 2.5) - np.cos(y - 3.0))))


def test_a_mixture_of_angles_predicts_their_direction_and_has_no_cdf():
    angles = tfd.VonMises(tf.constant([[[3.0], [-3.0]]] * 2), 2.0)
    mixture = tfd.MixtureSameFamily(tfd.Categorical(tf.zeros([2, 2])), tfd.Independent(angles, 1))
    found = evaluate(mixture, y=[[3.1], [-3.1]])  # both are 0.04 away from pi
    assert found.rmse == pytest.approx(np.pi - 3.1, rel=1e-5)
    assert (found.crps, found.pit, found.coverage) == (None, None, {})
    with pytest.raises(NotImplementedError, match="is a mixture of angles"):
        nllfit.cdf(mixture, 0.0)


def test_components_of_a_mixture_of_classes_may_be_common_to_all_rows():
    rng = np.random.default_rng(0)
    weights, logits = rng.dirichlet(np.ones(3), 3), rng.normal(size=[3, 3])
    mixture = tfd.MixtureSameFamily(tfd.Categorical(probs=weights), tfd.Categorical(logits=logits))
    found = evaluate(mixture, y=[0, 1, 2])
    np.testing.assert_allclose(found.probabilities, weights @ special.softmax(logits, 1), rtol=1e-6)


def test_the_summary_and_the_dict_contain_the_scores():
    found = evaluate(normal(), y=Y, levels=(0.9,))
    numbers = found.to_dict()
    assert numbers["coverage"] == {"0.9": found.coverage[0.9]}
    assert "accuracy" not in numbers
    table = found.summary()
    for text in ("on 300 rows", f"{found.nll:.5g} +- {found.nll_se:.2g}", "90%", f"{found.coverage[0.9]:.4f}", "RMSE"):
        assert text in table
    assert "Brier score" in evaluate(tfd.Bernoulli(tf.zeros([2])), y=[0, 1]).summary()


def test_score_comparisons_match_a_paired_t_test():
    a, b = evaluate(normal(), y=Y), evaluate(normal(scale=1.3 * SCALE), y=Y)
    found = compare_scores(a, b)
    for name, row in found.items():
        reference = stats.ttest_rel(a.scores[name], b.scores[name])
        if np.isfinite(reference.statistic):
            assert row.difference / row.standard_error == pytest.approx(reference.statistic, rel=1e-9)
            assert row.p_value == pytest.approx(reference.pvalue, rel=1e-9)
    assert found["squared_error"].difference == 0
    assert found["squared_error"].better is None
    assert compare_scores(b, a)["nll"].difference == -found["nll"].difference
    infinite = [evaluate(tfd.StudentT(0.4, loc, tf.ones([len(Y)])), y=np.ravel(Y), levels=()) for loc in (0.0, 0.5)]
    assert compare_scores(*infinite)["crps"].better is None  # the difference of two infinite scores
    assert found.to_dict()["nll"]["p_value"] == found["nll"].p_value
    assert "no significant difference" in found.summary()
    with pytest.raises(ValueError, match="of different outcomes"):
        compare_scores(a, evaluate(normal(), y=Y[::-1], levels=()))


@pytest.mark.parametrize(
    ("difference", "p_value", "better"), [(-1.0, 0.05, "a"), (1.0, 0.05, "b"), (-1.0, 0.051, None), (0.0, np.nan, None)]
)
def test_a_model_is_better_if_the_p_value_is_at_most_5_percent(difference, p_value, better):
    assert ScoreDifference(difference, 0.5, p_value).better == better


@pytest.mark.thorough
def test_equal_models_differ_significantly_in_5_percent_of_samples():
    found, y = evaluate(normal(), y=Y), np.random.default_rng(0).normal(size=[40, 50])

    def scored(loc, sample):
        return dataclasses.replace(found, scores={"nll": -stats.norm(loc).logpdf(sample)})

    told = [compare_scores(scored(-0.3, sample), scored(0.3, sample))["nll"].better for sample in y]
    assert sum(better is not None for better in told) <= stats.binom(len(y), 0.05).ppf(0.999)


def test_bad_input_is_refused():
    kit = KITS[0]
    x = np.zeros([3, 2], "float32")
    model = kit.keras.Sequential([kit.keras.layers.Dense(2), kit.heads.Normal()])
    y = np.zeros([3, 1], "float32")
    with pytest.raises(TypeError, match="end the model in a head"):
        evaluate(kit.keras.Sequential([kit.keras.layers.Dense(2)]), x, y)
    with pytest.raises(TypeError, match="not a Keras model"):
        evaluate("model", x, y)
    with pytest.raises(ValueError, match=r"`y` has shape \(3, 2\), but .* \(3, 1\)"):
        evaluate(model, x, np.repeat(y, 2, 1))
    with pytest.raises(ValueError, match=r"`y` has shape \(2, 1\)"):
        evaluate(model, x, y[:2])
    with pytest.raises(ValueError, match=r"at row 1, .*not finite"):
        evaluate(model, x, np.array([[0.0], [np.nan], [1.0]]))
    for checked in (True, False):
        amounts = tfd.Gamma(tf.ones([5]), 1.0, validate_args=checked)
        with pytest.raises(ValueError, match=r"`y` holds, at row 3, -1.0, which Gamma cannot have"):
            evaluate(amounts, y=[1.0, 2.0, 3.0, -1.0, 1.0])
    with pytest.raises(ValueError, match="`y` has 1 rows"):
        evaluate(model, x[:1], y[:1])
    with pytest.raises(ValueError, match="`y` is missing"):
        evaluate(model, x)
    with pytest.raises(ValueError, match="`y` is missing"):
        evaluate(model, tf.data.Dataset.from_tensor_slices(x).batch(2))
    for single in (tf.data.Dataset.from_tensor_slices((x, y)), tf.data.Dataset.from_tensor_slices((x, y[:, 0]))):
        with pytest.raises(ValueError, match=r"`y` .*: give a dataset of batches, as its `\.batch\(32\)` makes them"):
            evaluate(model, single)
    with pytest.raises(ValueError, match="`x` is missing"):
        evaluate(model, y=y)
    with pytest.raises(ValueError, match="needs no `x`"):
        evaluate(normal(), Y, Y)
    with pytest.raises(ValueError, match=r"of batch \[\]"):
        evaluate(tfd.Normal(0.0, 1.0), y=[1.0, 2.0])
    with pytest.raises(ValueError, match="`levels` is"):
        evaluate(normal(), y=Y, levels=(90,))
    with pytest.raises(ValueError, match="Bernoulli cannot have: the value cannot contain fractional components"):
        evaluate(tfd.Bernoulli(tf.zeros([2]), dtype=tf.float32), y=[0.9, 0.1])
    inputs = kit.keras.Input([2])
    twice = kit.keras.Model(inputs, [kit.heads.Poisson()(inputs[:, :1]), kit.heads.Poisson()(inputs[:, 1:])])
    with pytest.raises(ValueError, match=r"several\. Evaluate one output at a time"):
        evaluate(twice, x, y)
    assert evaluate(predict_distribution(twice, x)[1], y=y).nll == pytest.approx(1.0)


@pytest.mark.parametrize("row", [0, 3, 4])
def test_the_row_of_an_impossible_outcome_is_named(row):
    y = np.ones([5, 1], "float32")
    y[row] = -1
    with pytest.raises(ValueError, match=f"at row {row}, "):
        evaluate(tfd.Independent(tfd.Gamma(tf.ones([5, 1]), 1.0), 1), y=y)


def test_levels_that_agree_in_six_digits_are_kept_apart():
    found = evaluate(tfd.Normal(tf.zeros([3], tf.float64), 1.0), y=[0.0, 1.0, 2.0], levels=(0.95, 0.9500001))
    for level, width in found.width.items():
        assert width == pytest.approx(2 * stats.norm.ppf((1 + level) / 2), rel=1e-12)
    assert list(found.to_dict()["width"]) == ["0.95", "0.9500001"]


def test_models_in_float32_and_float64_have_the_same_outcomes(rng):
    y = rng.normal(size=20)
    single = evaluate(tfd.Normal(tf.zeros([20]), 1.0), y=y)
    double = evaluate(tfd.Normal(tf.zeros([20], tf.float64), np.float64(2.0)), y=y)
    found = compare_scores(single, double)["nll"]
    expected = stats.ttest_rel(-stats.norm(0, 1).logpdf(y), -stats.norm(0, 2).logpdf(y))
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-4)
    with pytest.raises(ValueError, match="different outcomes"):
        compare_scores(single, evaluate(tfd.Normal(tf.zeros([20], tf.float64), np.float64(2.0)), y=y + 1e-5))
