"""Compares the modes of distributions with a search over a grid, SciPy's minimisation and TFP's formulas."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import optimize, special, stats

import nllfit
from nllfit.families.law import elements_of

from .keras_versions import in_turn

tfd = tfp.distributions


THOROUGH = {
    *("exponentially modified", "in a window", "BetaBinomial", "Skellam", "Truncated", "ZeroInflated"),
    *("Beta", "Binomial", "Kumaraswamy", "Pareto", "Triangular", "Uniform", "Zipf"),
}


def in_turn_of(names):
    return [pytest.param(name, marks=pytest.mark.thorough if name in THOROUGH else ()) for name in names]


def mixture(components, *probs):
    return tfd.MixtureSameFamily(tfd.Categorical(probs=np.array(probs)), components)


def unlike():
    parts = [tfd.Normal(np.array([0.0, 3.0]), 2.0), tfd.Gamma(np.array([9.0, 1.5]), np.array([2.0, 0.5]))]
    return tfd.Mixture(tfd.Categorical(probs=np.array([[0.3, 0.7], [0.5, 0.5]])), parts)


TRUNCATED = nllfit.Truncated("Normal", 0.5, 4.0).distribution(tf.constant([[0.1, 0.0], [5.0, 1.0]], tf.float64))
SCALES = np.asarray(TRUNCATED.distribution.scale)

# A dict of `(distribution, components, bounds)` by name. For each row of the batch, `components` has pairs of a mixture
# weight and a SciPy distribution. All modes are between the `bounds`.
CONTINUOUS = {
    "two Normals": (
        mixture(tfd.Normal(np.array([[0.0, 9.0], [0.0, 1.5], [0.0, 2.5]]), [2.0, 1.0]), 0.6, 0.4),
        [[(0.6, stats.norm(0, 2)), (0.4, stats.norm(loc))] for loc in (9.0, 1.5, 2.5)],
        (-5, 12),
    ),
    "a narrow spike of a small share": (
        mixture(tfd.Normal(np.array([[0.0, 5.3]]), [1.0, 1e-7]), 1 - 1e-4, 1e-4),
        [[(1 - 1e-4, stats.norm()), (1e-4, stats.norm(5.3, 1e-7))]],
        (5.3 - 1e-6, 5.3 + 1e-6),
    ),
    "unlike families": (
        unlike(),
        [
            [(0.3, stats.norm(0, 2)), (0.7, stats.gamma(9, scale=0.5))],
            [(0.5, stats.norm(3, 2)), (0.5, stats.gamma(1.5, scale=2))],
        ],
        (-4, 9),
    ),
    "LogNormals far apart": (
        mixture(tfd.LogNormal(np.array([[-3.0, 4.0]]), [0.5, 0.1]), 0.1, 0.9),
        [[(0.1, stats.lognorm(0.5, scale=np.exp(-3))), (0.9, stats.lognorm(0.1, scale=np.exp(4)))]],
        (1e-3, 1),
    ),
    "in a window": (
        TRUNCATED,
        [
            [(1.0, stats.truncnorm((0.5 - loc) / scale, (4 - loc) / scale, loc, scale))]
            for loc, scale in zip([0.1, 5.0], SCALES, strict=True)
        ],
        (0.5, 4),
    ),
    "exponentially modified": (
        tfd.ExponentiallyModifiedGaussian(np.array([0.0, 1.0]), 1.0, np.array([2.0, 0.3])),
        [[(1.0, stats.exponnorm(0.5))], [(1.0, stats.exponnorm(1 / 0.3, 1.0))]],
        (-3, 6),
    ),
}


def highest_point(log_density, low, high):
    grid, step = np.linspace(low, high, 2001, retstep=True)
    best = grid[np.argmax(log_density(grid))]
    bounds = max(best - step, low), min(best + step, high)
    found = optimize.minimize_scalar(lambda y: -log_density(y), bounds=bounds, method="bounded")
    return found.x, -found.fun


@pytest.mark.parametrize("name", in_turn_of(CONTINUOUS))
def test_modes_match_scipy(name):
    distribution, references, (low, high) = CONTINUOUS[name]
    for mode, parts in zip(nllfit.mode(distribution).numpy(), references, strict=True):

        def log_density(y, parts=parts):
            return special.logsumexp([np.log(share) + part.logpdf(y) for share, part in parts], axis=0)

        expected, height = highest_point(log_density, low, high)
        assert mode == pytest.approx(expected, abs=1e-5)  # SciPy's search is accurate to 1e-5
        assert log_density(mode) >= height - 1e-12


COUNTS = {
    "Poissons": mixture(tfd.Poisson(np.array([[0.3, 40.0], [5.0, 9.0], [1e4, 1.1e4]])), 0.05, 0.95),
    "BetaBinomial": tfd.BetaBinomial(np.array([3.0, 10.0, 900.0]), [0.5, 3.0, 8.0], [0.6, 2.0, 3.0]),
    "Skellam": tfd.Skellam(np.array([0.5, 30.0, 100.3]), 20.0),
    "ZeroInflated": nllfit.ZeroInflated("NegativeBinomial").distribution(
        tf.constant([[-3.0, 9.0, 1.0], [0.5, 9.0, 1.0], [-9.0, 80.0, 3.0]], tf.float64)
    ),
    "Truncated": nllfit.Truncated("Poisson", low=7).distribution(tf.constant([[1.0], [2.5], [5.0]], tf.float64)),
    "Bernoullis": mixture(tfd.Bernoulli(probs=np.array([[0.2, 0.9], [0.4, 0.3], [0.1, 0.6]])), 0.5, 0.5),
}


@pytest.mark.parametrize("name", in_turn_of(COUNTS))
def test_modes_of_counts_are_exact(name):
    law = elements_of(COUNTS[name])
    low, high = law.quantile(1e-9), law.quantile(1 - 1e-9)
    counts = np.arange(np.min(low), np.max(high) + 1)[:, None]
    possible = counts <= law.ends()[1]
    log_probs = law.log_prob(tf.cast(tf.where(possible, counts, 0), law.distribution.dtype))
    expected = counts[np.argmax(tf.where(possible, log_probs, -np.inf), 0), 0]
    np.testing.assert_array_equal(np.asarray(nllfit.mode(COUNTS[name]), float), expected)


# TFP has formulas for the modes of these families. For some of these parameters the formula is wrong or NaN.
FORMULAS = {
    "Weibull": tfd.Weibull(np.array([0.5, 1.0, 3.0]), 2.0),
    "Gamma": tfd.Gamma(np.array([0.5, 1.0, 3.0]), 2.0),
    "Exponential": tfd.Exponential(np.array([2.0])),
    "Beta": tfd.Beta(np.array([0.5, 2.0, 2.0, 1.0]), np.array([2.0, 0.5, 3.0, 1.0])),
    "Chi2": tfd.Chi2(np.array([1.0, 2.0, 5.0])),
    "Kumaraswamy": tfd.Kumaraswamy(np.array([0.5, 2.0, 2.0]), np.array([2.0, 0.5, 3.0])),
    "GeneralizedExtremeValue": tfd.GeneralizedExtremeValue(0.0, 1.0, np.array([-0.5, 0.5, -1.5])),
    "Pareto": tfd.Pareto(np.array([1.0, 3.0]), 2.0),
    "TruncatedNormal": tfd.TruncatedNormal(np.zeros(3), 1.0, [-1.0, 1.0, -3.0], [3.0, 3.0, -1.0]),
    "Uniform": tfd.Uniform(np.array([0.0, 1.0]), 2.0),
    "Triangular": tfd.Triangular(0.0, 1.0, np.array([0.3, 1.0])),
    "Binomial": tfd.Binomial(np.array([3.0, 100.0]), probs=0.3),
    "Poisson": tfd.Poisson(np.array([0.1, 3.5, 1e5])),
    "Zipf": tfd.Zipf(np.array([1.5, 3.0])),
}


@pytest.mark.parametrize("name", in_turn_of(FORMULAS))
def test_no_quantile_has_a_higher_density_than_the_mode(name):
    law = elements_of(FORMULAS[name])
    mode = tf.cast(nllfit.mode(FORMULAS[name]), tf.float64)
    elsewhere = law.quantile(np.linspace(0.001, 0.999, 999)[:, None])
    height, others = (law.log_prob(tf.cast(y, law.distribution.dtype)).numpy() for y in (mode, elsewhere))
    assert np.all(height >= others - 1e-12)


@pytest.mark.thorough
def test_a_graph_of_unknown_batch_size_finds_the_same_modes_and_nan_stays_in_its_row():
    head = nllfit.heads.Mixture("Gamma", 2, dtype="float64")
    params = np.array([[0.0, 1.0, 5.0, 0.3, 9.0, 1.0], [0.0] * 6, [np.nan] * 6, [2.0, 0.0, 1.0, 2.0, 3.0, 4.0]])

    @tf.function(input_signature=[tf.TensorSpec([None, 6], tf.float64)])
    def modes(params):
        return nllfit.mode(head(params))

    found = modes(params).numpy()
    assert found.shape == (4, 1)
    assert np.isnan(found[2, 0])
    np.testing.assert_allclose(found[[0, 1, 3]], nllfit.mode(head(tf.constant(params[[0, 1, 3]]))), rtol=1e-12)


@pytest.mark.parametrize(("kit", "dtype"), in_turn(["float32"]))
def test_a_heads_mixture_has_a_mode_of_its_own(kit, dtype):
    head = kit.heads.Mixture("Normal", 2, dtype=dtype)
    output = head(tf.constant([[0.0, 0.0, -9.0, 0.5, 9.0, -2.5]], dtype))
    mode = kit.distribution(output).mode()
    assert mode.dtype == dtype
    np.testing.assert_allclose(mode, [[9.0]], rtol=1e-6)
    np.testing.assert_array_equal(nllfit.mode(output), mode)


def test_amounts_with_zeros_have_the_mode_0():
    amounts = nllfit.ZeroInflated("Gamma").distribution(tf.constant([[-5.0, 9.0, 9.0]]))
    np.testing.assert_array_equal(nllfit.mode(amounts), [0.0])
    ensemble = tfd.MixtureSameFamily(tfd.Categorical(probs=[0.5]), amounts)
    np.testing.assert_array_equal(nllfit.mode(ensemble), 0.0)


def test_the_mode_is_the_most_probable_of_several_points():
    probs, beta = [[0.1, 0.3, 0.6], [0.3, 0.1, 0.6]], tfd.Beta([2.0, 2.0], 2.0)
    ends = [tfd.Deterministic(tf.fill([2], end)) for end in (0.0, 1.0)]
    mixture = tfd.Mixture(tfd.Categorical(probs=probs), [*ends, beta])
    np.testing.assert_array_equal(nllfit.mode(mixture), [1.0, 0.0])
    ensemble = tfd.MixtureSameFamily(tfd.Categorical(probs=[0.3, 0.7]), mixture)  # 0: 0.24, 1: 0.16
    np.testing.assert_array_equal(nllfit.mode(ensemble), 0.0)


@pytest.mark.thorough
def test_zeros_added_to_counts_are_the_mode_only_if_they_are_most_likely():
    counts = [tfd.Deterministic([0.0, 0.0]), tfd.Poisson([5.5, 5.5])]
    mixture = tfd.Mixture(tfd.Categorical(probs=[[0.1, 0.9], [0.6, 0.4]]), counts)
    np.testing.assert_array_equal(nllfit.mode(mixture), [5.0, 0.0])


@pytest.mark.parametrize("dtype", [tf.int8, tf.uint8, tf.int16])
def test_labels_of_a_small_dtype_have_modes_and_quantiles(dtype):
    labels = tfd.Categorical(probs=[0.2, 0.3, 0.5], dtype=dtype)
    np.testing.assert_array_equal(nllfit.mode(labels), 2)
    np.testing.assert_array_equal(nllfit.quantile(labels, [0.1, 0.4, 0.9]), [0, 1, 2])
    np.testing.assert_array_equal(nllfit.cdf(labels, 256), 1)


def test_the_mode_of_a_censored_time_is_that_of_the_time():
    params = tf.constant([[1.0, 3.0]], tf.float64)
    times = nllfit.Family("Weibull").distribution(params)
    np.testing.assert_allclose(nllfit.mode(nllfit.Censored("Weibull").distribution(params)), times.mode(), rtol=1e-12)


def test_the_mode_of_class_labels_is_the_most_likely_class():
    probs = tf.constant([[[0.5, 0.5, 0.0], [0.0, 0.45, 0.55]]])
    ensemble = tfd.MixtureSameFamily(tfd.Categorical(probs=[[0.5, 0.5]]), tfd.Categorical(probs=probs))
    mode = nllfit.mode(ensemble)
    assert mode.dtype == tf.int32
    np.testing.assert_array_equal(mode, [1])
    ordered = tfd.OrderedLogistic([-1.0, 3.0], 0.5)
    np.testing.assert_array_equal(nllfit.mode(ordered), ordered.mode())


def test_vectors_have_a_mode_only_if_tfp_knows_it():
    normal = tfd.MultivariateNormalDiag([1.0, 2.0], [1.0, 1.0])
    np.testing.assert_array_equal(nllfit.mode(normal), [1.0, 2.0])
    vectors = nllfit.heads.Mixture("Normal", 2, 3)(tf.zeros([4, 14]))
    for call in (nllfit.mode, lambda vectors: vectors.mode()):
        with pytest.raises(NotImplementedError, match=r"outcomes of shape \(3,\), but TFP knows no mode: use"):
            call(vectors)
    with pytest.raises(TypeError, match="end the model in a head"):
        nllfit.mode(tf.zeros([3, 1]))


def test_a_class_or_a_family_has_no_mode():
    for wrong, shown in ((tfd.Normal, "the class Normal"), (nllfit.ZeroInflated("Poisson", 1), "a ZeroInflated")):
        with pytest.raises(TypeError, match=f"`distribution` is {shown}, but a distribution is needed"):
            nllfit.mode(wrong)
