"""Compares log-likelihoods of censored and truncated families, and their derivatives, with SciPy and mpmath."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import integrate, special, stats

import nllfit
from nllfit import Censored, Truncated
from nllfit.families import Family, MixtureFamily
from nllfit.families.facts import names_with_exact_tails
from nllfit.families.incomplete_functions import beta_tails
from nllfit.families.law import law_of

tfd = tfp.distributions
INF, F64 = np.inf, tf.float64


def constants(*values):
    return [tf.constant(value, F64) for value in values]


def scipy_of(name):
    """A distribution of TFP, and SciPy's distribution with the same parameters."""
    return {
        "Beta": (tfd.Beta(*constants(2.5, 0.7)), stats.beta(2.5, 0.7)),
        "Cauchy": (tfd.Cauchy(*constants(1.0, 2.0)), stats.cauchy(1, 2)),
        "Chi2": (tfd.Chi2(*constants(3.5)), stats.chi2(3.5)),
        "Exponential": (tfd.Exponential(*constants(0.7)), stats.expon(scale=1 / 0.7)),
        "ExponentiallyModifiedGaussian": (
            tfd.ExponentiallyModifiedGaussian(*constants(1.0, 0.5, 2.0)),
            stats.exponnorm(1.0, 1.0, 0.5),
        ),
        "Gamma": (tfd.Gamma(*constants(2.5, 0.7)), stats.gamma(2.5, scale=1 / 0.7)),
        "GeneralizedExtremeValue": (
            tfd.GeneralizedExtremeValue(*constants(1.0, 2.0, 0.3)),
            stats.genextreme(-0.3, 1, 2),
        ),
        "GeneralizedPareto": (tfd.GeneralizedPareto(*constants(1.0, 2.0, 0.3)), stats.genpareto(0.3, 1, 2)),
        "Gumbel": (tfd.Gumbel(*constants(1.0, 2.0)), stats.gumbel_r(1, 2)),
        "HalfNormal": (tfd.HalfNormal(*constants(2.0)), stats.halfnorm(scale=2)),
        "InverseGamma": (tfd.InverseGamma(*constants(2.5, 0.7)), stats.invgamma(2.5, scale=0.7)),
        "JohnsonSU": (tfd.JohnsonSU(*constants(0.5, 1.5, 1.0, 2.0)), stats.johnsonsu(0.5, 1.5, 1, 2)),
        "Laplace": (tfd.Laplace(*constants(1.0, 2.0)), stats.laplace(1, 2)),
        "LogNormal": (tfd.LogNormal(*constants(1.0, 0.5)), stats.lognorm(0.5, scale=np.e)),
        "Logistic": (tfd.Logistic(*constants(1.0, 2.0)), stats.logistic(1, 2)),
        "Moyal": (tfd.Moyal(*constants(1.0, 2.0)), stats.moyal(1, 2)),
        "Normal": (tfd.Normal(*constants(1.0, 2.0)), stats.norm(1, 2)),
        "Pareto": (tfd.Pareto(*constants(2.5, 0.7)), stats.pareto(2.5, scale=0.7)),
        "StudentT": (tfd.StudentT(*constants(3.5, 1.0, 2.0)), stats.t(3.5, 1, 2)),
        "TruncatedNormal": (tfd.TruncatedNormal(*constants(1.0, 2.0, -1.0, 4.0)), stats.truncnorm(-1, 1.5, 1, 2)),
        "Uniform": (tfd.Uniform(*constants(1.0, 3.0)), stats.uniform(1, 2)),
        "Weibull": (tfd.Weibull(*constants(1.5, 2.0)), stats.weibull_min(1.5, scale=2)),
    }[name]


NAMES = (
    *("Beta", "Cauchy", "Chi2", "Exponential", "ExponentiallyModifiedGaussian", "Gamma", "GeneralizedExtremeValue"),
    *("GeneralizedPareto", "Gumbel", "HalfNormal", "InverseGamma", "JohnsonSU", "Laplace", "LogNormal", "Logistic"),
    *("Moyal", "Normal", "Pareto", "StudentT", "TruncatedNormal", "Uniform", "Weibull"),
)


def check(found, expected, y, known):
    """Checks log-tails. The tolerance includes the error that rounding `y` causes where the tail is steep."""
    found, fine = np.asarray(found), np.isfinite(expected)
    steep = np.exp(known.logpdf(y) - expected) * np.abs(y) * 1e-15
    np.testing.assert_array_less(np.abs(found - expected)[fine], (1e-12 * np.abs(expected) + steep + 1e-15)[fine])
    assert fine.sum() >= 4


