"""Computes the log-probability of an interval, accurately in both tails and for intervals of any width.

The difference of two CDF values loses digits if both values are near 1. So we subtract the left tails at the two ends
of the interval, or the right tails, whichever are smaller. If the interval is narrow, the two tails are nearly equal,
and the difference loses digits, too. Then we integrate the density, or sum the probabilities of the counts.
"""

import math
from typing import Any

import numpy as np
import tensorflow as tf

from nllfit.families.facts import Tails
from nllfit.families.numerics import log1mexp

__all__ = ["LogInterval", "between_counts", "between_numbers", "by_quadrature", "middle", "within"]

LogInterval = Any
"""`(lower, upper) -> log P(lower < Y <= upper)`."""

_NARROW = 0.5  # nats: if two log-tails are closer than this, the difference of the tails loses digits
_TINY = 1e-250  # probabilities below this may have lost digits by underflow
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)
_NEGLIGIBLE = 700.0  # nats: where the log-density is this much lower than at the start of the tail, we take it as -inf
_STEP = 1e-6  # the relative step of the difference quotient of a log-density
_TERMS = 64  # the maximum number of counts whose probabilities are summed
# A tail is integrated over a variable `u` by Gauss-Legendre quadrature on the panels between the numbers `_PANELS`. The
# distance from the start of the tail is `exp(u) - 1`. The unit of this distance is `p / f`, where `p` is the tail
# probability and `f` is the density at the start. A light tail is negligible beyond u = 4. The density of a power-law
# tail decreases only exponentially in `u`, so the panels reach u = 520.
_PANELS = np.array([*np.arange(0.0, 4.5, 0.5), 6, 10, 18, 34, 66, 130, 260, 520])
_GAUSS, _GAUSS_WEIGHTS = np.polynomial.legendre.leggauss(10)
_WIDTHS = np.diff(_PANELS)[:, None]
_U = (_PANELS[:-1, None] + _WIDTHS * (_GAUSS + 1) / 2).ravel()
_DISTANCES = np.expm1(_U)
_LOG_WEIGHTS = np.log((_WIDTHS * _GAUSS_WEIGHTS / 2).ravel()) + _U


def middle(low: tf.Tensor, high: tf.Tensor) -> tf.Tensor:
    """Returns a finite number between `low` and `high` for each element of a batch. Both ends may be infinite."""
    low, high = tf.stop_gradient(low), tf.stop_gradient(high)  # the gradient would be NaN if an end is infinite
    one_sided = tf.where(tf.math.is_finite(low), low + 1, tf.where(tf.math.is_finite(high), high - 1, 0.0))
    return tf.where(tf.math.is_finite(low) & tf.math.is_finite(high), low + (high - low) / 2, one_sided)


def within(whole: LogInterval, low: tf.Tensor, high: tf.Tensor) -> LogInterval:
    """Returns the `LogInterval` conditional on `low < Y <= high`. `whole` is the unconditional `LogInterval`."""
    return lambda lower, upper: whole(tf.maximum(lower, low), tf.minimum(upper, high)) - whole(low, high)


def between_numbers(law: Any) -> LogInterval:
    """Returns the `LogInterval` of a continuous distribution."""
    low, high = law.ends()
    inner = middle(low, high)
    max_gap = 1e-3 if law.facts.density_corner else _NARROW

    def log_tails_at(y):
        inside = (y > low) & (y < high)
        below, above = law.constant_but(inside).log_tails(tf.where(inside, y, inner))
        start, end = tf.constant(-math.inf, y.dtype), tf.zeros([], y.dtype)
        return (
            tf.where(inside, below, tf.where(y >= high, end, start)),
            tf.where(inside, above, tf.where(y >= high, start, end)),
        )

    def log_probability(lower, upper):
        is_above, is_below = _is_always(upper, math.inf), _is_always(lower, -math.inf)
        lower, upper = _broadcast(law.distribution, lower, upper)
        if is_above or is_below:
            return log_tails_at(lower)[1] if is_above else log_tails_at(upper)[0]
        (below_lower, below_upper), (above_lower, above_upper) = map(tf.unstack, log_tails_at(tf.stack([lower, upper])))
        left = below_upper <= above_lower
        larger, smaller = tf.where(left, below_upper, above_lower), tf.where(left, below_lower, above_upper)
        possible = (lower < upper) & (larger > -math.inf)
        subtracts = possible & (smaller > -math.inf)
        gap = _where(subtracts, _where(subtracts, larger) - _where(subtracts, smaller), 1.0)
        # We integrate the density if the tail probabilities at the two ends are nearly equal and the log-density varies
        # by less than 1 nat between the ends. For a smooth density, Gauss-Legendre quadrature is then exact up to
        # rounding. If the density has a corner in the interval, quadrature has an error, which is smaller for narrower
        # intervals. So `max_gap` is smaller for a density with a corner.
        narrow = gap < max_gap
        start, width = tf.where(narrow, lower, inner), _where(narrow, upper - lower)
        nodes, weights = (_column(part / 2, tf.rank(width), width.dtype) for part in (_NODES + 1, _WEIGHTS))
        log_p = law.constant_but(narrow).log_prob(start + width * nodes)
        narrow &= tf.reduce_max(log_p, 0) - tf.reduce_min(log_p, 0) < 1
        integrated = tf.reduce_logsumexp(log_p + tf.math.log(weights), 0) + tf.math.log(_where(narrow, width, 1.0))
        subtracted = larger + tf.where(subtracts, log1mexp(_where(~narrow, gap, 1.0)), tf.zeros_like(larger))
        return tf.where(possible, tf.where(narrow, integrated, subtracted), tf.constant(-math.inf, width.dtype))

    return log_probability


