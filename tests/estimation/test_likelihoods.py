"""The likelihood of a sample on grids of parameters, against formulas and SciPy."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import stats

from nllfit import Censored, likelihood, log_likelihood

tfd = tfp.distributions


def test_a_bernoulli_likelihood_matches_the_formula():
    theta = np.linspace(0.01, 0.99, 99)
    result = likelihood(tfd.Bernoulli(probs=tf.constant(theta)), [0, 0, 0, 1, 0])
    # `likelihood` computes `exp` of numbers down to -18, which loses a digit.
    np.testing.assert_allclose(result, theta * (1 - theta) ** 4, rtol=1e-13)


def test_a_normal_likelihood_surface_matches_scipy():
    mu, sigma = np.linspace(-2, 2, 41)[None, :], np.linspace(0.3, 2, 18)[:, None]
    y = np.array([-1.0, 0.0, 1.0])
    result = likelihood(tfd.Normal(mu, sigma), y)
    assert result.shape == (18, 41)
    expected = stats.norm.pdf(y[:, None, None], mu, sigma).prod(0)
    np.testing.assert_allclose(result, expected, rtol=1e-12)  # `exp` of numbers down to -77 loses two digits


def test_the_logarithm_is_exact_where_the_product_underflows():
    y = np.full(10_000, 3.0)
    distribution = tfd.Normal(tf.constant(0.0, tf.float64), 1.0)
    assert likelihood(distribution, y) == 0.0
    exact = -len(y) * (4.5 + np.log(2 * np.pi) / 2)
    assert float(log_likelihood(distribution, y)) == pytest.approx(exact, rel=1e-13)


def test_vector_outcomes_broadcast_over_a_grid():
    y = np.random.default_rng(0).normal(size=(20, 3))
    distribution = tfd.MultivariateNormalDiag(np.zeros([4, 1, 3]), np.full([4, 2, 3], 1.5))
    result = log_likelihood(distribution, y)
    assert result.shape == (4, 2)
    np.testing.assert_allclose(result, stats.norm.logpdf(y, 0, 1.5).sum(), rtol=1e-13)


# Distributions, an outcome outside the support of each, and the error. TFP returns a number or NaN for these outcomes.
OUTSIDE = [
    (tfd.Exponential(2.0), -1.0, "`y` holds -1.0, which Exponential cannot have: Sample must be non-negative"),
    (tfd.Gamma(2.0, 1.0), -1.0, "`y` holds -1.0, which Gamma cannot have"),
    (tfd.LogNormal(0.0, 1.0), -1.0, "which LogNormal cannot have"),
    (tfd.Weibull(2.0, 1.0), -1.0, "which Weibull cannot have"),
    (tfd.Beta(2.0, 2.0), 1.5, "which Beta cannot have"),
    (tfd.Bernoulli(probs=0.3), -1, "`y` holds -1, which Bernoulli cannot have"),
    # TFP's probability of the outcome 2 is 0 for `probs` 0.0, and positive for 0.3.
    (tfd.Bernoulli(probs=[0.0, 0.3]), 2, "which Bernoulli cannot have"),
    (tfd.Geometric(probs=0.3), -1.0, "which Geometric cannot have"),
    (tfd.Poisson(2.0), 0.5, "which Poisson cannot have"),
    (tfd.Binomial(3.0, probs=0.3), 0.5, "which Binomial cannot have"),
    (tfd.Categorical(probs=[0.2, 0.8]), 2, "which Categorical cannot have"),
    (tfd.OneHotCategorical(probs=[0.2, 0.8]), [1, 1], "`y` holds .1 1., which OneHotCategorical cannot have"),
    (tfd.Dirichlet([2.0, 2.0]), [0.5, 0.6], "which Dirichlet cannot have"),
    (tfd.Independent(tfd.Gamma([1.0, 2.0], 1.0), 1), [-1.0, 1.0], "which IndependentGamma cannot have"),
    (tfd.MixtureSameFamily(tfd.Categorical([0.0, 0.0]), tfd.Exponential([1.0, 2.0])), -1.0, "cannot have"),
    (
        tfd.Mixture(tfd.Categorical([0.0, 0.0]), [tfd.Exponential(1.0), tfd.Normal(0.0, 1.0)]),
        -1.0,
        "Exponential cannot",
    ),
    (tfd.InverseGamma(2.0, 1.0), 0.0, "`y` holds 0.0, where the density of InverseGamma is not defined"),
    (tfd.Gamma(2.0, 1.0), np.inf, "`y` holds inf, where the density of Gamma is not defined"),
]


@pytest.mark.thorough(
    but=("distribution0-", "distribution5", "distribution8", "distribution11", "distribution14", "distribution17")
)
@pytest.mark.parametrize(("distribution", "outcome", "message"), OUTSIDE)
def test_an_outcome_outside_the_support_is_an_error(distribution, outcome, message):
    possible = np.reshape(distribution.sample(seed=(1, 2)), [-1, *distribution.event_shape])[0]
    for y in ([outcome], [possible, possible, outcome, possible]):
        with pytest.raises(ValueError, match=message):
            log_likelihood(distribution, y)


@pytest.mark.thorough(but=("distribution0", "distribution2", "distribution4", "distribution5"))
@pytest.mark.parametrize(
    ("distribution", "y"),
    [
        (tfd.Poisson(2.0), [1.0, -1.0]),
        (tfd.Binomial(3.0, probs=0.3), [1.0, 4.0]),
        (tfd.Uniform(0.0, 1.0), [0.5, 2.0]),
        (tfd.Pareto(2.0, 1.0), [0.5, 2.0]),
        (tfd.GeneralizedPareto(0.0, 1.0, -0.5), [1.0, 3.0]),
        (tfd.Gamma(2.0, 1.0), [0.0, 2.0]),  # the edge, where the density is zero
        (tfd.Normal(0.0, 1.0), [np.inf, 2.0]),
    ],
)
def test_the_likelihood_is_zero_where_an_outcome_has_density_zero(distribution, y):
    assert log_likelihood(distribution, y) == -np.inf
    assert likelihood(distribution, y) == 0


def test_a_uniform_likelihood_is_zero_beyond_its_bounds():
    y, low, high = np.array([0.3, 0.9, 0.6]), np.linspace(-1, 1, 31)[:, None], np.linspace(0.05, 2.05, 301)[None, :]
    low = np.minimum(low, high - 1e-3)
    result = likelihood(tfd.Uniform(low, high), y)
    possible = (low <= y.min()) & (y.max() <= high)
    np.testing.assert_allclose(result, np.where(possible, (high - low) ** -3, 0), rtol=1e-13)
    assert 0 < possible.mean() < 1


def test_a_mixture_accepts_outcomes_of_any_component():
    mixture = tfd.MixtureSameFamily(tfd.Categorical(probs=[0.25, 0.75]), tfd.Uniform([0.0, 2.0], [1.0, 4.0]))
    assert float(likelihood(mixture, [0.5, 3.0])) == pytest.approx(0.25 * 0.375, rel=1e-6)  # rounding of float32
    assert likelihood(mixture, [0.5, 1.5]) == 0


def test_a_parameter_out_of_its_domain_is_an_error():
    with pytest.raises(ValueError, match=r"A parameter of Normal is out of its domain: .*`scale` must be positive"):
        log_likelihood(tfd.Normal(0.0, [0.0, 1.0]), [1.0])
    with pytest.raises(ValueError, match="A parameter of Bernoulli"):
        log_likelihood(tfd.Bernoulli(probs=[0.5, 1.2]), [1, 1])


@pytest.mark.thorough
def test_log_likelihood_has_a_gradient_and_can_be_compiled():
    @tf.function
    def compiled(mu):
        return log_likelihood(tfd.Normal(mu, 2.0), [1.0, 2.0, 4.0])

    mu = tf.constant([0.0, 3.0])
    with tf.GradientTape() as tape:
        tape.watch(mu)
        value = log_likelihood(tfd.Normal(mu, 2.0), [1.0, 2.0, 4.0])
    np.testing.assert_allclose(tape.gradient(value, mu), (7 - 3 * mu) / 4, rtol=1e-6)  # rounding of float32
    np.testing.assert_allclose(compiled(mu), value, rtol=1e-6)


@pytest.mark.parametrize(
    ("distribution", "y", "message"),
    [
        (tfd.Normal(0.0, 1.0), [], "empty"),
        (tfd.Normal(0.0, 1.0), 1.0, r"shape \(\)"),
        (tfd.Normal(0.0, 1.0), [[1.0], [2.0]], r"shape \(2, 1\).*\('n',\)"),
        (tfd.Normal(0.0, 1.0), [1.0, np.nan], "1 NaN"),
        (tfd.Bernoulli(probs=0.5), [0.0, 0.5], "fractions"),
        (tfd.Bernoulli(probs=0.3), [2**32, 2**32 + 1], "from 4294967296 to 4294967297, but .* are int32 numbers"),
        (tfd.Normal(0.0, 1.0), ["a"], "of dtype <U1: give numbers"),
        (tfd.Normal(0.0, 1.0), [None], "of dtype object: give numbers"),
        (tfd.Normal(0.0, 1.0), [[1.0, 2.0], [3.0]], "not an array of numbers: give one row"),
        (tfd.Uniform([0.0, 0.0], 1.0, validate_args=True), [0.5, 2.0], "`y` holds 2.0, which Uniform cannot have"),
    ],
)
def test_an_invalid_sample_is_an_error(distribution, y, message):
    with pytest.raises(ValueError, match=message):
        log_likelihood(distribution, y)


def test_an_object_that_is_not_a_distribution_is_an_error():
    for given in ("Normal", tfd.Normal, tf.zeros([2])):
        with pytest.raises(TypeError, match="give a distribution, such as"):
            log_likelihood(given, [1.0])


def test_log_likelihood_is_computed_in_float64():
    y = 1e8 + np.random.default_rng(0).normal(size=1000)
    assert float(log_likelihood(tfd.Normal(1e8, 1.0), y)) == pytest.approx(stats.norm(1e8, 1).logpdf(y).sum(), rel=1e-9)
    counts = [20_000_001, 20_000_007]
    expected = stats.poisson(2e7).logpmf(counts).sum()
    assert float(log_likelihood(tfd.Poisson(2e7), counts)) == pytest.approx(expected, rel=1e-6)
    parts = tfd.Independent(tfd.Normal([[0.0], [1e8]], 1.0), 1)
    mixture = tfd.MixtureSameFamily(tfd.Categorical(probs=[0.25, 0.75]), parts)
    expected = stats.norm(1e8, 1).logpdf(y[:5]).sum() + 5 * np.log(0.75)
    assert float(log_likelihood(mixture, y[:5, None])) == pytest.approx(expected, rel=1e-7)  # 0.75 in float32
    assert log_likelihood(tfd.Normal(0.0, 1.0), [0.1]).dtype == tf.float64


def test_log_likelihood_uses_the_corrected_density():
    nearly_normal = tfd.ExponentiallyModifiedGaussian(0.0, 1.0, 1e9)  # TFP's log-density at 0.5 is 0
    np.testing.assert_allclose(log_likelihood(nearly_normal, [0.5]), stats.norm.logpdf(0.5), rtol=1e-8)


def test_outcomes_that_a_dtype_cannot_tell_apart_are_an_error():
    shifted = tfd.TransformedDistribution(tfd.Normal(0.0, 1.0), tfp.bijectors.Shift(1e8))
    with pytest.raises(
        ValueError, match="float32, the dtype of shiftNormal, changes outcomes in `y` by more than 1e-05"
    ):
        log_likelihood(shifted, 1e8 + np.arange(5))
    near = tfd.TransformedDistribution(tfd.Normal(0.0, 1.0), tfp.bijectors.Shift(1.0))
    expected = stats.norm(1, 1).logpdf([0.1, 0.2]).sum()
    assert float(log_likelihood(near, [0.1, 0.2])) == pytest.approx(expected, rel=1e-6)  # rounding of float32


def test_censored_data_are_refused_for_a_distribution_of_numbers():
    data = stats.CensoredData([1.0, 2.0], right=[3.0])
    with pytest.raises(ValueError, match="`CensoredData`, whose outcomes are intervals"):
        log_likelihood(tfd.MultivariateNormalDiag([0.0, 0.0], [1.0, 1.0]), data)
    pairs = Censored("Normal").distribution(tf.zeros([2], tf.float64))
    assert np.isfinite(log_likelihood(pairs, data))


def test_boolean_outcomes_are_numbers():
    theta = np.array([0.2, 0.5])
    result = likelihood(tfd.Bernoulli(probs=theta), [True, False, False])
    np.testing.assert_allclose(result, theta * (1 - theta) ** 2, rtol=1e-13)


def test_a_mask_stays_boolean():
    result = log_likelihood(tfd.Masked(tfd.Normal([0.0, 1.0], 1.0), [True, False]), [0.5, 0.3])
    np.testing.assert_allclose(result, [stats.norm.logpdf([0.5, 0.3]).sum(), 0.0], rtol=1e-13)


@pytest.mark.parametrize("dtype", [np.int8, np.longdouble])
def test_outcomes_of_any_dtype_of_numbers_are_accepted(dtype):
    """The difference of the outcomes, 200, would overflow an int8, whose maximum is 127.

    The distribution contains a bijector, so `log_likelihood` cannot rebuild it in float64, and computes in float32.
    """
    near = tfd.TransformedDistribution(tfd.Normal(0.0, 100.0), tfp.bijectors.Shift(1.0))
    expected = stats.norm.logpdf([-100, 100], 1, 100).sum()
    assert float(log_likelihood(near, np.array([-100, 100], dtype))) == pytest.approx(expected, rel=1e-6)
