"""Estimates of censored and truncated samples against formulas, SciPy, statsmodels and fitdistrplus."""

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from scipy import optimize, stats

import nllfit
from nllfit import Censored, Truncated, interval_censored, left_censored, right_censored
from nllfit.families import Family, MixtureFamily

INF = np.inf


@pytest.mark.thorough
def test_censored_estimates_match_fitdistcens():
    """The references are from R's `fitdistcens`, quoted in SciPy's tests of `CensoredData`.

    `test_published_censored_fits.py` compares a Normal with `fitdistcens`.
    """
    y = [2.5, 2.9, 3.8, 9.1, 9.3, 12.0, 23.0, 25.0]
    data = stats.CensoredData.right_censored(y, [0] * 7 + [1])
    gamma = nllfit.maximum_likelihood(Censored("Gamma"), data)
    assert gamma.converged
    np.testing.assert_allclose(gamma.parameters["concentration"], 1.447623, rtol=1e-6)
    np.testing.assert_allclose(1 / gamma.parameters["rate"], 8.360197, rtol=1e-6)
    shape, _, scale = stats.gamma.fit(data, floc=0)
    theirs = stats.gamma(shape, scale=scale)
    assert gamma.log_likelihood >= theirs.logpdf(y[:-1]).sum() + theirs.logsf(25) - 1e-12
    np.testing.assert_allclose(gamma.parameters["concentration"], shape, rtol=1e-4)


@pytest.mark.thorough
def test_censored_standard_errors_and_profiles_match_the_observed_information():
    y = interval_censored([0.1, 0.5, 0.75, 0.8], [0.2, 0.55, 0.9, 0.95])
    estimate = nllfit.maximum_likelihood(Censored("Normal"), y)
    loc, scale = estimate.parameters.values()

    def value(a, b):
        upper, lower = (y[:, ::-1].T - a) / b
        return np.log(stats.norm.cdf(upper) - stats.norm.cdf(lower)).sum()

    h = 1e-4
    moves = np.array([[value(loc + i * h, scale + j * h) for j in (-1, 0, 1)] for i in (-1, 0, 1)])
    second = [moves[2, 1] - 2 * moves[1, 1] + moves[0, 1], moves[1, 2] - 2 * moves[1, 1] + moves[1, 0]]
    mixed = (moves[2, 2] - moves[2, 0] - moves[0, 2] + moves[0, 0]) / 4
    covariance = np.linalg.inv(-np.array([[second[0], mixed], [mixed, second[1]]]) / h**2)
    np.testing.assert_allclose(estimate.covariance, covariance, rtol=1e-5)
    low, high = estimate.confidence_intervals(method="profile", names="loc")["loc"]
    drop = 2 * (estimate.log_likelihood - estimate.profile("loc", [low, high]))
    np.testing.assert_allclose(drop, stats.chi2(1).isf(0.05), rtol=1e-5)


def entered(own):
    """A right-censored sample with delayed entry. `own(rng)` returns 1000 event times."""
    rng = np.random.default_rng(0)
    time, entry = own(rng), rng.uniform(0, 2, 1000)
    time, entry = time[time > entry], entry[time > entry]
    end = entry + rng.uniform(0, 2, len(time))
    return np.minimum(time, end), time <= end, entry


@pytest.mark.thorough
def test_delayed_entry_composes_with_censoring_by_conditional_terms():
    last, seen, entry = entered(lambda rng: rng.exponential(2.0, 1000))
    rows = np.concatenate([right_censored(last, seen), entry[:, None]], -1)
    estimate = nllfit.maximum_likelihood(Censored(Truncated("Exponential", low="row")), rows)
    assert estimate.converged
    rate = seen.sum() / (last - entry).sum()  # number of events / time at risk
    assert estimate.parameters["rate"] == pytest.approx(rate, rel=1e-8)
    assert estimate.standard_errors["rate"] == pytest.approx(rate / np.sqrt(seen.sum()), rel=1e-6)
    np.testing.assert_allclose(estimate.log_likelihood, seen.sum() * (np.log(rate) - 1), rtol=1e-10)


