"""Marginals: the distribution of each element of an outcome by itself, whatever it depends on.

CDFs, quantiles and scores are those of one number at a time. A head's distribution has an event, of which TFP gives no
CDF: an `Independent` over scalars, a vector of dependent numbers, a mixture of either.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.families.kinds import INDEPENDENT, MIXTURE, MIXTURE_SAME_FAMILY, parameter_properties
from nllfit.families.rows import plain_class

__all__ = ["asserted", "constant", "constant_but", "latent", "marginals", "real_dtype", "with_parameters"]


def _of_multivariate_student_t(d: tfd.Distribution) -> tfd.Distribution:
    return tfd.StudentT(d.df[..., None], d.loc, tf.norm(d.scale.to_dense(), axis=-1))


def _of_dirichlet(d: tfd.Distribution) -> tfd.Distribution:
    return tfd.Beta(d.concentration, tf.reduce_sum(d.concentration, -1, keepdims=True) - d.concentration)


def _of_dirichlet_multinomial(d: tfd.Distribution) -> tfd.Distribution:
    rest = tf.reduce_sum(d.concentration, -1, keepdims=True) - d.concentration
    return tfd.BetaBinomial(d.total_count[..., None], d.concentration, rest)


_MARGINALS = {
    "Dirichlet": _of_dirichlet,
    "DirichletMultinomial": _of_dirichlet_multinomial,
    "Multinomial": lambda d: tfd.Binomial(d.total_count[..., None], probs=d.probs_parameter()),
    "MultivariateStudentTLinearOperator": _of_multivariate_student_t,
    "OneHotCategorical": lambda d: tfd.Bernoulli(probs=d.probs_parameter(), dtype=d.dtype),
    "VectorDeterministic": lambda d: tfd.Deterministic(d.loc),
}


def marginals(distribution: tfd.Distribution) -> tfd.Distribution:
    """The scalar distribution, of batch `[*batch, *event]`, of each element of an outcome.

    It does not check what it is asked, for searches ask outside the support, and it computes in float64: incomplete
    gamma functions of a shape of 1e4 have two digits in float32.

    Args:
      distribution: of batch `[*batch]` and event `[*event]`.

    Raises:
      NotImplementedError: if the family has no scalar marginals that TFP knows.
    """
    distribution = latent(distribution)
    if isinstance(distribution, INDEPENDENT):
        return marginals(distribution.distribution)
    if isinstance(distribution, MIXTURE_SAME_FAMILY):
        return _of_mixture(distribution)
    if isinstance(distribution, MIXTURE) and type(distribution).__name__ != "ZeroInflatedNegativeBinomial":
        return _of_unlike_parts(distribution)
    if distribution.event_shape.rank == 0:
        return _in_float64(distribution)
    name = type(distribution).__name__
    if name.startswith("MultivariateNormal"):
        return _in_float64(tfd.Normal(distribution.mean(), distribution.stddev()))
    if name in _MARGINALS:
        return _in_float64(_MARGINALS[name](distribution))
    raise NotImplementedError(
        f"{distribution.name} is a distribution of whole outcomes of shape {tuple(distribution.event_shape)}, whose "
        f"elements have no distribution that TFP knows: sample it, or use a head of independent elements."
    )


def latent(distribution: tfd.Distribution) -> tfd.Distribution:
    """That of the numbers themselves, where an outcome is an interval or comes with a window; else the distribution."""
    if hasattr(distribution, "latent"):
        return distribution.latent()
    if isinstance(distribution, INDEPENDENT):
        inner = latent(distribution.distribution)
        same = inner is distribution.distribution
        return distribution if same else tfd.Independent(inner, distribution.reinterpreted_batch_ndims)
    if isinstance(distribution, MIXTURE_SAME_FAMILY):
        inner = latent(distribution.components_distribution)
        same = inner is distribution.components_distribution
        return distribution if same else tfd.MixtureSameFamily(distribution.mixture_distribution, inner)
    return distribution


def real_dtype(distribution: tfd.Distribution) -> tf.DType:
    """The floating-point dtype that a distribution is computed in, whatever its outcomes are."""
    if distribution.dtype.is_floating:
        return distribution.dtype
    tensors = tf.nest.flatten(distribution, expand_composites=True)
    return next((tensor.dtype for tensor in tensors if tensor.dtype.is_floating), tf.float32)


def _in_float64(distribution):
    if type(distribution).__name__.endswith("TransformedDistribution") and distribution.dtype != tf.float64:
        return distribution  # whose bijectors have the dtype that they were made with
    try:
        return with_parameters(distribution, lambda value, _: _cast(value), validate_args=False, dtype=tf.float64)
    except TypeError:  # ZeroInflatedNegativeBinomial does not keep all of its arguments
        return distribution


def _cast(value):
    value = tf.convert_to_tensor(value, dtype_hint=tf.float64)
    return tf.cast(value, tf.float64) if value.dtype.is_floating else value


def with_parameters(
    distribution: tfd.Distribution, change: Callable[[Any, int], Any], **arguments: Any
) -> tfd.Distribution:
    """A copy, of TFP's own class, whose parameters `change(value, event_ndims)` has made of the old ones."""
    properties = parameter_properties(type(distribution), tf.float64)
    checks = {name: arguments[name] for name in ("validate_args", "dtype") if name in arguments}
    if "dtype" not in distribution.parameters or not distribution.dtype.is_floating:
        arguments.pop("dtype", None)
    for name, known in properties.items():
        value = distribution.parameters.get(name)
        if isinstance(value, tfd.Distribution):
            arguments[name] = with_parameters(value, change, **checks)
        elif isinstance(distribution, MIXTURE) and name == "components":
            arguments[name] = [with_parameters(part, change, **checks) for part in value]
        elif value is not None and isinstance(known.event_ndims, int):
            arguments[name] = change(value, known.event_ndims)
    changed = distribution.copy(**arguments)
    changed.__class__ = plain_class(type(changed))
    return changed


