"""The likelihood of a sample as a function of the parameters, on a grid of parameter values."""

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike
from tensorflow_probability import distributions as tfd

from nllfit.families.arguments import as_array
from nllfit.families.censored import is_censored
from nllfit.families.copies import in_float64
from nllfit.families.scipy_censored_data import is_censored_data
from nllfit.families.support_checks import assertion_text, checked, first_refused, refusal
from nllfit.families.tfp_classes import MIXTURE, MIXTURE_SAME_FAMILY

__all__ = ["likelihood", "log_likelihood"]

# A cast to float32 may change an outcome by at most this share of the sample's range.
_MOST_ROUNDING = 1e-5


def log_likelihood(distribution: tfd.Distribution, y: ArrayLike) -> tf.Tensor:
    """The log-likelihood of an i.i.d. sample at every parameter value in a distribution's batch.

    It is `sum_i log p(y_i | theta)`. Unlike the product of densities, the sum of their logarithms does not underflow.

    In eager mode, outcomes outside the support are found with or without `validate_args=True`. If `log_prob` of the
    distribution is -inf at such an outcome, for example beyond the bounds of a Uniform, the log-likelihood is -inf. If
    `log_prob` is not -inf, for example at a negative number under a Gamma, a `ValueError` is raised. A `ValueError` is
    also raised if `log_prob` itself raises an error, as it usually does with `validate_args=True`. In eager mode, the
    result is never NaN.

    Inside a `tf.function`, `y` must be an array, not a tensor of the graph. Outcomes are then checked only with
    `validate_args=True`; without it, the result may be NaN.

    The computation is in float64, even if the distribution is in float32. Parameters that were given to the
    distribution as Python or NumPy numbers are not rounded to float32. If the distribution cannot be rebuilt in
    float64, for example because it contains a bijector, its own dtype is used. Float64 matters for large outcomes: near
    1e8, float32 numbers are multiples of 8.

    Args:
      distribution: a `tfd.Distribution` of batch shape `[*grid]` (one parameter value, or a grid) and event shape
        `[*event]`.
      y: the sample, `[n, *event]`.

    Returns:
      A float64 tensor `[*grid]` of log-likelihoods in nats, summed over the sample.

    Raises:
      TypeError: if `distribution` is not a `tfd.Distribution`.
      ValueError: if one of these is true:
        - `y` is empty, is not numeric, contains a NaN, or has another event shape than the distribution.
        - An outcome is outside the support, and `log_prob` of the distribution is not -inf or raises an error.
        - An outcome is at an edge of the support where the density is not defined.
        - A parameter is outside its domain, such as a scale of 0.
        - The distribution is in float32 and cannot be rebuilt in float64, and rounding to float32 would change an
          outcome by more than 1e-5 of the sample's range.
        - An outcome is outside the range of the distribution's integer dtype.
        - `y` is SciPy's `CensoredData`, but the outcomes of the distribution are not intervals.

    Example:
      >>> log_likelihood(tfd.Normal([-1.0, 0.0, 1.0], 1.0), [-1.0, 0.0, 1.0]).numpy().round(4)
      array([-5.2568, -3.7568, -5.2568])

    Source: Fisher, On the mathematical foundations of theoretical statistics, 1922.
    """
    if not isinstance(distribution, tfd.Distribution):
        raise TypeError(f"`distribution` is {distribution!r}: give a distribution, such as `tfd.Normal(0.0, 1.0)`.")
    if is_censored_data(y) and not is_censored(distribution):
        raise ValueError(
            f"`y` is SciPy's `CensoredData`, whose outcomes are intervals, but those of {distribution.name} are "
            f"numbers: give a distribution of intervals, such as `nllfit.Censored(family).distribution(params)`."
        )
    distribution = _in_float64(distribution)
    outcomes = _outcomes(distribution, y)
    try:
        log_prob = distribution.log_prob(outcomes)
    except tf.errors.InvalidArgumentError:
        raise _refusal(distribution, outcomes, outcomes) from None
    result = tf.reduce_sum(tf.cast(log_prob, tf.float64), 0)
    if tf.executing_eagerly():
        try:
            checked(distribution)
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(
                f"A parameter of {distribution.name} is out of its domain: {assertion_text(error)} Leave such values "
                f"out of the grid."
            ) from None
        _check_support(distribution, outcomes)
        if np.isnan(result).any():
            row = np.argmin((log_prob.numpy() < np.inf).reshape(len(log_prob), -1).all(-1))  # False for NaN, too
            raise ValueError(
                f"`y` holds {_text(outcomes[row], distribution)}, where the density of {distribution.name} is not "
                f"defined: remove it, or choose a family whose support contains it."
            )
    return result


def likelihood(distribution: tfd.Distribution, y: ArrayLike) -> tf.Tensor:
    """The likelihood of an i.i.d. sample at every parameter value in a distribution's batch.

    The likelihood is `prod_i p(y_i | theta)`, the exponential of `log_likelihood`. It underflows to 0 where the
    log-likelihood is below about -708.

    Args:
      distribution: a `tfd.Distribution` of batch shape `[*grid]` and event shape `[*event]`.
      y: the sample, `[n, *event]`.

    Returns:
      A float64 tensor `[*grid]` of likelihoods, each a product over the sample.

    Raises:
      TypeError, ValueError: in the cases in which `log_likelihood` raises them.

    Example:
      >>> likelihood(tfd.Bernoulli(probs=[0.2, 0.5]), [0, 0, 0, 1, 0]).numpy().round(5)  # theta (1 - theta)^4
      array([0.08192, 0.03125])

    Source: Fisher, On the mathematical foundations of theoretical statistics, 1922.
    """
    return tf.exp(log_likelihood(distribution, y))


