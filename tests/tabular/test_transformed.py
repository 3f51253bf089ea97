"""Log-densities of transformed outcomes, compared with SciPy's closed forms and with a numerical integral."""

import numpy as np
import pytest
from scipy import integrate, special, stats
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import PowerTransformer, StandardScaler
from tensorflow_probability import distributions as tfd

import nllfit
from nllfit.tabular import transformed_log_density

X = np.linspace(-1, 1, 9)[:, None]
Y = np.array([1e-3, 0.1, 0.5, 1, 2, 3, 10, 100, 1e4])


class Line(RegressorMixin, BaseEstimator):
    """Predicts a Normal with mean `x` and scale 0.7, without training."""

    def fit(self, x, y):
        self.n_features_in_ = 1
        return self

    def predict(self, x):
        return x[:, 0]

    def predict_distribution(self, x):
        return tfd.Independent(tfd.Normal(x, np.float64(0.7)), 1)


def test_the_logarithm_of_a_lognormal_outcome():
    model = TransformedTargetRegressor(Line(), func=np.log, inverse_func=np.exp).fit(X, Y)
    expected = stats.lognorm(0.7, scale=np.exp(X[:, 0])).logpdf(Y)
    np.testing.assert_allclose(transformed_log_density(model, X, Y), expected, rtol=1e-10)


def test_a_decreasing_transformation():
    model = TransformedTargetRegressor(Line(), func=np.negative, inverse_func=np.negative).fit(X, Y)
    expected = stats.norm(-X[:, 0], 0.7).logpdf(Y)
    np.testing.assert_allclose(transformed_log_density(model, X, Y), expected, rtol=1e-9)


def test_the_logit_of_a_share_near_the_end_of_its_domain():
    y = np.array([1e-9, 1e-3, 0.2, 0.5, 0.99, 0.997, 0.9995, 1 - 1e-6, 0.6])
    model = TransformedTargetRegressor(Line(), func=special.logit, inverse_func=special.expit).fit(X, y)
    expected = stats.norm(X[:, 0], 0.7).logpdf(special.logit(y)) - np.log(y * (1 - y))
    np.testing.assert_allclose(transformed_log_density(model, X, y), expected, rtol=1e-8)


def test_a_family_of_numbers_gives_one_density_for_each_row():
    """After a fit to censored outcomes, the predicted distributions have the event shape `[]` instead of `[1]`."""

    class Scalars(Line):
        def predict_distribution(self, x):
            return tfd.Normal(x[:, 0], np.float64(0.7))

    model = TransformedTargetRegressor(Scalars(), func=np.log, inverse_func=np.exp).fit(X, Y)
    expected = stats.lognorm(0.7, scale=np.exp(X[:, 0])).logpdf(Y)
    np.testing.assert_allclose(transformed_log_density(model, X, Y), expected, rtol=1e-10)


@pytest.mark.parametrize("transformer", [StandardScaler(), PowerTransformer()])
def test_a_transformer_with_fitted_parameters_gives_a_density(transformer):
    model = TransformedTargetRegressor(Line(), transformer=transformer).fit(X, np.log(Y))
    grid = np.linspace(-40, 40, 8001)
    density = np.exp(transformed_log_density(model, np.full([len(grid), 1], 0.2), grid))
    assert integrate.trapezoid(density, grid) == pytest.approx(1, abs=1e-5)


def test_other_models_and_outcomes_are_refused():
    with pytest.raises(TypeError, match=r"`model` is LinearRegression.*: give a `TransformedTargetRegressor`"):
        transformed_log_density(LinearRegression(), X, Y)
    with pytest.raises(TypeError, match="whose `regressor` is a `DistributionRegressor`"):
        transformed_log_density(TransformedTargetRegressor(LinearRegression()), X, Y)
    model = TransformedTargetRegressor(Line(), func=np.log, inverse_func=np.exp).fit(X, Y)
    with pytest.raises(ValueError, match="`X` has 9 rows, but `y` has 3"):
        transformed_log_density(model, X, Y[:3])
    with pytest.raises(ValueError, match="`y` has 2 columns"):
        transformed_log_density(model, X, np.stack([Y, Y], 1))


def test_outcomes_with_a_probability_have_no_slope():
    """The probability of a count, or of a zero, equals the probability of the transformed outcome.

    Only a density is multiplied by the derivative of the transformation.
    """

    class Counts(Line):
        def predict_distribution(self, x):
            return tfd.Independent(tfd.FiniteDiscrete(np.log1p([0.0, 1.0]), probs=np.full([len(x), 1, 2], 0.5)), 1)

    class Amounts(Line):
        def predict_distribution(self, x):
            return nllfit.ZeroInflated("Gamma", 1).distribution(np.zeros([len(x), 3]))

    y = np.array([0.0, 1, 1, 0, 1, 0, 0, 1, 1])
    model = TransformedTargetRegressor(Counts(), func=np.log1p, inverse_func=np.expm1).fit(X, y)
    np.testing.assert_allclose(transformed_log_density(model, X, y), np.log(0.5))
    model = TransformedTargetRegressor(Amounts(), func=np.log1p, inverse_func=np.expm1).fit(X, y)
    known = model.regressor_.predict_distribution(X).log_prob(np.log1p(y)[:, None])
    np.testing.assert_allclose(transformed_log_density(model, X, y), known - np.where(y == 0, 0.0, np.log(2)))
