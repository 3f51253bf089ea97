"""Links: bijectors from unconstrained numbers to TFP's parameters, and from TFP's parameters to the natural scale."""

import math
import numbers
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb

__all__ = [
    "HIGH",
    "LINKS",
    "PEAK",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "check_links",
    "chosen_link",
    "default_link",
    "is_positive",
    "other_names",
    "twin",
]


class Softplus(tfb.Softplus):
    """TFP's `Softplus`, computed by `tf.math.softplus`.

    TFP's `Softplus` has a custom gradient, which is NaN at inputs above 88 in float32 and above 709 in float64. Also,
    TensorFlow registers a custom gradient under a new name in each graph that uses it, and never frees these graphs.
    """

    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        return tf.math.softplus(x) + (0 if self.low is None else self.low)


class Exp(tfb.Exp):
    """TFP's `Exp`, clipped to positive finite numbers. A scale of 0 or infinity would make log-densities NaN."""

    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        limits = np.finfo(x.dtype.as_numpy_dtype)
        return tf.exp(tf.clip_by_value(x, math.ceil(np.log(limits.tiny)), math.floor(np.log(limits.max))))


class _ClippedProbability:
    """A mix-in class for links of a probability. It clips the probability to numbers above 0 and below 1.

    If the probability were exactly 0 or 1, one of the two outcomes would have an infinite log-probability, and the
    gradient of a log-probability would be NaN.
    """

    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        limits = np.finfo(x.dtype.as_numpy_dtype)
        link: Any = super()
        ends = tf.constant([limits.tiny, 1 - limits.epsneg], x.dtype)
        # The unconstrained number is clipped, too: where the probability rounds to 0 or 1, the derivative of the link
        # may overflow.
        probability = link._forward(tf.clip_by_value(x, *tf.unstack(link._inverse(ends))))
        return tf.clip_by_value(probability, *tf.unstack(ends))


class NormalCDF(_ClippedProbability, tfb.NormalCDF):
    """TFP's `NormalCDF`, clipped to numbers above 0 and below 1."""


class Sigmoid(_ClippedProbability, tfb.Sigmoid):
    """TFP's `Sigmoid`, clipped to numbers above 0 and below 1."""


class Absolute(tfb.Identity):
    """The absolute value. It extends the identity link of a positive parameter to all real numbers."""

    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        return _nonzero_abs(x)


class Reciprocal(tfb.Reciprocal):
    """One over the absolute value of the unconstrained number."""

    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        return 1 / _nonzero_abs(x)


class Square(tfb.Square):
    """The square of the unconstrained number."""

    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        return _nonzero_abs(x) ** 2


class _GumbelCDF(tfb.Bijector):
    """`exp(-exp(-u))`, the inverse of the log-log link. TFP's `GumbelCDF` computes in float32."""

    def __init__(self):
        super().__init__(forward_min_event_ndims=0, name="gumbel_cdf")

    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        return tf.exp(-tf.exp(-x))

    def _inverse(self, y: tf.Tensor) -> tf.Tensor:
        return -tf.math.log(-tf.math.log(y))


class GumbelCDF(_ClippedProbability, _GumbelCDF):
    """`_GumbelCDF`, clipped to numbers above 0 and below 1."""


class _GumbelMinCDF(tfb.Bijector):
    """`1 - exp(-exp(u))`, the inverse of the complementary log-log link."""

    def __init__(self):
        super().__init__(forward_min_event_ndims=0, name="gumbel_min_cdf")

    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        return -tf.math.expm1(-tf.exp(x))

    def _inverse(self, y: tf.Tensor) -> tf.Tensor:
        return tf.math.log(-tf.math.log1p(-y))


class GumbelMinCDF(_ClippedProbability, _GumbelMinCDF):
    """`_GumbelMinCDF`, clipped to numbers above 0 and below 1."""


def _nonzero_abs(x):
    """Returns the absolute value, at least `sqrt(tiny)`, so that its square is positive and its reciprocal finite."""
    return tf.maximum(tf.abs(x), np.sqrt(np.finfo(x.dtype.as_numpy_dtype).tiny))


# A link maps a real number to a parameter. In a GLM, the link is the inverse map: the log link is `exp` here.
LINKS: Mapping[str, Callable[[], tfb.Bijector]] = {
    "exp": Exp,
    "identity": tfb.Identity,
    "normal_cdf": NormalCDF,
    "sigmoid": Sigmoid,
    "softplus": Softplus,
    "tanh": tfb.Tanh,
    "absolute": Absolute,
    "gumbel_cdf": GumbelCDF,
    "gumbel_min_cdf": GumbelMinCDF,
    "reciprocal": Reciprocal,
    "square": Square,
}
_POSITIVE = ("exp", "softplus")


