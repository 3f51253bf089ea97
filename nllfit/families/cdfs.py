"""CDFs of scalar distributions on the whole real line: TFP's where it has one that holds, and what it lacks.

TFP leaves a CDF undefined off the support, or goes on with its formula: Chi's is 0.78 at -1, a Weibull's NaN. Here it
is 0 below and 1 above. `_KNOWN`, and `formulas`, are those that TFP does not have, or loses digits or derivatives of.
"""

import functools
import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd

from nllfit.families.analytic import betainc, zeta
from nllfit.families.discreteness import is_discrete, line
from nllfit.families.facts import facts_of
from nllfit.families.formulas import formula_of, log_tails
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
    return _beta_tails(d.concentration1, d.concentration0, y, 1 - y)


def _beta_binomial(d, k):
    # TFP has none. A sum over all counts, which are as many for all rows.
    counts = tf.range(tf.reduce_max(d.total_count) + 1, dtype=k.dtype)
    counts = tf.reshape(counts, tf.concat([[-1], tf.ones([tf.rank(k + d.total_count)], tf.int32)], 0))
    probs = tf.where(counts <= d.total_count, tf.exp(d.log_prob(tf.minimum(counts, d.total_count))), 0.0)
    below = tf.reduce_sum(tf.where(counts <= k, probs, 0.0), 0)
    above = tf.reduce_sum(tf.where(counts > k, probs, 0.0), 0)
    return below, above


def _beta_tails(a, b, x, rest):
    """Those of a Beta at `x`, given `rest`, `1 - x`: either may be too near 1 to have the digits of the other."""
    most = 1 - np.finfo(x.dtype.as_numpy_dtype).epsneg  # at 1 a derivative is infinite
    below, above = betainc(a, b, tf.minimum(x, most)), betainc(b, a, tf.minimum(rest, most))
    dense = tfd.Beta(a, b).log_prob(x) > 0  # where a rounded `x` moves a probability by more than its own rounding
    return tf.where(dense & (x > 0.5), 1 - above, below), tf.where(dense & (x < 0.5), 1 - below, above)


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


def _gamma(d, y):
    y = y * (tf.exp(d.log_rate) if d.rate is None else d.rate)
    return tf.math.igamma(d.concentration, y), tf.math.igammac(d.concentration, y)


def _gamma_gamma(d, y):
    below, above = y / (y + d.mixing_rate), d.mixing_rate / (y + d.mixing_rate)
    return _beta_tails(d.concentration, d.mixing_concentration, below, above)


def _horseshoe(d, y):
    # A Normal whose scale is a half-Cauchy's: the trapezoidal rule in the logarithm of that scale.
    u = tf.constant(np.arange(-40, 40, 0.125), y.dtype)
    weights = 0.125 / (math.pi * tf.cosh(u))
    z = y[..., None] / d.scale[..., None] * tf.exp(-u)
    return tf.linalg.matvec(_phi(z), weights), tf.linalg.matvec(_phi(-z), weights)


def _inverse_gaussian(d, y):
    # TFP's is NaN where `exp(2 concentration / loc)` overflows, and its survival function has no digits far out.
    root = tf.sqrt(d.concentration / y)
    z, other = root * (y / d.loc - 1), root * (y / d.loc + 1)
    half = tf.exp(-tf.square(z) / 2) / 2
    rest = half * tfp.math.erfcx(other / _ROOT_2)
    right = half * tfp.math.erfcx(tf.nn.relu(z) / _ROOT_2) - rest
    return _phi(z) + rest, tf.where(z > 0, right, _phi(-z) - rest)


def _negative_binomial(d, k):
    probs, count = d.probs_parameter(), d.total_count
    return _beta_tails(count, k + 1, tf.math.sigmoid(-d.logits_parameter()), probs)


def _normal_inverse_gaussian(d, y):
    # A Normal whose variance is an inverse Gaussian's and moves the mean: the trapezoidal rule in its logarithm.
    gamma = tf.sqrt((d.tailweight - d.skewness) * (d.tailweight + d.skewness))
    shape = d.scale * gamma
    reach = tf.math.acosh(1 + 50 / shape)[..., None]  # where the density of the logarithm is exp(-50)
    u = reach * tf.constant(np.linspace(-1, 1, 257), y.dtype)
    density = tf.exp(-u / 2 - shape[..., None] * (tf.cosh(u) - 1))
    weights = density * tf.sqrt(shape / (2 * math.pi))[..., None] * reach / 128
    root = tf.sqrt(d.scale / gamma)[..., None] * tf.exp(u / 2)
    z = ((y - d.loc)[..., None] - d.skewness[..., None] * tf.square(root)) / root
    return tf.reduce_sum(_phi(z) * weights, -1), tf.reduce_sum(_phi(-z) * weights, -1)


def _normal(z):
    return _phi(z), _phi(-z)  # a third of the time of the logarithms, with as many digits


def _probit_bernoulli(d, k):
    probits = d.probits_parameter()
    return tf.where(k < 1, _phi(-probits), 1.0), tf.where(k < 1, _phi(probits), 0.0)


def _sigmoid_beta(d, y):
    return _beta_tails(d.concentration1, d.concentration0, tf.sigmoid(y), tf.sigmoid(-y))


def _skellam(d, k):
    # The count of the smaller rate is summed over, for it is the narrower; strides over it are exact where its
    # probabilities are as smooth as they are when it needs them.
    first, second = d.rate1_parameter()[..., None], d.rate2_parameter()[..., None]
    k = k[..., None]
    rate, other = tf.minimum(first, second), tf.maximum(first, second)
    low = tf.nn.relu(tf.math.floor(rate - 10 * tf.sqrt(rate)))
    stride = tf.math.ceil((rate + 10 * tf.sqrt(rate) + 20 - low) / 128)
    j = low + stride * tf.range(128, dtype=k.dtype)
    weights = stride * tf.exp(j * tf.math.log(rate) - rate - tf.math.lgamma(j + 1))
    upper = tf.where(first >= second, k + j, j - k - 1)  # K <= k: N1 <= k + N2, or N2 > N1 - k - 1
    known = upper >= 0
    upper = tf.nn.relu(upper) + 1
    poisson = tf.where(known, tf.math.igammac(upper, other), 0.0), tf.where(known, tf.math.igamma(upper, other), 1.0)
    below, above = (tf.reduce_sum(weights * part, -1) for part in poisson)
    swapped = (first < second)[..., 0]
    return tf.where(swapped, above, below), tf.where(swapped, below, above)


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
    "BetaBinomial": _beta_binomial,
    "Chi2": lambda d, y: (tf.math.igamma(d.df / 2, y / 2), tf.math.igammac(d.df / 2, y / 2)),
    "DoublesidedMaxwell": _doublesided_maxwell,
    "ExponentiallyModifiedGaussian": _exponentially_modified_gaussian,
    "Gamma": _gamma,
    "GammaGamma": _gamma_gamma,
    "Horseshoe": _horseshoe,
    "InverseGaussian": _inverse_gaussian,
    "LogNormal": lambda d, y: _normal((tf.math.log(y) - d.loc) / d.scale),
    "NegativeBinomial": _negative_binomial,
    "Normal": lambda d, y: _normal((y - d.loc) / d.scale),
    "NormalInverseGaussian": _normal_inverse_gaussian,
    "ProbitBernoulli": _probit_bernoulli,
    "SigmoidBeta": _sigmoid_beta,
    "Skellam": _skellam,
    "ZeroInflatedNegativeBinomial": _zero_inflated_negative_binomial,
    "Zipf": _zipf,
}
