"""Recalibration: a rising map of probabilities, found on held-out rows, behind every predicted distribution."""

from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from numpy.typing import ArrayLike
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from nllfit.calibration.calibrated import Calibrated, real_elements, remade_as, rows_for_calibration
from nllfit.calibration.remade import Remade, normal, quantiles_at, scores_of
from nllfit.kerases import Model

__all__ = ["Recalibrated", "recalibrate"]

_END = 40.0  # of the scores that are mapped
_LEAST = 1e-4  # between two of the predicted scores, for float32 tells them apart up to 40


def recalibrate(model: Model, x: Any, y: ArrayLike | None = None, *, batch_size: int = 32) -> "Recalibrated":
    """Maps the predicted probabilities to those with which held-out outcomes came.

    A predicted CDF `F(y | x)` becomes `R(F(y | x))`, of density `R'(F(y | x)) f(y | x)`, with one rising function `R`
    for all rows: the distribution function of the held-out PITs, so that those become uniform. It mends a spread that
    is too small or too large, a bias and a shape that are wrong for all `x` alike; not one that is wrong for some.

    `R` is smooth: in Normal scores, `Phi^-1(R(Phi(z)))`, a spline through the share of held-out rows at about
    `2 n^(1/3)` of their PITs, and towards either end at those of rank 1, 2, 4 and so on. Scores tell tails apart, so
    that a spread may be wrong tenfold.
    A model that was calibrated loses some thousandths of a nat by it with 1000 rows, and some hundredths with 100.

    Args:
      model: a model of either Keras whose head has real outcomes, of one element or of several that are independent
        (each has its own `R`), or an `Ensemble` of such with one element.
      x, y: rows that the model was not trained on, as `nllfit.evaluate` takes them; some hundreds.
      batch_size: rows a call of the model.

    Returns:
      A `Recalibrated` model.

    Raises:
      TypeError: if `model` is no model, or does not end in a head.
      ValueError: if its outcomes are classes or counts, or of several elements that depend on each other; and for
        outcomes that `nllfit.evaluate` refuses.

    Example:
      >>> rng = np.random.default_rng(0)
      >>> x, y = np.ones([500, 3], "float32"), rng.normal(5.0, 1.0, [500, 1])
      >>> evaluate(recalibrate(model, x[:400], y[:400]), x[400:], y[400:]).calibration_error < 0.1
      True

    Source: Kuleshov, Fenner and Ermon, Accurate uncertainties for deep learning using calibrated regression, 2018; the
    spline is that of Gregory and Delbourgo, Piecewise rational quadratic interpolation to monotonic data, 1982.
    """
    rows = rows_for_calibration(model, x, y, batch_size)
    scores = rows.counted(scores_of(real_elements(rows.distribution), rows.y))
    scores = np.sort(np.reshape(scores, [-1, *rows.distribution.event_shape]), axis=0)
    ranks = _ranks(len(scores))
    observed = tf.math.ndtri(tf.constant(ranks / (len(scores) + 1)))
    return Recalibrated(model, np.moveaxis(_apart(scores[ranks - 1]), 0, -1), observed)


