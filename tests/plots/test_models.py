"""Figures of a model: predictive bands with their coverage, and training curves with the best epoch."""

import types

import numpy as np
import pytest
import tensorflow_probability as tfp
from scipy import stats

from nllfit import plots
from tests.plots.conftest import labels

tfd = tfp.distributions

X = np.random.default_rng(0).uniform(size=50)
Y = X + np.random.default_rng(1).normal(size=50)


def test_predictive_bands_are_quantiles_with_their_coverage_in_the_legend(ax):
    distribution = tfd.Independent(tfd.Normal(X[:, None], 1.0), 1)
    assert plots.predictive_band(ax, X[:, None], Y[:, None], distribution, levels=(0.5, 0.9)) is ax
    for level, band, label in zip((0.9, 0.5), ax.collections, labels(ax), strict=False):
        reach = stats.norm.ppf((1 + level) / 2)
        x, edges = band.get_paths()[0].vertices.T
        np.testing.assert_allclose(np.unique(np.round(np.abs(edges - x), 5)), round(reach, 5))
        assert label == f"central {100 * level:g}% (holds {100 * np.mean(np.abs(Y - X) <= reach):.0f}%)"
    median, outcomes = ax.get_lines()
    np.testing.assert_allclose(median.get_xydata(), np.sort(X)[:, None] * [1, 1])
    np.testing.assert_array_equal(outcomes.get_xydata(), np.stack([X, Y], -1))


def test_a_predictive_band_works_for_counts_and_for_one_level(ax):
    plots.predictive_band(ax, X, np.ones(50), tfd.Poisson(X), levels=(0.9,))
    assert set(ax.get_lines()[0].get_ydata()) <= {0, 1}


def history(losses, **others):
    return types.SimpleNamespace(epoch=list(range(len(losses))), history={"loss": losses, **others})


def test_training_marks_the_best_validation_epoch(ax):
    assert plots.training_curves(ax, history([3.0, 2.0, 1.0], val_loss=[3.0, 1.5, 2.0])) is ax
    assert labels(ax) == ["training", "validation", "lowest: 1.5 in epoch 2"]
    assert [tuple(line.get_xydata()[-1]) for line in ax.get_lines()] == [(3, 1), (3, 2), (2, 1.5)]
    assert "nats" in ax.get_ylabel()


def test_training_curves_of_ensembles_and_without_validation(ax):
    plots.training_curves(ax, [history([3.0, 2.0]), history([2.0, 2.5])])
    assert labels(ax) == ["training", "lowest of each"]
    assert len(ax.get_lines()) == 4


def test_validation_losses_stand_at_their_epochs(ax):
    some = history([6.0, 5.0, 4.0, 3.0, 2.0, 1.0], val_loss=[3.0, 1.0, 2.0])
    plots.training_curves(ax, some, validation_freq=2)
    assert ax.get_lines()[1].get_xydata().tolist() == [[2, 3], [4, 1], [6, 2]]
    assert labels(ax)[2] == "lowest: 1 in epoch 4"
    plots.training_curves(ax, some, validation_freq=[1, 2, 5])
    assert ax.get_lines()[4].get_xydata().tolist() == [[1, 3], [2, 1], [5, 2]]
    for wrong in (1, 3, [2, 4]):
        with pytest.raises(ValueError, match="`history` has 3 values of `val_loss` in 6 epochs, but `validation_freq`"):
            plots.training_curves(ax, some, wrong)


def test_invalid_arguments_are_refused(ax):
    with pytest.raises(ValueError, match="one number for each row"):
        plots.predictive_band(ax, X[:2], Y, tfd.Normal(X, 1.0))
    with pytest.raises(ValueError, match="one number for each row"):
        plots.predictive_band(ax, np.stack([X, X], 1), Y, tfd.Normal(X, 1.0))
    with pytest.raises(ValueError, match="`levels` is"):
        plots.predictive_band(ax, X, Y, tfd.Normal(X, 1.0), levels=(90,))
    for nothing in ([], history([])):
        with pytest.raises(ValueError, match="`history` has no epochs"):
            plots.training_curves(ax, nothing)


def test_predictive_band_takes_objects_no_texts(ax):
    d = tfd.Normal([0.0, 1.0], 1.0)
    for x in (["a", "b"], np.array([1, None], object)):
        with pytest.raises(ValueError, match="`x` is"):
            plots.predictive_band(ax, x, [0.0, 1.0], d)


def test_training_curves_take_a_range_of_epochs(ax):
    history = types.SimpleNamespace(epoch=[0, 1, 2, 3], history={"loss": [4, 3, 2, 1], "val_loss": [2, 1]})
    plots.training_curves(ax, history, range(2, 5, 2))
    np.testing.assert_array_equal(ax.get_lines()[1].get_xdata(), [2, 4])
