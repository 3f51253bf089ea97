"""The base class of the heads of both Keras versions, and the distribution that a head returns."""

import functools
import inspect
import random
import sys
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.families.arguments import as_count, refuse_with_family
from nllfit.families.broadcast_checks import rowwise
from nllfit.families.by_mean import parameterized
from nllfit.families.configs import plain, restored
from nllfit.families.family import Family
from nllfit.families.family_base import ParametricFamily
from nllfit.families.head_arguments import HeadRegularizer, as_tensor_of, regularizer_of
from nllfit.families.law import law_of

__all__ = ["DistributionHead", "Elementwise", "Head", "Origin", "traced_distribution"]

# Maps the package of a Keras version to three texts for error messages: the version's name, the module of its heads,
# and the statement that imports this module.
_KERAS_PACKAGES = {
    "tf_keras": ("tf_keras", "nllfit.heads", "import nllfit"),
    "keras": ("Keras 3", "keras3.heads", "from nllfit import keras3"),
}


class Head:
    """The base class of heads, without the code that depends on the Keras version.

    A subclass defines `make_family(*args, **kwargs)`, which makes the family from the arguments of the head. The class
    that users call has two bases: this subclass, and a layer class of one Keras version. The layer class defines

    - `keras_package`, the package of the Keras version;
    - `layer_arguments`, the names of the arguments that the layer takes;
    - `_start_draws(seed)`, which creates a generator of seeds, and `_next_seed()`, which returns the next seed;
    - `_restored` and `_saved`, which convert plain values to a Keras object and back.

    Besides the arguments of its family, every head takes these three:

    Args:
      as_tensor: the tensor that the next layer receives, and that `predict` and an exported model return. "mean" is the
        point prediction; see `point_predictions.central_value`. "sample" is one draw for each row, in training and in
        prediction. The gradient flows through the draw.
      activity_regularizer: None, or a `HeadRegularizer` such as `nllfit.KLDivergence`. The head adds the regularizer's
        term to the loss once for each batch.
      seed: the seed of the draws. By default it is drawn from Python's generator, which Keras's `set_random_seed`
        seeds.
    """

    keras_package: str
    layer_arguments: tuple[str, ...]
    family: ParametricFamily
    name: str
    _start_draws: Callable[[int], None]
    _next_seed: Callable[[], tf.Tensor]
    _restored: Callable[[Any], Any]
    _saved: Callable[[Any], dict]
    __signature__: inspect.Signature

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        cls.__doc__ = inspect.getdoc(cls)
        signature = inspect.signature(cls.__init__)  # `inspect.signature(cls)` would show Keras's `__new__`
        cls.__signature__ = signature.replace(parameters=list(signature.parameters.values())[1:])

    def __init__(
        self,
        *args: Any,
        as_tensor: str = "mean",
        activity_regularizer: HeadRegularizer | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        layer_arguments = {name: kwargs.pop(name) for name in self.layer_arguments if name in kwargs}
        family = self.head_family(*args, **kwargs)  # raises for invalid arguments before Keras creates the layer
        as_tensor, seed = as_tensor_of(as_tensor, family), as_count("seed", seed, 0, True)
        regularizer = regularizer_of(self._restored(activity_regularizer), family, as_tensor == "sample")
        super().__init__(autocast=False, **layer_arguments)  # type: ignore[call-arg]  # arguments of the layer class
        self.family = family
        self.as_tensor, self.regularizer, self.seed = as_tensor, regularizer, seed
        self._regularizer_layers = [] if regularizer is None else list(regularizer.layers)  # so that Keras tracks them
        if as_tensor == "sample" or regularizer is not None:
            self._start_draws(random.randint(1, 10**9) if seed is None else seed)
        self.supports_masking = True
        # The class method `Normal.params_size(...)` needs the arguments of a head. A head has stored its arguments, so
        # `head.params_size()` needs none.
        self.params_size = functools.partial(self.params_size, *args, **kwargs)  # type: ignore[method-assign]
        self._plain_arguments = functools.partial(self.plain_arguments, *args, **kwargs)
        self._shared = self._learned = self._step = None

    def _value(self, distribution: tfd.Distribution) -> tf.Tensor:
        """Returns the head's output as a tensor: the central value, or a draw, which is stored in `origin.draw`."""
        if self.as_tensor == "sample":
            distribution.origin.draw = distribution.sample(seed=self._next_seed())
            return distribution.origin.draw
        return law_of(distribution).central_value()

    def _add_term(self, distribution: tfd.Distribution, mask: Any, training: Any) -> None:
        """Adds the regularizer's term to the loss of a batch."""
        if self.regularizer is None:
            return
        learned, step = (None if part is None else tf.convert_to_tensor(part) for part in (self._learned, self._step))
        learned = None if learned is None else tf.cast(learned, distribution.dtype)
        term = self.regularizer.term(distribution, mask, self._next_seed(), learned, step)
        self.add_loss(term)  # type: ignore[attr-defined]  # a method of the layer class
        if self._step is not None and training:
            self._step.assign_add(1)

    def _options(self) -> dict[str, Any]:
        """Returns the arguments that every head takes, as plain values. Arguments with default values are left out."""
        regularizer = self.regularizer and self._saved(self.regularizer)
        options = {"activity_regularizer": regularizer, "seed": self.seed}
        given = {name: value for name, value in options.items() if value is not None}
        return given if self.as_tensor == "mean" else given | {"as_tensor": self.as_tensor}

    @staticmethod
    def make_family(*args: Any, **kwargs: Any) -> ParametricFamily:
        raise NotImplementedError

    @classmethod
    def head_family(cls, *args: Any, **kwargs: Any) -> ParametricFamily:
        """Returns the family of a head with these arguments. Raises a `ValueError` if all its parameters are shared."""
        family = cls.make_family(*args, **kwargs)
        if not family.params_size:
            raise ValueError(f"Every free parameter of {family.name} is shared: leave one for the network to set.")
        return family

    @classmethod
    def params_size(cls, *args: Any, **kwargs: Any) -> int:
        """Returns the number of units that the layer before a head with these arguments must have."""
        return cls.make_family(*args, **kwargs).params_size

    @classmethod
    def plain_arguments(cls, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Returns the arguments by name, as plain values for a config."""
        arguments = inspect.signature(cls.make_family).bind(*args, **kwargs).arguments
        arguments |= arguments.pop("kwargs", {})
        return {name: plain(value) for name, value in arguments.items()}

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        package = type(inputs).__module__.partition(".")[0]
        if package in _KERAS_PACKAGES and package != self.keras_package:
            raise TypeError(f"{self._advice()}.")
        return super().__call__(inputs, *args, **kwargs)  # type: ignore[misc]  # the layer class defines it

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}: {self.family!r}>"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        """Returns advice if the other Keras version formats a head, and `str(self)` otherwise.

        The other version formats a head only to write the error message that the head is not a layer. The advice, which
        names the head to use in that version, becomes part of this message.
        """
        caller = sys._getframe(1).f_globals.get("__name__", "").partition(".")[0]
        return format(self._advice() if caller in _KERAS_PACKAGES.keys() - {self.keras_package} else str(self), spec)

    def _advice(self) -> str:
        (other,) = _KERAS_PACKAGES.keys() - {self.keras_package}
        keras, heads, _ = _KERAS_PACKAGES[self.keras_package]
        other_keras, other_heads, other_import = _KERAS_PACKAGES[other]
        name = type(self).__name__
        return (
            f"`{heads}.{name}` is a layer of {keras}; in a {other_keras} model use `{other_heads}.{name}`, after "
            f"`{other_import}`"
        )


class DistributionHead(Head):
    """A head of any family of TFP, or of a user's own class of distributions.

    Domain and formula are those of the distribution's class. Links: the default bijectors; see `nllfit.Family`.

    Args:
      distribution: a class of distributions, its name, or a family object. With a family object, none of the arguments
        below is allowed.
      event_shape: shape of one outcome, an int or a tuple. The default is 1, or the shape of the family object.
      shared: names of parameters that are the same for all inputs. The head learns them as weights.
      floor: `{name: lowest value}` for parameters with the link `softplus` or `exp`.
      link: `{name: link}` to replace TFP's default.
      num_classes: the number of classes, for families of class labels.
      parameterization: "mean" for the parameters of `nllfit.ByMean`. The default is TFP's parameters.
      **fixed: values at which parameters are held.

    Raises:
      ValueError: see `nllfit.Family`; or if all free parameters are shared.

    Example:
      >>> head = DistributionHead(tfd.JohnsonSU, 1)
      >>> head(tf.zeros([8, DistributionHead.params_size(tfd.JohnsonSU, 1)])).log_prob(tf.zeros([8, 1])).shape
      TensorShape([8])
    """

    def __init__(self, distribution: Any, event_shape: int | Sequence[int] | None = None, **kwargs: Any):
        super().__init__(distribution, event_shape, **kwargs)

    @staticmethod
    def make_family(
        distribution: Any, event_shape: int | Sequence[int] | None = None, **kwargs: Any
    ) -> ParametricFamily:
        family = restored(distribution)
        if isinstance(family, ParametricFamily):
            refuse_with_family({"event_shape": event_shape, **kwargs})
            return family
        return parameterized(family, 1 if event_shape is None else event_shape, **kwargs)


class Elementwise(Head):
    """A head that models each element of an outcome by a scalar family.

    A direct subclass has the same name as the TFP class that it uses.
    """

    _distribution: str

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        if Elementwise in cls.__bases__:
            cls._distribution = cls.__name__

    def __init__(self, event_shape: int | Sequence[int] = 1, **kwargs: Any):
        super().__init__(event_shape, **kwargs)

    @classmethod
    def make_family(cls, event_shape: int | Sequence[int] = 1, **kwargs: Any) -> Family:
        return parameterized(cls._distribution, event_shape, **kwargs)


class Origin:
    """The family and the parameter vectors of a distribution that a head returned.

    Other functions use an `Origin` to rebuild the distribution with other arguments, or to join the distributions of
    several batches.

    Attributes:
      family: the family.
      params: the unconstrained numbers, `[..., params_size]`.
      shared: the shared parameters of the head, `[shared_size]`, or None.
      mask: Keras's mask `[...]`, which is False for the rows to ignore, or None. Only `nllfit.prediction` sets a mask,
        when it joins the results of several batches.
      draw: the draw that the head returned as a tensor, or None.
    """

    draw: tf.Tensor | None = None

    def __init__(
        self,
        family: ParametricFamily,
        params: tf.Tensor,
        shared: tf.Tensor | None,
        mask: Any = None,
    ):
        self.family, self.params, self.shared, self.mask = family, params, shared, mask

    @property
    def is_checked(self) -> bool:
        """Whether the family checks outcomes and parameters."""
        return self.family.fixed.get("validate_args", True)

    def distribution(self, **options: Any) -> tfd.Distribution:
        """Rebuilds the distribution. `options` replace arguments of the family."""
        family = self.family.holding(options) if options else self.family
        return family.distribution(self.params, self.shared)


def traced_distribution(
    family: ParametricFamily, params: tf.Tensor, shared: tf.Tensor | None = None
) -> tfd.Distribution:
    """Builds the distribution that a head returns. The result is a `Rowwise` with an `Origin` as its `origin`.

    Parameters in 16 bits are cast to float32, because in 16 bits `softplus` underflows to 0 and squares overflow during
    training.
    """
    params = tf.cast(params, tf.float32) if params.dtype.size < 4 else params
    origin = Origin(family, params, shared)
    distribution = rowwise(_checked_if_possible(origin))
    distribution.origin = origin
    return distribution


def _checked_if_possible(origin):
    """Builds the distribution with assertions. In a graph, or if an assertion fails, builds it without assertions.

    If a parameter of one row is NaN, an assertion about the whole batch fails. But the other rows must still get a
    prediction.
    """
    if tf.executing_eagerly():
        try:
            return origin.distribution()
        except tf.errors.InvalidArgumentError:
            pass
    return origin.distribution(validate_args=False)  # in a graph, `rowwise.checking` adds the assertions
