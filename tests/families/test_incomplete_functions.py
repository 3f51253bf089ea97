"""Incomplete gamma and beta functions at large parameters, and the families, quantiles and scores built on them.

The expected values in the tables come from mpmath with 34 digits: `mp.quad` integrates the density over the smaller
tail, with the logarithm or the logit of `x` as the variable, in panels of four standard deviations. SciPy's functions
are wrong far in the lower tail. Within a few standard deviations of the mean, SciPy's functions are the reference.
"""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import special, stats

import nllfit
from nllfit import Censored
from nllfit.families.incomplete_functions import beta_tails, gamma_tails
from nllfit.families.law import law_of
from nllfit.families.log_kernels import log_beta_kernel, log_gamma_kernel

tfd = tfp.distributions
F64 = tf.float64
INF = np.inf


def constants(*values):
    return [tf.constant(value, F64) for value in values]


def beta_of(a, b, x):
    return beta_tails(a, b, x, 1 - x)


GAMMA = [  # shape, x, lower and upper tail
    (1e3, 747.0, 7.761557213874487e-19, 1.0),
    (1e3, 1000.0, 0.5042052441802155, 0.4957947558197845),
    (1e3, 1949.0, 1.0, 6.152443744318874e-125),
    (2e5, 196422.0, 4.203792602437564e-16, 0.9999999999999996),
    (2e5, 199553.0, 0.1587708207319768, 0.8412291792680232),
    (2e5, 213416.0, 1.0, 1.05813730493759e-189),
    (1e8, 99920000.0, 6.11569983219279e-16, 0.9999999999999994),
    (1e8, 99990000.0, 0.1586552535281438, 0.8413447464718562),
    (1e8, 100000000.0, 0.5000132980760141, 0.4999867019239859),
    (1e8, 100020000.0, 0.9772444692251448, 0.0227555307748552),
    (1e8, 100300000.0, 1.0, 1.204417312519353e-197),
]
BETA = [  # a, b, x, lower and upper tail
    (150.0, 2e7, 1.1e-05, 0.9999997631145381, 2.36885461857312e-7),
    (150.0, 2e7, 4e-06, 1.93857013028296e-12, 0.9999999999980614),
    (1e8, 1e8, 0.5, 0.5, 0.5),
    (1e8, 1e8, 0.4998, 7.708619109041338e-9, 0.9999999922913809),
    (2e5, 1e6, 0.168, 0.9999541204623028, 4.587953769724819e-5),
    (2.0, 1e6, 1.5e-06, 0.4421752271827754, 0.5578247728172246),
    (0.5, 1e10, 1e-10, 0.8427007929549037, 0.1572992070450963),
    (0.5, 1e8, 4e-07, 1.0, 3.744067444929063e-19),
    (30.0, 1e8, 1e-07, 2.509961214241396e-7, 0.9999997490038786),
]
# A function, a point, the index of a tail, and the derivatives of the logarithm of this tail with respect to each
# argument. The derivatives are finite differences in mpmath, with a step of 1e-7 standard deviations.
SLOPES = [
    (gamma_tails, (2e5, 199553.0), 0, (-0.00341072486459, 0.00341454061738)),
    (gamma_tails, (1e8, 100020000.0), 1, (0.000237304788129, -0.000237281061209)),
    (beta_of, (1e8, 1e8, 0.4998), 0, (-0.000411901229848, 0.000411736502297, 164727.563451)),
    (beta_of, (150.0, 2e7, 1.1e-05), 1, (0.399542739285, -3.64723276939e-6, -6631393.48241)),
]


