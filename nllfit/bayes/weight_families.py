"""Families for the posterior and the prior of a layer's weights: one outcome is the vector of all these weights."""

import math
import numbers
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.bayes.priors import Prior, as_prior
from nllfit.families.arguments import family_class
from nllfit.families.family import Family
from nllfit.families.parametric_family import ParametricFamily

__all__ = ["as_given", "initial_vector", "of_weights", "plain_prior", "prior_of_weights"]

_SPREAD = 0.07  # initial scales relative to the scale for unconstrained parameters of 0; 0.05 for a Normal


def of_weights(argument: str, family: Any, size: int) -> ParametricFamily:
    """The family of a vector of weights, from a name, a class, a family of one weight or a family of the vector.

    Raises:
      ValueError: if it is a family of outcomes of another shape; and the errors of `Family`.
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
    """The unconstrained parameters for which a family of weights has these means, `[size]`, and small scales."""
    values = family.parameters(tf.zeros([family.params_size], means.dtype))
    values |= {name: _SPREAD * value for name, value in values.items() if name.startswith("scale")}
    values |= {"loc": means} if "loc" in values else {}
    return family.unconstrained(values, means.dtype)


def as_given(prior: Any) -> Any:
    """The argument `prior` of a layer, or its value in a config: a number, a name, a distribution or a family.

    Raises:
      ValueError: if it is anything else.
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
    """The result of `as_given` as plain values, for a config."""
    return given if isinstance(given, (float, str)) else as_prior(given).config()


def prior_of_weights(given: Any, size: int) -> Prior:
    """The prior of a vector of weights, from the result of `as_given`."""
    if isinstance(given, float):
        return as_prior(tfd.Independent(tfd.Normal(np.zeros(size), given), 1))
    if isinstance(given, (str, ParametricFamily)):
        return as_prior(of_weights("prior", given, size))
    if given.event_shape == () and given.batch_shape == ():
        return as_prior(tfd.Independent(tfd.BatchBroadcast(given, [size]), 1))
    return as_prior(given)
