"""The laws of TFP's families: what `law` needs to know of each."""

import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from nllfit.families import densities
from nllfit.families.cdfs import CDFS
from nllfit.families.facts import FACTS, Facts, describe
from nllfit.families.interval_probability import by_quadrature
from nllfit.families.law import law_of
from nllfit.families.links import Softplus
from nllfit.families.log_tails import LOG_TAILS, Tails, two_pieces
from nllfit.families.sample_statistics import largest, median, smallest

_TINY = 1e-250  # tails that are near the smallest numbers


def _chi(d: tfd.Chi, y: tf.Tensor) -> Tails:
    return by_quadrature(law_of(tfd.Chi2(d.df)), tf.square(y))  # a Chi's density is infinite where a square underflows


# In the integrals below an end that is a parameter would move the integral, so the distribution is standardized.


def _half_student_t(d: tfd.HalfStudentT, y: tf.Tensor) -> Tails:
    standard = tfd.HalfStudentT(d.df, tf.zeros_like(d.df), tf.ones_like(d.df))
    return by_quadrature(law_of(standard), (y - d.loc) / d.scale)


def _von_mises(d: tfd.VonMises, y: tf.Tensor) -> Tails:
    return by_quadrature(law_of(tfd.VonMises(tf.zeros_like(d.concentration), d.concentration)), y - d.loc)


def _pert(d: tfd.PERT, y: tf.Tensor) -> Tails:
    width = d.high - d.low
    unit = tfd.PERT(tf.zeros_like(width), (d.peak - d.low) / width, tf.ones_like(width), d.temperature)
    return by_quadrature(law_of(unit), (y - d.low) / width)


def _two_piece_student_t(d: tfd.TwoPieceStudentT, y: tf.Tensor) -> Tails:
    standard = law_of(tfd.StudentT(d.df, tf.zeros_like(d.df), tf.ones_like(d.df)))
    return two_pieces(d, y, lambda z: by_quadrature(standard, z)[1])


def _beta_like(logit: Callable[[tf.Tensor], tf.Tensor]) -> Callable:
    """The tails of a Beta or of its logit by the CDF, and where that is tiny by the integral over the logit."""

    def tails(d, y):
        below, above = law_of(d).cdf()(y)
        left = below < above
        small = tf.where(left, below, above)
        far = small < _TINY
        log_small = tf.math.log(tf.where(far, tf.ones_like(small), small))
        there = by_quadrature(law_of(tfd.SigmoidBeta(d.concentration1, d.concentration0)), logit(y))
        log_small = tf.where(far, tf.where(left, *there), log_small)
        rest = tf.math.log1p(-small)
        return tf.where(left, log_small, rest), tf.where(left, rest, log_small)

    return tails


def _twice_the_log_odds() -> tfb.Bijector:
    return tfb.Sigmoid()(tfb.Scale(tf.constant(2.0, tf.float64)))


# The density of a vector on a surface has the unit of an area there, so it compares with no density in the whole space.
_SIMPLEX, _SPHERE = "the simplex", "the sphere"
_FACTORS, _MATRICES = "factors of correlation matrices", "correlation matrices"


# TFP leaves a bound that depends on another parameter without a link: `high` could not be learned.
_HIGH = {"high": lambda p: Softplus(low=p["low"])}
_PEAK = {**_HIGH, "peak": lambda p: tfb.Sigmoid(p["low"], p["high"])}


