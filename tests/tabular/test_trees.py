"""Tests `network="trees"`: the estimators of `tabular` train a forest instead of a network.

The predicted distributions match those of scikit-learn's forests. If an estimator tries both, it selects the forest if
the forest has a better score than the network.
"""

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesRegressor

import nllfit
from nllfit.tabular import DistributionClassifier, DistributionRegressor, Network
from nllfit.tabular.candidates import target_of
from nllfit.tabular.forest import Forest, grown
from nllfit.tabular.networks_and_forests import Trees
from nllfit.tabular.table_rows import Rows, Settings

X = np.random.default_rng(0).uniform(size=[200, 2])
STEPS = (np.floor(3 * X[:, 0]) + 3 * (X[:, 1] > 0.5))[:, None]
SETTINGS = Settings(1, None, 0.2, seed=3, verbose=0)
TREES = {"network": "trees", "random_state": 0}


def predicted(distribution, y, regularization="weak"):
    """The distribution that trees predict for 50 rows.

    The spread is 1, and the marginal distribution has a weight of only 1e-12 in the prediction.
    """
    target = target_of(distribution, Rows(X, y))
    trees = Trees(Rows(X, y), "trees", regularization, target, SETTINGS, 1, 32)
    return target.distribution(target.mixture(trees.outputs(X[:50] + 0.01)), 1.0, 1e-12)


def forest(targets, least):
    return ExtraTreesRegressor(100, min_samples_leaf=least, random_state=3).fit(X, targets).predict(X[:50] + 0.01)


# `sqrt(200)` is about 14
@pytest.mark.parametrize(("regularization", "least"), [("strong", 5), ("strongest", 14)])
def test_a_normal_has_the_mean_and_the_spread_of_the_forest(regularization, least, rng):
    y = 5 + 2 * X[:, :1] + rng.normal(size=[200, 1])
    z = (y - y.mean()) / y.std()
    mean, square = forest(np.hstack([z, z**2]), least).T
    found = predicted("Normal", y, regularization)
    np.testing.assert_allclose(found.mean()[:, 0], y.mean() + y.std() * mean, rtol=1e-5)
    np.testing.assert_allclose(found.stddev()[:, 0], y.std() * np.sqrt(square - mean**2), rtol=1e-3)


@pytest.mark.thorough(but="1.0-")
@pytest.mark.parametrize(("unit", "offset"), [(1.0, 1.7e9), (1e-9, 0.0), (1e39, 0.0)])
def test_trees_do_not_depend_on_the_unit_of_a_column(unit, offset):
    """`grown` standardises the columns, because scikit-learn converts them to float32.

    In float32, different times in seconds since 1970 may be equal, and numbers above 3.4e38 overflow. Besides,
    scikit-learn does not split a column between values that differ by less than 1e-7.
    """
    grown_on = Forest(*grown(X, STEPS, None, 3))(X + 0.01)
    moved = offset + unit * X
    found = Forest(*grown(moved, STEPS, None, 3))(offset + unit * (X + 0.01))
    assert np.mean(np.abs(found - grown_on) > 1e-6) < 0.05


def test_probabilities_of_values_are_shares_of_the_forest():
    found = predicted("Values", STEPS)
    below = forest(np.arange(5) >= STEPS, 1)
    for value in range(6):
        share = np.diff(below, axis=1, prepend=0, append=1)[:, value]
        np.testing.assert_allclose(found.prob(np.full([50, 1], float(value))), share, atol=1e-5)


def test_a_histogram_has_the_shares_of_the_forest_in_its_intervals(rng):
    y = rng.exponential(size=[200, 1])
    found = predicted("Histogram", y, "strong")
    edges = np.quantile(y, np.arange(1, 7) / 7, method="lower")  # a histogram of 200 rows has 7 intervals
    below = forest(y < edges, 5)
    between = nllfit.cdf(found, np.full([50, 1], edges[5])) - nllfit.cdf(found, np.full([50, 1], edges[0]))
    difference = np.asarray(between)[:, 0] - (below[:, 5] - below[:, 0])
    # The histogram has one Normal for each interval, and neighbouring Normals overlap.
    assert np.abs(difference).max() < 0.12
    assert abs(difference.mean()) < 0.05


