"""`ZeroInflated` and `Hurdle`: counts with more zeros than their family has, and amounts that may be 0."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from nllfit.families.arguments import as_names, own_copy
from nllfit.families.facts import Facts
from nllfit.families.inflated_distribution import InflatedDistribution
from nllfit.families.law import law_of
from nllfit.families.parameters import Numbers, Parameter, identity
from nllfit.families.truncated_distribution import AboveZero
from nllfit.families.wrapped_family import FamilyOf, checked_cdf, elementwise

__all__ = ["Hurdle", "ZeroInflated"]

_LOGITS, _PROBS = "zero_logits", "zero_probs"


class ZeroInflated(FamilyOf):
    """A family with additional zeros: with probability `pi`, an outcome is 0, else the outcome follows the family.

    `p(0) = pi + (1 - pi) p_family(0)`, and `p(y) = (1 - pi) p_family(y)` for other `y`. A family of amounts has a
    density, in which the single number 0 has no probability, so `p(0) = pi`. In the parameter vector,
    `zero_logits = logit(pi)` comes before the parameters of the family. The `parameters` of an estimate contain
    `zero_probs = pi`.

    Args:
      family: a family of numbers with a CDF: a class of `tfp.distributions` or its name, or a `Family`, `ByMean` or
        `Truncated` family.
      event_shape: the shape of one outcome, if `family` is a name or class. The default is ().
      zero_probs: a value at which `pi` is held. By default `pi` is free.
      shared: `("zero_logits",)` if a head learns one `pi` for all inputs. If `family` is a name or class, `shared` may
        also contain names of the family's parameters.
      **kwargs: further arguments of `Family`, if `family` is a name or class.

    Raises:
      ValueError: for a reason given at `Censored`, or if one of these is true:
        - `zero_probs` is not between 0 and 1, or `pi` is both held and shared.
        - The family already has additional zeros, or is a mixture.
        - The family is `Censored`, or is `Truncated` with a window for each row.

    Example:
      >>> estimate = nllfit.maximum_likelihood(nllfit.ZeroInflated("Poisson"), [0, 0, 0, 0, 2, 3, 0, 1, 4, 2])
      >>> round(estimate.parameters["zero_probs"], 3), round(estimate.parameters["rate"], 3)
      (0.431, 2.109)

    Source: Lambert, Zero-inflated Poisson regression, 1992.
    """

    def __init__(
        self,
        family: Any,
        event_shape: int | Sequence[int] | None = None,
        *,
        zero_probs: Any = None,
        shared: str | Sequence[str] = (),
        **kwargs: Any,
    ):
        names = as_names("shared", shared)
        others = tuple(name for name in names if name != _LOGITS)
        super().__init__(family, event_shape, **kwargs | ({"shared": others} if others else {}))
        if self.family.columns or self.family.component_shape:
            raise ValueError(f"`family` is {self.family.label}: give a family of single numbers, and no mixture.")
        if self.family.facts.has_share:
            raise ValueError(
                f"`family` is {self.family.label}, which has a share of zeros already, and two shares cannot be told "
                f"apart: give the family without its share."
            )
        checked_cdf(self.family)
        self.zero_probs = own_copy(zero_probs)
        if zero_probs is not None:
            probs = np.asarray(zero_probs)
            if probs.dtype.kind not in "iuf" or not np.all((probs > 0) & (probs < 1)):
                raise ValueError(f"`zero_probs` is {zero_probs!r}: give a probability between 0 and 1.")
            if probs.shape not in ((), self.element_shape):
                raise ValueError(
                    f"`zero_probs` has shape {probs.shape}: give a number, or an array of the outcome's shape, "
                    f"{self.element_shape}."
                )
            probs = probs.astype(np.float64)
            if _LOGITS in names:
                raise ValueError("`zero_probs` is shared and held at a value: choose one of them.")
            self.fixed = self.fixed | {_LOGITS: np.log(probs) - np.log1p(-probs)}
        parameter = Parameter(_LOGITS, self.element_shape, identity, _PROBS, tfb.Sigmoid, shared=int(_LOGITS in names))
        self.records = (parameter, *self.family.records)

    @property
    def facts(self) -> Facts:
        return dataclasses.replace(super().facts, has_share=True)

    def exact_outcomes(self, y: np.ndarray) -> np.ndarray:
        return self.family.exact_outcomes(y[(y != 0).reshape([len(y), -1]).all(-1)])

    def build(self, parameters: Numbers, dtype: tf.DType) -> tfd.Distribution:
        arguments = self.fixed | parameters
        logits, checks = tf.convert_to_tensor(arguments.pop(_LOGITS), dtype), arguments.get("validate_args", True)
        return elementwise(self.family.build(arguments, dtype), lambda d: self._inflated(logits, d, checks))

    def _inflated(self, logits, distribution, checks):
        return InflatedDistribution(logits, distribution, checks, name=f"{type(self).__name__}{self.family.name}")

    @property
    def arguments(self) -> dict[str, Any]:
        shared = {"shared": (_LOGITS,)} if self.records[0].shared else {}
        held = {} if self.zero_probs is None else {_PROBS: self.zero_probs}
        return {"family": self.family} | held | shared


class Hurdle(ZeroInflated):
    """A family with separate zeros: with probability `pi`, an outcome is 0, else a nonzero outcome of the family.

    For counts, `p(0) = pi`, and `p(y) = (1 - pi) p_family(y) / P_family(Y > 0)` for `y > 0`. So the family describes
    only the counts above 0. If the family has no negative counts, `P_family(Y > 0)` is `1 - p_family(0)`. If the family
    has negative counts (Skellam), they have probability 0 in the `Hurdle` family.

    For a family with a density, `Hurdle` equals `ZeroInflated`. `Hurdle` has the same parameters and arguments as
    `ZeroInflated`, and raises the same errors.

    Example:
      >>> estimate = nllfit.maximum_likelihood(nllfit.Hurdle("LogNormal"), [0.0, 0.0, 1.5, 0.0, 7.0, 2.5])
      >>> round(estimate.parameters["zero_probs"], 3)
      0.5

    Source: Mullahy, Specification and testing of some modified count data models, 1986.
    """

    def _inflated(self, logits, distribution, checks):
        if law_of(distribution).is_discrete:
            distribution = AboveZero(distribution, checks)
        return super()._inflated(logits, distribution, checks)
