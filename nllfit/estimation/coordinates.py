"""Coordinates for estimation: maps between an unconstrained vector `w` and the parameters of a family.

A positive parameter without a `floor` is the exponential of its coordinate. (By default, a head uses softplus instead
of the exponential.) Newton's method works best for a quadratic function, and the log-likelihood is closer to quadratic
in a logarithm than in the input of a softplus. Logarithms also make the search independent of the unit of `y`, because
a change of the unit only shifts a logarithm.

The *constrained* parameters are the arguments of `Family.build`, such as a positive `scale`. They are called
constrained even if any number is allowed: a Poisson is built from its `log_rate`, and a Bernoulli from its `logits`. A
table of estimates shows parameters on the *natural scale*: the `rate` of the Poisson, and the `probs` of the Bernoulli.
`rate` is called the *twin* of `log_rate`, and `probs` the twin of `logits`.
"""

import functools
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from nllfit.adapters.tensorflow import trace
from nllfit.families.family_base import ParametricFamily
from nllfit.families.links import LINKS, Softmax
from nllfit.families.parameters import Numbers

__all__ = ["Coordinates", "HeldCoordinates"]


_LARGE = 1e100  # an end of a domain above this number counts as infinite


class Coordinates:
    """The maps from unconstrained coordinates `w` to the free parameters of a family, and back.

    Args:
      family: a family object, such as a `Family` or a `Censored`.
      held: the names of the parameters that are held fixed. The parameters that are neither in `held` nor in
        `family.fixed` are free. Methods have an argument `held`, too: a dict of the values of these
        parameters.

    Attributes:
      family: a copy of the family that does not check outcomes. In this copy, the positive parameters that have no
        `floor` have the link `exp`.
      shapes: maps the name of each free parameter to the shape of its constrained value.
      size: the length of `w`.
      point_size: the total number of elements in the constrained values of all free parameters.
      held: maps the name of each parameter that is held fixed to a random value. A trace needs the shapes of these
        values, and `Density.rank` is computed at these values.
      are_logarithms: whether each coordinate is the logarithm of a positive parameter, `[size]`.
    """

    def __init__(self, family: ParametricFamily, held: Iterable[str] = ()):
        self.family = family.holding({"validate_args": False}).logarithmic()
        numbers = 0.5 * np.random.default_rng(0).standard_normal(family.params_size)
        example = family.parameters(tf.constant(numbers))
        self.held = {name: example[name] for name in held}
        self.shapes = {name: value.shape for name, value in example.items() if name not in held}
        free = self.family.holding(self.held)
        self.size = free.params_size
        self.point_size = sum(shape.num_elements() for shape in self.shapes.values())
        self.are_logarithms = free.logarithms

    def constrained(self, w: Any, held: Numbers) -> Numbers:
        """Returns the free parameters as a dict of arguments of `family.build`. `w` is `[..., size]`."""
        return self.family.holding(held).parameters(tf.convert_to_tensor(w, tf.float64))

    @functools.cached_property
    def points(self) -> Callable:
        """A function `f(w [s, size], held)` that returns points `[s, q]`: the constrained parameters as vectors."""

        def points(w, held):
            return _flat(self.constrained(w, held), 1) if self.size else w

        return trace(
            tf.function(points, autograph=False), tf.TensorSpec([None, self.size], tf.float64), self.held_specs
        )

    @functools.cached_property
    def pullback(self) -> Callable:
        """A function `f(w [size], held, point_gradient [q])`: the chain rule for any function `g` of the point.

        `point_gradient` is the gradient of `g` with respect to the point, and `q` is `point_size`.

        Returns:
          The gradient of `g` with respect to `w`, `[size]`.
          The Jacobian of the point with respect to `w`, `[q, size]`.
          The term that the second derivatives of the links add to the Hessian of `g`, `[size, size]`.
        """

        def pullback(w, held, point_gradient):
            # Element `i` of the point is computed from copy `i` of `w`, so one gradient yields the whole Jacobian.
            copies = tf.tile(w[None], [max(self.point_size, self.size), 1])
            with tf.GradientTape() as outer:
                outer.watch(copies)
                with tf.GradientTape(persistent=True) as inner:
                    inner.watch(copies)
                    points = _flat(self.constrained(copies, held), 1)
                    linearized, diagonal = tf.linalg.matvec(points, point_gradient), tf.linalg.diag_part(points)
                gradient = inner.gradient(linearized, copies)
                gradient_elements = tf.linalg.diag_part(gradient)
            jacobian = inner.gradient(diagonal, copies)[: self.point_size]
            link_hessian = outer.gradient(gradient_elements, copies, unconnected_gradients="zero")[: self.size]
            # The second derivative of TFP's softplus is NaN above 709; the true value is 0.
            return (
                gradient[0],
                jacobian,
                tf.where(tf.math.is_nan(link_hessian), tf.zeros_like(link_hessian), link_hessian),
            )

        w, point_gradient = (tf.TensorSpec([size], tf.float64) for size in (self.size, self.point_size))
        return trace(tf.function(pullback, autograph=False), w, self.held_specs, point_gradient)

    def natural(self, w: Any, held: Numbers) -> Numbers:
        """Returns a dict of the free parameters on the natural scale: `rate` instead of `log_rate`.

        `w` is `[..., size]`.
        """
        return self.family.natural(self.constrained(w, held))

    def from_natural(self, natural: Numbers) -> np.ndarray:
        """Returns the coordinates `w` `[..., size]`.

        `natural` maps the names of parameters to values on the natural scale. It contains the free parameters and the
        parameters that are held fixed.
        """
        if not self.size:
            return np.zeros([0])
        held = {name: natural[name] for name in self.held}
        free = self.family.from_natural(natural, self.shapes)
        return self.family.holding(held).unconstrained(free).numpy()

    def distribution(self, w: Any, held: Numbers) -> tfd.Distribution:
        """Returns the distribution of batch shape `[...]` at `w` `[..., size]`."""
        return self.family.build(self.constrained(w, held) | held, tf.float64)

    def domain(self, name: str) -> tfb.Bijector:
        """Returns a bijector from the real line to the domain of a parameter on the natural scale."""
        constrained, twin = self._constrained_and_link(name)
        if constrained in self.family.floor:
            return tfb.Shift(tf.constant(self.family.floor[constrained], tf.float64))(tfb.Exp())
        if isinstance(twin, Softmax):
            return tfb.Sigmoid()
        kind = "exp" if constrained in self.family.positive else self.family.link.get(constrained, "identity")
        ends = twin.forward(LINKS[kind]().forward(tf.constant([-np.inf, 0.0, np.inf], tf.float64))).numpy()
        if ends.max() > _LARGE:
            return tfb.Identity() if ends.min() < 0 else tfb.Exp()
        # `LINKS` clip values to just inside the domain, so the computed ends are inexact. Rounding corrects them.
        return tfb.Sigmoid(*np.round([ends.min(), ends.max()], 12))

    def _constrained_and_link(self, name):
        """Returns the name of the constrained parameter whose name on the natural scale is `name`.

        Also returns the bijector that maps the constrained parameter to the natural scale.
        """
        return next(
            (constrained, link)
            for constrained in self.shapes
            for twin, link in [self.family.twin(constrained)]
            if twin == name
        )

    @property
    def held_specs(self) -> dict[str, tf.TensorSpec]:
        """The `TensorSpec`s of the held parameters in a traced function, by name."""
        return {name: tf.TensorSpec(value.shape, tf.float64) for name, value in self.held.items()}


