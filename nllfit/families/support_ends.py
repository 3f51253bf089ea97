"""The support of a `Law`: its ends, an outcome in it, the CDF on the whole real line, and angles modulo `2 pi`."""

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.families.copies import unchecked
from nllfit.families.discreteness import line
from nllfit.families.facts import facts_of
from nllfit.families.interval_probability import middle
from nllfit.families.tfp_classes import INDEPENDENT, MIXTURE, MIXTURE_SAME_FAMILY, is_own, parts_of, plain_class

__all__ = ["as_labels", "cdf_on_line", "ends_of", "in_one_turn", "is_circular", "outcome_in"]

_MIDDLE = 0.5  # a bijector maps this number into the support; it is not 0, because some densities are infinite at 0


def ends_of(law: Any, dtype: tf.DType) -> tuple[Any, Any]:
    """Returns the two ends of the support of a scalar distribution. If a bijector decreases, the upper end is first."""
    if law.facts.ends is not None:
        return law.facts.ends(law.distribution)
    if law.is_discrete:
        return _lowest_of(law, dtype), math.inf if law.facts.highest is None else law.facts.highest(law.distribution)
    bijector = line(law.distribution)
    if bijector is not None:
        return _forward(bijector, -math.inf, dtype), _forward(bijector, math.inf, dtype)
    # Without a bijector, only the CDF is known. If the computed CDF is 0 at the number 0 but is not 0 at the lowest
    # number of the dtype, it decreases, which a CDF cannot do. So its formula holds only for positive numbers, and the
    # lower end is 0. Otherwise we assume that the support is unbounded.
    cdf = unchecked(law.distribution).cdf
    far_below, at_zero = cdf(tf.constant(dtype.min, dtype)), cdf(tf.zeros([], dtype))
    return tf.where((far_below == 0) | (at_zero != 0), tf.constant(-math.inf, dtype), 0.0), math.inf


def _lowest_of(law, dtype):
    """Returns the lowest count. For a user's class, the result is -inf if the CDF is positive at -1, else 0."""
    if not is_own(plain_class(type(law.distribution))):
        return law.lowest
    if law.distribution.dtype.is_unsigned:
        return 0.0
    try:
        below = unchecked(law.distribution).cdf(tf.constant(-1, law.distribution.dtype))
    except (NotImplementedError, TypeError, ValueError):  # there is no CDF, or it raises an error for -1
        return 0.0
    return tf.where(below > 0, tf.constant(-math.inf, dtype), 0.0)


def cdf_on_line(law: Any) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """Implements `Law.cdf`: returns a function that computes the CDF and the survival function at any real number."""
    low, high = law.ends()
    is_discrete, inner = law.is_discrete, middle(low, high)
    zeros = tf.zeros(law.distribution.batch_shape_tensor(), low.dtype)

    def tails(y):
        # Adding `zeros` gives `y` all batch axes. A CDF that sums over counts needs them.
        y = zeros + (tf.math.floor(y) if is_discrete else y)
        inside = (y >= low if is_discrete else y > low) & (y < high) & tf.math.is_finite(y)
        # Outside the support, TFP's CDFs may be wrong: at -1, Chi's is 0.78 and Weibull's is NaN. So the result
        # does not use these values. But an unused NaN can still make the gradient NaN. So `inner`, a number in the
        # support, replaces `y` outside the support.
        below, above = law.cdf_inside(tf.where(inside, y, inner), inner)
        cdf_outside = tf.where(tf.math.is_nan(y), y, tf.cast(y >= high, y.dtype))
        return tf.where(inside, below, cdf_outside), tf.where(inside, above, 1 - cdf_outside)

    return tails


def as_labels(y: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Casts real numbers to an integer dtype. Numbers beyond the range of the dtype are clipped before the cast."""
    # For 4 and 8 bytes, the limits are half of the range: as a float, `dtype.max` would round up beyond the range.
    low, high = (end if dtype.size < 4 else end // 2 for end in (dtype.min, dtype.max))
    return tf.cast(tf.clip_by_value(y, float(low), float(high)), dtype)


def is_circular(distribution: tfd.Distribution) -> bool:
    """Whether outcomes are angles in radians. Angles that differ by `2 pi` are the same."""
    if isinstance(distribution, (INDEPENDENT, MIXTURE, MIXTURE_SAME_FAMILY)):
        return any(map(is_circular, parts_of(distribution)))
    return facts_of(type(distribution)).search.circular is not None


def in_one_turn(law: Any, y: Any) -> Any:
    """Adds multiples of `2 pi` to angles to bring them within `pi` of the prediction. Changes no other outcomes."""
    if not is_circular(law.distribution):
        return y
    start = law.central_value() - math.pi
    return start + tf.math.floormod(y - start, 2 * math.pi)


def outcome_in(law: Any) -> tf.Tensor:
    """Implements `Law.some_outcome`: returns an outcome in the support of each distribution, `[*batch, *event]`."""
    d = law.distribution
    batch, event = d.batch_shape_tensor(), d.event_shape_tensor()
    try:
        bijector = d.experimental_default_event_space_bijector()
    except (NotImplementedError, TypeError):  # TFP's bijector onto a simplex fails with NumPy 2.4
        bijector = None
    if bijector is not None:
        shape = tf.concat([batch, bijector.inverse_event_shape_tensor(event)], 0)
        outcome = tf.cast(_forward(bijector, tf.fill(shape, _MIDDLE), d.dtype), d.dtype)
        return tf.math.floor(outcome) if law.is_discrete and d.dtype.is_floating else outcome
    if d.event_shape.rank == 0:
        lowest = max(law.lowest, 0.0) if law.is_discrete else _MIDDLE
        return tf.fill(tf.concat([batch, event], 0), tf.cast(lowest, d.dtype))
    return d.sample(seed=tf.zeros([2], tf.int32))  # a fixed seed leaves TensorFlow's global generator unchanged


def _forward(bijector, x, dtype):
    try:
        return bijector.forward(tf.cast(x, dtype))
    except (TypeError, ValueError, tf.errors.InvalidArgumentError):  # InverseGaussian's bijector is in float32
        return bijector.forward(tf.cast(x, tf.float32))
