"""Coordinates of a family for estimation: real numbers in, parameters out as a statistician names them.

Two things differ from the vector that a network gives. A positive parameter is addressed by its logarithm, in which
likelihoods are closer to quadratic than in softplus's argument, and which knows no unit. And TFP prefers a `log_rate`
or `logits`; a table of estimates shows their twins among the same family's parameters, the `rate` and the `probs`.
"""

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from nllfit.mixtures import MixtureFamily

tfb = tfp.bijectors
tfd = tfp.distributions

__all__ = ["Coordinates", "HeldCoordinates"]


class Coordinates:
    """Real numbers `w` that address the free parameters of a family.

    Args:
      family: a `Family` or `MixtureFamily`.

    Attributes:
      size: how many numbers there are.
      positive: the places in `w` of each positive parameter, by name; it is `exp(w)` there.
    """

    def __init__(self, family):
        self.family = family
        self.size = family.params_size
        self._scalar = family.component if isinstance(family, MixtureFamily) else family
        size = self._scalar.params_size
        least = self._scalar.parameters(tf.fill([size], tf.constant(-40.0, tf.float64)))
        large = self._scalar.parameters(tf.constant(1e3 + np.arange(size)))
        places = {name: value.numpy() - 1e3 for name, value in large.items()}
        self.positive = {
            name: places[name].astype(int)
            for name, value in least.items()
            if np.all((value >= 0) & (value < 1e-9)) and np.all(places[name] >= 0) and np.all(places[name] < size)
        }
        self._is_positive = np.isin(np.arange(size), [place for p in self.positive.values() for place in p.flat])

    def constrained(self, w):
        """The parameters that `build` takes, by name, at `w` `[..., size]`."""
        if isinstance(self.family, MixtureFamily):
            logits, rest = tf.split(w, [self.family.num_components, -1], axis=-1)
            shape = [*w.shape[:-1], self.family.num_components, self._scalar.params_size]
            return {"mixture_logits": logits} | self._component(tf.reshape(rest, shape))
        return self._component(w)

    def _component(self, w):
        logs = tf.where(self._is_positive, w, 0.0)
        u = tf.where(self._is_positive, tfp.math.softplus_inverse(tf.exp(logs)), w)
        exact = {name: tf.exp(tf.gather(w, places, axis=-1)) for name, places in self.positive.items()}
        return self._scalar.parameters(u) | exact

    def build(self, constrained):
        """The distribution at `constrained`, in float64."""
        if not isinstance(self.family, MixtureFamily):
            return self.family.build(constrained, tf.float64)
        components = {name: value for name, value in constrained.items() if name != "mixture_logits"}
        return tfd.MixtureSameFamily(
            tfd.Categorical(logits=constrained["mixture_logits"]), self._scalar.build(components, tf.float64)
        )

    def distribution(self, w):
        """The distribution of batch `[...]` at `w` `[..., size]`."""
        return self.build(self.constrained(w))

    def natural(self, w):
        """The parameters by name as a statistician reads them: a `log_rate` as `rate`, `logits` as `probs`."""
        values = {}
        for name, value in self.constrained(w).items():
            twin, link = self._twin(name)
            values[twin] = link.forward(value)
        return values

    def from_natural(self, natural):
        """The inverse of `natural`, an array `[..., size]`."""
        constrained = {}
        for name in self.family.parameter_names:
            twin, link = self._twin(name)
            constrained[name] = link.inverse(tf.convert_to_tensor(natural[twin], tf.float64))
        return self.from_constrained(constrained)

    def from_constrained(self, constrained):
        """The inverse of `constrained`, an array `[..., size]`."""
        w = self._scalar.unconstrained(constrained).numpy()
        for name, places in self.positive.items():
            w[..., places] = np.log(constrained[name])
        if isinstance(self.family, MixtureFamily):
            logits = np.asarray(constrained["mixture_logits"])
            w = np.concatenate([logits, w.reshape(*logits.shape[:-1], -1)], -1)
        return w

    def domain(self, name):
        """The bijector from the real line onto the domain of a natural parameter; the identity if it has no bound."""
        constrained = next(known for known in self.family.parameter_names if self._twin(known)[0] == name)
        link = self._twin(constrained)[1]
        if constrained in self.positive or isinstance(link, tfb.Exp):
            return tfb.Exp()
        return tfb.Identity() if isinstance(link, tfb.Identity) else tfb.Sigmoid()

    def _twin(self, name):
        if name == "mixture_logits":
            return "mixture_probs", _Softmax
        known = self._scalar.distribution_class.parameter_properties(tf.float64)
        if name.startswith("log_") and name[len("log_") :] in known:
            return name[len("log_") :], tfb.Exp()
        for kind, link in (("logits", tfb.Sigmoid()), ("probits", tfb.NormalCDF())):
            twin = name.replace(kind, "probs")
            if twin != name and twin in known:
                return twin, _Softmax if known[name].event_ndims == 1 else link
        return name, tfb.Identity()


class HeldCoordinates(Coordinates):
    """Coordinates in which one number of one natural parameter is held at a value; a direction of `w` is then idle.

    Args:
      family: a `Family` or `MixtureFamily`.
      name: a natural parameter's name.
      place: which of its numbers, as an index into the flattened parameter.
      value: the value it is held at. Other class probabilities share what it leaves, in proportion.
    """

    def __init__(self, family, name, place, value):
        super().__init__(family)
        self._name, self._place, self._value = name, place, value

    def constrained(self, w):
        values = super().constrained(w)
        name = next(name for name in self.family.parameter_names if self._twin(name)[0] == self._name)
        link = self._twin(name)[1]
        natural = link.forward(values[name])
        held = np.zeros(natural.shape)
        held.flat[self._place] = 1.0
        others = natural * (1.0 - held)
        if link is _Softmax:
            others *= (1.0 - self._value * tf.reduce_sum(held, -1, True)) / tf.reduce_sum(others, -1, True)
        values[name] = link.inverse(others + self._value * held)
        return values


class _Softmax:
    """Class probabilities from logits, of which a common shift changes nothing."""

    @staticmethod
    def forward(logits):
        return tf.nn.softmax(logits)

    @staticmethod
    def inverse(probs):
        return tf.math.log(probs)
