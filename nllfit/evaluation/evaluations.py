"""`evaluate` computes proper scores and calibration measures of predicted distributions."""

import contextlib
import dataclasses
import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from tensorflow_probability import distributions as tfd

from nllfit.adapters import Model
from nllfit.cdf_and_quantiles import quantile
from nllfit.evaluation.calibration_error import expected_calibration_error, miscalibration_area
from nllfit.evaluation.class_probabilities import class_labels, class_log_probs
from nllfit.evaluation.predicted_rows import outputs_by_name, predicted_rows
from nllfit.evaluation.probability_integral_transform import interval_pits, pit
from nllfit.families.arguments import as_count
from nllfit.families.censored import is_censored
from nllfit.families.law import law_of
from nllfit.families.support_ends import in_one_turn
from nllfit.scores import crps

__all__ = ["Evaluation", "as_levels", "evaluate"]


def evaluate(
    model: Model | tfd.Distribution,
    x: Any = None,
    y: ArrayLike | Mapping[str, ArrayLike] | None = None,
    *,
    levels: Sequence[float] = (0.5, 0.8, 0.9, 0.95),
    batch_size: int = 32,
    seed: int = 0,
) -> Any:
    """Scores the distributions that a model predicts for `x` against the outcomes `y`.

    Args:
      model: an `Ensemble`, a `Laplace`, a calibrated model, or a Keras 2 or Keras 3 model that ends in a head. Without
        `x`, a distribution of batch `[n]` and event `[*event]`, or a head's output: `evaluate(distribution, y=y)`.
      x: inputs, as `predict_distribution` takes them. Without `y`, a finite `tf.data.Dataset` of batches `(x, y)`.
      y: outcomes of at least two rows, `[n, *event]`; for an event of one element also `[n]`. For a head at every step
        of a sequence, `[n, steps, *event]`. If Keras masks steps, the masked outcomes are ignored, and each step that
        is not masked counts as a row. Angles that differ by a multiple of `2 pi` are the same outcome. For a model with
        several outputs, a dict of outcomes by the name of the output.
      levels: the probabilities of the central intervals to evaluate.
      batch_size: the number of rows in each call of the model.
      seed: the seed of the random numbers in `Evaluation.pit`, for counts and for censored outcomes.

    Returns:
      An `Evaluation`; for a dict of outcomes, a dict of evaluations by the name of the output.

    Raises:
      TypeError: if `model` is not a model, or does not end in a head.
      ValueError: if one of these is true:
        - `y` is missing, has a wrong shape or only one row, or an outcome is not finite or outside the support. (The
          message names the row.)
        - `y` names an unknown output, the outputs have no names, or the model has several outputs and `y` names none.
        - `x` is missing, is given with a distribution, or contains NaN or an infinite number.
        - `x` is a dataset, and it is empty, is infinite, has weights, or is given together with `y`.
        - A prediction is not finite, or a distribution has batch `[]`.
        - A level is not between 0 and 1, `batch_size` is not an int >= 1, or `seed` is not an int >= 0.

    Example:
      >>> round(evaluate(tfd.Normal(tf.zeros([3]), 1.0), y=[-1.0, 0.0, 1.0]).nll, 4)
      1.2523

    Source: Gneiting and Raftery, Strictly proper scoring rules, prediction, and estimation, 2007.
    """
    levels, seed = as_levels(levels), as_count("seed", seed, 0)
    if isinstance(y, Mapping):
        outputs = outputs_by_name(model, x, y, batch_size)
        return {name: evaluate(outputs[name], y=y[name], levels=levels, seed=seed) for name in y}
    rows = predicted_rows(model, x, y, batch_size)
    log_probs = class_log_probs(rows.distribution)
    if log_probs is not None:
        return _class_evaluation(rows, log_probs)
    return _number_evaluation(rows, levels, seed)


