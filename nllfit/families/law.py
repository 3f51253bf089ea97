"""`Law` computes probabilities, quantiles, scores and predictions of a distribution of any class.

`law_of` chooses a subclass of `Law` by the class of the distribution, never by names or attributes. So a user's class
never gets the formulas of a TFP class that has the same name or attributes. A subclass of `Law` overrides a few
methods, such as `ends`, `cdf` and `log_tails`. The other methods of `Law` call these methods.
"""

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.families.copies import constant, constant_but, in_float64, real_dtype, unchecked
from nllfit.families.crps_of_counts import crps_by_sums
from nllfit.families.discreteness import is_discrete
from nllfit.families.facts import facts_of
from nllfit.families.interval_probability import between_counts, between_numbers, by_quadrature, middle
from nllfit.families.mode_search import mode_of
from nllfit.families.point_predictions import central_value
from nllfit.families.quantile_search import root_of
from nllfit.families.support_ends import as_labels, cdf_on_line, ends_of, outcome_in
from nllfit.families.tail_integrals import corners_of, cuts_of, tail_integrals
from nllfit.families.tfp_classes import TRANSFORMED, defines, is_own, plain_class

__all__ = ["Law", "elements_of", "has_law", "law_of"]

Pair = tuple[tf.Tensor, tf.Tensor]


