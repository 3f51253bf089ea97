"""`Family`: a family made from a class of TFP or from a user's own class of distributions."""

import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from nllfit.families.arguments import as_names, as_shape, as_size, as_text, check_size, own_copy
from nllfit.families.discreteness import is_discrete
from nllfit.families.distribution_names import family_class
from nllfit.families.facts import Facts, facts_of
from nllfit.families.family_base import ParametricFamily
from nllfit.families.links import check_links, chosen_link, default_link, other_names, twin
from nllfit.families.parameters import Numbers, Parameter, as_tensors
from nllfit.families.search_policy import SearchPolicy
from nllfit.families.support_checks import assertion_text, strict
from nllfit.families.tfp_classes import over_event

__all__ = ["Family"]


class Family(ParametricFamily):
    """A family of distributions, parametrised by a vector of unconstrained real numbers.

    The vector has one block of numbers for each free parameter that is not shared, in the order of
    `parameter_names`. Each block is reshaped, and the link of the parameter maps the block to the parameter's value.
    The default link is TFP's bijector. For example, it is the identity for a `loc`, for `logits` and for `log_rate`
    (Gamma, Poisson). A `scale` is `softplus(u) + eps`, where `u` is an unconstrained number and `eps` is the resolution
    of the dtype.

    Args:
      distribution: a subclass of `tfd.Distribution`, or its name.
      event_shape: shape of one outcome, an int or a tuple. For a scalar family, the elements of an outcome are
        independent. For a family of vectors (`MultivariateNormalTriL`, `OneHotCategorical`), the last axis is the axis
        of the vector.
      shared: names of parameters that are the same for all inputs. Their unconstrained numbers are a separate vector of
        length `shared_size`, the second argument of the method `distribution(params, shared)`.
      floor: `{name: lowest value}` for parameters with the link `softplus` or `exp`. It replaces `softplus`'s `eps`.
      link: `{name: link}` to replace TFP's link, which maps the network's number to the parameter. A link is `exp`,
        `identity`, `square`, `normal_cdf`, `sigmoid`, `softplus`, `tanh`, `absolute`, `reciprocal`, `gumbel_cdf` or
        `gumbel_min_cdf`. With `{"probs": "normal_cdf"}`, the parameter is `probs` instead of TFP's default, `logits`.
      num_classes: the number of classes, for families of class labels such as `Categorical`.
      **fixed: values at which parameters are held (`scale=1.0`, `total_count=10`, `low=0.0`), and other arguments of
        the distribution's constructor. `validate_args` is True by default, so an outcome outside the support raises an
        error. `validate_args=False` allows soft labels, such as 0.1 and 0.9 for a Bernoulli.

    Raises:
      ValueError: if one of these is true:
        - The distribution is unknown or has no `parameter_properties`.
        - A named parameter does not exist, or `shared`, `floor` or `link` names a parameter that is fixed.
        - A fixed value is outside its domain, or its shape does not fit an outcome of shape `event_shape`.
        - A parameter without a default link is not fixed, or every parameter is fixed.
        - `num_classes` is missing or not needed, or another argument is invalid.

    Example:
      >>> family = Family("Normal", event_shape=2)
      >>> family.parameter_names, family.params_size
      (('loc', 'scale'), 4)
      >>> family.distribution(tf.zeros([8, 4])).log_prob(tf.zeros([8, 2])).shape
      TensorShape([8])

    Source: `tfp.util.ParameterProperties`, TensorFlow Probability.
    """

    _suffix = ""  # appended to the name of TFP's class in the constructor's error messages

    def __init__(
        self,
        distribution: str | type[tfd.Distribution],
        event_shape: int | Sequence[int] = (),
        *,
        shared: str | Sequence[str] = (),
        floor: Mapping[str, float] | None = None,
        link: Mapping[str, str] | None = None,
        num_classes: int | None = None,
        **fixed: Any,
    ):
        self.distribution_class = family_class(distribution)
        self._signature = dict(inspect.signature(self.distribution_class.__init__).parameters)
        self._parameters_of_tfp = tuple(self.distribution_class.parameter_properties())
        self.name, self.event_shape = self.distribution_class.__name__ + self._suffix, as_shape(event_shape)
        shared = as_names("shared", shared)
        # We store copies: if the user later changed a dict or array, the hash of the family would change.
        self.floor, self.link = ({} if given is None else own_copy(given) for given in (floor, link))
        self.fixed = {name: own_copy(value) for name, value in fixed.items()}
        self.num_classes = None if num_classes is None else as_size("num_classes", num_classes, 2)

        properties = self._described(self.distribution_class).parameter_properties(dtype=tf.float64)
        self._check_names(properties, shared)
        replaced = {other for name in {*fixed, *self.link} for other in other_names(name)} | fixed.keys()
        free = [n for n, p in properties.items() if (p.is_preferred or n in self.link) and n not in replaced]
        self._check_free(free, shared)
        if not free:
            raise ValueError(f"Every parameter of {self.name} is fixed, so there is nothing to learn: leave one free.")
        ranks = {name: rank for rank, name in enumerate(shared, 1)}
        self.records = tuple(self._record(name, properties[name], ranks.get(name, 0)) for name in free)
        check_size(f"The vector of parameters of {self.name}", self.params_size + self.shared_size)
        self.is_discrete = is_discrete(self._checked_example())

    def build(self, parameters: Numbers, dtype: tf.DType) -> tfd.Distribution:
        return self._made(self.fixed | parameters, dtype)

    def _made(self, arguments: Numbers, dtype: tf.DType) -> tfd.Distribution:
        values = as_tensors(arguments, self._parameters_of_tfp, dtype)
        if self.facts.of_one_shape:
            zero = sum(map(tf.zeros_like, values.values()))
            values = {name: value + zero for name, value in values.items()}
        checked = dtype == tf.float32 or not self.facts.checked_in_float32
        arguments = {"validate_args": checked, **self.facts.arguments} | arguments | values
        if getattr(getattr(self._signature.get("dtype"), "default", None), "is_floating", False):
            arguments.setdefault("dtype", dtype)
        cls: Any = strict(self.distribution_class)  # type: ignore[arg-type]
        return over_event(cls(**arguments), len(self.event_shape))

    def closed_form(self, y: tf.Tensor) -> Numbers | None:
        if self.fixed:
            return None
        try:
            return self.distribution_class.experimental_fit(y, sample_ndims=1).parameters
        except (NotImplementedError, AttributeError, TypeError, ValueError, tf.errors.InvalidArgumentError):
            return None  # TFP has no closed form, or its closed form fails

    @property
    def arguments(self) -> dict[str, Any]:
        given = {"shared": self.shared, "floor": self.floor, "link": self.link, "num_classes": self.num_classes}
        chosen = {name: value for name, value in given.items() if value}
        return {"distribution": self.distribution_class, "event_shape": self.event_shape} | chosen | self.fixed

    @property
    def label(self) -> str:
        return f"{self.name}({', '.join(self._options)})" if self._options else self.name

    def __repr__(self) -> str:
        return f"Family({', '.join([self.name, str(self.event_shape), *self._options])})"

    @property
    def _options(self):
        unnamed = ("distribution", "event_shape")
        return [f"{name}={as_text(value)}" for name, value in self.arguments.items() if name not in unnamed]

    @property
    def facts(self) -> Facts:
        return facts_of(self.distribution_class)

    @property
    def search(self) -> SearchPolicy:
        return self.facts.search

    @staticmethod
    def _described(distribution_class: Any) -> Any:
        """Returns the object whose method `parameter_properties` describes the family's parameters."""
        return distribution_class

    def _record(self, name: str, properties: Any, shared: int) -> Parameter:
        natural, to_natural = self.facts.twins.get(name) or twin(self._described(self.distribution_class), name)
        link = _FamilyLink(type(self), self.distribution_class, name, self.link.get(name), self.floor.get(name))
        return Parameter(name, self._unconstrained_shape(name, properties), link, natural, to_natural, shared)

    def _unconstrained_shape(self, name, properties):
        described, facts = self._described(self.distribution_class), self.facts
        link = default_link(described, name, tf.float64)
        if link is None and name not in facts.links and name not in self.link:
            # A parameter named `distribution` cannot be held at a value, because `distribution=...` is the class.
            is_taken = name in inspect.signature(Family).parameters
            advice = "it is a distribution: choose another family" if is_taken else f"hold it at a value, `{name}=...`"
            raise ValueError(f"{self.name} has no default link for its parameter `{name}`: {advice}.")
        try:
            if facts.class_axis and self.num_classes and properties.event_ndims == 1:
                shape = [*self.event_shape, facts.class_axis(self.num_classes)]
            else:
                shape = properties.shape_fn(list(self.event_shape))
            return tuple(int(size) for size in (link.inverse_event_shape(shape) if link else shape))
        except (NotImplementedError, ValueError, IndexError):
            raise ValueError(
                f"The shape of {self.name}'s parameter `{name}` does not follow from an outcome's shape: hold it at a "
                f"value, `{name}=...`, or give another `event_shape` than {self.event_shape}."
            ) from None

    def _check_names(self, names, shared):
        for argument, given, example in (("floor", self.floor, 1e-3), ("link", self.link, "exp")):
            if not isinstance(given, dict):
                raise ValueError(f"`{argument}` is {given!r}: give a dict such as {{'scale': {example!r}}}.")
        options = list(names) + sorted(set(self._signature) - {"self", "name", *self._parameters_of_tfp, *names})
        for name in {*self.fixed, *shared, *self.floor, *self.link} - set(options):
            raise ValueError(f"{self.name} has no parameter `{name}`. It has {', '.join(options)}.")
        if self.facts.class_axis and self.num_classes is None:
            raise ValueError(f"{self.name} needs `num_classes`, the number of classes its labels name.")
        if self.num_classes and not self.facts.class_axis:
            raise ValueError(f"{self.name} takes no `num_classes`: its size is its `event_shape`.")

    def _check_free(self, free, shared):
        for argument, names in (("shared", shared), ("floor", self.floor), ("link", self.link)):
            for name in names:
                if name not in free:
                    raise ValueError(
                        f"`{argument}` names `{name}`, but the free parameters of {self.name} are {', '.join(free)}."
                    )
        check_links(self._described(self.distribution_class), self.link, self.floor)

    def _checked_example(self):
        """Builds a distribution of the family, and returns it.

        Raises a `ValueError` if a parameter is fixed at a value outside the parameter's domain. Without this check, the
        error would be raised only in training.
        """
        properties = self._described(self.distribution_class).parameter_properties()
        for name, value in as_tensors(self.fixed, properties, tf.float64).items():
            if np.isnan(value).any() or (name not in self.facts.endless and np.isinf(value).any()):
                raise ValueError(f"`{name}` is held at {self.fixed[name]}: give a finite value.")
        held = ", ".join(f"{name}={value!r}" for name, value in self.fixed.items())
        given = f"with {held}" if held else f"from {self.layout}"
        sizes = self.params_size, self.shared_size
        with tf.init_scope():
            try:
                for number in (-1.0, 1.0) * bool(self.link):  # a user's link may return an invalid value
                    self.distribution(*(tf.fill([size], tf.constant(number, tf.float64)) for size in sizes))
                built = self.distribution(*(tf.zeros([size], tf.float64) for size in sizes))
            except tf.errors.InvalidArgumentError as error:
                raise ValueError(f"{self.name} cannot be built {given}: {assertion_text(error)}") from None
            except (TypeError, ValueError, NotImplementedError) as error:
                raise ValueError(f"{self.name} cannot be built {given}: {error}") from None
        if built.event_shape != self.event_shape or built.batch_shape != ():
            shape = (*built.batch_shape, *built.event_shape)
            raise ValueError(
                f"The fixed values make {self.name}'s outcomes of shape {shape}, but `event_shape` is "
                f"{self.event_shape}: give numbers or values of the event's shape, the same for every row. "
                f"{self.facts.by_row_of_head}".rstrip()
            )
        return built


@dataclasses.dataclass(frozen=True)
class _FamilyLink:
    """The link of a family's parameter. It is a class and not a closure, so links can be compared and pickled.

    `kind` and `low` are the entries of the parameter in the family's `link` and `floor`, or None.
    """

    family_class: type[Family]
    distribution_class: type[tfd.Distribution]
    name: str
    kind: str | None
    low: float | None

    def __call__(self, values: Mapping[str, Any], dtype: tf.DType) -> tfb.Bijector:
        if self.kind or self.low is not None:
            return chosen_link(self.kind or "softplus", self.low, dtype)
        link = default_link(self.family_class._described(self.distribution_class), self.name, dtype)
        if link is None:
            return facts_of(self.distribution_class).links[self.name](as_tensors(values, values, dtype))
        return link