def as_levels(levels: Sequence[float]) -> tuple[float, ...]:
    """Returns the levels as a tuple of floats. Raises a `ValueError` if one is not a number between 0 and 1."""
    if not (np.ndim(levels) == 1 and all(isinstance(level, numbers.Real) and 0 < level < 1 for level in levels)):
        raise ValueError(f"`levels` is {levels}: give a list of numbers between 0 and 1, such as [0.9].")
    return tuple(map(float, levels))


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Scores and calibration of predicted distributions on `n` rows.

    An attribute that does not apply is None or, for `coverage`, `width` and `interval_score`, an empty dict.

    Smaller scores are better, except for `accuracy`; `coverage` should be near its level. If an outcome has several
    elements, a score is the mean over elements, except `nll` and `crps`, which are sums over the outcome. If a row is a
    sequence, a score is the mean over its steps.

    Attributes:
      num_rows: `n`.
      nll, nll_se: the mean negative log-likelihood, in nats, and its standard error. For a model with a latent variable
        `z`, `nll` is `-log p(y | z)` for one draw of `z`. It excludes the KL divergence and does not bound `-log p(y)`.
      crps: the mean of `nllfit.crps`, in the unit of the outcome: a sum over the event, or the energy score of a vector
        (`MultivariateNormalTriL`). None for classes.
      rmse, mae: the root mean squared and the mean absolute error of the point prediction, in the unit of the outcome.
        The point prediction is the mean. For a `Truncated` family it is the median. If the mean is infinite or NaN, the
        point prediction is the median or the mode.
      accuracy: for classes, the share of outcomes whose class has the largest probability.
      brier: for more than two classes, the mean of `sum_k (p_k - [k = y])^2`, between 0 and 2, where `[k = y]` is 1 for
        the observed class, else 0. For two classes, the mean of `(p - y)^2`, between 0 and 1, whether the head has one
        probability or two. scikit-learn's `brier_score_loss` has this convention.
      sharpness: the root mean square of the predicted standard deviations. For classes, the mean entropy of the
        predicted probabilities, in nats; the `nll` of a calibrated model is close to this entropy.
      calibration_error: the `miscalibration_area` of all PITs. For classes, the `expected_calibration_error` of the
        predicted class, in 15 bins.
      class_calibration_error: for classes, the `expected_calibration_error` of each class's probability, averaged over
        the classes.
      coverage, width, interval_score: `{level: value}` for the central intervals: the share of outcomes inside, the
        mean width, and the mean of `width + 2 / (1 - level) * distance of the outcome from the interval`.
      scores: `{name: values}`, the scores of each row, `[n]`: `nll`, `crps`, `squared_error`, `absolute_error`,
        `interval_score_0.9`; for classes `nll`, `brier` and `zero_one_loss`.
      pit: the predicted CDF at the outcome, `[n, *event]`, which is uniform if the model is correct. For a count, it is
        a random point within the step of the CDF at this count. For a censored outcome, it is a random point between
        the CDFs of the two ends. None for classes, for outcomes that contain the ends of their truncation window
        (`Truncated` with "row"), and if the CDF of the elements is unknown, as for a mixture of angles.
      probabilities: the class probabilities, `[n, *event, num_classes]`, or `[n, num_classes]` for one-hot rows. None
        if the outcomes are not classes.
      y: the outcomes.

    Source: Gneiting, Balabdaoui and Raftery, Probabilistic forecasts, calibration and sharpness, 2007; Czado, Gneiting
    and Held, Predictive model assessment for count data, 2009.
    """

    num_rows: int
    nll: float
    nll_se: float
    scores: dict[str, np.ndarray] = dataclasses.field(repr=False)
    y: np.ndarray = dataclasses.field(repr=False)
    crps: float | None = None
    rmse: float | None = None
    mae: float | None = None
    accuracy: float | None = None
    brier: float | None = None
    sharpness: float | None = None
    calibration_error: float | None = None
    class_calibration_error: float | None = None
    coverage: dict[float, float] = dataclasses.field(default_factory=dict)
    width: dict[float, float] = dataclasses.field(default_factory=dict)
    interval_score: dict[float, float] = dataclasses.field(default_factory=dict)
    pit: np.ndarray | None = dataclasses.field(default=None, repr=False)
    probabilities: np.ndarray | None = dataclasses.field(default=None, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Returns the scores of this evaluation by name, as values for JSON. Arrays are not included.

        `coverage`, `width` and `interval_score` are dicts by level.
        """
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        kept = {name: value for name, value in values.items() if name not in ("scores", "pit", "probabilities", "y")}
        for name in ("coverage", "width", "interval_score"):
            kept[name] = {str(level): value for level, value in kept[name].items()}
        return {name: value for name, value in kept.items() if value is not None and value != {}}

    def summary(self) -> str:
        """Returns the scores as a table of text."""
        labels = {"nll": "NLL (nats)", "calibration_error": "calibration error", "brier": "Brier score"}
        labels |= {
            "class_calibration_error": "class-wise calibration error",
            "crps": "CRPS",
            "rmse": "RMSE",
            "mae": "MAE",
        }
        numbers = {name: value for name, value in self.to_dict().items() if isinstance(value, float)}
        numbers.pop("nll_se")
        lines = [f"{f'on {self.num_rows} rows':<30}{'':>12}"]
        lines += [f"{labels.get(name, name):<30}{value:>12.5g}" for name, value in numbers.items()]
        lines[1] += f" +- {self.nll_se:.2g}"
        if self.coverage:
            lines.append(f"\n{'central interval':<18}{'coverage':>12}{'width':>12}{'score':>12}")
        for level, share in self.coverage.items():
            row = f"{100 * level:g}%"
            lines.append(f"{row:<18}{share:>12.4f}{self.width[level]:>12.5g}{self.interval_score[level]:>12.5g}")
        return "\n".join(lines)


