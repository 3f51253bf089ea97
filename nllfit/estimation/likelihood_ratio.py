"""The likelihood-ratio test: whether a family describes a sample better than a special case of it."""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.estimation.estimates import Estimate
from nllfit.families.inflated import Hurdle, ZeroInflated
from nllfit.families.protocol import ParametricFamily
from nllfit.families.wrapped import FamilyOf
from nllfit.quantiles import survival

__all__ = ["LikelihoodRatioTest", "likelihood_ratio_test"]

# Families of another name that are special cases, and whether at a bound of the parameter that makes them so.
_WITHIN = {
    ("Cauchy", "StudentT"): False,
    ("Chi2", "Gamma"): False,
    ("Exponential", "Gamma"): False,
    ("Exponential", "Weibull"): False,
    ("Geometric", "NegativeBinomial"): False,
    ("Laplace", "GeneralizedNormal"): False,
    ("Normal", "GeneralizedNormal"): False,
    ("Normal", "StudentT"): True,
    ("Poisson", "NegativeBinomial"): True,
}
_ROUNDING = 0.02  # nats that rounding, and a search broken off on its way to a bound, may take from twice the ratio
_SHARE, _NAME = "zero_probs", "name"


@dataclasses.dataclass(frozen=True)
class LikelihoodRatioTest:
    """How much better the general of two nested fits is, beside what chance would give.

    Attributes:
      statistic: `2 (log L(b) - log L(a))`, in nats.
      degrees_of_freedom: by how many parameters the general family has more.
      p_value: how often the statistic would be as large if the special case were true.
      at_bound: whether the special case is at a bound of a parameter of the general one.
      labels: the two families, the special one first.
    """

    statistic: float
    degrees_of_freedom: int
    p_value: float
    at_bound: bool
    labels: tuple[str, str]

    def summary(self) -> str:
        """The test in a line of text."""
        law = f"chi-square, {self.degrees_of_freedom} df" + (", halved at the bound" if self.at_bound else "")
        special, general = self.labels
        return f"{special} within {general}: 2 log(L ratio) = {self.statistic:.4f} ({law}), p = {self.p_value:.4g}"


def likelihood_ratio_test(a: Estimate, b: Estimate) -> LikelihoodRatioTest:
    """Tests a fit against a more general one of the same sample, by Wilks' theorem.

    If the special family is true, `2 (log L(b) - log L(a))` has in large samples a chi-square distribution with as many
    degrees of freedom as `b` has more parameters. Where `a` is at a bound of a parameter of `b`, as a Poisson is a
    `NegativeBinomial` of infinite `total_count`, and a `ZeroInflated` one with a share of 0, that parameter counts in
    half of all samples alone: of one more the distribution is `0.5 chi2_0 + 0.5 chi2_1`, of `k` more
    `0.5 chi2_(k-1) + 0.5 chi2_k`, with `chi2_0` the number 0.

    Args:
      a: the `Estimate` of the special family: that of `b` with a parameter held at a value more, or one known to be a
        special case, such as the Exponential of the Gamma. A `Censored`, `Truncated`, `ZeroInflated` or `Hurdle` family
        is one of another with the same window if what is inside is; a family of counts is one of `ZeroInflated` and
        `Hurdle` ones.
      b: the `Estimate` of the general family.

    Returns:
      A `LikelihoodRatioTest`.

    Raises:
      TypeError: if one is no `Estimate`.
      ValueError: if they are of different samples; if they give likelihoods of different kinds, as a Normal gives 0 a
        density and a `ZeroInflated("Normal")` a probability; if `a` is not known to be a special case of `b`, or at the
        bounds of two parameters, as a Poisson in a `ZeroInflated("NegativeBinomial")`; if one did not converge; if `b`
        is less likely than `a`.

    Example:
      >>> y = [0.5, 1.5, 0.2, 3.1, 0.9, 2.2]
      >>> test = likelihood_ratio_test(maximum_likelihood("Exponential", y), maximum_likelihood("Gamma", y))
      >>> round(test.statistic, 3), test.degrees_of_freedom, round(test.p_value, 3)
      (0.654, 1, 0.419)

    Source: Wilks, The large-sample distribution of the likelihood ratio for testing composite hypotheses, 1938; Self
    and Liang, Asymptotic properties of maximum likelihood estimators and likelihood ratio tests under nonstandard
    conditions, 1987.
    """
    for name, estimate in (("a", a), ("b", b)):
        if not isinstance(estimate, Estimate):
            raise TypeError(f"`{name}` is a {type(estimate).__name__}: give what `maximum_likelihood` returned.")
    samples = [(estimate.problem.y, estimate.problem.weights) for estimate in (a, b)]
    if not all(np.array_equal(one, other) for one, other in zip(*samples, strict=True)):
        raise ValueError(
            f"`a` and `b` are fits of different samples, of {len(a.problem.y)} and {len(b.problem.y)} observations: "
            f"fit both families to the same `y` and `weights`."
        )
    if a.family.measure != b.family.measure:
        raise ValueError(
            f"`a`, {a.family.label}, gives {a.family.measure}, and `b`, {b.family.label}, {b.family.measure}, so their "
            f"likelihoods have no ratio: fit families that give the same, such as both of amounts above 0."
        )
    at_bound = _num_at_bound(a.family, b.family) > 0
    for name, estimate in (("a", a), ("b", b)):
        if not estimate.converged and not (name == "b" and at_bound):  # at the bound it is the special case
            raise ValueError(f"`{name}` is no maximum ({estimate.message}), so that there is no ratio of maxima.")
    more = b.num_parameters - a.num_parameters
    statistic = 2 * (b.log_likelihood - a.log_likelihood)
    if statistic < -_ROUNDING:
        raise ValueError(
            f"`b`, {b.family.label}, is {-statistic / 2:.4g} nats less likely than its special case `a`, "
            f"{a.family.label}: the fit of `b` ended at a lower maximum, so that there is no ratio of maxima."
        )
    statistic = max(statistic, 0.0)
    p_value = _tail(statistic, more) if not at_bound else (_tail(statistic, more - 1) + _tail(statistic, more)) / 2
    return LikelihoodRatioTest(statistic, more, p_value, at_bound, (a.family.label, b.family.label))


