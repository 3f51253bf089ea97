"""Networks with censored and truncated heads: they recover simulated parameters, and can be evaluated."""

import numpy as np
import pytest
import statsmodels.api as sm
import tensorflow_probability as tfp
import tf_keras
from scipy import optimize, stats

import nllfit
from nllfit import heads
from tests.keras_versions import each_keras

tfd = tfp.distributions


@pytest.fixture(scope="module")
def survival():
    """Covariates, times and event indicators. The logarithm of a time is linear in the covariates; 40% are censored."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=[1500, 1])
    time = np.exp(1.0 + 0.8 * x[:, 0] + 0.5 * rng.normal(size=1500))
    end = rng.exponential(6.0, size=1500)
    return x, np.minimum(time, end), time <= end


@pytest.mark.thorough
def test_a_censored_head_is_unbiased_where_a_fit_of_observed_rows_is_not(survival):
    """The estimates match SciPy's; `inference/test_coverage.py` tests the standard errors."""
    x, time, seen = survival
    layers = tf_keras.layers.Dense(1, dtype="float64"), heads.Censored("LogNormal", shared=("scale",), dtype="float64")
    model = tf_keras.Sequential([tf_keras.Input([1], dtype="float64"), *layers])
    model.compile(loss=nllfit.negative_log_likelihood)
    assert nllfit.fit_lbfgs(model, x, nllfit.right_censored(time, seen)).converged  # starts with `initialize`
    kernel, bias, shared = map(np.ravel, model.get_weights())

    def nll(parameters):
        slope, level, scale = parameters
        z = (np.log(time) - level - slope * x[:, 0]) / scale
        return -np.sum(np.where(seen, stats.norm.logpdf(z) - np.log(scale), stats.norm.logsf(z)))

    best = optimize.minimize(nll, [1.0, 1.0, 1.0], method="L-BFGS-B", bounds=[(None, None)] * 2 + [(0.1, None)])
    found = np.concatenate([kernel, bias, np.logaddexp(0, shared)])
    np.testing.assert_allclose(found, best.x, rtol=1e-4)  # SciPy estimates the gradient by differences
    # Without censoring, the standard errors would be scale / sqrt(2 n) for the scale, scale / sqrt(n) for the others.
    assert np.all(np.abs(found - [0.8, 1.0, 0.5]) < 3 * 0.5 / np.sqrt(seen.sum()))
    biased = sm.OLS(np.log(time[seen]), sm.add_constant(x[seen])).fit()  # the maximum of a LogNormal's likelihood
    assert np.all((biased.params - [1.0, 0.8]) / biased.bse < -3)


def test_an_evaluation_of_intervals_has_nll_and_pit(survival):
    x, time, seen = survival
    y = nllfit.right_censored(time, seen)
    loc = (1.0 + 0.8 * x[:, 0]).astype("float32")
    distribution = heads.Censored("LogNormal").family.build({"loc": loc, "scale": np.full_like(loc, 0.5)}, "float32")
    found = nllfit.evaluate(distribution, y=y)
    np.testing.assert_allclose(found.nll, -np.mean(distribution.log_prob(y)), rtol=1e-6)  # rounding of float32
    assert found.pit.shape == (1500,)
    assert found.calibration_error < 0.03  # chance alone gives about 0.3 / sqrt(1500)
    assert found.crps is found.rmse is found.sharpness is None
    assert not found.coverage
    assert "NLL" in found.summary()
    with pytest.raises(NotImplementedError, match="intervals"):
        nllfit.crps(y, distribution)
    for name in ("mean", "stddev", "variance"):
        with pytest.raises(NotImplementedError, match=rf"of the numbers, `\.distribution\.{name}\(\)`"):
            getattr(distribution, name)()
    np.testing.assert_allclose(nllfit.survival(distribution, time), 1 - tfd.LogNormal(loc, 0.5).cdf(time), atol=1e-6)
    np.testing.assert_allclose(nllfit.quantile(distribution, 0.5), np.exp(loc), rtol=1e-5)


def test_fit_accepts_infinite_ends_and_refuses_invalid_pairs(survival):
    x, time, seen = survival
    y = nllfit.right_censored(time, seen).astype("float32")
    head = heads.Censored("Weibull")
    model = tf_keras.Sequential([tf_keras.layers.Dense(head.params_size()), head])
    model.compile("adam", nllfit.negative_log_likelihood)
    history = nllfit.fit(model, x, y, epochs=2, batch_size=250, verbose=0, compile="graph").history["loss"]
    assert history[-1] < history[0]
    wrong = y.copy()
    wrong[7] = [2.0, 1.0]
    with pytest.raises(ValueError, match=r"row 7.*lower end is above"):
        nllfit.fit(model, x, wrong, verbose=0)
    wrong[7] = [np.nan, 1.0]
    with pytest.raises(ValueError, match="nan at row 7"):
        nllfit.fit(model, x, wrong, verbose=0)


@each_keras
def test_a_metric_of_numbers_is_refused_for_intervals(kit):
    model = kit.keras.Sequential([kit.keras.Input((1,)), kit.keras.layers.Dense(2), kit.heads.Censored("Normal")])
    model.compile("sgd", kit.loss, metrics=["mae"])
    x, pairs = np.zeros([4, 1], "float32"), np.ones([4, 2], "float32")
    with pytest.raises(ValueError, match=r"The metric `mae` compares a prediction.*NegativeLogLikelihood"):
        nllfit.fit(model, x, pairs, verbose=0)


@pytest.mark.thorough(but="fit-1-given1")
@pytest.mark.parametrize(
    ("event_shape", "given", "message"),
    [
        ((), [12], r"`y` has shape \(12,\), .* \(12, 2\): each .* `nllfit.right_censored\(.*\)` .* shape \(12,\)"),
        (1, [12, 1], r"`y` has shape \(12, 1\), .* \(12, 1, 2\): each outcome is 2 numbers .* of shape \(12, 1\)"),
        (1, [12, 2], r"\(12, 2\), .* \(12, 1, 2\): reshape it with `y\[..., None, :\]`"),
        ((), [12, 1, 2], r"\(12, 1, 2\), .* \(12, 2\): reshape it with `y\[..., 0, :\]`"),
    ],
)
@pytest.mark.parametrize("use", [nllfit.fit, nllfit.initialize])
def test_outcomes_that_are_not_pairs_are_named_with_their_shape(use, event_shape, given, message):
    model = tf_keras.Sequential([tf_keras.layers.Dense(1), heads.Censored("Exponential", event_shape=event_shape)])
    model.compile(loss=nllfit.negative_log_likelihood)
    with pytest.raises(ValueError, match=message):
        use(model, np.ones([12, 1]), np.ones(given))
