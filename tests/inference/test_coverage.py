"""Standard errors of regressions with censored heads, compared with statsmodels, SciPy, and errors in simulations."""

import numpy as np
import pytest
import statsmodels.api as sm
import tf_keras
from scipy import optimize, stats

import nllfit
from nllfit import heads

N = 300
TRUTH = {
    "Weibull": {"kernel": -0.6, "bias": 1.0, "concentration": 1.5},
    "LogNormal": {"kernel": 0.8, "bias": 1.0, "scale": 0.7},
}


def model_of(head):
    """A dense layer before a head. The layer predicts one parameter, and the other is a weight of the head."""
    dense = tf_keras.layers.Dense(1, dtype="float64")
    model = tf_keras.Sequential([tf_keras.Input([1], dtype="float64"), dense, head])
    model.compile(loss=nllfit.negative_log_likelihood)
    return model


def head_of(family):
    (shared,) = TRUTH[family].keys() - {"kernel", "bias"}
    link = {"scale": "exp"} if family == "Weibull" else {}
    options = {"shared": (shared,), "link": link, "dtype": "float64"}
    return heads.Censored(family, (), **options)


def log_likelihood(family, weights, x, time, seen):
    """The log-likelihood of a sample by SciPy: the density of each event, the survival of each censored time."""
    kernel, bias, shape = weights
    scale = np.exp(bias + kernel * x[:, 0])
    law = stats.weibull_min(shape, scale=scale) if family == "Weibull" else stats.lognorm(shape, scale=scale)
    return np.sum(np.where(seen, law.logpdf(time), law.logsf(time)))


def hessian(function, at, step=1e-4):
    """The second derivatives of a function by central differences, which have about seven correct digits here."""
    moves = step * np.eye(len(at))
    return np.array(
        [[sum(a * b * function(at + a * u + b * v) for a in (1, -1) for b in (1, -1)) for u in moves] for v in moves]
    ) / (4 * step**2)


def samples(family, num, seed):
    """Covariates, times and event indicators. 37% (Weibull) or 46% (LogNormal) of the times are randomly censored."""
    kernel, bias, shape = TRUTH[family].values()
    rng = np.random.default_rng(seed)
    for _ in range(num):
        x = rng.normal(size=[N, 1])
        loc = bias + kernel * x[:, 0]
        own = rng.weibull(shape, N) if family == "Weibull" else np.exp(shape * rng.normal(size=N))
        time, end = np.exp(loc) * own, rng.exponential(5.0, N)
        yield x, np.minimum(time, end), time <= end


def errors(family, num, seed=0):
    """The errors of the estimates of `num` samples, divided by their standard errors, `[num, 3]`."""
    model, found = model_of(head_of(family)), []
    for x, time, seen in samples(family, num, seed):
        data = x, nllfit.right_censored(time, seen)
        assert nllfit.fit_lbfgs(model, *data).converged
        coefficients = nllfit.standard_errors(model, *data)
        assert coefficients.names == list(TRUTH[family])
        found.append((coefficients.estimates - list(TRUTH[family].values())) / coefficients.standard_errors)
    return np.array(found)


@pytest.mark.thorough
def test_errors_of_censored_exponential_times_match_a_poisson_glm():
    """Up to a factor, the likelihood of a censored exponential time is the likelihood of a Poisson count.

    The count is 1 if the event was observed, and 0 if the time is censored.
    """
    ((x, time, seen),) = samples("Weibull", 1, seed=0)
    glm = sm.GLM(seen, sm.add_constant(x), sm.families.Poisson(), offset=np.log(time)).fit(tol=1e-12)
    model = model_of(heads.Censored("Exponential", (), link={"rate": "exp"}, dtype="float64"))
    model.set_weights([glm.params[1:, None], glm.params[:1]])  # the maximum of both likelihoods
    found = nllfit.standard_errors(model, x, nllfit.right_censored(time, seen))
    assert found.converged
    np.testing.assert_allclose(found.standard_errors, glm.bse[::-1], rtol=1e-7)


@pytest.mark.thorough
@pytest.mark.parametrize("family", TRUTH)
def test_the_covariance_is_the_inverse_of_the_second_derivatives_of_the_log_likelihood(family):
    ((x, time, seen),) = samples(family, 1, seed=0)
    best = optimize.minimize(
        lambda weights: -log_likelihood(family, weights, x, time, seen), list(TRUTH[family].values()), tol=1e-6
    ).x
    model = model_of(head_of(family))
    model.set_weights([best[:1, None], best[1:2], np.log(np.expm1(best[2:]))])  # the inverse of softplus
    found = nllfit.standard_errors(model, x, nllfit.right_censored(time, seen))
    np.testing.assert_allclose(found.estimates, best, rtol=1e-9)
    expected = -np.linalg.inv(hessian(lambda weights: log_likelihood(family, weights, x, time, seen), best))
    np.testing.assert_allclose(found.covariance, expected, rtol=1e-5, atol=1e-6 * expected.max())


@pytest.mark.thorough
def test_errors_of_estimates_have_the_size_that_standard_errors_say():
    """The errors of 25 estimates, divided by their standard errors, have a plausible sum of squares.

    The sum must be within the central 99.6% of a chi-squared distribution. The test above checks the standard errors to
    five digits. This test only checks that they are standard errors of estimates, so 25 samples suffice. It would fail
    if `standard_errors` returned the standard errors for a much larger or smaller sample, or those of predictions.
    """
    squares = np.sum(errors("Weibull", 25) ** 2, axis=0)
    low, high = stats.chi2(25).interval(0.996)
    assert np.all((squares >= low) & (squares <= high)), squares