def by_quadrature(law: Any, y: tf.Tensor) -> Tails:
    """Returns the logarithms of both tails of a continuous distribution at `y` in the support.

    The smaller tail is the integral of the density. The other tail is 1 minus the smaller one.
    """
    low, high = law.ends()
    fixed = tf.stop_gradient(y)
    step = _STEP * tf.maximum(tf.abs(fixed), tf.abs(fixed - middle(low, high)))
    log_density, log_density_next = tf.unstack(law.log_prob(tf.stack([fixed, fixed + step])))
    is_finite = tf.math.is_finite(log_density)  # False where the density underflows
    below, above = (tf.stop_gradient(part) for part in law.constant().cdf()(fixed))
    law, y = law.constant_but(is_finite), tf.where(is_finite, y, middle(low, high))
    left = below < above
    forward, inverse, log_derivative = _change_of_variables(low, high, left)

    def log_prob(x):
        return law.log_prob(forward(x)) + log_derivative(x)

    x, tail = inverse(y), tf.where(left, below, above)
    log_factor = log_derivative(x)
    log_density += log_factor
    # The unit of distance of the nodes is the Mills ratio, the tail probability divided by the density. If the tail
    # underflows, we use the reciprocal of the derivative of the log-density instead.
    ratio = tf.where(
        tail > _TINY,
        tail / tf.exp(log_density),
        tf.abs(step / (log_density_next - log_density + log_factor)) * tf.exp(-log_factor),
    )
    scale = tf.stop_gradient(tf.where((ratio > 0) & tf.math.is_finite(ratio), ratio, tf.ones_like(ratio)))
    distances, weights = (_column(part, tf.rank(x), x.dtype) for part in (_DISTANCES, _LOG_WEIGHTS))
    points = x + tf.where(left, -scale, scale) * distances
    outcomes = tf.stop_gradient(forward(points))
    inside = (outcomes > low) & (outcomes < high) & tf.math.is_finite(outcomes)
    # Nodes of negligible density are left out, because the derivative of a density that underflows can be NaN.
    inside &= tf.stop_gradient(log_prob(tf.where(inside, points, x)) - log_density) > -_NEGLIGIBLE
    values = tf.where(inside, log_prob(tf.where(inside, points, x)), tf.constant(-math.inf, x.dtype))
    smaller = tf.reduce_logsumexp(values + weights, 0) + tf.math.log(scale)
    smaller = tf.where(is_finite, smaller, tf.constant(-math.inf, x.dtype))
    other = log1mexp(tf.maximum(-smaller, 0.0))
    return tf.where(left, smaller, other), tf.where(left, other, smaller)


def _change_of_variables(low, high, left):
    """Returns a function from the real line into the support, the inverse, and the log-derivative of the function.

    This change of variables makes the integrated tail unbounded. `left` is True for the rows whose left tail is
    integrated.

    - If both ends of the support are finite, the function is a scaled sigmoid.
    - If only one end is finite and the tail is at this end, the function is `low + exp(x)` or `high - exp(-x)`.
    - Otherwise the tail is unbounded already, and the function is the identity.
    """
    has_low, has_high = tf.math.is_finite(low), tf.math.is_finite(high)
    start, end = _where(has_low, low), _where(has_high, high, 1.0)
    is_bounded, from_low, from_high = has_low & has_high, has_low & ~has_high & left, has_high & ~has_low & ~left

    def chosen(bounded, at_low, at_high, x):
        return tf.where(is_bounded, bounded, tf.where(from_low, at_low, tf.where(from_high, at_high, x)))

    def forward(x):
        scaled_sigmoid = start + (end - start) * tf.sigmoid(x)
        return chosen(scaled_sigmoid, start + tf.exp(_where(from_low, x)), end - tf.exp(_where(from_high, -x)), x)

    def inverse(y):
        above, below = (tf.math.log(_where(part, d, 0.5)) for part, d in ((has_low, y - start), (has_high, end - y)))
        return chosen(above - below, above, -below, y)

    def log_derivative(x):
        middle = tf.math.log(_where(is_bounded, end - start, 1.0)) - tf.math.softplus(x) - tf.math.softplus(-x)
        return chosen(middle, x, -x, tf.zeros_like(x))

    return forward, inverse, log_derivative


