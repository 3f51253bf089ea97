"""The estimators from a user's view. Most tests share one estimator, which is fitted to a small table."""

import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy import stats
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import NotFittedError
from sklearn.metrics import root_mean_squared_error
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tensorflow_probability import distributions as tfd

import nllfit
from nllfit.tabular import DistributionClassifier, DistributionRegressor, Network
from nllfit.tabular import regressor as regressors

RNG = np.random.default_rng(0)
X = RNG.normal(size=[120, 2])
ROWS = np.arange(120)
NOISE = 0.2 * np.exp(X[:, 1])
Y = 10 + 3 * X[:, 0] + NOISE * RNG.normal(size=120)
SHORT = {"network": Network((20,)), "num_members": 2, "max_epochs": 60, "random_state": 0}
QUICK = SHORT | {"num_members": 1, "max_epochs": 2}


@pytest.fixture(scope="module")
def regressor():
    return DistributionRegressor(**SHORT).fit(X, Y)


@pytest.fixture(scope="module")
def classifier():
    return DistributionClassifier(**SHORT).fit(X, np.where(X[:, 0] > 0, "up", "down"))


def test_a_regressor_finds_the_mean_and_the_spread(regressor):
    assert np.corrcoef(regressor.predict(X), 10 + 3 * X[:, 0])[0, 1] > 0.99
    # Predictions contain the marginal distribution with a small weight, which hardly changes these widths.
    width = np.ptp(regressor.predict_interval(X, 0.5), axis=1)
    assert stats.spearmanr(width, NOISE).statistic > 0.95
    assert regressor.score(X, Y) > stats.norm(Y.mean(), Y.std()).logpdf(Y).mean() + 1


@pytest.mark.parametrize("function", [nllfit.evaluate, nllfit.conformalize, nllfit.predict_distribution])
def test_functions_for_keras_models_refuse_an_estimator_with_advice(regressor, function):
    arguments = [X] if function is nllfit.predict_distribution else [X, Y]
    with pytest.raises(
        TypeError, match=r"a DistributionRegressor, .* `nllfit.evaluate\(model.predict_distribution\(data\), y=y\)`"
    ):
        function(regressor, *arguments)


@pytest.mark.thorough
def test_predictions_are_those_of_the_predicted_distributions(regressor):
    distribution = regressor.predict_distribution(X)
    assert (distribution.batch_shape, distribution.event_shape) == ([120], [1])
    np.testing.assert_array_equal(regressor.predict(X), distribution.mean().numpy()[:, 0])
    assert regressor.score(X, Y) == pytest.approx(np.mean(distribution.log_prob(Y[:, None])), rel=1e-9)
    evaluation = regressor.evaluate(X, Y, levels=[0.9])
    assert evaluation.nll == pytest.approx(-regressor.score(X, Y), rel=1e-9)
    ends = regressor.predict_interval(X, 0.9)
    assert evaluation.coverage[0.9] == np.mean((ends[:, 0] <= Y) & (ends[:, 1] >= Y))
    np.testing.assert_allclose(regressor.predict_quantile(X, [0.05, 0.95]), ends, rtol=1e-9)
    np.testing.assert_allclose(nllfit.cdf(distribution, ends[:, :1]), 0.05, rtol=1e-6)
    assert regressor.predict_quantile(X, 0.5).shape == (120,)


def test_samples_follow_the_distribution_and_are_reproducible(regressor):
    samples = regressor.sample(X[:3], 2000, random_state=1)
    assert samples.shape == (2000, 3)
    np.testing.assert_array_equal(samples, regressor.sample(X[:3], 2000, random_state=1))
    np.testing.assert_allclose(samples.mean(0), regressor.predict(X[:3]), atol=0.3)


def test_weights_in_a_score_count_rows(regressor, rng):
    weights = rng.integers(0, 3, 120)
    repeated = regressor.score(X.repeat(weights, axis=0), Y.repeat(weights))
    # The networks compute in float32, and their rounding errors may depend on the number of rows.
    assert regressor.score(X, Y, weights) == pytest.approx(repeated, abs=1e-7)


def test_trials_record_the_choices(regressor):
    (trial,) = [trial for trial in regressor.trials_ if trial.regularization == "weak"]
    assert (trial.network, trial.distribution) == (Network((20,)), "Normal")
    assert 0.7 <= trial.spread <= 4


