"""Outcomes with a point at 0: counts with more zeros than their family gives, and amounts that may be none."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd
from tensorflow_probability import util as tfpu
from tensorflow_probability.python.distributions.distribution import AutoCompositeTensorDistribution

from nllfit.families.arguments import as_names, as_params
from nllfit.families.cdfs import ends
from nllfit.families.conditional import Both, beside_zero
from nllfit.families.discreteness import is_discrete
from nllfit.families.facts import Facts
from nllfit.families.family import Family
from nllfit.families.intervals import LogInterval, log_density, log_interval
from nllfit.families.inversion import drawn
from nllfit.families.links import Softmax
from nllfit.families.marginals import asserted, constant_but, real_dtype
from nllfit.families.outcomes import some_outcome
from nllfit.families.protocol import Numbers
from nllfit.families.truncated import TruncatedDistribution
from nllfit.families.wrapped import FamilyOf, checked_cdf, elementwise

__all__ = ["Hurdle", "InflatedDistribution", "ZeroInflated"]

_LOGITS, _PROBS = "zero_logits", "zero_probs"


class ZeroInflated(FamilyOf):
    """A family with zeros of two kinds: those of the family itself, and a share that is 0 whatever it says.

    `p(0) = pi + (1 - pi) p_family(0)` and `p(y) = (1 - pi) p_family(y)` elsewhere. Of a density, as that of an amount,
    there are no other zeros, and `p(0) = pi`. The vector holds `zero_logits`, `logit(pi)`, before the family's numbers;
    an estimate shows `zero_probs`, which is `pi`.

    Args:
      family: a family of numbers with a CDF: a class of `tfp.distributions` or its name, or a `Family`.
      event_shape: of one outcome, by default (), where `family` is a name or class.
      zero_probs: the share, where it is held at a value; by default it is free.
      shared: `("zero_logits",)` for one share for all inputs, learned by a head; with a name or class also parameters
        of the family.
      **kwargs: further arguments of `Family`, for a name or class.

    Raises:
      ValueError: for a share outside 0 to 1, one that is both held and shared, or a family that has a share of zeros
        already; and as `Censored`.

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
                f"`family` is {self.family.label}, which has a share of zeros already, and nothing tells two apart: "
                f"give the family without it."
            )
        checked_cdf(self.family)
        self.share = Family("Bernoulli", self.element_shape, shared=("logits",) * (_LOGITS in names))
        self.zero_probs = zero_probs
        if zero_probs is not None:
            probs = np.asarray(zero_probs)
            if probs.dtype.kind not in "iuf" or not np.all((probs > 0) & (probs < 1)):
                raise ValueError(f"`zero_probs` is {zero_probs!r}: give a probability between 0 and 1.")
            if self.share.shared:
                raise ValueError("`zero_probs` is shared and held at a value: choose one of them.")
            self.share = self.share.holding({"logits": np.log(probs) - np.log1p(-probs)})

    def seen(self, y: np.ndarray) -> np.ndarray:
        return self.family.seen(y[(y != 0).reshape([len(y), -1]).all(-1)])

    def build(self, parameters: Numbers, dtype: tf.DType) -> tfd.Distribution:
        others = {name: value for name, value in parameters.items() if name != _LOGITS}
        logits = parameters.get(_LOGITS, self.share.fixed.get("logits"))
        logits = tf.broadcast_to(tf.convert_to_tensor(logits, dtype), tf.shape(logits))
        made = self.family.build(others, dtype)
        return elementwise(made, lambda d: self._inflated(logits, d))

    def _inflated(self, logits, distribution):
        return InflatedDistribution(logits, distribution, validate_args=self._checks)

    def parameters(self, params: Any, shared: tf.Tensor | None = None) -> dict[str, tf.Tensor]:
        params = as_params(self, params)
        size, shared_size = self.share.params_size, self.share.shared_size
        if self.shared_size and (shared is None or shared.shape != [self.shared_size]):
            raise ValueError(f"`shared` is {shared}: give the {self.shared_size} numbers of {', '.join(self.shared)}.")
        first, rest = (None, None) if shared is None else (shared[:shared_size], shared[shared_size:])
        shares = self.share.parameters(params[..., :size], first if self.share.shared else None)
        others = self.family.parameters(params[..., size:], rest if self.family.shared else None)
        return ({_LOGITS: shares["logits"]} if shares else {}) | others

    def unconstrained(self, parameters: Numbers, dtype: tf.DType = tf.float64, shared: bool = False) -> tf.Tensor:
        blocks = []
        for family, values in ((self.share, {"logits": parameters.get(_LOGITS)}), (self.family, parameters)):
            if family.shared_size if shared else family.params_size:
                blocks.append(family.unconstrained(values, dtype, shared))
        return tf.concat(blocks, -1)

    def holding(self, values: Numbers) -> "ZeroInflated":
        held = self._of(self.family.holding({name: value for name, value in values.items() if name != _LOGITS}))
        if _LOGITS in values:
            held.share = self.share.holding({"logits": values[_LOGITS]})
        return held

    def unshared(self) -> "ZeroInflated":
        alone = self._of(self.family.unshared())
        alone.share = self.share.unshared()
        return alone

    def twin(self, name: str) -> tuple[str, tfb.Bijector | Softmax]:
        return (_PROBS, tfb.Sigmoid()) if name == _LOGITS else self.family.twin(name)

    @property
    def facts(self) -> Facts:
        return dataclasses.replace(super().facts, has_share=True)

    @property
    def parameter_names(self) -> tuple[str, ...]:
        return (_LOGITS,) * len(self.share.parameter_names) + self.family.parameter_names

    @property
    def params_size(self) -> int:
        return self.share.params_size + self.family.params_size

    @property
    def layout(self) -> str:
        size = self.share.params_size
        return f"{size} for `{_LOGITS}` + {self.family.layout}" if size else self.family.layout

    @property
    def shared(self) -> tuple[str, ...]:
        return (_LOGITS,) * len(self.share.shared) + self.family.shared

    @property
    def shared_size(self) -> int:
        return self.share.shared_size + self.family.shared_size

    @property
    def logarithms(self) -> np.ndarray:
        return np.concatenate([np.zeros(self.share.params_size, bool), self.family.logarithms])

    @property
    def arguments(self) -> dict[str, Any]:
        shared = (_LOGITS,) if self.share.shared else ()
        held = {} if self.zero_probs is None else {_PROBS: self.zero_probs}
        return {"family": self.family} | held | ({"shared": shared} if shared else {})

    def _identity(self) -> tuple:
        return *super()._identity(), self.share


