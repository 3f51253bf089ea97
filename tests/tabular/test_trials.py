"""Trials of networks, distributions and regularizations.

In a small table, cross-validation chooses the spread, a factor on the width of the predictions. If the likelihoods of
two distributions cannot be compared, the CRPS compares them.
"""

import types

import numpy as np
import pytest

import nllfit
from nllfit.tabular import DistributionRegressor, Network
from nllfit.tabular import trials_and_spread as trials_module
from nllfit.tabular.candidates import target_of
from nllfit.tabular.networks_and_forests import Networks
from nllfit.tabular.table_rows import Rows, Settings
from nllfit.tabular.targets import SPREADS
from nllfit.tabular.trials_and_spread import Search, Trial

X = np.random.default_rng(0).uniform(size=[250, 1])


@pytest.mark.thorough
@pytest.mark.parametrize(("shuffle", "low", "high"), [(True, 0.9, 1.3), (False, 0.7, 0.71)])
def test_the_spread_of_a_small_table_comes_from_all_its_rows(shuffle, low, high, rng):
    """The last fifth of the rows has little noise.

    With `shuffle`, each fifth of the rows is held out once, and the spread is near 1. Without `shuffle`, only the last
    fifth is held out, and the spread is the smallest one that the search tries.
    """
    y = rng.normal(size=[250, 1]) * np.where(np.arange(250) < 200, 1, 0.2)[:, None]
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
    assert held_out(2, 0.6) == [(1, 2), (0, 1)]  # each fold leaves one row for the training
    assert held_out(50, 0.99) == [(1, 50)]


def test_the_networks_of_different_folds_start_from_different_weights(monkeypatch, rng):
    """If the networks of all folds start from the same weights, and this start is lucky, intervals are too narrow.

    In one table, such intervals had a coverage of 72% instead of 90%.
    """
    started = []

    class Recorded(Networks):
        def __init__(self, rows, network, regularization, target, settings, members, *others):
            super().__init__(rows, network, regularization, target, settings, members, *others)
            started.append((len(rows), *members))

    monkeypatch.setattr(trials_module, "model_class", lambda _: Recorded)
    settings = Settings(2, 1, 0.2, seed=0, verbose=0)
    Search(Rows(X, rng.normal(size=[250, 1])), settings, target_of).run(["Normal"], [Network((4,))])
    assert {*started} == {*((200, fold) for fold in range(5)), (250, 0, 1)}


@pytest.mark.thorough
def test_a_value_that_only_a_held_out_row_has_does_not_decide_the_spread():
    """With a probability of 0 for this row, all losses would be infinite, and the first spread would be chosen."""
    y = np.append(np.random.default_rng(0).integers(0, 4, 249), 37)
    model = DistributionRegressor("Values", network=Network((30,)), num_members=1, shuffle=False, random_state=0)
    best = model.fit(X, y).trials_[0]
    assert np.isfinite(best.nll)
    assert best.spread > SPREADS[0]


def rounded(distributions, is_rounded=True):
    y = np.abs(np.random.default_rng(1).normal(2, 1, [250, 1]))
    return Rows(X, np.round(y) if is_rounded else y), distributions


# Rows, two distributions, and True if their likelihoods cannot be compared, so that the CRPS must compare them.
COMPARED = {
    "counts": (*rounded(["NegativeBinomial", "Values"]), False),
    "counts and peaks": (*rounded(["Values", "Histogram"]), True),
    "a density and peaks": (*rounded(["Normal", "Histogram"]), True),
    "densities": (*rounded(["Normal", "Histogram"], False), False),
    "a density and zeros": (*rounded(["Normal", nllfit.ZeroInflated("Gamma", event_shape=1)]), True),
}


@pytest.mark.thorough(but=("counts and peaks", "densities"))
@pytest.mark.parametrize(("rows", "distributions", "by_crps"), COMPARED.values(), ids=COMPARED)
def test_likelihoods_of_one_kind_can_be_compared(rows, distributions, by_crps):
    first, second = (target_of(distribution, rows) for distribution in distributions)
    assert (first.kind != second.kind) == by_crps


