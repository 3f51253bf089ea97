"""Distributions conditional on a window, and the subclasses of `Law` for them."""

import math
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd
from tensorflow_probability import util as tfpu

from nllfit.families.copies import constant_but
from nllfit.families.discreteness import Between
from nllfit.families.interval_probability import LogInterval, middle, within
from nllfit.families.law import Law, has_law, law_of
from nllfit.families.moments import moments_by_tails
from nllfit.families.observed_distribution import Observed
from nllfit.families.support_checks import assertions_of
from nllfit.families.wrapped_distribution import DistributionOf

__all__ = ["AboveZero", "TruncatedDistribution", "WindowedDistribution"]

# We subtract CDF values only if the result exceeds `_NARROW` times the smaller of `P(Y <= high)` and `P(Y > low)`.
_NARROW = 1e-3


class _Window(DistributionOf):
    """The base class of scalar distributions conditional on a window."""

    low: Any
    high: Any
    _prefix = "Truncated"

    def _default_event_space_bijector(self) -> Any:
        whole = self.distribution.experimental_default_event_space_bijector()
        return None if whole is None else Between(*law_of(self).ends())

    def _log_prob(self, value: tf.Tensor) -> tf.Tensor:
        law: Any = law_of(self)
        inside = law.contains(value)
        safe_value = tf.where(inside, value, tf.cast(law.some_outcome(), value.dtype))
        log_prob = law.whole.log_prob(tf.cast(safe_value, self.distribution.dtype))
        # If the window has probability 0, the gradient of `log_window` would be NaN, so no gradient flows in such rows.
        log_window = tf.stop_gradient(law.elements().log_window())
        law_with_gradient: Any = law_of(constant_but(self, tf.math.is_finite(log_window)))
        log_prob -= tf.cast(law_with_gradient.elements().log_window(), log_prob.dtype)
        return tf.where(inside, log_prob, tf.constant(-math.inf, log_prob.dtype))

    def _sample_n(self, n: Any, seed: Any = None) -> tf.Tensor:
        return law_of(self).sample_by_cdf(n, seed)

    def _sample_control_dependencies(self, value: tf.Tensor) -> list:
        if not self.validate_args:
            return []
        law: Any = law_of(self)
        inside = law.contains(value)
        message = f"It is outside its window{_window_in_words(self.low, self.high)}."
        return [tf.debugging.assert_equal(inside, True, message=message), *assertions_of(self.distribution, value)]


class TruncatedDistribution(_Window):
    """A scalar `distribution` conditional on the window `[low, high]`. The window of counts is `(low, high]`.

    An end is None if there is no bound.
    """

    def __init__(
        self,
        distribution: tfd.Distribution,
        low: Any = None,
        high: Any = None,
        validate_args: bool = False,
        name: str = "Truncated",
    ):
        self.low, self.high = low, high
        self._begin(dict(locals()))

    @classmethod
    def _parameter_properties(cls, dtype: Any, num_classes: Any = None) -> dict[str, Any]:
        return {
            "distribution": tfpu.BatchedComponentProperties(),
            "low": tfpu.ParameterProperties(),
            "high": tfpu.ParameterProperties(),
        }


class AboveZero(_Window):
    """A scalar `distribution` of counts, conditional on a count above 0."""

    def __init__(self, distribution: tfd.Distribution, validate_args: bool = False, name: str = "Truncated"):
        self.low, self.high = 0.0, None
        self._begin(dict(locals()))

    @classmethod
    def _parameter_properties(cls, dtype: Any, num_classes: Any = None) -> dict[str, Any]:
        return {"distribution": tfpu.BatchedComponentProperties()}