def _in_float64(distribution: tfd.Distribution) -> tfd.Distribution:
    """Rebuilds the distribution in float64. Returns the original if this fails or changes a shape."""
    try:
        rebuilt = in_float64(distribution)
    except (NotImplementedError, TypeError, ValueError, tf.errors.InvalidArgumentError):
        return distribution
    has_same_shapes = (
        rebuilt.event_shape == distribution.event_shape and rebuilt.batch_shape == distribution.batch_shape
    )
    return rebuilt if has_same_shapes else distribution


def _outcomes(distribution: tfd.Distribution, y: ArrayLike) -> tf.Tensor:
    """Returns the sample as a tensor `[n, *ones, *event]` that broadcasts against the grid."""
    values, event = as_array(y), tuple(distribution.event_shape)
    if values.ndim == 0 or values.shape[1:] != event:
        raise ValueError(
            f"`y` has shape {values.shape}, but a sample of {distribution.name} has shape {('n', *event)}: one row for "
            f"each of n observations."
        )
    if not len(values):
        raise ValueError("`y` is empty: give at least one observation.")
    if values.dtype.kind not in "biuf":
        raise ValueError(f"`y` is of dtype {values.dtype}: give numbers.")
    values = values.astype({"b": np.int64, "f": np.float64}.get(values.dtype.kind, values.dtype))
    if np.isnan(values).any():
        raise ValueError(f"`y` holds {np.isnan(values).sum()} NaN: remove the missing observations.")
    if distribution.dtype.is_integer and values.dtype.kind == "f" and (values != np.round(values)).any():
        raise ValueError(f"`y` holds fractions, but {distribution.name} has whole numbers for outcomes: round them.")
    dtype = distribution.dtype
    if dtype.is_integer and ((values < dtype.min) | (values > dtype.max)).any():
        raise ValueError(
            f"`y` holds numbers from {values.min():.17g} to {values.max():.17g}, but the outcomes of "
            f"{distribution.name} are {dtype.name} numbers, up to {dtype.max}: remove larger ones."
        )
    outcomes = tf.cast(tf.convert_to_tensor(values), dtype)
    finite = values[np.isfinite(values)].astype(np.float64)  # a difference of int8 numbers can overflow
    width = np.ptp(finite) if finite.size else 0.0
    if outcomes.dtype == tf.float32 and width and np.any(np.abs(np.float32(finite) - finite) > _MOST_ROUNDING * width):
        raise ValueError(
            f"float32, the dtype of {distribution.name}, changes outcomes in `y` by more than {_MOST_ROUNDING:g} of "
            f"their range: give the distribution parameters in float64."
        )
    return tf.reshape(outcomes, [len(values), *[1] * distribution.batch_shape.rank, *event])


def _check_support(distribution, outcomes):
    """Raises a `ValueError` if an outcome fails TFP's checks, but its log-density is not -inf.

    An outcome whose log-density is -inf needs no error, because the log-likelihood is then -inf.
    """
    # We check each component of a mixture separately, because an outcome may have density 0 in some components and a
    # positive density in others.
    if isinstance(distribution, MIXTURE_SAME_FAMILY):
        outcomes = tf.expand_dims(outcomes, -1 - distribution.event_shape.rank)
        return _check_support(distribution.components_distribution, outcomes)
    if isinstance(distribution, MIXTURE):
        return [_check_support(component, outcomes) for component in distribution.components]
    checked_distribution, tested_outcomes = checked(distribution), outcomes
    if not refusal(checked_distribution, outcomes):
        return None
    log_prob = distribution.log_prob(outcomes)
    has_zero_density = np.isneginf(log_prob).reshape([*log_prob.shape, *[1] * distribution.event_shape.rank])
    # Outcomes of density 0 are allowed, but TFP's check may reject them. So we replace them by draws, which pass the
    # check. If TFP cannot draw from the distribution, these outcomes stay, and the check may reject them.
    if has_zero_density.any():
        tested_outcomes = tf.where(has_zero_density, _draw_or_outcomes(distribution, outcomes), outcomes)
    if refusal(checked_distribution, tested_outcomes):
        raise _refusal(checked_distribution, outcomes, tested_outcomes)
    return None


def _draw_or_outcomes(distribution, outcomes):
    try:
        return distribution.sample(seed=(0, 0))
    except tf.errors.InvalidArgumentError:  # some families cannot be sampled in float64
        return outcomes


def _refusal(distribution, outcomes, tested_outcomes):
    """Returns the error for the first outcome that TFP's check rejects.

    The check runs on `tested_outcomes`, a copy of `outcomes` in which draws may replace the outcomes of density 0.
    """
    row, reason = first_refused(distribution, tested_outcomes)
    return ValueError(
        f"`y` holds {_text(outcomes[row], distribution)}, which {distribution.name} cannot have: {reason} Remove it, "
        f"or choose a family whose support contains it."
    )


def _text(outcome, distribution):
    return np.reshape(outcome, tuple(distribution.event_shape))
