"""The logarithm of the probability that a number lies between two others, exact in both tails and for any width.

The difference of two CDFs cancels where both are near 0 or 1, and where the interval is narrow. In the tail that is the
smaller, by its logarithm, nothing cancels but for the latter, and there the density is all but constant.
"""

import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.families.cdfs import between, cdf_and_survival, ends
from nllfit.families.discreteness import is_discrete
from nllfit.families.facts import facts_of
from nllfit.families.formulas import LOG_TAILS, Tails, formula_of, log1mexp, log_tails, two_pieces
from nllfit.families.kinds import MIXTURE_SAME_FAMILY, is_own
from nllfit.families.marginals import constant, constant_but

__all__ = ["CDF_FAMILIES", "LogInterval", "has_cdf", "log_density", "log_interval", "within"]

LogInterval = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

# Families with a density that is smooth on the real line, after a change of variables, and no formula in `LOG_TAILS`.
_SMOOTH = (
    *("Chi", "Chi2", "ExpGamma", "ExpInverseGamma"),
    *("ExponentiallyModifiedGaussian", "Gamma", "GammaGamma", "GeneralizedNormal", "HalfStudentT", "InverseGamma"),
    *("InverseGaussian", "LambertWNormal", "NormalInverseGaussian", "PERT", "StudentT"),
)
_OTHERS = ("Beta", "SigmoidBeta", "TwoPieceStudentT", "VonMises")
_COUNTS = (
    *("BetaBinomial", "Binomial", "Geometric", "NegativeBinomial", "Poisson", "Skellam", "Zipf"),
    "ZeroInflatedNegativeBinomial",
)
_TRUNCATED = {"TruncatedCauchy": tfd.Cauchy, "TruncatedNormal": tfd.Normal}
CDF_FAMILIES = frozenset({*LOG_TAILS, *_SMOOTH, *_OTHERS, *_COUNTS, *_TRUNCATED})
_NARROW = 0.5  # nats between two tails, below which their difference loses digits
_CORNERED = ("Laplace", "Triangular", "TwoPieceNormal", "TwoPieceStudentT")  # whose density has a corner
_TINY = 1e-250  # tails that are near the smallest numbers
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)
_NEGLIGIBLE = 700.0  # nats
_STEP = 1e-6
_TERMS = 64  # of a count's tail where it is tiny, and of the narrowest intervals
# Beyond a point at the distances `exp(u) - 1`, in units of the mean excess: light tails have ended where `u` is 4, and
# those of a power go on as an exponential.
_PANELS = np.array([*np.arange(0.0, 4.5, 0.5), 6, 10, 18, 34, 66, 130, 260, 520])
_GAUSS, _GAUSS_WEIGHTS = np.polynomial.legendre.leggauss(10)
_WIDTHS = np.diff(_PANELS)[:, None]
_U = (_PANELS[:-1, None] + _WIDTHS * (_GAUSS + 1) / 2).ravel()
_DISTANCES = np.expm1(_U)
_LOG_WEIGHTS = np.log((_WIDTHS * _GAUSS_WEIGHTS / 2).ravel()) + _U


def has_cdf(distribution: tfd.Distribution) -> bool:
    """Whether `log_interval` knows a scalar distribution, or a mixture of such."""
    distribution = getattr(distribution, "components_distribution", distribution)
    if hasattr(distribution, "log_interval"):
        return True
    if distribution.event_shape.rank:
        return False
    has_own = is_own(type(distribution)) and any(hasattr(distribution, name) for name in ("_cdf", "_log_cdf"))
    return has_own or type(distribution).__name__ in CDF_FAMILIES


def log_density(distribution: tfd.Distribution, y: tf.Tensor) -> tf.Tensor:
    """The log-density of a scalar distribution: TFP's, or the correction of it that the package has."""
    log_prob = facts_of(type(distribution).__name__).log_prob
    return distribution.log_prob(y) if log_prob is None else log_prob(distribution, y)


