"""What TensorFlow Probability does not know of its families, or gets wrong.

TFP describes nearly all of a family itself (`Distribution.parameter_properties`). A row holds the rest.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from nllfit.families.tfp_classes import derived, plain_class

__all__ = ["FACTS", "Facts", "corrected", "describe", "facts_of", "names_with_exact_tails"]

Statistic = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _itself(y: np.ndarray) -> np.ndarray:
    return y


@dataclasses.dataclass(frozen=True)
class Facts:
    """What is to be known of a family beside what TFP says.

    Attributes:
      links: the links of parameters whose bounds are other parameters, from those before them by name, element by
        element; TFP has none.
      twins: the natural name of a parameter and what makes the link to it, where TFP's names mislead.
      arguments: of the constructor, in place of its defaults.
      of_one_shape: whether its constructor takes only parameters of one shape, and does not broadcast them.
      class_axis: the size of the parameter that has an axis of classes, from their number, of a family whose outcome is
        a class label, and so tells nothing of it.
      endless: the argument of the constructor that may be infinite.
      mean: the mean, where TFP's fails.
      finite_mean: whether it is finite whatever the parameters, so that a search for the median would only be traced.
      center: a center where there is no mean, and TFP has neither a median nor a mode.
      places, sizes, rates: of a location-scale family or a scale family, the parameters that move and stretch with the
        sample, those that only stretch, and those that shrink.
      line: the map from outcomes to the numbers which `places` and `sizes` move and stretch, as `log` of a LogNormal's;
        by default the outcomes themselves.
      statistics: parameters in which the likelihood is not smooth: whatever the others are, it is largest at these
        statistics of a sample `[n, *event]` with weights `[n]`.
      corner: a parameter in which it has a corner at every observation, and its maximum at one of them.
      bounds: the two parameters, if any, that bound the support, one of which meets the corner at an end of the sample.
      has_corners: whether it has them, from the parameters by name; by default it always has.
      scattered: a parameter in which it may have a maximum at, or between, any two observations.
      several_maxima: whether it may have several maxima in its other parameters, so that one climb is not enough.
      circular: a parameter that is an angle in radians, all of which that differ by `2 pi` are one.
      log_prob: the log-density of a distribution of the family at outcomes, where TFP's is wrong or slow.
      kinks: such parameters where the family is a part of another, whose maximum is elsewhere.
      free_covariance: whether its covariance can become singular in any direction, so that dependent columns of a
        sample leave the likelihood without a bound.
      surface: where outcomes lie, if the density is one per unit of a surface and not of the whole space.
      by_row, by_row_of_head: what to do in estimation, and in training, where a parameter is known for each row, in
        words.
      checked_in_float32: whether TFP's checks fail in any other dtype, so that there are none.
      lowest: the lowest count or label, which may be `-inf`.
      has_share: whether it has a share of zeros beside those of another family.
      unfit: why a search for the maximum would not end; empty if it does.
      marginal: a scalar distribution, of batch `[*batch, *event]`, that each element of an outcome has and about which
        more is known.
      highest: the highest count, from a distribution; without it there is none.
      ends: the lower and the upper end of the support of a density, where TFP's bijector does not name them.
      cdf: `(distribution, y) -> P(Y <= y), P(Y > y)`, where TFP's loses digits or derivatives.
      log_tails: the logarithms of both, in closed form, within the support.
      integrated_tails: the logarithms of both where one is an integral of the density.
      is_smooth: whether the density is smooth on the real line, after a change of variables: then that integral needs
        no formula of its own.
      has_exact_cdf: whether the CDF of counts is exact in both tails.
      density_corner: the parameter at which the density is not smooth.
      crps: `(distribution, y)` to the continuous ranked probability score in closed form, in float64.
    """

    links: Mapping[str, Callable[[Mapping[str, Any]], tfb.Bijector]] = dataclasses.field(default_factory=dict)
    twins: Mapping[str, tuple[str, Callable[[], tfb.Bijector]]] = dataclasses.field(default_factory=dict)
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    of_one_shape: bool = False
    class_axis: Callable[[int], int] | None = None
    endless: tuple[str, ...] = ()
    mean: Callable[[tfd.Distribution], tf.Tensor] | None = None
    finite_mean: bool = False
    center: Callable[[tfd.Distribution], tf.Tensor] | None = None
    places: tuple[str, ...] = ("loc", "low", "high")
    sizes: tuple[str, ...] = ("scale", "scale_diag", "scale_tril")
    rates: tuple[str, ...] = ("rate",)
    line: Callable[[np.ndarray], np.ndarray] = _itself
    statistics: Mapping[str, Statistic] = dataclasses.field(default_factory=dict)
    corner: str | None = None
    bounds: tuple[str, ...] = ()
    has_corners: Callable[[Mapping[str, Any]], bool] | None = None
    scattered: str | None = None
    several_maxima: bool = False
    circular: str | None = None
    log_prob: Callable[[tfd.Distribution, tf.Tensor], tf.Tensor] | None = None
    kinks: tuple[str, ...] = ()
    free_covariance: bool = False
    surface: str = ""
    by_row: str = ""
    by_row_of_head: str = ""
    checked_in_float32: bool = False
    lowest: float = 0
    has_share: bool = False
    unfit: str = ""
    marginal: Callable[[tfd.Distribution], tfd.Distribution] | None = None
    highest: Callable[[tfd.Distribution], tf.Tensor] | None = None
    ends: Callable[[tfd.Distribution], tuple[Any, Any]] | None = None
    cdf: Callable[[tfd.Distribution, tf.Tensor], tuple[tf.Tensor, tf.Tensor]] | None = None
    log_tails: Callable[[tfd.Distribution, tf.Tensor], tuple[tf.Tensor, tf.Tensor]] | None = None
    integrated_tails: Callable[[tfd.Distribution, tf.Tensor], tuple[tf.Tensor, tf.Tensor]] | None = None
    is_smooth: bool = False
    has_exact_cdf: bool = False
    density_corner: str | None = None
    crps: Callable[[tfd.Distribution, tf.Tensor], tf.Tensor] | None = None

    @property
    def has_exact_tails(self) -> bool:
        """Whether the probability of an interval is exact in both tails."""
        return bool(self.log_tails or self.integrated_tails or self.is_smooth or self.has_exact_cdf)

    @property
    def of_a_part(self) -> "Facts":
        """Those that hold where the family is a part of another, as of a mixture."""
        kinks = (*self.statistics, *filter(None, [self.corner]))
        return dataclasses.replace(
            self,
            statistics={},
            corner=None,
            bounds=(),
            scattered=None,
            several_maxima=True,
            circular=None,
            log_prob=None,
            kinks=kinks,
        )


FACTS: dict[type, Facts] = {}
"""What is known of TFP's families beside what TFP says; the modules that hold the formulas fill it."""

_NOTHING = Facts()


def facts_of(cls: type) -> Facts:
    """The facts about a family of TFP's; of any other class nothing is known, whatever its name."""
    return FACTS.get(plain_class(cls), _NOTHING)


def describe(cls: type, **facts: Any) -> None:
    """Adds facts about a family."""
    FACTS[cls] = dataclasses.replace(facts_of(cls), **facts)


def names_with_exact_tails() -> set[str]:
    """The families of TFP's for which the probability of an interval is exact in both tails."""
    return {cls.__name__ for cls, facts in FACTS.items() if facts.has_exact_tails}


@functools.cache
def corrected(cls: Any) -> Any:
    """A class of distributions, or a subclass under its name whose log-density is right in value and derivatives."""
    log_prob: Any = facts_of(cls).log_prob
    return cls if log_prob is None else derived(cls, methods={"_log_prob": lambda self, y, **_: log_prob(self, y)})
