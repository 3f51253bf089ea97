"""Support checks. `checked` returns a copy of a distribution that raises an error for outcomes outside the support.

`first_refused` finds the first outcome outside the support.
"""

import functools
import math
import re
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.families.copies import arguments_of
from nllfit.families.facts import corrected
from nllfit.families.law import law_of
from nllfit.families.numerics import where_safe
from nllfit.families.support_ends import is_circular
from nllfit.families.tfp_classes import (
    INDEPENDENT,
    MIXTURE,
    MIXTURE_SAME_FAMILY,
    TRANSFORMED,
    derived,
    is_own,
    plain_class,
    unwrapped,
)

__all__ = ["asserted", "assertion_text", "assertions_of", "checked", "first_refused", "mixed", "refusal", "strict"]

# To limit memory, one call of `log_prob` gets at most `_MAX_NUMBERS / size` rows. Here `size` is the number of elements
# of a row's outcome or of its parameters, whichever is larger.
_MAX_NUMBERS = 2**20
# These two classes have no assertions about outcomes. Their subclasses, such as `tfd.LogNormal`, have assertions.
_FLOWS = (tfd.TransformedDistribution, TRANSFORMED)


class _Strict:
    """A mix-in class for distributions without assertions. It checks whether scalar outcomes are within the support."""

    def _sample_control_dependencies(self: Any, value: tf.Tensor, **_: Any) -> tuple:
        if not self.validate_args or self.event_shape.rank:
            return ()
        return (_assertion_of_support(self, value),)


class _Lenient:
    """A mix-in class for a component of a mixture. Outcomes outside its support get density 0 and raise no error."""

    def log_prob(self: Any, value: Any, name: str = "log_prob") -> tf.Tensor:
        log_prob: Any = super().log_prob  # type: ignore[misc]
        value = tf.convert_to_tensor(value, dtype_hint=self.dtype)
        # At an end of the support, some of TFP's log-densities are NaN. If the log-density of an outcome is NaN, the
        # outcome gets density 0. We compute this log-density with a copy whose parameters are constants, because such a
        # copy has no assertions that would raise an error for the outcome.
        is_possible = _inside(self, value) & (law_of(self).constant().log_prob(value) > -math.inf)
        some_outcome = tf.cast(law_of(self).some_outcome(), value.dtype)
        return where_safe(is_possible, lambda y: log_prob(y, name), value, some_outcome, -math.inf)

    def _sample_control_dependencies(self, value: tf.Tensor, **_: Any) -> tuple:
        return ()


class _Mixed:
    """A mix-in class for a mixture with `_Lenient` components. An outcome must be in the support of a component."""

    def _sample_control_dependencies(self: Any, value: tf.Tensor, **_: Any) -> tuple:
        return (_assertion_of_support(self, value),) if self.validate_args else ()


@functools.cache
def strict(cls: Any) -> Any:
    """Returns a class whose distributions check outcomes if `validate_args` is True.

    TFP's families have assertions about outcomes, so the result is `corrected(cls)`. Flows and most users' classes have
    no such assertions, so the result is a subclass with the mix-in `_Strict`.
    """
    is_silent = cls._sample_control_dependencies is tfd.Distribution._sample_control_dependencies
    return derived(cls, (_Strict,)) if is_silent and (cls in _FLOWS or is_own(cls)) else corrected(cls)


@functools.cache
def _lenient(cls):
    return derived(strict(cls), (_Lenient,))


# An object of a subclass of `tfd.MixtureSameFamily` is a `CompositeTensor`, so its components must be
# `CompositeTensor`s, too. But some components with `_Lenient` are not. So we derive the class of the mixture from TFP's
# private base class, which accepts components of any class.
_MIXED = derived(MIXTURE_SAME_FAMILY, (_Mixed,))


