"""`DistributionLambda`, a head that calls a user's function, and its family."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.families.arguments import as_size
from nllfit.families.discreteness import is_discrete
from nllfit.families.family_base import ParametricFamily
from nllfit.families.head_base import Head
from nllfit.families.parameters import Numbers, Parameter
from nllfit.families.registered_names import registered
from nllfit.families.support_checks import checked
from nllfit.families.tfp_classes import parameter_properties, parts_of

__all__ = ["DistributionLambda", "FunctionFamily"]

_PARAMS = "params"
_TEST_ROWS = 3  # rows in a test call of the function; with one row, a wrong batch shape `[1]` would look right


class DistributionLambda(Head):
    """A head whose distribution, such as a normalizing flow, is made from the layer's inputs by a user's function.

    The function defines domain and link. Formula: -log p(y) = -make_distribution(params).log_prob(y). Converted to a
    tensor, the output is the mean of the distribution, or the median or mode if there is no mean. If TFP knows none of
    these for a flow, the output is the bijector's value at the mean of the base distribution. A saved model contains
    only the name of the function. The function must be registered with Keras under this name.

    Args:
      make_distribution: a function, or its registered name. It maps numbers `[..., params_size]` to a
        `tfd.Distribution` of batch `[...]` and of the event shape of the outcomes. The function must not
        create variables.
      params_size: the number of inputs per row.
      validate_args: True (the default): an outcome outside the support raises an error, even if the function's
        distribution has `validate_args=False`. False: the `validate_args` of the function's distribution decides. TFP's
        default is False, which allows soft labels.

    Raises:
      ValueError: if one of these is true:
        - `make_distribution` is neither a function nor a registered name, or `params_size` is not a positive integer.
        - The function does not return a distribution, or the distribution has another batch shape than `[...]`.
        - An outcome of the distribution consists of several tensors.
        - The class of the distribution has no `parameter_properties`, or it is unknown whether its outcomes are counts.
      ValueError: when a model is saved, cloned or loaded, if the function is not registered.

    Example:
      >>> def skewed(params):
      ...     loc, scale = tf.split(params, 2, axis=-1)
      ...     return tfd.Independent(tfd.SinhArcsinh(loc, tf.exp(scale), skewness=0.5), 1)
      >>> head = DistributionLambda(skewed, 2)
      >>> head(tf.zeros([8, 2])).log_prob(tf.zeros([8, 1])).shape
      TensorShape([8])

    Source: `tfp.layers.DistributionLambda`, TensorFlow Probability.
    """

    def __init__(self, make_distribution: Callable | str, params_size: int, validate_args: bool = True, **kwargs: Any):
        super().__init__(make_distribution, params_size, validate_args, **kwargs)

    @staticmethod
    def make_family(
        make_distribution: Callable | str, params_size: int, validate_args: bool = True
    ) -> "FunctionFamily":
        return FunctionFamily(make_distribution, params_size, validate_args)


class FunctionFamily(ParametricFamily):
    """A family whose only parameter is a vector `params` `[..., params_size]`. A function maps it to a distribution."""

    def __init__(self, make_distribution: Callable | str, params_size: int, validate_args: bool = True):
        if isinstance(make_distribution, str):
            name, make_distribution = make_distribution, registered(make_distribution)
            if make_distribution is None:
                raise ValueError(
                    f"The function {name} is not registered with Keras here: import the module that defines it after "
                    f"`@keras.saving.register_keras_serializable(...)` before the file is loaded."
                )
        if not callable(make_distribution):
            raise ValueError(f"`make_distribution` is {make_distribution!r}: give a function, or its registered name.")
        self.function = make_distribution
        self.records = (Parameter(_PARAMS, (as_size("params_size", params_size, 1),)),)
        self.name = self.label = getattr(make_distribution, "__name__", type(make_distribution).__name__)
        self.fixed: Numbers = {"validate_args": validate_args}
        with tf.init_scope():
            example = self.holding({"validate_args": False}).distribution(tf.zeros([_TEST_ROWS, self.params_size]))
            _check_described(example)
        self.event_shape = tuple(example.event_shape)
        self.is_discrete = is_discrete(example)

    def build(self, parameters: Numbers, dtype: tf.DType) -> tfd.Distribution:
        arguments = self.fixed | parameters
        params = tf.convert_to_tensor(arguments[_PARAMS], dtype)
        made = self.function(params)
        if not isinstance(made, tfd.Distribution):
            raise ValueError(
                f"`make_distribution`, {self.name}, returns a {type(made).__name__}: let it return a "
                f"`tfd.Distribution`."
            )
        if not isinstance(made.event_shape, tf.TensorShape):
            raise ValueError(
                f"{self.name} returns a {type(made).__name__}, whose outcomes are several tensors: join its parts in a "
                f"`tfd.Blockwise`, whose outcome is one vector."
            )
        if not made.batch_shape.is_compatible_with(params.shape[:-1]):
            raise ValueError(
                f"{self.name} maps numbers of shape {tuple(params.shape)} to distributions of batch "
                f"{tuple(made.batch_shape)} and outcomes of shape {tuple(made.event_shape)}: let the batch be "
                f"{tuple(params.shape[:-1])}, one for each row. `tfd.Independent(..., 1)` turns the last axis of a "
                f"batch into an axis of the outcome."
            )
        return checked(made) if arguments["validate_args"] else made

    @property
    def layout(self) -> str:
        return f"{self.params_size} for `{self.name}`"

    @property
    def arguments(self) -> dict[str, Any]:
        return {"make_distribution": self.function, "params_size": self.params_size} | self.fixed

    def __repr__(self) -> str:
        return f"FunctionFamily({self.name}, {self.params_size})"


def _check_described(distribution):
    """Raises a `ValueError` if the class of a distribution, or of a part of it, has no `parameter_properties`.

    Without `parameter_properties`, we cannot copy the distribution.
    """
    try:
        parameter_properties(type(distribution))
    except NotImplementedError as error:
        raise ValueError(str(error)) from None
    for part in parts_of(distribution):
        _check_described(part)
