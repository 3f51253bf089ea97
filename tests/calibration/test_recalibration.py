"""Recalibration corrects wrong spreads, biases and shapes.

The density, CDF, quantiles, moments and samples of a recalibrated distribution agree with each other.
"""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import integrate, interpolate, stats

import nllfit
from nllfit import Ensemble, Recalibrated, compare_scores, evaluate, predict_distribution, recalibrate
from tests.keras_versions import KITS

tfd = tfp.distributions

RNG = np.random.default_rng(0)
X = RNG.normal(size=[2000, 2]).astype("float32")
NOISE = RNG.standard_t(4, size=2000)
Y = (X[:, :1] + 0.5 * NOISE[:, None]).astype("float32")
FIT, TEST = slice(0, 1000), slice(1000, 2000)


def wrong(kit, scale=1.0, bias=0.3):
    """A model with a Normal head of the wrong location and spread for `Y`."""
    model = kit.keras.Sequential([kit.keras.layers.Dense(1), kit.heads.Normal(scale=scale)])
    model(X[:1])
    model.set_weights([np.array([[1.0], [0.0]]), np.array([bias])])
    return model


@pytest.mark.thorough
def test_a_wrong_model_becomes_calibrated():
    model = wrong(KITS[1])
    recalibrated = recalibrate(model, X[FIT], Y[FIT])
    before, after = (evaluate(m, X[TEST], Y[TEST], levels=()) for m in (model, recalibrated))
    assert stats.kstest(before.pit[:, 0], "uniform").pvalue < 1e-9
    # The limit is the 1% point of Kolmogorov's distribution, 1.63, times sqrt(2), because the map was estimated from as
    # many rows as are tested.
    assert stats.kstest(after.pit[:, 0], "uniform").statistic < np.sqrt(2) * 1.63 / np.sqrt(1000)
    assert after.calibration_error < before.calibration_error / 5
    assert compare_scores(after, before)["nll"].better == "a"
    entropy = stats.t(4, scale=0.5).entropy()
    assert after.nll == pytest.approx(entropy, abs=0.03 + 4 * after.nll_se)  # errors of the map cost about 0.01 nats
    assert after.rmse < before.rmse  # the map removes the bias
    called = recalibrated(X[TEST])
    assert called.dtype == tf.float32
    np.testing.assert_allclose(
        nllfit.negative_log_likelihood(Y[TEST], nllfit.head_outputs.distribution_of(called)),
        after.scores["nll"],
        rtol=1e-5,
    )


@pytest.mark.thorough  # `test_conformal.py` also tests the code of these distributions
def test_a_recalibrated_distribution_is_consistent():
    recalibrated = recalibrate(wrong(KITS[0]), X[FIT], Y[FIT])
    one = predict_distribution(recalibrated, X[:1])
    grid = np.linspace(-20, 20, 40_001)
    density = np.exp(one.log_prob(grid[:, None, None].astype("float32")))[:, 0]
    assert integrate.simpson(density, x=grid) == pytest.approx(1, abs=1e-4)  # rounding of float32
    levels = np.array([1e-6, 0.01, 0.3, 0.5, 0.9, 1 - 1e-4])
    ends = nllfit.quantile(one, levels)
    np.testing.assert_allclose(nllfit.cdf(one, ends)[:, 0, 0], levels, rtol=1e-4)
    mean = integrate.simpson(density * grid, x=grid)
    variance = integrate.simpson(density * (grid - mean) ** 2, x=grid)
    assert float(one.mean()[0, 0]) == pytest.approx(mean, abs=0.01 * np.sqrt(variance))
    assert float(one.stddev()[0, 0]) == pytest.approx(np.sqrt(variance), rel=0.01)
    sample = one.sample(1000, seed=(1, 2)).numpy()[:, 0, 0]
    assert stats.kstest(sample, lambda y: nllfit.cdf(one, y[:, None, None]).numpy()[:, 0, 0]).pvalue > 1e-3
    assert np.all(np.isfinite(one.log_prob([[[-1e6]], [[1e6]]])))  # outcomes far in the tails


