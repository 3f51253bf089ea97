"""CRPS: closed forms beside `scoringrules`, beside the integral, and what must hold of any."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import integrate, stats

import nllfit
from nllfit.families.marginals import marginals
from nllfit.scores.quadrature import crps_by_quadrature

tfd = tfp.distributions
scoringrules = pytest.importorskip("scoringrules")  # which needs Python 3.11

PROBS, LOCS, SCALES = np.array([0.2, 0.3, 0.5]), np.array([-1.0, 1.0, 40.0]), np.array([1e-2, 1.0, 3.0])


def normals(probs, loc, scale):
    return tfd.MixtureSameFamily(tfd.Categorical(probs=probs), tfd.Normal(loc, scale))


# A distribution of one row's parameters, outcomes near and far, and the score of `scoringrules`.
CASES = {
    "Normal": (lambda p: tfd.Normal(*p), (1.0, 2.0), [-1e6, -30.0, 0.9, 1.0, 4.0, 1e3], scoringrules.crps_normal),
    "Normal, narrow": (lambda p: tfd.Normal(*p), (0.0, 1e-9), [0.0, 1e-8, -1.0], scoringrules.crps_normal),
}


def scored(make, params, y, score=nllfit.crps):
    """Scores of outcomes, and their gradients with respect to them and to the parameters."""
    y = tf.constant(y, tf.float64)
    params = [tf.fill(y.shape, tf.constant(value, tf.float64)) for value in params]
    with tf.GradientTape() as tape:
        tape.watch([y, *params])
        scores = score(y, make(params))
    return [scores, *tape.gradient(scores, [y, *params])]


@pytest.mark.parametrize("name", CASES)
def test_closed_forms_are_scoringrules_and_the_integral(name):
    make, params, y, reference = CASES[name]
    found = scored(make, params, y)
    np.testing.assert_allclose(found[0], reference(np.array(y), *params, backend="numpy"), rtol=1e-12)
    integrals = scored(make, params, y, lambda y, d: crps_by_quadrature(marginals(d), y))
    np.testing.assert_allclose(found[0], integrals[0], rtol=1e-8)
    for one, integral in zip(found[1:], integrals[1:], strict=True):
        np.testing.assert_allclose(one, integral, rtol=1e-7, atol=1e-7)  # derivatives lose a digit to values


@pytest.mark.parametrize("y", [[-50.0, -1.0, 0.3, 35.0, 41.0, 1e4]])
def test_mixtures_of_normals_are_scoringrules(y):
    rows = [np.tile(values, [len(y), 1]) for values in (PROBS, LOCS, SCALES)]
    found = nllfit.crps(y, normals(*rows))
    expected = scoringrules.crps_mixnorm(np.array(y), rows[1], rows[2], rows[0], backend="numpy")
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_allclose(crps_by_quadrature(marginals(normals(*rows)), tf.constant(y, tf.float64)), found, 1e-8)


def test_the_quadrature_is_scipys():
    logistics = tfd.MixtureSameFamily(tfd.Categorical(probs=PROBS), tfd.Logistic(LOCS, SCALES))[None]

    def cdf(z):
        return PROBS @ stats.logistic(LOCS, SCALES).cdf(z)

    for y in (-3.0, 0.5, 45.0):
        edges = sorted([-30, -1.1, -0.9, 1, 40, 150, y])
        pieces = [
            integrate.quad(lambda z, y=y: (cdf(z) - (z > y)) ** 2, *edge, limit=200)[0]
            for edge in itertools.pairwise(edges)
        ]
        assert float(nllfit.crps([y], logistics)[0]) == pytest.approx(sum(pieces), abs=1e-8)


def test_elements_add_up_and_float32_is_float64_rounded():
    rng = np.random.default_rng(0)
    loc, scale, y = rng.normal(size=[5, 3]), rng.uniform(1, 2, [5, 3]), rng.normal(size=[5, 3])
    found = nllfit.crps(y, tfd.Independent(tfd.Normal(loc, scale), 1))
    np.testing.assert_allclose(found, nllfit.crps(y, tfd.Normal(loc, scale)).numpy().sum(-1), rtol=1e-14)
    single = nllfit.crps(y, tfd.Independent(tfd.Normal(*(tf.constant(v, tf.float32) for v in (loc, scale))), 1))
    assert single.dtype == tf.float32
    np.testing.assert_allclose(single, found, rtol=2e-6)  # of parameters and outcomes as rounded


def test_it_never_broadcasts():
    with pytest.raises(ValueError, match=r"\(4,\), but the head models outcomes of shape \(4, 1\)"):
        nllfit.crps(np.zeros(4), tfd.Independent(tfd.Normal(tf.zeros([4, 1]), 1.0), 1))


def test_a_true_model_scores_as_theory_says():
    rows, scale = 20_000, 2.0
    y = 3 + scale * np.random.default_rng(0).normal(size=rows)
    found = nllfit.crps(y, tfd.Normal(np.full(rows, 3.0), scale)).numpy()
    expected = scale / np.sqrt(np.pi)
    assert found.mean() == pytest.approx(expected, abs=4 * found.std() / np.sqrt(rows))
    for loc, other in ((3.3, scale), (3.0, 0.7 * scale), (3.0, 1.5 * scale)):
        assert np.mean(nllfit.crps(y, tfd.Normal(np.full(rows, loc), other))) > found.mean()