@pytest.mark.thorough
def test_a_histogram_finds_many_zeros_and_two_modes(tmp_path, rng):
    """Half of the outcomes are 0, the others Normal around 5. The default `distribution` becomes a histogram."""
    x = rng.uniform(size=[2000, 1])
    y = np.where(rng.uniform(size=2000) < x[:, 0], 0.0, 5 + rng.normal(size=2000))
    model = DistributionRegressor(network="trees", random_state=0).fit(x, y)
    assert model.trials_[0].distribution == "Histogram"
    new = np.array([[0.2], [0.8]])
    zeros = nllfit.cdf(model.predict_distribution(new), np.full([2, 1], 0.5))[:, 0]
    np.testing.assert_allclose(zeros, [0.2, 0.8], atol=0.1)
    target = model.predictor_.target
    outputs = target.mixture(model.predictor_.model.outputs(x))
    hot = target.distribution(outputs, 1e9, 1e-9)  # a very large spread gives the marginal share of zeros
    np.testing.assert_allclose(nllfit.cdf(hot, np.full([2000, 1], 0.5))[:, 0], np.mean(y == 0), atol=0.01)
    assert np.all(np.isfinite(model.predict_distribution(new).log_prob([[50.0], [-50.0]])))
    model.save(tmp_path / "model")
    loaded = DistributionRegressor.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(x), model.predict(x))
    with pytest.raises(ValueError, match="'Histogram', which only trees predict: give `network='trees'`"):
        DistributionRegressor("Histogram", network="smooth").fit(x, y)
    with pytest.raises(ValueError, match="'Histogram' is a distribution of one observed number"):
        DistributionRegressor("Histogram").fit(x, np.stack([y, y], 1))


def test_a_histogram_of_rare_events_survives_folds_without_any():
    """One outcome differs, and `shuffle=False` holds it out, so the trees of the trial see only one value."""
    y = np.append(np.zeros(49), 5.0)
    model = DistributionRegressor("Histogram", shuffle=False, **TREES).fit(X[:50], y)
    assert np.all(np.isfinite(model.predict_distribution(X).log_prob(np.full([200, 1], 5.0))))
    assert model.predict(X).mean() == pytest.approx(0.1, abs=0.2)


def test_trees_are_regularized_more_while_they_are_overconfident(rng):
    x = rng.uniform(size=[500, 1])
    noise = DistributionRegressor("Histogram", **TREES).fit(x, rng.normal(size=500))
    line = DistributionRegressor("Normal", **TREES).fit(x, x[:, 0])
    assert [trial.regularization for trial in noise.trials_] == ["strongest", "strong", "weak"]
    assert [trial.regularization for trial in line.trials_] == ["weak"]


@pytest.mark.thorough
def test_trees_are_chosen_for_steps(rng):
    """Trees follow a step function better than a small network that is trained for 5 epochs."""
    y = STEPS[:, 0] + 0.1 * rng.normal(size=200)
    short = {"max_epochs": 5, "num_members": 1, "random_state": 0}
    model = DistributionRegressor(network=[Network((8,)), "trees"], **short).fit(X, y)
    assert model.trials_[0].network == "trees"
    new = rng.uniform(size=[200, 2])
    truth = np.floor(3 * new[:, 0]) + 3 * (new[:, 1] > 0.5)
    assert np.median(np.abs(model.predict(new) - truth)) < 0.1
    assert model.evaluate(new, truth).crps < 0.25


@pytest.mark.thorough  # covered by the tests of saved estimators and of trees with one outcome
def test_trees_predict_classes_and_several_outcomes_and_are_saved(tmp_path):
    labels = np.where(STEPS[:, 0] > 2, "high", "low")
    classifier = DistributionClassifier(**TREES).fit(X, labels)
    assert classifier.score(X, labels) == 1
    classifier.save(tmp_path / "classifier")
    loaded = DistributionClassifier.load(tmp_path / "classifier")
    np.testing.assert_array_equal(loaded.predict_proba(X), classifier.predict_proba(X))
    both = DistributionRegressor(**TREES).fit(X, np.hstack([STEPS, -STEPS]))
    np.testing.assert_allclose(both.predict(X), np.hstack([STEPS, -STEPS]), atol=0.3)


def test_trees_alone_refuse_other_distributions():
    with pytest.raises(ValueError, match=r"`network` is 'trees', which predicts a Normal .*: give 'forest'"):
        DistributionRegressor("Gamma", **TREES).fit(X, np.exp(STEPS[:, 0]))
    with pytest.raises(ValueError, match="which predicts a Normal"):
        DistributionRegressor(nllfit.Family("Laplace", 1), **TREES).fit(X, STEPS[:, 0])
