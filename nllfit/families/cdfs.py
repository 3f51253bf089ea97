"""CDFs of scalar distributions on the whole real line: TFP's where it has one that holds, and what it lacks.

TFP leaves a CDF undefined off the support, or goes on with its formula: Chi's is 0.78 at -1, a Weibull's NaN. Here it
is 0 below and 1 above. `_KNOWN`, and `formulas`, are those that TFP does not have, or loses digits or derivatives of.
"""

import functools
import math
from collections.abc import Callable

import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd

from nllfit.families.analytic import zeta
from nllfit.families.averaged_cdfs import beta_binomial, horseshoe, normal_inverse_gaussian, skellam
from nllfit.families.discreteness import is_discrete, line
from nllfit.families.facts import facts_of
from nllfit.families.formulas import formula_of, log_tails
from nllfit.families.incomplete_functions import beta_tails, gamma_tails
from nllfit.families.kinds import MIXTURE, MIXTURE_SAME_FAMILY, is_own
from nllfit.families.marginals import real_dtype

__all__ = ["between", "cdf_and_survival", "ends"]

_ROOT_2 = math.sqrt(2)
_LABELS = 2.0**30  # more than any label, and within int32


def cdf_and_survival(distribution: tfd.Distribution) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """The function of real numbers `y` `[..., *batch]` to `P(Y <= y)` and `P(Y > y)` of a scalar distribution.

    Either has digits of its own where it is small, if the family has a formula for it.
    """
    if isinstance(distribution, MIXTURE_SAME_FAMILY):
        probs = distribution.mixture_distribution.probs_parameter()
        of_components = cdf_and_survival(distribution.components_distribution)
        return lambda y: tuple(
            tf.reduce_sum(tf.cast(probs, y.dtype) * part, -1) for part in of_components(y[..., None])
        )
    if isinstance(distribution, MIXTURE) and type(distribution).__name__ != "ZeroInflatedNegativeBinomial":
        shares = tf.unstack(distribution.cat.probs_parameter(), num=len(distribution.components), axis=-1)
        of_parts = [cdf_and_survival(part) for part in distribution.components]

        def mixed(y):
            sides = zip(*(both(y) for both in of_parts), strict=True)
            return tuple(sum(tf.cast(p, y.dtype) * q for p, q in zip(shares, side, strict=True)) for side in sides)

        return mixed
    if hasattr(distribution, "cdf_and_survival"):
        return distribution.cdf_and_survival()
    low, high = ends(distribution)
    counts, inner, name = is_discrete(distribution), between(low, high), type(distribution).__name__

    def by_logarithms(d, y):
        return tuple(tf.exp(part) for part in log_tails(d, y, inner))

    known = None if is_own(type(distribution)) else _KNOWN.get(name)
    formula = known or (by_logarithms if formula_of(distribution) else _tfps)

    def both(y):
        y = tf.math.floor(y) if counts else y
        inside = (y >= low if counts else y > low) & (y < high) & tf.math.is_finite(y)  # where counts have no end, too
        # Off the support a formula may be NaN, and a NaN that `tf.where` does not take spoils the gradient.
        below, above = formula(distribution, tf.where(inside, y, inner))
        step = tf.where(tf.math.is_nan(y), y, tf.cast(y >= high, y.dtype))
        return tf.where(inside, below, step), tf.where(inside, above, 1 - step)

    return both


def _tfps(distribution, y):
    given = y if distribution.dtype.is_floating else tf.cast(tf.minimum(y, _LABELS), distribution.dtype)
    return distribution.cdf(given), distribution.survival_function(given)


