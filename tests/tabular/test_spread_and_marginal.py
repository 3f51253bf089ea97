"""A `Target` multiplies the width of an ensemble's mixture by a factor, the spread.

It also mixes the result with the marginal distribution of the outcomes.
"""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from tensorflow_probability import distributions as tfd

import nllfit
from nllfit.tabular import candidates, class_and_value_target, forest, scoring, standardised_target, targets
from nllfit.tabular.table_rows import Rows


def rows_of(y, weights=None, is_censored=False):
    return Rows(np.zeros([len(y), 1]), y, weights, is_censored)


def mixture(locs, scales, logits=None):
    """A mixture of Normals, like an ensemble's prediction. `locs` has the shape `[n, members]`."""
    components = tfd.Independent(tfd.Normal(np.asarray(locs, float)[..., None], np.asarray(scales)[..., None]), 1)
    return tfd.MixtureSameFamily(tfd.Categorical(np.zeros(np.shape(locs)) if logits is None else logits), components)


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        (nllfit.Family("Normal", 1), True),
        (nllfit.Family("StudentT", 1, df=4.0), True),
        (nllfit.Family("JohnsonSU", 2), True),
        (nllfit.MixtureFamily("Laplace", 3, 1), True),
        (nllfit.Family("LogNormal", 1), False),
        (nllfit.Family("Pareto", 1), False),
        (nllfit.Family("Gamma", 1), False),
        (nllfit.Family("Poisson", 1), False),
        (nllfit.ZeroInflated("Poisson", event_shape=1), False),
        (nllfit.Truncated("Normal", low=0.0, event_shape=1), False),
    ],
    ids=str,
)
def test_location_scale_families_are_recognised(family, expected):
    assert standardised_target.is_location_scale(family) is expected


def test_an_overconfident_ensemble_is_widened(rng):
    y = 2 * rng.normal(size=[4000, 1])
    target = standardised_target.LocationScale(nllfit.Family("Normal", 1), rows_of(np.array([[-1.0], [1.0]] * 9)))
    target.ends = np.array([-100.0]), np.array([100.0])
    outputs = target.family.unconstrained({"loc": np.zeros([4000, 1]), "scale": np.ones([4000, 1])})
    losses = target.losses([tf.cast(outputs, tf.float32)], 1e-12, y, None)
    nll, spread = losses.min(), target.spreads[losses.argmin()]
    assert spread == pytest.approx(2, abs=0.1)
    assert nll == pytest.approx(np.log(2) + 0.5 + np.log(2 * np.pi) / 2, abs=0.05)


def test_losses_do_not_depend_on_the_rows_of_one_call(monkeypatch, rng):
    y = rng.normal(size=[50, 1])
    target, weights = candidates.target_of("Histogram", rows_of(y)), rng.uniform(size=50)
    outputs = [tf.constant(rng.normal(size=[50, len(target.lower)]), tf.float32)]
    at_once = target.losses(outputs, 0.1, y, weights)
    monkeypatch.setattr(targets, "_MOST_NUMBERS", 7 * 36 * len(target.lower))
    np.testing.assert_allclose(target.losses(outputs, 0.1, y, weights), at_once, rtol=1e-12)


def test_a_held_parameter_may_differ_between_outcomes(rng):
    family = nllfit.Family("StudentT", 2, df=[3.0, 9.0])
    target = standardised_target.LocationScale(family, rows_of(rng.normal([1, 2], [3, 4], [500, 2])))
    outputs = [tf.cast(family.unconstrained({"loc": np.zeros([5, 2]), "scale": np.ones([5, 2])}), tf.float32)] * 3
    found = target.distribution(target.mixture(outputs), 1.5, 1e-12)
    expected = stats.t([3, 9], target.loc, 1.5 * target.unit).logpdf([2.0, -1.0]).sum()
    np.testing.assert_allclose(found.log_prob(np.tile([2.0, -1.0], [5, 1])), expected, rtol=1e-6)


