"""Trials compare networks, families and regularizations on held-out rows. The best model is then trained on all rows.

The held-out rows belong to the training set. A trial trains a model on the other rows of the training set.

Networks are often overconfident after training: on new rows, the predicted distributions are too narrow. Therefore the
held-out rows also determine the spread, a factor that widens or narrows the predicted distributions. In a small table,
the held-out rows of one trial are too few to determine the spread, so the spread comes from cross-validation.

With `n` held-out rows, about one new row in `n` may be unlike all of them. A model can give the outcome of such a row
an extremely small density, so that its negative log-likelihood is a hundred nats. Therefore the prediction is a mixture
of the model's distribution and the marginal distribution of the outcomes, which has the weight `1 / n`. The negative
log-likelihood of an outcome is then at most about `log n` nats larger than under the marginal distribution alone.
"""

import dataclasses
import functools
import math
import operator
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent import futures
from typing import Any

import keras
import numpy as np
from tensorflow_probability import distributions as tfd

from nllfit.tabular.network_architectures import TREES
from nllfit.tabular.networks_and_forests import Model, model_class
from nllfit.tabular.scoring import mean_crps
from nllfit.tabular.table_rows import Rows, Settings, Stream
from nllfit.tabular.targets import Target

__all__ = ["Predictor", "Search", "Trial"]

# The folds together hold out at least this number of rows, if the table is large enough. If `n` rows are held out, the
# standard error of the spread is about `1 / sqrt(2 n)`, which is 3% for this number.
_HELD_OUT = 500
_Key = tuple[Any, str, Any]  # network, regularization and distribution
_Fold = tuple[int, int]  # the rows `first <= i < end` are held out


@dataclasses.dataclass(frozen=True)
class Trial:
    """The scores of one network, or of trees, on the held-out rows after training on the other rows.

    Attributes:
      network: the name of the network, or a `Network`.
      regularization: `"weak"`, `"strong"`, or, for trees, `"strongest"`. The weight decay of networks is ten times as
        large with `"strong"` as with `"weak"`. Each leaf of a tree has at least 1 row with `"weak"`, 5 rows with
        `"strong"` and `sqrt(n)` of the `n` training rows with `"strongest"`.
      distribution: the name of the distribution, or a family.
      nll: the mean negative log-likelihood of the held-out rows, in nats, with the best spread.
      spread: a factor on the width of the predicted distributions. The factor minimises the mean negative
        log-likelihood of the held-out rows. For the best trial, these are the held-out rows of all folds of the
        cross-validation.
      crps: the mean continuous ranked probability score of the held-out rows, with the spread that minimises their
        `nll`; None if the trials are compared only by `nll`.
    """

    network: Any
    regularization: str
    distribution: Any
    nll: float
    spread: float
    crps: float | None = None

    @property
    def key(self) -> tuple[Any, str, Any]:
        """The network, the regularization and the distribution of the trial."""
        return self.network, self.regularization, self.distribution


class Predictor:
    """Predicts the distribution of outcomes, in their original unit, from the columns of a table.

    Args:
      model: the trained model.
      target: the `Target` that the model was trained on.
      doubt: the weight of the marginal distribution of the training set in the predictions.
    """

    def __init__(self, model: Model, target: Target, doubt: float):
        self.model, self.target, self.doubt = model, target, doubt

    def distribution(self, x: np.ndarray, spread: float) -> tfd.Distribution:
        """Returns the predicted distribution of each row's outcome."""
        return self.target.distribution(self.target.mixture(self.model.outputs(x)), spread, self.doubt)