def ends(distribution: tfd.Distribution) -> tuple[tf.Tensor, tf.Tensor]:
    """The ends of the support of a scalar distribution that is no mixture, in shapes that broadcast to its batch."""
    dtype, name = real_dtype(distribution), type(distribution).__name__
    if hasattr(distribution, "ends"):
        return distribution.ends()
    if isinstance(distribution, MIXTURE) and name != "ZeroInflatedNegativeBinomial":  # whose points have no ends
        parts = [ends(part) for part in distribution.components if not isinstance(part, tfd.Deterministic)]
        lows, highs = zip(*parts, strict=True)
        return functools.reduce(tf.minimum, lows), functools.reduce(tf.maximum, highs)
    if name == "Deterministic":  # whose bijector, onto one point, fails with NumPy 2.4
        low, high = -math.inf, math.inf
    elif name == "VonMises":  # its bijector names one turn of the circle, its CDF another
        low, high = distribution.loc - math.pi, distribution.loc + math.pi
    elif is_discrete(distribution):
        low = -math.inf if name == "Skellam" else float(facts_of(name).lowest)
        high = getattr(distribution, "total_count", math.inf)
        high = math.inf if name in ("NegativeBinomial", "ZeroInflatedNegativeBinomial") else high
    elif (bijector := line(distribution)) is None:  # a formula for positive numbers need not be one below 0
        unchecked = distribution.copy(validate_args=False)
        far, zero = unchecked.cdf(tf.constant(dtype.min, dtype)), unchecked.cdf(tf.zeros([], dtype))
        low, high = tf.where((far == 0) | (zero != 0), tf.constant(-math.inf, dtype), 0.0), math.inf
    else:
        low, high = (_forward(bijector, end, dtype) for end in (-math.inf, math.inf))
    low, high = (tf.cast(tf.convert_to_tensor(end), dtype) for end in (low, high))
    return tf.minimum(low, high), tf.maximum(low, high)  # some bijectors fall


def _forward(bijector, end, dtype):
    try:
        return bijector.forward(tf.constant(end, dtype))
    except (TypeError, ValueError, tf.errors.InvalidArgumentError):  # some compute in float32, whatever they are given
        return bijector.forward(end)


def between(low: tf.Tensor, high: tf.Tensor) -> tf.Tensor:
    """A number inside the support from `low` to `high`, for all of a batch."""
    low, high = tf.stop_gradient(low), tf.stop_gradient(high)  # the derivative of an infinite end is NaN
    one_sided = tf.where(tf.math.is_finite(low), low + 1, tf.where(tf.math.is_finite(high), high - 1, 0.0))
    return tf.where(tf.math.is_finite(low) & tf.math.is_finite(high), low + (high - low) / 2, one_sided)


def _phi(z):
    return tf.math.erfc(-z / _ROOT_2) / 2


def _bernoulli(d, k):
    # TFP's is float32 in a graph, whatever it is given, and has no digits of a small probability.
    at_0 = tf.cast(k < 1, k.dtype)
    return tf.sigmoid(-d.logits_parameter()) * at_0 + (1 - at_0), tf.sigmoid(d.logits_parameter()) * at_0


def _beta(d, y):
    return beta_tails(d.concentration1, d.concentration0, y, 1 - y)


def _binomial(d, k):
    logits = d.logits_parameter()
    return beta_tails(d.total_count - k, k + 1, tf.sigmoid(-logits), tf.sigmoid(logits))


def _doublesided_maxwell(d, y):
    z = (y - d.loc) / d.scale
    density = z * tf.exp(-tf.square(z) / 2) / math.sqrt(2 * math.pi)
    return _phi(z) - density, _phi(-z) + density


def _exponentially_modified_gaussian(d, y):
    # TFP's logarithms lose all digits where `rate * scale` is large, and are NaN far to the left.
    z, v = (y - d.loc) / d.scale, d.rate * d.scale
    right = z > v
    far = tf.exp(-v * tf.where(right, z, v) + tf.square(v) / 2) * _phi(z - v)
    near = tf.exp(-tf.square(z) / 2) * tfp.math.erfcx(tf.where(right, tf.zeros_like(z), v - z) / _ROOT_2) / 2
    tail = tf.where(right, far, near)
    left = tf.exp(-tf.square(z) / 2) * (tfp.math.erfcx(tf.nn.relu(-z) / _ROOT_2) / 2) - near
    return tf.where(z < 0, left, _phi(z) - tail), _phi(-z) + tail


def _exp_gamma(d, y):
    return gamma_tails(d.concentration, tf.exp(y + (tf.math.log(d.rate) if d.log_rate is None else d.log_rate)))


def _exp_inverse_gamma(d, y):
    log_scale = tf.math.log(d.scale) if d.log_scale is None else d.log_scale
    return gamma_tails(d.concentration, tf.exp(log_scale - y))[::-1]