def _tail(statistic, degrees_of_freedom):
    """How often a chi-square number is as large; with none of freedom it is 0."""
    if degrees_of_freedom == 0:
        return float(statistic == 0)
    chi2 = tfd.Chi2(tf.constant(float(degrees_of_freedom), tf.float64))
    return float(survival(chi2, statistic))  # with digits where TFP's is 0


def _num_at_bound(special: ParametricFamily, general: ParametricFamily) -> int:
    """How many parameters of the general family a special case is at a bound of; a `ValueError` if it is none."""
    labels = f"`a`, {special.label}, is not known to be a special case of `b`, {general.label}"
    if special.component_shape or general.component_shape:
        raise ValueError(
            f"{labels}: the ratio of mixtures has no chi-square distribution. Compare their BIC, as `compare` does."
        )
    num_at_bound, inner, outer = 0, special, general
    ours: dict[str, Any] = {}
    theirs: dict[str, Any] = {}
    while isinstance(outer, FamilyOf):
        if type(inner) is type(outer) and _facts(inner) == _facts(outer):
            ours, theirs, inner = ours | _share(inner), theirs | _share(outer), inner.family
        elif isinstance(outer, ZeroInflated) and not _share(outer):
            # Without zeros of its own a family has no share of them; counts behind a hurdle have as many as they would.
            num_at_bound += not (isinstance(outer, Hurdle) and outer.is_discrete)
            ours |= {_SHARE: None}
        else:
            break
        outer = outer.family
    if isinstance(outer, FamilyOf) and type(inner) is type(outer):
        raise ValueError(f"{labels}: `a` has {_facts(inner)} and `b` {_facts(outer)}. Fit both with the same window.")
    ours, theirs = ours | _held(inner), theirs | _held(outer)
    if inner.name != outer.name:
        if (inner.name, outer.name) not in _WITHIN or _held(outer):
            raise ValueError(
                f"{labels}: give first the fit of the same family with a parameter more held at a value, as "
                f"`Family({_innermost(general).name!r}, {_innermost(general).parameter_names[0]}=...)` holds one, or "
                f"rank both by `compare`."
            )
        num_at_bound += _WITHIN[inner.name, outer.name]
        ours |= {_NAME: inner.name}
    if not (ours.keys() > theirs.keys() and all(np.array_equal(ours[name], theirs[name]) for name in theirs)):
        raise ValueError(f"{labels}: it must hold what `b` holds, at the same values, and a parameter more.")
    if num_at_bound > 1:
        raise ValueError(
            f"`a`, {special.label}, is at the bounds of {num_at_bound} parameters of `b`, {general.label}, where the "
            f"ratio has no known distribution: free one after the other, with a test for each."
        )
    return num_at_bound


def _facts(family):
    """What belongs to a family that is made of another, but for what can be estimated."""
    return {name: value for name, value in family.arguments.items() if name not in ("family", "shared", _SHARE)}


def _share(family):
    held = family.arguments.get(_SHARE)
    return {} if held is None else {_SHARE: held}


def _held(family):
    return {name: value for name, value in family.fixed.items() if name != "validate_args"}


def _innermost(family):
    return _innermost(family.family) if isinstance(family, FamilyOf) else family
