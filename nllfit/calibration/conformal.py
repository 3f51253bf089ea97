"""Conformal intervals: held-out outcomes determine how far the ends move, which guarantees the coverage."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from nllfit.adapters import Model
from nllfit.calibration.calibrated import Calibrated, real_elements, rows_for_calibration, with_event_of
from nllfit.calibration.calibrated_distribution import CalibratedDistribution, quantiles_at, with_knots
from nllfit.calibration.conformal_counts import MovedCounts
from nllfit.evaluation.evaluations import as_levels
from nllfit.families.copies import real_dtype
from nllfit.families.discreteness import is_discrete, line
from nllfit.families.law import law_of

__all__ = ["Conformalized", "conformalize"]

# When two neighbouring ends move, at least this share of their distance remains. (This does not apply to counts.)
_MIN_SHARE = 1e-3
_BELOW_ONE = 1 - 1e-12  # so that a product such as 100 * 0.55 = 55.00000000000001 is not rounded up to 56


def conformalize(
    model: Model,
    x: Any,
    y: ArrayLike | None = None,
    *,
    levels: Sequence[float] = (0.5, 0.8, 0.9, 0.95),
    batch_size: int = 32,
) -> "Conformalized":
    """Widens or narrows a model's central intervals, so that they contain new outcomes with the stated probability.

    The error of an interval `[l, u]` at a held-out row is `max(l - y, y - u)`: the distance of the outcome from the
    interval, negative if it is inside. Both ends move outward by the `k`-th smallest of the `n` errors, with
    `k = ceil((n + 1) level)`, or inward if this error is negative. If new rows are exchangeable with the held-out rows,
    the interval contains the outcome with a probability of at least `level`, whatever the model. This probability is a
    mean over sets of held-out rows. For real outcomes, the coverage with one set is a draw from a
    `Beta(k, n + 1 - k)` distribution.

    Intervals of several levels are nested. Distances of counts and of unbounded real numbers are in the unit of the
    outcome. Outcomes that are positive or lie between two bounds are first mapped to the real line by TFP's bijector
    for the support. Their distances are measured there, so the moved intervals stay inside the support.

    Args:
      model: a Keras 2 or Keras 3 model whose head has real outcomes or counts, with one element or several independent
        elements; or an `Ensemble` or a `Laplace` of such models, if outcomes have one element. Each element of an
        outcome has its own corrections. Each step of a sequence has its own corrections, computed from the rows in
        which Keras does not mask the step.
      x, y: rows that the model was not trained on, in the forms that `nllfit.evaluate` takes.
      levels: the probabilities of the intervals, each at most `n / (n + 1)`.
      batch_size: the number of rows in each call of the model.

    Returns:
      A `Conformalized` model. `nllfit.interval(predict_distribution(conformalized, x), level)` returns its intervals.

    Raises:
      TypeError: if `model` is not a model, or does not end in a head.
      ValueError: if one of these is true:
        - `levels` is empty, a level is not between 0 and 1, or there are too few rows for a level.
        - The outcomes are classes, angles, amounts that are 0 with a positive probability, or intervals, or they have
          several dependent elements.
        - So many outcomes are at an end of the support that an interval would have to reach this end.
        - `nllfit.evaluate` refuses the outcomes.

    Example:
      >>> rng = np.random.default_rng(0)
      >>> x, y = np.ones([500, 3], "float32"), rng.normal(5.0, 1.0, [500, 1])
      >>> conformal = conformalize(model, x[:400], y[:400], levels=(0.9,))
      >>> 0.8 < evaluate(conformal, x[400:], y[400:]).coverage[0.9] < 1.0
      True

    Source: Romano, Patterson and Candes, Conformalized quantile regression, 2019; Vovk, Conditional validity of
    inductive conformal predictors, 2012.
    """
    levels = sorted(set(as_levels(levels)))
    if not levels:
        raise ValueError("`levels` is empty: give numbers between 0 and 1, such as [0.9].")
    rows = rows_for_calibration(model, x, y, batch_size)
    elements = real_elements(rows.distribution, or_counts=True)
    ranks = _ranks(rows, levels)
    bijector = _real_line_bijector(elements)
    low, high = _ends(elements, levels)
    outcomes = tf.cast(bijector.inverse(tf.cast(rows.y, elements.dtype)), tf.float64)
    errors = np.maximum(low - outcomes, outcomes - high)  # [levels, n, *steps, *event]
    if rows.mask is not None:
        errors[:, ~rows.mask] = np.inf
    ranks = np.broadcast_to(ranks, [len(levels), 1, *errors.shape[2:]])
    distances = np.take_along_axis(np.sort(errors, axis=1), ranks - 1, axis=1)[:, 0]
    if not np.isfinite(distances).all():
        level = levels[int(np.argmax(~np.isfinite(distances.reshape([len(levels), -1])).all(1)))]
        raise ValueError(
            f"`y` has many outcomes at an end of the support of {rows.distribution.name}, which an interval of level "
            f"{level:g} would have to reach: give a smaller level, or a model and rows without such outcomes."
        )
    return Conformalized(model, dict(zip(levels, distances, strict=True)))


class Conformalized(Calibrated):
    """A model in which the ends of the central intervals are moved. `conformalize` returns it.

    The moved ends are quantiles of the new distributions. Between two moved ends, a new distribution is the model's
    distribution, stretched or shrunk. Beyond the outermost ends it is the model's distribution, shifted. (If the
    outcomes are counts and the lowest end moves up, the counts below this end are not shifted.) So a new distribution
    has a density, or a probability of each count. `save(folder)` writes the model, and `Conformalized.load(folder)`
    reads it.

    Args:
      model: as for `conformalize`.
      corrections: `{level: distance}`. Both ends of the interval of probability `level` move outward by the distance.
        The distance is a number, or an array of the shape of one row's outcome. `conformalize` explains the unit.

    Raises:
      ValueError: if a level is not between 0 and 1, or there is no level.
      ValueError: in a call of the model, if `conformalize` does not support the outcomes, or if the shape of a
        correction does not fit the outcomes, for example because sequences have another length.

    Example:
      >>> wider = Conformalized(model, {0.9: 1.0})
      >>> before, after = (interval(predict_distribution(m, x), 0.9) for m in (model, wider))
      >>> (after[1] - before[1]).numpy().round(3).tolist()
      [[1.0], [1.0], [1.0], [1.0]]
    """

    def __init__(self, model: Any, corrections: Mapping[float, ArrayLike]):
        super().__init__(model)
        corrections = {float(level): correction for level, correction in dict(corrections).items()}
        if not corrections or not all(0 < level < 1 for level in corrections):
            raise ValueError(f"`corrections` has the levels {list(corrections)}: give numbers between 0 and 1.")
        self.corrections = {level: np.asarray(corrections[level], float) for level in sorted(corrections)}

    def get_config(self) -> dict[str, Any]:
        return {"corrections": {str(level): values.tolist() for level, values in self.corrections.items()}}

    def calibrate(self, distribution: tfd.Distribution) -> tfd.Distribution:
        elements = real_elements(distribution, or_counts=True)
        self._check_shape(elements.batch_shape[min(1, distribution.batch_shape.rank) :])
        low, high = _ends(elements, list(self.corrections))
        if is_discrete(elements):
            return self._of_counts(distribution, elements, low, high)
        moved_low, moved_high = low[0], high[0]
        margin = _MIN_SHARE * (high[0] - low[0])
        at: list = []
        to: list = []
        for i, correction in enumerate(self.corrections.values()):
            new_low, new_high = low[i] - correction, high[i] + correction
            if i == 0:  # an empty interval becomes a narrow one
                middle = (new_low + new_high) / 2
                moved_low, moved_high = tf.minimum(new_low, middle - margin), tf.maximum(new_high, middle + margin)
            else:
                moved_low = tf.minimum(new_low, moved_low - _MIN_SHARE * (low[i - 1] - low[i]))
                moved_high = tf.maximum(new_high, moved_high + _MIN_SHARE * (high[i] - high[i - 1]))
            at, to = [low[i], *at, high[i]], [moved_low, *to, moved_high]
        knots = (tf.cast(tf.stack(values, -1), distribution.dtype) for values in (at, to))
        return with_event_of(distribution, elements, _Moved, *knots)

    def _check_shape(self, of_row):
        """Raises a `ValueError` if the shape of a correction does not fit `of_row`, the shape of one row's outcome."""
        for level, correction in self.corrections.items():
            first = of_row.rank - correction.ndim
            if first < 0 or not of_row[first:].is_compatible_with(correction.shape):
                raise ValueError(
                    f"The correction of level {level:g} has shape {correction.shape}, but the outcome of a row has "
                    f"shape {tuple(of_row)}: give sequences of the length that the held-out rows had."
                )

    def _of_counts(self, distribution, elements, low, high):
        least, most = (tf.cast(end, tf.float64) for end in law_of(elements).ends())
        at: list = []
        to: list = []
        for i, correction in enumerate(self.corrections.values()):
            new_low = tf.clip_by_value(low[i] - correction, least, most)
            new_high = tf.clip_by_value(high[i] + correction, least, most)
            if i == 0:  # an interval that would be empty becomes one count
                middle = tf.math.floor((new_low + new_high) / 2)
                new_low, new_high = tf.minimum(new_low, middle), tf.maximum(new_high, middle)
            else:
                new_low, new_high = tf.minimum(new_low, to[0]), tf.maximum(new_high, to[-1])
            at, to = [low[i], *at, high[i]], [new_low, *to, new_high]
        tails = [(1 - level) / 2 for level in reversed(self.corrections)]
        levels = [*tails, *(1 - tail for tail in reversed(tails))]
        knots = (tf.cast(tf.stack(values, -1), real_dtype(distribution)) for values in (at, to))
        return with_event_of(distribution, elements, MovedCounts, *knots, tf.constant(levels, tf.float64))


