"""Support: which outcomes a distribution refuses, and why, by the assertions of TFP."""

import re
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

__all__ = ["asserted", "assertion_text", "first_refused", "refusal"]

_NUMBERS = 2**20  # at a time: a family may want some for every row and parameter


def refusal(distribution: tfd.Distribution, y: Any, finite: bool = False) -> str | None:
    """Why a distribution that checks outcomes refuses some of `y`, in TFP's words; None if it does not.

    With `finite` it refuses those, too, that lie on the edge of an open support and pass TFP's assertions.
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
    """The first row of `y` `[n, ...]` that a distribution refuses, and why; (None, None) if there is none.

    With `finite` as in `refusal`.
    """
    parameters = tf.nest.flatten(distribution, expand_composites=True)
    rows = max(1, _NUMBERS // max(sum(map(np.size, parameters)), np.size(y[:1])))
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
    """Outcomes in a distribution's dtype, once its own assertions have seen them."""
    value = tf.cast(value, distribution.dtype)
    checks = [check for check in distribution._sample_control_dependencies(value) if check is not None]
    with tf.control_dependencies(checks):
        return tf.identity(value)


def assertion_text(error: tf.errors.OpError) -> str:
    """What a failed assertion of TFP says, without its frame and without the values it prints."""
    text = error.message.rpartition("}} ")[2].rpartition("Summarized data: b'")[2].partition("  Label values")[0]
    text = re.sub(r"`?\[[^`]*?\]`?(?= [a-z])", "the value", text, count=1).partition("\n")[0]  # of one row or many
    text = text.partition(" : Tensor had")[0]
    return (re.sub(r"`\[.*?(\]`|$)", "the value", text).rstrip(" .'") or "It is outside the support") + "."