@pytest.mark.parametrize("weights", [None, np.array([1.0, 2.0, 1.0])])
@pytest.mark.parametrize("unit", [1e-200, 1e200])
def test_the_spread_of_tiny_and_huge_numbers_is_finite(unit, weights):
    """The squares of these numbers underflow to 0 or overflow."""
    column = np.array([1.0, 2.0, 4.0])
    loc, spread = standardised_target.mean_and_spread(unit * column, weights)
    mean = np.average(column, weights=weights)
    expected = np.sqrt(np.average((column - mean) ** 2, weights=weights))
    np.testing.assert_allclose([loc, spread], [unit * mean, unit * expected], rtol=1e-14)


@pytest.mark.thorough
@pytest.mark.parametrize("index", [0, 35])
def test_the_loss_of_a_spread_is_that_of_the_widened_distribution(index, rng):
    """One outcome is far in the tail: the Normal score of its CDF is above 8."""
    y = np.append(rng.gamma(2, 1, 60), 90)[:, None]
    target = candidates.target_of("Gamma", rows_of(y[:-1]))
    outputs = [tf.zeros([61, 2])]
    spread = target.spreads[index]
    widened = target.distribution(target.mixture(outputs), spread, 0.05)
    expected = scoring.mean_nll(widened, y)
    np.testing.assert_allclose(target.losses(outputs, 0.05, y, None)[index], expected, rtol=1e-9)


def test_the_marginal_distribution_bounds_the_loss_of_an_unusual_row():
    target = standardised_target.LocationScale(nllfit.Family("Normal", 1), rows_of(np.array([[-19.0], [21.0]])))
    assert (target.loc, target.unit) == (1.0, 20.0)
    logits = np.array([[0.0, 1.0, 2.0]] * 2)
    # In the unit of the outcomes, the mean is 0 and the scale 0.1.
    predicted = mixture(np.full([2, 3], -0.05), np.full([2, 3], 0.005), logits)
    y = np.array([[0.0], [50.0]])
    found = target.distribution(predicted, 1.0, 0.01).log_prob(y)
    alone, wide = stats.norm(0, 0.1), stats.norm(1, 20.0)
    expected = np.log(0.99 * alone.pdf(y[:, 0]) + 0.01 * wide.pdf(y[:, 0]))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.thorough
def test_a_gamma_starts_at_the_marginal_distribution_and_is_mixed_with_it(rng):
    """Before training, all outputs of a network are 0, and the Gamma is the marginal distribution.

    A prediction is a mixture of the network's Gamma, with weight 90%, and the marginal distribution, with weight 10%.
    The loss of a spread is the mean negative log-likelihood of the predictions with this spread.
    """
    y = rng.gamma(3.0, 400.0, [300, 1])
    target = candidates.target_of("Gamma", rows_of(y))
    family = target.family
    estimate = nllfit.maximum_likelihood("Gamma", y[:, 0]).parameters
    marginal = stats.gamma(estimate["concentration"], scale=1 / estimate["rate"])
    begun = family.distribution(tf.constant(target.offset))
    np.testing.assert_allclose(begun.log_prob(y), marginal.logpdf(y[:, 0]), rtol=1e-4)

    outputs = [tf.fill([300, 1], 1.0) * (([1.0, np.log(0.01)] - target.offset) / target.step).astype("float32")]
    found = target.distribution(target.mixture(outputs), 1.0, 0.1)
    member = stats.gamma(np.e, scale=100.0)
    expected = np.log(0.9 * member.pdf(y[:, 0]) + 0.1 * marginal.pdf(y[:, 0]))
    np.testing.assert_allclose(found.log_prob(y), expected, rtol=1e-4)

    losses = target.losses(outputs, 0.1, y, None)
    each = [
        nllfit.negative_log_likelihood(y, target.distribution(target.mixture(outputs), spread, 0.1))
        for spread in target.spreads[:3]
    ]
    np.testing.assert_allclose(losses[:3], np.mean(each, axis=1), rtol=1e-5)


