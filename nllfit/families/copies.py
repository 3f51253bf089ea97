"""Copies distributions: in another dtype, without gradients or assertions, or with some rows of the batch."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd
from tensorflow_probability import util as tfpu

from nllfit.adapters.tensorflow_probability import is_increasing
from nllfit.families.facts import corrected
from nllfit.families.tfp_classes import TRANSFORMED, parameter_properties, parts_of, plain_class

__all__ = [
    "arguments_of",
    "batch_rows",
    "constant",
    "constant_but",
    "in_float64",
    "over_batch",
    "real_dtype",
    "unchecked",
    "with_axis_moved",
    "with_parameters",
]

_ARRAYS = (tf.Tensor, tf.Variable, np.ndarray)


def real_dtype(distribution: tfd.Distribution) -> tf.DType:
    """Returns the floating-point dtype of a distribution's parameters. The outcomes may be integers."""
    if distribution.dtype.is_floating:
        return distribution.dtype
    tensors = tf.nest.flatten(distribution, expand_composites=True)
    if tensors[0] is distribution:  # not a `CompositeTensor`; most users' classes are not
        parts = parts_of(distribution)
        if parts:
            return real_dtype(parts[0])
        tensors = [value for value in distribution.parameters.values() if isinstance(value, _ARRAYS)]
    dtypes = (tf.as_dtype(tensor.dtype) for tensor in tensors)
    return next((dtype for dtype in dtypes if dtype.is_floating), tf.float32)


def with_parameters(
    distribution: tfd.Distribution,
    change: Callable[[Any, int], Any],
    change_bijector: Callable[[tfb.Bijector, int], tfb.Bijector] = lambda bijector, _: bijector,
    **arguments: Any,
) -> tfd.Distribution:
    """Returns a copy in which `change(value, rank)` replaces the value of each parameter.

    A parameter is a tensor `[*batch, ...]`, and `rank` counts its axes after `[*batch]`. In a mixture, the axis of the
    components is one of these axes. `arguments` replace arguments of the constructor. The class of the copy is
    `facts.corrected` of the original class.

    If `arguments` contain a `dtype`, and the distribution contains a flow (a `TransformedDistribution`) whose dtype is
    not this `dtype`, the flow stays unchanged. Exception: if the flow is a component of a `tfd.Mixture`, its base
    distribution gets this `dtype`.

    `change_bijector(bijector, rank)` replaces the bijector of a flow; by default the copy has the same bijector. A flow
    inside the distribution has the batch shape `[*batch, ...]`, and `rank` counts its batch axes after `[*batch]`.
    """
    cls = corrected(plain_class(type(distribution)))
    given, inner = arguments_of(distribution), {n: arguments[n] for n in ("validate_args", "dtype") if n in arguments}
    if "dtype" not in given or not distribution.dtype.is_floating:
        arguments.pop("dtype", None)
    for name, properties in parameter_properties(cls, tf.float64).items():
        value: Any = given.get(name)
        rank = properties.event_ndims
        if isinstance(value, tfd.Distribution) and _keeps_dtype(value, inner.get("dtype")):
            continue
        if isinstance(value, tfd.Distribution):
            rank = rank(distribution) if callable(rank) else rank
            changes = (_with_more_axes(function, rank or 0) for function in (change, change_bijector))
            arguments[name] = with_parameters(value, *changes, **inner)
        elif isinstance(value, (list, tuple)) and all(isinstance(part, tfd.Distribution) for part in value):
            arguments[name] = [with_parameters(part, change, change_bijector, **inner) for part in value]
        elif isinstance(value, tfb.Bijector):
            arguments[name] = change_bijector(value, 0)
        elif value is not None and isinstance(rank, int):
            arguments[name] = change(value, rank)
    return cls(**{**given, **arguments})


def _keeps_dtype(distribution, dtype):
    """Whether a distribution is a flow whose bijector may not work in `dtype`. It must then keep its own dtype."""
    is_flow = plain_class(type(distribution)) in (tfd.TransformedDistribution, TRANSFORMED)
    return is_flow and dtype not in (None, distribution.dtype)