def test_pickle_joblib_and_save_preserve_the_predictions(regressor, classifier, tmp_path):
    for name, estimator in {"regressor": regressor, "classifier": classifier}.items():
        joblib.dump(estimator, tmp_path / "file")
        estimator.save(tmp_path / name)
        loaded = type(estimator).load(tmp_path / name)
        for copy in (pickle.loads(pickle.dumps(estimator)), joblib.load(tmp_path / "file"), loaded):
            np.testing.assert_array_equal(copy.predict(X), estimator.predict(X))
        assert loaded.num_members == 2
        assert loaded.trials_ == estimator.trials_
    with pytest.raises(ValueError, match=r"holds a DistributionClassifier: load it by `DistributionClassifier\.load`"):
        DistributionRegressor.load(tmp_path / "classifier")
    with pytest.raises(ValueError, match="holds something already"):
        regressor.save(tmp_path / "regressor")
    (tmp_path / "regressor" / "arrays.npz").write_bytes(b"")
    for folder in ("regressor", "nowhere"):
        with pytest.raises(ValueError, match="does not contain a complete estimator"):
            DistributionRegressor.load(tmp_path / folder)


def test_a_classifier_predicts_probabilities(classifier):
    y = np.where(X[:, 0] > 0, "up", "down")
    probabilities = classifier.predict_proba(X)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert list(classifier.classes_) == ["down", "up"]
    assert classifier.score(X, y) > 0.9
    np.testing.assert_allclose(np.exp(classifier.predict_log_proba(X)), probabilities)
    evaluation = classifier.evaluate(X, y)
    assert evaluation.accuracy == classifier.score(X, y)
    of_outcome = np.where(y == "up", probabilities[:, 1], probabilities[:, 0])
    assert evaluation.nll == pytest.approx(-np.log(of_outcome).mean(), rel=1e-6)
    with pytest.raises(ValueError, match="`y` holds 'left', which is not one of the classes"):
        classifier.evaluate(X, np.full(120, "left"))


@pytest.mark.thorough
def test_a_regressor_fits_another_family_to_a_weighted_frame(rng):
    """Large outcomes, and a frame with a category and a missing value. New frames need the same order of columns."""
    table = pd.DataFrame({"a": X[:, 0], "b": np.where(X[:, 1] > 0, "yes", "no")})
    table.loc[3, "a"] = np.nan
    amounts, weights = 1e5 * np.exp(Y / 10), rng.integers(1, 3, 120)
    model = DistributionRegressor("Gamma", **SHORT).fit(table, amounts, sample_weight=weights)
    assert list(model.feature_names_in_) == ["a", "b"]
    assert np.corrcoef(np.log(model.predict(table)), Y)[0, 1] > 0.8
    assert model.predict_quantile(table, [0.01, 0.99]).min() > 0
    with pytest.raises(ValueError, match="must be in the same order"):
        model.predict(table[["b", "a"]])
    with pytest.raises(ValueError, match="missing"):
        model.predict(table[["a"]])


@pytest.mark.thorough
def test_a_regressor_predicts_several_outcomes(capsys):
    model = DistributionRegressor(verbose=1, **QUICK).fit(X, np.stack([Y, -1000 * Y, X[:, 1]], axis=1))
    assert "7/7" in capsys.readouterr().out  # steps: two trials, four more folds, one ensemble member
    assert model.predict(X).shape == (120, 3)
    assert model.predict_quantile(X, [0.1, 0.5]).shape == (120, 3, 2)
    assert model.predict_interval(X).shape == (120, 3, 2)
    assert model.sample(X, 4).shape == (4, 120, 3)
    assert model.predict_distribution(X).event_shape == [3]


@pytest.mark.thorough
def test_a_regressor_fits_right_censored_times(rng):
    """The mean of all times is 1. The observed times are shorter on average: 0.5."""
    times = rng.exponential(1.0, 120)
    end = rng.exponential(1.0, 120)
    model = DistributionRegressor("Exponential", **QUICK).fit(X, np.minimum(times, end), observed=times <= end)
    assert 0.7 < model.predict(X).mean() < 1.6
    assert np.minimum(times, end)[times <= end].mean() < 0.6
    assert model.score(X, np.minimum(times, end), observed=times <= end) > model.score(X, np.minimum(times, end)) - 1
    with sklearn.config_context(enable_metadata_routing=True):
        routed = model.set_fit_request(observed=True, sample_weight=False).get_metadata_routing()
    assert routed.fit.requests == {"observed": True, "sample_weight": False}


@pytest.mark.thorough
def test_a_regressor_fits_intervals(rng):
    """The data only say between which two inspections a time is. Inspections are 1 apart.

    If a time is above 8, the data only contain the inspection before it.
    """
    times = rng.exponential(3.0, 120)
    pairs = nllfit.interval_censored(np.floor(times), np.where(times > 8, np.inf, np.floor(times) + 1))
    model = DistributionRegressor(nllfit.Censored("Exponential"), **QUICK).fit(X, pairs)
    assert model.predict(X).shape == (120,)
    assert 2 < model.predict(X).mean() < 4.5
    one = stats.expon(scale=times.mean())
    known = np.log(one.cdf(pairs[:, 1]) - one.cdf(pairs[:, 0])).mean()
    assert model.score(X, pairs) == pytest.approx(known, abs=0.1)
    evaluation = model.evaluate(X, times)
    assert evaluation.nll == pytest.approx(-np.mean(model.predict_distribution(X).log_prob(times)), rel=1e-6)
    assert evaluation.rmse == pytest.approx(root_mean_squared_error(times, model.predict(X)), rel=1e-6)
    with pytest.raises(ValueError, match=r"`y` has 2 columns, .* is 1: give numbers `\[n\]`, or `score` pairs"):
        model.evaluate(X, pairs)
    with pytest.raises(ValueError, match=r"`y` has shape \(120,\), but `distribution` is `Censored`: give pairs"):
        model.fit(X, times)


