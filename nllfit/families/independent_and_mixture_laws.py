"""The subclasses of `Law` for `tfd.Independent`, `tfd.MixtureSameFamily` and `tfd.Mixture`."""

import functools

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.families.copies import over_batch, real_dtype, with_axis_moved
from nllfit.families.crps_of_mixtures import crps_by_pairs
from nllfit.families.law import Law, has_law, law_of
from nllfit.families.support_ends import is_circular
from nllfit.families.tfp_classes import INDEPENDENT, MIXTURE, MIXTURE_SAME_FAMILY

__all__ = ["IndependentLaw", "MixtureLaw"]

# The maximum number of points of `cuts`. If `cuts` returned points for all components, the cost of an integral would
# rise with the square of the number of components.
_MAX_CUTS = 32


@has_law(INDEPENDENT)
class IndependentLaw(Law):
    """The `Law` of a `tfd.Independent`. The inner distribution describes the elements of an outcome."""

    @property
    def inner(self) -> Law:
        """The `Law` of the inner distribution."""
        return law_of(self.distribution.distribution)

    def latent(self) -> tfd.Distribution:
        inner = self.inner.latent()
        same = inner is self.distribution.distribution
        return self.distribution if same else tfd.Independent(inner, self.distribution.reinterpreted_batch_ndims)

    def marginals(self) -> tfd.Distribution:
        return self.inner.marginals()

    @property
    def is_of_vectors(self) -> bool:
        return self.inner.is_of_vectors

    def _some_outcome(self):
        return self.inner.some_outcome()

    def central_value(self) -> tf.Tensor:
        return self.inner.central_value()

    def mode(self) -> tf.Tensor:
        return self.inner.mode()


@has_law(MIXTURE_SAME_FAMILY)
class MixtureLaw(Law):
    """The `Law` of a `tfd.MixtureSameFamily`."""

    @property
    def components(self) -> Law:
        """The `Law` of the distribution that contains all components. Its batch is `[*batch, num_components]`."""
        return law_of(over_batch(self.distribution.components_distribution, self.distribution, 1))

    def latent(self) -> tfd.Distribution:
        inner = law_of(self.distribution.components_distribution).latent()
        same = inner is self.distribution.components_distribution
        return self.distribution if same else tfd.MixtureSameFamily(self.distribution.mixture_distribution, inner)

    def marginals(self) -> tfd.Distribution:
        latent = self.latent()
        # If an outcome contains the ends of an interval or a window, its last axis contains several numbers. The batch
        # shape of the marginals must not contain this axis.
        if latent is not self.distribution:
            return law_of(latent).marginals()
        rank = self.distribution.event_shape.rank
        components = self.components.marginals()
        probs = _normalized(self.distribution.mixture_distribution, real_dtype(components))
        if rank:
            components = with_axis_moved(components, -1 - rank, -1)
            probs = tf.reshape(probs, tf.concat([tf.shape(probs)[:-1], [1] * rank, tf.shape(probs)[-1:]], 0))
            shape = tf.concat([components.batch_shape_tensor()[:-1], tf.shape(probs)[-1:]], 0)
            probs = tf.broadcast_to(probs, shape)
        return tfd.MixtureSameFamily(tfd.Categorical(probs=probs), components)

    @property
    def is_of_vectors(self) -> bool:
        return self.components.is_of_vectors

    @property
    def has_class_labels(self) -> bool:
        return self.components.has_class_labels

    def ends(self) -> tuple[tf.Tensor, tf.Tensor]:
        components = self.components
        shape = components.distribution.batch_shape_tensor()
        low, high = (tf.broadcast_to(end, shape) for end in components.ends())
        return tf.reduce_min(low, -1), tf.reduce_max(high, -1)

    def _some_outcome(self):
        return tf.gather(self.components.some_outcome(), 0, axis=self.distribution.batch_shape.rank)

    @property
    def has_exact_tails(self) -> bool:
        return self.components.has_exact_tails

    def cdf(self):
        _check_has_cdf(self.distribution)
        probs = self.distribution.mixture_distribution.probs_parameter()
        component_tails = self.components.cdf()
        return lambda y: tuple(
            tf.reduce_sum(tf.cast(probs, y.dtype) * tail, -1) for tail in component_tails(y[..., None])
        )

    def log_interval(self):
        log_intervals = self.components.log_interval()
        logits = tf.nn.log_softmax(self.distribution.mixture_distribution.logits_parameter())
        return lambda lower, upper: tf.reduce_logsumexp(logits + log_intervals(lower[..., None], upper[..., None]), -1)

    @property
    def atoms(self) -> tuple[tf.Tensor, tf.Tensor] | None:
        if self.components.atoms is None:
            return None
        points, probs = self.components.atoms
        probs *= tf.cast(self.distribution.mixture_distribution.probs_parameter(), probs.dtype)
        points, probs = (tf.concat(tf.unstack(values, num=values.shape[-1], axis=-1), 0) for values in (points, probs))
        return points, probs

    def component_quantiles(self, levels, rests):
        quantiles = self.components.component_quantiles(levels[..., None], rests[..., None])
        return tf.concat(tf.unstack(quantiles, num=quantiles.shape[-1], axis=-1), 0)

    def corners(self):
        return [self.cuts()[0]]

    def cuts(self):
        cuts, *is_open = self.components.cuts()
        rank, num = cuts.shape.rank, cuts.shape[0] * (cuts.shape[-1] or 1)
        cuts = tf.transpose(cuts, [rank - 1, *range(rank - 1)])
        cuts = tf.reshape(cuts, tf.concat([[-1], tf.shape(cuts)[2:]], 0))
        if num > _MAX_CUTS:
            cuts = tf.gather(tf.sort(cuts, 0), np.linspace(0, num - 1, _MAX_CUTS).round().astype(int))
        return cuts, *(tf.reduce_any(mask, -1) for mask in is_open)

    def crps(self, y: tf.Tensor) -> tf.Tensor:
        mean_minimum = self.components.facts.mean_minimum
        if mean_minimum is None:
            return super().crps(y)
        probs = self.distribution.mixture_distribution.probs_parameter()
        return crps_by_pairs(self.components, tf.cast(probs, y.dtype), y, mean_minimum)

    def central_value(self) -> tf.Tensor:
        weights = self.distribution.mixture_distribution.probs_parameter()
        return _central_value(self.distribution, weights, self.components.central_value())