class Law:
    """Computes probabilities, quantiles, scores and predictions of `distribution`.

    Methods that compute probabilities (not `log_prob`) need a scalar distribution without assertions; `marginals`
    returns one. `cdf` and `log_interval` return functions of outcomes. So a loop over outcomes repeats only the
    computations that depend on the outcomes.
    """

    def __init__(self, distribution: tfd.Distribution):
        self.distribution = distribution
        self.facts = facts_of(type(distribution))

    def latent(self) -> tfd.Distribution:
        """Returns `distribution` without censoring, and without truncation if each row has its own window."""
        return self.distribution

    def marginals(self) -> tfd.Distribution:
        """Returns the scalar distribution of each element of an outcome. Its batch is `[*batch, *event]`.

        The result has no assertions, because a search may leave the support. Unless it is a flow, the result is
        in float64: in float32, an incomplete gamma function of shape 1e4 has only two correct digits.

        Raises:
          NotImplementedError: if the elements have no scalar distribution that TFP knows.
        """
        marginal = self.facts.marginal
        if marginal is None and self.distribution.event_shape.rank:
            raise NotImplementedError(
                f"{self.distribution.name} is a distribution of outcomes of shape "
                f"{tuple(self.distribution.event_shape)}, and TFP does not know the distribution of one element: "
                f"sample it, or use a head of independent elements."
            )
        return in_float64(self.distribution if marginal is None else marginal(self.distribution), validate_args=False)

    def elements(self) -> "Law":
        """Returns the `Law` of the marginals."""
        return law_of(self.marginals())

    def constant(self) -> "Law":
        """Returns the `Law` of a copy of the distribution. No gradient flows to the parameters of the copy."""
        return law_of(constant(self.distribution))

    def constant_but(self, rows: tf.Tensor) -> "Law":
        """Returns the `Law` of a copy of the distribution. Parameters get gradients only where `rows` is True."""
        return law_of(constant_but(self.distribution, rows))

    @property
    def is_discrete(self) -> bool:
        """Whether outcomes are counts or labels."""
        return is_discrete(self.distribution)

    @property
    def has_class_labels(self) -> bool:
        """Whether outcomes are class labels. Labels may then have shape `[B, 1]` instead of `[B]`, as in Keras."""
        return self.facts.class_axis is not None

    @property
    def is_of_vectors(self) -> bool:
        """Whether `nllfit.crps` is the energy score: True for vectors that are not discrete."""
        return self.distribution.event_shape.rank > 0 and not self.is_discrete  # discrete draws have no gradient

    def ends(self) -> Pair:
        """Returns the lower and the upper end of the support. Their shapes broadcast to the batch."""
        dtype = real_dtype(self.distribution)
        low, high = (tf.cast(tf.convert_to_tensor(end), dtype) for end in ends_of(self, dtype))
        return tf.minimum(low, high), tf.maximum(low, high)  # a decreasing bijector swaps the ends

    @property
    def lowest(self) -> float:
        """A lower bound of counts or labels."""
        return float(self.facts.lowest)

    def some_outcome(self) -> tf.Tensor:
        """Returns an outcome in the support of each distribution, `[*batch, *event]`. It has no gradient."""
        return tf.stop_gradient(self._some_outcome())

    def _some_outcome(self):
        return outcome_in(self)

    @property
    def has_exact_tails(self) -> bool:
        """Whether the probability of an interval is accurate in both tails."""
        return self.facts.has_exact_tails

    def log_prob(self, y: tf.Tensor) -> tf.Tensor:
        """The log-density, or the log-probability of counts."""
        return self.distribution.log_prob(y)

    def cdf(self) -> Callable[[tf.Tensor], Pair]:
        """Returns the function that maps real numbers `y` `[..., *batch]` to `P(Y <= y)` and `P(Y > y)`.

        Both have full relative accuracy, except where TFP computes `P(Y > y)` as `1 - P(Y <= y)`. The CDF is 0 below
        the support and 1 above it.
        """
        return cdf_on_line(self)

    def cdf_inside(self, y: tf.Tensor, inner: tf.Tensor) -> Pair:
        """Returns the CDF and the survival function at `y` in the support. `inner` is any point in the support."""
        d = self.distribution
        if self.facts.cdf is not None:
            return self.facts.cdf(d, y)
        if self._log_tails_formula is not None:
            return tuple(tf.exp(tail) for tail in self._closed_log_tails(y, inner))
        outcomes = y if d.dtype.is_floating else as_labels(y, d.dtype)
        return d.cdf(outcomes), d.survival_function(outcomes)

    @property
    def _log_tails_formula(self):
        return self.facts.log_tails

    def _closed_log_tails(self, y, inner):
        """Computes both log-tails in closed form. If a log-tail is infinite, no gradient flows: it would be NaN."""
        formula = self._log_tails_formula
        values = [tf.stop_gradient(part) for part in formula(self.distribution, tf.stop_gradient(y))]
        finite = tf.math.is_finite(values[0]) & tf.math.is_finite(values[1])
        below, above = formula(constant_but(self.distribution, finite), tf.where(finite, y, inner))
        return tf.where(finite, below, values[0]), tf.where(finite, above, values[1])

    def log_tails(self, y: tf.Tensor) -> Pair:
        """Returns `log P(Y <= y)` and `log P(Y > y)` of a continuous distribution for `y` within the support."""
        if self._log_tails_formula is not None:
            return self._closed_log_tails(y, middle(*self.ends()))
        if self.facts.integrated_tails is not None:
            return self.facts.integrated_tails(self.distribution, y)
        return by_quadrature(self, y)

    def log_interval(self) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
        """Returns the function `log P(lower < Y <= upper)` of two ends `[..., *batch]`. Both ends may be infinite."""
        return between_counts(self) if self.is_discrete else between_numbers(self)

    def corners(self) -> list[tf.Tensor]:
        """Returns tensors `[num, *batch]` of points within the support at which the CDF is not smooth."""
        return corners_of(self)

    def cuts(self) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns points between which the CDF is smooth, for numerical integration; see `cuts_of`."""
        return cuts_of(self)

    def crps(self, y: tf.Tensor) -> tf.Tensor:
        """Returns the CRPS `[*batch]` of `y` in float64. Raises a `NotImplementedError` for a flow in float32."""
        d = self.distribution
        if self.facts.crps is not None:
            return self.facts.crps(d, y)
        if real_dtype(d) != tf.float64:
            raise NotImplementedError(
                f"{d.name} is a flow in {real_dtype(d).name}, but its CRPS needs float64: give "
                f'the head `dtype="float64"`.'
            )
        return crps_by_sums(self, y) if self.is_discrete else sum(tail_integrals(self, y, lambda p, _: tf.square(p)))

    def quantile(self, levels: Any, rests: Any = None) -> tf.Tensor:
        """Returns the smallest number at which the CDF reaches each level. `levels` broadcasts with the batch.

        `rests` are `1 - levels`. Pass `rests` if you know them with more digits than the subtraction would give.
        """
        return root_of(self, levels, rests)

    def sample(self, n: Any, seed: Any) -> tf.Tensor:
        """Returns TFP's draws `[n, *batch, *event]`. If TFP cannot draw, returns quantiles at random levels."""
        try:
            return self.distribution.sample(n, seed=seed)
        except NotImplementedError:
            return self.sample_by_cdf(n, seed)

    def sample_by_cdf(self, n: Any, seed: Any) -> tf.Tensor:
        """Returns draws `[n, *batch]` of a scalar distribution: quantiles at uniform random levels."""
        shape = tf.concat([[n], self.distribution.batch_shape_tensor()], 0)
        levels = tfd.Uniform(tf.constant(0.0, tf.float64), 1.0).sample(shape, seed=seed)
        return tf.cast(self.elements().constant().quantile(levels), self.distribution.dtype)

    def median(self) -> tf.Tensor:
        """Returns the median `[*batch]` of a scalar distribution. No gradient flows through it."""
        median = self.elements().constant().quantile(0.5)
        median.set_shape(self.distribution.batch_shape)  # the search loses the static shape
        return tf.cast(median, self.distribution.dtype)

    @property
    def atoms(self) -> Pair | None:
        """Points `[num, *batch]` of positive probability, and the probabilities. None for counts, or if none exist."""
        return None

    def component_quantiles(self, levels: Any, rests: Any) -> tf.Tensor:
        """Returns quantiles `[num, *batch]`. For a mixture, these are the quantiles of each component."""
        return self.quantile(levels, rests)

    def mode(self) -> tf.Tensor:
        """Returns the mode. Raises a `NotImplementedError` if outcomes are vectors and TFP does not know their mode."""
        return mode_of(self)

    def mean(self) -> tf.Tensor:
        """Returns the mean. Raises a `NotImplementedError` if TFP does not know it."""
        return self.distribution.mean() if self.facts.mean is None else self.facts.mean(self.distribution)

    def variance(self) -> tf.Tensor:
        """Returns the variance. Raises a `NotImplementedError` if TFP does not know it."""
        return self.distribution.variance()

    def central_value(self) -> tf.Tensor:
        """Returns the point prediction; see `point_predictions.central_value`."""
        return central_value(self.unchecked())

    def unchecked(self) -> "Law":
        """Returns `self` or, in a graph, a copy without assertions, because TensorFlow never prunes assertions."""
        if tf.executing_eagerly() or not self.distribution.validate_args:
            return self
        return law_of(unchecked(self.distribution))

    @property
    def has_finite_mean(self) -> bool:
        """Whether the mean is finite for all parameters. The prediction then needs no fallback, such as the median."""
        return self.facts.finite_mean

    def center(self) -> tf.Tensor:
        """Returns `Facts.center`, by default the median or mode. Raises a `NotImplementedError` if TFP has neither."""
        if self.facts.center is not None:
            return self.facts.center(self.distribution)
        for value in (lambda: self.distribution.quantile(0.5), self.distribution.mode):
            with contextlib.suppress(NotImplementedError):
                return value()
        if isinstance(self.distribution, TRANSFORMED):  # a flow of vectors, for which TFP has no median or mode
            return self.distribution.bijector.forward(law_of(self.distribution.distribution).central_value())
        raise NotImplementedError(f"TFP gives {self.distribution.name} no mean, median or mode, so it cannot predict.")