class Recalibrated(Calibrated):
    """A model whose predicted probabilities are mapped by a rising spline; `recalibrate` finds it.

    Its distributions have a density, a CDF and quantiles, and a mean and variance by a sum, exact to some hundredths
    of a standard deviation. `save(folder)` keeps it, and `Recalibrated.load(folder)` brings it back.

    Args:
      model: as of `recalibrate`.
      predicted: `[*event, k]`, the Normal scores `Phi^-1(F)` of predicted probabilities; they rise.
      observed: `[k]`, the scores of the probabilities with which outcomes came below; they rise, too.

    Raises:
      ValueError: if one of them does not rise, is beyond 40, or they are not as many.

    Example:
      >>> twice_as_wide = Recalibrated(model, [[-2.0, 0.0, 2.0]], [-1.0, 0.0, 1.0])
      >>> twice_as_wide(x).event_shape
      TensorShape([1])
    """

    def __init__(self, model: Any, predicted: ArrayLike, observed: ArrayLike):
        super().__init__(model)
        for name, values in (("predicted", predicted), ("observed", observed)):
            if not np.all(np.diff(np.asarray(values, float), prepend=-_END, append=_END) > 0):
                raise ValueError(f"`{name}` must rise, between -{_END:g} and {_END:g}: it is {values!r}.")
        self.predicted, self.observed = np.asarray(predicted, float), np.asarray(observed, float)
        if self.observed.shape != self.predicted.shape[-1:]:
            shapes = f"{self.predicted.shape} and {self.observed.shape}"
            raise ValueError(f"`predicted` and `observed` have shapes {shapes}: give as many of either, [*event, k].")

    def get_config(self) -> dict[str, Any]:
        return {"predicted": self.predicted.tolist(), "observed": self.observed.tolist()}

    def calibrate(self, distribution: tfd.Distribution) -> tfd.Distribution:
        elements = real_elements(distribution)
        if self.predicted.shape[:-1] != tuple(distribution.event_shape):
            raise ValueError(
                f"`predicted` is for outcomes of shape {self.predicted.shape[:-1]}, but the model's have "
                f"{tuple(distribution.event_shape)}."
            )
        knots = (tf.constant(values, distribution.dtype) for values in (self.predicted, self.observed))
        return remade_as(distribution, elements, _Mapped, *knots)


def _ranks(n):
    """The ranks, from 1 to `n`, of the PITs that the spline goes through."""
    step = n / max(2, round(2 * n ** (1 / 3)))
    tail = 2.0 ** np.arange(max(0, np.ceil(np.log2(0.7 * step))))
    ranks = np.concatenate([tail, np.arange(step, n - 0.5, step), n + 1 - tail])
    return np.unique(np.clip(ranks.round(), 1, n)).astype(int)


def _apart(scores):
    """Sorted scores `[k, ...]`, moved as little as is needed to rise."""
    least = _LEAST * np.arange(len(scores)).reshape([-1, *[1] * (scores.ndim - 1)])
    return np.maximum.accumulate(scores - least) + least


def _steps(values):
    values = tf.cast(values, tf.float64)
    end = tf.fill(tf.shape(values[..., :1]), tf.constant(_END, tf.float64))
    return tf.concat([values, end], -1) - tf.concat([-end, values], -1)


class _Mapped(Remade):
    """A scalar distribution behind a rising map of its CDF, of the dtype of the knots; it computes in float64."""

    def __init__(self, distribution, predicted, observed, validate_args=False, name="Recalibrated"):
        parameters = dict(locals())
        self.predicted, self.observed = predicted, observed
        super().__init__(distribution, predicted.dtype, validate_args, parameters, name)

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        knots = tfp.util.ParameterProperties(event_ndims=1)
        components = tfp.util.BatchedComponentProperties()
        return {"distribution": components, "predicted": knots, "observed": knots}

    @property
    def spline(self):
        """The map of the scores of predicted probabilities to those with which outcomes came."""
        widths, heights = map(_steps, (self.predicted, self.observed))
        # Slopes as of a monotone cubic (Fritsch and Butland, 1984); at either end the slope is 1.
        rises, left, right = heights / widths, widths[..., :-1], widths[..., 1:]
        slopes = 3 * (left + right) / ((left + 2 * right) / rises[..., :-1] + (2 * left + right) / rises[..., 1:])
        return tfb.RationalQuadraticSpline(widths, heights, slopes, range_min=tf.constant(-_END, tf.float64))

    def _log_prob(self, y):
        spline, scores = self.spline, scores_of(self.base, y)
        change = normal().log_prob(spline.forward(scores)) - normal().log_prob(scores)
        change += spline.forward_log_det_jacobian(scores, 0)
        return tf.cast(self.base.log_prob(tf.cast(y, self.base.dtype)), self.returned) + tf.cast(change, self.returned)

    def _cdf(self, y):
        return tf.cast(normal().cdf(self.spline.forward(scores_of(self.base, y))), self.returned)

    def _survival_function(self, y):
        return tf.cast(normal().cdf(-self.spline.forward(scores_of(self.base, y))), self.returned)

    def _at(self, scores):
        return quantiles_at(self.base, self.spline.inverse(scores))
