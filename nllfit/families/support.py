"""Where outcomes lie: on whole numbers or on the real line, and how that is mapped onto the support."""

import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

__all__ = ["MIXTURE", "is_discrete", "line"]

# Where a part is of a class that TensorFlow cannot take apart, as most users' are, TFP makes no `tfd.Mixture` but this.
MIXTURE: type[tfd.Distribution] = tfd.Mixture.__mro__[1]


def is_discrete(distribution: tfd.Distribution) -> bool:
    """Whether outcomes are counts or labels, which have a probability each and not a density.

    TFP says it of no distribution. Nothing maps the real line onto counts, but neither has TFP a map for a
    `tfd.Mixture`, nor for a class of a user's own that describes none: the parts, the dtype and the samples tell.
    """
    if hasattr(distribution, "reinterpreted_batch_ndims"):
        return is_discrete(distribution.distribution)
    if hasattr(distribution, "components_distribution"):
        return is_discrete(distribution.components_distribution)
    if isinstance(distribution, MIXTURE):  # a point may be the zeros of counts, or of numbers
        parts = [part for part in distribution.components if not isinstance(part, tfd.Deterministic)]
        return bool(parts) and all(map(is_discrete, parts))
    if isinstance(distribution.dtype, tf.DType) and distribution.dtype.is_integer:
        return True
    if distribution.reparameterization_type == tfd.FULLY_REPARAMETERIZED:  # samples have a derivative
        return False
    try:
        return line(distribution) is None
    except TypeError:  # TFP's bijector onto a simplex fails with NumPy 2.4
        return False


def line(distribution: tfd.Distribution) -> tfb.Bijector | None:
    """TFP's map of the real line onto the support of a continuous distribution, or None if it has none."""
    distribution = getattr(distribution, "components_distribution", distribution)
    try:
        return distribution.experimental_default_event_space_bijector()
    except NotImplementedError:
        return None