def _gamma(d, y):
    return gamma_tails(d.concentration, y * (tf.exp(d.log_rate) if d.rate is None else d.rate))


def _gamma_gamma(d, y):
    below, above = y / (y + d.mixing_rate), d.mixing_rate / (y + d.mixing_rate)
    return beta_tails(d.concentration, d.mixing_concentration, below, above)


def _half_student_t(d, y):
    # TFP's survival function is `1 - cdf`.
    squared = tf.square((y - d.loc) / d.scale)
    whole = d.df + squared
    return beta_tails(tf.ones_like(whole) / 2, d.df / 2, squared / whole, d.df / whole)


def _inverse_gaussian(d, y):
    # TFP's is NaN where `exp(2 concentration / loc)` overflows, and its survival function has no digits far out.
    root = tf.sqrt(d.concentration / y)
    z, other = root * (y / d.loc - 1), root * (y / d.loc + 1)
    half = tf.exp(-tf.square(z) / 2) / 2
    rest = half * tfp.math.erfcx(other / _ROOT_2)
    right = half * tfp.math.erfcx(tf.nn.relu(z) / _ROOT_2) - rest
    return _phi(z) + rest, tf.where(z > 0, right, _phi(-z) - rest)


def _negative_binomial(d, k):
    return beta_tails(d.total_count, k + 1, tf.sigmoid(-d.logits_parameter()), d.probs_parameter())


def _normal(z):
    return _phi(z), _phi(-z)  # a third of the time of the logarithms, with as many digits


def _pert(d, y):
    width, rest = d.high - d.low, d.high - y
    a, b = (1 + d.temperature * part / width for part in (d.peak - d.low, d.high - d.peak))
    return beta_tails(a, b, (y - d.low) / width, rest / width)


def _probit_bernoulli(d, k):
    probits = d.probits_parameter()
    return tf.where(k < 1, _phi(-probits), 1.0), tf.where(k < 1, _phi(probits), 0.0)


def _sigmoid_beta(d, y):
    return beta_tails(d.concentration1, d.concentration0, tf.sigmoid(y), tf.sigmoid(-y))


def _zero_inflated_negative_binomial(d, k):
    share = d.cat.probs_parameter()
    below, above = _negative_binomial(d.distribution, k)
    return share[..., 0] + share[..., 1] * below, share[..., 1] * above


def _zipf(d, k):
    whole = zeta(d.power, tf.ones_like(k))
    above = tf.where(k < 1, tf.ones_like(whole), zeta(d.power, tf.maximum(k, 1.0) + 1) / whole)
    first = tf.where(k < 2, 1 / whole, 1 - above)
    return tf.where(k < 1, tf.zeros_like(first), first), above


_KNOWN = {
    "Bernoulli": _bernoulli,
    "Beta": _beta,
    "BetaBinomial": beta_binomial,
    "Binomial": _binomial,
    "Chi": lambda d, y: gamma_tails(d.df / 2, tf.square(y) / 2),
    "Chi2": lambda d, y: gamma_tails(d.df / 2, y / 2),
    "DoublesidedMaxwell": _doublesided_maxwell,
    "ExpGamma": _exp_gamma,
    "ExpInverseGamma": _exp_inverse_gamma,
    "ExponentiallyModifiedGaussian": _exponentially_modified_gaussian,
    "Gamma": _gamma,
    "GammaGamma": _gamma_gamma,
    "HalfStudentT": _half_student_t,
    "Horseshoe": horseshoe,
    "InverseGamma": lambda d, y: gamma_tails(d.concentration, d.scale / y)[::-1],
    "InverseGaussian": _inverse_gaussian,
    "LogNormal": lambda d, y: _normal((tf.math.log(y) - d.loc) / d.scale),
    "NegativeBinomial": _negative_binomial,
    "Normal": lambda d, y: _normal((y - d.loc) / d.scale),
    "NormalInverseGaussian": normal_inverse_gaussian,
    "PERT": _pert,
    "Poisson": lambda d, k: gamma_tails(k + 1, d.rate_parameter())[::-1],
    "ProbitBernoulli": _probit_bernoulli,
    "SigmoidBeta": _sigmoid_beta,
    "Skellam": skellam,
    "ZeroInflatedNegativeBinomial": _zero_inflated_negative_binomial,
    "Zipf": _zipf,
}