class Search:
    """Runs trials and trains ensembles for one training set. Caches the trials and the ensembles.

    Args:
      rows: the training set; the last rows are held out in trials.
      settings: the arguments that control the training.
      make_target: `make_target(distribution, rows)` returns the `Target` for a distribution and training rows.
      stream: all training rows, if `rows` are only a sample of them; otherwise None. The final ensemble is trained on
        all rows.
    """

    def __init__(
        self,
        rows: Rows,
        settings: Settings,
        make_target: Callable[[Any, Rows], Target],
        stream: Stream | None = None,
    ):
        self.stream = stream
        self.rows, self.settings, self.make_target = rows, settings, make_target
        self.folds = _folds(len(rows), settings)
        self.trials: dict[_Key, Trial] = {}
        self.losses: dict[_Key, list[np.ndarray]] = {}  # for each fold, the loss with each spread
        self.targets: dict[tuple[Any, _Fold | None], Target] = {}
        self.predictors: dict[_Key, Predictor] = {}
        self.bar: keras.utils.Progbar | None = None
        self._lock = threading.Lock()

    def run(self, distributions: Sequence[Any], networks: Sequence[Any]) -> tuple[list[Trial], Predictor]:
        """Runs the trials and trains the ensemble of the best one. Returns the sorted trials, and the ensemble."""
        if self.settings.verbose:
            # The best network and the trees may also be tried with each stronger regularization.
            kinds = {model_class(network) for network in networks}
            num_stronger = sum(len(kind.regularizations) - 1 for kind in kinds)
            num_trials = len(networks) + num_stronger + len(distributions) - 1 + len(self.folds) - 1
            num_networks = num_trials + self.settings.num_members
            self.bar = keras.utils.Progbar(num_networks, unit_name="network")
        trials = self.best(distributions, networks)
        trials[0] = dataclasses.replace(trials[0], spread=self._spread(trials[0].key))
        predictor = self.predictor(trials[0])
        if self.bar is not None:
            self.bar.update(self.bar.target, finalize=True)
            self.bar = None
        return trials, predictor

    def best(self, distributions: Sequence[Any], networks: Sequence[Any]) -> list[Trial]:
        """Runs the trials and returns them sorted from the best to the worst score.

        First, each network that can predict the first distribution is tried with this distribution and the weak
        regularization. Trees count as one of these networks. A spread above 1 means that a network is overconfident. If
        the best network apart from the trees is overconfident, it is also tried with the next stronger regularization,
        and so on. The same applies to the trees, even if they are not the best.

        Then each other distribution gets one trial, with the network and the regularization of the best earlier trial
        whose network can predict this distribution. If the new trial uses trees and is overconfident, trees with
        stronger regularizations are also tried. If no earlier trial has a network that can predict the distribution,
        all networks that can predict it are tried, in the way described for the first distribution. A distribution that
        no network can predict has no trial.

        Raises:
          ValueError: if no network can predict the first distribution, or if the outcomes are censored and the
            likelihoods of the distributions cannot be compared.
        """
        tried: list[Trial] = []

        def ranked(keys: Iterable[_Key]) -> list[Trial]:
            tried.extend(_in_threads(functools.partial(self._trial, by_crps), keys))
            return sorted(tried, key=operator.attrgetter("crps" if by_crps else "nll"))

        suitable = {distribution: self._suitable(networks, distribution) for distribution in distributions}
        self._check_first(distributions[0], suitable[distributions[0]])
        distributions = [distribution for distribution in distributions if suitable[distribution]]
        by_crps = self._needs_crps(distributions)
        for distribution in distributions:
            best_suitable = next((trial for trial in ranked([]) if trial.network in suitable[distribution]), None)
            if best_suitable is None:
                ranked((network, "weak", distribution) for network in suitable[distribution])
                worst_first = (trial for trial in reversed(ranked([])) if trial.distribution == distribution)
                # In the dict, a better trial of the same class replaces a worse one.
                newest = [*{model_class(trial.network): trial for trial in worst_first}.values()]
            else:
                ranked([(best_suitable.network, best_suitable.regularization, distribution)])
                newest = tried[-1:] if best_suitable.network == TREES else []  # another trial of trees is cheap
            while keys := [key for trial in newest if (key := _strengthened(trial))]:
                ranked(keys)
                newest = tried[-len(keys) :]
        return ranked([])

    def predictor(self, trial: Trial) -> Predictor:
        """Trains the ensemble of a trial's network on all rows. A second call returns the same ensemble."""
        if trial.key not in self.predictors:
            self.predictors[trial.key] = self._trained(trial.key, range(self.settings.num_members))
        return self.predictors[trial.key]

    def _rows(self, fold):
        """Returns the rows outside a fold, or all rows if `fold` is None."""
        return self.rows if fold is None else self.rows[np.delete(np.arange(len(self.rows)), slice(*fold))]

    def _target(self, distribution, fold=None):
        with self._lock:
            key = distribution, fold
            if key not in self.targets:
                self.targets[key] = self.make_target(distribution, self._rows(fold))
            return self.targets[key]

    def _needs_crps(self, distributions):
        """Whether the likelihoods are of different kinds. If so, only the CRPS can compare the distributions."""
        y, is_censored = self.rows.y, self.rows.is_censored
        if is_censored and not np.any(y[:, 0] == y[:, 1]):  # all likelihoods are probabilities
            return False
        differ = len({self._target(distribution).kind for distribution in distributions}) > 1
        if differ and is_censored:
            raise ValueError(
                f"`distribution` is {list(distributions)}, and the likelihoods of counts, of amounts and of amounts "
                f"with zeros cannot be compared if outcomes are censored: give distributions of one of these kinds."
            )
        return differ

    def _suitable(self, networks, distribution):
        """Returns the networks that can predict a distribution."""
        target = self._target(distribution)
        by_trees = target.statistics(self.rows.y[:1]) is not None
        return [network for network in networks if (by_trees if network == TREES else target.is_for_networks)]

    def _check_first(self, first, suitable):
        if not suitable and not self._target(first).is_for_networks:
            raise ValueError(f"`distribution` is {first!r}, which only trees predict: give `network={TREES!r}`.")
        if not suitable:
            raise ValueError(
                f"`network` is {TREES!r}, which predicts a Normal or probabilities, and `distribution` is {first!r}: "
                f"give 'forest', a network with the predictions of trees as inputs."
            )

    def _trained(self, key, members, fold=None):
        """Trains the predictor of a `_Key` on the rows outside a fold, or on all rows if `fold` is None."""
        network, regularization, distribution = key
        stream = self.stream if fold is None else None
        rows, target, model_type = self._rows(fold), self._target(distribution, fold), model_class(network)
        model = model_type(
            rows, network, regularization, target, self.settings, members, self._batch_size(stream), stream
        )
        if self.bar is not None:
            with self._lock:
                self.bar.add(len(members))
        return Predictor(model, target, min(0.5, 1 / (self.settings.validation_fraction * len(rows))))

    def _batch_size(self, stream):
        num_rows = len(self.rows) if stream is None else sum(stream.sizes)
        return 2 ** round((np.log2(num_rows) + 1) / 2)

    def _trial(self, by_crps, key):
        cached = self.trials.get(key)
        if cached is None or (by_crps and cached.crps is None):
            network, regularization, distribution = key
            predictor, losses = self._tested(key, self.folds[0])
            best = int(np.argmin(losses))
            spread, crps = float(predictor.target.spreads[best]), None
            if by_crps:
                rows = self.rows[slice(*self.folds[0])]
                crps = mean_crps(predictor.distribution(rows.x, spread), rows.numbers(), rows.weights)
            self.losses[key] = [losses]
            self.trials[key] = Trial(network, regularization, distribution, float(losses[best]), spread, crps)
        return self.trials[key]

    def _spread(self, key):
        """Returns the spread with the smallest mean loss over all folds."""
        losses, spreads = self.losses[key], self._target(key[2]).spreads
        if len(spreads) > 1 and len(losses) == 1:
            losses += _in_threads(lambda fold: self._tested(key, fold)[1], self.folds[1:])
        return float(spreads[np.argmin(np.mean(losses, axis=0))])

    def _tested(self, key, fold):
        """Trains a predictor on the rows outside a fold. Returns the predictor, and its loss for each spread."""
        # The best spread depends on the initial weights of a network. Therefore the network of each fold starts from
        # different weights, as the members of an ensemble do. The spread comes from all folds, so it does not depend on
        # the initial weights of a single network.
        predictor, rows = self._trained(key, [self.folds.index(fold)], fold), self.rows[slice(*fold)]
        outputs = predictor.model.outputs(rows.x)
        return predictor, predictor.target.losses(outputs, predictor.doubt, rows.y, rows.weights)