def log_interval(distribution: tfd.Distribution) -> LogInterval:
    """The function of numbers `lower` and `upper`, `[..., *batch]`, to `log P(lower < Y <= upper)`.

    Either may be infinite; where `lower >= upper` it is `-inf`. It has derivatives wherever the density has.

    Args:
      distribution: a scalar one without assertions, as `marginals` gives it.
    """
    if hasattr(distribution, "log_interval"):
        return distribution.log_interval
    if isinstance(distribution, MIXTURE_SAME_FAMILY):
        of_components = log_interval(distribution.components_distribution)
        logits = tf.nn.log_softmax(distribution.mixture_distribution.logits_parameter())
        return lambda lower, upper: tf.reduce_logsumexp(logits + of_components(lower[..., None], upper[..., None]), -1)
    name = type(distribution).__name__
    if name in _TRUNCATED:
        whole = _TRUNCATED[name](distribution.loc, distribution.scale)
        return within(log_interval(whole), distribution.low, distribution.high)
    return _of_counts(distribution) if is_discrete(distribution) else _of_numbers(distribution)


def within(whole: LogInterval, low: tf.Tensor, high: tf.Tensor) -> LogInterval:
    """That of the same distribution given that it lies between `low` and `high`."""
    return lambda lower, upper: whole(tf.maximum(lower, low), tf.minimum(upper, high)) - whole(low, high)


def _of_numbers(distribution):
    low, high = ends(distribution)
    inner = between(low, high)
    most = 1e-3 if type(distribution).__name__ in _CORNERED else _NARROW

    def at(y):
        inside = (y > low) & (y < high)
        below, above = _tails(constant_but(distribution, inside))(tf.where(inside, y, inner))
        start, end = tf.constant(-math.inf, y.dtype), tf.zeros([], y.dtype)
        return (
            tf.where(inside, below, tf.where(y >= high, end, start)),
            tf.where(inside, above, tf.where(y >= high, start, end)),
        )

    def log_probability(lower, upper):
        lower, upper = _broadcast(distribution, lower, upper)
        (below_lower, below_upper), (above_lower, above_upper) = map(tf.unstack, at(tf.stack([lower, upper])))
        left = below_upper <= above_lower
        more, less = tf.where(left, below_upper, above_lower), tf.where(left, below_lower, above_upper)
        possible = (lower < upper) & (more > -math.inf)
        subtracts = possible & (less > -math.inf)
        gap = _if(subtracts, _if(subtracts, more) - _if(subtracts, less), 1.0)
        # Where two tails are nearly one, so is the density between: a rule for polynomials is exact.
        narrow = gap < most
        start, width = tf.where(narrow, lower, inner), _if(narrow, upper - lower)
        nodes, weights = (_column(part / 2, tf.rank(width), width.dtype) for part in (_NODES + 1, _WEIGHTS))
        density = log_density(constant_but(distribution, narrow), start + width * nodes)
        narrow &= tf.reduce_max(density, 0) - tf.reduce_min(density, 0) < 1
        tight = tf.reduce_logsumexp(density + tf.math.log(weights), 0) + tf.math.log(_if(narrow, width, 1.0))
        wide = more + tf.where(subtracts, log1mexp(_if(~narrow, gap, 1.0)), tf.zeros_like(more))
        return tf.where(possible, tf.where(narrow, tight, wide), tf.constant(-math.inf, width.dtype))

    return log_probability


