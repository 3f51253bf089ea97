"""Links: the bijectors between a family's numbers, its parameters and what a statistician reads."""

import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

__all__ = ["Softmax", "default_link", "is_positive", "other_names", "twin"]


class Softmax:
    """Class probabilities from as many logits, of which a common shift changes nothing: no bijector, as TFP asks."""

    def forward(self, logits: tf.Tensor) -> tf.Tensor:
        return tf.nn.softmax(logits)

    def inverse(self, probs: tf.Tensor) -> tf.Tensor:
        return tf.math.log(probs)


def default_link(distribution_class: type[tfd.Distribution], name: str, dtype: tf.DType) -> tfb.Bijector | None:
    """The bijector from the real line onto a parameter's domain that TFP names, or None."""
    try:
        return distribution_class.parameter_properties(dtype=dtype)[name].default_constraining_bijector_fn()
    except (NotImplementedError, TypeError):  # TypeError: it is itself a distribution, or a simplex
        return None


def is_positive(link: tfb.Bijector) -> bool:
    """Whether a link reaches every positive number, and its logarithm can stand in for its argument."""
    if not isinstance(link, tfb.Softplus):
        return isinstance(link, tfb.Exp)
    low = 0.0 if link.low is None else tf.get_static_value(link.low)
    # TFP's softplus ends at the resolution of the dtype, which is no floor to speak of.
    return low is not None and bool(np.all((low >= 0) & (low <= np.finfo(np.float64).eps)))


def other_names(name: str) -> set[str]:
    """The names under which TFP knows a natural parameter on the real line, of which one replaces the other."""
    return {f"log_{name}", name.replace("probs", "logits"), name.replace("probs", "probits")} - {name}


def twin(distribution_class: type[tfd.Distribution], name: str) -> tuple[str, tfb.Bijector | Softmax]:
    """The natural name of a parameter, by TFP's own names, and the link from its value to the natural one."""
    known = distribution_class.parameter_properties(tf.float64)
    if name.startswith("log_") and name[len("log_") :] in known:
        return name[len("log_") :], tfb.Exp()
    for kind, link in (("logits", tfb.Sigmoid()), ("probits", tfb.NormalCDF())):
        natural = name.replace(kind, "probs")
        if natural != name and natural in known:
            return natural, Softmax() if known[name].event_ndims == 1 else link
    return name, tfb.Identity()
