"""The likelihood-ratio test of a fitted family against a special case of it."""

import dataclasses
import math
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.cdf_and_quantiles import survival
from nllfit.estimation.estimates import Estimate
from nllfit.families.family_base import ParametricFamily
from nllfit.families.inflated import Hurdle, ZeroInflated
from nllfit.families.wrapped_family import FamilyOf, innermost

__all__ = ["LikelihoodRatioTest", "likelihood_ratio_test"]

# Maps (special case, general family) to the value of a parameter of the general family that gives the special case. An
# infinite value is a bound of the parameter.
_SPECIAL_CASES = {
    ("Cauchy", "StudentT"): {"df": 1.0},
    ("Chi2", "Gamma"): {"rate": 0.5},
    ("Exponential", "Gamma"): {"concentration": 1.0},
    ("Exponential", "Weibull"): {"concentration": 1.0},
    ("Geometric", "NegativeBinomial"): {"total_count": 1.0},
    ("Laplace", "GeneralizedNormal"): {"power": 1.0},
    ("Normal", "GeneralizedNormal"): {"power": 2.0},
    ("Normal", "StudentT"): {"df": math.inf},
    ("Poisson", "NegativeBinomial"): {"total_count": math.inf},
}
# A statistic between 0 and minus this number, in nats, counts as 0. Rounding errors can make a statistic slightly
# negative. If the special case is at a bound of a parameter of the general family, the fit of the general family may
# stop just before this bound. The statistic can then be slightly negative, too.
_ROUNDING = 0.02
# The name of the argument that fixes the share of extra zeros in a `ZeroInflated`, or the share of zeros in a `Hurdle`.
_ZERO_SHARE = "zero_probs"


@dataclasses.dataclass(frozen=True)
class LikelihoodRatioTest:
    """The likelihood-ratio test of two nested fits: `a`, the special case, and `b`, the general family.

    Attributes:
      statistic: `2 (log L(b) - log L(a))`, in nats.
      degrees_of_freedom: the number of parameters of `b` minus the number of parameters of `a`.
      p_value: the probability of a statistic at least as large as `statistic`, if the special case is true.
      at_bound: whether the special case is at a bound of a parameter of the general family.
      labels: the labels of the two families, the special case first.
    """

    statistic: float
    degrees_of_freedom: int
    p_value: float
    at_bound: bool
    labels: tuple[str, str]

    def summary(self) -> str:
        """The test as one line of text."""
        law = f"chi-square, {self.degrees_of_freedom} df" + (", mixed at the bound" if self.at_bound else "")
        special, general = self.labels
        return f"{special} within {general}: 2 log(L ratio) = {self.statistic:.4f} ({law}), p = {self.p_value:.4g}"


