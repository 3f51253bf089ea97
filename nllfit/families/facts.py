"""The class `Facts`: properties of a TFP family that TFP does not provide or gets wrong.

TFP describes most of a family in `Distribution.parameter_properties`. An entry such as `tfd.Beta: Facts(...)` in a
module of `laws` adds the rest.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from nllfit.families.search_policy import SearchPolicy
from nllfit.families.tfp_classes import derived, is_own, plain_class

__all__ = ["FACTS", "Facts", "Tails", "corrected", "facts_of", "names_with_exact_tails"]

Tails = tuple[tf.Tensor, tf.Tensor]
"""`P(Y <= y)` and `P(Y > y)`, or their logarithms."""


@dataclasses.dataclass(frozen=True)
class Facts:
    """Properties of a family that TFP's description lacks or gets wrong.

    Most attributes are functions of the distribution. Functions about outcomes take the outcomes `y` as a second
    argument.

    Attributes:
      links: maps the name of a parameter to a function, which takes the values of the other parameters and returns the
        link. Needed if other parameters are bounds, as in `high > low`. TFP has no such links.
      twins: maps the name of a parameter to two values: its name on the natural scale, and a function that returns the
        bijector to this scale. Most parameters need no entry, because `links.twin` infers both from TFP's names, such
        as `logits` and `probs`.
      arguments: values that replace the defaults of the constructor's arguments.
      of_one_shape: whether all parameters must have the same shape. True if the constructor does not broadcast them.
      class_axis: computes the length of a vector parameter, such as `logits`, from `num_classes`. The shape of a label
        does not show this length. None for families whose outcomes are not class labels.
      endless: the arguments of the constructor that may be infinite.
      mean: the mean. Needed if TFP's mean fails.
      mode: the mode of a scalar distribution. Needed if TFP's mode is wrong.
      finite_mean: whether the mean is finite for all parameter values. Then a prediction never needs the median.
      center: the point prediction if there is no mean; for class labels, the probabilities of the classes. The default
        is TFP's median, or TFP's mode if there is no median.
      log_prob: the log-density. Needed if TFP's log-density is wrong or slow.
      is_possible: whether outcomes are in the support, up to rounding in float32. It replaces TFP's assertion.
      surface: the name of the surface on which outcomes lie. Needed if the density is per unit area of this surface.
      by_row_of_head: the advice in the error message for users who fix a head's parameter at one value per row.
      checked_in_float32: whether TFP's assertions work only in float32. They are switched off in other dtypes.
      lowest: the lowest count or label, which may be `-inf`.
      highest: the highest count; by default there is none.
      has_share: whether the family mixes another family with zeros.
      marginal: the scalar distribution of each element of an outcome, of batch `[*batch, *event]`.
      ends: the lower and the upper end of the support of a density. Needed if TFP's bijector does not give them.
      cdf: `P(Y <= y)` and `P(Y > y)` within the support. Needed if TFP's values are inaccurate or have no gradient.
      log_tails: the logarithms of both tails in closed form.
      integrated_tails: the logarithms of both tails, computed by quadrature of a standardized or transformed density.
        Needed if there is no closed form, and quadrature of the family's own density is inaccurate.
      has_exact_cdf: whether the log-probability of an interval can be computed from the CDF, which must then be
        accurate in both tails. For real numbers, `interval_probability` uses the CDF only for wide intervals. For
        narrow intervals it integrates the density, which must therefore be smooth, except at a `density_corner`.
      density_corner: the name of a parameter, such as `loc`. The density is not smooth where `y` equals this parameter.
      crps: the continuous ranked probability score in closed form, computed in float64.
      mean_minimum: `E[min(X, X')]` of independent draws from two distributions `a` and `b` of the family, in float64. A
        term `f(a) + f(b)` may be left out, so `-E|X - X'| / 2` is also correct. This function gives the closed form of
        the CRPS of a mixture.
      search: properties of the likelihood that a search for its maximum needs.
    """

    links: Mapping[str, Callable[[Mapping[str, Any]], tfb.Bijector]] = dataclasses.field(default_factory=dict)
    twins: Mapping[str, tuple[str, Callable[[], tfb.Bijector]]] = dataclasses.field(default_factory=dict)
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    of_one_shape: bool = False
    class_axis: Callable[[int], int] | None = None
    endless: tuple[str, ...] = ()
    mean: Callable[[tfd.Distribution], tf.Tensor] | None = None
    mode: Callable[[tfd.Distribution], tf.Tensor] | None = None
    finite_mean: bool = False
    center: Callable[[tfd.Distribution], tf.Tensor] | None = None
    log_prob: Callable[[tfd.Distribution, tf.Tensor], tf.Tensor] | None = None
    is_possible: Callable[[tfd.Distribution, tf.Tensor], tf.Tensor] | None = None
    surface: str = ""
    by_row_of_head: str = ""
    checked_in_float32: bool = False
    lowest: float = 0
    highest: Callable[[tfd.Distribution], tf.Tensor] | None = None
    has_share: bool = False
    marginal: Callable[[tfd.Distribution], tfd.Distribution] | None = None
    ends: Callable[[tfd.Distribution], tuple[Any, Any]] | None = None
    cdf: Callable[[tfd.Distribution, tf.Tensor], Tails] | None = None
    log_tails: Callable[[tfd.Distribution, tf.Tensor], Tails] | None = None
    integrated_tails: Callable[[tfd.Distribution, tf.Tensor], Tails] | None = None
    has_exact_cdf: bool = False
    density_corner: str | None = None
    crps: Callable[[tfd.Distribution, tf.Tensor], tf.Tensor] | None = None
    mean_minimum: Callable[[Any, Any], tf.Tensor] | None = None
    search: SearchPolicy = dataclasses.field(default_factory=SearchPolicy)

    @property
    def has_exact_tails(self) -> bool:
        """Whether the probability of an interval is accurate in both tails. False for angles, which have no tails."""
        return bool(self.log_tails or self.integrated_tails or self.has_exact_cdf) and not self.search.circular


FACTS: dict[type, Facts] = {}
"""The facts by TFP class. The modules of `laws` fill this dict."""

_DEFAULTS = Facts()
_DEFAULTS_OF_USER_CLASS = Facts(lowest=-math.inf)  # counts of a user's class may be negative


def facts_of(cls: type) -> Facts:
    """Returns the facts about a TFP class. A user's class gets only defaults, even if a TFP class has the same name."""
    return FACTS.get(plain_class(cls), _DEFAULTS_OF_USER_CLASS if is_own(plain_class(cls)) else _DEFAULTS)


def names_with_exact_tails() -> set[str]:
    """Returns the names of TFP's families for which the probability of an interval is accurate in both tails."""
    return {cls.__name__ for cls, facts in FACTS.items() if facts.has_exact_tails}


@functools.cache
def corrected(cls: Any) -> Any:
    """Derives a subclass of the same name, which uses `log_prob` and `is_possible` of the class's `Facts`.

    If the facts define neither function, the result is `cls` itself.
    """
    log_prob: Any = facts_of(cls).log_prob
    is_possible: Any = facts_of(cls).is_possible
    methods: dict[str, Any] = {}
    if log_prob is not None:
        methods["_log_prob"] = lambda self, y, **_: log_prob(self, y)
    if is_possible is not None:
        methods["_sample_control_dependencies"] = lambda self, y, **_: _assertions(self, is_possible(self, y))
    return derived(cls, methods=methods) if methods else cls


def _assertions(distribution: Any, possible: tf.Tensor) -> tuple:
    if not distribution.validate_args:
        return ()
    return (tf.debugging.assert_equal(possible, tf.ones_like(possible), message="It is outside the support."),)
