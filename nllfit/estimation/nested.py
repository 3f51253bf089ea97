"""The likelihood-ratio test: whether a family describes a sample better than a special case of it."""

import dataclasses

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.estimation.estimates import Estimate
from nllfit.families.protocol import ParametricFamily
from nllfit.quantiles import survival

__all__ = ["LikelihoodRatioTest", "likelihood_ratio_test"]

# Families of another name that are special cases, and whether at a bound of the parameter that makes them so.
_WITHIN = {
    ("Bernoulli", "Binomial"): False,
    ("Cauchy", "StudentT"): False,
    ("Chi2", "Gamma"): False,
    ("Exponential", "Gamma"): False,
    ("Exponential", "Weibull"): False,
    ("Geometric", "NegativeBinomial"): False,
    ("Laplace", "GeneralizedNormal"): False,
    ("Normal", "GeneralizedNormal"): False,
    ("Normal", "StudentT"): True,
    ("Poisson", "NegativeBinomial"): True,
    ("Uniform", "Beta"): False,
}


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
    `NegativeBinomial` of infinite `total_count`, it is 0 in half of all samples, and the p-value is half as large.

    Args:
      a: the `Estimate` of the special family: that of `b` with a parameter held at a value more, or one known to be a
        special case, such as the Exponential of the Gamma.
      b: the `Estimate` of the general family.

    Returns:
      A `LikelihoodRatioTest`.

    Raises:
      TypeError: if one is no `Estimate`.
      ValueError: if they are of different samples; if `a` is not known to be a special case of `b`; if one did not
        converge.

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
    at_bound = _at_bound(a.family, b.family)
    for name, estimate in (("a", a), ("b", b)):
        if not estimate.converged and not (name == "b" and at_bound):  # at the bound it is the special case
            raise ValueError(f"`{name}` is no maximum ({estimate.message}), so that there is no ratio of maxima.")
    more = b.num_parameters - a.num_parameters
    statistic = max(2 * (b.log_likelihood - a.log_likelihood), 0.0)
    tail = float(survival(tfd.Chi2(tf.constant(float(more), tf.float64)), statistic))  # with digits where TFP's is 0
    p_value = tail if not at_bound else 1.0 if statistic == 0 else tail / 2
    return LikelihoodRatioTest(statistic, more, p_value, at_bound, (a.family.label, b.family.label))


def _at_bound(special: ParametricFamily, general: ParametricFamily) -> bool:
    """Whether a special case is at a bound of the general family; a `ValueError` if it is not known to be one."""
    labels = f"`a`, {special.label}, is not known to be a special case of `b`, {general.label}"
    if special.component_shape or general.component_shape:
        raise ValueError(
            f"{labels}: the ratio of mixtures has no chi-square distribution. Compare their BIC, as `compare` does."
        )
    if special.name != general.name:
        if (special.name, general.name) in _WITHIN and not _held(general):
            return _WITHIN[special.name, general.name]
        raise ValueError(
            f"{labels}: give first the fit with a parameter more held at a value, such as "
            f"`maximum_likelihood({general.name!r}, y, {general.parameter_names[0]}=...)`, or rank both by `compare`."
        )
    ours, theirs = _held(special), _held(general)
    if not (ours.keys() > theirs.keys() and all(np.array_equal(ours[name], theirs[name]) for name in theirs)):
        raise ValueError(f"{labels}: it must hold what `b` holds, at the same values, and a parameter more.")
    return False


def _held(family):
    return {name: value for name, value in family.fixed.items() if name != "validate_args"}