_ROWS = {
    # TFP's derivative by a concentration is wrong where that is 1, as it is at first where a network's is `exp(0)`.
    tfd.Beta: Facts(log_prob=densities.beta, finite_mean=True),
    # Totals differ from row to row more often than not.
    tfd.Binomial: Facts(
        by_row="A probability for all rows is a Bernoulli's, whose outcomes are the successes and the failures: "
        '`maximum_likelihood("Bernoulli", [1, 0], weights=[y.sum(), (total_count - y).sum()])`.',
        by_row_of_head="Totals by row are weights of a Bernoulli, which is the same likelihood up to a constant: train "
        "the head `Bernoulli(validate_args=False)` on the shares `y / total_count` with `sample_weight=total_count`.",
    ),
    # Where `scale` is held and small, the likelihood has a maximum at nearly every observation.
    tfd.Cauchy: Facts(scattered="loc"),
    # Its density is zero at `loc`, so that the likelihood has a maximum between any two observations.
    tfd.DoublesidedMaxwell: Facts(scattered="loc"),
    # Its density is a series (`tfp.math.hypergeometric`) that does not end at parameters which a search comes upon, and
    # it has no mean, median or mode; the quotient of the two means stands in.
    # https://github.com/tensorflow/probability/issues/1861
    tfd.BetaQuotient: Facts(
        center=lambda d: (
            tfd.Beta(d.concentration1_numerator, d.concentration0_numerator).mean()
            / tfd.Beta(d.concentration1_denominator, d.concentration0_denominator).mean()
        ),
        unfit="TFP's series for its density does not end at some parameters",
    ),
    tfd.CholeskyLKJ: Facts(surface=_FACTORS),
    # No shape of a label tells how many logits there are.
    tfd.Categorical: Facts(class_axis=lambda num_classes: num_classes),
    # As that of a Beta.
    tfd.Chi: Facts(log_prob=densities.chi),
    tfd.Chi2: Facts(log_prob=densities.chi2),
    tfd.Dirichlet: Facts(log_prob=densities.dirichlet, surface=_SIMPLEX),
    # Outcomes are logarithms of numbers whose parameters these are.
    tfd.ExpGamma: Facts(line=np.exp),
    tfd.ExpInverseGamma: Facts(line=np.exp),
    # The likelihood may have a maximum near each of its limits, a Normal and a shifted Exponential. TFP's density loses
    # all digits near the first.
    tfd.ExponentiallyModifiedGaussian: Facts(several_maxima=True, log_prob=densities.exponentially_modified_gaussian),
    tfd.ExpRelaxedOneHotCategorical: Facts(surface="the logarithms of the simplex"),
    # As that of a Beta. A search for its median takes a quarter of a second to write down, in each graph of a model.
    tfd.Gamma: Facts(log_prob=densities.gamma, finite_mean=True),
    # No mean for some parameters, and no median or mode in TFP: this is the mode.
    tfd.GammaGamma: Facts(
        sizes=("mixing_rate",),
        center=lambda d: d.mixing_rate * tf.nn.relu(d.concentration - 1) / (d.mixing_concentration + 1),
        log_prob=densities.gamma_gamma,
    ),
    # TFP's derivative by a concentration of 0 is 0.
    tfd.GeneralizedExtremeValue: Facts(log_prob=densities.generalized_extreme_value),
    # Newton's method would stop between two observations: below a power of 1 the density has a peak at `loc`, and the
    # likelihood one at each; from 1.3 on, to be exact beyond 1, it has none.
    # The smallest power may be a maximum, and the largest, a uniform distribution, another.
    tfd.GeneralizedNormal: Facts(corner="loc", has_corners=lambda p: p.get("power", 0.0) <= 1.3, several_maxima=True),
    # The likelihood rises with `loc` up to the smallest observation, and is zero beyond. TFP's density is not: it goes
    # on below `loc` without `validate_args`. https://github.com/tensorflow/probability/issues/1370
    tfd.GeneralizedPareto: Facts(statistics={"loc": smallest}, log_prob=densities.generalized_pareto),
    tfd.HalfCauchy: Facts(statistics={"loc": smallest}),
    # As above; the mean is infinite for `df <= 1`, and TFP has no median.
    tfd.HalfStudentT: Facts(
        statistics={"loc": smallest}, center=lambda d: d.loc + d.scale * tfd.StudentT(d.df, 0.0, 1.0).quantile(0.75)
    ),
    # As that of a Beta.
    tfd.Kumaraswamy: Facts(log_prob=densities.kumaraswamy),
    # TFP's mean fails while the batch size is unknown, as it is where tf_keras builds a model.
    tfd.LambertWNormal: Facts(mean=lambda d: d.loc),
    # Both are in the unit of the outcomes.
    tfd.InverseGaussian: Facts(sizes=("loc", "concentration"), places=()),
    tfd.LKJ: Facts(surface=_MATRICES),
    # The likelihood has a corner at every observation.
    tfd.Laplace: Facts(statistics={"loc": median}),
    # `loc` and `scale` are those of the outcomes' logarithms or logits.
    tfd.LogLogistic: Facts(line=np.log),
    tfd.LogNormal: Facts(line=np.log),
    tfd.LogitNormal: Facts(line=lambda y: np.log(y) - np.log1p(-y)),
    # Dependent columns would be fitted with an ever smaller covariance.
    tfd.MultivariateNormalFullCovariance: Facts(free_covariance=True),
    tfd.MultivariateNormalTriL: Facts(free_covariance=True),
    # A network sets a real number of successes, which `validate_args` would refuse. The search is as a Gamma's where it
    # is inflated with zeros.
    tfd.NegativeBinomial: Facts(arguments={"require_integer_total_count": False}, finite_mean=True),
    # TFP's derivative by `df` is wrong.
    tfd.NoncentralChi2: Facts(log_prob=densities.noncentral_chi2),
    # `skewness` lies within `tailweight`, so it has no link in TFP; both are per unit of the sample.
    # TFP's Bessel function is a series of loops for any order, which takes 18 s to write down; this one is of order 1.
    tfd.NormalInverseGaussian: Facts(
        links={"skewness": lambda p: tfb.Sigmoid(-p["tailweight"], p["tailweight"])},
        rates=("tailweight", "skewness"),
        log_prob=densities.normal_inverse_gaussian,
    ),
    # Cutpoints lie between the classes; no shape of a label tells how many there are.
    tfd.OrderedLogistic: Facts(class_axis=lambda num_classes: num_classes - 1),
    # TFP's density is a number beyond the bounds without `validate_args`.
    tfd.PERT: Facts(links=_PEAK, places=("loc", "low", "high", "peak"), log_prob=densities.within_bounds),
    # The likelihood rises with `scale` up to the smallest observation, and is zero beyond.
    tfd.Pareto: Facts(statistics={"scale": smallest}),
    tfd.PowerSpherical: Facts(surface=_SPHERE),
    # As that of an inflated NegativeBinomial.
    tfd.Poisson: Facts(finite_mean=True),
    # As that of a Beta.
    tfd.RelaxedBernoulli: Facts(log_prob=densities.relaxed_bernoulli),
    tfd.RelaxedOneHotCategorical: Facts(surface=_SIMPLEX),
    tfd.StoppingRatioLogistic: Facts(class_axis=lambda num_classes: num_classes - 1),
    # TFP's derivative by `rate1` and `rate2` is wrong below 0, where it is that at `-y`.
    tfd.Skellam: Facts(log_prob=densities.skellam),
    # TFP's mean is NaN for `df <= 1`, and it has no median: `loc` is both.
    # Where `df` or `scale` is held and small, the likelihood has a maximum at nearly every observation.
    tfd.StudentT: Facts(center=lambda d: d.loc, scattered="loc"),
    # The likelihood has a corner in `peak` at every observation. Its maximum may be where `low` meets it, or `high`.
    tfd.Triangular: Facts(links=_PEAK, places=("loc", "low", "high", "peak"), corner="peak", bounds=("low", "high")),
    # The narrowest window that holds the sample is the likeliest. A window may be open on one side.
    tfd.TruncatedCauchy: Facts(links=_HIGH, endless=("low", "high"), statistics={"low": smallest, "high": largest}),
    tfd.TruncatedNormal: Facts(links=_HIGH, endless=("low", "high"), statistics={"low": smallest, "high": largest}),
    tfd.Uniform: Facts(links=_HIGH, statistics={"low": smallest, "high": largest}),
    # An angle of 312 rad is one of 4.1 rad.
    tfd.VonMises: Facts(circular="loc"),
    # Its checks compare with the 1.0 of float32.
    tfd.VonMisesFisher: Facts(checked_in_float32=True, log_prob=densities.on_the_sphere, surface=_SPHERE),
    # As that of a Beta.
    tfd.Weibull: Facts(log_prob=densities.weibull),
    tfd.WishartTriL: Facts(surface="symmetric matrices"),
    # TFP makes the logits `[u, -u]` of `inflated_loc_logits`, twice the log-odds it names; it is a mixture that does
    # not broadcast its parts, so that a share for all rows would be refused. A network sets a real `total_count`.
    tfd.ZeroInflatedNegativeBinomial: Facts(
        twins={"inflated_loc_logits": ("inflated_loc_probs", _twice_the_log_odds)},
        arguments={"require_integer_total_count": False},
        of_one_shape=True,
        has_share=True,
    ),
    # Zero, which other counts can be, has no probability.
    # Nor has TFP's density a derivative.
    tfd.Zipf: Facts(lowest=1, log_prob=densities.zipf),
}

