"""Families parametrised by their mean: densities against SciPy, estimation, heads and saved files."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from scipy import special, stats

import nllfit
from nllfit import heads, keras3

MEAN, SECOND = 1.7, 0.6
CASES = {
    "Beta": (0.3, 4.0, [0.05, 0.5, 0.9], stats.beta(0.3 * 4.0, 0.7 * 4.0)),
    "Exponential": (MEAN, None, [0.01, 1.0, 9.0], stats.expon(scale=MEAN)),
    "Gamma": (MEAN, SECOND, [0.01, 1.0, 9.0], stats.gamma(SECOND, scale=MEAN / SECOND)),
    "NegativeBinomial": (MEAN, SECOND, [0.0, 1.0, 40.0], stats.nbinom(1 / SECOND, 1 / (1 + MEAN * SECOND))),
}


@pytest.mark.parametrize("name", CASES)
def test_densities_and_means_of_by_mean_families_match_scipy(name):
    mean, second, outcomes, expected = CASES[name]
    family = nllfit.ByMean(name)
    values = {n: v for n, v in zip(family.parameter_names, (mean, second), strict=False) if v is not None}
    made = family.distribution(family.unconstrained(values))
    density = getattr(expected, "logpmf", None) if family.is_discrete else expected.logpdf
    np.testing.assert_allclose(made.log_prob(np.array(outcomes)), density(outcomes), rtol=1e-12)
    np.testing.assert_allclose([made.mean(), made.variance()], [expected.mean(), expected.var()], rtol=1e-12)
    assert type(made).__name__ == name  # so our tails, quantiles and scores for TFP's class apply to it


@pytest.mark.thorough(but="Gamma")
@pytest.mark.parametrize("name", CASES)
def test_by_mean_and_tfps_parameters_have_the_same_maximum_likelihood(name):
    y = CASES[name][3].rvs(60, random_state=0)
    ours, other = nllfit.maximum_likelihood(nllfit.ByMean(name), y), nllfit.maximum_likelihood(name, y)
    np.testing.assert_allclose(ours.log_likelihood, other.log_likelihood, rtol=1e-10)
    np.testing.assert_allclose(ours.parameters["mean"], other.distribution.mean(), rtol=1e-6)


def test_the_gradient_is_right_at_concentration_1():
    """TFP's gradient is wrong at concentration 1, where a network with an `exp` link starts."""
    family = nllfit.ByMean("Gamma", link={"mean": "exp", "concentration": "exp"})
    at = tf.zeros([2], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(at)
        value = family.distribution(at).log_prob(tf.constant(0.3, tf.float64))
    # At a mean of 1, log p = c log c + (c - 1) log y - c y - lgamma(c). The test compares its derivative at c = 1.
    np.testing.assert_allclose(tape.gradient(value, at)[1], 1 + np.log(0.3) - 0.3 - special.digamma(1), rtol=1e-12)


@pytest.mark.thorough  # some tests of regressions are in every run and use heads of `ByMean` families
def test_by_mean_heads_work_with_keras_2_and_keras_3(tmp_path):
    arguments = {"parameterization": "mean", "link": {"mean": "exp"}, "shared": "alpha"}
    x = np.random.default_rng(0).normal(size=[40, 2]).astype("float32")
    for package, kind in ((tf_keras, heads), (keras, keras3.heads)):
        model = package.Sequential([package.layers.Dense(1), kind.NegativeBinomial(**arguments)])
        model.build([None, 2])
        assert kind.NegativeBinomial.params_size(**arguments) == 1
        model.save(tmp_path / "model.keras")
        loaded = package.models.load_model(tmp_path / "model.keras")
        np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
        assert isinstance(loaded.layers[-1].family, nllfit.ByMean)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nllfit.ByMean("Normal"), "Normal has no parametrisation by the mean: give one of Beta, Exponential"),
        (lambda: heads.Gamma(parameterization="median"), "`parameterization` is 'median': give \"mean\""),
        (lambda: nllfit.ByMean("Gamma", rate=1.0), "GammaByMean has no parameter `rate`. It has mean, concentration"),
        (lambda: nllfit.ByMean("Beta", mean=1.5), "cannot be built"),
    ],
)
def test_invalid_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