def _ranks(rows, levels):
    """Returns the ranks `k` of the errors that decide how far the ends of intervals move.

    The smallest error has the rank 1. The shape is `[levels, 1, *steps, *event]`.
    """
    counts = np.array(len(rows.y)) if rows.mask is None else np.sum(rows.mask, 0)
    products = (counts + 1) * np.reshape(levels, [-1, *[1] * counts.ndim])
    ranks = np.ceil(products * _BELOW_ONE).astype(int)
    if np.any(ranks[-1] > counts):
        top, step = levels[-1], np.argmin(counts)
        needed = math.ceil(top / (1 - top) * _BELOW_ONE)
        where = f" that are not masked at step {step}: cut the sequences before it" * (rows.mask is not None)
        raise ValueError(
            f"An interval of level {top:g} needs {needed} held-out rows, but there are {np.ravel(counts)[step]}{where}."
        )
    return ranks.reshape([len(levels), 1, *counts.shape, *[1] * rows.distribution.event_shape.rank])


def _real_line_bijector(distribution):
    """Returns TFP's map from the real line to the support of a scalar distribution."""
    return tfb.Identity() if is_discrete(distribution) else line(distribution) or tfb.Identity()


def _ends(distribution, levels):
    """Returns the lower and the upper ends of central intervals on the real line, two tensors `[levels, *batch]`."""
    tails = (1 - np.reshape(levels, [-1, *[1] * distribution.batch_shape.rank])) / 2
    law, bijector = law_of(distribution), _real_line_bijector(distribution)

    def on_line(*levels):
        quantile = law.quantile(*levels)
        end = bijector.inverse(quantile)
        # A quantile of a Beta may be rounded to 1, which is infinity on the real line. Then we use the float below 1.
        inner = bijector.inverse(tf.math.nextafter(quantile, tf.cast(law.some_outcome(), quantile.dtype)))
        return tf.cast(tf.where(tf.math.is_inf(end), inner, end), tf.float64)

    first, second = on_line(tails), on_line(1 - tails, tails)
    return tf.minimum(first, second), tf.maximum(first, second)  # a decreasing bijector swaps the ends


