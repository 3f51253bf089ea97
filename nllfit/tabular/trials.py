"""Trials compare networks, families and weight decays on held-out rows; then an ensemble of the best is trained.

All choices use only the training set. A network is overconfident on rows that it was trained on, which is costly on new
rows. Therefore the held-out rows also determine the spread, a factor that widens or narrows the predictions. With `n`
held-out rows, about one new row in `n` may be unlike all of them. Therefore the prediction also contains the marginal
distribution with the weight `1 / n`; without it, a single row can cost a hundred nats.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np
from tensorflow_probability import distributions as tfd

from nllfit.ensembles import Ensemble
from nllfit.tabular.inputs import Inputs, named_network
from nllfit.tabular.scoring import mean_crps
from nllfit.tabular.targets import Target

__all__ = ["Predictor", "Rows", "Search", "Settings", "Trial"]

DECAYS = {"weak": 50, "strong": 500}  # divided by the number of rows, because a prior matters less with more rows
_RATE = 0.01
_MIN_STEPS_FOR_XLA = 500


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows of a table: inputs `[n, m]`, outcomes `[n, k]`, weights `[n]`, and whether outcomes were observed `[n]`."""

    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray | None = None
    observed: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, rows: Any) -> "Rows":
        weights, observed = (None if part is None else part[rows] for part in (self.weights, self.observed))
        return Rows(self.x[rows], self.y[rows], weights, observed)

    def same_as(self, other: "Rows") -> bool:
        parts = ((rows.x, rows.y, rows.weights, rows.observed) for rows in (self, other))
        return all((a is None and b is None) or np.array_equal(a, b) for a, b in zip(*parts, strict=True))


@dataclasses.dataclass(frozen=True)
class Settings:
    """The arguments of the estimators that control the training of networks."""

    num_members: int
    max_epochs: int | None
    validation_fraction: float
    seed: int
    verbose: int


@dataclasses.dataclass(frozen=True)
class Trial:
    """The scores on the held-out rows of one network that was trained on the other rows.

    Attributes:
      network: the name of the network, or a `Network`.
      weight_decay: `"weak"`, or `"strong"` (ten times as much).
      distribution: the name of the distribution, or a family.
      nll: the mean negative log-likelihood of the held-out rows, in nats, with the best spread.
      spread: the factor on the width of the distributions that minimises `nll`.
      crps: the mean continuous ranked probability score with that spread; None if only likelihoods are compared.
    """

    network: Any
    weight_decay: str
    distribution: Any
    nll: float
    spread: float
    crps: float | None = None


