"""Conformal intervals: the formula for their ends, and the exact distribution of their coverage for wrong models."""

import keras
import numpy as np
import pytest
import tensorflow_probability as tfp
import tf_keras
from scipy import integrate, stats

import nllfit
from nllfit import Conformalized, Ensemble, conformalize, evaluate, predict_distribution
from tests.keras_versions import KITS, mainly

tfd = tfp.distributions

LEVELS = (0.5, 0.8, 0.9, 0.95)


def samples(n, seed=0):
    """Outcomes with skewed errors whose spread depends on `x`; the model is a Normal(x, 1)."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=[n, 1]).astype("float32")
    return x, (x + (0.5 + np.abs(x)) * (rng.gamma(2.0, size=[n, 1]) - 1)).astype("float32")


def normal(kit, scale=1.0, event=1):
    return kit.keras.Sequential([kit.keras.layers.Activation("linear"), kit.heads.Normal(event, scale=scale)])


def intervals(distribution, levels=LEVELS):
    """The lower and the upper ends of central intervals, each `[levels, *batch, *event]`."""
    levels = np.array(levels)
    return np.split(np.asarray(nllfit.quantile(distribution, np.append(1 - levels, 1 + levels) / 2)), 2)


@mainly(keras)
def test_interval_ends_match_the_formula_of_romano(kit):
    x, y = samples(100)
    model = normal(kit)
    conformal = conformalize(model, x, y)
    found = predict_distribution(conformal, x)
    for level in LEVELS:
        reach = stats.norm.ppf((1 + level) / 2)
        errors = np.sort(np.maximum(x - reach - y, y - x - reach), axis=0)
        correction = errors[int(np.ceil(101 * level)) - 1, 0]
        assert conformal.corrections[level][0] == pytest.approx(correction, abs=1e-5)  # rounding of float32
        low, high = nllfit.interval(found, level)
        np.testing.assert_allclose(low, x - reach - correction, atol=1e-4)
        np.testing.assert_allclose(high, x + reach + correction, atol=1e-4)
    called = nllfit.head_outputs.distribution_of(conformal(x))
    np.testing.assert_allclose(called.log_prob(y), found.log_prob(y), rtol=1e-5)


@pytest.mark.thorough  # covered by the test above, which compares the ends with their formula
def test_intervals_of_a_wrong_model_have_their_nominal_coverage():
    n, m, times, level = 50, 100, 8, 0.9
    x, y = samples((n + m) * times)
    model = normal(KITS[0])
    covered = np.empty(times, int)
    for i, (inputs, outcomes) in enumerate(zip(np.split(x, times), np.split(y, times), strict=True)):
        conformal = conformalize(model, inputs[:n], outcomes[:n], levels=(level,))
        low, high = nllfit.interval(predict_distribution(conformal, inputs[n:]), level)
        covered[i] = np.sum((low <= outcomes[n:]) & (outcomes[n:] <= high))
    # The number of covered rows among m new ones is beta-binomial: Vovk, Conditional validity of inductive ..., 2012.
    k = int(np.ceil((n + 1) * level))
    law = stats.betabinom(m, k, n + 1 - k)
    assert covered.mean() == pytest.approx(law.mean(), abs=3 * law.std() / np.sqrt(times))
    uncorrected = nllfit.interval(predict_distribution(model, x), level)
    assert np.mean((uncorrected[0] <= y) & (y <= uncorrected[1])) < level - 0.05  # the model is wrong


@pytest.mark.thorough
def test_a_conformal_distribution_is_consistent_and_can_be_evaluated():
    x, y = samples(600)
    conformal = conformalize(normal(KITS[0]), x[:300], y[:300])
    after = evaluate(conformal, x[300:], y[300:])
    for level in LEVELS:
        k = int(np.ceil(301 * level))
        low, high = stats.betabinom(300, k, 301 - k).interval(0.999)
        assert low <= 300 * after.coverage[level] <= high
    one = predict_distribution(conformal, x[:1])
    grid = np.linspace(-15, 15, 40_001)
    density = np.exp(np.asarray(one.log_prob(grid[:, None, None].astype("float32")), float))[:, 0]
    assert integrate.simpson(density, x=grid) == pytest.approx(1, abs=1e-3)  # the density has jumps
    levels = np.array([0.001, 0.025, 0.3, 0.5, 0.9, 0.999])
    np.testing.assert_allclose(nllfit.cdf(one, nllfit.quantile(one, levels))[:, 0, 0], levels, rtol=1e-4)
    mean = integrate.simpson(density * grid, x=grid)
    spread = np.sqrt(integrate.simpson(density * (grid - mean) ** 2, x=grid))
    assert float(one.mean()[0, 0]) == pytest.approx(mean, abs=0.01 * spread)
    assert float(one.stddev()[0, 0]) == pytest.approx(spread, rel=0.01)


@pytest.mark.thorough  # covered by the test of the formula for the ends of intervals
def test_intervals_are_nested_and_stay_in_the_support():
    x = np.zeros([200, 1], "float32")
    y = np.random.default_rng(0).gamma(0.3, 0.01, [200, 1])
    model = KITS[0].keras.Sequential([KITS[0].keras.layers.Dense(2), KITS[0].heads.Gamma()])
    conformal = conformalize(model, x, y)
    lows, highs = map(np.ravel, intervals(predict_distribution(conformal, x[:1])))
    assert np.all(np.diff(lows) < 0)
    assert np.all(np.diff(highs) > 0)
    assert lows[-1] > 0
    shrunk = Conformalized(normal(KITS[0]), {0.5: -9.0, 0.9: -9.5})  # the ends move in by more than the width
    low, high = nllfit.quantile(predict_distribution(shrunk, x[:1]), [0.05, 0.95])
    assert 0 < float(high[0, 0] - low[0, 0]) < 0.02
    assert np.isfinite(predict_distribution(shrunk, x[:1]).log_prob([[0.0]])[0])


@pytest.mark.thorough
def test_elements_and_steps_have_their_own_corrections():
    rng = np.random.default_rng(0)
    x = rng.normal(size=[300, 4, 2]).astype("float32")
    y = x + np.array([0.2, 3.0]) * rng.normal(size=x.shape)
    conformal = conformalize(normal(KITS[0], event=2), x, y, levels=(0.9,))
    assert conformal.corrections[0.9].shape == (4, 2)
    low, high = nllfit.interval(predict_distribution(conformal, x), 0.9)
    held = np.mean((low <= y) & (y <= high), 0)
    np.testing.assert_array_less(0.899, held)
    np.testing.assert_array_less(held, 0.91)
    ensemble = Ensemble([normal(KITS[0]), normal(KITS[0])])
    x, y = samples(50)
    assert conformalize(ensemble, x, y, levels=(0.9,)).corrections[0.9] == pytest.approx(
        conformalize(normal(KITS[0]), x, y, levels=(0.9,)).corrections[0.9], abs=1e-5
    )


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_sequences_of_another_length_have_no_corrections(steps):
    conformal = Conformalized(None, {0.9: np.zeros([3, 1])})
    predicted = [tfd.Independent(tfd.Normal(np.zeros([2, n, 1]), 1.0), 1) for n in (3, steps)]
    assert conformal.calibrate(predicted[0]).batch_shape == (2, 3)
    with pytest.raises(ValueError, match=r"level 0.9 has shape \(3, 1\), but .* row has shape .*: give sequences of"):
        conformal.calibrate(predicted[1])


@pytest.mark.thorough
def test_probabilities_of_counts_within_and_above_the_widest_interval_match_the_formulas():
    model = KITS[0].keras.Sequential(
        [KITS[0].keras.layers.Dense(1, kernel_initializer="zeros"), KITS[0].heads.Poisson()]
    )
    x = np.ones([1, 1], "float32")
    model(x)
    model.layers[0].set_weights([np.zeros([1, 1]), np.log([6.0])])
    below = stats.poisson(6.0).cdf
    # At and above the upper end of the widest interval, the CDF is the model's CDF, shifted by the distance that this
    # end has moved. The correction of `point` shrinks its interval to one count.
    wider, point = (Conformalized(model, corrections) for corrections in ({0.5: 1.0, 0.9: 3.0}, {0.9: -9.0}))
    assert nllfit.interval(predict_distribution(wider, x), 0.9)[1] == 13
    counts = np.arange(3.0)[:, None, None]
    for moved, upper in ((wider, 13), (point, 6)):
        found = nllfit.cdf(predict_distribution(moved, x), counts + upper)
        np.testing.assert_allclose(found, below(counts + 10), rtol=1e-6)
    # The widest interval of `still` is from 2 to 10. For a count from 2 to 9, take the mean of the model's CDF at this
    # count and at the count before. The calibrated CDF is a linear function of this mean. It is 0.05 where the mean
    # equals the model's CDF at 1, and 0.95 where the mean equals the model's CDF at 9.
    still, counts = predict_distribution(Conformalized(model, {0.9: 0.0}), x), np.arange(2.0, 10.0)[:, None, None]
    reached = (below(counts - 1) + below(counts)) / 2 - below(1)
    np.testing.assert_allclose(nllfit.cdf(still, counts), 0.05 + 0.9 * reached / (below(9) - below(1)), rtol=1e-5)


@pytest.mark.thorough
def test_moments_and_scores_of_counts_are_sums_over_their_probabilities():
    model = KITS[0].keras.Sequential([KITS[0].keras.layers.Activation("linear"), KITS[0].heads.Poisson()])
    x = np.log([[0.1], [6.0], [700.0]]).astype("float32")
    model(x)
    moved = predict_distribution(Conformalized(model, {0.5: 0.0, 0.9: 1.0}), x)
    counts = np.arange(1200.0)[:, None]
    outcomes = np.tile(counts[..., None], [1, 3, 1]).astype("float32")
    probabilities = np.exp(np.asarray(moved.log_prob(outcomes), float))
    mean = np.sum(counts * probabilities, 0)
    spread = np.sqrt(np.sum((counts - mean) ** 2 * probabilities, 0))
    np.testing.assert_allclose(moved.mean()[:, 0], mean, rtol=1e-4)
    np.testing.assert_allclose(moved.stddev()[:, 0], spread, rtol=1e-4)
    y = np.array([0.0, 9.0, 690.0])
    scores = np.sum((np.cumsum(probabilities, 0) - (counts >= y)) ** 2, 0)
    np.testing.assert_allclose(nllfit.crps(y[:, None].astype("float32"), moved), scores, rtol=1e-3)


@pytest.mark.thorough
def test_the_largest_count_has_the_probability_of_all_counts_beyond_it():
    counts = np.arange(11.0)[:, None].astype("float32")
    moved = Conformalized(None, {0.9: 3.0}).calibrate(tfd.Binomial(10.0, probs=[0.3]))
    probabilities = np.exp(np.asarray(moved.log_prob(counts), float))[:, 0]
    assert nllfit.interval(moved, 0.9)[1] == 8  # it was 5, so the counts move up by 3
    expected = [*stats.binom(10, 0.3).pmf([6]), stats.binom(10, 0.3).sf(6)]
    np.testing.assert_allclose(probabilities[9:], expected, rtol=1e-5)
    np.testing.assert_allclose(moved.cdf(counts)[:, 0], np.cumsum(probabilities), rtol=1e-5)
    assert probabilities.sum() == pytest.approx(1.0, rel=1e-5)


@pytest.mark.thorough
def test_a_flow_that_decreases_is_conformalized():
    def negative(loc):
        flow = tfp.bijectors.Chain([tfp.bijectors.Scale(-1.0), tfp.bijectors.Exp()])
        return tfd.Independent(tfd.TransformedDistribution(tfd.Normal(loc, 1.0), flow), 1)

    model = tf_keras.Sequential([tf_keras.layers.Activation("linear"), nllfit.heads.DistributionLambda(negative, 1)])
    rng = np.random.default_rng(0)
    x = rng.normal(size=[19, 1]).astype("float32")
    errors = 2 * rng.normal(size=[19, 1]).astype("float32")
    conformal = conformalize(model, x, -np.exp(x + errors), levels=(0.9,))
    reach = np.sort(np.abs(errors), axis=0)[17]  # 18 = (19 + 1) 0.9
    assert conformal.corrections[0.9] == pytest.approx(reach - stats.norm.ppf(0.95), rel=1e-4)
    # We compare the CDF at the expected ends with the levels, because a search for the quantiles would take most of the
    # test's time. A relative error of 1e-3 in an end would change the CDF by 1e-4.
    ends = -np.exp(np.stack([x[:2] + reach, x[:2] - reach]))
    levels = np.broadcast_to(np.reshape([0.05, 0.95], [2, 1, 1]), ends.shape)
    np.testing.assert_allclose(nllfit.cdf(predict_distribution(conformal, x[:2]), ends), levels, atol=1e-4)
    scores, flow = np.linspace(-3, 3, 7), negative(x)
    same = nllfit.Recalibrated(None, [scores], scores).calibrate(flow)  # the map changes no score
    np.testing.assert_allclose(same.log_prob(-np.exp(x)), flow.log_prob(-np.exp(x)), rtol=1e-4)


@pytest.mark.thorough
def test_two_equal_quantiles_do_not_make_draws_nan():
    amounts = tfd.Gamma([0.001], 1.0)  # the 5% and 25% quantiles underflow to 0 in float64
    moved = Conformalized(None, {0.5: 0.1, 0.9: 0.3}).calibrate(amounts)
    assert np.isfinite(moved.sample(50, seed=1)).all()
    assert nllfit.interval(moved, 0.9)[1] > nllfit.interval(amounts, 0.9)[1]


@pytest.mark.thorough
def test_a_quantile_that_is_rounded_to_the_end_of_the_support_has_a_finite_place():
    moved = Conformalized(None, {0.9: 0.1}).calibrate(tfd.Beta([0.02], 0.02))
    np.testing.assert_allclose(nllfit.cdf(moved, [0.5]), 0.5, atol=0.01)  # the Beta is symmetric around 0.5
    assert np.isfinite(moved.log_prob([0.5])).all()


def test_many_outcomes_at_the_end_of_the_support_are_refused():
    """`conformalize` maps nonnegative outcomes to the real line, and measures distances there. It maps 0 to -infinity.

    It does so even for a `Gamma` of concentration 1, which has a positive density at 0.
    """
    model = tf_keras.Sequential([nllfit.heads.Gamma(concentration=1.0)])
    x, y = np.zeros([40, 1], "float32"), np.linspace(0, 3, 40)[:, None]
    y[:5] = 0
    assert np.isfinite(conformalize(model, x, y, levels=(0.5,)).corrections[0.5]).all()
    with pytest.raises(ValueError, match=r"at an end of the support of .*Gamma, which an interval of level 0.9 would"):
        conformalize(model, x, y, levels=(0.5, 0.9, 0.95))


def test_angles_cannot_be_calibrated():
    angles = tfd.VonMises([3.0, 0.0], 2.0)
    mixture = tfd.MixtureSameFamily(tfd.Categorical([0.0, 0.0]), angles)
    unlike = tfd.Mixture(tfd.Categorical([0.0, 0.0]), [tfd.VonMises(0.0, 1.0), tfd.VonMises(1.0, 2.0)])
    for distribution in (tfd.Independent(angles, 1), mixture, unlike):
        with pytest.raises(ValueError, match="are angles, which have no largest"):
            Conformalized(None, {0.9: 1.0}).calibrate(distribution)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("rate", "dispersion"),
    [(4.0, 0.7), *(pytest.param(*case, marks=pytest.mark.thorough) for case in [(0.3, 3.0), (20.0, 50.0)])],
)
def test_intervals_of_counts_have_their_nominal_coverage(rate, dispersion):
    """The model, a Poisson head, is wrong about the mean and the spread of the negative binomial counts."""
    rng = np.random.default_rng(0)
    x = rng.uniform(0.5, 1.5, [700, 1]).astype("float32")
    y = rng.negative_binomial(dispersion, dispersion / (dispersion + rate * x)).astype("float32")
    log_rate = KITS[0].keras.layers.Lambda(lambda x: np.log(2 * rate) * x)
    model = KITS[0].keras.Sequential([log_rate, KITS[0].heads.Poisson()])
    conformal = conformalize(model, x[:300], y[:300], levels=LEVELS)
    found, before = (predict_distribution(m, x[300:]) for m in (conformal, model))
    last = (None, None)
    for level, low, high, old_low, old_high in zip(LEVELS, *intervals(found), *intervals(before), strict=True):
        correction = conformal.corrections[level]
        assert correction == np.round(correction)
        new_low, new_high = np.maximum(old_low - correction, 0), old_high + correction
        empty = new_low > new_high
        if last[0] is not None:  # intervals of several levels are nested
            new_low, new_high = np.minimum(new_low, last[0]), np.maximum(new_high, last[1])
        np.testing.assert_array_equal(low[~empty], new_low[~empty])
        np.testing.assert_array_equal(high[~empty], new_high[~empty])
        last = low, high
        held = np.mean((low <= y[300:]) & (y[300:] <= high))
        assert held > level - 3 * np.sqrt(level * (1 - level) * (1 / 300 + 1 / 400))
    found, k = found[:20], np.arange(1000.0, dtype="float32")  # the means are below 250
    probs = np.exp(found.log_prob(np.tile(k[:, None, None], [1, 20, 1]))).astype(float)
    np.testing.assert_allclose(probs.sum(0), 1, atol=2e-5)  # rounding of float32
    np.testing.assert_allclose(nllfit.cdf(found, 3.0)[:, 0], probs[:4].sum(0), atol=2e-6)
    assert (probs[:10] > 0).all()  # every count keeps a positive probability


@mainly(tf_keras)
def test_unsuitable_models_cannot_be_conformalized(kit):
    x, y = samples(10)
    model = normal(kit)
    with pytest.raises(ValueError, match=r"An interval of level 0\.95 needs 19 held-out rows, but there are 10"):
        conformalize(model, x, y)
    assert conformalize(model, x, y, levels=(0.9,)).corrections[0.9].shape == (1,)
    with pytest.raises(ValueError, match=r"An interval of level 0\.9 needs 9 held-out rows, but there are 8"):
        conformalize(model, x[:8], y[:8], levels=(0.9,))
    with pytest.raises(ValueError, match="`levels` is"):
        conformalize(model, x, y, levels=(90,))
    with pytest.raises(ValueError, match="`corrections` has the levels"):
        Conformalized(model, {})
    with pytest.raises(TypeError, match="end the model in a head"):
        conformalize(kit.keras.Sequential([kit.keras.layers.Dense(2)]), x, y)
    classes = kit.keras.Sequential([kit.keras.layers.Dense(1), kit.heads.Bernoulli()])
    with pytest.raises(ValueError, match="which are classes"):
        conformalize(classes, x, np.ones([10, 1]))


def test_amounts_that_may_be_0_cannot_be_calibrated():
    window = nllfit.Truncated(nllfit.ZeroInflated("Gamma"), low=0.0, high=5.0).distribution(np.zeros([2, 3]))
    by_hand = tfd.Mixture(tfd.Categorical([0.0, 0.0]), [tfd.Deterministic(0.0), tfd.Gamma(2.0, 1.0)])
    for distribution in (window, by_hand):
        with pytest.raises(ValueError, match="have a probability at 0 and a density above 0"):
            Conformalized(None, {0.9: 1.0}).calibrate(distribution)
    assert nllfit.mode(by_hand) == 0


@pytest.mark.thorough
def test_families_that_cannot_be_conformalized_are_refused():
    kit, (x, _) = KITS[1], samples(10)
    amounts = kit.keras.Sequential([kit.keras.layers.Dense(3), kit.heads.Hurdle("LogNormal")])
    with pytest.raises(ValueError, match="have a probability at 0 and a density above 0"):
        conformalize(amounts, x, np.ones([10, 1]))
    with pytest.raises(ValueError, match="have a probability at 0 and a density above 0"):
        conformalize(nllfit.Ensemble([amounts, amounts]), x, np.ones([10, 1]))
    pairs = kit.keras.Sequential([kit.keras.layers.Dense(2), kit.heads.Censored("Normal")])
    with pytest.raises(ValueError, match="whose outcomes are intervals"):
        conformalize(pairs, x, np.ones([10, 2]))


@pytest.mark.thorough
def test_intervals_of_zero_inflated_counts_have_their_nominal_coverage():
    rng = np.random.default_rng(0)
    x = np.zeros([900, 1], "float32")
    y = rng.poisson(6.0, [900, 1]) * (rng.uniform(size=[900, 1]) > 0.4)
    # With weights of 0, the rate is 1 and the probability of an added zero is 1/2.
    model = tf_keras.Sequential(
        [tf_keras.layers.Dense(2, kernel_initializer="zeros"), nllfit.heads.ZeroInflated("Poisson", event_shape=1)]
    )
    conformal = nllfit.conformalize(model, x[:500], y[:500], levels=(0.5, 0.9))
    predicted = nllfit.predict_distribution(conformal, x[500:501])  # the same for all rows
    inside = [(y[500:] >= low) & (y[500:] <= high) for low, high in zip(*intervals(predicted, (0.5, 0.9)), strict=True)]
    assert np.mean(inside[0]) > 0.45
    assert 0.86 < np.mean(inside[1]) < 0.97


@pytest.mark.thorough
def test_intervals_of_truncated_heads_stay_in_the_window():
    y = np.random.default_rng(0).beta(2.0, 1.0, [500, 1])  # the model predicts a truncated Normal
    x = np.zeros([500, 1], "float32")
    head = nllfit.heads.Truncated("Normal", low=0.0, high=1.0)
    model = tf_keras.Sequential([tf_keras.layers.Dense(2, kernel_initializer="zeros"), head])
    ensemble = nllfit.Ensemble([model, model])
    low, high = (np.asarray(end) for end in nllfit.interval(nllfit.predict_distribution(ensemble, x[300:301]), 0.5))
    assert np.mean((y[300:] > low) & (y[300:] < high)) < 0.4
    conformal = nllfit.conformalize(ensemble, x[:300], y[:300], levels=(0.5, 0.9))
    predicted = nllfit.predict_distribution(conformal, x[300:301])  # the same for all rows
    for low, high, level, error in zip(*intervals(predicted, (0.5, 0.9)), (0.5, 0.9), (0.11, 0.07), strict=True):
        assert low > 0
        assert high < 1
        # About 2.5 standard errors: the interval comes from 300 rows and the share from 200 rows.
        assert np.mean((y[300:] > low) & (y[300:] < high)) == pytest.approx(level, abs=error)
    assert np.isfinite(nllfit.crps(y[300:301], predicted))


def test_a_calibrated_model_is_shown_and_is_not_taken_for_a_distribution():
    conformal = Conformalized(lambda x: tfd.Normal(x, 1.0), {0.9: 1.0})
    assert repr(conformal).startswith("Conformalized(<function")
    with pytest.raises(TypeError, match=r"is a Conformalized.*give the result of `nllfit.predict_distribution"):
        nllfit.interval(conformal, np.zeros([3, 1]))