def _tails(distribution: tfd.Distribution) -> Callable[[tf.Tensor], Tails]:
    """The logarithms of both tails of a continuous distribution within its support."""
    name, d = type(distribution).__name__, distribution
    if formula_of(d):
        inner = between(*ends(d))
        return lambda y: log_tails(d, y, inner)
    if name == "HalfStudentT":  # as are PERT's, its end would be a parameter, and move the integral
        standard = tfd.HalfStudentT(d.df, tf.zeros_like(d.df), tf.ones_like(d.df))
        return lambda y: _by_quadrature(standard, (y - d.loc) / d.scale)
    if name == "Chi":  # whose density is infinite where a square underflows
        return lambda y: _by_quadrature(tfd.Chi2(d.df), tf.square(y))
    if name == "VonMises":  # both of whose ends are such
        circle = tfd.VonMises(tf.zeros_like(d.concentration), d.concentration)
        return lambda y: _by_quadrature(circle, y - d.loc)
    if name == "PERT":
        width = d.high - d.low
        unit = tfd.PERT(tf.zeros_like(width), (d.peak - d.low) / width, tf.ones_like(width), d.temperature)
        return lambda y: _by_quadrature(unit, (y - d.low) / width)
    if name == "TwoPieceStudentT":
        standard = tfd.StudentT(d.df, tf.zeros_like(d.df), tf.ones_like(d.df))
        return lambda y: two_pieces(d, y, lambda z: _by_quadrature(standard, z)[1])
    if name in _SMOOTH or is_own(type(d)):
        return lambda y: _by_quadrature(d, y)
    both = cdf_and_survival(d)

    def logarithms(y):
        below, above = both(y)
        left = below < above
        small = tf.where(left, below, above)
        betas = name in ("Beta", "SigmoidBeta")
        far = betas & (small < _TINY)
        log_small = tf.math.log(_if(~far, small, 1.0))
        if betas:
            logit = tf.math.log(y) - tf.math.log1p(-y) if name == "Beta" else y
            there = _by_quadrature(tfd.SigmoidBeta(d.concentration1, d.concentration0), logit)
            log_small = tf.where(far, tf.where(left, *there), log_small)
        rest = tf.math.log1p(-small)
        return tf.where(left, log_small, rest), tf.where(left, rest, log_small)

    return logarithms


def _by_quadrature(distribution, y):
    """The logarithms of both tails: that of the smaller one by the integral of the density, on the whole real line."""
    low, high = ends(distribution)
    fixed = tf.stop_gradient(y)
    step = _STEP * tf.maximum(tf.abs(fixed), tf.abs(fixed - between(low, high)))
    height, beside = tf.unstack(log_density(distribution, tf.stack([fixed, fixed + step])))
    known = tf.math.is_finite(height)  # not where a density has underflowed
    distribution, y = constant_but(distribution, known), tf.where(known, y, between(low, high))
    below, above = (tf.stop_gradient(part) for part in cdf_and_survival(constant(distribution))(fixed))
    left = below < above
    forward, inverse, log_slope = _unbounded(low, high, left)

    def log_prob(x):
        return log_density(distribution, forward(x)) + log_slope(x)

    x, tail = inverse(y), tf.where(left, below, above)
    slope = log_slope(x)
    height += slope
    excess = tf.where(tail > _TINY, tail / tf.exp(height), tf.abs(step / (beside - height + slope)) * tf.exp(-slope))
    scale = tf.stop_gradient(tf.where((excess > 0) & tf.math.is_finite(excess), excess, tf.ones_like(excess)))
    distances, weights = (_column(part, tf.rank(x), x.dtype) for part in (_DISTANCES, _LOG_WEIGHTS))
    places = x + tf.where(left, -scale, scale) * distances
    outcomes = tf.stop_gradient(forward(places))
    inside = (outcomes > low) & (outcomes < high) & tf.math.is_finite(outcomes)
    # A derivative can be NaN where a density has underflowed.
    inside &= tf.stop_gradient(log_prob(tf.where(inside, places, x)) - height) > -_NEGLIGIBLE
    values = tf.where(inside, log_prob(tf.where(inside, places, x)), tf.constant(-math.inf, x.dtype))
    small = tf.reduce_logsumexp(values + weights, 0) + tf.math.log(scale)
    small = tf.where(known, small, tf.constant(-math.inf, x.dtype))
    rest = log1mexp(tf.maximum(-small, 0.0))
    return tf.where(left, small, rest), tf.where(left, rest, small)