@pytest.mark.thorough  # the other tests of this module compute the same losses of smaller outcomes
def test_large_counts_keep_their_digits(rng):
    y = rng.poisson(1e8, [20, 1]).astype(float)
    target = candidates.target_of("Poisson", rows_of(y))
    found = target.losses([tf.zeros([20, 1])], 0.1, y, None)
    expected = -stats.poisson(np.exp(target.offset)).logpmf(y[:, 0]).mean()
    np.testing.assert_allclose(found, [expected], rtol=1e-6)


@pytest.mark.thorough
def test_a_spread_of_an_amount_multiplies_the_scale_of_its_logarithm(rng):
    y = rng.lognormal(1.0, 0.5, [50, 1])
    target = candidates.target_of("LogNormal", rows_of(y))
    params = target.family.unconstrained({"loc": np.full([50, 2, 1], 1.0), "scale": np.full([50, 2, 1], 0.5)})
    predicted = tfd.MixtureSameFamily(tfd.Categorical(np.zeros([50, 2])), target.family.distribution(params))
    found = target.distribution(predicted, 2.0, 0.5).log_prob(y)
    np.testing.assert_allclose(found, stats.lognorm(1.0, scale=np.e).logpdf(y[:, 0]), rtol=1e-6)


@pytest.mark.thorough
def test_a_censored_outcome_is_scored_by_its_survival_function(rng):
    y, observed = rng.exponential(3.0, [200, 1]), rng.integers(0, 2, 200).astype(bool)
    pairs = nllfit.right_censored(y[:, 0], observed)
    target = candidates.target_of("Exponential", rows_of(pairs, is_censored=True))
    np.testing.assert_allclose(np.exp(target.offset), observed.sum() / y.sum(), rtol=1e-6)  # events / time at risk
    target.marginal = np.log([0.5])
    outputs = [tf.fill([200, 1], tf.constant((np.log(0.5) - target.offset[0]) / target.step[0], tf.float32))]
    times = y[:, 0]
    z = stats.norm.isf(np.exp(-0.5 * times))
    spread = target.spreads[4]
    density = -0.5 * times + np.log(0.5) + stats.norm.logpdf(z / spread) - np.log(spread) - stats.norm.logpdf(z)
    expected = -np.where(observed, density, stats.norm.logsf(z / spread)).mean()
    assert target.losses(outputs, 0.5, pairs, None)[4] == pytest.approx(expected, rel=1e-6)


@pytest.mark.thorough
def test_an_interval_is_scored_by_its_probability():
    """The loss of an interval is minus its log-probability.

    The test checks intervals in both tails of a Normal, and intervals of a Gamma.
    """
    lower, upper = np.array([-9.0, 2.0, 8.0, -np.inf, 1.0]), np.array([-8.0, 2.0, 9.0, -7.0, np.inf])
    pairs = nllfit.interval_censored(lower, upper)
    one = stats.norm(1.0, 2.0)
    expected = one.logsf([1.0] * 5)
    expected[[0, 2]] = np.log([one.cdf(-8) - one.cdf(-9), one.sf(8) - one.sf(9)])
    expected[[1, 3]] = one.logpdf(2.0), one.logcdf(-7.0)
    predicted = tfd.Independent(tfd.Normal(np.full([5, 1], 1.0), 2.0), 1)
    np.testing.assert_allclose(scoring.nll(predicted, pairs, True), -expected, rtol=1e-9)

    amounts = nllfit.interval_censored([1.0, 2.0, 0.5], [1.5, np.inf, 0.5])
    target = candidates.target_of("Gamma", rows_of(amounts, is_censored=True))
    target.marginal = target.offset = target.family.unconstrained({"concentration": 3.0, "log_rate": 0.0}).numpy()
    found = target.losses([tf.zeros([3, 2])], 0.5, amounts, None)[30]
    law, spread = stats.gamma(3.0), target.spreads[30]
    ends = stats.norm.cdf(stats.norm.ppf(law.cdf([1.0, 1.5, 2.0])) / spread)
    z = stats.norm.ppf(law.cdf(0.5))
    exact = law.logpdf(0.5) - stats.norm.logpdf(z) + stats.norm.logpdf(z / spread) - np.log(spread)
    expected = np.mean([np.log(ends[1] - ends[0]), np.log1p(-ends[2]), exact])
    assert found == pytest.approx(-expected, rel=1e-5)