class _Moved(CalibratedDistribution):
    """A scalar distribution, transformed on the real line by a piecewise linear map from the points `at` to `to`."""

    def __init__(self, distribution, at, to, validate_args=False, name="Conformalized"):
        self.at, self.to = at, to
        self._begin(dict(locals()), at.dtype)

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return with_knots("at", "to")

    def _origin(self, y):
        """Returns the point that the map sends to `y`, and the log of this point's derivative with respect to `y`."""
        bijector = _real_line_bijector(self.distribution)
        y = bijector.inverse(tf.cast(y, self.distribution.dtype))
        source, slope = _piecewise_linear(y, self.to, self.at)
        change = tf.math.log(slope) + bijector.forward_log_det_jacobian(source) - bijector.forward_log_det_jacobian(y)
        return bijector.forward(source), change

    def _log_prob(self, y):
        source, change = self._origin(y)
        return tf.cast(self.distribution.log_prob(source) + change, self.dtype)

    def _cdf(self, y):
        return tf.cast(law_of(self.distribution).cdf()(self._origin(y)[0])[0], self.dtype)

    def _survival_function(self, y):
        return tf.cast(law_of(self.distribution).cdf()(self._origin(y)[0])[1], self.dtype)

    def _at_scores(self, scores):
        bijector = _real_line_bijector(self.distribution)
        source = bijector.inverse(tf.cast(quantiles_at(self.distribution, scores), self.distribution.dtype))
        return tf.cast(bijector.forward(_piecewise_linear(source, self.at, self.to)[0]), tf.float64)


def _piecewise_linear(y, start, end):
    """Returns the values and the slopes of a piecewise linear function at `y`, two tensors `[..., *batch]`.

    The function passes through the points `(start, end)` `[*batch, k]`. Beyond these points the slope is 1. The
    function jumps where two elements of `start` are equal.
    """
    start, end = (tf.cast(points, y.dtype) for points in (start, end))
    widths, heights = start[..., 1:] - start[..., :-1], end[..., 1:] - end[..., :-1]
    rises = heights / tf.where(widths > 0, widths, tf.ones_like(widths))
    inside = tf.minimum(tf.maximum(y[..., None], start[..., :-1]), start[..., 1:]) - start[..., :-1]
    beyond = tf.minimum(y - start[..., 0], 0) + tf.maximum(y - start[..., -1], 0)
    passed = (widths <= 0) & (y[..., None] >= start[..., 1:])
    mapped = end[..., 0] + tf.reduce_sum(tf.where(passed, heights, inside * rises), -1) + beyond
    is_inside = (y[..., None] >= start[..., :-1]) & (y[..., None] < start[..., 1:])
    slope = tf.reduce_sum(tf.where(is_inside, rises, tf.zeros_like(rises)), -1)
    return mapped, tf.where(tf.reduce_any(is_inside, -1), slope, tf.ones_like(slope))