def checked(distribution: tfd.Distribution) -> tfd.Distribution:
    """Returns a copy that checks outcomes and parameters. The distributions inside the copy check them, too.

    Exception: a component of a `tfd.Mixture`, or of a `tfd.MixtureSameFamily` whose components have different supports,
    accepts outcomes outside its support, because such outcomes may come from another component. They have the
    density 0 in this component. A component whose elements are dependent, such as a Dirichlet, still raises an error.
    """
    return _copy(distribution, strict(plain_class(type(distribution))))


def mixed(mixture: tfd.MixtureSameFamily) -> tfd.MixtureSameFamily:
    """Returns the copy that `checked` makes. Its components accept outcomes outside of their supports.

    If the mixture has no assertions, or all components have the same support, the mixture itself is returned.
    """
    return checked(mixture) if mixture.validate_args and _has_different_supports(mixture) else mixture


def _has_different_supports(distribution):
    """Whether the components of a `tfd.MixtureSameFamily` may have different supports.

    If both ends of the support are scalars, all components have the same support. An end that depends on parameters has
    batch axes, and may differ between components.
    """
    element = unwrapped(getattr(distribution, "components_distribution", distribution), INDEPENDENT)
    element = law_of(element).latent()  # without censoring, and without truncation to a window for each row
    if not isinstance(distribution, MIXTURE_SAME_FAMILY) or element.event_shape.rank:
        return False
    try:
        return any(end.shape.rank for end in law_of(element).ends())
    except NotImplementedError:  # a class that has neither a bijector nor a CDF
        return False


def _copy(distribution, cls):
    has_different_supports = _has_different_supports(distribution)

    def copied(name, value):
        if isinstance(value, tfd.Distribution):
            is_component = has_different_supports and name == "components_distribution"
            is_inside_lenient = issubclass(cls, _Lenient) and name == "distribution"
            return _component_copy(value) if is_component or is_inside_lenient else checked(value)
        return [_component_copy(item) if isinstance(distribution, MIXTURE) else checked(item) for item in value]

    arguments = arguments_of(distribution)
    copies = {name: copied(name, value) for name, value in arguments.items() if _are_distributions(value)}
    return (_MIXED if has_different_supports else cls)(**{**arguments, "validate_args": True, **copies})


def _component_copy(component):
    """Copies a component of a mixture, as the docstring of `checked` describes."""
    inner = component.parameters.get("distribution")
    if component.event_shape.rank and inner is not None:
        return type(component)(**{**arguments_of(checked(component)), "distribution": _component_copy(inner)})
    return (
        checked(component) if component.event_shape.rank else _copy(component, _lenient(plain_class(type(component))))
    )


def _inside(distribution: tfd.Distribution, value: Any) -> tf.Tensor:
    """Whether all elements of outcomes are in the support. A mixture has the union of its components' supports."""
    if isinstance(distribution, INDEPENDENT):
        rank = distribution.event_shape.rank - distribution.distribution.event_shape.rank
        return tf.reduce_all(_inside(distribution.distribution, value), range(-rank, 0))
    if isinstance(distribution, MIXTURE_SAME_FAMILY):
        expanded = tf.expand_dims(value, -1 - distribution.event_shape.rank)
        return tf.reduce_any(_inside(distribution.components_distribution, expanded), -1)
    if distribution.event_shape.rank:
        return law_of(distribution).constant().log_prob(value) > -math.inf
    return _between_ends(distribution, value)


def _between_ends(distribution, value):
    """Whether numbers lie between the ends of the support. Counts must also be integers."""
    law = law_of(distribution)
    is_integer = value == tf.math.floor(value) if value.dtype.is_floating else tf.ones_like(value, tf.bool)
    inside = is_integer if law.is_discrete else tf.ones_like(is_integer)
    if is_circular(distribution) or (law.is_discrete and is_own(plain_class(type(distribution)))):
        return inside
    try:
        low, high = law.ends()
    except NotImplementedError:  # a class that has neither a bijector nor a CDF
        return inside
    has_valid_ends = low < high  # False if a bijector is not monotone or has no limit: then the ends are wrong
    value = tf.cast(value, low.dtype)
    return inside & (~has_valid_ends | ((value >= low) & (value <= high)))