def arguments_of(distribution: tfd.Distribution) -> dict[str, Any]:
    """Returns the arguments of a distribution's constructor by name.

    TFP's inflated families, such as `ZeroInflatedNegativeBinomial`, store some arguments in a dict `kwargs`. The result
    contains the items of `kwargs` instead of `kwargs` itself.
    """
    parameters: Any = distribution.parameters
    if "kwargs" not in parameters:
        return dict(parameters)
    names = parameter_properties(plain_class(type(distribution))).keys() | {"name"}
    return parameters["kwargs"] | {name: parameters[name] for name in names & parameters.keys()}


def _with_more_axes(change, num_axes):
    # The batch `[*batch, ...]` of an inner distribution has `num_axes` more axes, so they are added to `rank`.
    return (lambda value, rank: change(value, rank + num_axes)) if num_axes else change


def in_float64(distribution: tfd.Distribution, **arguments: Any) -> tfd.Distribution:
    """Returns a copy in float64. A flow (a `TransformedDistribution`) whose dtype is not float64 is returned unchanged.

    `arguments` replace arguments of the constructor.
    """
    if _keeps_dtype(distribution, tf.float64):
        return distribution
    return with_parameters(distribution, lambda value, _: _as_float64(value), dtype=tf.float64, **arguments)


def unchecked(distribution: tfd.Distribution) -> tfd.Distribution:
    """Returns a copy without assertions."""
    return with_parameters(distribution, lambda value, _: value, validate_args=False)


def constant(distribution: tfd.Distribution) -> tfd.Distribution:
    """Returns a copy without assertions. No gradient flows to parameters, except to the parameters of a bijector."""
    return with_parameters(distribution, lambda value, _: tf.stop_gradient(value), validate_args=False)


def constant_but(distribution: tfd.Distribution, rows: tf.Tensor) -> tfd.Distribution:
    """Returns a copy without assertions. The parameters of a row get a gradient only if `rows` is True for the row.

    `rows` has shape `[..., *batch]`. Use the copy in a branch of `tf.where` that is selected only for these rows. With
    the original distribution, the gradient of a row that is not selected would be the product of 0 and a derivative.
    This product is NaN if the derivative is infinite.
    """

    def change(value, event_ndims):
        value = tf.convert_to_tensor(value)
        mask = tf.reshape(rows, tf.concat([tf.shape(rows), [1] * event_ndims], 0))
        return tf.where(mask, value, tf.stop_gradient(value)) if value.dtype.is_floating else value

    return with_parameters(distribution, change, validate_args=False)


def batch_rows(distribution: tfd.Distribution, rows: slice) -> tfd.Distribution:
    """Slices a distribution along the first axis of the batch."""
    rank = distribution.batch_shape.rank

    def sliced(value, event_rank):
        value = tf.convert_to_tensor(value)
        has_rows = value.shape.rank == rank + event_rank and value.shape[0] != 1
        return value[rows] if has_rows else value

    try:
        return distribution[rows]  # TFP's slicing also slices the parameters of bijectors
    except TypeError:  # TFP's inflated families, whose `parameters` contain a dict `kwargs`, cannot be sliced
        return with_parameters(distribution, sliced)


def over_batch(distribution: tfd.Distribution, whole: tfd.Distribution, axes: int = 0) -> tfd.Distribution:
    """Returns a copy whose parameters are broadcast to the batch of another distribution, `whole`.

    `distribution` is a part of `whole`, such as the components of a mixture. The batch shape of the copy is the batch
    shape of `whole`, followed by the last `axes` axes of the part's batch, such as the axis of the components. A draw
    of the copy is independent for each row, even if the rows share a parameter. A part with this batch shape is
    returned unchanged.
    """
    batch_shape = distribution.batch_shape
    first_kept = batch_shape.rank - axes
    if batch_shape == whole.batch_shape + batch_shape[first_kept:]:
        return distribution
    shape = tf.concat([whole.batch_shape_tensor(), distribution.batch_shape_tensor()[first_kept:]], 0)

    def broadcast(value, event_rank):
        value = tf.convert_to_tensor(value)
        missing = max(event_rank - value.shape.rank, 0)
        event = tf.concat([[1] * missing, tf.shape(value)[max(value.shape.rank - event_rank, 0) :]], 0)
        return tf.broadcast_to(value, tf.concat([shape, event], 0))

    return with_parameters(distribution, broadcast)


