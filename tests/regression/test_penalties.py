"""Penalised regressions as MAP estimates.

The tests check the factors that convert scikit-learn's penalties to Keras's regularizers.
"""

import numpy as np
import pytest
import tf_keras
from scipy.stats import norm
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.linear_model import Lasso, LogisticRegression, Ridge
from sklearn.preprocessing import scale

import nllfit
from nllfit import heads, keras3
from tests.keras_versions import KITS


def fitted(x, y, head, regularizer):
    """A penalised linear model that `fit_lbfgs` has fitted, and its history."""
    dense = tf_keras.layers.Dense(1, kernel_regularizer=regularizer, input_shape=x.shape[1:], dtype="float64")
    model = tf_keras.Sequential([dense, head])
    model.compile(loss=nllfit.negative_log_likelihood)
    history = nllfit.fit_lbfgs(model, x, y)
    return model, history


@pytest.fixture(scope="module")
def diabetes():
    x, y = load_diabetes(return_X_y=True)
    return scale(x)[:100, :3], y[:100, None] / 100


def test_ridge_regression_matches_scikit_learn(diabetes):
    """The sum of squares is 2 n times the loss of a Normal with scale 1, plus a constant. So `l2 = alpha / (2 n)`."""
    x, y = diabetes
    model, history = fitted(x, y, heads.Normal(scale=1.0), tf_keras.regularizers.L2(30.0 / (2 * len(x))))
    theirs = Ridge(alpha=30.0).fit(x, y[:, 0])
    assert history.converged
    np.testing.assert_allclose(model.get_weights()[0][:, 0], theirs.coef_, rtol=1e-6)
    np.testing.assert_allclose(model.get_weights()[1], theirs.intercept_, rtol=1e-6)


@pytest.mark.thorough
def test_penalised_logistic_regression_matches_scikit_learn():
    """scikit-learn minimises `C` times the sum of the losses, plus half the sum of the squared weights.

    Keras minimises the mean of the losses. So `l2 = 1 / (2 C n)`.
    """
    x, y = load_breast_cancer(return_X_y=True)
    x, y = scale(x)[:200, :4], y[:200, None]
    model, history = fitted(x, y, heads.Bernoulli(), tf_keras.regularizers.L2(1 / (2 * 0.5 * len(x))))
    theirs = LogisticRegression(C=0.5, tol=1e-12, max_iter=10_000).fit(x, y[:, 0])
    assert history.converged
    np.testing.assert_allclose(model.get_weights()[0][:, 0], theirs.coef_[0], rtol=1e-5)
    np.testing.assert_allclose(model.get_weights()[1], theirs.intercept_, rtol=1e-5)


@pytest.mark.thorough
def test_lasso_regression_matches_scikit_learn(diabetes):
    """The sum of squares, divided by 2 n, is the loss of a Normal with scale 1, plus a constant. So `l1 = alpha`."""
    x, y = diabetes
    model, history = fitted(x, y, heads.Normal(scale=1.0), tf_keras.regularizers.L1(0.1))
    theirs = Lasso(alpha=0.1, tol=1e-12, max_iter=100_000).fit(x, y[:, 0])
    assert (theirs.coef_ == 0).any()
    np.testing.assert_allclose(model.get_weights()[0][:, 0], theirs.coef_, rtol=1e-8)
    assert history.converged, history.message
    assert "2 of the weights are 0 at a corner of the loss" in history.message
    found = nllfit.standard_errors(model, x, y)
    assert not found.converged
    assert "2 of the weights are 0 at a corner of the posterior" in found.message


def penalised_linear_model(kit, sizes, reduction="mean"):
    """Inputs, outcomes and a compiled linear model. Its weights have Normal priors with the scales `sizes`."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=[30, 2])
    y = x @ [[1.0], [2.0]] + rng.normal(size=[30, 1])
    keras, n = kit.keras, 1 if reduction == "sum" else len(x)
    priors = {f"{part}_regularizer": keras.regularizers.L2(1 / (2 * n * size**2)) for part, size in sizes.items()}
    model = keras.Sequential([keras.layers.Dense(1, dtype="float64", **priors), kit.heads.Normal(scale=0.8)])
    loss = kit.loss if reduction == "mean" else keras3.NegativeLogLikelihood(reduction="sum")
    model.compile(loss=loss)
    return x, y, model


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("kit", "reduction"),
    [(KITS[0], "mean"), (KITS[1], "mean"), (KITS[1], "sum")],
    ids=["tf_keras", "keras3", "keras3-sum"],
)
def test_standard_errors_at_a_penalised_optimum_are_those_of_the_posterior(kit, reduction):
    """The reference is the closed form for a linear model with Normal priors. The loss is a mean or a sum over rows."""
    x, y, model = penalised_linear_model(kit, {"kernel": 0.5, "bias": 2.0}, reduction)
    counts, design = np.resize([1.0, 2.0], 30), np.c_[x, np.ones(30)]
    precision = design.T @ (counts[:, None] * design) / 0.8**2 + np.diag([1 / 0.5**2, 1 / 0.5**2, 1 / 2.0**2])
    best = np.linalg.solve(precision, design.T @ (counts * y[:, 0]) / 0.8**2)
    model(x)
    model.set_weights([best[:2, None], best[2:]])
    found = nllfit.standard_errors(model, x, y, sample_weight=counts)
    assert found.converged
    assert found.kind == "Laplace approximation"
    assert found.message == "the weights are a maximum of the posterior"
    np.testing.assert_allclose(found.covariance, np.linalg.inv(precision), rtol=1e-8, atol=1e-12)
    np.testing.assert_array_equal(found.estimates, best)
    log_prob = norm(design @ best, 0.8).logpdf(y[:, 0])
    np.testing.assert_allclose(found.log_likelihood, counts @ log_prob)


@pytest.mark.thorough
def test_weights_that_are_no_maximum_of_the_posterior_have_no_standard_errors():
    x, y, model = penalised_linear_model(KITS[0], {"kernel": 0.5, "bias": 2.0})
    model(x)
    model.set_weights([np.array([[1.3], [2.6]]), np.zeros(1)])
    found = nllfit.standard_errors(model, x, y)
    assert not found.converged
    assert "standard errors away" in found.message
    assert np.isnan(found.standard_errors).all()
