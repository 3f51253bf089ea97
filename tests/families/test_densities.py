"""Log-densities that replace TFP's: values are compared with SciPy, derivatives with finite differences."""

import decimal
import itertools

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import integrate, special, stats

import nllfit
from nllfit import Censored, Family, MixtureFamily, heads
from nllfit.families.bessel_and_zeta import log_bessel_series

tfd = tfp.distributions


def test_the_bessel_series_matches_scipy():
    order, q = np.meshgrid([-0.9, 0.0, 0.5, 3.0, 40.0, 2000.0], [1e-8, 0.3, 7.0, 900.0, 1e5])
    z = 2 * np.sqrt(q)
    with np.errstate(divide="ignore"):
        expected = np.log(special.ive(order, z)) + z - order / 2 * np.log(q)
    known = np.isfinite(expected)  # SciPy's function may underflow
    found = log_bessel_series(tf.constant(order), tf.constant(np.log(q))).numpy()
    assert known.sum() > 20
    # `atol` allows the rounding errors of sums whose terms are as large as 600 nats.
    np.testing.assert_allclose(found[known], expected[known], rtol=1e-12, atol=1e-11)


CASES = {
    "NoncentralChi2": ([0.3, 2.0, 40.0], lambda p: stats.ncx2(*p).logpdf),
    "Skellam": ([-3.0, 0.0, 4.0], lambda p: stats.skellam(*p).logpmf),
    "Zipf": ([1.0, 2.0, 9.0], lambda p: stats.zipf(*p).logpmf),
}


@pytest.mark.parametrize("name", CASES)
def test_gradients_of_replaced_densities_match_differences(name):
    y, known = CASES[name]
    head = heads.DistributionHead(name, dtype="float64")
    params = tf.constant(np.full([3, head.params_size()], 0.4))
    with tf.GradientTape() as tape:
        tape.watch(params)
        losses = nllfit.negative_log_likelihood(np.reshape(y, [3, 1]), head(params))
    gradient = tape.gradient(losses, params).numpy()
    values = head.family.parameters(params)
    natural = [head.family.twin(key)[1].forward(value)[0, 0] for key, value in values.items()]
    np.testing.assert_allclose(-losses, known(np.array(natural))(y), rtol=1e-11)
    for j in range(params.shape[1]):
        shift = 1e-5 * np.eye(params.shape[1])[j]
        up, down = (head.family.distribution(params + side * shift).log_prob(np.reshape(y, [3, 1])) for side in (1, -1))
        np.testing.assert_allclose(gradient[:, j], (down - up) / 2e-5, rtol=1e-6, atol=1e-8)  # central differences


@pytest.mark.thorough
def test_derivatives_of_skellam_intervals_match_differences():
    family = Censored("Skellam")
    pairs = np.array([[0, 0], [-1, 2], [-3, np.inf], [-np.inf, 2], [20, 25], [40, np.inf], [-300, -2]])
    params = np.tile([[0.3, 0.5]], [len(pairs), 1])
    with tf.GradientTape() as tape:
        p = tf.constant(params)
        tape.watch(p)
        value = family.distribution(p).log_prob(pairs)
    gradient = tape.gradient(value, p).numpy()
    first, second = (stats.poisson(rate) for rate in np.exp(params[0]))
    k, j = np.arange(-400, 400), np.arange(800)
    log_probs = special.logsumexp(first.logpmf(k + j[:, None]) + second.logpmf(j[:, None]), axis=0)
    inside = (k > pairs[:, :1]) & (k <= pairs[:, 1:]) | (k == pairs[:, :1]) & (pairs[:, :1] == pairs[:, 1:])
    expected = special.logsumexp(np.where(inside, log_probs, -np.inf), axis=1)
    np.testing.assert_allclose(value, expected, rtol=1e-11)
    for j in range(2):
        shift = 1e-5 * np.eye(2)[j]
        up, down = (family.distribution(tf.constant(params + side * shift)).log_prob(pairs) for side in (1, -1))
        np.testing.assert_allclose(gradient[:, j], (up - down) / 2e-5, rtol=1e-6, atol=1e-8)