@pytest.mark.thorough
def test_a_weibull_with_delayed_entry_recovers_its_parameters():
    last, seen, entry = entered(lambda rng: 2 * rng.weibull(1.5, 1000))
    rows = np.concatenate([right_censored(last, seen), entry[:, None]], -1)
    estimate = nllfit.maximum_likelihood(Censored(Truncated("Weibull", low="row")), rows)
    assert estimate.converged
    for name, true in (("concentration", 1.5), ("scale", 2.0)):
        assert abs(estimate.parameters[name] - true) < 3 * estimate.standard_errors[name]
    fitted = stats.weibull_min(estimate.parameters["concentration"], scale=estimate.parameters["scale"])
    terms = np.where(seen, fitted.logpdf(last), fitted.logsf(last)) - fitted.logsf(entry)
    np.testing.assert_allclose(estimate.log_likelihood, terms.sum(), rtol=1e-10)


@pytest.mark.thorough
def test_truncated_counts_match_statsmodels():
    discrete = pytest.importorskip("statsmodels.discrete.truncated_model")
    y = np.random.default_rng(1).poisson(1.3, 300)
    y = y[y > 0]
    theirs = discrete.TruncatedLFPoisson(y, np.ones(len(y)), truncation=0).fit(disp=0)
    ours = nllfit.maximum_likelihood(Truncated("Poisson", low=0), y)
    np.testing.assert_allclose(np.log(ours.parameters["rate"]), theirs.params[0], rtol=1e-5)
    np.testing.assert_allclose(ours.standard_errors["rate"] / ours.parameters["rate"], theirs.bse[0], rtol=1e-4)
    np.testing.assert_allclose(ours.log_likelihood, theirs.llf, rtol=1e-10)


def late_times():
    y = stats.weibull_min.rvs(1.6, scale=5, size=300, random_state=0)
    return y[y > 2]


@pytest.mark.thorough
def test_a_window_far_out_leaves_the_parameter_identified():
    y = late_times()
    exponential = nllfit.maximum_likelihood(Truncated("Exponential", low=2.0), y)
    assert exponential.parameters["rate"] == pytest.approx(1 / (y - 2).mean(), rel=1e-8)
    assert exponential.standard_errors["rate"] == pytest.approx(1 / (y - 2).mean() / np.sqrt(len(y)), rel=1e-6)
    assert exponential.num_parameters == 1


@pytest.mark.thorough
def test_a_window_far_out_leaves_both_parameters_identified():
    y = late_times()
    weibull = nllfit.maximum_likelihood(Truncated("Weibull", low=2.0), y)
    assert weibull.num_parameters == 2

    def negative(p):
        law = stats.weibull_min(p[0], scale=p[1])
        return -np.sum(law.logpdf(y) - law.logsf(2.0))

    least = optimize.minimize(negative, [1.6, 5.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-10})
    assert weibull.log_likelihood == pytest.approx(-least.fun, abs=1e-8)
    np.testing.assert_allclose(list(weibull.parameters.values()), least.x, rtol=1e-6)


@pytest.mark.thorough
def test_families_of_pairs_can_be_compared():
    y = right_censored([2.5, 2.9, 3.8, 9.1, 9.3, 12.0, 23.0, 25.0], [1] * 7 + [0])
    ranked = nllfit.compare(y, [Censored("Exponential"), Censored("Normal")])
    assert {e.family.label for e in ranked.estimates} == {"Censored(Exponential)", "Censored(Normal)"}
    assert not ranked.refused


@pytest.mark.thorough  # `test_censored.py` checks the likelihood of each row
def test_a_censored_mixture_is_fitted():
    y = np.exp(np.concatenate([np.random.default_rng(0).normal(m, 0.3, 40) for m in (0.0, 2.5)]))
    pairs = right_censored(np.minimum(y, 15.0), y < 15)
    fit = nllfit.maximum_likelihood(Censored(MixtureFamily("LogNormal", 2)), pairs)
    assert fit.converged
    parts = stats.norm(fit.parameters["loc"], fit.parameters["scale"])
    weights, log = fit.parameters["mixture_probs"], np.log(np.minimum(y, 15.0))[:, None]
    seen = np.log((weights * parts.pdf(log)).sum(1)) - log[:, 0]
    expected = np.where(y < 15, seen, np.log((weights * parts.sf(log)).sum(1))).sum()
    assert fit.log_likelihood == pytest.approx(expected, rel=1e-9)


