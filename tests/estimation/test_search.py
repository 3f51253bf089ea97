"""The search for the maximum of a likelihood ends, whether there is one maximum, several or none."""

import re
import zlib

import numpy as np
import pytest
import tensorflow_probability as tfp
from scipy import optimize, special, stats

from nllfit import Censored, Family, MixtureFamily, ZeroInflated, maximum_likelihood
from nllfit.estimation.objective import Objective
from nllfit.estimation.problem import problem_of
from nllfit.estimation.verdicts import in_words, likely_cause, remark
from nllfit.optimum.newton import climb, maximize
from nllfit.optimum.optimum_and_verdict import Derivatives

tfd = tfp.distributions


class Surface:
    """An objective with the values of a function of two coordinates, and with random derivatives."""

    total_weight = 100.0

    def __init__(self, function):
        self.function, self.calls = function, 0
        self.density, self.coordinates = self, self
        self.rank, self.are_logarithms = 2, np.zeros(2, bool)

    def values(self, w):
        self.calls += len(w)
        found = np.array([self.function(row) for row in w])
        return np.where(np.isfinite(found), found, -np.inf)

    def value(self, w):
        return float(self.values(w[None])[0])

    def natural(self, w):
        return {"theta": np.asarray(w)}

    def derivatives(self, w):
        self.calls += 1
        rng = np.random.default_rng(self.calls)
        hessian = rng.normal(size=[2, 2])
        return Derivatives(self.value(w), rng.normal(size=2), hessian + hessian.T, True)


@pytest.mark.parametrize("curvature", [1.0, 1e-3])
def test_a_point_is_a_maximum_only_if_the_values_fall_as_the_hessian_says(curvature):
    class Parabola(Surface):
        def derivatives(self, w):
            return Derivatives(self.value(w), np.zeros(2), -np.eye(2), True)

    found = maximize(Parabola(lambda w: -curvature * (w**2).sum() / 2), np.zeros(2))
    assert found.converged == (curvature == 1.0)


def test_derivatives_stay_finite_differences_while_a_parameter_is_held():
    """Finite differences are used if exact derivatives, such as those of a `HalfStudentT`, take too long to trace."""
    problem = problem_of("Laplace", [1.0, 2.0, 4.0])
    assert problem.with_held({"loc": np.array(1.0)}).objective.exact
    assert not problem.by_differences().with_held({"loc": np.array(1.0)}).objective.exact
    assert not problem.by_differences().holding("loc", 0, 1.0).objective.exact


@pytest.mark.parametrize(
    "function",
    [
        lambda w: np.nan,
        lambda w: -np.inf,
        lambda w: 0.0,
        lambda w: np.sin(1e9 * w.sum()),
        lambda w: w.sum(),
        lambda w: np.exp(min(w.sum(), 700)),
        lambda w: -np.abs(w).sum(),
        lambda w: np.random.default_rng(zlib.crc32(w.tobytes())).normal(),
        lambda w: np.nan if w[0] > 0 else w[0],
    ],
)
def test_a_climb_ends_whatever_the_function(function):
    surface = Surface(function)
    for end in (climb(surface, np.zeros(2), 2), maximize(surface, np.ones(2))):
        assert in_words(surface, end)
    assert surface.calls < 2 * 60 * 40 + 200  # two climbs of 60 steps with at most 40 evaluations each


ODD = [
    [101.0, 102.0, 103.0, 105.0],  # a few observations
    [0.0, 0.0, 1.0, 1.0, 2.0, 7.0],  # counts
    [0.3, 0.3, 0.9, 0.1, 0.7, 0.2, 0.8],  # a tie
    [1e6 + 1, 1e6 + 2, 1e6 + 4, 1e6 + 8, 1e6 + 16],  # far from 0
    [-0.2, 0.1, -2.9, 0.7, 0.1, -0.4],  # negative and positive numbers
    [1.0, 2.0, 3.0, 4.0, 1e8],  # an outlier
]