def test_a_values_target_predicts_a_probability_for_each_value():
    y = np.array([[3.0], [5.0], [5.0], [8.0]])
    target = class_and_value_target.Classes.of_values(y, None)
    logits = np.log([[[0.2, 0.3, 0.5]], [[0.1, 0.1, 0.8]]])
    predicted = tfd.MixtureSameFamily(tfd.Categorical(np.zeros([2, 1])), tfd.Categorical(logits))
    found = target.distribution(predicted, 1.0, 0.1)
    np.testing.assert_allclose(found.prob([[5.0], [8.0]]), [0.9 * 0.3 + 0.05, 0.9 * 0.8 + 0.025], rtol=1e-9)
    np.testing.assert_array_equal(target.training_outcomes(y), [0, 1, 1, 2])
    hot = target.distribution(predicted, 1e9, 0.1)
    np.testing.assert_allclose(hot.prob([[3.0], [3.0]]), 0.9 / 3 + 0.025, rtol=1e-6)


def test_weights_count_rows(rng):
    y, weights = rng.normal(size=[20, 1]), rng.integers(1, 4, 20)
    weighted = standardised_target.LocationScale(nllfit.Family("Normal", 1), rows_of(y, weights))
    repeated = standardised_target.LocationScale(nllfit.Family("Normal", 1), rows_of(y.repeat(weights, axis=0)))
    np.testing.assert_allclose([weighted.loc, weighted.unit], [repeated.loc, repeated.unit])


@pytest.mark.parametrize("weights", [None, np.arange(1.0, 31.0)])
def test_equal_outcomes_have_the_unit_1(weights):
    """The mean of thirty outcomes of 0.1 has a rounding error, which must not be taken for a standard deviation."""
    target = standardised_target.LocationScale(nllfit.Family("Normal", 1), rows_of(np.full([30, 1], 0.1), weights))
    assert (target.loc, target.unit) == (0.1, 1.0)
    np.testing.assert_array_equal(forest._targets(np.full(30, 0.1))[:, 0], 0.0)


def test_an_interval_without_ends_does_not_change_the_location():
    y = np.array([[1e6, 1e6], [1e6 + 2, 1e6 + 4], [-np.inf, np.inf], [-np.inf, 1e6 - 3], [1e6, np.inf]])
    np.testing.assert_array_equal(rows_of(y, is_censored=True).numbers(), 1e6 + np.c_[[0, 3, 0, -3, 0]])
    np.testing.assert_array_equal(rows_of(y[2:3], is_censored=True).numbers(), [[0.0]])


ANY = ["Normal", "Mixture", "Histogram"]
RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("y", "observed", "expected"),
    [
        (RNG.normal(size=[99, 1]), None, ANY),
        (RNG.integers(3, 9, [99, 1]).astype(float), None, [*ANY, "Values", "NegativeBinomial"]),
        (RNG.integers(-2, 3, [99, 1]).astype(float), None, [*ANY, "Values"]),
        (RNG.poisson(20, [99, 1]).astype(float), None, [*ANY, "Gamma", "LogNormal", "NegativeBinomial"]),
        (RNG.uniform(size=[99, 1]), None, [*ANY, "Gamma", "LogNormal", "Beta"]),
        (np.maximum(RNG.normal(size=[99, 1]), 0), None, [*ANY, "ZeroInflated"]),
        (RNG.exponential(size=[99, 1]), np.ones(99, bool), ["Weibull", "LogNormal"]),
        (RNG.normal(size=[99, 2]), None, ["Normal", "Mixture"]),
    ],
)
def test_plausible_families_contain_the_outcomes_in_their_support(y, observed, expected):
    is_censored = observed is not None
    found = candidates.plausible(rows_of(np.repeat(y, 2, axis=1) if is_censored else y, is_censored=is_censored))
    assert [name if isinstance(name, str) else type(name).__name__ for name in found] == expected