# These families are marked `thorough`, because their code is that of the Gamma or the Beta, which are always tested.
BY_QUADRATURE = {"Chi2", "ExpGamma", "InverseGamma", "StudentT"}


def each(names):
    return [pytest.param(name, marks=pytest.mark.thorough if name in BY_QUADRATURE else ()) for name in names]


@pytest.mark.thorough(but=("Gamma", "GeneralizedPareto", "LogNormal", "Moyal", "Normal", "Weibull"))
@pytest.mark.parametrize("name", each(NAMES))
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_tails_and_intervals_match_scipy(name):
    distribution, known = scipy_of(name)
    tails = np.array([1e-200, 1e-20, 1e-3, 0.2, 0.5])
    y = np.unique(np.concatenate([known.ppf(tails[1:]), known.isf(tails[1:-1])]))  # without duplicates of the median
    y = y[np.isfinite(y) & (y > known.support()[0]) & (y < known.support()[1])]
    found = law_of(distribution).log_interval()
    check(found(tf.constant(-INF, F64), y), known.logcdf(y), y, known)
    check(found(tf.constant(y), tf.constant(INF, F64)), known.logsf(y), y, known)
    lower, upper = y[1:-1], y[2:]
    by_right = np.log(known.sf(lower) - known.sf(upper))
    expected = np.where(known.sf(lower) < 0.5, by_right, np.log(known.cdf(upper) - known.cdf(lower)))
    fine = np.isfinite(expected)  # a difference of SciPy's tails may be 0, whose logarithm is -inf
    np.testing.assert_allclose(found(lower, upper)[fine], expected[fine], rtol=1e-9, atol=1e-9)


def test_normal_intervals_are_exact_far_out_and_for_any_width():
    pair = np.array([[37.0, 38.0], [-38.0, -37.0], [100.0, 101.0], [0.3, 0.3 + 1e-12], [37.0, 37.0 + 1e-9]])
    z = tf.constant(pair)
    found = law_of(tfd.Normal(*constants(0.0, 1.0))).log_interval()(z[:, 0], z[:, 1])
    tail = special.log_ndtr(-np.abs(pair[:3]).min(1))
    far = special.log_ndtr(-np.abs(pair[:3]).max(1))
    narrow = stats.norm.logpdf(pair[3:].mean(1)) + np.log(pair[3:, 1] - pair[3:, 0])
    np.testing.assert_allclose(found, np.r_[tail + np.log1p(-np.exp(far - tail)), narrow], rtol=3e-15)


KINDS = {
    "exact": lambda z: [z, z],
    "right": lambda z: [z, np.full_like(z, INF)],
    "left": lambda z: [np.full_like(z, -INF), z],
    "interval": lambda z: [z, z + 0.7],
    "narrow": lambda z: [z, z + 1e-5],
}


WIDE = ("Cauchy", "ExpGamma", "Gumbel", "JohnsonSU", "Logistic", "Moyal", "Normal", "SinhArcsinh", "StudentT")


POSITIVE = ("Gamma", "GeneralizedPareto", "LogNormal", "Weibull", "InverseGamma", "Kumaraswamy")