def odd_sample(seed):
    """A few numbers with a random location and spread. A sample may be rounded or positive, or have an outlier."""
    rng = np.random.default_rng(seed)
    y = 10 ** rng.uniform(-3, 5) * rng.normal(size=rng.integers(4, 12)) + rng.choice([0.0, 1.0, -3.0, 1e4])
    y[0] *= rng.choice([1.0, 1e5])
    y = np.abs(y) if rng.integers(2) else y
    rounded = np.round(y)
    return rounded if rng.integers(2) and np.ptp(rounded) else y  # a sample of equal values would be refused


def _is_of_numbers(name):
    """Returns True if a family has scalar numbers as outcomes and needs no argument except its name."""
    try:
        return bool(Family(name))
    except ValueError:
        return False


FAMILIES = sorted(
    name
    for name, family in vars(tfd).items()
    if isinstance(family, type)
    and issubclass(family, tfd.Distribution)
    and family is not tfd.Distribution
    and _is_of_numbers(name)
)


# Families that have few other tests, and whose search takes less than a second.
QUICK = [name for name in FAMILIES if name.startswith(("Geometric", "Kumaraswamy", "Probit", "Relaxed", "ExpGamma"))]


# Families whose support is the real line. `test_a_search_ends_on_odd_samples` fails if such a family refuses a sample.
ON_THE_LINE = {"Cauchy", "Gumbel", "JohnsonSU", "Laplace", "Logistic", "Normal", "StudentT"}
REFUSED = r"`y` holds .*(cannot have|zero or infinite)|`y` has \d+ numbers, fewer|.* cannot be fitted: "


# Families for which a search takes a second or more. `test_a_search_ends_on_odd_samples` fits each to only one sample.
SLOW = {"ExponentiallyModifiedGaussian", "GammaGamma", "GeneralizedExtremeValue", "GeneralizedNormal"}
SLOW |= {"GeneralizedPareto", "HalfStudentT", "InverseGaussian", "JohnsonSU", "LambertWNormal", "NoncentralChi2"}
SLOW |= {"NormalInverseGaussian", "PERT", "SinhArcsinh", "StudentT", "Triangular", "TruncatedNormal"}
SLOW |= {"TwoPieceNormal", "TwoPieceStudentT", "ZeroInflatedNegativeBinomial"}


@pytest.mark.thorough(but=tuple(f"{name}]" for name in QUICK))
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", FAMILIES)
def test_a_search_ends_on_odd_samples(name, monkeypatch):
    """Each family is fitted to two samples: a random one, and one of the samples in `ODD`.

    Successive families get successive samples of `ODD`. A slow family is fitted to only one of its two samples.
    """
    i = FAMILIES.index(name)
    samples = [ODD[i % len(ODD)], odd_sample(i)]
    samples = samples[i % 2 :][:1] if name in SLOW else samples
    calls, values = [], Objective.values

    def counted(self, w):
        calls.append(len(w))
        assert len(calls) < 20_000
        return values(self, w)

    monkeypatch.setattr(Objective, "values", counted)
    for y in samples:
        calls.clear()
        refused = []
        try:
            estimate = maximum_likelihood(name, y)
        except ValueError as error:
            refused = [str(error)]
        if refused:
            assert name not in ON_THE_LINE, refused
            assert re.match(REFUSED, refused[0]), refused
        else:
            assert np.isfinite(estimate.log_likelihood) or not estimate.converged


@pytest.mark.thorough  # covered by `test_the_highest_of_many_maxima_is_found_with_a_small_held_scale`
def test_the_highest_of_many_maxima_between_observations_is_found():
    rng = np.random.default_rng(3)
    y = 1 + 2 * rng.choice([-1, 1], 40) * np.sqrt(rng.chisquare(3, 40))
    fit = maximum_likelihood("DoublesidedMaxwell", y)

    def fall(t):  # minus the log-likelihood; the density is z^2 exp(-z^2 / 2) / (scale sqrt(2 pi))
        z = (y - t[0]) / np.exp(t[1])
        with np.errstate(divide="ignore"):
            return -np.sum(np.log(z**2) - z**2 / 2 - t[1] - np.log(2 * np.pi) / 2)

    ordered = np.sort(y)
    best = min(optimize.minimize(fall, [m, 0.7], method="Nelder-Mead").fun for m in (ordered[1:] + ordered[:-1]) / 2)
    assert fit.converged
    assert fit.log_likelihood == pytest.approx(-best, abs=1e-4)


