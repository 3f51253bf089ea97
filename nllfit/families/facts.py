"""What TensorFlow Probability does not know of its families, one row each: a new family needs a row here or nothing.

TFP describes nearly all of a family itself (`Distribution.parameter_properties`). A row holds the rest, and says what
would be wrong without it.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from nllfit.families import densities
from nllfit.families.links import Softplus
from nllfit.families.sample_statistics import largest, median, smallest

__all__ = ["FACTS", "Facts", "corrected", "facts_of", "has_class_labels"]

Statistic = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _itself(y: np.ndarray) -> np.ndarray:
    return y


@dataclasses.dataclass(frozen=True)
class Facts:
    """What is to be known of a family beside what TFP says.

    Attributes:
      links: the links of parameters whose bounds are other parameters, from those before them by name, element by
        element; TFP has none.
      twins: the natural name of a parameter and what makes the link to it, where TFP's names mislead.
      arguments: of the constructor, in place of its defaults.
      of_one_shape: whether its constructor takes only parameters of one shape, and does not broadcast them.
      class_axis: the size of the parameter that has an axis of classes, from their number, of a family whose outcome is
        a class label, and so tells nothing of it.
      endless: the argument of the constructor that may be infinite.
      mean: the mean, where TFP's fails.
      finite_mean: whether it is finite whatever the parameters, so that a search for the median would only be traced.
      center: a center where there is no mean, and TFP has neither a median nor a mode.
      places, sizes, rates: of a location-scale family or a scale family, the parameters that move and stretch with the
        sample, those that only stretch, and those that shrink.
      line: the map from outcomes to the numbers which `places` and `sizes` move and stretch, as `log` of a LogNormal's;
        by default the outcomes themselves.
      statistics: parameters in which the likelihood is not smooth: whatever the others are, it is largest at these
        statistics of a sample `[n, *event]` with weights `[n]`.
      corner: a parameter in which it has a corner at every observation, and its maximum at one of them.
      bounds: the two parameters, if any, that bound the support, one of which meets the corner at an end of the sample.
      has_corners: whether it has them, from the parameters by name; by default it always has.
      scattered: a parameter in which it may have a maximum at, or between, any two observations.
      several_maxima: whether it may have several maxima in its other parameters, so that one climb is not enough.
      circular: a parameter that is an angle in radians, all of which that differ by `2 pi` are one.
      log_prob: the log-density of a distribution of the family at outcomes, where TFP's is wrong or slow.
      kinks: such parameters where the family is a part of another, whose maximum is elsewhere.
      free_covariance: whether its covariance can become singular in any direction, so that dependent columns of a
        sample leave the likelihood without a bound.
      surface: where outcomes lie, if the density is one per unit of a surface and not of the whole space.
      by_row, by_row_of_head: what to do in estimation, and in training, where a parameter is known for each row, in
        words.
      checked_in_float32: whether TFP's checks fail in any other dtype, so that there are none.
      lowest: the lowest count or label.
      has_share: whether it has a share of zeros beside those of another family.
      unfit: why a search for the maximum would not end; empty if it does.
    """

    links: Mapping[str, Callable[[Mapping[str, Any]], tfb.Bijector]] = dataclasses.field(default_factory=dict)
    twins: Mapping[str, tuple[str, Callable[[], tfb.Bijector]]] = dataclasses.field(default_factory=dict)
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    of_one_shape: bool = False
    class_axis: Callable[[int], int] | None = None
    endless: tuple[str, ...] = ()
    mean: Callable[[tfd.Distribution], tf.Tensor] | None = None
    finite_mean: bool = False
    center: Callable[[tfd.Distribution], tf.Tensor] | None = None
    places: tuple[str, ...] = ("loc", "low", "high")
    sizes: tuple[str, ...] = ("scale", "scale_diag", "scale_tril")
    rates: tuple[str, ...] = ("rate",)
    line: Callable[[np.ndarray], np.ndarray] = _itself
    statistics: Mapping[str, Statistic] = dataclasses.field(default_factory=dict)
    corner: str | None = None
    bounds: tuple[str, ...] = ()
    has_corners: Callable[[Mapping[str, Any]], bool] | None = None
    scattered: str | None = None
    several_maxima: bool = False
    circular: str | None = None
    log_prob: Callable[[tfd.Distribution, tf.Tensor], tf.Tensor] | None = None
    kinks: tuple[str, ...] = ()
    free_covariance: bool = False
    surface: str = ""
    by_row: str = ""
    by_row_of_head: str = ""
    checked_in_float32: bool = False
    lowest: int = 0
    has_share: bool = False
    unfit: str = ""

    @property
    def of_a_part(self) -> "Facts":
        """Those that hold where the family is a part of another, as of a mixture."""
        kinks = (*self.statistics, *filter(None, [self.corner]))
        return dataclasses.replace(
            self,
            statistics={},
            corner=None,
            bounds=(),
            scattered=None,
            several_maxima=True,
            circular=None,
            log_prob=None,
            kinks=kinks,
        )


def _twice_the_log_odds() -> tfb.Bijector:
    return tfb.Sigmoid()(tfb.Scale(tf.constant(2.0, tf.float64)))


# The density of a vector on a surface has the unit of an area there, so it compares with no density in the whole space.
_SIMPLEX, _SPHERE = "the simplex", "the sphere"
_FACTORS, _MATRICES = "factors of correlation matrices", "correlation matrices"


# TFP leaves a bound that depends on another parameter without a link: `high` could not be learned.
_HIGH = {"high": lambda p: Softplus(low=p["low"])}
_PEAK = {**_HIGH, "peak": lambda p: tfb.Sigmoid(p["low"], p["high"])}


FACTS: Mapping[str, Facts] = {
    # TFP's derivative by a concentration is wrong where that is 1, as it is at first where a network's is `exp(0)`.
    "Beta": Facts(log_prob=densities.beta, finite_mean=True),
    # Totals differ from row to row more often than not.
    "Binomial": Facts(
        by_row="A probability for all rows is a Bernoulli's, whose outcomes are the successes and the failures: "
        '`maximum_likelihood("Bernoulli", [1, 0], weights=[y.sum(), (total_count - y).sum()])`.',
        by_row_of_head="Totals by row are weights of a Bernoulli, which is the same likelihood up to a constant: train "
        "the head `Bernoulli(validate_args=False)` on the shares `y / total_count` with `sample_weight=total_count`.",
    ),
    # Where `scale` is held and small, the likelihood has a maximum at nearly every observation.
    "Cauchy": Facts(scattered="loc"),
    # Its density is zero at `loc`, so that the likelihood has a maximum between any two observations.
    "DoublesidedMaxwell": Facts(scattered="loc"),
    # Its density is a series (`tfp.math.hypergeometric`) that does not end at parameters which a search comes upon, and
    # it has no mean, median or mode; the quotient of the two means stands in.
    # https://github.com/tensorflow/probability/issues/1861
    "BetaQuotient": Facts(
        center=lambda d: (
            tfd.Beta(d.concentration1_numerator, d.concentration0_numerator).mean()
            / tfd.Beta(d.concentration1_denominator, d.concentration0_denominator).mean()
        ),
        unfit="TFP's series for its density does not end at some parameters",
    ),
    "CholeskyLKJ": Facts(surface=_FACTORS),
    # No shape of a label tells how many logits there are.
    "Categorical": Facts(class_axis=lambda num_classes: num_classes),
    # As that of a Beta.
    "Chi": Facts(log_prob=densities.chi),
    "Chi2": Facts(log_prob=densities.chi2),
    "Dirichlet": Facts(log_prob=densities.dirichlet, surface=_SIMPLEX),
    # Outcomes are logarithms of numbers whose parameters these are.
    "ExpGamma": Facts(line=np.exp),
    "ExpInverseGamma": Facts(line=np.exp),
    # The likelihood may have a maximum near each of its limits, a Normal and a shifted Exponential.
    "ExponentiallyModifiedGaussian": Facts(several_maxima=True),
    "ExpRelaxedOneHotCategorical": Facts(surface="the logarithms of the simplex"),
    # As that of a Beta. A search for its median takes a quarter of a second to write down, in each graph of a model.
    "Gamma": Facts(log_prob=densities.gamma, finite_mean=True),
    # No mean for some parameters, and no median or mode in TFP: this is the mode.
    "GammaGamma": Facts(
        sizes=("mixing_rate",),
        center=lambda d: d.mixing_rate * tf.nn.relu(d.concentration - 1) / (d.mixing_concentration + 1),
        log_prob=densities.gamma_gamma,
    ),
    # TFP's derivative by a concentration of 0 is 0.
    "GeneralizedExtremeValue": Facts(log_prob=densities.generalized_extreme_value),
    # Newton's method would stop between two observations: below a power of 1 the density has a peak at `loc`, and the
    # likelihood one at each; from 1.3 on, to be exact beyond 1, it has none.
    # The smallest power may be a maximum, and the largest, a uniform distribution, another.
    "GeneralizedNormal": Facts(corner="loc", has_corners=lambda p: p.get("power", 0.0) <= 1.3, several_maxima=True),
    # The likelihood rises with `loc` up to the smallest observation, and is zero beyond. TFP's density is not: it goes
    # on below `loc` without `validate_args`. https://github.com/tensorflow/probability/issues/1370
    "GeneralizedPareto": Facts(statistics={"loc": smallest}, log_prob=densities.generalized_pareto),
    "HalfCauchy": Facts(statistics={"loc": smallest}),
    # As above; the mean is infinite for `df <= 1`, and TFP has no median.
    "HalfStudentT": Facts(
        statistics={"loc": smallest}, center=lambda d: d.loc + d.scale * tfd.StudentT(d.df, 0.0, 1.0).quantile(0.75)
    ),
    # As that of a Beta.
    "Kumaraswamy": Facts(log_prob=densities.kumaraswamy),
    # TFP's mean fails while the batch size is unknown, as it is where tf_keras builds a model.
    "LambertWNormal": Facts(mean=lambda d: d.loc),
    # Both are in the unit of the outcomes.
    "InverseGaussian": Facts(sizes=("loc", "concentration"), places=()),
    "LKJ": Facts(surface=_MATRICES),
    # The likelihood has a corner at every observation.
    "Laplace": Facts(statistics={"loc": median}),
    # `loc` and `scale` are those of the outcomes' logarithms or logits.
    "LogLogistic": Facts(line=np.log),
    "LogNormal": Facts(line=np.log),
    "LogitNormal": Facts(line=lambda y: np.log(y) - np.log1p(-y)),
    # Dependent columns would be fitted with an ever smaller covariance.
    "MultivariateNormalFullCovariance": Facts(free_covariance=True),
    "MultivariateNormalTriL": Facts(free_covariance=True),
    # A network sets a real number of successes, which `validate_args` would refuse. The search is as a Gamma's where it
    # is inflated with zeros.
    "NegativeBinomial": Facts(arguments={"require_integer_total_count": False}, finite_mean=True),
    # TFP's derivative by `df` is wrong.
    "NoncentralChi2": Facts(log_prob=densities.noncentral_chi2),
    # `skewness` lies within `tailweight`, so it has no link in TFP; both are per unit of the sample.
    # TFP's Bessel function is a series of loops for any order, which takes 18 s to write down; this one is of order 1.
    "NormalInverseGaussian": Facts(
        links={"skewness": lambda p: tfb.Sigmoid(-p["tailweight"], p["tailweight"])},
        rates=("tailweight", "skewness"),
        log_prob=densities.normal_inverse_gaussian,
    ),
    # Cutpoints lie between the classes; no shape of a label tells how many there are.
    "OrderedLogistic": Facts(class_axis=lambda num_classes: num_classes - 1),
    # TFP's density is a number beyond the bounds without `validate_args`.
    "PERT": Facts(links=_PEAK, places=("loc", "low", "high", "peak"), log_prob=densities.within_bounds),
    # The likelihood rises with `scale` up to the smallest observation, and is zero beyond.
    "Pareto": Facts(statistics={"scale": smallest}),
    "PowerSpherical": Facts(surface=_SPHERE),
    # As that of an inflated NegativeBinomial.
    "Poisson": Facts(finite_mean=True),
    # As that of a Beta.
    "RelaxedBernoulli": Facts(log_prob=densities.relaxed_bernoulli),
    "RelaxedOneHotCategorical": Facts(surface=_SIMPLEX),
    "StoppingRatioLogistic": Facts(class_axis=lambda num_classes: num_classes - 1),
    # TFP's derivative by `rate1` and `rate2` is wrong below 0, where it is that at `-y`.
    "Skellam": Facts(log_prob=densities.skellam),
    # TFP's mean is NaN for `df <= 1`, and it has no median: `loc` is both.
    # Where `df` or `scale` is held and small, the likelihood has a maximum at nearly every observation.
    "StudentT": Facts(center=lambda d: d.loc, scattered="loc"),
    # The likelihood has a corner in `peak` at every observation. Its maximum may be where `low` meets it, or `high`.
    "Triangular": Facts(links=_PEAK, places=("loc", "low", "high", "peak"), corner="peak", bounds=("low", "high")),
    # The narrowest window that holds the sample is the likeliest. A window may be open on one side.
    "TruncatedCauchy": Facts(links=_HIGH, endless=("low", "high"), statistics={"low": smallest, "high": largest}),
    "TruncatedNormal": Facts(links=_HIGH, endless=("low", "high"), statistics={"low": smallest, "high": largest}),
    "Uniform": Facts(links=_HIGH, statistics={"low": smallest, "high": largest}),
    # An angle of 312 rad is one of 4.1 rad.
    "VonMises": Facts(circular="loc"),
    # Its checks compare with the 1.0 of float32.
    "VonMisesFisher": Facts(checked_in_float32=True, log_prob=densities.on_the_sphere, surface=_SPHERE),
    # As that of a Beta.
    "Weibull": Facts(log_prob=densities.weibull),
    "WishartTriL": Facts(surface="symmetric matrices"),
    # TFP makes the logits `[u, -u]` of `inflated_loc_logits`, twice the log-odds it names; it is a mixture that does
    # not broadcast its parts, so that a share for all rows would be refused. A network sets a real `total_count`.
    "ZeroInflatedNegativeBinomial": Facts(
        twins={"inflated_loc_logits": ("inflated_loc_probs", _twice_the_log_odds)},
        arguments={"require_integer_total_count": False},
        of_one_shape=True,
        has_share=True,
    ),
    # Zero, which other counts can be, has no probability.
    # Nor has TFP's density a derivative.
    "Zipf": Facts(lowest=1, log_prob=densities.zipf),
}


def facts_of(name: str) -> Facts:
    """The facts about a family of that name; the defaults are those of a family that TFP knows entirely."""
    return FACTS.get(name, _KNOWN)


_KNOWN = Facts()


def corrected(cls: Any) -> Any:
    """A class of TFP itself, or, under its name, one whose log-density is right in value and derivatives."""
    return cls if facts_of(cls.__name__).log_prob is None else _corrected(cls)


@functools.cache
def _corrected(cls: Any) -> Any:
    log_prob: Any = facts_of(cls.__name__).log_prob
    names = {"__module__": cls.__module__, "__doc__": cls.__doc__, "_log_prob": lambda self, y, **_: log_prob(self, y)}
    kind: Any = type(cls)
    return kind(cls.__name__, (cls,), names)


def has_class_labels(distribution: tfd.Distribution) -> bool:
    """Whether outcomes are class labels, where `[B, 1]` can only mean one label a row, as in Keras's sparse losses."""
    kind = getattr(distribution, "components_distribution", distribution)
    return facts_of(type(kind).__name__).class_axis is not None
