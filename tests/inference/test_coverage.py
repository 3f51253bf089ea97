"""Standard errors of regressions with censored heads: against statsmodels, and against the errors of estimates."""

import numpy as np
import pytest
import statsmodels.api as sm
import tf_keras
from scipy import stats

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


def samples(family, num, seed):
    """Covariates, times and event indicators: 40% of the times are censored at random."""
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
    """A censored exponential time has the likelihood of a Poisson count that is 1 for an event and 0 for censoring."""
    ((x, time, seen),) = samples("Weibull", 1, seed=0)
    glm = sm.GLM(seen, sm.add_constant(x), sm.families.Poisson(), offset=np.log(time)).fit(tol=1e-12)
    model = model_of(heads.Censored("Exponential", (), link={"rate": "exp"}, dtype="float64"))
    model.set_weights([glm.params[1:, None], glm.params[:1]])  # the maximum of both likelihoods
    found = nllfit.standard_errors(model, x, nllfit.right_censored(time, seen))
    assert found.converged
    np.testing.assert_allclose(found.standard_errors, glm.bse[::-1], rtol=1e-7)


@pytest.mark.thorough
@pytest.mark.parametrize("family", TRUTH)
def test_errors_of_estimates_have_the_size_that_standard_errors_say(family):
    """The sum of the squares of 40 errors, each in standard errors, is within the central 99.6% of its distribution."""
    squares = np.sum(errors(family, 40) ** 2, axis=0)
    low, high = stats.chi2(40).interval(0.996)
    assert np.all((squares >= low) & (squares <= high)), squares
