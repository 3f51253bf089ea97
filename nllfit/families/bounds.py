"""Outcomes beyond the support: refused by distributions that would give them a density in silence."""

import functools
import math
from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.families.cdfs import ends
from nllfit.families.discreteness import is_discrete
from nllfit.families.facts import facts_of
from nllfit.families.kinds import MIXTURE, TRANSFORMED, is_own
from nllfit.families.outcomes import some_outcome
from nllfit.families.rows import plain_class

__all__ = ["asserting", "checked"]

_FLOWS = (tfd.TransformedDistribution, TRANSFORMED)  # and no class that derives from them


def checked(distribution: tfd.Distribution) -> tfd.Distribution:
    """A copy that checks outcomes and parameters, as do the distributions that it is made of.

    What one part of a `tfd.Mixture` cannot have, another may: it has the density 0 there.
    """

    def copied(value):
        if isinstance(value, tfd.Distribution):
            return checked(value)
        parts = [checked(part) for part in value]
        return [_of_density_0(part) for part in parts] if isinstance(distribution, MIXTURE) else parts

    made_of = {name: copied(value) for name, value in distribution.parameters.items() if _are_parts(value)}
    try:
        return asserting(distribution.copy(validate_args=True, **made_of))
    except TypeError:  # ZeroInflatedNegativeBinomial does not keep all of its arguments
        return distribution


def asserting(distribution: tfd.Distribution) -> tfd.Distribution:
    """The distribution itself, which refuses what is beyond the support, with `validate_args`, if it did not yet.

    TFP's have assertions for that. A flow has none, nor has, as a rule, a class of a user's own: those hold an outcome
    against the ends of the support that their bijector from the real line names, or their CDF.
    """
    kind = plain_class(type(distribution))
    is_silent = kind._sample_control_dependencies is tfd.Distribution._sample_control_dependencies
    if is_silent and (kind in _FLOWS or is_own(kind)) and distribution.event_shape.rank == 0:
        distribution._sample_control_dependencies = functools.partial(_assertions, distribution)
    return distribution


def _assertions(distribution, value, **_):
    if not distribution.validate_args:
        return ()
    inside = _inside(distribution, value)
    return (tf.debugging.assert_equal(inside, tf.ones_like(inside), message="It is outside the support."),)


def _of_density_0(part):
    """The part of a mixture, which has the density 0 where it cannot have an outcome, and refuses none."""
    inner = part.parameters.get("distribution")
    if part.event_shape.rank and inner is not None:
        return part.copy(distribution=_of_density_0(inner))
    if not part.event_shape.rank:
        part.log_prob = functools.partial(_log_prob, part)
        part._sample_control_dependencies = _no_assertions
    return part


def _log_prob(part, value, name="log_prob"):
    value = tf.convert_to_tensor(value, part.dtype)
    log_prob = type(part).log_prob
    # At an end some of TFP's are NaN, and a NaN that `tf.where` does not take spoils the gradient.
    possible = _inside(part, value) & ~tf.math.is_nan(tf.stop_gradient(log_prob(part, value)))
    found = log_prob(part, tf.where(possible, value, tf.cast(some_outcome(part), value.dtype)), name)
    return tf.where(possible, found, tf.constant(-math.inf, found.dtype))


def _no_assertions(value, **_):
    return ()


def _inside(distribution: tfd.Distribution, value: Any) -> tf.Tensor:
    """Whether numbers lie between the ends of the support, and are whole where outcomes are counts."""
    counts = is_discrete(distribution)
    whole = value == tf.math.floor(value) if value.dtype.is_floating else tf.ones_like(value, tf.bool)
    inside = whole if counts else tf.ones_like(whole)
    if facts_of(type(distribution).__name__).circular or (counts and is_own(type(distribution))):
        return inside
    try:
        low, high = ends(distribution)
    except NotImplementedError:  # a class without a bijector and a CDF
        return inside
    known = low < high  # not where a bijector folds the line, or has no limit
    value = tf.cast(value, low.dtype)
    return inside & (~known | ((value >= low) & (value <= high)))


def _are_parts(value):
    values = value if isinstance(value, (list, tuple)) else [value]
    return bool(values) and all(isinstance(part, tfd.Distribution) for part in values)
