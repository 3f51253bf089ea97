"""Truncated outcomes: numbers that are recorded only within a window."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd
from tensorflow_probability import util as tfpu
from tensorflow_probability.python.distributions.distribution import AutoCompositeTensorDistribution

from nllfit.families.cdfs import between, ends
from nllfit.families.conditional import Both, within_ends
from nllfit.families.discreteness import Between, is_discrete
from nllfit.families.intervals import LogInterval, log_density, log_interval, within
from nllfit.families.inversion import drawn, drawn_by_cdf
from nllfit.families.marginals import constant_but, latent, marginals, real_dtype
from nllfit.families.protocol import Measure, Numbers
from nllfit.families.wrapped import FamilyOf, checked_cdf, elementwise

__all__ = ["Truncated", "TruncatedDistribution", "within_window"]

_ROW = "row"


class Truncated(FamilyOf):
    """A family whose outcomes are recorded only where they lie between `low` and `high`.

    The log-likelihood is `log p(y) - log(F(high) - F(low))`, exact in both tails. Of counts those above `low` are
    recorded: zero-truncated ones have `low=0`. Parameters are those of the family: of the numbers before truncation.

    A window that differs from row to row, as under delayed entry, is given with each outcome: `low="row"` makes an
    outcome `[y, low]`, `high="row"` makes it `[y, high]`, and both make it `[y, low, high]`. In a `Censored` family of
    a truncated one they come after the pair, `[lower, upper, low, high]`, and its terms are those under the window:
    `log((F(upper) - F(lower)) / (F(high) - F(low)))`, with `lower` and `upper` no farther than its ends.

    Args:
      family: a family with a CDF, as `Censored` takes it, but for a censored one.
      low, high: the window's ends, numbers, "row", or None where there is none.
      event_shape, **kwargs: as in `Censored`.

    Raises:
      ValueError: if neither end is given, `low` is not below `high`, or the window has no probability; for a family
        without a CDF; and as `Family`.

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
                f"`family` is {self.family.label}, whose outcomes are no single numbers: truncate the family of the "
                f"numbers, `Censored(Truncated(family, low, high))`."
            )
        checked_cdf(self.family)
        self.low, self.high = _end("low", low), _end("high", high)
        if self.low is None and self.high is None:
            raise ValueError(
                'Neither `low` nor `high` is given: give a number, or "row" where each outcome has its own.'
            )
        fixed = [value for value in (self.low, self.high) if value not in (None, _ROW)]
        if len(fixed) == 2 and not self.low < self.high:
            raise ValueError(f"`low` is {self.low} and `high` {self.high}: give a window with `low` below `high`.")
        if self.family.facts.has_share and not self._holds_zero:
            raise ValueError(
                f"`family` is {self.family.label}, which has a share of zeros, but its window leaves out 0, so that no "
                f"outcome tells of the share: give the family without it."
            )
        if fixed:
            self._check_window()

    @property
    def by_row(self) -> tuple[str, ...]:
        """The window's ends that come with each outcome."""
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
        low, high = (
            None if value in (None, _ROW) else tf.convert_to_tensor(value, dtype) for value in (self.low, self.high)
        )
        return elementwise(
            self.family.build(parameters, dtype),
            lambda d: TruncatedDistribution(d, low, high, self.by_row, validate_args=self._checks),
        )

    def stand_ins(self, y: np.ndarray) -> np.ndarray:
        return self.family.stand_ins(y[..., 0] if self.by_row else y)

    def seen(self, y: np.ndarray) -> np.ndarray:
        return self.family.seen(y[..., 0] if self.by_row else y)

    @property
    def arguments(self) -> dict[str, Any]:
        return {"family": self.family, "low": self.low, "high": self.high}

    @property
    def _holds_zero(self):
        above = self.low in (None, _ROW) or self.low < 0 or (self.low == 0 and not self.is_discrete)
        return above and (self.high in (None, _ROW) or self.high >= 0)

    def _check_window(self):
        example = self._of(self.family.unshared())
        example.low, example.high = (None if value == _ROW else value for value in (self.low, self.high))
        if self.family.facts.statistics:
            return  # the support moves with the parameters
        with tf.init_scope():
            element = example.distribution(tf.zeros([example.params_size], tf.float64))
        if np.any(np.isneginf(marginals(element).log_window())):
            raise ValueError(
                f"The window from {example.low} to {example.high} has no probability in {self.family.name}: give one "
                f"that its outcomes reach."
            )


