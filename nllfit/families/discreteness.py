"""Decides whether a distribution is discrete, and finds bijectors from the real line onto a continuous support."""

import math
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from nllfit.families.facts import facts_of
from nllfit.families.tfp_classes import DISCRETE, MIXTURE_SAME_FAMILY, is_own, parts_of, plain_class

__all__ = ["Between", "is_discrete", "line"]


def is_discrete(distribution: tfd.Distribution) -> bool:
    """Whether outcomes are counts or labels. These have probabilities instead of a density.

    Outcomes are discrete if the class derives from TFP's `DiscreteDistributionMixin` or the dtype is an integer. They
    are continuous if the distribution is fully reparameterized or a `Deterministic`, or if there is a bijector from the
    real line onto the support. Otherwise the components decide: outcomes are discrete if all components are discrete.
    If a TFP class has no components either, its outcomes are continuous.

    Raises:
      ValueError: if the distribution is of a user's class, has no components and meets none of these conditions.
    """
    if isinstance(distribution, DISCRETE) or getattr(distribution.dtype, "is_integer", False):
        return True
    if distribution.reparameterization_type == tfd.FULLY_REPARAMETERIZED or isinstance(distribution, tfd.Deterministic):
        return False
    try:
        if line(distribution) is not None:
            return False
    except TypeError:  # the support is a simplex: TFP's bijector onto it fails with NumPy 2.4
        return False
    parts = parts_of(distribution)
    if not parts and is_own(plain_class(type(distribution))):
        raise ValueError(
            f"{type(distribution).__name__} does not say whether its outcomes are numbers with a density or counts. "
            f"For numbers, give it the method `_default_event_space_bijector`, which returns a bijector from the real "
            f"line onto its support, such as `tfb.Identity()`. For counts, give it an integer dtype, or also derive it "
            f"from `{DISCRETE.__module__}.{DISCRETE.__name__}`."
        )
    return bool(parts) and all(map(is_discrete, parts))


def line(distribution: Any) -> tfb.Bijector | None:
    """Returns a bijector from the real line onto the support of a continuous distribution, or None if TFP has none.

    If the components of a mixture have different supports, the bijector maps onto the smallest interval that contains
    all of them.
    """
    if isinstance(distribution, MIXTURE_SAME_FAMILY):
        components = distribution.components_distribution
        bijector = line(components)
        if bijector is None or bijector.experimental_batch_shape().rank == 0:  # all components have the same support
            return bijector
        if not isinstance(bijector, Between):
            ends = [bijector.forward(tf.constant(end, components.dtype)) for end in (-math.inf, math.inf)]
            bijector = Between(tf.minimum(*ends), tf.maximum(*ends))
        shape = tf.concat([components.batch_shape_tensor(), components.event_shape_tensor()], 0)
        return bijector.over(shape, -1 - components.event_shape.rank)
    if facts_of(type(distribution)).endless:  # TFP's bijector is NaN if an end is infinite
        return Between(distribution.low, distribution.high)
    try:
        return distribution.experimental_default_event_space_bijector()
    except NotImplementedError:
        return None


class Between(tfb.Bijector):
    """The bijector from the real line onto the numbers between `low` and `high`. Both ends may be infinite.

    The map is `low + (high - low) sigmoid(x)` if both ends are finite, `low + softplus(x)` or `high - softplus(-x)` if
    one end is finite, and `x` if both are infinite. TFP has a bijector for each of these cases, but none for a batch
    whose rows belong to different cases.
    """

    def __init__(self, low: tf.Tensor, high: tf.Tensor, validate_args: bool = False, name: str = "between"):
        parameters = dict(locals())
        self.low, self.high = low, high
        super().__init__(
            forward_min_event_ndims=0, dtype=low.dtype, validate_args=validate_args, parameters=parameters, name=name
        )

    @classmethod
    def _parameter_properties(cls, dtype):
        return {"low": tfp.util.ParameterProperties(), "high": tfp.util.ParameterProperties()}

    def over(self, shape: tf.Tensor, axis: int) -> "Between":
        """Returns the bijector onto the smallest interval that contains all intervals along an axis.

        The ends are first broadcast to `shape`.
        """
        low, high = (tf.broadcast_to(end, shape) for end in (self.low, self.high))
        return Between(tf.reduce_min(low, axis), tf.reduce_max(high, axis))

    def _is_increasing(self):
        return True

    def _forward(self, x):
        low, high, width = self._ends()
        bounded, above, below = low + width * tf.sigmoid(x), low + tf.math.softplus(x), high - tf.math.softplus(-x)
        return self._select(bounded, above, below, x)

    def _inverse(self, y):
        low, high, _ = self._ends()
        inside = tf.where(tf.math.is_finite(self.low) | tf.math.is_finite(self.high), y, tf.ones_like(y))
        above, below = tfp.math.softplus_inverse(inside - low), -tfp.math.softplus_inverse(high - inside)
        bounded = tf.math.log(y - low) - tf.math.log(high - y)
        return self._select(bounded, above, below, y)

    def _forward_log_det_jacobian(self, x):
        _, _, width = self._ends()
        # The logarithms of `sigmoid(-x)` and of `sigmoid(x)`.
        log_left, log_right = -tf.math.softplus(x), -tf.math.softplus(-x)
        return self._select(tf.math.log(width) + log_left + log_right, log_right, log_left, tf.zeros_like(x))

    def _ends(self):
        """Returns `low`, `high` and their distance. An infinite end is replaced by 0, and the distance then by 1."""
        low = tf.where(tf.math.is_finite(self.low), self.low, tf.zeros_like(self.low))
        high = tf.where(tf.math.is_finite(self.high), self.high, tf.zeros_like(self.high))
        is_bounded = tf.math.is_finite(self.low) & tf.math.is_finite(self.high)
        return low, high, tf.where(is_bounded, self.high - self.low, tf.ones_like(self.low + self.high))

    def _select(self, bounded, above, below, free):
        has_low, has_high = tf.math.is_finite(self.low), tf.math.is_finite(self.high)
        return tf.where(has_low & has_high, bounded, tf.where(has_low, above, tf.where(has_high, below, free)))