def with_axis_moved(distribution: tfd.Distribution, source: int, target: int) -> tfd.Distribution:
    """Returns a copy in which a batch axis is moved from `source` to `target`. Both are negative axis indices."""
    rank = distribution.batch_shape.rank

    axes = list(range(rank))
    axes.insert(rank + target, axes.pop(rank + source))

    def order(event_rank):
        return [*axes, *range(rank, rank + event_rank)]

    return with_parameters(
        distribution,
        lambda value, event_rank: _in_order(value, order(event_rank)),
        lambda bijector, event_rank: _AxesInOrder(bijector, order(event_rank)),
    )


class _AxesInOrder(tfb.Bijector):
    """Applies an elementwise bijector to arrays whose axes are permuted.

    The parameters of `bijector` fit arrays with the original order of axes. Only the last `len(order)` axes of an array
    are permuted, as `tf.transpose` with `perm=order` does.
    """

    def __init__(self, bijector, order, validate_args=False, name="axes_in_order"):
        parameters = dict(locals())
        self.bijector, self.order = bijector, order
        super().__init__(
            forward_min_event_ndims=0,
            validate_args=validate_args,
            parameters=parameters,
            name=name,
            dtype=bijector.dtype,
        )

    @classmethod
    def _parameter_properties(cls, dtype):
        return {"bijector": tfpu.BatchedComponentProperties()}

    def _batch_shape(self, x_event_ndims):
        shape = self.bijector.experimental_batch_shape(x_event_ndims=0)
        if shape.rank is None:
            return shape
        shape = [*[1] * (len(self.order) - shape.rank), *shape]
        return tf.TensorShape([shape[axis] for axis in self.order][: len(shape) - x_event_ndims])

    def _batch_shape_tensor(self, x_event_ndims):
        shape = self.bijector.experimental_batch_shape_tensor(x_event_ndims=0)
        shape = tf.concat([tf.ones([len(self.order) - tf.size(shape)], shape.dtype), shape], 0)
        return tf.gather(shape, self.order)[: len(self.order) - x_event_ndims]

    def _applied(self, function, x):
        return _in_order(function(_in_order(x, np.argsort(self.order))), self.order)

    def _forward(self, x):
        return self._applied(self.bijector.forward, x)

    def _inverse(self, y):
        return self._applied(self.bijector.inverse, y)

    def _forward_log_det_jacobian(self, x):
        return self._applied(lambda x: self.bijector.forward_log_det_jacobian(x, event_ndims=0), x)

    def _is_increasing(self):
        return _in_order(is_increasing(self.bijector), self.order)


def _in_order(values, order):
    """Permutes the last `len(order)` axes of an array.

    Among these axes, axis `i` of the result is axis `order[i]` of the array. If the array has fewer than `len(order)`
    axes, it first gets leading axes of size 1.
    """
    values = tf.convert_to_tensor(values)
    missing = max(len(order) - values.shape.rank, 0)
    values = tf.reshape(values, tf.concat([[1] * missing, tf.shape(values)], 0))
    num_leading = values.shape.rank - len(order)
    return tf.transpose(values, [*range(num_leading), *(num_leading + axis for axis in order)])


def _as_float64(value):
    if not tf.is_tensor(value) and np.asarray(value).dtype == bool:  # the mask of a `tfd.Masked`
        return value
    value = tf.convert_to_tensor(value, dtype_hint=tf.float64)
    return tf.cast(value, tf.float64) if value.dtype.is_floating else value