class TruncatedDistribution(AutoCompositeTensorDistribution):
    """A scalar `distribution` given that it lies between `low` and `high`; None is no end.

    With `by_row` an outcome is `[y, *ends]`, the number and those ends that come with it.
    """

    def __init__(
        self,
        distribution: tfd.Distribution,
        low: Any = None,
        high: Any = None,
        by_row: tuple[str, ...] = (),
        validate_args: bool = False,
        name: str = "Truncated",
    ):
        parameters = dict(locals())
        self.distribution, self.low, self.high, self.by_row = distribution, low, high, by_row
        super().__init__(
            dtype=real_dtype(distribution),
            reparameterization_type=tfd.NOT_REPARAMETERIZED,
            validate_args=validate_args,
            allow_nan_stats=True,
            parameters=parameters,
            name=f"{name}{distribution.name}" if name == "Truncated" else name,
        )

    @classmethod
    def _parameter_properties(cls, dtype: Any, num_classes: Any = None) -> dict[str, Any]:
        return {
            "distribution": tfpu.BatchedComponentProperties(),
            "low": tfpu.ParameterProperties(),
            "high": tfpu.ParameterProperties(),
        }

    def _event_shape(self) -> tf.TensorShape:
        return tf.TensorShape([1 + len(self.by_row)] if self.by_row else [])

    def _event_shape_tensor(self) -> tf.Tensor:
        return tf.constant(self._event_shape().as_list(), tf.int32)

    def _default_event_space_bijector(self) -> Any:
        whole = self.distribution.experimental_default_event_space_bijector()
        return whole if self.by_row or whole is None else Between(*self.ends())

    def given(self, window: tf.Tensor) -> "TruncatedDistribution":
        """That of the numbers, with the ends `[..., len(by_row)]` that come with them."""
        given = {name: window[..., place] for place, name in enumerate(self.by_row)}
        ends = {"low": self.low, "high": self.high} | given
        return TruncatedDistribution(self.distribution, **ends, validate_args=self.validate_args)

    def latent(self) -> tfd.Distribution:
        """That of the numbers before truncation, where the window comes with each of them; else itself."""
        return latent(self.distribution) if self.by_row else self

    def window(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Both ends, infinite where there is none."""
        infinity, dtype = tf.constant(math.inf, self.dtype), self.dtype
        return (
            -infinity if self.low is None else tf.cast(self.low, dtype),
            infinity if self.high is None else tf.cast(self.high, dtype),
        )

    def log_window(self) -> tf.Tensor:
        """The log-probability of the window."""
        return log_interval(self.distribution)(*self.window())

    @property
    def log_interval(self) -> LogInterval:
        """As `intervals.log_interval`."""
        return within(log_interval(self.distribution), *self.window())

    def cdf_and_survival(self) -> Both:
        """As `cdfs.cdf_and_survival`."""
        return within_ends(self.distribution, *self.window())

    def ends(self) -> tuple[tf.Tensor, tf.Tensor]:
        """As `cdfs.ends`."""
        (low, high), (start, end) = ends(self.distribution), self.window()
        return tf.maximum(low, start), tf.minimum(high, end)

    def _log_prob(self, value: tf.Tensor) -> tf.Tensor:
        if self.by_row:
            return self.given(value[..., 1:]).log_prob(value[..., 0])
        inside = self._inside(value)
        number = tf.where(inside, value, tf.cast(self.some_outcome(), value.dtype))
        log_prob = log_density(self.distribution, tf.cast(number, self.distribution.dtype))
        log_window = tf.stop_gradient(marginals(self).log_window())
        one = constant_but(self, tf.math.is_finite(log_window))
        log_prob -= tf.cast(marginals(one).log_window(), log_prob.dtype)
        return tf.where(inside, log_prob, tf.constant(-math.inf, log_prob.dtype))

    def _inside(self, value):
        low, high = self.window()
        return ((value > low) if is_discrete(self.distribution) else (value >= low)) & (value <= high)

    def some_outcome(self) -> tf.Tensor:
        """An outcome `[*batch, *event]` within the window, which is that of the support where it comes with the row."""
        low, high = self.ends()
        middle = between(low, high)
        if is_discrete(self.distribution):
            first = tf.maximum(tf.math.floor(self.window()[0]) + 1, ends(self.distribution)[0])
            middle = tf.where(tf.math.is_finite(first), first, tf.math.floor(middle))
        middle = tf.broadcast_to(middle, self.batch_shape_tensor())
        return tf.stack([middle, *self._whole(middle)], -1) if self.by_row else middle

    def _whole(self, middle):
        ends = {"low": tf.zeros_like(middle) - math.inf, "high": tf.zeros_like(middle) + math.inf}
        return [ends[name] for name in self.by_row]

    def _sample_n(self, n: Any, seed: Any = None) -> tf.Tensor:
        if self.by_row:
            number = tf.cast(drawn(self.distribution, n, seed), self.dtype)
            return tf.stack([number, *self._whole(number)], -1)
        return drawn_by_cdf(self, n, seed)

    def _sample_control_dependencies(self, value: tf.Tensor) -> list:
        if not self.validate_args:
            return []
        if self.by_row:
            one = self.given(value[..., 1:])
            message = "Its window's lower end is not below its upper one, or NaN."
            below = tf.debugging.assert_less(*(end + tf.zeros_like(value[..., 0]) for end in one.window()), message)
            return [below, *one._sample_control_dependencies(value[..., 0])]
        message = f"It is outside its window{_text(self.low, self.high)}."
        inside = self._inside(value)
        return [tf.debugging.assert_equal(inside, tf.ones_like(inside), message=message)]


def within_window(distribution: tfd.Distribution, window: tf.Tensor) -> tfd.Distribution:
    """The distribution of numbers whose window `[..., num]` is given; itself where none comes with an outcome."""
    return distribution.given(window) if getattr(distribution, "by_row", ()) else distribution


def _text(low, high):
    ends = ((" from", low), (" to", high))
    known = [(word, None if value is None else tf.get_static_value(value)) for word, value in ends]
    return "".join(f"{word} {value}" for word, value in known if value is not None and np.ndim(value) == 0)


def _end(name, value):
    if value is None or value == _ROW:
        return value
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if math.isnan(number):
        raise ValueError(f'`{name}` is {value!r}: give a number, "row" where each outcome has its own, or None.')
    return None if math.isinf(number) and (number < 0) == (name == "low") else number