HIGH: Mapping[str, Callable[[Mapping[str, Any]], tfb.Bijector]] = {"high": lambda p: Softplus(low=p["low"])}
"""The link of an upper bound, as a function of the lower bound. TFP has no links that depend on other parameters."""

PEAK: Mapping[str, Callable[[Mapping[str, Any]], tfb.Bijector]] = {
    **HIGH,
    "peak": lambda p: tfb.Sigmoid(p["low"], p["high"]),
}
"""The links of a peak between two bounds, and of the upper bound."""


class Softmax:
    """The map from `k` logits to `k` probabilities. It is no bijector: a shift of all logits has no effect."""

    def forward(self, logits: tf.Tensor) -> tf.Tensor:
        return tf.nn.softmax(logits)

    def inverse(self, probs: tf.Tensor) -> tf.Tensor:
        return tf.math.log(probs)


def default_link(described: Any, name: str, dtype: tf.DType) -> tfb.Bijector | None:
    """Returns TFP's bijector from the real line onto the domain of a parameter, or None if there is none.

    Args:
      described: a class of distributions, or another object with `parameter_properties`.
      name: the name of the parameter.
      dtype: the dtype of the bijector.
    """
    try:
        link = described.parameter_properties(dtype=dtype)[name].default_constraining_bijector_fn()
    except (NotImplementedError, TypeError):  # TypeError: the parameter is a distribution, or lies on a simplex
        return None
    return Softplus(low=link.low) if type(link) is tfb.Softplus and link.hinge_softness is None else link


def chosen_link(kind: str, low: float | None, dtype: tf.DType) -> tfb.Bijector:
    """Returns the link named `kind`, shifted so that parameters are above `low`.

    If `low` is None, only `softplus` is shifted, by the resolution of the dtype, which is 1.2e-7 in float32.
    """
    if kind == "softplus":
        return Softplus(low=tf.convert_to_tensor(np.finfo(dtype.as_numpy_dtype).eps if low is None else low, dtype))
    return LINKS[kind]() if low is None else tfb.Shift(tf.convert_to_tensor(low, dtype))(LINKS[kind]())


def check_links(described: Any, link: Mapping[str, Any], floor: Mapping[str, Any]) -> None:
    """Raises a `ValueError` if a link is unknown, a floor is invalid, or a parameter cannot have a link or floor."""
    properties = described.parameter_properties(dtype=tf.float64)
    for name, kind in link.items():
        if not (isinstance(kind, str) and kind in LINKS):
            raise ValueError(f"`link` gives `{name}` {kind!r}: give one of {', '.join(LINKS)}.")
        default = default_link(described, name, tf.float64)
        if properties[name].event_ndims != 0 and (default is None or default.forward_min_event_ndims != 0):
            raise ValueError(
                f"`link` names `{name}`, whose elements depend on each other, so its link is fixed: leave it out."
            )
    for name, value in floor.items():
        default = default_link(described, name, tf.float64)
        if link.get(name) not in _POSITIVE and (name in link or not isinstance(default, tfb.Softplus)):
            raise ValueError(f"`floor` names `{name}`, but only a parameter whose link is softplus or exp has a floor.")
        if not (isinstance(value, numbers.Real) and 0 <= float(value) < math.inf):
            raise ValueError(f"The floor of `{name}` is {value!r}: give a number >= 0.")


def is_positive(link: tfb.Bijector) -> bool:
    """Whether a link maps onto all positive numbers. A search can then vary the logarithm of the parameter."""
    if not isinstance(link, tfb.Softplus):
        return isinstance(link, tfb.Exp)
    low = 0.0 if link.low is None else tf.get_static_value(link.low)
    # The default softplus is shifted by the resolution of the dtype, which is negligible.
    return low is not None and bool(np.all((low >= 0) & (low <= np.finfo(np.float64).eps)))


def other_names(name: str) -> set[str]:
    """Returns names that TFP may use for the unconstrained form of a parameter, such as `log_rate` for `rate`.

    A TFP distribution takes either the parameter or its unconstrained form.
    """
    return {f"log_{name}", name.replace("probs", "logits"), name.replace("probs", "probits")} - {name}


def twin(described: Any, name: str) -> tuple[str, Callable[[], tfb.Bijector | Softmax]]:
    """Returns a parameter's name on the natural scale, and the class of the link from the parameter to this scale.

    For `logits`, these are `probs` and `tfb.Sigmoid`. For a parameter that is already on the natural scale, they are
    `name` and `tfb.Identity`.
    """
    properties = described.parameter_properties(dtype=tf.float64)
    if name.startswith("log_") and name[len("log_") :] in properties:
        return name[len("log_") :], tfb.Exp
    for kind, link in (("logits", tfb.Sigmoid), ("probits", tfb.NormalCDF)):
        natural = name.replace(kind, "probs")
        if natural != name and natural in properties:
            return natural, Softmax if properties[name].event_ndims == 1 else link
    return name, tfb.Identity