@has_law(TruncatedDistribution)
class TruncatedLaw(Law):
    """The `Law` of a `TruncatedDistribution`, the distribution of a number given that it lies in a window."""

    distribution: _Window

    @property
    def whole(self) -> Law:
        """The `Law` of the distribution before truncation to the window."""
        return law_of(self.distribution.distribution)

    def elements(self) -> "TruncatedLaw":
        """Returns the `Law` of the marginals."""
        return type(self)(self.marginals())

    def window(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns both ends of the window. An end is infinite if there is no bound.

        The probability of the window is `P(low < Y <= high)`, without `low` itself. But if a distribution of amounts
        has a positive probability at 0, a window that starts at 0 must contain 0. So a `low` of 0 is replaced by
        `-tiny`, where `tiny` is the smallest positive number that TensorFlow does not treat as 0.
        """
        d = self.distribution
        infinity = tf.constant(math.inf, d.dtype)
        low, high = -infinity if d.low is None else tf.cast(d.low, d.dtype), d.high
        if d.low is not None and self.whole.atoms is not None:
            low = tf.where(low == 0, tf.constant(-d.dtype.as_numpy_dtype(np.finfo(d.dtype.as_numpy_dtype).tiny)), low)
        return low, infinity if high is None else tf.cast(high, d.dtype)

    @property
    def atoms(self) -> tuple[tf.Tensor, tf.Tensor] | None:
        return self.whole.atoms

    def log_window(self) -> tf.Tensor:
        """Returns the log-probability of the window."""
        return self.whole.log_interval()(*self.window())

    def contains(self, y: tf.Tensor) -> tf.Tensor:
        """Whether numbers lie in the window. The window of a count excludes its lower end."""
        low, high = self.window()
        return ((y > low) if self.whole.is_discrete else (y >= low)) & (y <= high)

    @property
    def has_exact_tails(self) -> bool:
        return True

    @property
    def lowest(self) -> float:
        return self.whole.lowest

    def ends(self) -> tuple[tf.Tensor, tf.Tensor]:
        (low, high), (start, end) = self.whole.ends(), self.window()
        return tf.maximum(low, start), tf.minimum(high, end)

    def corners(self) -> list[tf.Tensor]:
        return [tf.minimum(tf.maximum(points, self.ends()[0]), self.ends()[1]) for points in self.whole.corners()]

    def _some_outcome(self):
        inner = middle(*self.ends())
        if self.whole.is_discrete:
            first = tf.maximum(tf.math.floor(self.window()[0]) + 1, self.whole.ends()[0])
            inner = tf.where(tf.math.is_finite(first), first, tf.math.floor(inner))
        return tf.broadcast_to(inner, self.distribution.batch_shape_tensor())

    def log_interval(self) -> LogInterval:
        return within(self.whole.log_interval(), *self.window())

    def cdf(self):
        whole, (low, high) = self.whole.cdf(), self.window()
        start, end = whole(low), whole(high)

        def probability_between(first, last):
            """Computes the probability between two points from the CDF and the survival function at these points.

            The result is the difference of two CDF values or of two survival-function values. We choose the smaller
            values, because their difference loses fewer digits.
            """
            return tf.where(last[0] <= first[1], last[0] - first[0], first[1] - last[1])

        def by_tails(y):
            tails_at_y = whole(y)
            return probability_between(start, tails_at_y) / window, probability_between(tails_at_y, end) / window

        def by_logarithms(y):
            both = tf.stack([low + tf.zeros_like(y), y]), tf.stack([y, high + tf.zeros_like(y)])
            log_probability = self.whole.log_interval()
            return tuple(tf.unstack(tf.exp(log_probability(*both) - log_probability(low, high))))

        def both(y):
            y = tf.minimum(tf.maximum(zeros + y, low), high)
            return tf.cond(is_accurate, lambda: by_tails(y), lambda: by_logarithms(y))

        window, zeros = probability_between(start, end), tf.zeros(self.distribution.batch_shape_tensor(), low.dtype)
        # The difference of two CDF values has too few digits if a window is narrow, and underflows far in a tail.
        is_accurate = tf.reduce_all(window > _NARROW * tf.minimum(end[0], start[1]))
        return both

    def mean(self) -> tf.Tensor:
        return self._moment(0)

    def variance(self) -> tf.Tensor:
        return self._moment(1)

    def _moment(self, order):
        elements = self.elements()
        moment, ends = moments_by_tails(elements)[order], elements.ends()
        is_finite = tf.math.is_finite(ends[0]) & tf.math.is_finite(ends[1])
        try:  # if an end is infinite, we return NaN unless the moment without the window is finite
            whole = (self.whole.mean, self.whole.variance)[order]()
            is_finite |= tf.cast(tf.math.is_finite(whole), tf.bool)
        except NotImplementedError:
            pass
        return tf.cast(tf.where(is_finite, moment, tf.constant(math.nan, moment.dtype)), self.distribution.dtype)

    def central_value(self) -> tf.Tensor:
        return self.unchecked().center()

    def center(self) -> tf.Tensor:
        median = self.median()
        fallback = tf.cast(self.whole.central_value(), median.dtype)  # used if the median overflows
        return tf.where(tf.math.is_nan(median), tf.clip_by_value(fallback, *self.window()), median)


@has_law(AboveZero)
class AboveZeroLaw(TruncatedLaw):
    """The `Law` of an `AboveZero`, the distribution of a count given that it is above 0."""

    @property
    def lowest(self) -> float:
        return max(self.whole.lowest, 1.0)

    # Zeros contribute nothing to `E[Y]` and `E[Y^2]`. So each moment is the moment of the untruncated count, divided by
    # the probability of the window.
    def mean(self) -> tf.Tensor:
        return super().mean() if self.whole.lowest < 0 else self.whole.mean() / tf.exp(self.log_window())

    def variance(self) -> tf.Tensor:
        if self.whole.lowest < 0:
            return super().variance()
        elements = self.elements()  # in float64, because the two terms may nearly cancel
        mean, log_window = elements.mean(), elements.log_window()
        variance = elements.whole.variance() / tf.exp(log_window) + tf.square(mean) * tf.math.expm1(log_window)
        return tf.cast(variance, self.distribution.dtype)


class WindowedDistribution(Observed):
    """The distribution of outcomes `[y, *ends]`. `y` is a number from a scalar `distribution` conditional on a window.

    `ends` are the ends of the window that differ between rows. `by_row` contains the names of these ends: `("low",)`,
    `("high",)` or `("low", "high")`. An end that is the same for all rows is the argument `low` or `high`. None means
    that there is no bound.
    """

    _prefix = "Truncated"

    def __init__(
        self,
        distribution: tfd.Distribution,
        low: Any = None,
        high: Any = None,
        by_row: tuple[str, ...] = (),
        validate_args: bool = False,
        name: str = "Truncated",
    ):
        self.low, self.high, self.by_row = low, high, by_row
        self._begin(dict(locals()))

    @classmethod
    def _parameter_properties(cls, dtype: Any, num_classes: Any = None) -> dict[str, Any]:
        return TruncatedDistribution._parameter_properties(dtype)

    @property
    def _columns(self) -> tuple[int, ...]:
        return (1 + len(self.by_row),)

    def given(self, window: tf.Tensor) -> tfd.Distribution:
        """Returns the distribution of `y`. `window` `[..., len(by_row)]` contains the ends in the order of `by_row`."""
        row_ends = {name: window[..., index] for index, name in enumerate(self.by_row)}
        ends = {"low": self.low, "high": self.high} | row_ends
        return TruncatedDistribution(self.distribution, **ends, validate_args=self.validate_args)

    def _observed(self, value: tf.Tensor) -> tf.Tensor:
        ends = {"low": tf.zeros_like(value) - math.inf, "high": tf.zeros_like(value) + math.inf}
        return tf.stack([value, *(ends[name] for name in self.by_row)], -1)

    def _log_prob(self, value: tf.Tensor) -> tf.Tensor:
        return self.given(value[..., 1:]).log_prob(value[..., 0])

    def _sample_control_dependencies(self, value: tf.Tensor) -> list:
        if not self.validate_args:
            return []
        truncated = self.given(value[..., 1:])
        law: Any = law_of(truncated)
        message = "The lower end of its window is NaN, or not below the upper end."
        below = tf.debugging.assert_less(*(end + tf.zeros_like(value[..., 0]) for end in law.window()), message)
        return [below, *truncated._sample_control_dependencies(value[..., 0])]


def _window_in_words(low, high):
    ends = ((" from", low), (" to", high))
    static_ends = [(word, None if value is None else tf.get_static_value(value)) for word, value in ends]
    return "".join(f"{word} {value}" for word, value in static_ends if value is not None and np.ndim(value) == 0)
