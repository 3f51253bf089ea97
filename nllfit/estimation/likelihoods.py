"""The likelihood of a sample, as a function of the parameters."""

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from nllfit.families.arguments import as_array
from nllfit.families.refusal import assertion_text, first_refused, refusal

tfd = tfp.distributions

__all__ = ["likelihood", "log_likelihood"]


def log_likelihood(distribution, y):
    """The log-likelihood of an i.i.d. sample at every parameter value in a distribution's batch.

    `sum_i log p(y_i | theta)`: a sum of logarithms, so it is exact where the product of densities underflows. It is
    never NaN, and never the number that a formula gives beyond the support: it is -inf at parameters under which TFP
    says that an outcome has density zero, as beyond the bound of a Uniform; any other outcome out of the support, such
    as a negative one under a Gamma, is an error, as `validate_args=True` would make of both. In a `tf.function`, where
    no value can be looked at, only `validate_args` checks.

    Args:
      distribution: a `tfd.Distribution` of batch `[*grid]` and event `[*event]`: one parameter value, or a grid.
      y: the sample, `[n, *event]`.

    Returns:
      A tensor `[*grid]`, in nats, the sum over the sample.

    Raises:
      TypeError: if `distribution` is no distribution.
      ValueError: if `y` is empty, is not of numbers, holds a NaN or has another event shape than the distribution; for
        an outcome out of the support, or at an edge of it where the density is not defined; for a parameter out of its
        domain, such as a scale of zero.

    Example:
      >>> log_likelihood(tfd.Normal([-1.0, 0.0, 1.0], 1.0), [-1.0, 0.0, 1.0]).numpy().round(4)
      array([-5.2568, -3.7568, -5.2568], dtype=float32)

    Source: Fisher, On the mathematical foundations of theoretical statistics, 1922.
    """
    outcomes = _outcomes(distribution, y)
    try:
        log_prob = distribution.log_prob(outcomes)
    except tf.errors.InvalidArgumentError:
        raise _refusal(distribution, outcomes, outcomes) from None
    result = tf.reduce_sum(log_prob, 0)
    if tf.executing_eagerly():
        try:
            _checked(distribution)
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(
                f"A parameter of {distribution.name} is out of its domain: {assertion_text(error)} Leave such values "
                f"out of the grid."
            ) from None
        _check_support(distribution, outcomes)
        if np.isnan(result).any():
            row = np.argmin(np.isfinite(log_prob).reshape(len(log_prob), -1).all(-1))
            raise ValueError(
                f"`y` holds {_text(outcomes[row], distribution)}, where the density of {distribution.name} is not "
                f"defined: remove it, or choose a family whose support it is in."
            )
    return result


def likelihood(distribution, y):
    """The likelihood of an i.i.d. sample at every parameter value in a distribution's batch.

    `prod_i p(y_i | theta)`, the exponential of `log_likelihood`; it is 0 where that is below about -745 in float64 or
    -103 in float32.

    Args:
      distribution: a `tfd.Distribution` of batch `[*grid]` and event `[*event]`.
      y: the sample, `[n, *event]`.

    Returns:
      A tensor `[*grid]`, a product over the sample.

    Raises:
      TypeError, ValueError: as `log_likelihood`.

    Example:
      >>> likelihood(tfd.Bernoulli(probs=[0.2, 0.5]), [0, 0, 0, 1, 0]).numpy().round(5)  # theta (1 - theta)^4
      array([0.08192, 0.03125], dtype=float32)

    Source: Fisher, On the mathematical foundations of theoretical statistics, 1922.
    """
    return tf.exp(log_likelihood(distribution, y))


def _outcomes(distribution, y):
    """The sample as a tensor `[n, *ones, *event]` that broadcasts against the grid."""
    if not isinstance(distribution, tfd.Distribution):
        raise TypeError(f"`distribution` is {distribution!r}: give a distribution, such as `tfd.Normal(0.0, 1.0)`.")
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
    if np.isnan(values).any():
        raise ValueError(f"`y` holds {np.isnan(values).sum()} NaN: remove the missing observations.")
    if distribution.dtype.is_integer and values.dtype.kind == "f" and (values != np.round(values)).any():
        raise ValueError(f"`y` holds fractions, but {distribution.name} has whole numbers for outcomes: round them.")
    outcomes = tf.cast(tf.convert_to_tensor(values), distribution.dtype)
    return tf.reshape(outcomes, [len(values), *[1] * distribution.batch_shape.rank, *event])


def _checked(distribution):
    """A copy that checks outcomes and parameters, as do the distributions that it is made of."""
    parts = {n: _checked(part) for n, part in distribution.parameters.items() if isinstance(part, tfd.Distribution)}
    try:
        return distribution.copy(validate_args=True, **parts)
    except TypeError:  # ZeroInflatedNegativeBinomial does not keep all of its arguments
        return distribution


def _check_support(distribution, outcomes):
    """Raises a `ValueError` for an outcome that TFP refuses, but not where it knows that the density is zero."""
    if isinstance(distribution, tfd.MixtureSameFamily):  # what one component refuses, another may have
        outcomes = tf.expand_dims(outcomes, -1 - distribution.event_shape.rank)
        return _check_support(distribution.components_distribution, outcomes)
    if isinstance(distribution, tfd.Mixture):
        return [_check_support(component, outcomes) for component in distribution.components]
    checked, tried = _checked(distribution), outcomes
    if not refusal(checked, outcomes):
        return None
    log_prob = distribution.log_prob(outcomes)
    zero = np.isneginf(log_prob).reshape([*log_prob.shape, *[1] * distribution.event_shape.rank])
    if zero.any():  # an outcome in the support takes its place, so that TFP judges the others
        tried = tf.where(zero, distribution.sample(seed=(0, 0)), outcomes)
    if refusal(checked, tried):
        raise _refusal(checked, outcomes, tried)
    return None


def _refusal(distribution, outcomes, tried):
    """The error that names the first of `outcomes` that the distribution refuses, in the form `tried` `[n, ...]`."""
    row, reason = first_refused(distribution, tried)
    return ValueError(
        f"`y` holds {_text(outcomes[row], distribution)}, which {distribution.name} cannot have: {reason} Remove it, "
        f"or choose a family whose support it is in."
    )


def _text(outcome, distribution):
    return np.reshape(outcome, tuple(distribution.event_shape))
