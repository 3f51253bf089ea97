"""Families for the posterior and the prior of a layer's weights. An outcome is the vector of all these weights."""

import math
import numbers
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.bayes.priors import Prior, as_prior
from nllfit.families.distribution_names import family_class
from nllfit.families.family import Family
from nllfit.families.family_base import ParametricFamily

__all__ = ["as_given", "initial_vector", "of_weights", "plain_prior", "prior_of_weights"]

# The initial scale of a weight is this factor times the scale to which the family's link maps the number 0.
_INITIAL_SCALE_FACTOR = 0.07


def of_weights(argument: str, family: Any, size: int) -> ParametricFamily:
    """Returns the family of a vector of weights.

    Args:
      argument: the name of the argument in messages.
      family: the name or the class of a family, or a family object of one weight or of the vector of all weights.
      size: the number of weights.

    Raises:
      ValueError: if the event shape of the given family is not `[size]`. A `Family` may also have the event shape `[]`.
        `Family` raises further errors.
    """
    if not isinstance(family, ParametricFamily):
        return Family(family_class(family, argument), size)
    if family.event_shape == () and isinstance(family, Family):
        return Family(**family.arguments | {"event_shape": size})
    if family.event_shape != (size,):
        raise ValueError(
            f"`{argument}` is a {family.name} of outcomes of shape {family.event_shape}, but the layer has {size} "
            f"weights: give a family of shape ({size},), or of one weight, of shape ()."
        )
    return family


def initial_vector(family: ParametricFamily, means: tf.Tensor) -> tf.Tensor:
    """Returns the unconstrained parameters for which the weights have the given `means`, `[size]`, and small scales."""
    values = family.parameters(tf.zeros([family.params_size], means.dtype))
    values |= {name: _INITIAL_SCALE_FACTOR * value for name, value in values.items() if name.startswith("scale")}
    values |= {"loc": means} if "loc" in values else {}
    return family.unconstrained(values, means.dtype)


def as_given(prior: Any) -> Any:
    """Checks the argument `prior` of a layer. Returns the prior as a number, a name, a distribution or a family.

    `prior` is the user's value or the value in a config.

    Raises:
      ValueError: if `prior` is none of these: a positive number, a distribution, a family, or the name of a family.
    """
    is_scale = isinstance(prior, numbers.Real) and not isinstance(prior, bool)
    if is_scale and 0 < prior < math.inf:
        return float(prior)
    if isinstance(prior, str):
        return family_class(prior, "prior") and prior
    if isinstance(prior, (bool, numbers.Real)) or as_prior(prior).layers:
        raise ValueError(
            f"`prior` is {prior!r}: give the scale of a Normal, a positive number; a distribution; or a family, whose "
            f"parameters are then learned."
        )
    return as_prior(prior).given


def plain_prior(given: Any) -> Any:
    """Converts the result of `as_given` to plain values for a config."""
    return given if isinstance(given, (float, str)) else as_prior(given).config()


def prior_of_weights(given: Any, size: int) -> Prior:
    """Returns the prior of a vector of weights. `given` is a result of `as_given`."""
    if isinstance(given, float):
        return as_prior(tfd.Independent(tfd.Normal(np.zeros(size), given), 1))
    if isinstance(given, (str, ParametricFamily)):
        return as_prior(of_weights("prior", given, size))
    if given.event_shape == () and given.batch_shape == ():
        return as_prior(tfd.Independent(tfd.BatchBroadcast(given, [size]), 1))
    return as_prior(given)
