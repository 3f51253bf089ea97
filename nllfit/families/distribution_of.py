"""The base class of distributions that modify another distribution."""

from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.families.copies import real_dtype

__all__ = ["DistributionOf"]


class DistributionOf(tfd.AutoCompositeTensorDistribution):
    """A distribution that modifies a scalar `distribution`. An outcome is a number, or an observation with columns.

    The constructor of a subclass stores its arguments and calls `_begin`. The subclass defines `_parameter_properties`
    and `_log_prob`, and `_columns` if an outcome has columns, such as the ends of an interval.
    """

    distribution: tfd.Distribution
    _prefix = ""  # the start of the default name

    def _begin(self, arguments: dict[str, Any]) -> None:
        """The second part of the constructor, which gets all arguments by name."""
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