@pytest.mark.thorough(but="Cauchy")
@pytest.mark.parametrize(("name", "reference"), [("Cauchy", stats.cauchy), ("StudentT", stats.t(2.0))])
def test_the_highest_of_many_maxima_is_found_with_a_small_held_scale(name, reference):
    y = 10 * np.random.default_rng(1).standard_cauchy(30)
    fixed = {"scale": 0.1} | ({"df": 2.0} if name == "StudentT" else {})
    fit = maximum_likelihood(name, y, **fixed)

    def fall(loc):
        return -np.sum(reference.logpdf((y - loc) / 0.1) - np.log(0.1))

    around = [(o - 0.2, o + 0.2) for o in y]
    best = min(optimize.minimize_scalar(fall, bounds=b, method="bounded", options={"xatol": 1e-10}).fun for b in around)
    assert fit.log_likelihood >= -best - 1e-6


@pytest.mark.thorough
def test_a_triangular_peak_at_its_lower_end_is_found():
    y = np.random.default_rng(5).triangular(0, 0.05, 1, 100)

    def fall(t, peak):
        low, high = y.min() - np.exp(t[0]), y.max() + np.exp(t[1])
        left, right = 2 * (y - low) / max(peak - low, 1e-300), 2 * (high - y) / max(high - peak, 1e-300)
        return -np.sum(np.log(np.where(y < peak, left, right) / (high - low)))

    def height(peak):
        starts = [(-3.0, -3.0), (-30.0, -3.0)]
        return max(-optimize.minimize(fall, s, args=(peak,), method="Nelder-Mead").fun for s in starts)

    fit = maximum_likelihood("Triangular", y)
    assert fit.log_likelihood >= max(height(peak) for peak in np.sort(y)[:15]) - 1e-4


@pytest.mark.thorough
def test_a_triangular_fit_of_four_outcomes_is_the_best():
    fit = maximum_likelihood("Triangular", [101.0, 102.0, 103.0, 105.0])
    assert fit.parameters["low"] == pytest.approx(101)
    assert fit.log_likelihood == pytest.approx(-5.9862, abs=1e-3)  # from Nelder-Mead with the peak at 101


@pytest.mark.thorough
def test_a_generalised_normal_does_not_stop_at_a_lower_maximum():
    y = np.random.default_rng(0).uniform(size=50)
    fit = maximum_likelihood("GeneralizedNormal", y)
    as_uniform = -50 * np.log(np.ptp(y))  # the limit as `power` goes to infinity is a Uniform
    assert fit.log_likelihood > as_uniform - 1e-3
    assert "`power` goes to infinity" in fit.message


@pytest.mark.thorough
def test_each_element_of_an_outcome_has_a_corner_of_its_own():
    y = np.random.default_rng(0).laplace([0.0, 3.0], [1.0, 5.0], [31, 2])
    fit = maximum_likelihood(Family("GeneralizedNormal", 2, power=[1.0, 1.0]), y)  # two Laplace distributions
    np.testing.assert_array_equal(fit.parameters["loc"], np.median(y, axis=0))
    assert np.isnan(fit.standard_errors["loc"]).all()
    # The search uses finite differences, which limits the digits of `scale`.
    np.testing.assert_allclose(fit.parameters["scale"], np.abs(y - np.median(y, axis=0)).mean(0), rtol=1e-5)


