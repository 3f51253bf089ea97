"""The base class of distributions that modify another distribution."""

from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.families.copies import real_dtype

__all__ = ["DistributionOf"]


class DistributionOf(tfd.AutoCompositeTensorDistribution):
    """The base class of distributions that modify a scalar `distribution`.

    An outcome is a number, or a vector such as the two ends of an interval. The elements of the vector are called
    columns. The constructor of a subclass stores its arguments as attributes and then calls `_begin`. A subclass
    defines `_parameter_properties` and `_log_prob`. If its outcomes are vectors, it also defines `_columns`.
    """

    distribution: tfd.Distribution
    _prefix = ""  # the default name is `_prefix + distribution.name`

    def _begin(self, arguments: dict[str, Any], dtype: tf.DType | None = None) -> None:
        """Completes the constructor. `arguments` are all arguments of the constructor by name.

        `dtype` is by default the dtype of the parameters of `distribution`.
        """
        self.distribution, name = arguments["distribution"], arguments["name"]
        super().__init__(
            dtype=dtype or real_dtype(self.distribution),
            reparameterization_type=tfd.NOT_REPARAMETERIZED,
            validate_args=arguments["validate_args"],
            allow_nan_stats=True,
            parameters=arguments,
            name=name + self.distribution.name if name == self._prefix else name,
        )

    @property
    def _columns(self) -> tuple[int, ...]:
        """The event shape: `()` for numbers, or `(number of columns,)`."""
        return ()

    def _event_shape(self) -> tf.TensorShape:
        return tf.TensorShape(self._columns)

    def _event_shape_tensor(self) -> tf.Tensor:
        return tf.constant(self._columns, tf.int32)