def _class_evaluation(rows, log_probs):
    probs = np.minimum(np.exp(rows.counted(log_probs)), 1.0)  # rounding errors may give more than 1
    labels = rows.counted(class_labels(rows.y, rows.distribution))
    is_class, is_correct = labels[..., None] == np.arange(probs.shape[-1]), probs.argmax(-1) == labels
    brier = np.sum((probs - is_class) ** 2, -1) / (2 if probs.shape[-1] == 2 else 1)
    scores = {"nll": rows.counted(rows.nll), "brier": brier, "zero_one_loss": ~is_correct}
    by_class = [expected_calibration_error(probs[..., k], is_class[..., k]) for k in range(probs.shape[-1])]
    return Evaluation(
        **_common_fields(scores, rows.counted(rows.y)),
        accuracy=float(np.mean(is_correct)),
        brier=float(np.mean(brier)),
        sharpness=float(-np.sum(probs * np.log(np.where(probs > 0, probs, 1.0))) / is_correct.size),
        calibration_error=expected_calibration_error(probs.max(-1), is_correct),
        class_calibration_error=float(np.mean(by_class)),
        probabilities=probs,
    )


def _number_evaluation(rows, levels, seed):
    rng = np.random.default_rng(seed)
    block_scores = [_by_row(block, levels, rng) for block in rows.blocks(max(1, 2 * len(levels)))]
    by_name = {name: np.concatenate([part[name] for part in block_scores]) for name in block_scores[0]}
    pit = np.clip(by_name.pop("pit"), 0, 1) if "pit" in by_name else None  # rounding errors may give more than 1
    mean = {name: float(np.mean(values)) for name, values in by_name.items()}
    losses = [name for name in by_name if name == "crps" or "error" in name or "score" in name]
    with_intervals = [level for level in levels if f"width_{level}" in by_name]
    return Evaluation(
        **_common_fields(
            {"nll": rows.counted(rows.nll)} | {name: by_name[name] for name in losses}, rows.counted(rows.y)
        ),
        crps=mean.get("crps"),
        rmse=math.sqrt(mean["squared_error"]) if "squared_error" in mean else None,
        mae=mean.get("absolute_error"),
        sharpness=math.sqrt(mean["variance"]) if math.isfinite(mean.get("variance", math.inf)) else None,
        calibration_error=None if pit is None else miscalibration_area(pit),
        coverage={level: mean[f"coverage_{level}"] for level in with_intervals},
        width={level: mean[f"width_{level}"] for level in with_intervals},
        interval_score={level: mean[f"interval_score_{level}"] for level in with_intervals},
        pit=pit,
    )


def _by_row(block, levels, rng):
    """Returns the scores `{name: [m]}` of the `m` rows that the mask does not exclude.

    The score of a row is a mean over the elements of the outcome. Only the CRPS is a sum over them. The values named
    "pit" are the PITs of the single elements.
    """
    scores = {name: block.counted(values) for name, values in _scored(block.distribution, block.y, levels, rng).items()}
    return {name: values if name == "pit" else _row_means(values) for name, values in scores.items()}


def _row_means(values):
    return np.mean(values, tuple(range(1, np.ndim(values))))


def _scored(distribution, y, levels, rng):
    """Returns the scores that exist for the family, `{name: [n, ..., *event]}`. The shape of the CRPS is `[n, ...]`."""
    scores: dict[str, np.ndarray] = {}
    y = np.asarray(in_one_turn(law_of(distribution), y))
    latent = law_of(distribution).latent()
    if latent is not distribution:  # a censored outcome has a PIT, but its error and coverage are unknown
        return {"pit": interval_pits(latent, y, rng)} if is_censored(distribution) else scores
    with contextlib.suppress(NotImplementedError):
        scores["crps"] = np.asarray(crps(y, distribution), np.float64)
    with contextlib.suppress(NotImplementedError):
        error = np.asarray(y, np.float64) - np.asarray(law_of(distribution).central_value(), np.float64)
        scores |= {"squared_error": error**2, "absolute_error": np.abs(error)}
    with contextlib.suppress(NotImplementedError):
        scores["variance"] = np.asarray(distribution.variance(), np.float64)
    with contextlib.suppress(NotImplementedError):
        scores |= {"pit": pit(distribution, y, rng)} | _interval_scores(distribution, y, levels)
    return scores


def _interval_scores(distribution, y, levels):
    tails = [(1 - level) / 2 for level in levels]
    ends = np.asarray(quantile(distribution, tails + [1 - tail for tail in tails]), np.float64)
    scores = {}
    for level, low, high in zip(levels, ends[: len(levels)], ends[len(levels) :], strict=True):
        outside = np.maximum(low - y, 0) + np.maximum(y - high, 0)
        scores[f"coverage_{level}"] = outside == 0
        scores[f"width_{level}"] = high - low
        scores[f"interval_score_{level}"] = high - low + 2 / (1 - level) * outside
    return scores


def _common_fields(scores, y):
    """Returns the fields that all evaluations have. `scores` are `{name: values}`, with values `[n, ...]`."""
    scores = {name: _row_means(values) for name, values in scores.items()}
    nll = scores["nll"]
    nll_se = np.std(nll, ddof=1) / math.sqrt(len(nll))
    return {"num_rows": len(y), "nll": float(np.mean(nll)), "nll_se": float(nll_se), "scores": scores, "y": y}
