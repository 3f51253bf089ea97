"""The named heads of families that modify another family: censored, truncated, zero-inflated and hurdle heads.

Each docstring gives *domain, link, formula*, as in `named_heads`. `u` is a number from the layer before the head. The
argument `family` is a family object, a class of `tfp.distributions`, or the name of such a class. With a class or a
name, the head also takes the arguments of `Family`.
"""

from collections.abc import Callable, Sequence
from typing import Any

from nllfit.families.censored import Censored as CensoredFamily
from nllfit.families.configs import restored
from nllfit.families.family_base import ParametricFamily
from nllfit.families.head_base import Head
from nllfit.families.inflated import Hurdle as HurdleFamily
from nllfit.families.inflated import ZeroInflated as ZeroInflatedFamily
from nllfit.families.truncated import Truncated as TruncatedFamily

__all__ = ["Censored", "Hurdle", "Truncated", "ZeroInflated"]


class _HeadOf(Head):
    """A head of a family that modifies another family."""

    _family_class: Callable[..., ParametricFamily]
    _default_shape: int | tuple = 1  # outcomes are `[B, 1]`, the usual shape in Keras

    def __init__(self, family: Any, event_shape: int | Sequence[int] | None = None, **kwargs: Any):
        super().__init__(family, event_shape, **kwargs)

    @classmethod
    def make_family(
        cls, family: Any, event_shape: int | Sequence[int] | None = None, **kwargs: Any
    ) -> ParametricFamily:
        return cls._family_class(restored(family), _shape(family, event_shape, cls._default_shape), **kwargs)


class Censored(_HeadOf):
    """A number, such as a survival time, that is known exactly or is only known to lie in an interval.

    Domain: y = [lower, upper] with lower <= upper, `[B, 2]`; see `nllfit.Censored`. Links: the links of the family.
    Formula: -log p(y) if lower = upper, else -log(F(upper) - F(lower)). F is the CDF.
    Converted to a tensor, the output is the prediction for the number before censoring, `[B]`.

    Args:
      family: a family with a CDF, or its name.
      event_shape: the shape of the numbers, an int or a tuple. Outcomes have shape `[B, *event_shape, 2]`, by default
        `[B, 2]`.
      **kwargs: further arguments of `Family`, if `family` is a name or class.

    Example:
      >>> head = Censored("Weibull")
      >>> head(tf.zeros([3, 2])).log_prob([[1.0, 1.0], [2.0, np.inf], [0.5, 1.5]]).shape
      TensorShape([3])

    Source: Klein and Moeschberger, Survival analysis, 2003, section 3.5.
    """

    _family_class, _default_shape = CensoredFamily, ()


class Truncated(Head):
    """A number that is recorded only if it lies within a window.

    Domain: low <= y <= high; for counts low < y <= high. Links: the links of the family. The parameters describe the
    number before truncation. Formula: -log p(y) + log(F(high) - F(low)). F is the CDF.

    If each row has its own window, the window is part of the outcome: `[y, low]`, `[y, high]` or `[y, low, high]`; see
    `nllfit.Truncated`. Converted to a tensor, the output is then the prediction for the number before truncation. If
    all rows have the same window, the tensor is the median of the truncated number.

    Args:
      family: a family with a CDF, or its name.
      low, high: the ends of the window. An end is a number, "row" if it differs between rows, or None for no bound.
      event_shape: shape of one outcome, an int or a tuple; by default 1, or () if an end is "row".
      **kwargs: further arguments of `Family`, if `family` is a name or class.

    Example:
      >>> Truncated("Poisson", low=0)(tf.constant([[0.0]])).log_prob([[1.0]]).numpy()  # log(1 / (e - 1))
      array([-0.541...], dtype=float32)

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
        super().__init__(family, low, high, event_shape, **kwargs)

    @staticmethod
    def make_family(
        family: Any,
        low: float | str | None = None,
        high: float | str | None = None,
        event_shape: int | Sequence[int] | None = None,
        **kwargs: Any,
    ) -> ParametricFamily:
        default = () if "row" in (low, high) else 1
        return TruncatedFamily(restored(family), low, high, _shape(family, event_shape, default), **kwargs)


class ZeroInflated(_HeadOf):
    """A count with additional zeros of probability pi, or an amount that is 0 with probability pi.

    Domain: 0 and the domain of the family. Links: logit(pi) = u, and the links of the family.
    Formula: -log p(0) = -log(pi + (1 - pi) p_family(0)). For other y, -log p(y) = -log(1 - pi) - log p_family(y). For
    an amount, p(0) = pi.

    Args:
      family: a family with a CDF, or its name.
      event_shape: shape of one outcome, an int or a tuple; by default 1.
      **kwargs: `zero_probs=0.2` holds pi at 0.2. With `shared=("zero_logits",)`, pi is the same for all inputs, and the
        head learns logit(pi) as a weight. If `family` is a name or class, the arguments of `Family` are allowed.

    Example:
      >>> ZeroInflated("Poisson")(tf.constant([[0.0, 0.0]])).log_prob([[0.0]]).numpy()  # log(1/2 + 1 / (2 e))
      array([-0.3798855], dtype=float32)

    Source: Lambert, Zero-inflated Poisson regression, 1992.
    """

    _family_class = ZeroInflatedFamily


class Hurdle(_HeadOf):
    """A count or an amount that is 0 with probability pi. Otherwise it follows the family, conditional on not being 0.

    Domain: 0, and the domain of the family except negative counts. Links: logit(pi) = u, and the links of the family.
    Formula: -log p(0) = -log(pi). For other y, -log p(y) = -log(1 - pi) - log p_family(y) + log(1 - P_family(0)), where
    P_family(0) is the probability of 0, which is 0 for an amount.
    If the family has negative counts, as Skellam has, all counts other than 0 are above 0, and the last term is
    log P_family(Y > 0).

    Args:
      family, event_shape, **kwargs: as for `ZeroInflated`.

    Example:
      >>> Hurdle("Gamma")(tf.constant([[0.0, 0.0, 0.0]])).log_prob([[0.0]]).numpy()  # log(1/2)
      array([-0.6931472], dtype=float32)

    Source: Mullahy, Specification and testing of some modified count data models, 1986.
    """

    _family_class = HurdleFamily


def _shape(family, event_shape, default):
    """Returns `event_shape`, or `default` if `event_shape` is None and `family` is not a family object."""
    is_family = isinstance(restored(family), ParametricFamily)
    return default if event_shape is None and not is_family else event_shape
