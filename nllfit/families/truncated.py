"""Truncated outcomes: numbers that are recorded only within a window."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.families.family_base import Measure
from nllfit.families.law import elements_of
from nllfit.families.parameters import Numbers
from nllfit.families.truncated_distribution import TruncatedDistribution, WindowedDistribution
from nllfit.families.wrapped_family import FamilyOf, checked_cdf, elementwise

__all__ = ["Truncated"]

_ROW = "row"


class Truncated(FamilyOf):
    """A family whose outcomes are recorded only if they lie between `low` and `high`.

    The log-likelihood is `log p(y) - log(F(high) - F(low))`, where `F` is the CDF. It is accurate in both tails. For
    counts, `low` itself is outside the window: zero-truncated counts have `low=0`. The parameters describe the
    distribution before truncation.

    If the window differs between rows, for example with delayed entry, each outcome contains the window: `[y, low]`
    with `low="row"`, `[y, high]` with `high="row"`, and `[y, low, high]` with both. Then the prediction, `cdf`,
    `survival` and `quantile` describe the distribution of `y` before truncation.

    A `Censored` family may wrap a `Truncated` family. An outcome is then the pair `[lower, upper]`, followed by the
    ends of the window that differ between rows. If both differ, it is `[lower, upper, low, high]`. The log-likelihood
    is conditional on the window: `log((F(upper) - F(lower)) / (F(high) - F(low)))`. In this formula, `lower` and
    `upper` are clipped to the window.

    Args:
      family: a family with a CDF, as for `Censored`. It must not be a `Censored` family, and must not be a `Truncated`
        family whose `low` or `high` is "row".
      low, high: the ends of the window. Each is a number, "row" if each row has its own, or None if there is no bound.
      event_shape, **kwargs: as in `Censored`.

    Raises:
      ValueError: for a reason given at `Censored`, or if one of these is true:
        - Neither end is given, an end is invalid, or `low` is not below `high`.
        - The window has probability 0. (This is not an error if the family's support depends on its parameters.)
        - The family is `ZeroInflated` or `Hurdle`, and 0 is outside the window.

    Example:
      >>> estimate = nllfit.maximum_likelihood(nllfit.Truncated("Poisson", low=0), [1, 1, 2, 1, 3, 1, 2])
      >>> round(estimate.parameters["rate"], 3)  # rate / (1 - exp(-rate)) = 11 / 7
      0.984

    Source: Cohen, Truncated and censored samples, 1991.
    """

    def __init__(
        self,
        family: Any,
        low: float | str | None = None,
        high: float | str | None = None,
        event_shape: int | Sequence[int] | None = None,
        **kwargs: Any,
    ):
        super().__init__(family, event_shape, **kwargs)
        if self.family.columns:
            raise ValueError(
                f"`family` is {self.family.label}, whose outcomes are not single numbers: truncate the family of the "
                f"numbers, `Censored(Truncated(family, low, high))`."
            )
        checked_cdf(self.family)
        self.low, self.high = _end("low", low), _end("high", high)
        if self.low is None and self.high is None:
            raise ValueError('Neither `low` nor `high` is given: give a number, or "row" if each row has its own.')
        fixed = [value for value in (self.low, self.high) if value not in (None, _ROW)]
        if len(fixed) == 2 and not self.low < self.high:
            raise ValueError(f"`low` is {self.low} and `high` {self.high}: give a window with `low` below `high`.")
        if self.family.facts.has_share and not self._contains_zero:
            raise ValueError(
                f"`family` is {self.family.label}, which has a share of zeros, but its window leaves out 0, so "
                f"outcomes say nothing about the share: give the family without its share."
            )
        if fixed:
            self._check_window()

    @property
    def by_row(self) -> tuple[str, ...]:
        """The ends of the window that are part of each outcome."""
        return tuple(name for name, value in (("low", self.low), ("high", self.high)) if value == _ROW)

    @property
    def columns(self) -> int:
        return 1 + len(self.by_row) if self.by_row else 0

    @property
    def measure(self) -> Measure:
        return super().measure._replace(columns=("y", *self.by_row))

    @property
    def takes_infinity(self) -> bool:
        return bool(self.by_row)

    def build(self, parameters: Numbers, dtype: tf.DType) -> tfd.Distribution:
        values = self.fixed | parameters
        checks = values.get("validate_args", True)  # some of TFP's distributions do not store this argument
        return self._within(self.family.build(values, dtype), dtype, self.by_row, checks)

    def _within(self, distribution, dtype, by_row, checks):
        low, high = (
            None if value in (None, _ROW) else tf.convert_to_tensor(value, dtype) for value in (self.low, self.high)
        )
        options: dict[str, Any] = {"low": low, "high": high, "validate_args": checks}
        if by_row:
            return elementwise(distribution, lambda d: WindowedDistribution(d, by_row=by_row, **options))
        return elementwise(distribution, lambda d: TruncatedDistribution(d, **options))

    def representatives(self, y: np.ndarray) -> np.ndarray:
        return self.family.representatives(y[..., 0] if self.by_row else y)

    def exact_outcomes(self, y: np.ndarray) -> np.ndarray:
        return self.family.exact_outcomes(y[..., 0] if self.by_row else y)

    @property
    def arguments(self) -> dict[str, Any]:
        return {"family": self.family, "low": self.low, "high": self.high}

    @property
    def _contains_zero(self):
        is_above_low = self.low in (None, _ROW) or self.low < 0 or (self.low == 0 and not self.is_discrete)
        return is_above_low and (self.high in (None, _ROW) or self.high >= 0)

    def _check_window(self):
        example = self.family.unshared()
        with tf.init_scope():
            size = example.params_size  # we compare the supports at two parameter vectors, of zeros and of ones
            untruncated = example.distribution(tf.stack([tf.zeros([size], tf.float64), tf.ones([size], tf.float64)]))
            ends = [
                np.broadcast_to(end, untruncated.batch_shape + untruncated.event_shape)
                for end in elements_of(untruncated).ends()
            ]
            element: Any = elements_of(self._within(untruncated, tf.float64, (), True))
        if any(not np.array_equal(*end) for end in ends):
            # The support depends on the parameters, so the window may have a probability above 0 at other parameters.
            return
        if np.any(np.isneginf(element.log_window())):
            low, high = (None if value == _ROW else value for value in (self.low, self.high))
            raise ValueError(
                f"The window from {low} to {high} has no probability in {self.family.name}: give a window that "
                f"overlaps its support."
            )


def _end(name, value):
    if value is None or (isinstance(value, str) and value == _ROW):
        return value
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if math.isnan(number):
        raise ValueError(f'`{name}` is {value!r}: give a number, "row" if each row has its own, or None.')
    return None if math.isinf(number) and (number < 0) == (name == "low") else number