@pytest.mark.thorough
def test_warm_start_reuses_the_best_of_several_distributions():
    model = DistributionRegressor(["Normal", "Laplace"], warm_start=True, shuffle=False, **QUICK).fit(X, Y)
    names = {trial.distribution for trial in model.trials_}
    assert names == {"Normal", "Laplace"}
    assert [trial.nll for trial in model.trials_] == sorted(trial.nll for trial in model.trials_)
    before = model.predictor_
    chosen = model.trials_[0].distribution
    assert model.set_params(distribution=[chosen]).fit(X, Y).predictor_ is before  # the ensemble is not trained again
    assert clone(model).fit(X, Y).predict(X) == pytest.approx(model.predict(X), rel=1e-6)


def test_warm_start_knows_the_values_that_an_earlier_fit_did_not_need():
    y = np.r_[np.arange(118) % 5, 77, 3]  # 77 is only in the held-out rows
    model = DistributionRegressor("Histogram", network="trees", warm_start=True, shuffle=False, random_state=0)
    model.fit(X, y).set_params(distribution="Values").fit(X, y)
    assert np.isfinite(model.trials_[0].nll)


@pytest.mark.thorough
@pytest.mark.parametrize("network", [Network((4,)), "trees"])
def test_an_outcome_may_be_a_matrix(network):
    y = np.stack([Y, 1 - Y, 2 * Y, X[:, 1]], 1)
    options = QUICK | {"network": network}
    matrices = DistributionRegressor(nllfit.Family("Normal", (2, 2)), **options).fit(X, y)
    vectors = DistributionRegressor(nllfit.Family("Normal", 4), **options).fit(X, y)
    assert matrices.predict_distribution(X).event_shape == (2, 2)
    np.testing.assert_allclose(matrices.predict(X), vectors.predict(X), rtol=1e-5, atol=1e-5)


def test_the_prediction_of_angles_is_their_direction():
    angles = tfd.VonMises(np.array([[3.0, -3.0]]), np.array([[5.0, 5.0]]))
    mixture = tfd.MixtureSameFamily(tfd.Categorical(logits=np.zeros([1, 2])), angles)
    np.testing.assert_allclose(np.abs(regressors._centers(mixture)), np.pi)


@pytest.mark.thorough
def test_the_default_recipe_fits_a_line(rng):
    """Networks with binned inputs predict a linear function of two columns."""
    x, y = X[:60], X[:60] @ [1.0, -2.0] + 0.1 * rng.normal(size=60)
    model = DistributionRegressor("Normal", network="steep", num_members=2, max_epochs=60, random_state=0)
    model.fit(x[:40], y[:40])
    assert np.sqrt(np.mean((model.predict(x[40:]) - y[40:]) ** 2)) < 0.5 * y.std()


@pytest.mark.thorough
def test_a_regressor_works_in_scikit_learns_meta_estimators():
    pipeline = make_pipeline(StandardScaler(), DistributionRegressor(**QUICK))
    search = GridSearchCV(pipeline, {"distributionregressor__max_epochs": [1, 2]}, cv=[(ROWS[:60], ROWS[60:])]).fit(
        X, Y
    )
    assert search.best_score_ == max(search.cv_results_["mean_test_score"])
    assert search.best_estimator_.score(X, Y) < 0
    amounts = TransformedTargetRegressor(DistributionRegressor(**QUICK), func=np.log, inverse_func=np.exp)
    assert np.all(amounts.fit(X, np.exp(Y)).predict(X) > 0)


def test_an_unfitted_estimator_raises():
    with pytest.raises(NotFittedError):
        DistributionRegressor().predict(X)


def test_a_fit_that_fails_leaves_the_estimator_as_it_was(regressor):
    model = pickle.loads(pickle.dumps(regressor))
    with pytest.raises(ValueError, match="`y` holds"):
        model.set_params(distribution="Gamma", network="smooth").fit(np.hstack([X, X]), Y - 100)
    assert model.n_features_in_ == 2
    np.testing.assert_array_equal(model.predict(X), regressor.predict(X))
    fresh = DistributionRegressor("Gamma", network="smooth")
    with pytest.raises(ValueError, match="`y` holds"):
        fresh.fit(X, Y - 100)
    with pytest.raises(NotFittedError):
        fresh.predict(X)
