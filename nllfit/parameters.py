"""Parameters as a statistician names them.

TFP prefers numbers that an optimizer can move freely, a `log_rate` or `logits`. A table of estimates shows their twins,
the `rate` and the `probs`, which TFP names among the same family's parameters.
"""

import tensorflow as tf
import tensorflow_probability as tfp

from nllfit.families import MixtureFamily

tfb = tfp.bijectors

__all__ = ["natural_parameters", "unconstrained_parameters"]


class _Softmax:
    """The probabilities of classes whose logits are free to shift."""

    @staticmethod
    def forward(logits):
        return tf.nn.softmax(logits)

    @staticmethod
    def inverse(probs):
        return tf.math.log(probs)


def natural_parameters(family, u):
    """The free parameters at `u` `[..., params_size]` by name, a `log_rate` as `rate` and `logits` as `probs`."""
    if isinstance(family, MixtureFamily):
        logits, components = _split(family, u)
        return {"probs": tf.nn.softmax(logits)} | natural_parameters(family.component, components)
    values = {}
    for name, value in family.parameters(u).items():
        twin, link = _twin(family, name)
        values[twin] = link.forward(value)
    return values


def unconstrained_parameters(family, parameters):
    """The inverse of `natural_parameters`: `[..., params_size]`."""
    if isinstance(family, MixtureFamily):
        logits = tf.math.log(parameters["probs"])
        rest = unconstrained_parameters(family.component, parameters)
        return tf.concat([logits, tf.reshape(rest, [*logits.shape[:-1], -1])], -1)
    values = {}
    for name in family.parameter_names:
        twin, link = _twin(family, name)
        values[name] = link.inverse(tf.convert_to_tensor(parameters[twin], tf.float64))
    return family.unconstrained(values)


def _split(family, u):
    logits, rest = tf.split(u, [family.num_components, -1], axis=-1)
    return logits, tf.reshape(rest, [*u.shape[:-1], family.num_components, family.component.params_size])


def _twin(family, name):
    known = family.distribution_class.parameter_properties(tf.float64)
    if name.startswith("log_") and name[len("log_") :] in known:
        return name[len("log_") :], tfb.Exp()
    for kind, link in (("logits", tfb.Sigmoid()), ("probits", tfb.NormalCDF())):
        twin = name.replace(kind, "probs")
        if twin != name and twin in known:
            return twin, _Softmax if known[name].event_ndims == 1 else link
    return name, tfb.Identity()