class Predictor:
    """An ensemble of one kind of network, from raw columns to the distribution of outcomes in the original unit."""

    def __init__(self, rows: Rows, network: Any, decay: str, target: Target, settings: Settings, num_members: int):
        self.network, self.target = named_network(network), target
        self.inputs, inputs = Inputs.fit(self.network, rows.x, rows.y, rows.weights, settings.seed)
        self.doubt = min(0.5, 1 / (settings.validation_fraction * len(rows)))
        outcomes = target.seen(rows.y, rows.observed)
        self.num_inputs = inputs.shape[1]
        batch_size = 2 ** round((np.log2(len(rows)) + 1) / 2)
        epochs = min(round(900 / np.cbrt(len(rows))), settings.max_epochs or math.inf)
        num_steps = epochs * -(-len(rows) // batch_size)

        def build():
            model = self._model()
            rate = keras.optimizers.schedules.CosineDecay(_RATE, num_steps)
            model.compile(keras.optimizers.AdamW(rate, DECAYS[decay] / len(rows)), target.loss())
            return model

        trained = Ensemble.fit(
            build,
            num_members,
            inputs,
            outcomes,
            batch_size=batch_size,
            epochs=epochs,
            seed=settings.seed,
            sample_weight=rows.weights,
            compile="xla" if num_steps >= _MIN_STEPS_FOR_XLA else "graph",
        )
        members = [*trained.models, *target.untrained(build)]
        self.ensemble = Ensemble([self._predicting(model) for model in members])

    def distribution(self, x: np.ndarray, spread: float) -> tfd.Distribution:
        """The predicted distribution of each row's outcome."""
        return self.target.distribution(self.mixture(x), spread, self.doubt)

    def mixture(self, x: np.ndarray) -> tfd.Distribution:
        """The mixture that the networks predict, before the spread and the marginal distribution are applied."""
        return self.ensemble(self.inputs(x)).distribution

    def _model(self, is_trained=True):
        hidden = [keras.layers.Dense(size, "swish") for size in self.network.units]
        *last, head = self.target.layers()
        head = head if is_trained else self.target.head(is_trained=False)
        return keras.Sequential([keras.layers.Input([self.num_inputs]), *hidden, *last, head])

    def _predicting(self, trained):
        """The trained network with the head for prediction, which differs from that for training under censoring."""
        head = self.target.head(is_trained=False)
        if getattr(head, "family", None) == trained.layers[-1].family:
            return trained
        return keras.Sequential([keras.layers.Input([self.num_inputs]), *trained.layers[:-1], head])

    def __getstate__(self) -> dict[str, Any]:
        weights = [model.get_weights() for model in self.ensemble.models]
        return {name: value for name, value in vars(self).items() if name != "ensemble"} | {"weights": weights}

    def __setstate__(self, state: dict[str, Any]) -> None:
        weights = state["weights"]
        vars(self).update({name: value for name, value in state.items() if name != "weights"})
        models = [self._model(is_trained=False) for _ in weights]
        for model, values in zip(models, weights, strict=True):
            model.set_weights(values)
        self.ensemble = Ensemble(models)


class Search:
    """Runs trials and trains ensembles for one training set, and caches both.

    Args:
      rows: the training set; the last rows are held out in trials.
      settings: the arguments that control the training.
      make_target: returns the `Target` of a distribution for rows.
    """

    def __init__(self, rows: Rows, settings: Settings, make_target: Callable[[Any, Rows], Target]):
        self.rows, self.settings, self.make_target = rows, settings, make_target
        num_held_out = max(1, math.ceil(settings.validation_fraction * len(rows) - 1e-9))
        self.cut = len(rows) - num_held_out
        self.trials: dict[tuple[Any, str, Any], Trial] = {}
        self.predictors: dict[tuple[Any, str, Any], Predictor] = {}
        self.bar: keras.utils.Progbar | None = None

    def run(self, distributions: Sequence[Any], networks: Sequence[Any]) -> tuple[list[Trial], Predictor]:
        """Runs the trials and trains the ensemble of the best: the trials, the best first, and the ensemble."""
        if self.settings.verbose:
            num_networks = len(networks) + 1 + len(distributions) - 1 + self.settings.num_members
            self.bar = keras.utils.Progbar(num_networks, unit_name="network")
        trials = self.best(distributions, networks)
        predictor = self.predictor(trials[0])
        if self.bar is not None:
            self.bar.update(self.bar.target, finalize=True)
            self.bar = None
        return trials, predictor

    def best(self, distributions: Sequence[Any], networks: Sequence[Any]) -> list[Trial]:
        """Runs the trials and returns them in the order of their scores, the best first.

        The networks are compared with the first distribution. If the best one is overconfident, it is also tried with a
        strong weight decay. Then the other distributions are tried with the best network.
        """
        tried: list[Trial] = []
        by_crps = False
        if len(distributions) > 1:  # the likelihoods of densities and probabilities cannot be compared
            kinds = {self.make_target(distribution, self.rows).is_discrete for distribution in distributions}
            by_crps = len(kinds) > 1

        def ranked(keys: Iterable[tuple[Any, str, Any]]) -> list[Trial]:
            tried.extend(self._trial(*key, by_crps) for key in keys)
            return sorted(tried, key=lambda trial: trial.nll if trial.crps is None or not by_crps else trial.crps)

        first, *others = distributions
        best = ranked((network, "weak", first) for network in networks)[0]
        if best.spread > 1:  # the network is overconfident
            best = ranked([(best.network, "strong", first)])[0]
        return ranked((best.network, best.weight_decay, other) for other in others)

    def predictor(self, trial: Trial) -> Predictor:
        """The ensemble of a trial's network, trained on all rows; cached."""
        key = (trial.network, trial.weight_decay, trial.distribution)
        if key not in self.predictors:
            self.predictors[key] = self._trained(self.rows, *key, self.settings.num_members)
        return self.predictors[key]

    def _trained(self, rows, network, decay, distribution, num_members):
        target = self.make_target(distribution, rows)
        predictor = Predictor(rows, network, decay, target, self.settings, num_members)
        if self.bar is not None:
            self.bar.add(num_members)
        return predictor

    def _trial(self, network, decay, distribution, by_crps):
        key = (network, decay, distribution)
        known = self.trials.get(key)
        if known is None or (by_crps and known.crps is None):
            seen, held_out = self.rows[: self.cut], self.rows[self.cut :]
            predictor = self._trained(seen, *key, num_members=1)
            self.trials[key] = _scored(predictor, key, held_out, by_crps)
        return self.trials[key]


def _scored(predictor: Predictor, key: tuple[Any, str, Any], rows: Rows, by_crps: bool) -> Trial:
    mixture, target = predictor.mixture(rows.x), predictor.target
    losses = target.losses(mixture, predictor.doubt, rows.y, rows.weights, rows.observed)
    best = int(np.argmin(losses))
    spread = float(target.spreads[best])
    crps = None
    if by_crps:
        crps = mean_crps(target.distribution(mixture, spread, predictor.doubt), rows.y, rows.weights)
    return Trial(*key, nll=float(losses[best]), spread=spread, crps=crps)