@pytest.mark.parametrize("compiled", ["eagerly", "in a graph", pytest.param("by XLA", marks=pytest.mark.thorough)])
def test_both_tails_are_accurate_to_ten_digits(compiled):
    shape, x, *gamma = np.array(GAMMA).T
    a, b, y, *beta = np.array(BETA).T
    functions = gamma_tails, beta_tails
    if compiled != "eagerly":
        functions = [tf.function(part, autograph=False, jit_compile=compiled == "by XLA") for part in functions]
    np.testing.assert_allclose(functions[0](*constants(shape, x)), gamma, rtol=3e-11)
    np.testing.assert_allclose(functions[1](*constants(a, b, y, 1 - y)), beta, rtol=3e-11)
    if compiled == "eagerly":
        np.testing.assert_allclose(beta_tails(*constants(b, a, 1 - y, y)), beta[::-1], rtol=3e-11)
        found = gamma_tails(tf.constant(shape, tf.float32), tf.constant(x, tf.float32))
        assert found[0].dtype == tf.float32
        exact = x == x.astype(np.float32)
        np.testing.assert_allclose(found, np.where(exact, gamma, found), rtol=3e-6, atol=1e-37)


def test_ordinary_parameters_give_tensorflows_values():
    shape, x = (np.ravel(part) for part in np.meshgrid([0.01, 0.7, 3.0, 99.0, 999.0], [1e-3, 0.4, 2.0, 90.0, 1100.0]))
    found = gamma_tails(*constants(shape, x))
    np.testing.assert_allclose(
        found, [special.gammainc(shape, x), special.gammaincc(shape, x)], rtol=3e-12, atol=1e-300
    )
    a, b, x = (
        np.ravel(part) for part in np.meshgrid([0.01, 0.7, 3.0, 98.0, 999.0], [0.6, 2.0, 70.0], [1e-9, 0.3, 0.97])
    )
    found = beta_tails(*constants(a, b, x, 1 - x))
    np.testing.assert_allclose(found, [special.betainc(a, b, x), special.betaincc(a, b, x)], rtol=3e-12, atol=1e-300)


def log_tail_and_slopes(function, point, tail):
    with tf.GradientTape() as tape:
        tape.watch(point)
        value = tf.math.log(function(*point)[tail])
    return tape.gradient(value, point)


@pytest.mark.thorough(but="gamma_tails")
@pytest.mark.parametrize("function", [gamma_tails, beta_of])
def test_derivatives_of_log_tails_match_mpmath(function):
    """One test has all points of a function, because they share a trace that takes seconds."""
    for point, tail, slopes in (case[1:] for case in SLOPES if case[0] is function):
        # One call evaluates the point, and the points of the finite differences. At these points, one argument is
        # smaller or larger by 1e-4 standard deviations.
        steps = [1e-4 * np.sqrt(size if size > 1 else size * (1 - size) / (point[0] + point[1])) for size in point]
        moves = np.concatenate([np.zeros([1, len(point)]), np.diag(steps), -np.diag(steps)])
        points = constants(*(point + moves).T)
        with tf.GradientTape() as tape:
            tape.watch(points)
            first = log_tail_and_slopes(function, points, tail)
        np.testing.assert_allclose([slope[0] for slope in first], slopes, rtol=1e-9)
        found = [slope[0] for slope in tape.gradient(first[-1], points)]
        up, down = np.split(np.asarray(first[-1][1:]), 2)
        np.testing.assert_allclose(found, (up - down) / (2 * np.array(steps)), rtol=1e-5)


@pytest.mark.thorough
def test_infinite_and_nan_arguments_do_not_affect_others():
    shape, x = constants([1e6, 1e6, 1e6, 3.0], [INF, 0.0, 1e6, 2.0])
    with tf.GradientTape() as tape:
        tape.watch([shape, x])
        below, above = gamma_tails(shape, x)
        total = tf.reduce_sum(below)
    np.testing.assert_allclose(below[:2], [1, 0])
    np.testing.assert_allclose(above[:2], [0, 1])
    assert all(np.isfinite(slope).all() for slope in tape.gradient(total, [shape, x]))