class HeldCoordinates(Coordinates):
    """Coordinates for a profile likelihood: one element of a parameter is held at a value on the natural scale.

    Although one element is held, the vector `w` is as long as in `Coordinates`. The likelihood is therefore constant
    along one direction of `w`.

    Args:
      family, held: as in `Coordinates`. The value of the element is passed in `held` under the name `VALUE`.
      name: the name of a free parameter on the natural scale, such as `rate`.
      element: the index of the element in the flattened parameter. In a symmetric matrix the mirrored element is held
        too. If the element is a class probability, the other probabilities are rescaled so that all sum to 1.
    """

    VALUE = "value"

    def __init__(self, family: ParametricFamily, held: Iterable[str], name: str, element: int):
        super().__init__(family, held)
        self._name = name
        w = tf.constant(np.random.default_rng(0).standard_normal(self.size))
        example = Coordinates(family, held).natural(w, self.held)[name].numpy()
        self._held_mask = np.asarray(example == example.flat[element], np.float64)
        self.held |= {self.VALUE: tf.constant(0.5, tf.float64)}

    def constrained(self, w: Any, held: Numbers) -> Numbers:
        value = held[self.VALUE]
        values = super().constrained(w, {name: held[name] for name in held if name != self.VALUE})
        name, link = self._constrained_and_link(self._name)
        natural = link.forward(values[name])
        others = natural * (1.0 - self._held_mask)
        if isinstance(link, Softmax):
            others *= (1.0 - value * tf.reduce_sum(self._held_mask, -1, True)) / tf.reduce_sum(others, -1, True)
        values[name] = link.inverse(others + value * self._held_mask)
        return values


def _flat(parameters, batch_rank=0):
    """Joins all parameters into vectors `[*batch, q]`."""
    vectors = [tf.reshape(v, [-1] * batch_rank + [v.shape[batch_rank:].num_elements()]) for v in parameters.values()]
    return tf.concat(vectors, -1)
