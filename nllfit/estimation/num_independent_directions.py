"""The number of parameters that a likelihood can determine. One logit of a softmax, for example, is redundant."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from nllfit.adapters.tensorflow import trace
from nllfit.estimation.coordinates import Coordinates
from nllfit.families.family_base import ParametricFamily
from nllfit.families.inflated import Hurdle, ZeroInflated
from nllfit.families.truncated import Truncated

__all__ = ["num_independent_directions"]

_STEP = 1e-2  # the finite differences change a coordinate by this step, and by twice this step
# Singular values up to this number are treated as 0, because they may be errors of the finite differences.
_TOLERANCE = 1e-6


def num_independent_directions(coordinates: Coordinates, values: Callable[..., Any], dtype: tf.DType) -> int:
    """Returns the number of independent directions of the coordinates `w` `[p]` that change a density.

    For example, adding a constant to all inputs of a softmax changes no density. The result is the rank of the scores
    (gradients of the log-density) of random outcomes at a random `w`. The scores of the sample at its optimum are not
    suitable: their weighted sum is 0, so `k` distinct outcomes give a rank of at most `k - 1`, even if more directions
    change a density.

    Args:
      coordinates: the coordinates of the free parameters.
      values: the traced log-densities, as in `Density.values`.
      dtype: the dtype of the outcomes.
    """
    size, rank = coordinates.size, 0
    if not size:
        return 0
    w = 0.5 * np.random.default_rng(0).standard_normal(size)
    # Fourth-order central differences reuse the trace of `values` and are accurate to about ten digits.
    moves = _STEP * np.array([1, -1, 2, -2])[:, None, None] * np.eye(size)
    points = coordinates.points(tf.constant((w + moves).reshape(-1, size)), coordinates.held)
    scores = np.zeros([0, size])
    for y in _outcomes(coordinates, w, 20 + 10 * size, dtype):
        found = values(points, coordinates.held, y[None], tf.ones([1], tf.float64)).numpy()
        up, down, far_up, far_down = found.reshape(4, size)
        with np.errstate(invalid="ignore"):  # -inf minus -inf, outside the support
            score = (8 * (up - down) - (far_up - far_down)) / (12 * _STEP)
        scores = np.append(scores, np.where(np.isfinite(score), score, 0.0)[None], 0)
        norms = np.linalg.norm(scores, axis=0)
        rank = int(np.linalg.matrix_rank(scores / np.maximum(norms, np.finfo(float).tiny), tol=_TOLERANCE))
        if rank == size:
            break
    return rank


def _outcomes(coordinates: Coordinates, w: np.ndarray, count: int, dtype: tf.DType) -> tf.Tensor:
    """Draws random outcomes `[count, *event]` with a positive density at `w`."""
    tiled = tf.constant(np.tile(w, (count, 1)))

    def outcomes():
        return _drawn(coordinates.family, coordinates.constrained(tiled, coordinates.held) | coordinates.held)

    if _is_drawn_by_cdf(coordinates.family):  # a trace would take longer than the draw
        return tf.cast(outcomes(), dtype)
    # The draw is traced, because some of TFP's samplers are `tf.function`s, and TensorFlow warns of retracing if they
    # are called eagerly with many shapes.
    return tf.cast(trace(tf.function(outcomes, autograph=False))(), dtype)


def _drawn(family: ParametricFamily, parameters: dict[str, Any]) -> tf.Tensor:
    distribution = family.build(parameters, tf.float64)
    try:
        # The bijector below maps random numbers to outcomes near 0. If a location is held far from 0, or if the family
        # is truncated or zero-inflated, outcomes near 0 may have density 0. We then draw from the distribution instead.
        if "loc" in family.fixed or isinstance(family, (Truncated, ZeroInflated)):
            return distribution.sample(seed=(0, 0))
        bijector = distribution.experimental_default_event_space_bijector()
        shape = distribution.batch_shape + bijector.inverse_event_shape(distribution.event_shape)
        return bijector.forward(tf.constant(np.random.default_rng(0).standard_normal(shape)))
    except (AttributeError, NotImplementedError, TypeError, ValueError):
        # Counts have no such bijector, and the bijectors of a few families fail in TFP 0.25. Some of these families can
        # only be sampled in float32.
        in_float32 = {name: tf.cast(value, tf.float32) for name, value in parameters.items()}
        return family.build(in_float32, tf.float32).sample(seed=(0, 0))


def _is_drawn_by_cdf(family: ParametricFamily) -> bool:
    """Whether a family's outcomes are drawn by inverting the CDF within a window.

    For a `Hurdle` of counts, the window contains all counts above 0.
    """
    return family.is_discrete if isinstance(family, Hurdle) else isinstance(family, Truncated) and not family.columns
