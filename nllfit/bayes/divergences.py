"""Computes KL divergences by TFP's closed form, or estimates them from draws."""

import math

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.families.broadcast_checks import unchecked_log_prob
from nllfit.families.copies import real_dtype, with_parameters
from nllfit.families.law import elements_of
from nllfit.families.tfp_classes import DISCRETE, INDEPENDENT, is_own, parts_of, plain_class

__all__ = ["check_comparable", "estimated_divergence", "exact_divergence", "in_dtype_of"]


def exact_divergence(q: tfd.Distribution, p: tfd.Distribution) -> tf.Tensor | None:
    """Returns `KL(q || p)` in nats, `[*batch]`, or None if TFP has no formula for the two classes."""
    for first, second in ((q, p), (_as_normal_vector(q), _as_normal_vector(p))):
        try:
            return tfd.kl_divergence(first, second)
        except NotImplementedError:
            continue
    return None


def estimated_divergence(q: tfd.Distribution, p: tfd.Distribution, draws: tf.Tensor) -> tf.Tensor:
    """Returns an unbiased estimate of `KL(q || p)`: the mean of `log q(z) - log p(z)` over draws `z` of `q`.

    The draws have the shape `[n, *batch, *event]`.
    """
    return tf.reduce_mean(unchecked_log_prob(q, draws) - unchecked_log_prob(p, draws), axis=0)


def check_comparable(q: tfd.Distribution, p: tfd.Distribution, others: str = "the head's") -> None:
    """Raises a `ValueError` if a prior `p` does not fit `q`.

    The event shapes must be equal, and the batch of `p` must broadcast to the batch of `q`. `p` must not be a
    distribution of counts if the outcomes of `q` are real numbers. If the support of `q` extends to infinity on a side,
    the support of `p` must do so too, because otherwise the divergence is infinite. The supports are compared only in
    eager mode, because tensors of a graph have no values. `others` describes the outcomes of `q` in error messages.
    """
    if _is_of_counts(p) and q.reparameterization_type == tfd.FULLY_REPARAMETERIZED:
        raise ValueError(
            f"`prior` is a {p.name}, whose outcomes are counts or labels, but {others} are real numbers: give a prior "
            f"of real numbers."
        )
    if not p.event_shape.is_compatible_with(q.event_shape):
        advice = f"give a prior of outcomes of shape {tuple(q.event_shape)}"
        if (p.batch_shape + p.event_shape)[-q.event_shape.rank :] == q.event_shape:
            added = q.event_shape.rank - p.event_shape.rank
            advice += f", such as `tfd.Independent(prior, {added})`, which makes its batch the outcome"
        raise ValueError(
            f"`prior` is a {p.name} of outcomes of shape {tuple(p.event_shape)}, but {others} have shape "
            f"{tuple(q.event_shape)}: {advice}."
        )
    try:
        joint = tf.broadcast_static_shape(p.batch_shape, q.batch_shape)
    except ValueError:
        joint = None
    if joint is None or not joint.is_compatible_with(q.batch_shape):
        raise ValueError(
            f"`prior` is a batch {tuple(p.batch_shape)} of distributions, but the head gives a batch "
            f"{tuple(q.batch_shape)}: give one distribution for all rows."
        )
    if tf.executing_eagerly():
        _check_support(q, p, others)


def _check_support(q, p, others):
    (p_low, p_high), (q_low, q_high) = _ends(p), _ends(q)
    if (q_low == -math.inf and p_low > q_low) or (q_high == math.inf and p_high < q_high):
        raise ValueError(
            f"`prior` is a {p.name}, whose outcomes are between {p_low:.3g} and {p_high:.3g}, but {others} are between "
            f"{q_low:.3g} and {q_high:.3g}, so the divergence is infinite: give a prior whose outcomes include these."
        )


def _ends(distribution):
    """Returns the ends of the support of an outcome's elements. For counts and unknown supports, the ends are NaN.

    Comparisons with NaN are False, so `_check_support` then raises no error.
    """
    try:
        elements = elements_of(distribution)
    except NotImplementedError:
        return math.nan, math.nan
    if elements.is_discrete or is_own(plain_class(type(elements.distribution))):
        return math.nan, math.nan
    low, high = elements.ends()
    return float(tf.reduce_min(low)), float(tf.reduce_max(high))


def _is_of_counts(distribution):
    parts = parts_of(distribution)
    return isinstance(distribution, DISCRETE) or (bool(parts) and all(map(_is_of_counts, parts)))


def in_dtype_of(p: tfd.Distribution, q: tfd.Distribution) -> tfd.Distribution:
    """Returns `p` with its parameters in the dtype of the parameters of `q`.

    The two dtypes may differ: for example, a prior that was made from NumPy arrays is in float64. The dtype of the
    outcomes is not used, because outcomes may be integers.
    """
    dtype = real_dtype(q)
    if real_dtype(p) == dtype:
        return p
    return with_parameters(p, lambda value, _: _cast(value, dtype), dtype=dtype)


def _cast(value, dtype):
    value = tf.convert_to_tensor(value)
    return tf.cast(value, dtype) if value.dtype.is_floating else value


def _as_normal_vector(distribution):
    """Converts independent Normals to a `MultivariateNormalDiag`, for which TFP has more formulas."""
    if not (isinstance(distribution, INDEPENDENT) and distribution.event_shape.rank == 1):
        return distribution
    elements = distribution.distribution
    if plain_class(type(elements)) is tfd.BatchBroadcast:
        elements = elements.distribution
    if plain_class(type(elements)) is not tfd.Normal:
        return distribution
    shape = tf.concat([distribution.batch_shape_tensor(), distribution.event_shape_tensor()], 0)
    scale = tf.broadcast_to(elements.scale, shape)
    return tfd.MultivariateNormalDiag(elements.loc, scale)