def test_a_mixture_of_skellams_learns_from_negative_outcomes():
    family = MixtureFamily("Skellam", 2)
    params = tf.constant(np.full([1, family.params_size], 0.4))
    with tf.GradientTape() as tape:
        tape.watch(params)
        value = family.distribution(params).log_prob([-3.0])
    step = 1e-5 * np.eye(family.params_size)[-1]
    up, down = (family.distribution(params + side * step).log_prob([-3.0]) for side in (1, -1))
    np.testing.assert_allclose(tape.gradient(value, params)[0, -1], (up - down)[0] / 2e-5, rtol=1e-7)


def test_cdfs_that_tfp_computes_in_float32_are_accurate():
    logits = tf.constant([[0.3], [0.0], [-200.0], [200.0]])
    distribution = heads.DistributionHead("ContinuousBernoulli")(logits)
    share = np.array([np.expm1(0.3 * 0.4) / np.expm1(0.3), 0.4, 1.0, np.exp(-120.0)])
    rest = np.array([1 - share[0], 0.6, np.exp(-80.0), 1.0])
    np.testing.assert_allclose(nllfit.cdf(distribution, 0.4)[:, 0], share, rtol=2e-6, atol=1e-37)  # rounding of float32
    # 0.4 is rounded to float32, and the exponent 80 multiplies this error.
    np.testing.assert_allclose(nllfit.survival(distribution, 0.4)[:, 0], rest, rtol=2e-5)
    np.testing.assert_allclose(nllfit.cdf(distribution, nllfit.quantile(distribution, 0.3)), np.full([4, 1], 0.3), 1e-5)
    flow = tfd.TransformedDistribution(tfd.Normal(tf.zeros([2]), 1.0), tfp.bijectors.Exp())
    np.testing.assert_allclose(nllfit.cdf(flow, 1.5), stats.lognorm(1).cdf([1.5, 1.5]), rtol=2e-6)
    np.testing.assert_allclose(nllfit.quantile(flow, 0.3), stats.lognorm(1).ppf([0.3, 0.3]), rtol=2e-6)
    with pytest.raises(NotImplementedError, match=r'flow in float32.*`dtype="float64"`'):
        nllfit.crps([1.0, 1.0], flow)


@pytest.mark.parametrize(("dtype", "rtol"), [(tf.float32, 2e-6), (tf.float64, 1e-12)])
def test_an_exponentially_modified_gaussian_of_any_rate_matches_scipy(dtype, rtol):
    z, rate = np.array([-3.0, -0.5, 0.7, 4.0]), np.array([0.3, 2.0, 7.0, 40.0, 1e4, 1e9])[:, None]
    expected = np.log(rate / 2 * special.erfcx((rate - z) / np.sqrt(2))) - z**2 / 2
    values = {"loc": tf.zeros([6, 1], dtype), "scale": tf.ones([6, 1], dtype), "rate": tf.constant(rate, dtype)}
    found = Family("ExponentiallyModifiedGaussian").build(values, dtype).log_prob(tf.constant(z, dtype))
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=2 * np.log(1e9) * np.finfo(dtype.as_numpy_dtype).eps)


@pytest.mark.parametrize(("dtype", "rtol"), [("float32", 2e-6), ("float64", 1e-12)])
@pytest.mark.parametrize("loc", [-150.0, -40.0, -18.0, 0.5, 18.0, 40.0, 150.0])
def test_ordered_classes_have_gradients_however_far_loc_is_from_the_cutpoints(dtype, rtol, loc):
    with decimal.localcontext(decimal.Context(prec=200)):
        tails = [1 / (1 + (decimal.Decimal(loc) - c).exp()) for c in (-1, 2)]  # P(Y <= 0) and P(Y <= 1)
        slopes = [tail * (tail - 1) for tail in tails]  # their derivatives by `loc`
        ordered = [tails[0], tails[1] - tails[0], 1 - tails[1]], [slopes[0], slopes[1] - slopes[0], -slopes[1]]
        ratio = (
            [tails[0], (1 - tails[0]) * tails[1], (1 - tails[0]) * (1 - tails[1])],
            [
                slopes[0],
                (1 - tails[0]) * slopes[1] - slopes[0] * tails[1],
                -slopes[0] * (1 - tails[1]) - slopes[1] * (1 - tails[0]),
            ],
        )
        expected = {
            name: ([float(p.ln()) for p in probs], [float(d / p) for d, p in zip(changes, probs, strict=True)])
            for name, (probs, changes) in {"OrderedLogistic": ordered, "StoppingRatioLogistic": ratio}.items()
        }
    for name, (values, derivatives) in expected.items():
        locs = tf.fill([3], tf.constant(loc, dtype))
        with tf.GradientTape() as tape:
            tape.watch(locs)
            parameters = {"cutpoints": tf.constant([-1.0, 2.0], dtype), "loc": locs}
            found = Family(name, num_classes=3).build(parameters, tf.as_dtype(dtype)).log_prob([0, 1, 2])
        # If a probability is nearly 1, its logarithm has the rounding error of a number near 1.
        eps = np.finfo(dtype).eps
        np.testing.assert_allclose(found, values, rtol=rtol, atol=2 * eps)
        np.testing.assert_allclose(tape.gradient(found, locs), derivatives, rtol=rtol, atol=2 * eps)


