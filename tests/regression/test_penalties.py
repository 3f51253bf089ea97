"""Ridge and logistic regression with a penalty are MAP estimates: the factors between scikit-learn's and Keras's."""

import numpy as np
import pytest
import tf_keras
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.linear_model import Lasso, LogisticRegression, Ridge
from sklearn.preprocessing import scale

import nllfit
from nllfit import heads


def fitted(x, y, head, regularizer):
    """The kernel, the bias and the history of a penalised linear model."""
    dense = tf_keras.layers.Dense(1, kernel_regularizer=regularizer, input_shape=x.shape[1:], dtype="float64")
    model = tf_keras.Sequential([dense, head])
    model.compile(loss=nllfit.negative_log_likelihood)
    history = nllfit.fit_lbfgs(model, x, y)
    return model, history


@pytest.fixture(scope="module")
def diabetes():
    x, y = load_diabetes(return_X_y=True)
    return scale(x)[:100, :3], y[:100, None] / 100


def test_ridge(diabetes):
    """scikit-learn's sum of squares is 2 n times the loss of a Normal with a scale of 1: `l2 = alpha / (2 n)`."""
    x, y = diabetes
    model, history = fitted(x, y, heads.Normal(scale=1.0), tf_keras.regularizers.L2(30.0 / (2 * len(x))))
    theirs = Ridge(alpha=30.0).fit(x, y[:, 0])
    assert history.converged
    np.testing.assert_allclose(model.get_weights()[0][:, 0], theirs.coef_, rtol=1e-6)
    np.testing.assert_allclose(model.get_weights()[1], theirs.intercept_, rtol=1e-6)
    found = nllfit.standard_errors(model, x, y)
    assert not found.converged
    assert "without regulari" in found.message
    assert np.isnan(found.standard_errors).all()


def test_logistic_regression():
    """scikit-learn's is `C` times the sum of losses and half the squares: `l2 = 1 / (2 C n)`."""
    x, y = load_breast_cancer(return_X_y=True)
    x, y = scale(x)[:200, :4], y[:200, None]
    model, history = fitted(x, y, heads.Bernoulli(), tf_keras.regularizers.L2(1 / (2 * 0.5 * len(x))))
    theirs = LogisticRegression(C=0.5, tol=1e-12, max_iter=10_000).fit(x, y[:, 0])
    assert history.converged
    np.testing.assert_allclose(model.get_weights()[0][:, 0], theirs.coef_[0], rtol=1e-5)
    np.testing.assert_allclose(model.get_weights()[1], theirs.intercept_, rtol=1e-5)


def test_lasso(diabetes):
    """scikit-learn's sum of squares over 2 n is the loss of a Normal with a scale of 1: `l1 = alpha`."""
    x, y = diabetes
    model, _ = fitted(x, y, heads.Normal(scale=1.0), tf_keras.regularizers.L1(0.1))
    theirs = Lasso(alpha=0.1, tol=1e-12, max_iter=100_000).fit(x, y[:, 0])
    assert (theirs.coef_ == 0).any()
    np.testing.assert_allclose(model.get_weights()[0][:, 0], theirs.coef_, atol=1e-4)