def test_two_independent_elements_reach_the_maxima_of_two_fits():
    """The likelihood of each element has a corner at each observation, and is largest at one of them.

    The two best peaks are in different rows of `y`. They would also be in different rows if each column were sorted.
    """
    rng = np.random.default_rng(0)
    y = np.stack([rng.triangular(0, 0.1, 1, 200), rng.triangular(0, 0.9, 1, 200)], axis=1)
    fit = maximum_likelihood(Family("Triangular", 2, low=[-0.1, -0.1], high=[1.1, 1.1]), y)
    alone = [maximum_likelihood(Family("Triangular", low=-0.1, high=1.1), column) for column in y.T]
    np.testing.assert_array_equal(fit.parameters["peak"], [each.parameters["peak"] for each in alone])
    assert fit.log_likelihood == pytest.approx(sum(each.log_likelihood for each in alone), rel=1e-12)


@pytest.mark.thorough
def test_a_mixture_says_how_many_starts_agreed():
    rng = np.random.default_rng
    y = np.concatenate([rng(0).normal(size=60), rng(1).normal(4, 1, 60), rng(2).normal(9, 0.5, 40)])
    fit = maximum_likelihood(MixtureFamily("Normal", 3), y)
    assert fit.converged  # a search from only the best start would end on a spike of the likelihood
    assert "of 10 starts led to it" in fit.message
    np.testing.assert_allclose(np.sort(fit.parameters["loc"]), [0, 4, 9], atol=0.5)


TWO_NORMALS = np.concatenate([np.random.default_rng(0).normal(m, s, 150) for m, s in ((0.0, 0.3), (2.5, 0.4))])


@pytest.mark.thorough
def test_the_unit_does_not_matter_to_a_mixture_on_the_log_scale():
    on_the_line = maximum_likelihood(MixtureFamily("Normal", 2), TWO_NORMALS)
    unit = 1e-8
    fit = maximum_likelihood(MixtureFamily("LogNormal", 2), unit * np.exp(TWO_NORMALS))
    assert fit.converged
    expected = on_the_line.log_likelihood - TWO_NORMALS.sum() - 300 * np.log(unit)
    assert fit.log_likelihood == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("family", "y", "change"),
    [
        pytest.param(MixtureFamily("Gamma", 2), np.exp(TWO_NORMALS), lambda y: 1e6 * y, marks=pytest.mark.thorough),
        pytest.param(
            MixtureFamily("LogitNormal", 2),
            special.expit(TWO_NORMALS),
            lambda y: y / (y + 1e5 * (1 - y)),
            marks=pytest.mark.thorough,
        ),
        ("ExpGamma", TWO_NORMALS, lambda y: y + 100),
    ],
)
def test_the_starts_move_with_the_sample(family, y, change):
    here, there = (maximum_likelihood(family, sample) for sample in (y, change(y)))
    log_slope = np.log((change(y * (1 + 1e-7)) - change(y)) / (1e-7 * y)).sum()
    assert here.converged
    assert there.converged
    assert there.log_likelihood == pytest.approx(here.log_likelihood - log_slope, abs=1e-3)


@pytest.mark.thorough
def test_a_component_may_have_an_outcome_that_another_refuses():
    fit = maximum_likelihood(MixtureFamily("Pareto", 2), np.exp(np.abs(TWO_NORMALS)))
    assert "not smooth" in fit.message


@pytest.mark.thorough
@pytest.mark.parametrize("seed", [29, pytest.param(12, marks=pytest.mark.thorough)])
def test_a_normal_inverse_gaussian_prefers_its_limit_to_a_lower_maximum(seed):
    rng = np.random.default_rng(seed)
    y = np.round(rng.gamma(2, 2, 20) if seed == 29 else rng.gumbel(0, 2, 20), 3)

    def fall(log_gap):  # minus the profile log-likelihood of the shift of a shifted InverseGaussian
        z = y - y.min() + np.exp(log_gap)
        mean, shape = z.mean(), 1 / np.mean(1 / z - 1 / z.mean())
        return -stats.invgauss(mean / shape, scale=shape).logpdf(z).sum()

    limit = -optimize.minimize_scalar(fall, bounds=(-5, 5), method="bounded").fun
    fit = maximum_likelihood("NormalInverseGaussian", y)
    assert not fit.converged  # at a tailweight of 0.35 there is a local maximum, which is lower than the limit
    # Near the limit, the verdict depends on rounding errors, which differ between processors.
    verdicts = "no finite maximum", "not positive definite", "no step raises the log-likelihood"
    assert any(verdict in fit.message for verdict in verdicts)
    assert fit.log_likelihood == pytest.approx(limit, abs=1e-2)


