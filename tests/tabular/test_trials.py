"""Trials: the spread of small tables comes from cross-validation, and peaks are compared by CRPS."""

import numpy as np
import pytest

from nllfit.tabular import DistributionRegressor, Network
from nllfit.tabular.candidates import target_of
from nllfit.tabular.table_rows import Rows, Settings
from nllfit.tabular.trials import Search

RNG = np.random.default_rng(0)
X = RNG.uniform(size=[250, 1])


@pytest.mark.parametrize(("shuffle", "low", "high"), [(True, 0.9, 1.3), (False, 0.7, 0.71)])
def test_the_spread_of_a_small_table_comes_from_all_its_rows(shuffle, low, high):
    """The last fifth of the rows, the first fold, has little noise.

    With `shuffle`, all rows are held out in turn, and the spread is near 1. Without it only the last fifth is held out,
    and the spread is the smallest that is tried.
    """
    y = RNG.normal(size=[250, 1]) * np.where(np.arange(250) < 200, 1, 0.2)[:, None]
    settings = Settings(1, None, 0.2, seed=0, verbose=0, shuffle=shuffle)
    trials, _ = Search(Rows(X, y), settings, target_of).run(["Normal"], ["trees"])
    assert low <= trials[0].spread <= high


def test_folds_are_as_many_as_a_spread_needs():
    def held_out(num_rows, fraction):
        settings = Settings(1, None, fraction, seed=0, verbose=0)
        rows = Rows(np.zeros([num_rows, 1]), np.zeros([num_rows, 1]))
        return Search(rows, settings, target_of).folds

    assert held_out(100, 0.2) == [(80, 100), (60, 80), (40, 60), (20, 40), (0, 20)]
    assert held_out(1000, 0.2) == [(800, 1000), (600, 800), (400, 600)]
    assert held_out(2500, 0.2) == [(2000, 2500)]
    assert held_out(10, 0.6) == [(4, 10)]
    assert held_out(2, 0.2) == [(1, 2), (0, 1)]
    assert held_out(2, 0.6) == [(1, 2), (0, 1)]  # a row is left to train on
    assert held_out(50, 0.99) == [(1, 50)]


def test_a_value_that_only_a_held_out_row_has_does_not_decide_the_spread():
    """With a probability of 0 for this row, the losses of all spreads would be infinite."""
    y = np.append(RNG.integers(0, 4, 249), 37)
    model = DistributionRegressor("Values", network=Network((30,)), num_members=1, shuffle=False, random_state=0)
    best = model.fit(X, y).trials_[0]
    assert np.isfinite(best.nll)
    assert best.spread > 1


@pytest.mark.thorough
@pytest.mark.parametrize("are_few", [True, False])
def test_peaks_at_a_few_values_are_compared_by_crps(are_few):
    y = RNG.normal(size=[250, 1])
    search = Search(Rows(X, np.round(y) if are_few else y), Settings(1, None, 0.2, seed=0, verbose=0), target_of)
    trials, _ = search.run(["Normal", "Histogram"], ["trees"])
    assert {trial.crps is not None for trial in trials} == {are_few}