FACTS.update(_ROWS)

for _cls, _formula in CDFS.items():
    describe(_cls, cdf=_formula)
for _cls, _formula in LOG_TAILS.items():
    describe(_cls, log_tails=_formula)
for _cls in (
    *(tfd.Chi2, tfd.ExpGamma, tfd.ExpInverseGamma, tfd.ExponentiallyModifiedGaussian, tfd.Gamma, tfd.GammaGamma),
    *(tfd.GeneralizedNormal, tfd.InverseGamma, tfd.InverseGaussian, tfd.LambertWNormal, tfd.NormalInverseGaussian),
    tfd.StudentT,
):
    describe(_cls, is_smooth=True)
for _cls in (
    *(tfd.BetaBinomial, tfd.Binomial, tfd.Geometric, tfd.NegativeBinomial, tfd.Poisson, tfd.Skellam, tfd.Zipf),
    *(tfd.TruncatedCauchy, tfd.TruncatedNormal, tfd.ZeroInflatedNegativeBinomial),
):
    describe(_cls, has_exact_cdf=True)
describe(tfd.Beta, integrated_tails=_beta_like(lambda y: tf.math.log(y) - tf.math.log1p(-y)))
describe(tfd.SigmoidBeta, integrated_tails=_beta_like(lambda y: y))
describe(tfd.Chi, integrated_tails=_chi)
describe(tfd.HalfStudentT, integrated_tails=_half_student_t)
describe(tfd.PERT, integrated_tails=_pert)
describe(tfd.TwoPieceStudentT, integrated_tails=_two_piece_student_t, density_corner="loc")
describe(tfd.VonMises, integrated_tails=_von_mises, ends=lambda d: (d.loc - math.pi, d.loc + math.pi))
# Its bijector names one turn of the circle, its CDF another.

