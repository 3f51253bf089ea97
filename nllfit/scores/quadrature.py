"""CRPS of any scalar distribution by its CDF: the double-exponential rule between its quantiles."""

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.families.cdfs import cdf_and_survival, ends
from nllfit.families.inversion import inverse_cdf
from nllfit.families.kinds import MIXTURE, MIXTURE_SAME_FAMILY
from nllfit.families.marginals import constant

__all__ = ["crps_by_quadrature"]

_LEVELS = np.array([0.02, 0.5, 0.98])
_FAR = 20  # distances from the median to a quantile
_CORNERS = {"Triangular": "peak", "TwoPieceNormal": "loc", "TwoPieceStudentT": "loc"}
_STEP = 0.1
# On a finite piece `[a, b]` at `a + (b - a) share`: tanh-sinh. Its ends may be poles of a density.
_U = np.arange(-3.4, 3.4 + _STEP / 2, _STEP)
_SHARES = 1 / (1 + np.exp(-np.pi * np.sinh(_U)))
_WEIGHTS = _STEP * np.pi * np.cosh(_U) * _SHARES * (1 - _SHARES)
# Beyond all pieces at a distance in units of their spread: exp-sinh. It reaches 1e23 of them; farther out
# the square of a survival function of 1e-16, where a family has no digits below that, would be counted.
_V = np.arange(-3.6, 4.2 + _STEP / 2, _STEP)
_DISTANCES = np.exp(np.pi / 2 * np.sinh(_V))
_DISTANCE_WEIGHTS = _STEP * np.pi / 2 * np.cosh(_V) * _DISTANCES


def crps_by_quadrature(distribution: tfd.Distribution, y: tf.Tensor) -> tf.Tensor:
    """`integral of (F(z) - [y <= z])^2 dz` of a scalar continuous distribution, or a mixture of such, by its CDF `F`.

    The real line is cut at the outcome and, for each component, at the ends of the support, at the quantiles 0.02, 0.5
    and 0.98, and far outside of these, where a light tail has ended. On each piece `F` is smooth, if it has no corner
    of its own, and the double-exponential rule converges as fast as numbers have digits, poles of the density at the
    ends and tails like those of a Cauchy included.

    Args:
      distribution: of batch `[*batch]`, without assertions, as `marginals` gives it.
      y: `[*batch]`, in float64.

    Source: Takahasi and Mori, Double exponential formulas for numerical integration, 1974.
    """
    both, rank = cdf_and_survival(distribution), distribution.batch_shape.rank
    inner, *is_open = _cuts(distribution)
    inner = tf.stop_gradient(inner) + tf.zeros_like(y)
    cuts = tf.sort(tf.concat([inner, y[None]], 0), 0)

    shares, weights = (_column(values, rank + 1) for values in (_SHARES, _WEIGHTS))
    start, width = cuts[:-1], cuts[1:] - cuts[:-1]
    below, above = both(start + width * shares)
    total = tf.reduce_sum(tf.square(tf.where(start < y, below, above)) * weights * width, [0, 1])

    distances, weights = (_column(values, rank) for values in (_DISTANCES, _DISTANCE_WEIGHTS))
    outward = cuts[0] - tf.reduce_max(inner, 0), cuts[-1] - tf.reduce_min(inner, 0)
    for tail, (end, scale) in enumerate(zip((cuts[0], cuts[-1]), outward, strict=True)):
        scale = tf.where(is_open[tail], scale, 0.0)
        probability = both(end + scale * distances)[tail]
        total += tf.reduce_sum(tf.square(probability) * weights, 0) * tf.abs(scale)
    return total


def _column(values, rank):
    return tf.constant(values.reshape([-1, *[1] * rank]), tf.float64)


def _cuts(distribution):
    """Numbers `[num, *batch]` between which the CDF is smooth, and whether the support has no end below, and above."""
    if isinstance(distribution, MIXTURE_SAME_FAMILY):
        cuts, *is_open = _cuts(distribution.components_distribution)
        rank = cuts.shape.rank
        cuts = tf.transpose(cuts, [rank - 1, *range(rank - 1)])
        cuts = tf.reshape(cuts, tf.concat([[-1], tf.shape(cuts)[2:]], 0))
        return cuts, *(tf.reduce_any(one, -1) for one in is_open)
    if isinstance(distribution, MIXTURE):
        cuts, *is_open = zip(*map(_cuts, distribution.components), strict=True)
        return tf.concat(cuts, 0), *(tf.reduce_any(tf.stack(one), 0) for one in is_open)
    distribution = constant(distribution)
    levels = _column(_LEVELS, distribution.batch_shape.rank)
    low, middle, high = tf.unstack(inverse_cdf(distribution, levels), num=3)
    bottom, top = (end + tf.zeros_like(middle) for end in ends(distribution))
    corner = getattr(distribution, _CORNERS.get(type(distribution).__name__, ""), middle) + tf.zeros_like(middle)
    far = tf.maximum(low - _FAR * (middle - low), bottom), tf.minimum(high + _FAR * (high - middle), top)
    is_open = ~tf.math.is_finite(bottom), ~tf.math.is_finite(top)
    ends_or_middle = [tf.where(one, middle, end) for one, end in zip(is_open, (bottom, top), strict=True)]
    return tf.stack([*ends_or_middle, low, middle, high, corner, *far]), *is_open
