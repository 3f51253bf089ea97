"""The base class of distributions that modify another distribution."""

from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.families.copies import real_dtype

__all__ = ["DistributionOf"]


class DistributionOf(tfd.AutoCompositeTensorDistribution):
    """A distribution that modifies another: of numbers, or of observations `[columns]` of a number.

    The constructor of a subclass stores its arguments and calls `_begin`. The subclass defines `_parameter_properties`
    and `_log_prob`.
    """

    distribution: tfd.Distribution
    _prefix = ""  # of the default name

    def _begin(self, arguments: dict[str, Any]) -> None:
        """The rest of the constructor, given all of its arguments by name."""
        self.distribution, name = arguments["distribution"], arguments["name"]
        super().__init__(
            dtype=real_dtype(self.distribution),
            reparameterization_type=tfd.NOT_REPARAMETERIZED,
            validate_args=arguments["validate_args"],
            allow_nan_stats=True,
            parameters=arguments,
            name=name + self.distribution.name if name == self._prefix else name,
        )

    @property
    def _columns(self) -> tuple[int, ...]:
        """The shape of an outcome."""
        return ()

    def _event_shape(self) -> tf.TensorShape:
        return tf.TensorShape(self._columns)

    def _event_shape_tensor(self) -> tf.Tensor:
        return tf.constant(self._columns, tf.int32)