def _folds(num_rows, settings):
    """Returns the held-out rows of each fold. The first fold contains the last rows.

    All folds have the same number of rows. There are as many folds as are needed to hold out at least 500 rows in
    total. If the table is too small for that, there are as many folds as fit into the table. Rows outside the folds are
    never held out. If `shuffle` is false, the rows are in order of time. Then there is only the first fold, because
    models for the other folds would be trained on rows that are later than the held-out rows.
    """
    size = max(1, math.ceil(settings.validation_fraction * num_rows - 1e-9))
    size = min(size, num_rows - 1)  # at least one row is left to train on
    count = min(num_rows // size, math.ceil(_HELD_OUT / size)) if settings.shuffle else 1
    return [(end - size, end) for end in range(num_rows, 0, -size)][:count]


def _strengthened(trial):
    """Returns the key of the same trial with the next stronger regularization.

    Returns None if the trial is not overconfident, or already has the strongest regularization.
    """
    regularizations = model_class(trial.network).regularizations
    stronger = regularizations[regularizations.index(trial.regularization) + 1 :]
    return (trial.network, stronger[0], trial.distribution) if stronger and trial.spread > 1 else None


def _in_threads(function, values):
    with futures.ThreadPoolExecutor(os.cpu_count()) as threads:
        return list(threads.map(function, values))