@pytest.mark.thorough(but=("SinhArcsinh", "Gamma", "LogNormal", "Kumaraswamy", "Moyal"))
@pytest.mark.parametrize("name", each(WIDE + POSITIVE))
def test_gradients_of_censored_terms_match_differences(name):
    z = np.linspace(-40, 40, 33)
    if name in POSITIVE:
        z = (np.exp(z / 8) if name != "Kumaraswamy" else special.expit(z / 8)) + (name == "GeneralizedPareto")
    pairs = np.concatenate([np.stack(kind(z), -1) for kind in KINDS.values()])
    if name == "Kumaraswamy":
        pairs = pairs[(pairs[:, 1] < 1) | np.isinf(pairs[:, 1])]
    hold = {"loc": 1.0, "concentration": 0.2} if name == "GeneralizedPareto" else {}
    family = Censored(name, **hold)
    params = np.tile(0.3 * np.random.default_rng(0).normal(size=family.params_size), [len(pairs), 1])

    def value(p):
        return family.distribution(p).log_prob(np.tile(pairs, [len(p) // len(pairs), 1]))

    with tf.GradientTape() as tape:
        p = tf.constant(params)
        tape.watch(p)
        terms = value(p)
    gradient = tape.gradient(terms, p).numpy()
    assert np.isfinite(terms).all()
    assert np.isfinite(gradient).all()
    moves = [params + k * shift for shift in 1e-4 * np.eye(params.shape[1]) for k in (1, -1, 2, -2)]
    moved = value(tf.constant(np.concatenate(moves))).numpy().reshape(params.shape[1], 4, -1)
    # We measured the errors of all families, relative to `size`. The truncation error of this fourth-order difference
    # is at most 1.5e-11. The difference multiplies rounding errors by up to 2 * (8 + 1) / 12e-4. They cause at most
    # 2e-9 or, for InverseGamma, 2.3e-8.
    near, far = moved[:, 0] - moved[:, 1], moved[:, 2] - moved[:, 3]
    expected = (8 * near - far) / 12e-4
    size = 1 + np.abs(expected) + 1e-3 * np.abs(terms)
    np.testing.assert_array_less(np.abs(gradient.T - expected) / size, 3e-8)


def terms_and_slopes(family, parameters, pairs, dtype=F64):
    """The log-likelihoods of pairs, and their derivatives. A parameter is a scalar, or one number per pair."""
    values = {name: tf.broadcast_to(tf.constant(value, dtype), [len(pairs)]) for name, value in parameters.items()}
    with tf.GradientTape() as tape:
        tape.watch(values)
        terms = family.build(values, dtype).log_prob(np.array(pairs))
    return terms.numpy(), {name: slope.numpy() for name, slope in tape.gradient(terms, values).items()}


@pytest.mark.thorough  # covered by `test_incomplete_functions.py`, which tests the same functions
def test_both_tails_of_a_beta_are_accurate():
    parameters = {"concentration1": 1.0, "concentration0": 20.0}
    terms, slopes = terms_and_slopes(Censored("Beta"), parameters, [[0.9, INF], [0.9, 0.99], [1e-20, INF]])
    np.testing.assert_allclose(terms, [20 * np.log(0.1)] * 2 + [-2e-19], rtol=1e-14)
    np.testing.assert_allclose(slopes["concentration0"], [np.log(0.1)] * 2 + [-1e-20], rtol=1e-6)
    terms, _ = terms_and_slopes(Truncated("Beta", low=0.5), parameters | {"concentration0": 60.0}, [0.6])
    np.testing.assert_allclose(terms, [np.log(60) + 59 * np.log(0.4) - 60 * np.log(0.5)], rtol=1e-14)
    np.testing.assert_allclose(nllfit.survival(tfd.Beta(*constants(1.0, 20.0)), 0.9), 1e-20, rtol=1e-13)
    a, b, y = (part.ravel() for part in np.meshgrid([0.05, 1.0, 200.0], [0.05, 2.0, 200.0], [1e-20, 0.3, 0.9]))
    known, found = stats.beta(a, b), law_of(tfd.Beta(*constants(a, b))).log_interval()
    infinity = tf.constant(INF, F64)
    np.testing.assert_allclose(found(tf.constant(y), infinity), known.logsf(y), rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(found(-infinity, tf.constant(y)), special_log_beta(a, b, y), rtol=1e-10, atol=1e-14)


def special_log_beta(a, b, y):
    """The logarithm of SciPy's CDF or, if this underflows, of the first term of its power series."""
    below = special.betainc(a, b, y)
    return np.where(below > 0, np.log(np.maximum(below, 1e-320)), a * np.log(y) - np.log(a) - special.betaln(a, b))


WHOLE = [
    ("Beta", {"concentration1": 0.3}, "concentration0", 1.0, [0.1, 0.2]),
    ("Beta", {"concentration1": 1.5}, "concentration0", 2.0, [-INF, 0.4]),
    ("Beta", {"concentration1": 0.05}, "concentration0", 2.0, [0.2, INF]),
    ("Weibull", {"scale": 0.7}, "concentration", 1.0, [0.4, 0.5]),
    ("Chi", {}, "df", 2.0, [0.4, 0.5]),
    ("RelaxedBernoulli", {"logits": 0.3}, "temperature", 1.0, [0.4, 0.5]),
    ("NegativeBinomial", {"logits": -3.0}, "total_count", 1.0, [90.0, 200.0]),
]


@pytest.mark.thorough(but=("NegativeBinomial", "Chi"))
@pytest.mark.parametrize(("name", "others", "parameter", "value", "pair"), WHOLE)
def test_derivatives_are_continuous_where_a_power_vanishes(name, others, parameter, value, pair):
    values = [value, value - 1e-4, value + 1e-4]
    at, below, above = terms_and_slopes(Censored(name), others | {parameter: values}, 3 * [pair])[1][parameter]
    np.testing.assert_allclose(at, (below + above) / 2, rtol=2e-7)


@pytest.mark.parametrize(("a", "b", "x"), [(1.5, 2.0, 0.4), (0.3, 1.0, 0.1), (2.0, 1.5, 0.6)])
def test_the_incomplete_beta_function_has_derivatives_at_whole_numbers(a, b, x):
    powers = constants(a, b)
    with tf.GradientTape() as tape:
        tape.watch(powers)
        value = beta_tails(*powers, *constants(x, 1 - x))[0]
    h = 1e-5
    differences = [
        special.betainc(a + h, b, x) - special.betainc(a - h, b, x),
        special.betainc(a, b + h, x) - special.betainc(a, b - h, x),
    ]
    np.testing.assert_allclose(value, special.betainc(a, b, x), rtol=1e-13)
    np.testing.assert_allclose(tape.gradient(value, powers), np.array(differences) / (2 * h), rtol=1e-6)


@pytest.mark.thorough
def test_terms_far_in_the_tails_have_finite_derivatives():
    _, slopes = terms_and_slopes(Censored("Moyal"), {"loc": -5.0, "scale": 1e-3}, [[-INF, 0.1]])
    assert [*slopes.values()] == [0, 0]
    terms, _ = terms_and_slopes(Censored("Moyal"), {"loc": -5.0, "scale": 0.7}, [[1000.0, INF]])
    np.testing.assert_allclose(terms, stats.moyal(-5, 0.7).logsf(1000.0), rtol=1e-12)
    ratio = (0.0004 / 0.0005) ** 12
    terms, slopes = terms_and_slopes(
        Censored("Weibull"), {"concentration": 12.0, "scale": 0.0005}, [[0.0004, INF]], tf.float32
    )
    np.testing.assert_allclose([*terms, *slopes["concentration"]], [-ratio, -ratio * np.log(0.8)], rtol=1e-5)
    for name in ("DoublesidedMaxwell", "GeneralizedNormal", "LambertWNormal"):  # symmetric around 0
        parameters = {"loc": 0.0, "scale": 1.0} | {
            "GeneralizedNormal": {"power": 0.3},
            "LambertWNormal": {"tailweight": 0.1},
        }.get(name, {})
        _, slopes = terms_and_slopes(Censored(name), parameters, [[5.0, INF], [-INF, -5.0], [0.5, 2.0]])
        assert all(np.isfinite(slope).all() for slope in slopes.values()), name
    found = law_of(tfd.DoublesidedMaxwell(*constants(0.0, 1.0))).log_interval()(*constants(0.02, INF))
    np.testing.assert_allclose(found, np.log(0.5 - stats.chi(3).cdf(0.02) / 2), rtol=1e-12)
    found = law_of(tfd.Chi(*constants([0.3, 1.0]))).log_interval()(*constants([0.01, 0.4], INF))
    np.testing.assert_allclose(found, stats.chi([0.3, 1.0]).logsf([0.01, 0.4]), rtol=1e-6)
    found = law_of(tfd.VonMises(*constants(0.0, 200.0))).log_interval()(*constants(1.0, INF))
    exact = integrate.quad(lambda t: np.exp(200 * (np.cos(t) - np.cos(1.0))), 1.0, np.pi)[0]
    exact = np.log(exact / (2 * np.pi * special.i0e(200.0))) + 200 * (np.cos(1.0) - 1)
    np.testing.assert_allclose(found, exact, rtol=1e-9)


@pytest.mark.thorough(but=("Normal", "Weibull"))
@pytest.mark.parametrize("name", ["Normal", "Gumbel", "Logistic", "Weibull", "Gamma", "StudentT"])
def test_finite_pairs_never_give_nan(name):
    z = np.array([-1e300, -1e30, -1e3, -40.0, -1e-300, 0.0, 1e-300, 1.0, 40.0, 1e3, 1e30, 1e300])
    pairs = np.array([[a, b] for a in z for b in z if a <= b])
    family = Censored(name, validate_args=False)
    with tf.GradientTape() as tape:
        params = tf.zeros([len(pairs), family.params_size], F64)
        tape.watch(params)
        value = family.distribution(params).log_prob(pairs)
    gradient = tape.gradient(value, params)
    assert not np.isnan(value[pairs[:, 0] < pairs[:, 1]]).any()
    assert not np.isnan(gradient.numpy()[np.isfinite(value) & (pairs[:, 0] < pairs[:, 1])]).any()


COUNTS = {
    "Poisson": lambda: (tfd.Poisson(*constants(2.5)), stats.poisson(2.5)),
    "NegativeBinomial": lambda: (tfd.NegativeBinomial(*constants(3.0, np.log(2 / 3))), stats.nbinom(3, 0.6)),
    "Geometric": lambda: (tfd.Geometric(*constants(np.log(3 / 7))), stats.geom(0.3, loc=-1)),
    "Zipf": lambda: (tfd.Zipf(*constants(2.5), dtype=F64), stats.zipf(2.5)),
}


@pytest.mark.parametrize("name", COUNTS)
def test_intervals_of_counts_match_scipy(name):
    distribution, known = COUNTS[name]()
    found, infinity = law_of(distribution).log_interval(), tf.constant(INF, F64)
    k = np.array([1.0, 2, 5, 30, 90])
    np.testing.assert_allclose(found(tf.constant(k), infinity), known.logsf(k), rtol=1e-11)
    np.testing.assert_allclose(found(-infinity, tf.constant(k)), known.logcdf(k), rtol=1e-11, atol=1e-15)
    three = special.logsumexp([known.logpmf(k + j) for j in (1, 2, 3)], 0)
    np.testing.assert_allclose(found(tf.constant(k), tf.constant(k + 3)), three, rtol=1e-11)


@pytest.mark.thorough
def test_the_likelihood_of_a_censored_sample_in_a_window_is_bounded():
    """Every term is a log-probability given the window, so it is at most 0, even if the window is improbable."""
    family = Censored(Truncated("Normal", 0.0, 5.0, scale=1.0))
    pairs = np.array([[1.0, INF], [-INF, 2.0], [0.5, 3.0], [-INF, INF]])
    for loc in (-1e3, -30.0, 0.0, 30.0, 1e3):
        value = family.distribution(tf.fill([4, 1], tf.constant(loc, F64))).log_prob(pairs).numpy()
        assert (value <= 1e-12).all()
        assert np.isfinite(value).all()
        assert value[3] == pytest.approx(0, abs=1e-12)
    value = family.distribution(tf.zeros([4, 1], F64)).log_prob(pairs).numpy()
    cdf = stats.norm.cdf
    window = cdf(5) - cdf(0)
    expected = np.log([cdf(5) - cdf(1), cdf(2) - cdf(0), cdf(3) - cdf(0.5), window]) - np.log(window)
    np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-14)


def test_censored_vectors_and_mixtures_are_supported():
    pairs = np.array([[[0.1, 0.1], [0.0, INF]], [[0.5, 1.0], [-INF, 1.0]]])
    values = Censored("Normal", 2).distribution(tf.zeros([2, 4], F64)).log_prob(pairs)
    scale = np.log(2) + 2.2e-16
    norm = stats.norm(0, scale)
    expected = [norm.logpdf(0.1) + norm.logsf(0), np.log(norm.cdf(1) - norm.cdf(0.5)) + norm.logcdf(1)]
    np.testing.assert_allclose(values, expected, rtol=1e-12)
    mixture = Censored(MixtureFamily("Normal", 2)).distribution(tf.constant([[0.0, 1.0, -1.0, 0.0, 2.0, 0.5]], F64))
    weights, parts = special.softmax([0, 1]), [stats.norm(-1, np.log(2)), stats.norm(2, np.logaddexp(0, 0.5))]
    expected = np.log(sum(w * part.sf(0.3) for w, part in zip(weights, parts, strict=True)))
    np.testing.assert_allclose(mixture.log_prob([[0.3, INF]]), [expected], rtol=1e-12)


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_censored_and_truncated_mixtures_have_batches(rows):
    inner = MixtureFamily("Normal", 2)
    params = tf.random.stateless_normal([rows, inner.params_size], (0, 0), dtype=F64)
    pairs = np.array([[0.3, INF], [0.1, 0.1], [-INF, 1.0], [-0.5, 0.5], [2.0, 2.0]])[:rows]
    found = Censored(inner).distribution(params).log_prob(pairs)
    window = Truncated(inner, low=-1.0).distribution(params).log_prob(np.abs(pairs[:, 0].clip(-1, 2)))
    logits, parts = params[:, :2].numpy(), np.reshape(params[:, 2:], [rows, 2, 2])
    weights = special.softmax(logits, axis=1)
    norm = stats.norm(parts[..., 0], np.logaddexp(0, parts[..., 1]))
    for row, (lower, upper) in enumerate(pairs):
        seen = norm.pdf(lower) if lower == upper else norm.cdf(upper) - norm.cdf(lower)
        assert float(found[row]) == pytest.approx(np.log(np.sum(weights * seen, 1))[row], rel=1e-10)
        number = abs(np.clip(lower, -1, 2))
        inside = np.log(np.sum(weights * norm.pdf(number), 1) / np.sum(weights * norm.sf(-1), 1))
        assert float(window[row]) == pytest.approx(inside[row], rel=1e-10)


@pytest.mark.thorough
def test_every_family_with_a_cdf_can_be_censored():
    for name in sorted(names_with_exact_tails()):
        extra = {
            "BetaBinomial": {"total_count": 10.0},
            "Binomial": {"total_count": 10.0},
            "PERT": {"low": 0.0, "high": 4.0},
            "Triangular": {"low": 0.0, "high": 4.0},
            "TruncatedCauchy": {"low": -1.0, "high": 4.0},
            "TruncatedNormal": {"low": -1.0, "high": 4.0},
            "Uniform": {"low": -1.0},
        }.get(name, {})
        family = Censored(name, **extra)
        assert family.columns == 2
        assert np.isfinite(law_of(family.distribution(tf.zeros([family.params_size], F64))).some_outcome()).all(), name


@pytest.mark.thorough(but="Gumbel")
@pytest.mark.parametrize("name", ["GeneralizedExtremeValue", "Gumbel", "JohnsonSU", "Moyal", "SinhArcsinh", "Weibull"])
def test_crps_and_cdf_of_truncated_families_have_a_gradient(name):
    family = Family(name)
    with tf.GradientTape() as tape:
        params = tf.constant(np.full([5, family.params_size], 0.3))
        tape.watch(params)
        total = nllfit.crps(np.linspace(0.2, 3, 5), family.distribution(params))
    assert np.isfinite(tape.gradient(total, params)).all()
    with tf.GradientTape() as tape:
        tape.watch(params)
        value = nllfit.cdf(family.distribution(params), np.linspace(-2, 3, 5))
    assert np.isfinite(tape.gradient(value, params)).all()
    assert law_of(family.distribution(params)).marginals().batch_shape == [5]


@pytest.mark.thorough(but="2")
@pytest.mark.parametrize("rows", [2, 4])  # as many rows as components; more rows
def test_rows_of_a_censored_mixture_are_independent(rows):
    family = Censored(MixtureFamily("LogNormal", 2))
    rng = np.random.default_rng(0)
    params = rng.normal(size=[rows, family.params_size])
    pairs = np.array([[1.0, 1.0], [2.0, INF], [0.0, 2.0], [3.0, 3.0]])[:rows]

    def values_and_slopes(params, pairs):
        numbers = tf.constant(params)
        with tf.GradientTape() as tape:
            tape.watch(numbers)
            log_prob = family.distribution(numbers).log_prob(pairs)
        return log_prob.numpy(), tape.gradient(log_prob, numbers).numpy()

    together = values_and_slopes(params, pairs)
    alone = [values_and_slopes(params[row : row + 1], pairs[row : row + 1]) for row in range(rows)]
    for found, expected in zip(together, map(np.concatenate, zip(*alone, strict=True)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("make", [Censored, nllfit.Hurdle])
def test_a_weibull_of_concentration_1_refuses_negative_numbers(make):
    """TFP's Weibull passes `validate_args` only to its bijector, so the class's own check of outcomes never runs.

    At concentration 1, the density is finite for negative numbers, so the density does not reveal them either.
    """
    family = make("Weibull", link={"concentration": "exp", "scale": "exp"})
    distribution = family.distribution(np.zeros([1, family.params_size]))
    pair = (lambda y: [[y, y]]) if make is Censored else (lambda y: [y])
    assert np.isfinite(nllfit.negative_log_likelihood(np.array(pair(0.5)), distribution)).all()
    with pytest.raises(ValueError, match=r"an outcome that .*Weibull cannot have: It is outside the support"):
        nllfit.negative_log_likelihood(np.array(pair(-0.5)), distribution)