BAD_SAMPLES = [
    (lambda: Censored("Normal"), [[2.0, 1.0], [0.0, 1.0]], "lower end is above its upper"),
    (lambda: Censored("Normal"), [[np.nan, 1.0], [0.0, 1.0]], "1 NaN values"),
    (lambda: Censored("Weibull"), [[-3.0, -2.0], [1.0, 1.0], [2.0, 2.0]], "Censored Weibull"),
    (lambda: Censored("Normal"), [1.0, 2.0, 3.0], "has shape"),
    (lambda: Truncated("Normal", 0.0, 1.0), [0.5, 0.2, 1.5], "outside its window from 0.0 to 1.0"),
    (lambda: Truncated("Weibull", low="row"), [[1.0, 2.0], [1.0, 0.5], [2.0, 0.1]], "outside its window"),
    (lambda: Truncated("Weibull", low="row", high="row"), [[1.0, 2.0, 1.5], [1.5, 0.5, 3.0]], "NaN, or not below the"),
]


@pytest.mark.thorough(but=("lower end", "1 NaN"))
@pytest.mark.parametrize(("make", "y", "message"), BAD_SAMPLES, ids=[case[2] for case in BAD_SAMPLES])
def test_impossible_outcomes_of_censored_families_are_named(make, y, message):
    with pytest.raises(ValueError, match=message):
        nllfit.maximum_likelihood(make(), y)


BAD_FAMILIES = [
    (lambda: Censored("BetaQuotient"), "BetaQuotient .* has no CDF .* Weibull"),
    (lambda: Censored("Horseshoe"), "Horseshoe .* exact in both tails.* Weibull"),
    (lambda: Censored("NoncentralChi2"), "NoncentralChi2 .* exact in both tails.* Weibull"),
    (lambda: Censored("Deterministic"), "Deterministic .* exact in both tails.* Weibull"),
    (lambda: Censored("MultivariateNormalTriL", 2), "has no CDF of single numbers"),
    (lambda: Censored(Censored("Normal")), "censored already"),
    (lambda: Censored(Family("Normal"), 1), "`event_shape` is given together with a family"),
    (lambda: Truncated("Weibull", -3.0, -1.0), "has no probability"),
    (lambda: Truncated("Normal", 2.0, 1.0), "`low` below `high`"),
    (lambda: Truncated("Normal"), "Neither `low` nor `high`"),
    (lambda: Truncated("Normal", low="rows"), "`low` is 'rows'"),
    (lambda: Truncated("Normal", low=np.array([0.0, 1.0])), r"`low` is array\(\[0., 1.\]\): give a number"),
    (lambda: Truncated("Normal", high=tf.constant([0.0, 1.0])), "`high` is <tf.Tensor.*: give a number"),
    (lambda: Truncated("VonMises", low=0.0), "VonMises is a family of angles"),
    (lambda: Censored("VonMises"), "VonMises is a family of angles"),
    (lambda: Censored(nllfit.MixtureFamily("VonMises", 2)), "VonMises is a family of angles"),
    (lambda: Truncated(Censored("Normal"), 1.0), "Censored\\(Truncated"),
    (lambda: right_censored([1.0, 2.0], [1]), "`observed` has shape"),
    (lambda: right_censored([1.0, 2.0], [1, 2]), "other than 0 and 1"),
    (lambda: left_censored([1.0, np.nan], [1, 0]), "NaN at row 1"),
    (lambda: interval_censored([1.0, 2.0], [2.0, 1.0]), "above `upper` at row 1"),
]


@pytest.mark.thorough
@pytest.mark.parametrize(
    "family",
    ["PERT", nllfit.MixtureFamily("Uniform", 2), Truncated("Uniform", low=0.0)],
    ids=["PERT", "mixture", "truncated"],
)
def test_a_window_may_be_anywhere_if_the_support_depends_on_parameters(family):
    truncated = Truncated(family, 5.0, 10.0)
    assert truncated.distribution(tf.fill([1, truncated.params_size], 3.0)).log_prob([5.5]) > -np.inf


