"""Compares closed forms of the CRPS with `scoringrules` and with numerical integrals, and tests general properties."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import integrate, special, stats

import nllfit
from nllfit.families import tail_integrals
from nllfit.families.law import elements_of, law_of
from nllfit.families.laws import normal as normal_laws

tfd = tfp.distributions
scoringrules = pytest.importorskip("scoringrules")  # it needs Python 3.11

PROBS, LOCS, SCALES = np.array([0.2, 0.3, 0.5]), np.array([-1.0, 1.0, 40.0]), np.array([1e-2, 1.0, 3.0])


def normals(probs, loc, scale):
    return tfd.MixtureSameFamily(tfd.Categorical(probs=probs), tfd.Normal(loc, scale))


sr = {name.removeprefix("crps_"): function for name, function in vars(scoringrules).items() if name.startswith("crps_")}
FAR = [-1e6, -30.0, -2.0, 0.0, 0.9, 1.0, 4.0, 1e3]

# Families, parameters of several distributions, and the function of `scoringrules`.
CASES = {
    "Normal": (tfd.Normal, [(1.0, 2.0), (0.0, 1e-9)], sr["normal"]),
    "Laplace": (tfd.Laplace, [(1.0, 2.0)], sr["laplace"]),
    "Logistic": (tfd.Logistic, [(1.0, 2.0)], sr["logistic"]),
    "StudentT": (
        tfd.StudentT,
        [(1.001, 1.0, 2.0), (1.2, 1.0, 2.0), (3.0, 0.0, 1.0)],
        lambda y, df, loc, scale, **b: sr["t"](y, df, loc, scale, **b),
    ),
    "Gamma": (tfd.Gamma, [(0.3, 2.0), (50.0, 10.0)], sr["gamma"]),
    "Chi2": (tfd.Chi2, [(3.0,)], lambda y, df, **b: sr["gamma"](y, df / 2, 0.5, **b)),
    "Beta": (tfd.Beta, [(0.4, 2.0), (20.0, 30.0)], sr["beta"]),
    "LogNormal": (tfd.LogNormal, [(1.0, 2.0), (-3.0, 0.1)], sr["lognormal"]),
    "Exponential": (tfd.Exponential, [(0.3,)], sr["exponential"]),
    "Uniform": (tfd.Uniform, [(-1.0, 3.0)], lambda y, a, b, **c: sr["uniform"](y, a, b, 0.0, 0.0, **c)),
    "GeneralizedPareto": (
        tfd.GeneralizedPareto,
        [(0.0, 1.0, 0.3), (1.0, 2.0, -0.7)],
        lambda y, loc, scale, shape, **b: sr["gpd"](y, shape, loc, scale, 0.0, **b),
    ),
    "GeneralizedExtremeValue": (
        tfd.GeneralizedExtremeValue,
        [(0.0, 1.0, 0.3), (1.0, 2.0, -0.7), (1.0, 2.0, 0.9)],
        lambda y, loc, scale, shape, **b: sr["gev"](y, shape, loc, scale, **b),
    ),
    "Gumbel": (tfd.Gumbel, [(1.0, 2.0)], lambda y, loc, scale, **b: sr["gev"](y, 0.0, loc, scale, **b)),
    "TruncatedNormal": (
        tfd.TruncatedNormal,
        [(0.0, 1.0, -1.0, 3.0), (0.0, 1.0, 3.0, 5.0), (1.0, 2.0, -np.inf, 2.0), (0.0, 1.0, 0.0, np.inf)],
        lambda y, loc, scale, a, b, **c: sr["gtcnormal"](y, loc, scale, a, b, 0.0, 0.0, **c),
    ),
    "HalfNormal": (
        tfd.HalfNormal,
        [(2.0,)],
        lambda y, scale, **c: sr["gtcnormal"](y, 0.0, scale, 0.0, np.inf, 0.0, 0.0, **c),
    ),
    "TwoPieceNormal": (
        tfd.TwoPieceNormal,
        [(1.0, 2.0, 0.6)],
        lambda y, loc, scale, skew, **b: sr["2pnormal"](y, scale / skew, scale * skew, loc, **b),
    ),
}
# Families and parameters that are not compared with `scoringrules`.
OTHERS = {
    "Cauchy": [(1.0, 2.0)],
    "StudentT": [(0.8, 1.0, 2.0), (1.0, 0.0, 1.0), (1.002, 0.0, 1.0), (1e3, 0.0, 1.0)],
    "TwoPieceStudentT": [(3.0, 1.0, 2.0, 0.6)],
    "HalfStudentT": [(3.0, 1.0, 2.0)],
    "HalfCauchy": [(1.0, 2.0)],
    "GeneralizedPareto": [(0.0, 1.0, 1.0), (0.0, 1.0, 1e-9), (0.0, 1.0, 1.3)],
    "Pareto": [(3.0, 0.5), (0.9, 1.0)],
    "Weibull": [(0.7, 2.0), (3.0, 1.0)],
    "PERT": [(-1.0, 0.5, 3.0, 4.0)],
    "Triangular": [(-1.0, 3.0, 0.5)],
    "GeneralizedExtremeValue": [(0.0, 1.0, 1e-9), (0.0, 1.0, -1e-3), (0.0, 1.0, 1.0), (0.0, 1.0, 1.4)],
}


def scored(make, params, y, score=nllfit.crps):
    """Scores, and their gradients with respect to the outcomes and to the parameters."""
    y = tf.constant(y, tf.float64)
    params = [tf.broadcast_to(tf.constant(value, tf.float64), y.shape) for value in params]
    with tf.GradientTape() as tape:
        tape.watch([y, *params])
        scores = score(y, make(*params))
    return [scores, *tape.gradient(scores, [y, *params])]


# A test below compares the closed forms of all families except `TruncatedNormal` with a numerical integral.
@pytest.mark.thorough(but=("Normal", "Exponential", "GeneralizedExtremeValue", "Logistic", "TruncatedNormal"))
@pytest.mark.parametrize("name", CASES)
def test_closed_forms_match_scoringrules(name):
    family, several, reference = CASES[name]
    for params in several:
        low, high = (float(end) for end in law_of(family(*(tf.constant(value, tf.float64) for value in params))).ends())
        # Some scores of `scoringrules` are wrong outside the support or overflow far out.
        y = np.array([value for value in FAR if low < value < high and abs(value) < 100])
        found = scored(family, params, y)[0]
        with np.errstate(all="ignore"):
            expected = reference(y, *params, backend="numpy")
        np.testing.assert_allclose(found, expected, rtol=1e-9, err_msg=str(params))


def by_quadrature(y, distribution):
    return sum(
        tail_integrals.tail_integrals(elements_of(distribution), y, lambda probability, _: tf.square(probability))
    )


EVERY = {name: [*(CASES[name][1] if name in CASES else ()), *OTHERS.get(name, ())] for name in CASES | OTHERS}
# Families whose scores run the same code as those of a StudentT or a Beta.
ALIKE = ("HalfStudentT", "PERT", "TwoPieceStudentT")
WITHOUT_DIGITS = ("HalfCauchy", "TruncatedNormal")  # TFP's survival function is inaccurate for these


def moved(params, y):
    """Moves the outcomes and each parameter by small steps. Returns a tuple `(rows, steps)`.

    `rows` contains the outcomes and each parameter after each move, `[1 + len(params), num_moves, len(y)]`. The first
    move changes nothing. Each other move changes the outcomes or one parameter by -2, -1, 1 or 2 steps.

    `steps` contains the size of a step for the outcomes and for each parameter.
    """
    values = [y, *params]
    steps = [1e-3, *(1e-3 * (abs(value) or 1e-3) if np.isfinite(value) else 0.0 for value in params)]
    moves = [
        [value + step * h * (i == j) for j, value in enumerate(values)]
        for i, h in enumerate(steps)
        for step in (-2, -1, 1, 2)
    ]
    rows = [np.stack([np.broadcast_to(move[j], y.shape) for move in [values, *moves]]) for j in range(len(values))]
    return np.array(rows), steps


@pytest.mark.thorough(
    but=("Normal", "Gamma", "Laplace", "Logistic", "Cauchy", "Pareto", "Exponential", "Uniform", "LogNormal")
)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.thorough if name in ALIKE else ()) for name in EVERY]
)
def test_closed_forms_match_the_integral_and_their_gradients_differences(name):
    family, several = getattr(tfd, name), EVERY[name]  # all parameter sets of a family in one call
    if name not in WITHOUT_DIGITS:
        far, params = np.tile(FAR, len(several)), np.repeat(several, len(FAR), axis=0).T
        np.testing.assert_allclose(
            nllfit.crps(far, family(*params)), by_quadrature(tf.constant(far), family(*params)), rtol=1e-8
        )
    y = np.array([-2.3, 0.13, 0.8, 1.7, 4.0])  # every score has a derivative at these outcomes
    rows = np.stack([moved(params, y)[0] for params in several], 1)
    found = [np.asarray(part).reshape(rows.shape[1:]) for part in scored(family, rows[1:], rows[0])]
    for params, scores, *derivatives in zip(several, *found, strict=True):
        for i, (derivative, h) in enumerate(zip(derivatives, moved(params, y)[1], strict=True)):
            if h:
                ends = scores[1 + 4 * i : 5 + 4 * i]
                difference = (ends[0] - 8 * ends[1] + 8 * ends[2] - ends[3]) / (12 * h)
                # The truncation error of a difference is proportional to `h**4`, and its rounding error to `1 / h`.
                atol = 1e-8 + 1e-13 * np.max(scores) / h
                np.testing.assert_allclose(derivative[0], difference, rtol=1e-7, atol=atol, err_msg=str(params))


@pytest.mark.parametrize("y", [[-50.0, -1.0, 0.3, 35.0, 41.0, 1e4]])
def test_mixtures_of_normals_match_scoringrules(y):
    rows = [np.tile(values, [len(y), 1]) for values in (PROBS, LOCS, SCALES)]
    found = nllfit.crps(y, normals(*rows))
    expected = scoringrules.crps_mixnorm(np.array(y), rows[1], rows[2], rows[0], backend="numpy")
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_allclose(by_quadrature(tf.constant(y, tf.float64), normals(*rows)), found, 1e-8)


@pytest.mark.parametrize(
    ("family", "parameters"),
    [
        (tfd.LogNormal, ([-0.05, 0.05, 2.0], [0.3, 1.0, 0.01])),
        (tfd.Gamma, ([0.4, 3.0, 900.0], [2.0, 0.1, 30.0])),
        (lambda shape, log_rate: tfd.Gamma(shape, log_rate=log_rate), ([2.5, 7.0, 0.9], [0.1, -1.0, 2.0])),
    ],
)
def test_mixtures_of_positive_families_and_their_derivatives_match_quadrature(family, parameters):
    y = tf.constant([-1.0, 1e-3, 0.3, 1.7, 35.0, 1e4], tf.float64)
    variables = [tf.constant(np.tile(values, [len(y), 1])) for values in (PROBS, *parameters)]

    def scores(score):
        with tf.GradientTape() as tape:
            tape.watch(variables)
            probs, *of_components = variables
            mixture = tfd.MixtureSameFamily(tfd.Categorical(probs=probs), family(*of_components))
            found = score(y, mixture)
        return found, *tape.gradient(found, variables[1:])

    for found, expected in zip(scores(nllfit.crps), scores(by_quadrature), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)


def test_mixtures_of_wide_log_normals_keep_their_digits():
    """The references are integrals of the CDF over the logarithm of the outcome. The last component has no weight."""
    probs, locs = np.array([[0.3, 0.7], [0.3, 0.7], [1.0, 0.0]]), np.array([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
    scales = np.array([[10.0, 10.0], [12.0, 12.0], [1.0, 40.0]])
    found = nllfit.crps(np.ones(3), tfd.MixtureSameFamily(tfd.Categorical(probs=probs), tfd.LogNormal(locs, scales)))

    def squared_tail(u, p, loc, scale):
        z = (u - loc) / scale
        return np.exp(u) * (np.sum(p * stats.norm.sf(z)) if u > 0 else np.sum(p * stats.norm.cdf(z))) ** 2

    for score, *row in zip(found, probs, locs, scales, strict=True):
        ends = itertools.pairwise(range(-60, 210, 10))
        expected = sum(integrate.quad(squared_tail, *pair, args=tuple(row), limit=200)[0] for pair in ends)
        assert float(score) == pytest.approx(expected, rel=1e-8)


def test_the_quadrature_matches_scipy():
    places = (-3.0, 0.5, 45.0)
    probs, locs, scales = (np.tile(values, [len(places), 1]) for values in (PROBS, LOCS, SCALES))
    found = nllfit.crps(places, tfd.MixtureSameFamily(tfd.Categorical(probs=probs), tfd.Logistic(locs, scales)))

    def cdf(z):
        return PROBS @ special.expit((z - LOCS) / SCALES)

    for y, score in zip(places, found, strict=True):
        edges = sorted([-30, -1.1, -0.9, 1, 40, 150, y])
        pieces = [
            integrate.quad(lambda z, y=y: (cdf(z) - (z > y)) ** 2, *edge, limit=200)[0]
            for edge in itertools.pairwise(edges)
        ]
        assert float(score) == pytest.approx(sum(pieces), abs=1e-8)


@pytest.mark.thorough
@pytest.mark.parametrize(("narrow", "tolerance"), [(1.0, 1e-5), (0.02, 1e-4)])
def test_a_mixture_of_many_components_matches_piecewise_quadrature(narrow, tolerance, monkeypatch):
    """Mixtures like the predictions of a network with dropout. The CDFs of a Laplace and a Uniform are not smooth."""
    rng = np.random.default_rng(0)
    locs, scales = rng.normal(size=30), narrow * rng.uniform(0.7, 1.4, 30)
    nodes, weights = np.polynomial.legendre.leggauss(20)
    for family, reference in ((tfd.Laplace, stats.laplace), (lambda a, s: tfd.Uniform(a, a + s), stats.uniform)):
        mixture = tfd.MixtureSameFamily(tfd.Categorical(logits=np.zeros(30)), family(locs, scales))[None]
        found = [float(nllfit.crps([y], mixture)[0]) for y in (-1.5, 0.2, 3.0)]
        corners = np.ravel(locs + scales * np.array([0, 1, -8, -4, -2, 2, 4, 8])[:, None])
        for y, score in zip((-1.5, 0.2, 3.0), found, strict=True):
            edges = np.sort([*corners, *np.linspace(-50, 50, 200), y])
            width, middle = np.diff(edges)[:, None] / 2, (edges[1:] + edges[:-1])[:, None] / 2
            z = middle + width * nodes
            cdf = reference(locs[:, None, None], scales[:, None, None]).cdf(z).mean(0)
            assert score == pytest.approx(np.sum(width * weights * (cdf - (z > y)) ** 2), rel=tolerance)
        for places in (100, 4000):  # computing in smaller blocks changes nothing
            monkeypatch.setattr(tail_integrals, "_MAX_PLACES", places)
            np.testing.assert_allclose(nllfit.crps([0.2], mixture), found[1], rtol=1e-14)
        monkeypatch.undo()


def test_the_cost_of_a_mixture_is_linear_in_its_components(monkeypatch):
    """The number of points that cut the range of integration is limited.

    The number of pairs of components that are in memory at once is also limited.
    """

    def laplaces(num):
        return tfd.MixtureSameFamily(tfd.Categorical(logits=np.zeros(num)), tfd.Laplace(np.arange(1.0 * num), 1.0))

    assert [len(elements_of(laplaces(num)).cuts()[0]) for num in (3, 20, 200)] == [24, 32, 32]
    sizes, distance = [], normal_laws.expected_distance
    monkeypatch.setattr(normal_laws, "expected_distance", lambda m, s: [sizes.append(np.size(m)), distance(m, s)][1])
    rng = np.random.default_rng(0)
    probs, locs, scales = rng.dirichlet(np.ones(50), 7), rng.normal(size=[7, 50]), rng.uniform(1, 2, [7, 50])
    y = rng.normal(size=7)
    expected = scoringrules.crps_mixnorm(y, locs, scales, probs, backend="numpy")
    np.testing.assert_allclose(nllfit.crps(y, normals(probs, locs, scales)), expected, rtol=1e-12)
    assert max(sizes) == 7 * 50 * 16


def test_scores_sum_over_elements_and_float32_is_float64_rounded():
    rng = np.random.default_rng(0)
    loc, scale, y = rng.normal(size=[5, 3]), rng.uniform(1, 2, [5, 3]), rng.normal(size=[5, 3])
    found = nllfit.crps(y, tfd.Independent(tfd.Normal(loc, scale), 1))
    np.testing.assert_allclose(found, nllfit.crps(y, tfd.Normal(loc, scale)).numpy().sum(-1), rtol=1e-14)
    single = nllfit.crps(y, tfd.Independent(tfd.Normal(*(tf.constant(v, tf.float32) for v in (loc, scale))), 1))
    assert single.dtype == tf.float32
    np.testing.assert_allclose(single, found, rtol=2e-6)  # parameters and outcomes are rounded to float32


def test_crps_never_broadcasts():
    with pytest.raises(ValueError, match=r"\(4,\), but the head models outcomes of shape \(4, 1\)"):
        nllfit.crps(np.zeros(4), tfd.Independent(tfd.Normal(tf.zeros([4, 1]), 1.0), 1))


def test_the_mean_score_of_a_true_model_matches_the_theory():
    rows, scale = 20_000, 2.0
    y = 3 + scale * np.random.default_rng(0).normal(size=rows)
    found = nllfit.crps(y, tfd.Normal(np.full(rows, 3.0), scale)).numpy()
    expected = scale / np.sqrt(np.pi)
    assert found.mean() == pytest.approx(expected, abs=4 * found.std() / np.sqrt(rows))
    for loc, other in ((3.3, scale), (3.0, 0.7 * scale), (3.0, 1.5 * scale)):
        assert np.mean(nllfit.crps(y, tfd.Normal(np.full(rows, loc), other))) > found.mean()


def test_crps_is_infinite_if_the_integral_is():
    y = tf.constant([0.3], tf.float64)
    for distribution in (
        tfd.StudentT(y / 0.6, 0.0, 1.0),
        tfd.HalfStudentT(y / 0.6, 0.0, 1.0),
        tfd.GeneralizedPareto(0.0, 1.0, y / 0.15),
        tfd.GeneralizedExtremeValue(0.0, 1.0, y / 0.15),
    ):
        assert np.isposinf(nllfit.crps(y, distribution)[0])


COMPILED = {
    "Gamma": lambda u: tfd.Gamma(tf.exp(u), 2.0),
    "GeneralizedPareto": lambda u: tfd.GeneralizedPareto(u, 1.0, u / 9),
    "by quadrature": lambda u: tfd.MixtureSameFamily(
        tfd.Categorical(logits=tf.stack([u, 0 * u], -1)), tfd.Logistic(tf.stack([u, 0 * u], -1), 1.0)
    ),
    "by a sum": lambda u: tfd.MixtureSameFamily(
        tfd.Categorical(logits=tf.stack([u, 0 * u], -1)), tfd.Poisson(tf.exp(tf.stack([u, 0 * u], -1)))
    ),
}


SLOW = ("by quadrature", "by a sum")  # XLA compiles these slowly


@pytest.mark.thorough(but="GeneralizedPareto")
@pytest.mark.parametrize(("name", "xla"), [(name, name not in SLOW) for name in COMPILED])
def test_a_graph_computes_the_same(name, xla):
    u, y = tf.constant([-0.7, 0.3, 1.2], tf.float64), tf.constant([0.0, 3.0, 1.0], tf.float64)

    def score(u):
        with tf.GradientTape() as tape:
            tape.watch(u)
            scores = nllfit.crps(y, COMPILED[name](u))
        return scores, tape.gradient(scores, u)

    for one, other in zip(score(u), tf.function(score, jit_compile=xla)(u), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)


def test_whole_vectors_have_the_energy_score():
    rng = np.random.default_rng(0)
    loc, y = rng.normal(size=[100, 3]), rng.normal(size=[100, 3])
    scale_tril = np.array([[1.0, 0, 0], [0.5, 2, 0], [-0.3, 0.4, 0.7]])
    distribution = tfd.MultivariateNormalTriL(loc, scale_tril)
    found = nllfit.crps(y, distribution)
    np.testing.assert_array_equal(found, nllfit.crps(y, distribution))
    draws = loc[:, None] + rng.normal(size=[100, 200, 3]) @ scale_tril.T
    expected = scoringrules.es_ensemble(y, draws, backend="numpy", estimator="fair")
    error = np.asarray(found) - expected
    assert abs(error.mean()) < 4 * error.std() / 10
    # A score is a mean over 256 draws whose standard deviation is 2.5, so its standard error is about 0.16.
    assert np.std(error) < 0.25

    one = nllfit.crps(y[:, :1], tfd.MultivariateNormalDiag(loc[:, :1], [2.0]))
    exact = nllfit.crps(y[:, 0], tfd.Normal(loc[:, 0], 2.0))
    assert np.mean(one - exact) == pytest.approx(0, abs=4 * np.std(one - exact) / 10)


def test_jumps_and_corners_within_the_support_cost_no_digits():
    inflated = nllfit.ZeroInflated("Normal", scale=1.0).distribution(
        tf.constant([[[-2.0, 1.0], [-1.0, -1.0]]], tf.float64)
    )
    mixture = tfd.MixtureSameFamily(tfd.Categorical(probs=np.array([[0.5, 0.5]])), inflated)
    zero, low, high, y = 1 / (1 + np.exp([2.0, 1.0])), stats.norm(1.0), stats.norm(-1.0), 0.3

    def cdf(z):
        return np.mean([(1 - zero[0]) * low.cdf(z), (1 - zero[1]) * high.cdf(z)]) + np.mean(zero) * (z >= 0)

    expected = _integral(lambda z: (cdf(z) - (z >= y)) ** 2, [-40.0, 0.0, y, 40.0])
    np.testing.assert_allclose(nllfit.crps([y], mixture), [expected], rtol=1e-8)


@pytest.mark.thorough
def test_corners_within_a_window_cost_no_digits():
    low, loc, y, end = -1.0, 0.7, 0.3, 40.0
    distribution = nllfit.Truncated("Laplace", low, loc=loc).distribution(tf.constant([[0.3]], tf.float64))
    laplace = stats.laplace(loc, np.logaddexp(0, 0.3))
    whole = laplace.sf(low)
    points = [low, *sorted([loc, y]), end]
    expected = _integral(lambda z: ((laplace.cdf(z) - laplace.cdf(low)) / whole - (z >= y)) ** 2, points)
    np.testing.assert_allclose(nllfit.crps([y], distribution), [expected], rtol=1e-8)
    mean = _integral(lambda z: z * laplace.pdf(z) / whole, points)
    np.testing.assert_allclose(law_of(distribution).mean(), [mean], rtol=1e-8)


def _integral(function, points):
    parts = itertools.pairwise(points)
    return sum(integrate.quad(function, *ends, epsabs=1e-13, epsrel=1e-12)[0] for ends in parts)


def test_the_score_of_a_missing_label_is_missing():
    scores = nllfit.crps([1.0, np.nan, 1.5], tfd.Categorical(probs=np.array([[0.2, 0.3, 0.5]] * 3)))
    np.testing.assert_allclose(scores, [0.78, np.nan, 0.38], rtol=1e-12)  # 1.5 is no label, so no class is right


def test_the_score_of_an_inflated_family_is_infinite_if_that_of_the_family_is():
    distribution = nllfit.ZeroInflated("StudentT", df=0.4).distribution(tf.zeros([1, 3], tf.float64))
    np.testing.assert_array_equal(nllfit.crps([1.0], distribution), [np.inf])


def test_angles_that_differ_by_a_turn_have_the_same_crps():
    angles = tfd.VonMises(np.array([0.0, 0.0]), 1.0)
    one, other = nllfit.crps([3.5, 3.5 - 2 * np.pi], angles).numpy()
    assert one == pytest.approx(other, rel=1e-12)


@pytest.mark.thorough  # in every run, another test compares wider windows with `scoringrules`
def test_the_crps_of_a_truncated_normal_has_its_digits_if_the_window_is_narrow_or_far():
    loc, scale = tf.constant([0.5, 0.0, -60.0], tf.float64), tf.constant([2.0, 1e7, 1.0], tf.float64)
    high, y = np.array([1.0, 1.0, np.inf]), np.array([0.3, 0.3, 0.01])
    with tf.GradientTape() as tape:
        tape.watch([loc, scale])
        found = nllfit.crps(y, tfd.TruncatedNormal(loc, scale, np.zeros(3), high))
    # The upper ends of the integrals. In the far window, the probability above 0.5 is 1e-13.
    ends = np.array([1.0, 1.0, 0.5])
    nodes, weights = np.polynomial.legendre.leggauss(60)
    nodes, weights = (1 + nodes[:, None]) / 2, weights / 2  # a quadrature rule for integrals from 0 to 1
    reference = stats.truncnorm((0 - loc) / scale, (high - loc) / scale, loc, scale)
    below = y * (weights @ reference.cdf(y * nodes) ** 2)
    above = (ends - y) * (weights @ reference.sf(y + (ends - y) * nodes) ** 2)
    np.testing.assert_allclose(found, below + above, rtol=1e-8)
    assert np.isfinite(tape.gradient(found, [loc, scale])).all()
