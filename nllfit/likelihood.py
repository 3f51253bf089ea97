"""The likelihood of a sample, as a function of the parameters."""

import numpy as np
import tensorflow as tf

from nllfit.families import assertion_text

__all__ = ["likelihood", "log_likelihood"]


def log_likelihood(distribution, y):
    """The log-likelihood of an i.i.d. sample at every parameter value in a distribution's batch.

    `sum_i log p(y_i | theta)`: a sum of logarithms, so it is exact where the product of densities underflows.

    Args:
      distribution: a `tfd.Distribution` of batch `[*grid]` and event `[*event]`: one parameter value, or a grid.
      y: the sample, `[n, *event]`.

    Returns:
      A tensor `[*grid]`, in nats, the sum over the sample.

    Raises:
      ValueError: if `y` is empty, holds a NaN, has another event shape than the distribution, or, where the
        distribution was made with `validate_args=True`, an outcome outside its support.

    Example:
      >>> log_likelihood(tfd.Normal([-1.0, 0.0, 1.0], 1.0), [-1.0, 0.0, 1.0]).numpy().round(4)
      array([-5.2568, -3.7568, -5.2568], dtype=float32)

    Source: Fisher, On the mathematical foundations of theoretical statistics, 1922.
    """
    outcomes = _outcomes(distribution, y)
    ones = [1] * distribution.batch_shape.rank
    event = distribution.event_shape.as_list()
    try:
        log_prob = distribution.log_prob(tf.reshape(outcomes, [outcomes.shape[0], *ones, *event]))
    except tf.errors.InvalidArgumentError as error:
        raise ValueError(
            f"`y` holds an outcome that {distribution.name} cannot have: {assertion_text(error)} Remove it, or choose "
            f"a family whose support it is in."
        ) from None
    return tf.reduce_sum(log_prob, 0)


def likelihood(distribution, y):
    """The likelihood of an i.i.d. sample at every parameter value in a distribution's batch.

    `prod_i p(y_i | theta)`, the exponential of `log_likelihood`; it is 0 where that is below about -745 in float64.

    Args:
      distribution: a `tfd.Distribution` of batch `[*grid]` and event `[*event]`.
      y: the sample, `[n, *event]`.

    Returns:
      A tensor `[*grid]`, a product over the sample.

    Raises:
      ValueError: as `log_likelihood`.

    Example:
      >>> likelihood(tfd.Bernoulli(probs=[0.2, 0.5]), [0, 0, 0, 1, 0]).numpy().round(5)  # theta (1 - theta)^4
      array([0.08192, 0.03125], dtype=float32)

    Source: Fisher, On the mathematical foundations of theoretical statistics, 1922.
    """
    return tf.exp(log_likelihood(distribution, y))


def _outcomes(distribution, y):
    values = np.asarray(y)
    event = tuple(distribution.event_shape)
    if values.ndim == 0 or values.shape[1:] != event:
        raise ValueError(
            f"`y` has shape {values.shape}, but a sample of {distribution.name} has shape {('n', *event)}: one row for "
            f"each of n observations."
        )
    if not len(values):
        raise ValueError("`y` is empty: give at least one observation.")
    if values.dtype.kind == "f" and np.isnan(values).any():
        raise ValueError(f"`y` holds {np.isnan(values).sum()} NaN: remove the missing observations.")
    if distribution.dtype.is_integer and values.dtype.kind == "f" and (values != np.round(values)).any():
        raise ValueError(f"`y` holds fractions, but {distribution.name} has whole numbers for outcomes: round them.")
    return tf.cast(tf.convert_to_tensor(values), distribution.dtype)
