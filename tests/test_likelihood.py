"""The likelihood of a sample over grids of parameters, against the lesson's formulas and SciPy."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import stats

from nllfit import likelihood, log_likelihood

tfd = tfp.distributions


def test_the_bernoulli_of_the_lesson():
    theta = np.linspace(0.01, 0.99, 99)
    result = likelihood(tfd.Bernoulli(probs=tf.constant(theta)), [0, 0, 0, 1, 0])
    np.testing.assert_allclose(result, theta * (1 - theta) ** 4, rtol=1e-13)  # a few roundings of five factors


def test_the_normal_surface_of_the_lesson():
    mu, sigma = np.linspace(-2, 2, 41)[None, :], np.linspace(0.3, 2, 18)[:, None]
    y = np.array([-1.0, 0.0, 1.0])
    result = likelihood(tfd.Normal(mu, sigma), y)
    assert result.shape == (18, 41)
    expected = stats.norm.pdf(y[:, None, None], mu, sigma).prod(0)
    np.testing.assert_allclose(result, expected, rtol=1e-12)  # exponents up to 40 lose two digits


def test_the_logarithm_is_exact_where_the_product_underflows():
    y = np.full(10_000, 3.0)
    distribution = tfd.Normal(tf.constant(0.0, tf.float64), 1.0)
    assert likelihood(distribution, y) == 0.0
    exact = -len(y) * (4.5 + np.log(2 * np.pi) / 2)
    assert float(log_likelihood(distribution, y)) == pytest.approx(exact, rel=1e-13)


def test_vector_outcomes_and_a_grid():
    y = np.random.default_rng(0).normal(size=(20, 3))
    distribution = tfd.MultivariateNormalDiag(np.zeros([4, 1, 3]), np.full([4, 2, 3], 1.5))
    result = log_likelihood(distribution, y)
    assert result.shape == (4, 2)
    np.testing.assert_allclose(result, stats.norm.logpdf(y, 0, 1.5).sum(), rtol=1e-13)


@pytest.mark.parametrize(
    ("distribution", "y", "message"),
    [
        (tfd.Normal(0.0, 1.0), [], "empty"),
        (tfd.Normal(0.0, 1.0), 1.0, r"shape \(\)"),
        (tfd.Normal(0.0, 1.0), [[1.0], [2.0]], r"shape \(2, 1\).*\('n',\)"),
        (tfd.Normal(0.0, 1.0), [1.0, np.nan], "1 NaN"),
        (tfd.Bernoulli(probs=0.5), [0.0, 0.5], "fractions"),
        (tfd.Bernoulli(probs=0.5, validate_args=True), [0, 2], "cannot have"),
    ],
)
def test_no_sample_is_a_clear_error(distribution, y, message):
    with pytest.raises(ValueError, match=message):
        log_likelihood(distribution, y)


def test_importing_the_package_imports_neither_matplotlib_nor_scipy():
    code = (
        "import sys, tensorflow, tensorflow_probability, tf_keras; before = set(sys.modules); import nllfit;"
        "print(sorted({m.split('.')[0] for m in set(sys.modules) - before} & {'matplotlib', 'scipy', 'sklearn'}))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