@pytest.mark.thorough
def test_a_calibrated_model_loses_little(rng):
    y = X[:, :1] + rng.normal(size=[2000, 1])
    model = wrong(KITS[0], bias=0.0)
    models = model, recalibrate(model, X[FIT], y[FIT])
    before, after = (-predict_distribution(m, X[TEST]).log_prob(y[TEST].astype("float32")) for m in models)
    np.testing.assert_allclose(stats.norm.cdf(models[1].observed[[0, -1]]) * 1001, [1, 1000])  # the extreme ranks
    loss, error = np.mean(after - before), stats.sem(after - before)
    # A spline through 31 points, learned from n = 1000 rows, costs about 31 / (2 n) = 0.016 nats. The limit is
    # twice this cost.
    assert -3 * error < loss < 0.03 + 3 * error


def test_the_map_has_the_slopes_of_scipys_monotone_cubic():
    predicted, observed = [-1.0, 0.2, 2.0], [-0.5, 0.1, 1.0]  # the map has two more knots: -40 and 40
    slopes = interpolate.PchipInterpolator([-40, *predicted, 40], [-40, *observed, 40]).derivative()(predicted)
    mapped = predict_distribution(Recalibrated(wrong(KITS[0], bias=0.0), [predicted], observed), np.zeros([1, 2]))
    log_prob = mapped.log_prob(np.reshape(predicted, [3, 1, 1]).astype("float32"))[:, 0]
    np.testing.assert_allclose(log_prob, stats.norm.logpdf(observed) + np.log(slopes), rtol=1e-5)


@pytest.mark.thorough
def test_few_rows_do_not_harm_a_calibrated_model():
    y = (X[:, :1] + np.random.default_rng(5).normal(size=[2000, 1])).astype("float32")
    model = wrong(KITS[0], bias=0.0)
    truth = predict_distribution(model, X[FIT]).log_prob(y[FIT]).numpy()
    losses = []
    for first in range(1000, 1400, 100):
        rows = slice(first, first + 100)
        recalibrated = recalibrate(model, X[rows], y[rows])
        losses.append(np.mean(truth - predict_distribution(recalibrated, X[FIT]).log_prob(y[FIT])))
    # Three of the four maps are the identity, so the mean loss is 0.004 nats. If all four maps were splines, the mean
    # loss would be 0.08 nats. If all four were linear, with two parameters each, the mean loss would be about
    # 2 / (2 n) = 0.01 nats.
    assert np.mean(losses) < 0.01


@pytest.mark.thorough
@pytest.mark.parametrize("factor", [10.0, 0.1])
def test_a_spread_may_be_wrong_by_a_factor_of_ten(factor, rng):
    y = X[:, :1] + 0.5 * rng.normal(size=[2000, 1])
    model = wrong(KITS[0], scale=0.5 * factor, bias=0.0)
    after = predict_distribution(recalibrate(model, X[FIT], y[FIT]), X[TEST])
    nll = -np.asarray(after.log_prob(y[TEST].astype("float32")), float)
    # Errors of the map cost less than 0.05 nats.
    assert nll.mean() == pytest.approx(stats.norm(0, 0.5).entropy(), abs=0.05 + 4 * stats.sem(nll))
    np.testing.assert_allclose(after[:1].stddev(), 0.5, rtol=0.1)
    pit = nllfit.cdf(after, y[TEST]).numpy()[:, 0]
    assert stats.kstest(pit, "uniform").statistic < np.sqrt(2) * 1.63 / np.sqrt(1000)  # Kolmogorov's 1% point


@pytest.mark.thorough
def test_each_element_has_its_own_map_and_steps_share_one(rng):
    model = KITS[0].keras.Sequential([KITS[0].keras.layers.Activation("linear"), KITS[0].heads.Normal(2, scale=1.0)])
    y = X + np.array([0.2, 3.0]) * rng.normal(size=X.shape)
    recalibrated = recalibrate(model, X, y)
    spread = predict_distribution(recalibrated, X[:3]).stddev()
    np.testing.assert_allclose(spread, [[0.2, 3.0]] * 3, rtol=0.1)
    sequence = recalibrate(model, X.reshape(400, 5, 2), y.reshape(400, 5, 2))
    np.testing.assert_array_equal(sequence.predicted, recalibrated.predicted)
    assert predict_distribution(sequence, X.reshape(400, 5, 2)[:3]).batch_shape == (3, 5)


@pytest.mark.thorough
def test_ensembles_and_recalibrated_models_can_be_recalibrated():
    ensemble = Ensemble([wrong(KITS[0], bias=bias) for bias in (-0.3, 0, 0.1, 0.2, 0.3)])
    recalibrated = recalibrate(ensemble, X[:40], Y[:40])
    again = recalibrate(recalibrated, X[:40], Y[:40])
    np.testing.assert_allclose(again.predicted, again.observed[None], atol=0.2)  # the second map is near the identity