class OwnLaw(Law):
    """The `Law` of a distribution of a user's class. It uses only the methods that the user's class defines."""

    @property
    def has_exact_tails(self) -> bool:
        cls = type(self.distribution)
        return not self.distribution.event_shape.rank and (defines(cls, "_cdf") or defines(cls, "_log_cdf"))

    @property
    def _log_tails_formula(self):
        cls = type(self.distribution)
        has_log_tails = defines(cls, "_log_cdf") and defines(cls, "_log_survival_function")
        return (lambda d, y: (d.log_cdf(y), d.log_survival_function(y))) if has_log_tails else None


_LAWS: dict[type, type[Law]] = {}


def has_law(*classes: type) -> Callable[[type[Law]], type[Law]]:
    """Decorates a subclass of `Law`: registers it for the given classes of distributions and their subclasses."""

    def register(law):
        _LAWS.update(dict.fromkeys(classes, law))
        return law

    return register


def law_of(distribution: tfd.Distribution) -> Law:
    """Returns the `Law` of a distribution. The class of the distribution determines the subclass of `Law`."""
    return _law_class(plain_class(type(distribution)))(distribution)


def elements_of(distribution: tfd.Distribution) -> Law:
    """Returns the `Law` of the elements of an outcome."""
    return law_of(distribution).elements()


@functools.cache
def _law_class(cls):
    for base in cls.__mro__:
        if base in _LAWS:
            return _LAWS[base]
    return OwnLaw if is_own(cls) else Law
