"""Zero-inflated families and hurdles: densities against SciPy, gradients at 0, estimates against statsmodels."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import integrate, optimize, special, stats
from statsmodels.discrete import count_model as counts
from statsmodels.tools.numdiff import approx_hess

import nllfit
from nllfit import Censored, Family, Hurdle, Truncated, ZeroInflated
from nllfit.families.law import law_of

F64 = tf.float64
PARAMS = np.array([[0.3, -0.4, 0.6]])
SHARE = special.expit(0.3)
RATE = np.exp(-0.4)


def softplus(u):
    return np.logaddexp(0, u) + np.finfo(float).eps


CASES = {
    "ZeroInflated Poisson": (
        lambda: ZeroInflated("Poisson"),
        [0.0, 1.0, 7.0],
        lambda y: SHARE * (y == 0) + (1 - SHARE) * stats.poisson(RATE).pmf(y),
    ),
    "Hurdle Poisson": (
        lambda: Hurdle("Poisson"),
        [0.0, 1.0, 7.0],
        lambda y: np.where(y == 0, SHARE, (1 - SHARE) * stats.poisson(RATE).pmf(y) / stats.poisson(RATE).sf(0)),
    ),
    "ZeroInflated NegativeBinomial": (
        lambda: ZeroInflated("NegativeBinomial"),
        [0.0, 1.0, 40.0],
        lambda y: SHARE * (y == 0) + (1 - SHARE) * stats.nbinom(softplus(-0.4), special.expit(-0.6)).pmf(y),
    ),
    "ZeroInflated LogNormal": (
        lambda: ZeroInflated("LogNormal"),
        [0.0, 1e-6, 3.0],
        lambda y: np.where(y == 0, SHARE, (1 - SHARE) * stats.lognorm(softplus(0.6), scale=np.exp(-0.4)).pdf(y)),
    ),
    "Hurdle Gamma": (
        lambda: Hurdle("Gamma"),
        [0.0, 1e-6, 3.0],
        lambda y: np.where(y == 0, SHARE, (1 - SHARE) * stats.gamma(softplus(-0.4), scale=np.exp(-0.6)).pdf(y)),
    ),
}


@pytest.mark.parametrize("make", [ZeroInflated, Hurdle])
def test_a_distribution_has_the_name_of_its_family(make):
    family = make("Poisson")
    assert family.distribution(tf.zeros([family.params_size])).name == f"{make.__name__}Poisson"


@pytest.mark.parametrize("name", CASES)
def test_inflated_densities_match_scipy_with_a_finite_gradient_at_0(name):
    make, y, density = CASES[name]
    family, y = make(), np.array(y)
    params = np.tile(PARAMS[:, : family.params_size], [len(y), 1])
    with tf.GradientTape() as tape:
        p = tf.constant(params)
        tape.watch(p)
        value = family.distribution(p).log_prob(y)
    np.testing.assert_allclose(value, np.log(density(y)), rtol=1e-12)
    gradient = tape.gradient(value, p).numpy()
    for j in range(family.params_size):
        shift = 1e-6 * np.eye(family.params_size)[j]
        up, down = (family.distribution(tf.constant(params + sign * shift)).log_prob(y).numpy() for sign in (1, -1))
        np.testing.assert_allclose(gradient[:, j], (up - down) / 2e-6, rtol=1e-6, atol=1e-8)  # central differences


@pytest.mark.thorough(but=("ZeroInflated Poisson", "Hurdle Gamma"))
@pytest.mark.parametrize("name", CASES)
def test_cdf_mean_and_crps_of_inflated_families_match_the_density(name):
    make, _, density = CASES[name]
    family = make()
    distribution = family.distribution(tf.constant(PARAMS[:, : family.params_size]))
    if family.is_discrete:
        k = np.arange(400.0)
        probs = density(k)
        np.testing.assert_allclose(nllfit.cdf(distribution, k[:20, None])[:, 0], probs.cumsum()[:20], rtol=1e-10)
        np.testing.assert_allclose(distribution.mean(), [k @ probs], rtol=1e-10)
        np.testing.assert_allclose(distribution.variance(), [k**2 @ probs - (k @ probs) ** 2], rtol=1e-8)
        crps = np.sum((probs.cumsum() - (k >= 2)) ** 2)
        np.testing.assert_allclose(nllfit.crps([2.0], distribution), [crps], rtol=1e-7)
    else:
        y = np.array([0.0, 0.5, 3.0])
        own = {
            "LogNormal": stats.lognorm(softplus(0.6), scale=np.exp(-0.4)),
            "Gamma": stats.gamma(softplus(-0.4), scale=np.exp(-0.6)),
        }
        known = own[family.family.name]
        expected = SHARE + (1 - SHARE) * known.cdf(y)
        np.testing.assert_allclose(nllfit.cdf(distribution, y[:, None])[:, 0], expected, rtol=1e-10)
        np.testing.assert_allclose(distribution.mean(), [(1 - SHARE) * known.mean()], rtol=1e-10)
        assert abs(nllfit.quantile(distribution, SHARE / 2)[0]) < 1e-300
        below = integrate.quad(lambda z: (SHARE + (1 - SHARE) * known.cdf(z)) ** 2, 0, 2)[0]
        above = integrate.quad(lambda z: ((1 - SHARE) * known.sf(z)) ** 2, 2, np.inf)[0]
        np.testing.assert_allclose(nllfit.crps([2.0], distribution), [below + above], rtol=1e-7)


def information(theta, y, has_dispersion):
    """The observed information of `logit(pi)`, `log(mean)` and, if `has_dispersion`, `log(dispersion)`.

    Complex steps give the gradient without cancellation. Fourth-order differences of the gradient give the Hessian.
    """

    def slope(theta, j):
        share, mean, *rest = np.exp(theta + 1e-30j * np.eye(len(theta))[j])
        log_rest = -np.log1p(share)
        if has_dispersion:
            (count,) = rest
            own = special.loggamma(y + count) - special.loggamma(count) - special.loggamma(y + 1 + 0j)
            own += count * np.log(count / (count + mean)) + y * np.log(mean / (count + mean))
        else:
            own = y * np.log(mean) - mean - special.loggamma(y + 1 + 0j)
        terms = np.where(y == 0, np.log(share + np.exp(own)), own) + log_rest
        return terms.sum().imag / 1e-30

    def along(i, j):
        step = 1e-3 * np.eye(len(theta))[i]
        near, far = (slope(theta + k * step, j) - slope(theta - k * step, j) for k in (1, 2))
        return (8 * near - far) / 12e-3

    size = range(len(theta))
    return -np.array([[along(i, j) for j in size] for i in size])


@pytest.mark.thorough
def test_zero_inflated_estimates_match_statsmodels():
    rng = np.random.default_rng(3)
    y = np.where(rng.uniform(size=400) < 0.3, 0, rng.negative_binomial(2, 0.4, 400))
    ones = np.ones([len(y), 1])
    for model, family in (
        (counts.ZeroInflatedPoisson, "Poisson"),
        (counts.ZeroInflatedNegativeBinomialP, "NegativeBinomial"),
    ):
        theirs = model(y, ones).fit(method="bfgs", maxiter=500, gtol=1e-8, disp=0)
        ours = nllfit.maximum_likelihood(ZeroInflated(family), y)
        assert ours.converged
        # statsmodels stops at a gradient of 1e-8, or when its line search fails.
        np.testing.assert_allclose(ours.log_likelihood, theirs.llf, rtol=1e-9)
        np.testing.assert_allclose(special.logit(ours.parameters["zero_probs"]), theirs.params[0], rtol=1e-4)
        share = ours.parameters["zero_probs"]
        slope = 1 / (share * (1 - share))
        if family == "Poisson":
            theta = np.array([special.logit(share), np.log(ours.parameters["rate"])])
        else:
            mean = ours.parameters["total_count"] * ours.parameters["probs"] / (1 - ours.parameters["probs"])
            theta = np.array([special.logit(share), np.log(mean), np.log(ours.parameters["total_count"])])
        exact = np.sqrt(np.linalg.inv(information(theta, y, family != "Poisson"))[0, 0])
        np.testing.assert_allclose(ours.standard_errors["zero_probs"] * slope, exact, rtol=1e-6)
        # statsmodels' standard error is 0.6% too small, so we compute it from differences of statsmodels' likelihood.
        bse = np.sqrt(np.linalg.inv(-approx_hess(theirs.params, theirs.model.loglike))[0, 0])
        np.testing.assert_allclose(ours.standard_errors["zero_probs"] * slope, bse, rtol=1e-5)
    np.testing.assert_allclose(ours.parameters["total_count"], 1 / theirs.params[2], rtol=1e-4)


@pytest.mark.thorough
def test_a_hurdle_equals_two_separate_fits():
    rng = np.random.default_rng(3)
    y = np.where(rng.uniform(size=300) < 0.3, 0, rng.poisson(2, 300))
    hurdle = nllfit.maximum_likelihood(Hurdle("Poisson"), y)
    # The other part of the hurdle is a Poisson without zeros. At the maximum, its mean, `rate / (1 - exp(-rate))`, is
    # the mean of the positive outcomes.
    positive = y[y > 0]
    rate = optimize.brentq(lambda rate: -rate / np.expm1(-rate) - positive.mean(), 0.1, 9, xtol=1e-12)
    np.testing.assert_allclose(hurdle.parameters["zero_probs"], np.mean(y == 0), rtol=1e-9)
    np.testing.assert_allclose(hurdle.parameters["rate"], rate, rtol=1e-9)
    zeros = len(y) * (np.mean(y == 0) * np.log(np.mean(y == 0)) + np.mean(y > 0) * np.log(np.mean(y > 0)))
    truncated = np.sum(stats.poisson.logpmf(positive, rate) - np.log(-np.expm1(-rate)))
    np.testing.assert_allclose(hurdle.log_likelihood, zeros + truncated, rtol=1e-10)
    amounts = np.where(y == 0, 0.0, np.exp(0.3 * y))
    ours = nllfit.maximum_likelihood(Hurdle("LogNormal"), amounts)
    np.testing.assert_allclose(ours.parameters["loc"], np.log(amounts[amounts > 0]).mean(), rtol=1e-9)


def test_the_share_of_zeros_can_be_free_shared_or_held():
    assert ZeroInflated("Poisson").parameter_names == ("zero_logits", "log_rate")
    held = ZeroInflated("Poisson", zero_probs=0.25)
    assert (held.params_size, held.parameter_names) == (1, ("log_rate",))
    np.testing.assert_allclose(held.distribution(tf.zeros([1, 1], F64)).log_prob([0.0]), [np.log(0.25 + 0.75 / np.e)])
    shared = ZeroInflated("NegativeBinomial", shared=("zero_logits", "total_count"))
    assert (shared.params_size, shared.shared_size, shared.shared) == (1, 2, ("zero_logits", "total_count"))
    given = shared.distribution(tf.zeros([1, 1], F64), tf.zeros([2], F64)).log_prob([3.0])
    free = ZeroInflated("NegativeBinomial").distribution(tf.zeros([1, 3], F64)).log_prob([3.0])
    np.testing.assert_allclose(given, free)
    values = shared.unshared().parameters(tf.constant([[0.5, 1.0, -1.0]], F64))
    np.testing.assert_allclose(shared.unconstrained(values, shared=True), [[0.5, 1.0]])
    np.testing.assert_allclose(shared.unconstrained(values), [[-1.0]])


def test_censored_zero_inflated_counts_are_fitted():
    family = Censored(ZeroInflated("Poisson"))
    value = family.distribution(tf.constant(np.tile(PARAMS[:, :2], [3, 1]))).log_prob(
        [[0, 0], [1, np.inf], [-np.inf, 1.0]]
    )
    known = stats.poisson(RATE)
    expected = [SHARE + (1 - SHARE) * known.pmf(0), (1 - SHARE) * known.sf(1), SHARE + (1 - SHARE) * known.cdf(1)]
    np.testing.assert_allclose(value, np.log(expected), rtol=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ZeroInflated("Poisson", zero_probs=1.0), "`zero_probs` is 1.0"),
        (lambda: ZeroInflated("Poisson", zero_probs=[0.1, 0.2]), r"`zero_probs` has shape \(2,\): give a number"),
        (lambda: ZeroInflated("Poisson", zero_probs=0.5, shared="zero_logits"), "shared and held"),
        (lambda: ZeroInflated(Censored("Poisson")), "give a family of single numbers"),
        (lambda: ZeroInflated("Categorical", num_classes=3), "has no CDF"),
        (
            lambda: ZeroInflated(ZeroInflated("Poisson")),
            "which has a share of zeros already",
        ),
        (lambda: Hurdle(Truncated(Hurdle("Poisson"), high=5)), "which has a share of zeros already"),
        (lambda: ZeroInflated("ZeroInflatedNegativeBinomial"), "which has a share of zeros already"),
        (lambda: Truncated(ZeroInflated("Poisson"), low=0), "its window leaves out 0"),
        (lambda: ZeroInflated(Family("Poisson"), shared="log_rate"), "`shared` is given together with a family"),
    ],
)
def test_invalid_inflated_families_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.thorough
def test_zeros_are_not_blamed_for_an_unbounded_density():
    message = nllfit.maximum_likelihood(Hurdle("LogNormal"), [0.0, 0.0, 0.0, 0.0, 2.0, 2.0, 2.0]).message
    assert "2.0 is 3 times in `y`" in message


def test_an_amount_below_0_is_refused():
    with pytest.raises(ValueError, match=r"-1\.0"):
        nllfit.maximum_likelihood(ZeroInflated("LogNormal"), [0.0, 1.0, -1.0, 2.0])


@pytest.mark.thorough(but=("family1", "family2"))
@pytest.mark.parametrize(
    ("family", "seed"), [(ZeroInflated("Poisson"), None), (ZeroInflated("Poisson"), 1), (Hurdle("LogNormal"), [1, 2])]
)
def test_samples_have_the_right_share_of_zeros(family, seed):
    tf.random.set_seed(0)
    distribution = family.distribution(tf.zeros([2, family.params_size]))
    drawn = distribution.sample(4000, seed=seed).numpy()
    assert drawn.shape == (4000, 2, *distribution.event_shape)
    expected = np.exp(distribution.log_prob(tf.zeros([2, *distribution.event_shape])))
    np.testing.assert_allclose(np.mean(drawn == 0, 0).ravel(), expected, atol=4 * 0.5 / np.sqrt(4000))


@pytest.mark.thorough
@pytest.mark.parametrize("dtype", [tf.float32, F64])
def test_a_quantile_inside_the_point_at_0_is_0(dtype):
    hurdle = Hurdle("Gamma").distribution(tf.constant([[-np.log(2.0), 1.0, 0.3]], dtype))  # P(0) = 1/3
    assert np.all(nllfit.quantile(hurdle, [1e-9, 0.05, 0.2, 0.333]) == 0)
    assert np.all(nllfit.quantile(hurdle, 0.334) > 0)


@pytest.mark.thorough
@pytest.mark.parametrize("cls", [ZeroInflated, Hurdle])
def test_inflated_truncated_counts_sum_to_1(cls):
    family = cls(Truncated("Poisson", high=10), zero_probs=0.3)
    k, rate = np.arange(11), 3.0
    own = stats.poisson(rate).pmf(k) * ((k > 0) if cls is Hurdle else 1.0)
    expected = 0.7 * own / own.sum() + 0.3 * (k == 0)
    distribution = family.build({"rate": tf.constant(rate, tf.float64)}, tf.float64)
    np.testing.assert_allclose(np.exp(distribution.log_prob(k.astype(float))), expected, rtol=1e-12)
    np.testing.assert_allclose(nllfit.cdf(distribution, 4.0), expected[:5].sum(), rtol=1e-12)
    mean = expected @ k
    np.testing.assert_allclose(law_of(distribution).central_value(), mean, rtol=1e-9)
    np.testing.assert_allclose(distribution.variance(), expected @ k**2 - mean**2, rtol=1e-9)


@pytest.mark.thorough
def test_the_share_of_inflated_truncated_counts_is_estimated():
    y = np.repeat([0, 1, 2, 3, 4, 5], [49, 14, 14, 12, 7, 4])
    estimate = nllfit.maximum_likelihood(Hurdle(Truncated("Geometric", high=10)), y)
    np.testing.assert_allclose(estimate.parameters["zero_probs"], 0.49, rtol=1e-6)


@pytest.mark.thorough
@pytest.mark.parametrize("cls", [ZeroInflated, Hurdle])
@pytest.mark.parametrize(
    ("family", "given", "reference"),
    [
        (Truncated("Normal", low=1.0), {"loc": 0.0, "scale": 0.7}, stats.truncnorm(1 / 0.7, np.inf, scale=0.7)),
        (Truncated("Normal", -2.0, 5.0), {"loc": 1.0, "scale": 3.0}, stats.truncnorm(-1, 4 / 3, 1, 3)),
        (Truncated("Gamma", high=2.0), {"concentration": 1.5, "rate": 0.4}, None),
    ],
    ids=["above", "between", "below"],
)
def test_the_mean_of_inflated_truncated_amounts_matches_their_samples(cls, family, given, reference):
    if reference is None:
        gamma = stats.gamma(1.5, scale=1 / 0.4)
        mean, square = (gamma.expect(lambda y, power=power: y**power, ub=2.0) / gamma.cdf(2.0) for power in (1, 2))
    else:
        mean, square = reference.mean(), reference.var() + reference.mean() ** 2
    given = {name: tf.constant(value, tf.float64) for name, value in given.items()}
    distribution = cls(family, zero_probs=0.25).build(given, tf.float64)
    np.testing.assert_allclose(law_of(distribution).central_value(), 0.75 * mean, rtol=1e-9)
    np.testing.assert_allclose(distribution.variance(), 0.75 * square - (0.75 * mean) ** 2, rtol=1e-9)


@pytest.mark.thorough
def test_a_hurdle_of_signed_counts_has_the_mean_of_positive_ones():
    distribution = Hurdle("Skellam", zero_probs=0.3).build(
        {"rate1": tf.constant(2.0, tf.float64), "rate2": tf.constant(1.0, tf.float64)}, tf.float64
    )
    k = np.arange(1, 60)
    probabilities = stats.skellam(2.0, 1.0).pmf(k)
    expected = 0.7 * probabilities @ k / probabilities.sum()
    np.testing.assert_allclose(law_of(distribution).central_value(), expected, rtol=1e-9)


@pytest.mark.thorough
def test_a_hurdle_of_an_odd_total_has_a_mean():
    binomial = stats.binom(9, special.expit(0.4))
    distribution = Hurdle("Binomial", total_count=9.0).distribution(tf.constant([[-0.2, 0.4]], F64))
    expected = special.expit(0.2) * binomial.mean() / binomial.sf(0)
    np.testing.assert_allclose(law_of(distribution).mean(), [expected], rtol=1e-10)


@pytest.mark.thorough
@pytest.mark.parametrize("make", [Truncated, lambda *given, **ends: Truncated(Truncated(*given, **ends), high=9.0)])
def test_a_window_from_0_contains_the_probability_of_0(make):
    """No outcome is below 0, so the low end changes nothing.

    The expected probability of the window up to 9 comes from SciPy's Gamma.
    """
    gamma = stats.gamma(softplus(-0.4), scale=np.exp(-0.6))
    d = make(ZeroInflated("Gamma"), low=0.0).distribution(tf.constant(PARAMS[0]))
    window = SHARE + (1 - SHARE) * (1.0 if make is Truncated else gamma.cdf(9))
    y = np.array([0.0, 0.5, 2.0])
    density = np.where(y == 0, SHARE, (1 - SHARE) * gamma.pdf(y)) / window
    np.testing.assert_allclose(d.log_prob(y), np.log(density), rtol=1e-12)
    cdf = np.where(y < 0, 0, SHARE + (1 - SHARE) * gamma.cdf(y)) / window
    np.testing.assert_allclose(nllfit.cdf(d, y), cdf, rtol=1e-12)
    np.testing.assert_array_equal(nllfit.quantile(d, [0.1, 0.5]), [0, 0])
    assert nllfit.mode(d) == 0


def test_a_window_from_0_per_row_and_its_intervals_contain_the_probability_of_0():
    params = tf.constant(PARAMS[0])
    normal = stats.norm(-0.4, softplus(0.6))
    window = SHARE + (1 - SHARE) * normal.sf(0)
    rows = Truncated(ZeroInflated("Normal"), low="row").distribution(params)
    found = rows.log_prob(tf.constant([[0.0, 0.0], [1.0, 0.0], [1.0, 0.5]], F64))
    others = (1 - SHARE) * normal.pdf(1) / window, normal.pdf(1) / normal.sf(0.5)
    np.testing.assert_allclose(found, np.log([SHARE / window, *others]), rtol=1e-12)
    pairs = tf.constant([[-np.inf, 0.0], [-np.inf, 1.0], [0.0, 1.0]], F64)
    found = Censored(Truncated(ZeroInflated("Normal"), low=0.0)).distribution(params).log_prob(pairs)
    above = (1 - SHARE) * (normal.cdf(1) - normal.cdf(0))
    np.testing.assert_allclose(found, np.log(np.array([SHARE, SHARE + above, above]) / window), rtol=1e-10)


def test_the_variance_of_large_counts_above_0_has_all_digits_of_float32():
    rate = np.array([1e-3, 3.0, 1e6, 1e8])
    found = Hurdle("Poisson", zero_probs=1e-30).distribution(np.log(rate)[:, None].astype("float32")).variance()
    mean = rate / -np.expm1(-rate)
    np.testing.assert_allclose(found, mean * (1 + rate - mean), rtol=1e-5)


@pytest.mark.thorough(but=("ZeroInflated",))
@pytest.mark.parametrize("cls", [ZeroInflated, Hurdle])
def test_rows_with_common_parameters_have_independent_draws(cls):
    family = cls("Poisson", 1, shared="log_rate")
    distribution = family.distribution(tf.fill([3, 1], -20.0), tf.constant([3.0]))  # the share of zeros is negligible
    drawn = distribution.sample(2000, seed=1).numpy()[..., 0]
    assert drawn.shape == (2000, 3)
    np.testing.assert_allclose(np.corrcoef(drawn.T), np.eye(3), atol=5 / np.sqrt(2000))
    np.testing.assert_allclose(drawn.mean(0), np.exp(3), atol=5 * np.sqrt(np.exp(3) / 2000))


@pytest.mark.parametrize("name", ["Kumaraswamy"])
def test_rows_with_common_parameters_have_a_crps(name):
    family = ZeroInflated(name, 1, shared=Family(name).parameter_names)
    share, common = tf.constant([[-1.0], [0.0], [1.0]], F64), tf.zeros([family.shared_size], F64)
    found = nllfit.crps(np.ones([3, 1]), family.distribution(share, common))
    of_rows = tf.concat([share, tf.zeros([3, family.shared_size], F64)], 1)
    expected = nllfit.crps(np.ones([3, 1]), family.unshared().distribution(of_rows))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_rare_amounts_keep_the_digits_of_their_mean_and_variance():
    logits = np.array([12.0, 20.0], np.float32)
    counts = ZeroInflated("Poisson").distribution(np.stack([logits, np.zeros(2, np.float32)], -1))
    share = special.expit(-logits.astype(float))  # the probability of a count from the Poisson
    np.testing.assert_allclose(counts.mean(), share, rtol=1e-6)
    np.testing.assert_allclose(counts.variance(), share * (2 - share), rtol=1e-6)
