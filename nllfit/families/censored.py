"""Censored outcomes: pairs `[lower, upper]`, the bounds of a number that may not be known exactly."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd
from tensorflow_probability import util as tfpu

from nllfit.families.family_base import Measure, ParametricFamily
from nllfit.families.law import law_of
from nllfit.families.observed_distribution import Observed
from nllfit.families.parameters import Numbers
from nllfit.families.support_checks import asserted
from nllfit.families.tfp_classes import unwrapped
from nllfit.families.truncated_distribution import WindowedDistribution
from nllfit.families.wrapped_family import FamilyOf, checked_cdf, elementwise

__all__ = ["Censored", "CensoredDistribution", "is_censored"]

_KINDS = ("exact", "above", "below", "between")  # the kinds of outcomes; see `CensoredDistribution`


class Censored(FamilyOf):
    """A family of distributions of numbers. Each number is known exactly, or is only known to lie in an interval.

    An outcome is a pair `[lower, upper]`. An array may contain all four kinds of outcome (`F` is the CDF, `S = 1 - F`):

    | the pair | what is known | log-likelihood |
    | --- | --- | --- |
    | `lower = upper` | the number itself | `log p(y)` |
    | `upper = inf` | right-censored, `y > lower` | `log S(lower)` |
    | `lower = -inf` | left-censored, `y <= upper` | `log F(upper)` |
    | both finite | interval-censored, `lower < y <= upper` | `log(F(upper) - F(lower))` |

    These log-likelihoods and their derivatives are accurate in both tails and for intervals of any width. An interval
    excludes its lower end, also for counts: "three or more" is `[2, inf]`. `maximum_likelihood` and other functions of
    a sample also take SciPy's `CensoredData`. Parameters, prediction, `cdf`, `survival` and `quantile` describe the
    number itself and not the interval.

    Args:
      family: a family of numbers or counts that has a CDF. It is a class of `tfp.distributions` or its name, or a
        `Family`, `ByMean`, `ZeroInflated`, `Hurdle` or `Truncated` family, or a `MixtureFamily` of event shape (). For
        a `Truncated` family, the probabilities are conditional on the window from `low` to `high`.
      event_shape: the shape of the numbers of one row, if `family` is a name or class; by default (). An outcome has
        the shape `[*event_shape, 2]`.
      **kwargs: further arguments of `Family`, if `family` is a name or class.

    Raises:
      ValueError: if the family has no CDF, is a family of angles (`VonMises`) or is censored already; if the elements
        of an outcome depend on each other; if `event_shape` or `kwargs` is given together with a family object; or for
        a reason given at `Family`.

    Example:
      >>> time, observed = [2.5, 2.9, 3.8, 9.1, 9.3, 12.0, 23.0, 25.0], [1, 1, 1, 1, 1, 1, 1, 0]
      >>> estimate = nllfit.maximum_likelihood(nllfit.Censored("Weibull"), right_censored(time, observed))
      >>> round(estimate.parameters["concentration"], 3)
      1.195

    Source: Klein and Moeschberger, Survival analysis, 2003, section 3.5.
    """

    takes_infinity = True
    kind: str | None = None  # the kind of the outcomes if all have the same kind; see `by_kind`

    def __init__(self, family: Any, event_shape: int | Sequence[int] | None = None, **kwargs: Any):
        super().__init__(family, event_shape, **kwargs)
        if isinstance(self.family, Censored):
            raise ValueError("`family` is censored already: give the family of the numbers themselves.")
        checked_cdf(self.family)

    @property
    def columns(self) -> int:
        return max(self.family.columns, 1) + 1

    def _identity(self) -> tuple:
        return (*super()._identity(), self.kind)

    @property
    def measure(self) -> Measure:
        return super().measure._replace(columns=("lower", "upper", *self.family.measure.columns[1:]))

    def build(self, parameters: Numbers, dtype: tf.DType) -> tfd.Distribution:
        arguments = self.fixed | parameters
        checks = arguments.get("validate_args", True)  # some of TFP's distributions do not store this argument
        return elementwise(self.family.build(arguments, dtype), lambda d: CensoredDistribution(d, checks, self.kind))

    def by_kind(self, y: np.ndarray) -> list[tuple[ParametricFamily, np.ndarray]]:
        if self.kind or self.element_shape:
            return [(self, np.arange(len(y)))]
        lower, upper = y[:, 0], y[:, 1]
        exact, above, below = lower == upper, np.isposinf(upper), np.isneginf(lower)
        kinds = np.select([exact, above & ~below, below & ~above], _KINDS[:3], _KINDS[3])
        return [(self._replaced(kind=str(kind)), np.flatnonzero(kinds == kind)) for kind in np.unique(kinds)]

    def representatives(self, y: np.ndarray) -> np.ndarray:
        lower, upper = y[..., 0], y[..., 1]
        low, high = np.where(np.isfinite(lower), lower, upper), np.where(np.isfinite(upper), upper, lower)
        has_finite_end = np.isfinite(low)
        low, high = np.where(has_finite_end, low, 0.0), np.where(has_finite_end, high, 0.0)
        middle = low + (high - low) / 2
        window = y[..., 2:]
        return self.family.representatives(np.concatenate([middle[..., None], window], -1) if window.size else middle)

    def exact_outcomes(self, y: np.ndarray) -> np.ndarray:
        is_exact = (y[..., 0] == y[..., 1]).reshape([len(y), -1]).all(-1)
        outcomes = y[is_exact][..., 1:]  # the number, and the ends of its truncation window if there is one
        return self.family.exact_outcomes(outcomes if self.family.columns else outcomes[..., 0])


class CensoredDistribution(Observed):
    """The distribution of a pair `[lower, upper]`: an interval that contains a draw from a scalar `distribution`.

    The event shape is `[2]`. If truncation windows differ between outcomes, an outcome also contains one or both ends
    of its window, after the pair. Then the event shape is `[3]` or `[4]`.

    `kind` is None, or the common kind of all outcomes: "exact", "above" (right-censored), "below" (left-censored) or
    "between" (interval-censored). With a `kind`, `log_prob` computes only the formula for this kind.
    """

    _prefix = "Censored"

    def __init__(
        self,
        distribution: tfd.Distribution,
        validate_args: bool = False,
        kind: str | None = None,
        name: str = "Censored",
    ):
        self.kind = kind
        self._begin(dict(locals()))

    @classmethod
    def _parameter_properties(cls, dtype: Any, num_classes: Any = None) -> dict[str, Any]:
        return {"distribution": tfpu.BatchedComponentProperties()}

    @property
    def _columns(self) -> tuple[int, ...]:
        return (1 + (self.distribution.event_shape[-1] if self.distribution.event_shape.rank else 1),)

    def _log_prob(self, value: tf.Tensor) -> tf.Tensor:
        lower, upper = value[..., 0], value[..., 1]
        distribution = self.distribution
        if isinstance(distribution, WindowedDistribution):
            distribution = distribution.given(value[..., 2:])
        law = law_of(distribution)
        if self.kind == "exact":
            return tf.cast(law.log_prob(asserted(distribution, lower)), self.dtype)
        infinity = tf.constant(np.inf, tf.float64)
        start, end = tf.cast(lower, tf.float64), tf.cast(upper, tf.float64)
        log_interval = law.elements().log_interval()
        if self.kind:
            start, end = -infinity if self.kind == "below" else start, infinity if self.kind == "above" else end
            return tf.cast(log_interval(start, end), self.dtype)
        is_exact = lower == upper
        number = tf.where(is_exact, lower, tf.cast(law.some_outcome(), lower.dtype))
        exact = tf.cast(law.constant_but(is_exact).log_prob(asserted(distribution, number)), self.dtype)
        return tf.where(
            is_exact,
            exact,
            tf.cast(log_interval(tf.where(is_exact, -infinity, start), tf.where(is_exact, infinity, end)), exact.dtype),
        )

    def _observed(self, value: tf.Tensor) -> tf.Tensor:
        value = value if self.distribution.event_shape.rank else value[..., None]
        return tf.concat([value[..., :1], value], -1)

    def _mean(self) -> tf.Tensor:
        raise self._has_no("mean")

    def _variance(self) -> tf.Tensor:
        raise self._has_no("variance")

    def _stddev(self) -> tf.Tensor:
        raise self._has_no("stddev")

    def _has_no(self, name):
        return NotImplementedError(
            f"The outcomes of {self.name} are intervals, which have no {name}: use the {name} of the numbers, "
            f"`.distribution.{name}()`."
        )

    def _sample_control_dependencies(self, value: tf.Tensor) -> list:
        if not self.validate_args:
            return []
        message = (
            "Its lower end is above its upper end, or NaN: make pairs with `nllfit.right_censored(time, observed)`."
        )
        return [tf.debugging.assert_less_equal(value[..., 0], value[..., 1], message=message)]


def is_censored(distribution: tfd.Distribution) -> bool:
    """Whether the outcomes of a head's distribution are pairs `[lower, upper]`.

    The function looks inside `Independent` and mixtures.
    """
    inner = unwrapped(distribution)
    return isinstance(inner, CensoredDistribution) and inner.event_shape == [2]