@pytest.mark.thorough
def test_an_exponentially_modified_gaussian_finds_the_higher_of_two_maxima():
    y = [3.1547, 5.9711, 3.243, 6.9953, 5.1369, 0.5102, 1.2243, -0.8521, 3.4087, 8.9096, 0.7741, 4.0836, 1.2973]
    y = np.array([*y, 6.1622, 0.1176])
    fit = maximum_likelihood("ExponentiallyModifiedGaussian", y)
    loc, scale, rate = (fit.parameters[name] for name in ("loc", "scale", "rate"))
    assert fit.converged
    assert fit.log_likelihood == pytest.approx(
        stats.exponnorm(1 / (rate * scale), loc, scale).logpdf(y).sum(), abs=1e-8
    )
    assert fit.log_likelihood == pytest.approx(-36.4920, abs=1e-3)  # the best of many starts of SciPy's Nelder-Mead


@pytest.mark.thorough
def test_cutpoints_and_location_are_not_identified():
    labels = np.random.default_rng(0).integers(0, 4, 100)
    fit = maximum_likelihood("OrderedLogistic", labels, num_classes=4)
    held = maximum_likelihood("OrderedLogistic", labels, num_classes=4, loc=0.0)
    assert fit.num_parameters == held.num_parameters == 3
    assert fit.log_likelihood == pytest.approx(held.log_likelihood, abs=1e-8)
    assert np.isposinf(fit.standard_errors["loc"])
    assert np.all(np.isposinf(fit.standard_errors["cutpoints"]))
    assert "`cutpoints` and `loc`" in fit.message
    np.testing.assert_allclose(fit.profile("loc", [-1.0, 0.0, 1.0]), held.log_likelihood, atol=1e-6)
    for method in ("wald", "profile"):
        np.testing.assert_array_equal(fit.confidence_intervals(method=method)["loc"], [-np.inf, np.inf])
    assert all(np.all(np.isfinite(error)) for error in held.standard_errors.values())


@pytest.mark.thorough  # a rare family
def test_the_scale_of_plackett_luce_scores_is_not_identified():
    ranks = np.argsort(np.random.default_rng(0).gumbel([0, 0.5, 1], size=(60, 3)), axis=1)
    fit = maximum_likelihood("PlackettLuce", ranks)
    assert np.all(np.isposinf(fit.standard_errors["scores"]))
    assert fit.num_parameters == 2


@pytest.mark.thorough  # `test_fits_that_do_not_converge.py` has a Poisson whose rate goes to 0
def test_a_rate_of_zero_is_no_maximum_inside():
    # The variance of a Skellam is at least its mean, but the variance of this sample is less than its mean.
    y = np.random.default_rng(1).binomial(8, 0.5, 30)
    fit = maximum_likelihood("Skellam", y)
    assert fit.message == "no finite maximum: the log-likelihood goes on rising as `rate2` goes to 0"


def test_an_angle_is_between_minus_pi_and_pi():
    degrees = np.random.default_rng(0).normal(130, 20, 100)
    fit = maximum_likelihood("VonMises", np.radians(degrees) + 2 * np.pi * np.arange(100))
    assert fit.parameters["loc"] == pytest.approx(np.radians(130), abs=0.1)
    assert float(fit.distribution.loc) == pytest.approx(fit.parameters["loc"])
    assert "treated as radians" in fit.message


