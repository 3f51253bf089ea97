"""`Rowwise` distributions raise an error for outcomes that TFP would broadcast against the rows of a batch."""

import functools
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.adapters.tensorflow_probability import made_by_head
from nllfit.families.copies import constant
from nllfit.families.law import law_of
from nllfit.families.tfp_classes import derived

__all__ = ["Rowwise", "checking", "rowwise", "unchecked_log_prob"]

_METHODS_OF_OUTCOMES = (
    "cdf",
    "log_cdf",
    "log_prob",
    "log_survival_function",
    "prob",
    "survival_function",
    "unnormalized_log_prob",
    "unnormalized_prob",
)


class Rowwise:
    """A mix-in class for distributions. Their methods raise an error for values that TFP would broadcast.

    TFP's methods take values `[*sample, *batch, *event]` and broadcast other shapes. So with 500 rows of event shape
    `[1]` and 500 numbers `[500]`, TFP silently compares each number with every row. The same happens with 500 rows of
    event shape `[]` and 500 class labels `[500, 1]`. With this mix-in, a value must have the shape that TFP takes, or
    it must be one outcome `[*event]` or one number for all rows. Other shapes raise a `ValueError`.
    """

    def _mode(self) -> tf.Tensor:
        """Returns TFP's mode, or the result of `nllfit.mode` if TFP has no mode, for example for a mixture."""
        base: Any = super()
        try:
            return base._mode()
        except NotImplementedError:
            return law_of(constant(made_by_head(self))).mode()

    def __reduce_ex__(self, protocol: Any) -> Any:
        # `pickle` cannot find the derived class in a module, so we store the class from which it was derived.
        reduced: Any = super().__reduce_ex__(protocol)
        _, (cls, *arguments), *state = reduced
        return (_restored, (cls.__mro__[2], *arguments), *state)


def _with_shape_check(name):
    def method(self, value, *args, **kwargs):
        _check(self, value)
        asserted = checking(self)
        return getattr(super(Rowwise, self) if asserted is self else asserted, name)(value, *args, **kwargs)

    return method


for _name in _METHODS_OF_OUTCOMES:
    setattr(Rowwise, _name, _with_shape_check(_name))


def rowwise(distribution: tfd.Distribution) -> tfd.Distribution:
    """Changes the class of a distribution to one with the mix-in `Rowwise`, and returns the distribution."""
    distribution.__class__ = _rowwise_class(type(distribution))  # type: ignore[arg-type]
    return distribution


def checking(distribution: tfd.Distribution) -> tfd.Distribution:
    """Returns a head's distribution with assertions about outcomes, unless the family has `validate_args=False`.

    In a graph, a head builds its distribution without assertions. There this function rebuilds the distribution.
    """
    distribution = made_by_head(distribution)
    origin = getattr(distribution, "origin", None)
    if origin is None or tf.executing_eagerly() or distribution.validate_args or not origin.is_checked:
        return distribution
    return origin.distribution()


def unchecked_log_prob(distribution: tfd.Distribution, value: tf.Tensor) -> tf.Tensor:
    """Returns `log_prob` of a draw from the same distribution. It does not check the draw.

    In a graph, a check would rebuild the distribution and its bijectors. A bijector caches the inverse of a draw. The
    rebuilt bijectors would have to compute the inverse again.
    """
    base: Any = super(Rowwise, distribution) if isinstance(distribution, Rowwise) else distribution
    return base.log_prob(value)


@functools.cache
def _rowwise_class(cls):
    return cls if issubclass(cls, Rowwise) else derived(cls, (Rowwise,))


def _restored(cls, *arguments):
    return _rowwise_class(cls).__new__(_rowwise_class(cls), *arguments)


def _check(distribution, value):
    shape = value.shape if tf.is_tensor(value) else tf.TensorShape(np.shape(value))
    event, batch = distribution.event_shape, distribution.batch_shape
    if shape.rank in (None, 0) or event.rank is None or batch.rank is None:
        return
    expected = batch + event
    last_axes = shape[max(shape.rank - expected.rank, 0) :]
    # Where a batch axis has size 1, the axis of the value may have any size.
    allowed = tf.TensorShape([None if size == 1 else size for size in batch]) + event
    if not (shape.is_compatible_with(event) or last_axes.is_compatible_with(allowed)):
        raise ValueError(
            f"The value has shape {tuple(shape)}, but this is a batch {tuple(batch)} of distributions of outcomes of "
            f"shape {tuple(event)}, against which it would be broadcast: give one outcome for each, {tuple(expected)}, "
            f"or several, `[..., {str(expected.as_list())[1:]}`. For class labels `[n, 1]`, use "
            f"`nllfit.negative_log_likelihood(y, distribution)`."
        )