def test_kernels_are_log_densities():
    shape, x = (np.ravel(part) for part in np.meshgrid([0.3, 5.0, 120.0, 1e8], [1e-30, 0.9, 1.0, 1.0001, 3.0]))
    x = x * shape
    np.testing.assert_allclose(
        log_gamma_kernel(*constants(shape, x)), stats.gamma(shape).logpdf(x) + np.log(x), rtol=1e-12, atol=1e-6
    )
    a, b, x = (np.ravel(part) for part in np.meshgrid([0.3, 5.0, 3e6], [0.6, 70.0, 1e6], [1e-30, 0.3, 0.5, 0.97]))
    expected = a * np.log(x) + b * np.log1p(-x) - special.betaln(a, b)
    np.testing.assert_allclose(log_beta_kernel(*constants(a, b, x, 1 - x)), expected, rtol=1e-12, atol=1e-9)


def gamma_by_scipy(shape, x):
    return special.gammainc(shape, x), special.gammaincc(shape, x)


def beta_by_scipy(a, b, x):
    return special.betainc(a, b, x), special.betaincc(a, b, x)


COUNTS = ("Poisson", "Binomial", "NegativeBinomial")
FAMILIES = {  # TFP's arguments, SciPy's tails, the mean and the standard deviation
    "Gamma": ((1e7, 2.0), lambda y: gamma_by_scipy(1e7, 2 * y), 5e6, 1581.0),
    "Chi2": ((2e7,), lambda y: gamma_by_scipy(1e7, y / 2), 2e7, 6325.0),
    "Chi": ((2e7,), lambda y: gamma_by_scipy(1e7, y * y / 2), 4472.136, 0.7071),
    "InverseGamma": ((1e7, 3.0), lambda y: gamma_by_scipy(1e7, 3 / y)[::-1], 3e-7, 9.5e-11),
    "ExpGamma": ((1e7, 1e7), lambda y: gamma_by_scipy(1e7, 1e7 * np.exp(y)), 0.0, 3.16e-4),
    "ExpInverseGamma": ((1e7, 1e7), lambda y: gamma_by_scipy(1e7, 1e7 * np.exp(-y))[::-1], 0.0, 3.16e-4),
    "Poisson": ((1e7,), lambda k: gamma_by_scipy(k + 1, 1e7)[::-1], 1e7, 3162.0),
    "Beta": ((1e7, 3e7), lambda y: beta_by_scipy(1e7, 3e7, y), 0.25, 6.85e-5),
    "PERT": ((1.0, 1.5, 3.0, 4e7), lambda y: beta_by_scipy(1 + 1e7, 1 + 3e7, (y - 1) / 2), 1.5, 1.37e-4),
    "Binomial": ((1e8, 0.0), lambda k: beta_by_scipy(1e8 - k, k + 1, 0.5), 5e7, 5000.0),
    "NegativeBinomial": ((1e7, 0.0), lambda k: beta_by_scipy(1e7, k + 1, 0.5), 1e7, 4472.0),
    "StudentT": ((1e8, 0.0, 1.0), lambda y: (stats.t(1e8).cdf(y), stats.t(1e8).sf(y)), 0.0, 1.0),
    "HalfStudentT": (
        (1e8, -5.0, 1.0),
        lambda y: (2 * stats.t(1e8).cdf(y + 5) - 1, 2 * stats.t(1e8).sf(y + 5)),
        0.0,
        1.0,
    ),
}

# SciPy 1.15, the newest on Python 3.10, is wrong by 9e-10 for these two families. The tails below are from mpmath.
BY_MPMATH = {
    "Beta": (
        [0.022685636727460649, 0.1585327012537023, 0.5000242788541087, 0.84146726891629223, 0.9999684773911079],
        [0.97731436327253935, 0.8414672987462977, 0.4999757211458913, 0.15853273108370777, 3.1522608892104166e-5],
    ),
    "PERT": (
        [0.022675801431858414, 0.15848854266658269, 0.49995144229272678, 0.84142311704522874, 0.99996845307313729],
        [0.97732419856814159, 0.84151145733341731, 0.50004855770727322, 0.15857688295477126, 3.1546926862706324e-5],
    ),
}