def _unbounded(low, high, left):
    """A map from the real line onto what is between two ends, its inverse and its log-derivative.

    To the right of a number that has an end on its left alone nothing is bounded, and no family has one on its right.
    """
    has_low, has_high = tf.math.is_finite(low), tf.math.is_finite(high)
    start, end = _if(has_low, low), _if(has_high, high, 1.0)
    both, one = has_low & has_high, has_low & ~has_high & left

    def forward(x):
        return tf.where(both, start + (end - start) * tf.sigmoid(x), tf.where(one, start + tf.exp(_if(one, x)), x))

    def inverse(y):
        above = tf.where(has_low, y, start + 0.5) - start
        return tf.where(
            both, tf.math.log(above) - tf.math.log(_if(both, end - y, 1.0)), tf.where(one, tf.math.log(above), y)
        )

    def log_slope(x):
        middle = tf.math.log(end - start) - tf.math.softplus(x) - tf.math.softplus(-x)
        return tf.where(both, middle, tf.where(one, x, tf.zeros_like(x)))

    return forward, inverse, log_slope


def _if(condition, value, other=0.0):
    return tf.where(condition, value, tf.constant(other, value.dtype))


def _of_counts(distribution):
    low, high = ends(distribution)
    some = tf.cast(between(low, high) + tf.zeros(distribution.batch_shape_tensor(), low.dtype), distribution.dtype)
    # Not where a rate overflows: no count is likely there, and derivatives are NaN.
    known = tf.math.is_finite(tf.stop_gradient(log_density(distribution, some)))

    def terms(distribution, first, last):
        """`log P(first <= Y <= last)` by at most so many terms from either end that is finite."""
        upwards = tf.math.is_finite(first)
        steps = _column(np.arange(float(_TERMS)), tf.rank(first), first.dtype)
        counts = tf.where(upwards, first + steps, last - steps)
        inside = tf.math.is_finite(counts) & (counts >= tf.maximum(first, low)) & (counts <= tf.minimum(last, high))
        log_probs = log_density(distribution, tf.where(inside, tf.cast(counts, some.dtype), some))
        log_probs = tf.where(inside, tf.cast(log_probs, counts.dtype), tf.constant(counts.dtype.min, counts.dtype))
        total = tf.reduce_logsumexp(log_probs, 0)
        return tf.where(tf.reduce_any(inside, 0), total, tf.constant(-math.inf, counts.dtype))

    def tails(distribution, lower, upper):
        """The two parts of the difference, of which `left` tells the tail."""
        below, above = cdf_and_survival(distribution)(tf.stack([lower, upper]))
        (below_lower, below_upper), (above_lower, above_upper) = tf.unstack(below), tf.unstack(above)
        left = below_upper <= above_lower
        return tf.where(left, below_upper, above_lower), tf.where(left, below_lower, above_upper), left

    def log_probability(lower, upper):
        lower, upper = _broadcast(distribution, lower, upper)
        lower, upper = (tf.where(tf.math.is_finite(k), tf.math.floor(k), k) for k in (lower, upper))
        more, less, left = tails(distribution, lower, upper)
        few = (upper - tf.maximum(lower, low - 1) <= _TERMS) | (tf.stop_gradient(more - less) < _TINY)
        # The end from which a tail falls off.
        first = tf.where(left & ~(upper - lower <= _TERMS), tf.constant(-math.inf, lower.dtype), lower + 1)
        one_by_one = terms(constant_but(distribution, few & known), first, upper)
        more, less, _ = tails(constant_but(distribution, ~few & known), lower, upper)
        difference = tf.math.log(tf.where(few, tf.ones_like(more), more - less))
        found = tf.where(few, one_by_one, difference)
        return tf.where(lower < upper, found, tf.constant(-math.inf, found.dtype))

    return log_probability


def _broadcast(distribution, lower, upper):
    zeros = tf.zeros(distribution.batch_shape_tensor(), lower.dtype) + tf.zeros_like(lower) + tf.zeros_like(upper)
    return lower + zeros, upper + zeros


def _column(values, rank, dtype):
    return tf.reshape(tf.constant(values, dtype), tf.concat([[-1], tf.ones([rank], tf.int32)], 0))