class Hurdle(ZeroInflated):
    """A family without its own zeros, and a share of zeros.

    `p(0) = pi` and `p(y) = (1 - pi) p_family(y) / (1 - p_family(0))` elsewhere: whether there is anything, and if so,
    how much. Of a density it is what `ZeroInflated` is. Parameters and arguments are those of `ZeroInflated`.

    Example:
      >>> estimate = nllfit.maximum_likelihood(nllfit.Hurdle("LogNormal"), [0.0, 0.0, 1.5, 0.0, 7.0, 2.5])
      >>> round(estimate.parameters["zero_probs"], 3)
      0.5

    Source: Mullahy, Specification and testing of some modified count data models, 1986.
    """

    def _inflated(self, logits, distribution):
        if is_discrete(distribution):
            zero = tf.zeros([], real_dtype(distribution))
            distribution = TruncatedDistribution(distribution, zero, validate_args=self._checks)
        return super()._inflated(logits, distribution)


class InflatedDistribution(AutoCompositeTensorDistribution):
    """0 with the probability `sigmoid(zero_logits)`, else an outcome of a scalar `distribution`."""

    def __init__(
        self, zero_logits: Any, distribution: tfd.Distribution, validate_args: bool = False, name: str = "ZeroInflated"
    ):
        parameters = dict(locals())
        self.zero_logits, self.distribution = tf.convert_to_tensor(zero_logits), distribution
        super().__init__(
            dtype=real_dtype(distribution),
            reparameterization_type=tfd.NOT_REPARAMETERIZED,
            validate_args=validate_args,
            allow_nan_stats=True,
            parameters=parameters,
            name=f"{name}{distribution.name}" if name == "ZeroInflated" else name,
        )

    @classmethod
    def _parameter_properties(cls, dtype: Any, num_classes: Any = None) -> dict[str, Any]:
        return {
            "zero_logits": tfpu.ParameterProperties(),
            "distribution": tfpu.BatchedComponentProperties(),
        }

    def _event_shape(self) -> tf.TensorShape:
        return tf.TensorShape([])

    def _event_shape_tensor(self) -> tf.Tensor:
        return tf.constant([], tf.int32)

    def _default_event_space_bijector(self) -> Any:
        return self.distribution.experimental_default_event_space_bijector()

    @property
    def zero_probs(self) -> tf.Tensor:
        """The share of zeros that are not the distribution's own."""
        return tf.sigmoid(self.zero_logits)

    @property
    def _has_zeros(self) -> bool:
        return is_discrete(self.distribution) and not isinstance(self.distribution, TruncatedDistribution)

    def _log_prob(self, value: tf.Tensor) -> tf.Tensor:
        log_share, log_rest = -tf.math.softplus(-self.zero_logits), -tf.math.softplus(self.zero_logits)
        zero, own, none = value == 0, self.distribution, tf.zeros([], self.distribution.dtype)
        # At 0 a density may be infinite, and its derivative NaN.
        some = tf.ones([], value.dtype) if self._has_zeros else tf.cast(some_outcome(own), value.dtype)
        others = asserted(own, tf.where(zero, some, value))
        rest = log_rest + log_density(constant_but(own, ~zero), others)
        at_zero = log_share
        if self._has_zeros:
            possible = tf.math.is_finite(tf.stop_gradient(log_density(own, none)))
            at_zero = tfp.math.log_add_exp(log_share, log_rest + log_density(constant_but(own, zero & possible), none))
        return tf.where(zero, at_zero, rest)

    @property
    def log_interval(self) -> LogInterval:
        """As `intervals.log_interval`."""
        own = log_interval(self.distribution)
        log_share, log_rest = -tf.math.softplus(-self.zero_logits), -tf.math.softplus(self.zero_logits)
        impossible = tf.constant(-math.inf, self.dtype)

        def log_probability(lower, upper):
            rest = log_rest + own(lower, upper)
            zero = tf.where((lower < 0) & (upper >= 0), log_share + tf.zeros_like(rest), impossible)
            return tf.reduce_logsumexp(tf.stack([zero, rest]), 0)

        return log_probability

    def cdf_and_survival(self) -> Both:
        """As `cdfs.cdf_and_survival`."""
        return beside_zero(self.distribution, self.zero_logits)

    def ends(self) -> tuple[tf.Tensor, tf.Tensor]:
        """As `cdfs.ends`."""
        low, high = ends(self.distribution)
        return tf.minimum(low, 0.0), tf.maximum(high, 0.0)

    def some_outcome(self) -> tf.Tensor:
        """An outcome `[*batch]`."""
        return tf.zeros(self.batch_shape_tensor(), self.dtype)

    def _mean(self) -> tf.Tensor:
        return tf.math.multiply_no_nan(self._moments()[0], 1 - self.zero_probs)  # which may be infinite times 0

    def _variance(self) -> tf.Tensor:
        mean, variance = self._moments()
        return (1 - self.zero_probs) * (variance + self.zero_probs * tf.square(mean))

    def _moments(self):
        """The mean and the variance of what is no zero of the share's."""
        own = self.distribution
        if not isinstance(own, TruncatedDistribution):
            return tf.cast(own.mean(), self.dtype), tf.cast(own.variance(), self.dtype)
        whole, window = own.distribution, tf.exp(own.log_window())
        mean = whole.mean() / window  # of a window that begins at 0, as a hurdle's
        return mean, (whole.variance() + tf.square(whole.mean())) / window - tf.square(mean)

    def _sample_n(self, n: Any, seed: Any = None) -> tf.Tensor:
        first, second = tfp.random.split_seed(seed)
        others = tf.cast(drawn(self.distribution, n, first), self.dtype)
        shape = tf.concat([[n], self.batch_shape_tensor()], 0)
        zero = tfd.Uniform(tf.zeros([], self.dtype), 1.0).sample(shape, seed=second) < self.zero_probs
        return tf.where(zero, tf.zeros([], self.dtype), others)