@pytest.mark.parametrize(("make", "message"), BAD_FAMILIES, ids=[case[1] for case in BAD_FAMILIES])
def test_invalid_censored_and_truncated_families_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.thorough
def test_a_maximum_at_a_corner_is_at_an_exact_outcome():
    y = stats.laplace(1, 2).rvs(25, random_state=0)
    censored, seen = y > 2.5, y[y <= 2.5]

    def highest(loc):
        def loss(scale):  # log S(2.5) is -log 2 - (2.5 - loc) / scale
            return (
                np.sum(np.abs(seen - loc)) / scale
                + len(y) * np.log(2)
                + len(seen) * np.log(scale)
                + at * beyond / scale
            )

        at, beyond = 2.5 - loc, censored.sum()
        return -optimize.minimize_scalar(loss, bounds=(0.1, 10), method="bounded").fun

    estimate = nllfit.maximum_likelihood(Censored("Laplace"), right_censored(np.minimum(y, 2.5), ~censored))
    assert estimate.converged
    best = max((highest(loc), loc) for loc in [*seen, *np.linspace(-2, 2.4, 300)])
    np.testing.assert_allclose((estimate.log_likelihood, estimate.parameters["loc"]), best, rtol=1e-8)
    assert best[1] in seen


@pytest.mark.thorough
def test_a_hurdles_corner_is_that_of_the_outcomes_above_0():
    y = np.array([0.0, 1.0, 0.0, 4.0, 2.5, -3.0, 0.0, 1.5, 0.7])
    estimate = nllfit.maximum_likelihood(nllfit.Hurdle("Laplace"), y)
    assert estimate.converged
    others = y[y != 0]
    found = [estimate.parameters[name] for name in ("zero_probs", "loc", "scale")]
    middle = np.sort(others)[2:4]  # the likelihood is constant between the two middle outcomes of six
    assert middle[0] <= found[1] <= middle[1]
    np.testing.assert_allclose([found[0], found[2]], [1 / 3, np.mean(np.abs(others - middle[0]))], rtol=1e-7)


@pytest.mark.thorough
@pytest.mark.filterwarnings("error")
def test_an_uninformative_row_does_not_change_the_fit():
    y = [[1.0, 1.0], [2.0, 2.0], [2.5, INF], [0.5, 0.5]]
    found = nllfit.maximum_likelihood(Censored("Exponential"), [*y, [-INF, INF]])
    np.testing.assert_allclose(found.parameters["rate"], 3 / 6, rtol=1e-8)  # three events; the times sum to 6


@pytest.mark.parametrize(
    ("time", "observed", "message"),
    [
        (np.array([3, 5], "timedelta64[D]"), [1, 0], "`time` holds dates or durations"),
        (pd.Series(pd.to_datetime(["2020-01-01", "2021-01-01"])), [1, 0], "`time` holds dates or durations"),
        (np.array([1 + 2j, 3]), [1, 0], "`time` is not an array of numbers"),
        (np.ma.array([1.0, 2.0], mask=[0, 1]), [1, 1], "`time` has 1 masked values: leave their rows out"),
        ([1.0, 2.0], np.ma.array([1, 0], mask=[0, 1]), "`observed` has 1 masked values"),
        ([1.0, 2.0], pd.Series([True, None], dtype="boolean"), "`observed` holds values other than 0 and 1"),
        ([1.0, 2.0], np.array(["yes", "no"]), "`observed` holds values other than 0 and 1"),
        ([1.0, np.nan], [1, 0], "`time` is NaN at row 1: drop the row, or fill it in"),
    ],
)
def test_pairs_are_made_of_numbers_only(time, observed, message):
    with pytest.raises(ValueError, match=message):
        nllfit.right_censored(time, observed)


def test_a_missing_number_is_named_by_its_argument():
    with pytest.raises(ValueError, match="`value` is NaN at row 0: drop the row"):
        nllfit.left_censored([np.nan, 2.0], [1, 0])
    with pytest.raises(ValueError, match="`upper` is NaN at row 1: give inf or -inf for an open end"):
        nllfit.interval_censored([1.0, 2.0], [2.0, np.nan])