@pytest.mark.thorough(but="Gamma")
@pytest.mark.parametrize("name", FAMILIES)
def test_families_are_accurate_at_large_parameters(name):
    arguments, tails, middle, deviation = FAMILIES[name]
    distribution = getattr(tfd, name)(*constants(*arguments))
    y = middle + deviation * np.array([-2.0, -1.0, 0.0, 1.0, 4.0])
    y = np.floor(y) if name in COUNTS else y
    expected = BY_MPMATH.get(name) or tails(y)
    np.testing.assert_allclose(nllfit.cdf(distribution, y), expected[0], rtol=1e-10)
    np.testing.assert_allclose(nllfit.survival(distribution, y), expected[1], rtol=3e-9)  # the rounding of `y`
    levels = np.array([0.1, 0.4, 0.9])
    quantiles = nllfit.quantile(distribution, levels).numpy()
    if name in COUNTS:
        assert np.all(tails(quantiles)[0] >= levels)
        assert np.all(tails(quantiles - 1)[0] < levels)
    else:
        np.testing.assert_allclose(tails(quantiles)[0], levels, rtol=3e-9)
    found = law_of(distribution).log_interval()(*constants(y[1], y[3]))
    np.testing.assert_allclose(found, np.log(expected[0][3] - expected[0][1]), atol=1e-7)  # the rounding of `log_prob`


@pytest.mark.thorough(but=("Poisson", "StudentT", "Gamma", "Beta"))
@pytest.mark.parametrize("name", ["Gamma", "Poisson", "Beta", "NegativeBinomial", "Binomial", "StudentT"])
def test_crps_at_large_parameters_equals_the_integral(name):
    arguments, tails, middle, deviation = FAMILIES[name]
    distribution = getattr(tfd, name)(*constants(*arguments))
    y = np.floor(middle + deviation) if name in COUNTS else middle + deviation
    nodes, weights = np.polynomial.legendre.leggauss(200)
    expected = 0.0
    for tail, start, end in ((0, middle - 12 * deviation, y), (1, y, middle + 12 * deviation)):
        if name in COUNTS:
            counts = np.arange(np.floor(start), end) if tail == 0 else np.arange(y, np.floor(end))
            expected += np.sum(tails(counts)[tail] ** 2)
        else:
            places = (start + end) / 2 + (end - start) / 2 * nodes
            expected += np.sum(weights * tails(places)[tail] ** 2) * (end - start) / 2
    np.testing.assert_allclose(nllfit.crps(tf.constant(y, F64), distribution), expected, rtol=1e-8)


def test_intervals_of_large_counts_have_their_nominal_coverage():
    counts = stats.poisson(1e7).rvs(4000, random_state=1)
    low, high = nllfit.interval(tfd.Poisson(*constants(1e7)), 0.5)
    assert abs(np.mean((counts >= low) & (counts <= high)) - 0.5) < 0.03  # four standard errors
    pairs = np.array([[1e7 - 3000, 1e7 + 100], [1e7 + 2000, INF]])
    first, last = pairs.T
    found = Censored("Poisson").distribution(tf.constant(np.log([[1e7], [1e7]]))).log_prob(pairs)
    poisson = stats.poisson(np.exp(np.log(1e7)))
    expected = [np.log(poisson.cdf(last[0]) - poisson.cdf(first[0])), poisson.logsf(first[1])]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_a_strongly_skewed_normal_inverse_gaussian_matches_scipy():
    y = np.array([0.05, 0.5, 3.0, 50.0, 300.0])
    with np.errstate(all="ignore"):
        reference = stats.norminvgauss(50, 49.99)
        expected = [reference.cdf(one) for one in y]
    distribution = tfd.NormalInverseGaussian(*constants(0.0, 1.0, 50.0, 49.99))
    np.testing.assert_allclose(nllfit.cdf(distribution, y), expected, rtol=1e-8, atol=1e-12)