@pytest.mark.parametrize("width", [0.0, 1e-40])
def test_equal_cutpoints_leave_the_gradients_of_the_other_classes_finite(width):
    cutpoints = tf.constant([[0.0, width, 2.0]])
    with tf.GradientTape() as tape:
        tape.watch(cutpoints)
        law = Family("OrderedLogistic", num_classes=4).build({"cutpoints": cutpoints, "loc": [0.5]}, tf.float32)
        found = law.log_prob([[0], [2], [3]])
    expected = np.log(np.diff([0.0, *special.expit([-0.5, -0.5, 1.5]), 1.0])[[0, 2, 3], None])
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert np.isfinite(tape.gradient(found, cutpoints)).all()
    assert law.log_prob([1]) < -80


def test_a_cdf_works_for_a_single_outcome():
    distribution = heads.DistributionHead("Deterministic")(tf.constant([[1.0], [2.0]]))
    np.testing.assert_array_equal(nllfit.cdf(distribution, 1.5), [[1.0], [0.0]])
    np.testing.assert_array_equal(nllfit.quantile(distribution, 0.5), [[1.0], [2.0]])
    assert Family("Deterministic").parameter_names == ("loc",)


# Parameters at which a function in TFP's formula has a wrong derivative. A search or a network may start there.
ROUND = {
    "Chi2": {"df": 2.0},
    "ContinuousBernoulli": {"logits": 0.0},
    "Gamma": {"concentration": 1.0, "rate": 1.0},
    "GammaGamma": {"concentration": 1.0, "mixing_concentration": 1.0, "mixing_rate": 1.0},
    "GeneralizedExtremeValue": {"loc": 0.0, "scale": 1.0, "concentration": 0.0},
    "GeneralizedPareto": {"loc": 0.0, "scale": 1.0, "concentration": 0.0},
    "Kumaraswamy": {"concentration1": 1.0, "concentration0": 1.0},
    "Laplace": {"loc": 0.0, "scale": 1.0},
    "LogNormal": {"loc": 0.0, "scale": 1.0},
    "Normal": {"loc": 0.0, "scale": 1.0},
    "SinhArcsinh": {"loc": 0.0, "scale": 1.0, "skewness": 0.0, "tailweight": 1.0},
    "StudentT": {"df": 2.0, "loc": 0.0, "scale": 1.0},
    "Weibull": {"concentration": 1.0, "scale": 1.0},
}


@pytest.mark.thorough(but=("SinhArcsinh", "GeneralizedExtremeValue", "LogNormal", "Kumaraswamy"))
@pytest.mark.parametrize("name", ROUND)
def test_derivatives_at_round_parameters_match_differences(name):
    some = [0.25, 0.75] if name in ("Beta", "ContinuousBernoulli", "Kumaraswamy") else [0.25, 1.5]
    ends = [*some, 0.0] if name in ("GeneralizedExtremeValue", "Normal", "SinhArcsinh", "StudentT") else [*some]
    ends = [*ends, 1.0] if name in ("LogNormal", "Weibull") else ends
    rows = [[y, y] for y in some] + [[y, np.inf] for y in ends] + [[-np.inf, y] for y in ends]
    rows = np.array([*rows, sorted(ends[:2])])
    family = Censored(name)

    def natural(moves):
        """The parameters of all rows, repeated for each dict in `moves`. A dict maps parameter names to changes."""
        return {
            key: tf.constant(np.repeat([value + move.get(key, 0.0) for move in moves], len(rows)))
            for key, value in ROUND[name].items()
        }

    def log_prob(values, count=1):
        return family.build(values, tf.float64).log_prob(np.tile(rows, [count, 1]))

    # TFP's series run until all rows of a call have converged. Rows with changed parameters could hide a series that
    # stops too early at the parameters of `ROUND`. So a separate call evaluates the parameters of `ROUND`.
    values = natural([{}])
    with tf.GradientTape() as tape:
        tape.watch(values)
        found = log_prob(values)
    slopes = tape.gradient(found, values)
    moves = [{key: side * 1e-5} for key in values for side in (1, -1)]
    ends = log_prob(natural(moves), len(moves)).numpy()
    for key, (up, down) in zip(values, ends.reshape(-1, 2, len(rows)), strict=True):
        np.testing.assert_allclose(slopes[key], (up - down) / 2e-5, rtol=1e-6, atol=1e-8, err_msg=key)