@has_law(MIXTURE)
class UnlikeMixtureLaw(Law):
    """The `Law` of a `tfd.Mixture`. The components of the mixture may be of different families."""

    @property
    def components(self) -> list[Law]:
        """The `Law` of each component."""
        return [law_of(part) for part in self.distribution.components]

    def marginals(self) -> tfd.Distribution:
        parts = [law.marginals() for law in self.components]
        dtypes = sorted({part.dtype.name for part in parts})
        if len(dtypes) > 1:
            raise NotImplementedError(
                f"{self.distribution.name} has components in {' and in '.join(dtypes)}, because a flow keeps its own "
                f'dtype and other components are computed in float64: give the head `dtype="float64"`.'
            )
        probs = _normalized(self.distribution.cat, real_dtype(parts[0]))
        rank = self.distribution.event_shape.rank
        shape = tf.concat([tf.shape(probs)[:-1], [1] * rank, tf.shape(probs)[-1:]], 0)
        full_shape = tf.concat([parts[0].batch_shape_tensor(), tf.shape(probs)[-1:]], 0)
        return tfd.Mixture(tfd.Categorical(probs=tf.broadcast_to(tf.reshape(probs, shape), full_shape)), parts)

    @property
    def is_of_vectors(self) -> bool:
        return any(law.is_of_vectors for law in self.components)

    def ends(self) -> tuple[tf.Tensor, tf.Tensor]:
        # A `Deterministic` is left out, because its `Law` has infinite ends (see `laws.bernoulli_categorical_ordinal`).
        points = [isinstance(part, tfd.Deterministic) for part in self.distribution.components]
        ends = [law.ends() for law, is_point in zip(self.components, points, strict=True) if not is_point]
        lows, highs = zip(*ends, strict=True)
        return functools.reduce(tf.minimum, lows), functools.reduce(tf.maximum, highs)

    def _some_outcome(self):
        return self.components[-1].some_outcome()

    @property
    def atoms(self) -> tuple[tf.Tensor, tf.Tensor] | None:
        weights = tf.unstack(self.distribution.cat.probs_parameter(), num=len(self.components), axis=-1)
        parts = zip(self.distribution.components, weights, strict=True)
        pairs = [(part.loc, weight) for part, weight in parts if isinstance(part, tfd.Deterministic)]
        if not pairs or self.is_discrete:
            return None
        shape = self.distribution.batch_shape_tensor()
        points, probs = (
            tf.stack([tf.broadcast_to(part, shape) for part in values]) for values in zip(*pairs, strict=True)
        )
        return points, probs

    def cdf(self):
        _check_has_cdf(self.distribution)
        weights = tf.unstack(self.distribution.cat.probs_parameter(), num=len(self.components), axis=-1)
        component_cdfs = [law.cdf() for law in self.components]

        def mixed(y):
            tails = zip(*(cdf(y) for cdf in component_cdfs), strict=True)
            return tuple(sum(tf.cast(p, y.dtype) * q for p, q in zip(weights, tail, strict=True)) for tail in tails)

        return mixed

    def central_value(self) -> tf.Tensor:
        values = tf.stack([law.central_value() for law in self.components], self.distribution.batch_shape.rank)
        return _central_value(self.distribution, self.distribution.cat.probs_parameter(), values)

    def component_quantiles(self, levels, rests):
        return tf.concat([law.component_quantiles(levels, rests) for law in self.components], 0)

    def corners(self):
        return [self.cuts()[0]]

    def cuts(self):
        cuts, *is_open = zip(*(law.cuts() for law in self.components), strict=True)
        return tf.concat(cuts, 0), *(tf.reduce_any(tf.stack(masks), 0) for masks in is_open)


def _central_value(mixture, weights, values):
    """Returns the weighted mean of the components' predictions `values`, `[*batch, num_components, ...]`."""
    rank = values.shape.rank - mixture.batch_shape.rank - 1
    weights = tf.reshape(weights, tf.concat([tf.shape(weights), [1] * rank], 0))

    def mean(values):
        return tf.reduce_sum(weights * values, -1 - rank)

    if is_circular(mixture):  # the direction of the mean of points on a circle
        return tf.atan2(mean(tf.sin(values)), mean(tf.cos(values)))
    return mean(values)


def _check_has_cdf(mixture):
    if is_circular(mixture):
        raise NotImplementedError(
            f"{mixture.name} is a mixture of angles. Each component starts at another point of the circle, so there is "
            f"no CDF: use `log_prob`, or a model with one component."
        )


def _normalized(categorical, dtype):
    """Casts the probabilities and divides them by their sum. TFP requires a sum of 1 to the precision of `dtype`."""
    probs = tf.cast(categorical.probs_parameter(), dtype)
    return probs / tf.reduce_sum(probs, axis=-1, keepdims=True)