describe(tfd.Laplace, density_corner="loc")
describe(tfd.Triangular, density_corner="peak")
describe(tfd.TwoPieceNormal, density_corner="loc")
describe(tfd.Deterministic, ends=lambda d: (-math.inf, math.inf))  # its bijector onto a point fails with NumPy 2.4
describe(tfd.Binomial, highest=lambda d: d.total_count)
describe(tfd.BetaBinomial, highest=lambda d: d.total_count)
describe(tfd.Skellam, lowest=-math.inf)


def _multivariate_student_t(d):
    return tfd.StudentT(d.df[..., None], d.loc, tf.norm(d.scale.to_dense(), axis=-1))


def _dirichlet(d):
    return tfd.Beta(d.concentration, tf.reduce_sum(d.concentration, -1, keepdims=True) - d.concentration)


def _dirichlet_multinomial(d):
    rest = tf.reduce_sum(d.concentration, -1, keepdims=True) - d.concentration
    return tfd.BetaBinomial(d.total_count[..., None], d.concentration, rest)


describe(tfd.Dirichlet, marginal=_dirichlet)
describe(tfd.DirichletMultinomial, marginal=_dirichlet_multinomial)
describe(tfd.Multinomial, marginal=lambda d: tfd.Binomial(d.total_count[..., None], probs=d.probs_parameter()))
describe(tfd.MultivariateStudentTLinearOperator, marginal=_multivariate_student_t)
describe(tfd.OneHotCategorical, marginal=lambda d: tfd.Bernoulli(probs=d.probs_parameter(), dtype=d.dtype))
describe(tfd.VectorDeterministic, marginal=lambda d: tfd.Deterministic(d.loc))
for _cls in (
    *(tfd.MultivariateNormalDiag, tfd.MultivariateNormalDiagPlusLowRank, tfd.MultivariateNormalLinearOperator),
    *(
        tfd.MultivariateNormalDiagPlusLowRankCovariance,
        tfd.MultivariateNormalFullCovariance,
        tfd.MultivariateNormalTriL,
    ),
):
    describe(_cls, marginal=lambda d: tfd.Normal(d.mean(), d.stddev()))

for _cls in (tfd.Categorical, tfd.ExpRelaxedOneHotCategorical, tfd.RelaxedBernoulli, tfd.RelaxedOneHotCategorical):
    describe(_cls, center=lambda d: d.probs_parameter())
for _cls in (tfd.OrderedLogistic, tfd.StoppingRatioLogistic):
    describe(_cls, center=lambda d: d.categorical_probs())
