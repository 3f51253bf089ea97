"""Compares the CRPS of counts and classes with sums over all counts. Some families have a closed form of the CRPS."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import special, stats

import nllfit
from nllfit.families.crps_of_counts import crps_by_sums
from nllfit.families.law import elements_of

tfd = tfp.distributions
scoringrules = pytest.importorskip("scoringrules")  # it needs Python 3.11

# Families, their parameters, and SciPy's counterparts.
CASES = [
    *[("Poisson", {"rate": rate}, stats.poisson(rate)) for rate in (1e-3, 1.0, 50.0, 1e5)],
    *[
        ("NegativeBinomial", {"total_count": n, "probs": p}, stats.nbinom(n, 1 - p))
        for n, p in ((0.3, 0.5), (50.0, 0.9), (0.5, 0.999), (1e5, 1e-5))
    ],
    *[
        ("Binomial", {"total_count": n, "probs": p}, stats.binom(n, p))
        for n, p in ((1.0, 0.3), (10.0, 0.5), (1e5, 0.4))
    ],
    *[("Geometric", {"probs": p}, stats.geom(p, -1)) for p in (0.3, 1e-3)],
]


def distribution_of(name, params):
    arguments = {"require_integer_total_count": False} if name == "NegativeBinomial" else {}
    return getattr(tfd, name)(**params, **arguments)


def scored(name, params, y, score=nllfit.crps):
    y = tf.constant(y, tf.float64)
    params = {key: tf.fill(y.shape, tf.constant(value, tf.float64)) for key, value in params.items()}
    with tf.GradientTape() as tape:
        tape.watch(params)
        scores = score(y, distribution_of(name, params))
    return scores, tape.gradient(scores, params)


@pytest.mark.thorough(but=("Geometric", "Poisson"))
@pytest.mark.parametrize("name", ["Poisson", "NegativeBinomial", "Binomial", "Geometric"])
def test_closed_forms_equal_the_sum_over_all_counts(name):
    """One test checks all parameter values of a family, because they share a trace that takes seconds."""
    for params, reference in ((params, reference) for family, params, reference in CASES if family == name):
        mean, deviation = reference.mean(), reference.std()
        y = np.floor([0, 1, 7, mean, mean + 3 * deviation, 2 * mean + 5])
        y = y[y <= params.get("total_count", np.inf)] if name == "Binomial" else y
        counts = np.arange(max(reference.ppf(1 - 1e-12), *y) + 2)
        squares = reference.cdf(counts) ** 2, reference.sf(counts) ** 2
        expected = [np.sum(squares[0][counts < one]) + np.sum(squares[1][counts >= one]) for one in y]
        between = [-2.0, -1.0, 0.0, 0.25, 0.75]
        steps = {key: 1e-4 * min(value, 1 - value if key == "probs" else np.inf) for key, value in params.items()}
        if name == "Binomial":
            del steps["total_count"]  # a count has no derivative
        # TFP's series run until all rows of a call have converged. Rows with moved parameters could hide a series that
        # stops too early at `params`. So `params` have their own call.
        found, derivatives = scored(name, params, y)
        np.testing.assert_allclose(found, expected, rtol=1e-8, err_msg=str(params))
        # One call scores all rows that the checks below need. The outcomes are counts, numbers between two counts (the
        # score is linear there), and numbers below 0 (the score is a constant plus the distance from 0). The parameters
        # are the given ones, and the given ones with one parameter moved by one or two steps.
        moves = [{}, *({key: step * h} for key, h in steps.items() for step in (-2, -1, 1, 2))]
        rows = {key: np.array([[value + move.get(key, 0.0)] for move in moves]) for key, value in params.items()}
        places = np.tile([*y, *between], [len(moves), 1])
        scores = nllfit.crps(
            places, distribution_of(name, {key: row + 0 * places for key, row in rows.items()})
        ).numpy()
        below = reference.cdf(0)
        differences = np.diff(scores[0, len(y) :])
        np.testing.assert_allclose(differences, [-1, -1, 0.25 * (2 * below - 1), 0.5 * (2 * below - 1)], rtol=1e-7)
        for i, (key, h) in enumerate(steps.items()):
            ends = scores[1 + 4 * i : 5 + 4 * i, : len(y)]
            difference = (ends[0] - 8 * ends[1] + 8 * ends[2] - ends[3]) / (12 * h)
            # Incomplete beta and gamma functions have 10 to 12 digits, and a difference loses four of them.
            atol = 1e-7 * np.max(np.abs(difference))
            np.testing.assert_allclose(derivatives[key], difference, rtol=2e-6, atol=atol)


def test_scores_of_counts_match_scoringrules():
    y, backend = np.array([0.0, 2.0, 9.0]), {"backend": "numpy"}
    for name, params, expected in (
        ("Poisson", {"rate": 3.0}, scoringrules.crps_poisson(y, 3.0, **backend)),
        ("NegativeBinomial", {"total_count": 4.0, "probs": 0.3}, scoringrules.crps_negbinom(y, 4.0, 0.7, **backend)),
        ("Binomial", {"total_count": 9.0, "probs": 0.3}, scoringrules.crps_binomial(y, 9.0, 0.3, **backend)),
    ):
        constant = {key: tf.fill([3], tf.constant(value, tf.float64)) for key, value in params.items()}
        np.testing.assert_allclose(nllfit.crps(y, distribution_of(name, constant)), expected, rtol=1e-9)


@pytest.mark.thorough(but=("30", "100000"))
@pytest.mark.parametrize("rate", [0.2, 30.0, 1e5])
def test_sums_equal_the_closed_form_near_and_far(rate):
    y = np.array([-3.0, 0.0, 2.5, np.floor(rate), np.floor(rate + 4 * rate**0.5), 3 * rate])
    found, slopes = scored("Poisson", {"rate": rate}, y)
    summed, others = scored("Poisson", {"rate": rate}, y, lambda y, d: crps_by_sums(elements_of(d), y))
    np.testing.assert_allclose(summed, found, rtol=1e-8)
    np.testing.assert_allclose(others["rate"], slopes["rate"], rtol=1e-8, atol=1e-9)


def test_scores_of_mixtures_and_inflated_counts_are_sums():
    share, rates, y = np.array([0.3, 0.7]), np.array([2.0, 40.0]), np.array([0.0, 3.0, 50.0])
    mixture = tfd.MixtureSameFamily(tfd.Categorical(probs=np.tile(share, [3, 1])), tfd.Poisson(np.tile(rates, [3, 1])))
    counts = np.arange(200)
    below = share @ stats.poisson(rates[:, None]).cdf(counts)
    expected = [np.sum((below - (counts >= one)) ** 2) for one in y]
    np.testing.assert_allclose(nllfit.crps(y, mixture), expected, rtol=1e-10)

    inflated = tfd.ZeroInflatedNegativeBinomial(
        total_count=tf.fill([3], 5.0), probs=tf.fill([3], 0.4), inflated_loc_probs=tf.fill([3], 0.3)
    )
    below = 0.3 + 0.7 * stats.nbinom(5, 0.6).cdf(counts)
    expected = [np.sum((below - (counts >= one)) ** 2) for one in y]
    np.testing.assert_allclose(nllfit.crps(y, inflated), expected, rtol=2e-6)  # rounding of float32


def test_events_and_classes_have_brier_scores_and_ordered_ones_ranked_probability_scores():
    probs = np.array([[0.2, 0.3, 0.5], [0.1, 0.1, 0.8]], np.float32)
    y = np.array([0, 1])
    one_hot = np.eye(3)[y]
    brier = np.sum((probs - one_hot) ** 2, -1)
    np.testing.assert_allclose(nllfit.crps(y, tfd.Categorical(probs=probs)), brier, rtol=1e-6)
    np.testing.assert_allclose(nllfit.crps(one_hot, tfd.OneHotCategorical(probs=probs)), brier, rtol=1e-6)
    np.testing.assert_allclose(
        nllfit.crps(one_hot[:, 0], tfd.Bernoulli(probs=probs[:, 0])), (probs - one_hot)[:, 0] ** 2
    )
    cutpoints = np.array([[-1.0, 0.5], [0.0, 2.0]])
    ordered = tfd.OrderedLogistic(cutpoints=cutpoints, loc=np.array([0.3, -0.2]))
    below = np.cumsum(ordered.categorical_probs(), -1)
    expected = np.sum((below - (np.arange(3) >= y[:, None])) ** 2, -1)
    np.testing.assert_allclose(nllfit.crps(y, ordered), expected, rtol=1e-6)


@pytest.mark.thorough  # in every run, other tests check scores of counts
@pytest.mark.parametrize("power", [1.6, 2.0, 3.5])
def test_a_zipf_has_a_score(power):
    y, step = np.array([-1.0, 1.0, 1.5, 4.0, 200.0]), 1e-4
    found, slopes = scored("Zipf", {"power": power}, y)
    ends = []
    for exponent in (power, power - step, power + step):
        below = np.cumsum(np.arange(1.0, 1e5 + 1) ** -exponent) / special.zeta(exponent)
        above = special.zeta(exponent, np.arange(2.0, 1e5 + 2)) / special.zeta(exponent)
        # Beyond 1e5 the survival function is approximately a power of k + 1/2.
        far = special.zeta(2 * exponent - 2, 1e5 + 1.5) / ((exponent - 1) * special.zeta(exponent)) ** 2
        counts = np.floor(np.maximum(y, 1)).astype(int)
        whole = [np.sum(below[: n - 1] ** 2) + np.sum(above[n - 1 :] ** 2) + far for n in counts]
        within = (np.maximum(y, 1) - counts) * (below[counts - 1] ** 2 - above[counts - 1] ** 2)
        ends.append(np.array(whole) + within + np.maximum(1 - y, 0))
    np.testing.assert_allclose(found, ends[0], rtol=1e-9)
    np.testing.assert_allclose(slopes["power"], (ends[2] - ends[1]) / (2 * step), rtol=1e-5)
    assert np.isinf(nllfit.crps([2.0], tfd.Zipf([1.5])))
