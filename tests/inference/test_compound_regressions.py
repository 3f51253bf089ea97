"""Regressions with zero-inflated, hurdle and truncated heads, against statsmodels and SciPy."""

import numpy as np
import pytest
import statsmodels.api as sm
import tf_keras
from scipy import optimize, stats
from statsmodels.discrete.truncated_model import TruncatedLFPoisson
from statsmodels.tools.numdiff import approx_hess

import nllfit
from nllfit import heads

RNG = np.random.default_rng(3)
X = RNG.normal(size=[400, 1])
DESIGN = sm.add_constant(X)
COUNTS = RNG.poisson(np.exp(0.5 + 0.4 * X[:, 0])) * (RNG.uniform(size=400) > 1 / (1 + np.exp(0.5 - 0.8 * X[:, 0])))


def coefficients(head, x, y):
    """The estimates of a dense layer before a head, their standard errors, and the log-likelihood.

    The order is that of two regressions: bias and kernel of the first parameter, then bias and kernel of the second.
    """
    model = tf_keras.Sequential([tf_keras.layers.Dense(2, dtype="float64"), head])
    model.compile(loss=nllfit.negative_log_likelihood)
    assert nllfit.fit_lbfgs(model, x, y[:, None]).converged
    found = nllfit.standard_errors(model, x, y[:, None])
    order = [2, 0, 3, 1]
    return found.estimates[order], found.standard_errors[order], found.log_likelihood


@pytest.mark.thorough  # in every run, `test_inflated.py` compares the density of a zero-inflated Poisson with SciPy
def test_zero_inflated_regression_matches_statsmodels():
    estimates, errors, log_likelihood = coefficients(
        heads.ZeroInflated("Poisson", event_shape=1, dtype="float64"), X, COUNTS
    )
    model = sm.ZeroInflatedPoisson(COUNTS, DESIGN, exog_infl=DESIGN)
    fitted = model.fit(disp=0, method="newton")
    np.testing.assert_allclose(estimates, fitted.params, rtol=1e-5)
    assert log_likelihood == pytest.approx(fitted.llf, rel=1e-9)
    # statsmodels 0.15 returns wrong standard errors (0.156, not 0.184), so we compute them from its log-likelihood.
    hessian = approx_hess(np.asarray(fitted.params), model.loglike)
    np.testing.assert_allclose(errors, np.sqrt(np.diag(np.linalg.inv(-hessian))), rtol=1e-4)


@pytest.mark.thorough  # in every run, `test_inflated.py` compares the density of a hurdle Poisson with SciPy
def test_a_hurdle_regression_matches_a_logistic_and_a_truncated_one():
    estimates, errors, log_likelihood = coefficients(heads.Hurdle("Poisson", event_shape=1, dtype="float64"), X, COUNTS)
    zeros = sm.Logit((COUNTS == 0) * 1.0, DESIGN).fit(disp=0)
    others = TruncatedLFPoisson(COUNTS[COUNTS > 0], DESIGN[COUNTS > 0]).fit(disp=0, gtol=1e-8)
    np.testing.assert_allclose(estimates, [*zeros.params, *others.params], rtol=1e-4)
    np.testing.assert_allclose(errors, [*zeros.bse, *others.bse], rtol=1e-4)
    assert log_likelihood == pytest.approx(zeros.llf + others.llf, rel=1e-9)


@pytest.mark.thorough  # in every run, `tests/test_heads.py` compares a truncated Poisson with SciPy
def test_a_truncated_regression_matches_scipys_minimum(rng):
    y = 1 + 0.7 * X[:, 0] + rng.normal(size=400) * np.exp(0.1 - 0.2 * X[:, 0])
    x, y = X[y > 0], y[y > 0]

    def loss(numbers):
        loc, scale = (numbers[2 * i] + numbers[2 * i + 1] * x[:, 0] for i in range(2))
        scale = np.log1p(np.exp(scale))
        return -np.sum(stats.norm.logpdf(y, loc, scale) - stats.norm.logsf(0, loc, scale))

    estimates, errors, log_likelihood = coefficients(
        heads.Truncated("Normal", low=0.0, event_shape=1, dtype="float64"), x, y
    )
    found = optimize.minimize(loss, np.zeros(4), method="BFGS", options={"gtol": 1e-6})
    np.testing.assert_allclose(estimates, found.x, rtol=1e-4)
    assert -log_likelihood == pytest.approx(found.fun, rel=1e-9)
    hessian = approx_hess(found.x, loss)
    np.testing.assert_allclose(errors, np.sqrt(np.diag(np.linalg.inv(hessian))), rtol=1e-3)