@pytest.mark.parametrize(("largest", "is_remarked"), [(-6.2, False), (-6.4, True), (6.2, False), (6.4, True)])
def test_angles_beyond_a_full_turn_are_remarked_on(largest, is_remarked):
    assert bool(remark(problem_of("VonMises", [0.0, 1.0, largest]))) is is_remarked


@pytest.mark.thorough  # the tests of a Uniform and of a Pareto also estimate bounds of a support
@pytest.mark.parametrize("fixed", [{}, {"temperature": 4.0}])
def test_the_bounds_of_a_pert_contain_the_sample(fixed):
    y = 3 * np.random.default_rng(0).beta(2, 5, 100)
    fit = maximum_likelihood("PERT", y, **fixed)
    assert fit.parameters["low"] <= y.min()
    assert fit.parameters["high"] >= y.max()
    assert fit.log_likelihood == pytest.approx(fit.distribution.log_prob(y).numpy().sum(), rel=1e-9)


def test_the_density_of_a_normal_inverse_gaussian_is_the_one_in_scipy():
    y = stats.norminvgauss.rvs(2, 0.5, 1, 2, size=300, random_state=np.random.default_rng(0))
    fit = maximum_likelihood("NormalInverseGaussian", y)
    loc, scale, tailweight, skewness = (fit.parameters[n] for n in ("loc", "scale", "tailweight", "skewness"))
    expected = stats.norminvgauss(tailweight * scale, skewness * scale, loc, scale).logpdf(y).sum()
    assert fit.log_likelihood == pytest.approx(expected, rel=1e-11)
    assert fit.problem.objective.exact  # exact derivatives, not differences


@pytest.mark.thorough(but="family3")
@pytest.mark.parametrize(
    ("family", "y", "message"),
    [
        (ZeroInflated("Poisson"), np.zeros(5), "`rate` goes to 0|`zero_probs` goes to 1$"),
        (
            Censored("Exponential"),
            [[1, np.inf], [2, np.inf], [3, np.inf]],
            "all outcomes are censored on the same side",
        ),
        ("PERT", np.random.default_rng(1).uniform(size=50), "`temperature` goes to 0$"),
        (Family("Normal", floor={"scale": 0.5}), [1.0, 1.2, 1.3], "`scale` goes to 0.5$"),
        *(
            pytest.param(*case, marks=pytest.mark.thorough)
            for case in (
                (Censored("Weibull"), [[1, np.inf], [2, np.inf], [3, 3]], "`concentration` goes to infinity"),
                (Censored("Normal"), [[1, 2]] * 5 + [[2, 3]] * 5, "`scale` goes to 0$"),  # the likelihood stays finite
                ("JohnsonSU", np.exp(np.random.default_rng(0).normal(size=60)), "`(skewness|scale)` goes to (-inf|0)"),
            )
        ),
    ],
)
def test_a_fit_without_a_maximum_says_which_way_it_rises(family, y, message):
    estimate = maximum_likelihood(family, y)
    assert not estimate.converged
    assert re.search(message, estimate.message)


def test_censoring_on_one_side_is_no_cause_if_the_support_depends_on_the_parameters():
    problem = problem_of(Censored("Uniform"), [[1, 2], [2, 3], [4, 5], [1, 3]])
    assert likely_cause(problem) == "; the likelihood of a Censored Uniform is not smooth"


@pytest.mark.thorough
def test_many_points_are_evaluated_in_small_batches(monkeypatch):
    y = np.random.default_rng(0).normal(size=100)
    objective = problem_of("Normal", y).objective
    values, sizes = objective.density.values, []

    def counted(points, held, y, weights):
        sizes.append(len(points) * len(y))
        return values(points, held, y, weights)

    monkeypatch.setattr(objective.density, "values", counted)
    w = np.random.default_rng(1).normal(size=[1000, 2])
    np.testing.assert_allclose(objective.values(w), [objective.value(row) for row in w], rtol=1e-13)
    # A block has at most 2^14 log-densities. A censored Gamma needs 340 numbers for each of them, 45 MB for a block.
    assert max(sizes) <= 2**14