def likelihood_ratio_test(a: Estimate, b: Estimate) -> LikelihoodRatioTest:
    """Tests a fit against a more general one of the same sample, by Wilks' theorem.

    If the special case is true, then in large samples `2 (log L(b) - log L(a))` has a chi-square distribution with `k`
    degrees of freedom, where `k` is the number of parameters of `b` minus the number of parameters of `a`.

    The special case may be at a bound of a parameter of `b`. For example, a Poisson is a `NegativeBinomial` with an
    infinite `total_count`. It is also a `ZeroInflated` Poisson whose share of extra zeros is 0. In such a case, the
    estimate of the parameter is at the bound in half of all samples, so the statistic has the mixture distribution
    `0.5 chi2_(k-1) + 0.5 chi2_k`. A variable with the distribution `chi2_0` is always 0. If outcomes have `m` elements,
    the parameter has `m` elements at their bounds. The mixture is then `sum_i C(m, i) / 2^m chi2_(k-i)`, where `i` is
    the number of elements whose estimate is at the bound, and `C(m, i)` is the binomial coefficient.

    Args:
      a: the `Estimate` of the special case. The special case is either the family of `b` with at least one more
        parameter held at a value, or a known special case. (For example, the Exponential is a special case of the
        Gamma.) Two wrapped families (`Censored`, `Truncated`, `ZeroInflated` or `Hurdle`) must have the same wrapper
        and window, and the inner family of `a` must be a special case of the inner family of `b`. A family of counts is
        a special case of the `ZeroInflated` and `Hurdle` families that wrap it.
      b: the `Estimate` of the general family.

    Returns:
      A `LikelihoodRatioTest`.

    Raises:
      TypeError: if `a` or `b` is not an `Estimate`.
      ValueError: if one of these is true:
        - The two samples differ.
        - The kinds of likelihood differ. (At 0, a Normal has a density, but a `ZeroInflated("Normal")` has a
          probability.)
        - `a` is not known to be a special case of `b`.
        - `a` is at the bounds of two parameters of `b`, as a Poisson is in a `ZeroInflated("NegativeBinomial")`.
        - An end of the support, such as the `low` of a Uniform, is fixed in `a` but free in `b`.
        - A parameter that is free in `b` is fixed in `a`, at a value that is not above the parameter's `floor` in `b`.
          This includes a parameter that the family of `a` does not have: a Cauchy counts as a `StudentT` whose `df` is
          fixed at 1.
        - A fit did not converge. (If `a` is at a bound of a parameter of `b`, `b` need not converge.)
        - The log-likelihood of `b` is lower than that of `a` by more than 0.01 nats.

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
    problem_a, problem_b = a.problem, b.problem
    if not (np.array_equal(problem_a.y, problem_b.y) and np.array_equal(problem_a.weights, problem_b.weights)):
        raise ValueError(
            f"`a` and `b` are fits of different samples, of {len(a.problem.y)} and {len(b.problem.y)} observations: "
            f"fit both families to the same `y` and `weights`."
        )
    if a.family.measure != b.family.measure:
        raise ValueError(
            f"`a`, {a.family.label}, gives {a.family.measure}, but `b`, {b.family.label}, gives {b.family.measure}, so "
            f"their likelihoods cannot be compared: fit families of one kind, for example to the outcomes above 0."
        )
    num_at_bound = _num_at_bound(a.family, b.family)
    for name, estimate in (("a", a), ("b", b)):
        # If the likelihood of `b` rises all the way to the bound, it has no maximum, and `b` does not converge.
        if not estimate.converged and not (name == "b" and num_at_bound):
            raise ValueError(f"`{name}` is not a maximum ({estimate.message}), so the test does not apply.")
    _check_ends(a, b)
    degrees_of_freedom = b.num_parameters - a.num_parameters
    statistic = 2 * (b.log_likelihood - a.log_likelihood)
    if statistic < -_ROUNDING:
        raise ValueError(
            f"`b`, {b.family.label}, is {-statistic / 2:.4g} nats less likely than its special case `a`, "
            f"{a.family.label}: the fit of `b` ended at a lower local maximum, so the test does not apply."
        )
    statistic = max(statistic, 0.0)
    # The estimate of each element is at the bound in half of all samples, independently of the other elements.
    mixture_weights = [math.comb(num_at_bound, count) / 2**num_at_bound for count in range(num_at_bound + 1)]
    p_value = sum(
        weight * _chi_square_tail(statistic, degrees_of_freedom - i) for i, weight in enumerate(mixture_weights)
    )
    return LikelihoodRatioTest(
        statistic, degrees_of_freedom, p_value, num_at_bound > 0, (a.family.label, b.family.label)
    )


def _chi_square_tail(statistic, degrees_of_freedom):
    """Returns the probability that a chi-square variable is at least `statistic`.

    With 0 degrees of freedom the variable is 0.
    """
    if degrees_of_freedom == 0:
        return float(statistic == 0)
    chi2 = tfd.Chi2(tf.constant(float(degrees_of_freedom), tf.float64))
    return float(survival(chi2, statistic))  # TFP's own survival function rounds to 0 in the far tail


def _num_at_bound(special: ParametricFamily, general: ParametricFamily) -> int:
    """Returns how many elements of `general`'s parameters are at a bound of their domain if outcomes follow `special`.

    All of these elements belong to one parameter of `general`, and this parameter has as many elements as an outcome.
    Raises a `ValueError` if `special` is not known to be a special case of `general`, or if `special` is at the bounds
    of two parameters.
    """
    refusal = f"`a`, {special.label}, is not known to be a special case of `b`, {general.label}"
    if special.component_shape or general.component_shape:
        raise ValueError(
            f"{refusal}: the ratio of mixtures has no chi-square distribution. Compare their BIC, as `compare` does."
        )
    num_at_bound, inner_a, inner_b = 0, special, general
    held_a: dict[str, Any] = {}
    held_b: dict[str, Any] = {}
    while isinstance(inner_b, FamilyOf):
        if type(inner_a) is type(inner_b) and _window(inner_a) == _window(inner_b):
            held_a, held_b, inner_a = held_a | _held_share(inner_a), held_b | _held_share(inner_b), inner_a.family
        elif isinstance(inner_b, ZeroInflated) and not _held_share(inner_b):
            # `inner_a` has no extra zeros, so their share is 0, which is a bound. But in a hurdle family of counts, the
            # share is `P(Y = 0)`. This probability is positive for `inner_a`, so the share is not at a bound.
            num_at_bound += not (isinstance(inner_b, Hurdle) and inner_b.is_discrete)
            held_a |= {_ZERO_SHARE: None}
        else:
            break
        inner_b = inner_b.family
    if isinstance(inner_b, FamilyOf) and type(inner_a) is type(inner_b):
        raise ValueError(
            f"{refusal}: `a` has {_window(inner_a)} and `b` {_window(inner_b)}. Fit both with the same window."
        )
    held_a, held_b = held_a | _held_parameters(inner_a), held_b | _held_parameters(inner_b)
    if inner_a.name != inner_b.name:
        if (inner_a.name, inner_b.name) not in _SPECIAL_CASES or _held_parameters(inner_b):
            raise ValueError(f"{refusal}{_advice(inner_a.name, innermost(general))}")
        num_at_bound += math.inf in _SPECIAL_CASES[inner_a.name, inner_b.name].values()
        held_a |= _SPECIAL_CASES[inner_a.name, inner_b.name]
    _check_floors({name: held_a[name] for name in held_a.keys() - held_b.keys()}, inner_b.floor)
    if not (held_a.keys() > held_b.keys() and all(np.array_equal(held_a[name], held_b[name]) for name in held_b)):
        raise ValueError(f"{refusal}: hold the same parameters in `a` as in `b`, at the same values, and one more.")
    if num_at_bound > 1:
        raise ValueError(
            f"`a`, {special.label}, is at the bounds of {num_at_bound} parameters of `b`, {general.label}, where the "
            f"ratio has no known distribution: free one parameter at a time, with a test for each."
        )
    return num_at_bound * math.prod(inner_b.event_shape)


def _advice(name, general):
    """Returns the end of the error message for a family `name` that is not known to be a special case of `general`."""
    if (general.name, name) in _SPECIAL_CASES:
        return f", but {general.name} is one of {name}: give the special case first."
    return (
        f": give as `a` the fit of the same family with one more parameter held at a value, such as "
        f"`Family({general.name!r}, {general.parameter_names[0]}=...)`, or rank both by `compare`."
    )


def _check_floors(held, floors):
    """Raises a `ValueError` if a value in `held` is not above the floor of the same parameter in `floors`.

    `held` contains the values of the parameters that only the special case fixes. `floors` contains the floors of the
    general family's parameters. Both are dicts whose keys are the names of parameters.
    """
    for name in held.keys() & floors.keys():
        if np.any(np.asarray(held[name]) <= floors[name]):
            raise ValueError(
                f"`a` holds `{name}` at {held[name]}, but its floor in `b` is {floors[name]}, so `a` is not nested: "
                f"hold a value above the floor, or fit `b` with a lower floor."
            )


def _check_ends(a, b):
    """Raises a `ValueError` if an end of the support is fixed in `a` but free in `b`."""
    held = innermost(a.family).fixed
    ends = [name for name in b.problem.held if name in held and b.problem.degrees_of_freedom(name) > 1]
    if ends:
        raise ValueError(
            f"`a` holds `{ends[0]}`, an end of the support of `b`, {b.family.label}, where the ratio has no chi-square "
            f"distribution with one degree of freedom for each parameter: check whether the held value is inside "
            f'`b.confidence_intervals(method="profile")`, which uses 2 degrees of freedom.'
        )


def _window(family):
    """Returns those arguments of a wrapped family that are never estimated, such as the window."""
    return {name: value for name, value in family.arguments.items() if name not in ("family", "shared", _ZERO_SHARE)}


def _held_share(family):
    held = family.arguments.get(_ZERO_SHARE)
    return {} if held is None else {_ZERO_SHARE: held}


def _held_parameters(family):
    return {name: value for name, value in family.fixed.items() if name != "validate_args"}
