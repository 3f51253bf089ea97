"""Trials compare networks, families and regularizations on held-out rows; then the best model is trained on all rows.

All choices use only the training set. A network is overconfident on rows that it was trained on, which is costly on new
rows. Therefore the held-out rows also determine the spread, a factor that widens or narrows the predictions. With `n`
held-out rows, about one new row in `n` may be unlike all of them. Therefore the prediction also contains the marginal
distribution with the weight `1 / n`; without it, a single row can cost a hundred nats.
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

from nllfit.tabular.inputs import TREES
from nllfit.tabular.models import Model, model_class
from nllfit.tabular.rows import Rows, Settings, Stream
from nllfit.tabular.scoring import mean_crps
from nllfit.tabular.targets import Target

__all__ = ["Predictor", "Search", "Trial"]


@dataclasses.dataclass(frozen=True)
class Trial:
    """The scores on the held-out rows of one network that was trained on the other rows.

    Attributes:
      network: the name of the network, or a `Network`.
      regularization: `"weak"` or `"strong"`, which is ten times the weight decay for networks, and at least 5 rows in
        each leaf instead of 1 for trees.
      distribution: the name of the distribution, or a family.
      nll: the mean negative log-likelihood of the held-out rows, in nats, with the best spread.
      spread: the factor on the width of the distributions that minimises `nll`.
      crps: the mean continuous ranked probability score with that spread; None if only likelihoods are compared.
    """

    network: Any
    regularization: str
    distribution: Any
    nll: float
    spread: float
    crps: float | None = None


class Predictor:
    """A trained model, from raw columns to the distribution of outcomes in the original unit.

    Args:
      model: the model.
      target: the target that it was trained on.
      doubt: the weight of the marginal distribution of the training set in the predictions.
    """

    def __init__(self, model: Model, target: Target, doubt: float):
        self.model, self.target, self.doubt = model, target, doubt

    def distribution(self, x: np.ndarray, spread: float) -> tfd.Distribution:
        """The predicted distribution of each row's outcome."""
        return self.target.distribution(self.target.mixture(self.model.outputs(x)), spread, self.doubt)


class Search:
    """Runs trials and trains ensembles for one training set, and caches both.

    Args:
      rows: the training set; the last rows are held out in trials.
      settings: the arguments that control the training.
      make_target: returns the `Target` of a distribution for rows.
      stream: all training rows, if `rows` are only a sample; then the ensemble of the best is trained on all.
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
        num_held_out = max(1, math.ceil(settings.validation_fraction * len(rows) - 1e-9))
        self.cut = len(rows) - num_held_out
        self.trials: dict[tuple[Any, str, Any], Trial] = {}
        self.targets: dict[tuple[Any, int], Target] = {}
        self.predictors: dict[tuple[Any, str, Any], Predictor] = {}
        self.bar: keras.utils.Progbar | None = None
        self._lock = threading.Lock()

    def run(self, distributions: Sequence[Any], networks: Sequence[Any]) -> tuple[list[Trial], Predictor]:
        """Runs the trials and trains the ensemble of the best: the trials, the best first, and the ensemble."""
        if self.settings.verbose:
            kinds = {model_class(network) for network in networks}  # each is tried once more, if it is overconfident
            num_networks = len(networks) + len(kinds) + len(distributions) - 1 + self.settings.num_members
            self.bar = keras.utils.Progbar(num_networks, unit_name="network")
        trials = self.best(distributions, networks)
        predictor = self.predictor(trials[0])
        if self.bar is not None:
            self.bar.update(self.bar.target, finalize=True)
            self.bar = None
        return trials, predictor

    def best(self, distributions: Sequence[Any], networks: Sequence[Any]) -> list[Trial]:
        """Runs the trials and returns them in the order of their scores, the best first.

        The networks are compared with the first distribution. The best of them and the trees are also tried with a
        strong regularization if they are overconfident. Then each other distribution is tried with the best
        of those that can have it.

        Raises:
          ValueError: if trees are the only network and cannot predict the first distribution.
        """
        tried: list[Trial] = []
        # The likelihoods of densities and of probabilities cannot be compared.
        by_crps = len({self._target(distribution, self.rows).is_discrete for distribution in distributions}) > 1

        def ranked(keys: Iterable[tuple[Any, str, Any]]) -> list[Trial]:
            with futures.ThreadPoolExecutor(os.cpu_count()) as threads:
                tried.extend(threads.map(functools.partial(self._trial, by_crps), keys))
            return sorted(tried, key=operator.attrgetter("crps" if by_crps else "nll"))

        first, *others = distributions
        suitable = [network for network in networks if self._suits(network, first)]
        if not suitable:
            raise ValueError(
                f"`network` is {TREES!r}, which predicts a Normal or a probability for each value, and `distribution` "
                f"is {first!r}: give 'forest', a network with the predictions of trees as inputs."
            )
        ranked((network, "weak", first) for network in suitable)
        kinds = {model_class(trial.network): trial for trial in reversed(ranked([]))}  # the best of each kind
        ranked((trial.network, "strong", first) for trial in kinds.values() if trial.spread > 1)
        for other in others:
            fitting = next((trial for trial in ranked([]) if self._suits(trial.network, other)), None)
            if fitting is not None:
                ranked([(fitting.network, fitting.regularization, other)])
        return ranked([])

    def predictor(self, trial: Trial) -> Predictor:
        """The ensemble of a trial's network, trained on all rows; cached."""
        key = (trial.network, trial.regularization, trial.distribution)
        if key not in self.predictors:
            self.predictors[key] = self._trained(self.rows, key, self.settings.num_members, self.stream)
        return self.predictors[key]

    def _target(self, distribution, rows):
        with self._lock:
            key = distribution, len(rows)
            if key not in self.targets:
                self.targets[key] = self.make_target(distribution, rows)
            return self.targets[key]

    def _suits(self, network, distribution):
        return network != TREES or self._target(distribution, self.rows).statistics(self.rows.y[:1]) is not None

    def _trained(self, rows, key, num_members, stream=None):
        network, regularization, distribution = key
        target, made = self._target(distribution, rows), model_class(network)
        model = made(
            rows, network, regularization, target, self.settings, num_members, self._batch_size(stream), stream
        )
        if self.bar is not None:
            with self._lock:
                self.bar.add(num_members)
        return Predictor(model, target, min(0.5, 1 / (self.settings.validation_fraction * len(rows))))

    def _batch_size(self, stream):
        num_rows = len(self.rows) if stream is None else sum(stream.sizes)
        return 2 ** round((np.log2(num_rows) + 1) / 2)

    def _trial(self, by_crps, key):
        known = self.trials.get(key)
        if known is None or (by_crps and known.crps is None):
            seen, held_out = self.rows[: self.cut], self.rows[self.cut :]
            predictor = self._trained(seen, key, 1)
            self.trials[key] = _scored(predictor, key, held_out, by_crps)
        return self.trials[key]


def _scored(predictor: Predictor, key: tuple[Any, str, Any], rows: Rows, by_crps: bool) -> Trial:
    outputs, target = predictor.model.outputs(rows.x), predictor.target
    losses = target.losses(outputs, predictor.doubt, rows.y, rows.weights)
    best = int(np.argmin(losses))
    spread = float(target.spreads[best])
    crps = None
    if by_crps:
        crps = mean_crps(
            target.distribution(target.mixture(outputs), spread, predictor.doubt), rows.numbers(), rows.weights
        )
    return Trial(*key, nll=float(losses[best]), spread=spread, crps=crps)