@pytest.mark.thorough
def test_a_recalibrated_density_is_the_same_under_xla():
    model = recalibrate(wrong(KITS[0]), X[:40], Y[:40])
    in_graph = tf.function(lambda x, y: model(x).log_prob(y), autograph=False, jit_compile=True)
    np.testing.assert_allclose(in_graph(X[:5], Y[:5]), model(X[:5]).log_prob(Y[:5]), rtol=1e-5)


@pytest.mark.thorough
def test_amounts_stay_amounts():
    model = KITS[0].keras.Sequential([KITS[0].keras.layers.Dense(2), KITS[0].heads.Gamma()])
    recalibrated = recalibrate(model, X[:200], np.abs(Y[:200]))
    distribution = predict_distribution(recalibrated, X[:200])
    assert np.all(nllfit.quantile(distribution, 1e-6) >= 0)
    assert np.all(nllfit.cdf(distribution, -1.0) == 0)
    with pytest.raises(ValueError, match="at row 0"):
        evaluate(recalibrated, X[:2], np.full([2, 1], -1.0))


@pytest.mark.thorough
@pytest.mark.parametrize("kind", [tfd.Uniform, tfd.Pareto])
def test_a_mixture_whose_components_have_other_supports_can_be_recalibrated(kind):
    """The identity map of Normal scores leaves the quantiles of the mixture unchanged."""
    components = kind(np.tile([1.0, 2.0], [2, 1]), np.tile([3.0, 5.0], [2, 1]))
    mixture = tfd.MixtureSameFamily(tfd.Categorical(np.zeros([2, 2])), components)
    scores = np.linspace(-3, 3, 7)
    found = Recalibrated(None, scores, scores).calibrate(mixture)
    expected = nllfit.quantile(mixture, 0.9)
    np.testing.assert_allclose(nllfit.quantile(found, 0.9), expected, rtol=1e-9)


def test_few_or_constant_rows_leave_a_valid_map():
    model = wrong(KITS[0])
    for y in (Y[:2], np.full([5, 1], 20.0), X[:3, :1] + 0.3):
        recalibrated = recalibrate(model, X[: len(y)], y)
        assert np.all(np.isfinite(predict_distribution(recalibrated, X[:20]).log_prob(Y[:20])))


@pytest.mark.thorough
def test_unsuitable_models_cannot_be_recalibrated():
    kit = KITS[1]
    layers, heads = kit.keras.layers, kit.heads
    for head, y, why in (
        (heads.Poisson(), np.ones([4, 1]), "are counts, whose intervals are for `nllfit.conformalize`"),
        (heads.Bernoulli(), np.ones([4, 1]), "are classes, whose probabilities"),
        (heads.MultivariateNormalTriL(2), np.ones([4, 2]), "depend on each other"),
        (heads.Mixture("Normal", 2, 2), np.ones([4, 2]), "depend on each other"),
    ):
        model = kit.keras.Sequential([layers.Dense(head.params_size()), head])
        with pytest.raises(ValueError, match=why):
            recalibrate(model, X[:4], y)
    model = wrong(kit)
    with pytest.raises(TypeError, match="end the model in a head"):
        recalibrate(kit.keras.Sequential([layers.Dense(2)]), X, Y)
    with pytest.raises(ValueError, match=r"`y` has shape \(3, 1\)"):
        recalibrate(model, X, Y[:3])
    with pytest.raises(ValueError, match="`y` has 1 rows"):
        recalibrate(model, X[:1], Y[:1])
    for predicted in ([[0.5, 0.5]], [[-41.0, 0.5]], [[0.5, 40.0]], [[0.5, np.nan]]):
        with pytest.raises(ValueError, match=r"`predicted` is .*: give scores in ascending order"):
            Recalibrated(model, predicted, [0.2, 0.5])
    with pytest.raises(ValueError, match=r"have shapes \(1, 2\) and \(3,\)"):
        Recalibrated(model, [[0.2, 0.5]], [0.2, 0.5, 0.6])
    with pytest.raises(ValueError, match=r"is for outcomes of shape \(2,\), but the model's have \(1,\)"):
        Recalibrated(model, [[0.2], [0.5]], [0.2])(X)