def _are_distributions(value):
    values = value if isinstance(value, (list, tuple)) else [value]
    return bool(values) and all(isinstance(item, tfd.Distribution) for item in values)


def refusal(distribution: tfd.Distribution, y: Any, finite: bool = False) -> str | None:
    """Returns the text of TFP's error for outcomes `y`, or None if TFP raises none.

    The distribution must have been built with `validate_args=True`. Otherwise TFP raises no errors.

    If `finite` is True, a log-density that is not finite is also an error. This finds outcomes that equal an end of the
    support although the support does not contain this end. TFP's assertions accept such outcomes.
    """
    try:
        log_prob = distribution.log_prob(y)
        if finite:
            tf.debugging.check_numerics(log_prob, "Its log-likelihood is not finite.")
    except tf.errors.InvalidArgumentError as error:
        return assertion_text(error)
    return None


def first_refused(
    distribution: tfd.Distribution, y: Any, finite: bool = False
) -> tuple[int, str | None] | tuple[None, None]:
    """Finds the first row of `y` `[n, ...]` that is outside the support. Returns its index and the reason.

    If there is no such row, both are None. `finite` is the argument of `refusal`.
    """
    parameters = tf.nest.flatten(distribution, expand_composites=True)
    rows = max(1, _MAX_NUMBERS // max(sum(map(np.size, parameters)), np.size(y[:1])))
    for start in range(0, len(y), rows):
        first, last = start, min(start + rows, len(y))
        if refusal(distribution, y[first:last], finite) is None:
            continue
        while last - first > 1:
            middle = (first + last) // 2
            first, last = (first, middle) if refusal(distribution, y[first:middle], finite) else (middle, last)
        return first, refusal(distribution, y[first:last], finite)
    return None, None


def asserted(distribution: tfd.Distribution, value: tf.Tensor) -> tf.Tensor:
    """Runs the assertions about outcomes, and returns the outcomes in the distribution's dtype."""
    with tf.control_dependencies(assertions_of(distribution, value)):
        return tf.cast(tf.identity(value), distribution.dtype)


def assertions_of(distribution: tfd.Distribution, value: tf.Tensor) -> list:
    """Returns the distribution's assertions about outcomes.

    A `tfd.Weibull` and some other distributions store `validate_args` only in a bijector, so their own assertions never
    run. For these distributions, this function asserts that outcomes are in the support. For all distributions, it
    asserts that an integer dtype can hold the outcomes: a cast to integers would drop fractions.
    """
    original, value = value, tf.cast(value, distribution.dtype)
    checks = [check for check in distribution._sample_control_dependencies(value) if check is not None]
    wants_checks = bool(arguments_of(distribution).get("validate_args"))
    is_silent = not distribution.validate_args and not isinstance(distribution, _Lenient)
    if wants_checks and is_silent and not distribution.event_shape.rank:
        checks.append(_assertion_of_support(distribution, value))
    if wants_checks and original.dtype.is_floating and value.dtype.is_integer:
        message = f"It is not an integer that {value.dtype.name} can hold."
        checks.append(tf.debugging.assert_equal(tf.cast(value, original.dtype), original, message=message))
    return checks


def _assertion_of_support(distribution, value):
    inside = _inside(distribution, value)
    return tf.debugging.assert_equal(inside, tf.ones_like(inside), message="It is outside the support.")


def assertion_text(error: tf.errors.OpError) -> str:
    """Returns the message of a failed assertion of TFP, without the stack frame and the values of tensors."""
    text = error.message.rpartition("}} ")[2].rpartition("Summarized data: b'")[2].partition("  Label values")[0]
    text = re.sub(r"`?\[[^`]*?\]`?(?= [a-z])", "the value", text, count=1).partition("\n")[0]  # printed values
    text = text.partition(" : Tensor had")[0]
    return (re.sub(r"`\[.*?(\]`|$)", "the value", text).rstrip(" .'") or "It is outside the support") + "."