@pytest.mark.thorough
@pytest.mark.parametrize("case", ["counts and peaks", "densities"])
def test_likelihoods_of_two_kinds_are_compared_by_crps(case):
    rows, distributions, by_crps = COMPARED[case]
    search = Search(rows, Settings(1, None, 0.2, seed=0, verbose=0), target_of)
    trials, _ = search.run(distributions, ["trees"])
    assert {trial.crps is not None for trial in trials} == {by_crps}


SUITED = {
    "NegativeBinomial": types.SimpleNamespace(kind=0, is_for_networks=True, statistics=lambda y: None),
    "Histogram": types.SimpleNamespace(kind=1, is_for_networks=False, statistics=lambda y: y),
}


@pytest.mark.parametrize("distributions", [["NegativeBinomial", "Histogram"], ["Histogram", "NegativeBinomial"]])
def test_a_later_distribution_is_tried_with_the_networks_that_predict_it(distributions):
    """Only trees can predict the Histogram, and trees cannot predict the NegativeBinomial."""
    search = Search(Rows(X, X), Settings(1, 1, 0.2, seed=0, verbose=0), lambda name, _: SUITED[name])
    search._trial = lambda by_crps, key: Trial(*key, nll=1.0, spread=1.0, crps=1.0)
    tried = [(trial.network, trial.distribution) for trial in search.best(distributions, ["smooth", "trees"])]
    assert sorted(tried) == [("smooth", "NegativeBinomial"), ("trees", "Histogram")]


def test_a_distribution_that_no_network_predicts_does_not_count():
    """Without trees, no candidate predicts a Histogram.

    All candidates then have the same family, so their likelihoods are compared and the CRPS is not computed.
    """
    search = Search(Rows(X, X), Settings(1, 1, 0.2, seed=0, verbose=0), lambda name, _: SUITED[name])
    search._trial = lambda by_crps, key: Trial(*key, nll=1.0, spread=1.0, crps=1.0 if by_crps else None)
    trials = search.best(["NegativeBinomial", "Histogram"], ["smooth", "steep"])
    assert {(trial.distribution, trial.crps) for trial in trials} == {("NegativeBinomial", None)}


def test_a_histogram_has_few_values_in_all_folds_or_in_none(rng):
    """10 distinct values count as few among 100 rows, but not among the 80 training rows of a fold.

    All folds must decide by the 100 rows.
    """
    x, y = rng.uniform(size=[100, 1]), np.arange(100) % 10.0
    model = DistributionRegressor("Histogram", network="trees", random_state=0, warm_start=True).fit(x, y)
    targets = model._search.targets
    assert len(targets) > 2
    assert {target.is_concentrated for target in targets.values()} == {True}


KINDS = {name: types.SimpleNamespace(kind=kind) for name, kind in {"Poisson": 0, "Weibull": 1, "LogNormal": 1}.items()}


def test_censored_outcomes_have_no_crps(rng):
    """The CRPS needs exact outcomes, so if outcomes are censored, families can only be compared by the likelihood.

    If all outcomes are intervals, the likelihood of each family is a probability. Then the likelihoods of a family of
    counts and a family of amounts can be compared. If some outcomes are exact, the likelihoods of these two families
    cannot be compared.
    """

    def by_crps(y, distributions):
        search = Search(Rows(X, y, None, True), Settings(1, 1, 0.2, seed=0, verbose=0), lambda name, _: KINDS[name])
        return search._needs_crps(distributions)

    times = np.ceil(rng.exponential(9, 250))
    exact, intervals = nllfit.right_censored(times, times < 9), np.stack([times - 1, times], 1)
    assert not by_crps(intervals, ["Poisson", "Weibull"])
    assert not by_crps(exact, ["Weibull", "LogNormal"])
    with pytest.raises(ValueError, match=r"`distribution` is \['Poisson', 'Weibull'\], .* give distributions of one"):
        by_crps(exact, ["Poisson", "Weibull"])
