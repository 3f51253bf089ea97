"""CDFs, survival functions and quantiles against SciPy, for all heads."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import special, stats

import nllfit
from nllfit import heads
from nllfit.families.discreteness import line
from nllfit.families.law import elements_of, law_of
from nllfit.families.mixture import mixture_of
from nllfit.families.truncated_distribution import TruncatedDistribution

from .keras_versions import in_turn

tfd = tfp.distributions

LEVELS = (1e-9, 0.01, 0.3, 0.5, 0.9, 0.999)

# TFP's scalar distributions, and SciPy's counterparts.
SCALARS = {
    "Normal": (tfd.Normal(np.array([-1.0, 1e6]), [1e-3, 2.0]), stats.norm([-1.0, 1e6], [1e-3, 2.0])),
    "StudentT": (tfd.StudentT(np.array([1.0, 30.0]), 0.0, 1.0), stats.t([1.0, 30.0])),
    "Gamma": (tfd.Gamma(np.array([0.05, 1e4]), 2.0), stats.gamma([0.05, 1e4], scale=0.5)),
    "Beta": (tfd.Beta(np.array([0.05, 20.0]), 3.0), stats.beta([0.05, 20.0], 3.0)),
    "LogNormal": (tfd.LogNormal(np.array([-40.0, 3.0]), 2.0), stats.lognorm(2.0, scale=np.exp([-40.0, 3.0]))),
    "GammaGamma": (tfd.GammaGamma(np.array([2.0, 5.0]), 3.0, 4.0), stats.betaprime([2.0, 5.0], 3.0, scale=4.0)),
    "ExponentiallyModifiedGaussian": (
        tfd.ExponentiallyModifiedGaussian(np.array([0.0, 5.0]), 2.0, 3.0),
        stats.exponnorm(1 / 6, [0.0, 5.0], 2.0),
    ),
    "InverseGaussian": (  # in the second element, `exp(2 concentration / loc)` overflows
        tfd.InverseGaussian(np.array([1.0, 1.0]), [0.5, 1e4]),
        stats.invgauss([2.0, 1e-4], scale=[0.5, 1e4]),
    ),
    "NormalInverseGaussian": (
        tfd.NormalInverseGaussian(np.array([0.0, 5.0]), 2.0, 3.0, 1.5),
        stats.norminvgauss(6.0, 3.0, [0.0, 5.0], 2.0),
    ),
    "Poisson": (tfd.Poisson(np.array([1e-3, 1e5])), stats.poisson([1e-3, 1e5])),
    "NegativeBinomial": (
        tfd.NegativeBinomial(np.array([0.3, 50.0]), probs=0.9),
        stats.nbinom([0.3, 50.0], 0.1),
    ),
    "Binomial": (tfd.Binomial(np.array([3.0, 1000.0]), probs=0.4), stats.binom([3, 1000], 0.4)),
    "BetaBinomial": (tfd.BetaBinomial(np.array([3.0, 90.0]), 0.4, 7.0), stats.betabinom([3, 90], 0.4, 7.0)),
    "Skellam": (tfd.Skellam(np.array([0.1, 300.0]), 20.0), stats.skellam([0.1, 300.0], 20.0)),
    "Geometric": (tfd.Geometric(probs=np.array([0.91, 1e-4])), stats.geom([0.91, 1e-4], -1)),
}


# The quantiles of these families are tested only by cases marked `thorough`, because the tests of other families run
# the same search. Every run compares the CDFs of these families with SciPy.
MORE = ("Binomial", "BetaBinomial", "ExponentiallyModifiedGaussian", "GammaGamma", "NormalInverseGaussian")


@pytest.mark.thorough(but=("Normal", "Gamma", "StudentT", "Poisson", "Skellam"))
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.thorough if name in MORE else ()) for name in SCALARS]
)
def test_quantiles_match_scipy(name):
    distribution, reference = SCALARS[name]
    found = nllfit.quantile(distribution, LEVELS).numpy()
    expected = np.stack([reference.ppf(level) for level in LEVELS])
    # SciPy's own inversions of a CDF stop at about 1e-8.
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-8 * np.ptp(expected, 0).max())


@pytest.mark.parametrize("name", SCALARS)
def test_cdf_and_survival_match_scipy_on_and_off_the_support(name):
    distribution, reference = SCALARS[name]
    places = np.concatenate([reference.ppf(np.array(LEVELS)[:, None]), [[-20.0, -20.0], [-3.0, -3.0], [60.0, 60.0]]])
    below, above = nllfit.cdf(distribution, places).numpy(), nllfit.survival(distribution, places).numpy()
    # TensorFlow's incomplete gamma function has ten digits at a count of 1e5.
    np.testing.assert_allclose(below, reference.cdf(places), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(above, reference.sf(places), rtol=1e-9, atol=1e-12)


# One family for each way to compute quantiles: a formula, a search over real numbers, and a search over counts.
EACH_WAY = ("LogNormal", "Gamma", "Poisson")


@pytest.mark.thorough(but=("Poisson", "LogNormal"))
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in EACH_WAY else pytest.mark.thorough) for name in SCALARS]
)
def test_quantiles_in_float32_are_those_of_float64_rounded(name):
    distribution, _ = SCALARS[name]
    found = nllfit.quantile(in_float32(distribution), LEVELS[1:]).numpy()
    assert found.dtype == np.float32
    # `exact` is computed in float64, from the parameters after rounding to float32.
    exact = nllfit.quantile(in_float32(distribution, tf.float64), LEVELS[1:])
    np.testing.assert_allclose(found, exact, rtol=1e-6, atol=1e-37)  # numbers below 1.2e-38 are rounded to 0 in float32


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["Geometric", "NegativeBinomial"])
def test_quantiles_are_the_same_under_xla(name):
    distribution = SCALARS[name][0]
    compiled = tf.function(lambda: nllfit.quantile(distribution, LEVELS), autograph=False, jit_compile=True)
    np.testing.assert_allclose(compiled(), nllfit.quantile(distribution, LEVELS), rtol=1e-12)


def in_float32(distribution, dtype=tf.float32):
    names = type(distribution).parameter_properties()
    values = {name: distribution.parameters.get(name) for name in names}
    rounded = {name: tf.cast(value, tf.float32) for name, value in values.items() if value is not None}
    return type(distribution)(**{name: tf.cast(value, dtype) for name, value in rounded.items()})


@pytest.mark.parametrize(
    ("kit", "head"),
    in_turn(
        [
            ("Normal", (2,), [[0.1, -3.0]]),
            ("Mixture", ("Normal", 3, 2), [[0.1, -3.0]]),
            ("Mixture", ("Poisson", 2), [[4.0]]),
            ("MultivariateNormalTriL", (2,), [[0.1, -3.0]]),
            ("NegativeBinomial", ((2, 2),), [[[0.0, 1.0], [2.0, 9.0]]]),
            ("Bernoulli", (), [[0.0]]),
            ("OneHotCategorical", (3,), [[0.0, 1.0, 0.0]]),
            ("Categorical", (3,), [1]),
        ]
    ),
)
def test_every_head_has_a_cdf_and_quantiles(kit, head):
    name, arguments, y = head
    head = getattr(kit.heads, name)(*arguments)
    output = head(tf.random.stateless_normal([1, head.family.params_size], (1, 2)))
    draws = kit.distribution(output).sample(100_000, seed=(1, 2)).numpy()
    y = np.array(y, np.float32)
    share = (draws <= y).mean(0)
    np.testing.assert_allclose(nllfit.cdf(output, y), share, atol=5 * 0.5 / np.sqrt(1e5))  # five standard errors
    np.testing.assert_allclose(nllfit.survival(output, y), 1 - share, atol=5 * 0.5 / np.sqrt(1e5))
    middle = nllfit.quantile(output, 0.5).numpy()
    assert middle.shape == y.shape
    assert np.all((draws <= middle).mean(0) >= 0.5 - 5 * 0.5 / np.sqrt(1e5))
    assert np.all((draws < middle).mean(0) <= 0.5 + 5 * 0.5 / np.sqrt(1e5))
    low, high = (end.numpy() for end in nllfit.interval(output, 0.8))
    assert np.all(((draws >= low) & (draws <= high)).mean(0) > 0.8 - 5 * 0.4 / np.sqrt(1e5))


def test_a_mixture_of_mixtures_has_marginal_quantiles():
    inner = tfd.MixtureSameFamily(
        tfd.Categorical(logits=tf.zeros([4, 5, 3])),
        tfd.Independent(tfd.Normal(tf.random.stateless_normal([4, 5, 3, 2], (1, 2)), 0.5), 1),
    )
    ensemble = tfd.MixtureSameFamily(tfd.Categorical(logits=tf.random.stateless_normal([4, 5], (3, 4))), inner)
    draws = ensemble.sample(20_000, seed=(5, 6)).numpy()
    y = np.full([4, 2], 0.3, "float32")
    np.testing.assert_allclose(nllfit.cdf(ensemble, y), (draws <= y).mean(0), atol=5 * 0.5 / np.sqrt(2e4))


@pytest.mark.parametrize("event", [(), (1,)])
def test_weights_or_components_of_a_mixture_may_be_common_to_all_rows(event):
    """If the components are fixed, a network predicts only their weights, and TFP broadcasts the components."""
    rows = np.array([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]]), np.array([[1.0, 2.0, 3.0], [2.0, 5.0, 9.0]])
    y = np.full([2, *event], 1.5)
    for probs, place in ((rows[0], rows[1][0]), (rows[0][0], rows[1])):

        def mixture(probs, place):
            components = tfd.Laplace(np.reshape(place, [*place.shape, *event]), np.float64(1.0))
            components = tfd.Independent(components, 1) if event else components
            return tfd.MixtureSameFamily(tfd.Categorical(probs=probs), components)

        found, expected = mixture(probs, place), mixture(*(part + np.zeros([2, 1]) for part in (probs, place)))
        laws = law_of(found), law_of(expected)
        assert laws[0].some_outcome().shape == [2, *event]
        np.testing.assert_allclose(laws[0].central_value(), laws[1].central_value(), rtol=1e-14)
        np.testing.assert_allclose(nllfit.cdf(found, y), nllfit.cdf(expected, y), rtol=1e-14)
        np.testing.assert_allclose(nllfit.crps(y, found), nllfit.crps(y, expected), rtol=1e-12)


@pytest.mark.thorough
@pytest.mark.parametrize("event", [(), (2,)])
def test_a_mixture_of_censored_families_has_the_quantiles_of_the_uncensored_mixture(event):
    """The outcomes of a censored family have one more axis, which holds the two ends of an interval."""
    rng = np.random.default_rng(0)
    normal = nllfit.Family("Normal", event)
    params = [tf.constant(rng.normal(size=[3, normal.params_size])) for _ in range(4)]
    mixtures = [mixture_of(family, params, [None] * 4) for family in (normal, nllfit.Censored(normal))]
    plain, censored = (nllfit.quantile(mixture, [0.1, 0.5]) for mixture in mixtures)
    np.testing.assert_allclose(censored, plain, rtol=1e-12)


def test_a_mixture_of_flows_mixes_each_element():
    """An ensemble of networks that end in flows predicts a mixture of flows. These flows are decreasing functions."""
    rng = np.random.default_rng(0)
    loc, scale = rng.normal(size=[3, 2, 2]), np.exp(rng.normal(size=[3, 2, 1]))  # rows, components, elements
    flow = tfp.bijectors.Chain([tfp.bijectors.Scale(-scale), tfp.bijectors.Exp(), tfp.bijectors.Shift(loc)])
    base = tfd.Normal(tf.zeros([], tf.float64), 1.0)
    components = tfd.Independent(tfd.TransformedDistribution(base, flow), 1)
    mixture = tfd.MixtureSameFamily(tfd.Categorical(probs=np.array([0.3, 0.7])), components)

    def expected(y):
        return np.einsum("nkd,k->nd", stats.norm(loc).sf(np.log(-y[:, None] / scale)), [0.3, 0.7])

    y = -np.exp(rng.normal(size=[3, 2]))
    np.testing.assert_allclose(nllfit.cdf(mixture, y), expected(y), rtol=1e-12)
    np.testing.assert_allclose(expected(nllfit.quantile(mixture, 0.3).numpy()), 0.3, rtol=1e-12)


def test_only_a_scalar_threshold_is_broadcast():
    distribution = tfd.Independent(tfd.Normal(tf.zeros([4, 1]), 1.0), 1)
    np.testing.assert_array_equal(nllfit.survival(distribution, 0.0), np.full([4, 1], 0.5))
    assert nllfit.cdf(distribution, tf.zeros([7, 4, 1])).shape == [7, 4, 1]
    for shape in ([4], [1, 1], [4, 2], [1]):
        with pytest.raises(ValueError, match=r"`y` has shape .* outcomes have shape \(4, 1\)"):
            nllfit.cdf(distribution, tf.zeros(shape))


def test_bad_arguments_of_quantile_and_cdf_are_refused():
    distribution = tfd.Normal(0.0, 1.0)
    for q in (0.0, 1.0, -0.1, np.nan, [[0.5]], [0.5, 2.0]):
        with pytest.raises(ValueError, match="`q` is"):
            nllfit.quantile(distribution, q)
    for level in (0.0, 1.0, 90, [0.5]):
        with pytest.raises(ValueError, match="`level` is"):
            nllfit.interval(distribution, level)
    for call in (nllfit.quantile, nllfit.cdf, nllfit.interval):
        with pytest.raises(TypeError, match="end the model in a head"):
            call(tf.zeros([3, 1]), 0.5)
    with pytest.raises(NotImplementedError, match="TFP does not know the distribution of one element"):
        nllfit.quantile(tfd.VonMisesFisher([1.0, 0.0], 2.0), 0.5)


def test_quantiles_of_a_parameter_that_is_nan_are_nan():
    mixture = tfd.MixtureSameFamily(tfd.Categorical(logits=[0.0, 0.0]), tfd.Normal([0.0, np.nan], 1.0))
    assert np.isnan(nllfit.quantile(mixture, 0.5))


@pytest.mark.thorough
def test_quantiles_work_with_an_unknown_batch_size():
    @tf.function(input_signature=[tf.TensorSpec([None, 6])])
    def middle(params):
        return nllfit.quantile(heads.Mixture("Normal", 2)(params), 0.5)

    assert middle(tf.zeros([5, 6])).shape == [5, 1]


# If differences of CDF values have too few digits for one window, the CDFs of all windows in its batch are computed
# from logarithms. So the windows whose differences have enough digits are one batch, and
# the other windows are a second batch.
@pytest.mark.thorough
@pytest.mark.parametrize(
    "ends",
    [
        {"half": (0.0, np.inf), "both": (-1.0, 0.5), "upper tail": (9.0, np.inf), "lower tail": (-np.inf, -9.0)},
        {"narrow": (0.3, 0.3 + 1e-6), "beyond the digits of a CDF": (45.0, 46.0)},
    ],
    ids=["with digits", "without"],
)
def test_quantiles_in_a_window_far_in_a_tail_are_accurate(ends):
    low, high = np.transpose([*ends.values()])
    scale = float(nllfit.Family("Normal").distribution(tf.zeros([2], tf.float64)).scale)
    windows = TruncatedDistribution(tfd.Normal(np.zeros(len(low)), scale), tf.constant(low), tf.constant(high))
    references = [stats.truncnorm(a / scale, b / scale, scale=scale) for a, b in ends.values()]
    y = np.transpose([reference.ppf(LEVELS) for reference in references])
    found = tf.function(lambda: nllfit.quantile(windows, LEVELS), autograph=False)()
    below, above = nllfit.cdf(windows, y).numpy(), nllfit.survival(windows, y).numpy()
    for i, (name, reference) in enumerate(zip(ends, references, strict=True)):
        np.testing.assert_allclose(found[:, i], y[:, i], rtol=1e-8, atol=1e-12, err_msg=name)
        # Rounding a quantile changes the CDF most where the CDF is steep: in a window that is narrow or far in a tail.
        step = 1e-14 * max(np.square(y[:, i] / scale).max(), 0.1 / (high[i] - low[i]), 1.0)
        for probabilities, of_y in ((below, reference.cdf), (above, reference.sf)):
            np.testing.assert_allclose(probabilities[:, i], of_y(y[:, i]), rtol=1e-9, atol=step, err_msg=name)


@pytest.mark.thorough
def test_one_number_is_compared_with_all_rows_of_a_narrow_window():
    locs, low, high = np.array([0.0, 3.0]), tf.constant(0.0, tf.float64), tf.constant(1e-4, tf.float64)
    below = stats.norm(locs).cdf(np.array([[0.0], [4e-5], [1e-4]]))
    expected = (below[1] - below[0]) / (below[2] - below[0])

    @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.float64)], autograph=False)
    def of_rows(loc):
        return nllfit.cdf(TruncatedDistribution(tfd.Normal(loc, np.float64(1.0)), low, high), 4e-5)

    np.testing.assert_allclose(of_rows(locs[:, None])[:, 0], expected, rtol=1e-9)
    eager = TruncatedDistribution(tfd.Normal(locs, 1.0), low, high)
    np.testing.assert_allclose(nllfit.cdf(eager, 4e-5), expected, rtol=1e-9)


def test_a_one_sided_window_has_quantiles():
    window = nllfit.Truncated("Normal", 9.0).distribution(tf.zeros([2], tf.float64))
    scale = float(window.distribution.scale)
    expected = stats.truncnorm(9.0 / scale, np.inf, scale=scale).ppf(LEVELS)
    np.testing.assert_allclose(nllfit.quantile(window, LEVELS), expected, rtol=1e-8)


def test_quantiles_of_a_point_mass_with_a_density():
    amounts = nllfit.ZeroInflated("LogNormal").distribution(tf.constant([0.0, 0.0, 0.0], tf.float64))
    scale = float(amounts.distribution.scale)
    expected = [0.0, 0.0, *stats.lognorm(scale).ppf([0.2, 0.8])]
    np.testing.assert_allclose(nllfit.quantile(amounts, [1e-6, 0.49, 0.6, 0.9]), expected, rtol=1e-12)


@pytest.mark.parametrize(
    "distribution",
    [
        nllfit.Truncated("Gamma", 0.5, 3.0).distribution(tf.constant([[0.3, -0.2], [2.0, 1.0]], tf.float64)),
        nllfit.ZeroInflated("LogNormal").distribution(tf.constant([[0.0, 0.3, 0.4], [1.0, -9.0, 2.0]], tf.float64)),
        tfd.MixtureSameFamily(
            tfd.Categorical(probs=np.array([0.3, 0.7])), tfd.Normal(np.array([[0.0, 3.0], [50.0, 1.0]]), 1.0)
        ),
    ],
    ids=["Truncated", "ZeroInflated", "MixtureSameFamily"],
)
def test_a_search_takes_few_steps(distribution, monkeypatch):
    calls = []

    law = type(elements_of(distribution))
    cdf = law.cdf

    def counted(self):
        both = cdf(self)
        return lambda y: calls.append(1) or both(y)

    monkeypatch.setattr(law, "cdf", counted)
    levels = np.linspace(0.001, 0.999, 200)
    found = nllfit.quantile(distribution, levels)
    assert len(calls) < 75  # bisection takes 64 steps; waiting for rounding errors to settle would take more than 100
    below, above = nllfit.cdf(distribution, found).numpy(), nllfit.survival(distribution, found).numpy()
    reached = np.abs(below - levels[:, None]) <= 1e-13
    assert np.all(reached | ((found.numpy() == 0) & (below > levels[:, None])))
    assert np.all(np.isfinite(above))


@pytest.mark.thorough(but="Cauchy")
@pytest.mark.parametrize(
    ("name", "parameters", "reference"),
    [
        ("Cauchy", (0.0, 1.0), stats.cauchy.ppf),
        ("HalfNormal", (1.0,), lambda q: 2**0.5 * special.erfinv(q)),
        ("TwoPieceNormal", (0.0, 1.0, 1.0), stats.norm.ppf),
    ],
)
def test_quantiles_at_tiny_levels_have_all_digits(name, parameters, reference):
    distribution = getattr(tfd, name)(*(tf.constant(value, tf.float64) for value in parameters))
    levels = np.array([1e-12, 0.25, 0.75])
    np.testing.assert_allclose(nllfit.quantile(distribution, levels), reference(levels), rtol=1e-13)


def test_subnormal_numbers_are_not_treated_as_0():
    distribution = tfd.Beta(tf.constant(0.01, tf.float64), tf.constant(5.0, tf.float64))
    y = [-2.2e-308, 2.2e-308, 5e-324, 0.0]
    # TensorFlow rounds positive numbers below 2.2250738585072014e-308 to 0. `nllfit.cdf` replaces them by this bound.
    smallest = stats.beta(0.01, 5).cdf(2.2250738585072014e-308)
    np.testing.assert_allclose(nllfit.cdf(distribution, y), [0, smallest, smallest, 0], rtol=1e-12)


def test_one_number_is_compared_with_all_rows_of_a_sum_over_counts():
    one, other = np.array([[0.7], [0.9], [2.1]]), np.array([[1.3], [0.8], [0.3]])
    found = nllfit.cdf(tfd.BetaBinomial(5.0, one, other), 3)
    np.testing.assert_allclose(found, stats.betabinom.cdf(3, 5, one, other), rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_finitely_many_outcomes_may_be_fractions_and_negative(dtype):
    outcomes, probs = np.array([-1.5, 0.1, 2.0], dtype), np.array([[0.25, 0.25, 0.5], [0.5, 0.0, 0.5]], dtype)
    distribution = tfd.FiniteDiscrete(outcomes, probs=probs)
    y = np.array([[-2.0], [-1.5], [0.0], [0.1], [1.9], [2.0], [9.0]]) + np.zeros(2)
    reached = (outcomes <= y.astype(dtype)[..., None]) * probs
    np.testing.assert_allclose(nllfit.cdf(distribution, y), reached.sum(-1), rtol=1e-7)
    np.testing.assert_allclose(nllfit.survival(distribution, y), 1 - reached.sum(-1), rtol=1e-7)
    levels = [0.2, 0.25, 0.3, 0.6]
    expected = np.array([[-1.5, -1.5], [-1.5, -1.5], [0.1, -1.5], [2.0, 2.0]], dtype)
    np.testing.assert_array_equal(nllfit.quantile(distribution, levels), expected)
    np.testing.assert_array_equal(nllfit.mode(distribution), [2.0, -1.5])
    apart = np.abs(outcomes[:, None] - outcomes)
    crps = (probs * np.abs(outcomes - 0.7)).sum(-1) - np.einsum("bi,ij,bj->b", probs, apart, probs) / 2
    np.testing.assert_allclose(nllfit.crps([0.7, 0.7], distribution), crps, rtol=1e-6)
    assert np.isfinite(distribution.log_prob(law_of(distribution).some_outcome())).all()


@pytest.mark.parametrize(("family", "reference"), [("TruncatedNormal", stats.norm), ("TruncatedCauchy", stats.cauchy)])
def test_tfps_truncated_families_may_be_open_on_one_side(family, reference):
    low, high = np.array([0.0, -np.inf, 9.0]), np.array([np.inf, 1.0, 12.0])
    window = getattr(tfd, family)(np.zeros(3), np.ones(3), low, high)
    y = np.array([10.0, -10.0, 9.5])
    upper = y > 0  # there, the survival function has more digits
    start, end = np.where(upper, reference.sf(low), reference.cdf(high)), reference.cdf(low) * ~upper
    whole = start - np.where(upper, reference.sf(high), end)
    expected = np.where(upper, reference.sf(y) - reference.sf(high), reference.cdf(y) - end) / whole
    found = np.where(upper, nllfit.survival(window, y), nllfit.cdf(window, y))
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    np.testing.assert_allclose(nllfit.cdf(window, y) + nllfit.survival(window, y), 1, rtol=1e-12)
    assert np.isfinite(law_of(window).some_outcome()).all()
    bijector = line(window)
    np.testing.assert_allclose(bijector.forward(tf.identity(bijector.inverse(y))), y, rtol=1e-12)


@pytest.mark.parametrize("cls", [tfd.OrderedLogistic, tfd.StoppingRatioLogistic, tfd.Categorical])
def test_the_survival_function_of_rare_classes_has_all_digits(cls):
    labels = cls(logits=np.array([0.0, 0.0, -60.0])) if cls is tfd.Categorical else cls(np.array([0.0, 50.0]), 0.0)
    rare = labels.prob(2)
    np.testing.assert_allclose(nllfit.survival(labels, 1), rare, rtol=1e-12)
    np.testing.assert_allclose(nllfit.cdf(labels, -1), 0)
    np.testing.assert_allclose(nllfit.survival(labels, -1), 1, rtol=1e-12)
    np.testing.assert_allclose([nllfit.cdf(labels, 0), nllfit.survival(labels, 5)], [labels.prob(0), 0], rtol=1e-12)


def test_quantiles_have_no_gradient():
    loc = tf.constant([0.0])
    with tf.GradientTape() as tape:
        tape.watch(loc)
        found = nllfit.quantile(tfd.Normal(loc, 1.0), 0.3)
    assert tape.gradient(found, loc) is None
