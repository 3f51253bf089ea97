"""Support: which outcomes a distribution refuses, and why, by the assertions of TFP."""

import re

import numpy as np
import tensorflow as tf

__all__ = ["assertion_text", "first_refused", "refusal"]

_NUMBERS = 2**20  # at a time: a family may want some for every row and parameter


def refusal(distribution, y):
    """Why a distribution that checks outcomes refuses some of `y`, in TFP's words; None if it does not."""
    try:
        distribution.log_prob(y)
    except tf.errors.InvalidArgumentError as error:
        return assertion_text(error)
    return None


def first_refused(distribution, y):
    """The first row of `y` `[n, ...]` that a distribution refuses, and why; (None, None) if there is none."""
    parameters = sum(np.size(value) for value in tf.nest.flatten(distribution, expand_composites=True))
    rows = max(1, _NUMBERS // max(parameters, np.size(y[:1])))
    for start in range(0, len(y), rows):
        first, last = start, min(start + rows, len(y))
        if refusal(distribution, y[first:last]) is None:
            continue
        while last - first > 1:
            middle = (first + last) // 2
            first, last = (first, middle) if refusal(distribution, y[first:middle]) else (middle, last)
        return first, refusal(distribution, y[first:last])
    return None, None


def assertion_text(error):
    """What a failed assertion of TFP says, without its frame and without the values it prints."""
    text = error.message.rpartition("}} ")[2].rpartition("Summarized data: b'")[2].partition("\n")[0]
    text = text.partition(" : Tensor had")[0].partition("  Label values")[0]
    return re.sub(r"`\[.*?(\]`|$)", "the value", text).rstrip(" .'") + "."