@pytest.mark.thorough(but="OneHot")
@pytest.mark.parametrize("name", ["Dirichlet", "OneHotCategorical"])
def test_a_vector_family_over_an_axis_is_fitted_row_by_row(name):
    rng = np.random.default_rng(0)
    y = np.stack([rng.dirichlet(shape, 30) for shape in ([2.0, 3.0, 4.0], [5.0, 1.0, 1.5])], 1)
    if name == "OneHotCategorical":
        y = np.eye(3)[y.argmax(-1)]
    family = Family(name, (2, 3))
    estimate = nllfit.maximum_likelihood(family, y)
    assert estimate.converged
    found = {key: np.asarray(value) for key, value in estimate.parameters.items()}
    if name == "Dirichlet":  # score equation: E[log y_k] equals the mean of log y_k in the sample
        shapes = found["concentration"]
        expected = special.digamma(shapes) - special.digamma(shapes.sum(-1, keepdims=True))
        np.testing.assert_allclose(np.log(y).mean(0), expected, rtol=1e-8)
        log_prob = [
            stats.dirichlet(a).logpdf(rows.T).sum() for a, rows in zip(shapes, np.moveaxis(y, 1, 0), strict=True)
        ]
        np.testing.assert_allclose(estimate.log_likelihood, sum(log_prob), rtol=1e-12)
    else:
        np.testing.assert_allclose(found["probs"], y.mean(0), rtol=1e-8)


@pytest.mark.thorough
def test_shares_that_add_up_to_1_in_float32_are_shares():
    shares = np.random.default_rng(0).dirichlet([2.0, 5.0, 1.0, 3.0], size=50)
    fit, rounded = (nllfit.maximum_likelihood("Dirichlet", y) for y in (shares, shares.astype(np.float32)))
    np.testing.assert_allclose(rounded.parameters["concentration"], fit.parameters["concentration"], rtol=1e-5)
    for wrong in (shares * 1.001, shares * [1, 1, 1, -1]):
        with pytest.raises(ValueError, match="Dirichlet cannot have"):
            nllfit.maximum_likelihood("Dirichlet", wrong)


@pytest.mark.parametrize("concentration", [1e-3, 5.0, 10.6, 40.0, 1e4])
def test_both_tails_of_a_von_mises_have_all_digits(concentration):
    """The reference is quadrature by SciPy; TFP's CDF has 3 digits at -1.6 for a concentration of 10.6."""
    angles = np.array([-1.6, -0.5, -1e-3]) if concentration < 1e3 else np.array([-0.06, -0.02, -1e-3])

    def tail(angle):
        def ratio(t):
            return np.exp(-2 * concentration * np.sin((t + angle) / 2) * np.sin((t - angle) / 2))

        ends = np.linspace(max(-np.pi, angle - 40 / np.sqrt(concentration)), angle, 9)
        integral = sum(integrate.quad(ratio, *pair, epsrel=1e-12)[0] for pair in itertools.pairwise(ends))
        height = np.exp(-2 * concentration * np.sin(angle / 2) ** 2) / special.ive(0, concentration)
        return height * integral / (2 * np.pi)

    expected = [tail(angle) for angle in angles]
    distribution = tfd.VonMises(np.float64(0.3), np.float64(concentration))
    np.testing.assert_allclose(nllfit.cdf(distribution, 0.3 + angles), expected, rtol=1e-11)
    np.testing.assert_allclose(nllfit.survival(distribution, 0.3 - angles), expected, rtol=1e-11)