def constant(distribution: tfd.Distribution) -> tfd.Distribution:
    """A copy of a scalar distribution, or mixture of such, without assertions through which no gradient flows."""
    if isinstance(distribution, MIXTURE_SAME_FAMILY):
        probs = tf.stop_gradient(distribution.mixture_distribution.probs_parameter())
        return tfd.MixtureSameFamily(tfd.Categorical(probs=probs), constant(distribution.components_distribution))
    return with_parameters(distribution, lambda value, _: tf.stop_gradient(value), validate_args=False)


def constant_but(distribution: tfd.Distribution, rows: tf.Tensor) -> tfd.Distribution:
    """A copy of a scalar distribution whose parameters are constants but in those `rows` `[..., *batch]`.

    A branch that `tf.where` does not take has the gradient 0, which times that of a rate that overflows is NaN.
    """

    def change(value, event_ndims):
        value = tf.convert_to_tensor(value)
        chosen = tf.reshape(rows, tf.concat([tf.shape(rows), [1] * event_ndims], 0))
        return tf.where(chosen, value, tf.stop_gradient(value)) if value.dtype.is_floating else value

    return with_parameters(distribution, change, validate_args=False)


def asserted(distribution: tfd.Distribution, value: tf.Tensor) -> tf.Tensor:
    """Outcomes of a scalar distribution, once its own assertions, and those of what a window cuts, have seen them."""
    value = asserted(distribution.distribution, value) if hasattr(distribution, "window") else value
    value = tf.cast(value, distribution.dtype)
    checks = [check for check in distribution._sample_control_dependencies(value) if check is not None]
    with tf.control_dependencies(checks):
        return tf.identity(value)


def _of_mixture(mixture: tfd.MixtureSameFamily) -> tfd.MixtureSameFamily:
    rank = mixture.event_shape.rank
    components = marginals(mixture.components_distribution)
    probs = tf.cast(mixture.mixture_distribution.probs_parameter(), real_dtype(components))
    probs /= tf.reduce_sum(probs, axis=-1, keepdims=True)  # to the digits of float64, as TFP's assertion asks
    if rank:
        components = _moved(components, -1 - rank, -1)
        probs = tf.reshape(probs, tf.concat([tf.shape(probs)[:-1], [1] * rank, tf.shape(probs)[-1:]], 0))
        shape = tf.concat([components.batch_shape_tensor()[:-1], tf.shape(probs)[-1:]], 0)
        probs = tf.broadcast_to(probs, shape)
    return tfd.MixtureSameFamily(tfd.Categorical(probs=probs), components)


def _of_unlike_parts(mixture: tfd.Mixture) -> tfd.Mixture:
    parts = [marginals(part) for part in mixture.components]
    dtypes = sorted({part.dtype.name for part in parts})
    if len(dtypes) > 1:
        raise NotImplementedError(
            f"{mixture.name} has parts in {' and in '.join(dtypes)}, for a flow keeps its own dtype and others are "
            f'computed in float64: give the head `dtype="float64"`.'
        )
    probs = tf.cast(mixture.cat.probs_parameter(), real_dtype(parts[0]))
    probs /= tf.reduce_sum(probs, axis=-1, keepdims=True)
    shape = tf.concat([tf.shape(probs)[:-1], [1] * mixture.event_shape.rank, tf.shape(probs)[-1:]], 0)
    whole = tf.concat([parts[0].batch_shape_tensor(), tf.shape(probs)[-1:]], 0)
    return tfd.Mixture(tfd.Categorical(probs=tf.broadcast_to(tf.reshape(probs, shape), whole)), parts)


def _moved(distribution: tfd.Distribution, source: int, target: int) -> tfd.Distribution:
    """The same distributions with an axis of their batch in another place, both counted from the end."""
    if isinstance(distribution, MIXTURE_SAME_FAMILY):
        mixture = _moved(distribution.mixture_distribution, source, target)
        return tfd.MixtureSameFamily(mixture, _moved(distribution.components_distribution, source - 1, target - 1))
    rank = distribution.batch_shape.rank
    return with_parameters(
        distribution, lambda value, event_rank: _with_axis_moved(value, rank, event_rank, source, target)
    )


def _with_axis_moved(value, batch_rank, event_rank, source, target):
    value = tf.convert_to_tensor(value)
    missing = batch_rank + event_rank - value.shape.rank
    value = tf.reshape(value, tf.concat([[1] * missing, tf.shape(value)], 0))
    axes = list(range(batch_rank))
    axes.insert(batch_rank + target, axes.pop(batch_rank + source))
    return tf.transpose(value, [*axes, *range(batch_rank, batch_rank + event_rank)])