def _where(condition, value, other=0.0):
    return tf.where(condition, value, tf.constant(other, value.dtype))


def between_counts(law: Any) -> LogInterval:
    """Returns the `LogInterval` of a distribution of counts.

    If an interval contains few counts, or if its probability is close to underflow, probabilities of single counts are
    summed. Otherwise two tails are subtracted.
    """
    low, high = law.ends()
    batch, dtype = law.distribution.batch_shape_tensor(), law.distribution.dtype
    some_count = tf.cast(tf.math.floor(middle(low, high)) + tf.zeros(batch, low.dtype), dtype)
    # If a parameter of a row overflows, the probabilities of the row are 0, and the derivatives NaN. So no gradient may
    # flow to the parameters of this row.
    is_finite = tf.math.is_finite(tf.stop_gradient(law.log_prob(some_count)))

    def terms(law, first, last):
        """Sums at most `_TERMS` probabilities: from `first` up, or if it is -inf, from `last` down. Returns the log."""
        upwards = tf.math.is_finite(first)
        steps = _column(np.arange(float(_TERMS)), tf.rank(first), first.dtype)
        counts = tf.where(upwards, first + steps, last - steps)
        inside = tf.math.is_finite(counts) & (counts >= tf.maximum(first, low)) & (counts <= tf.minimum(last, high))
        log_probs = law.log_prob(tf.where(inside, tf.cast(counts, dtype), some_count))
        log_probs = tf.where(inside, tf.cast(log_probs, counts.dtype), tf.constant(counts.dtype.min, counts.dtype))
        total = tf.reduce_logsumexp(log_probs, 0)
        return tf.where(tf.reduce_any(inside, 0), total, tf.constant(-math.inf, counts.dtype))

    def log_probability(lower, upper):
        lower, upper = _broadcast(law.distribution, lower, upper)
        lower, upper = (tf.where(tf.math.is_finite(k), tf.math.floor(k), k) for k in (lower, upper))
        larger, smaller, left = _tails_at_ends(law, lower, upper)
        is_summed = (upper - tf.maximum(lower, low - 1) <= _TERMS) | (tf.stop_gradient(larger - smaller) < _TINY)
        # If an interval contains more than `_TERMS` counts, we sum only the largest probabilities. In a left tail, the
        # sum goes down from `upper`, because `first` is -inf. In a right tail, it goes up from `lower + 1`.
        first = tf.where(left & ~(upper - lower <= _TERMS), tf.constant(-math.inf, lower.dtype), lower + 1)
        summed = terms(law.constant_but(is_summed & is_finite), first, upper)
        larger, smaller, _ = _tails_at_ends(law.constant_but(~is_summed & is_finite), lower, upper)
        subtracted = tf.math.log(tf.where(is_summed, tf.ones_like(larger), larger - smaller))
        result = tf.where(is_summed, summed, subtracted)
        return tf.where(lower < upper, result, tf.constant(-math.inf, result.dtype))

    return log_probability


def _tails_at_ends(law, lower, upper):
    """Returns the tail probabilities at the two ends of each interval, the larger probability first, and a mask.

    Where the mask is True, both are probabilities of left tails. Where it is False, both are of right tails.
    """
    below, above = law.cdf()(tf.stack([lower, upper]))
    (below_lower, below_upper), (above_lower, above_upper) = tf.unstack(below), tf.unstack(above)
    left = below_upper <= above_lower
    return tf.where(left, below_upper, above_lower), tf.where(left, below_lower, above_upper), left


def _is_always(end, value):
    """Whether `end` is the constant `value` for all intervals. The graph then needs only one tail."""
    return tf.TensorShape(end.shape).rank == 0 and tf.get_static_value(end) == value


def _broadcast(distribution, lower, upper):
    zeros = tf.zeros(distribution.batch_shape_tensor(), lower.dtype) + tf.zeros_like(lower) + tf.zeros_like(upper)
    return lower + zeros, upper + zeros


def _column(values, rank, dtype):
    return tf.reshape(tf.constant(values, dtype), tf.concat([[-1], tf.ones([rank], tf.int32)], 0))
