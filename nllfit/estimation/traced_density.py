"""Traced functions of a family's log-density and its derivatives, for samples of any size.

TensorFlow takes a few tenths of a second to trace a density and its derivatives. The traces depend only on the family
and on which parameters are held fixed, so they are cached, and all samples of a bootstrap use the same traces.
"""

import functools
from typing import Any

import tensorflow as tf

from nllfit.adapters.tensorflow import trace
from nllfit.estimation.coordinates import Coordinates, HeldCoordinates
from nllfit.estimation.num_independent_directions import num_independent_directions
from nllfit.families.family_base import ParametricFamily

__all__ = ["Density", "density_of"]

_CACHED_FAMILIES = 64
# If a point has more elements than this number, a loop computes the rows of the Hessian. Otherwise the point is copied
# once for each row, and one call of `gradient` computes the whole Hessian.
_MOST_COPIES = 10


@functools.lru_cache(_CACHED_FAMILIES)
def density_of(family: ParametricFamily, held: tuple[str, ...] = ()) -> "Density":
    """Returns, from a cache, the `Density` of a family. `held` are the names of the parameters that are held fixed."""
    return Density(family, held)


class Density:
    """Weighted sums of a family's log-densities over outcomes, and their derivatives.

    A *point* is the vector of the constrained values of all free parameters. `Family.build` takes constrained values.
    `w` is the vector of unconstrained coordinates from which a point is computed. In the shapes below, `s` is the
    number of points, `q` the number of elements of a point, and `p` the length of `w`. The argument `held` of the
    functions below is a dict. It contains the values of the parameters that are held fixed.

    Args:
      family: a family object, such as a `Family` or a `Censored`.
      held: the names of the parameters that are held fixed.

    Attributes:
      coordinates: the `Coordinates` of the free parameters.
      dtype: the dtype of the outcomes.
      copies: the number of copies of the point in `derivatives`: one for each row of the Hessian, or 1 if the point has
        more than 10 elements. With a copy for each row, one call of `gradient` computes the whole Hessian.
        TensorFlow then traces `derivatives` twice as fast as with a loop over the rows.
    """

    def __init__(self, family: ParametricFamily, held: tuple[str, ...] = ()):
        self.coordinates = Coordinates(family, held)
        self._profiled: dict[tuple[str, int], HeldCoordinates] = {}
        w = tf.zeros([self.coordinates.size], tf.float64)
        self.dtype = self.coordinates.distribution(w, self.coordinates.held).dtype
        self.copies = self.coordinates.point_size if self.coordinates.point_size <= _MOST_COPIES else 1

    def profiled(self, name: str, element: int) -> HeldCoordinates:
        """Returns, from a cache, coordinates that fix one element of a parameter at a value on the natural scale."""
        key = name, element
        if key not in self._profiled:
            coordinates = self.coordinates
            self._profiled[key] = HeldCoordinates(coordinates.family, tuple(coordinates.held), name, element)
        return self._profiled[key]

    # The properties below return concrete functions, because a `tf.function` would cause wrong warnings. The
    # `tf.function`s of all families have the same code, so TensorFlow would count them as one `tf.function`, and warn
    # that this `tf.function` is traced too often.
    @functools.cached_property
    def values(self) -> Any:
        """A function `f(points [s, q], held, y [n, *event], weights [n])`.

        It returns the weighted sum of log-densities at each point, `[s]`.
        """

        def values(points, held, y, weights):
            return tf.linalg.matvec(self._log_prob(points, held, y[:, None]), weights, transpose_a=True)

        return self._program(values, None)

    @functools.cached_property
    def has_derivatives(self) -> bool:
        """Whether TensorFlow has the second derivative of each operation in the log-density."""
        try:
            return bool(self.derivatives)
        except LookupError:
            return False

    @functools.cached_property
    def derivatives(self) -> Any:
        """A function `f(point [q], held, y [n, *event], weights [n])`.

        It returns the weighted sum of log-densities, its gradient `[q]` and its Hessian `[q, q]`.
        """

        def derivatives(point, held, y, weights):
            copies = tf.tile(point[None], [self.copies, 1])
            with tf.GradientTape(persistent=True) as outer:
                outer.watch(copies)
                with tf.GradientTape() as inner:
                    inner.watch(copies)
                    value = tf.linalg.matvec(self._log_prob(copies, held, y[:, None]), weights, transpose_a=True)
                gradient = inner.gradient(value, copies, unconnected_gradients="zero")
                gradient_elements = tf.linalg.diag_part(gradient) if self.copies > 1 else gradient[0]
            zero = {"unconnected_gradients": "zero"}
            if self.copies == self.coordinates.point_size:
                hessian = outer.gradient(gradient_elements, copies, **zero)
            else:
                hessian = outer.jacobian(gradient_elements, copies, experimental_use_pfor=False, **zero)[:, 0]
            return value[0], gradient[0], hessian

        return self._program(derivatives)

    @functools.cached_property
    def of_samples(self) -> tuple[Any, Any]:
        """Two functions `f(w [b, p], y [n, b, *event], weights [n, b])` of `b` samples. Each sample has its own `w`.

        The first returns the weighted sums of log-densities, `[b]`. The second returns the sums, and their gradients
        `[b, p]` and Hessians `[b, p, p]` with respect to `w`.
        """
        coordinates = self.coordinates

        def values(w, y, weights):
            return tf.reduce_sum(weights * coordinates.distribution(w, {}).log_prob(y), 0)

        def derivatives(w, y, weights):
            with tf.GradientTape(persistent=True) as outer:
                outer.watch(w)
                with tf.GradientTape() as inner:
                    inner.watch(w)
                    value = values(w, y, weights)
                gradient = inner.gradient(value, w)
                gradient_columns = tf.unstack(gradient, axis=1)
            rows = [outer.gradient(column, w, unconnected_gradients="zero") for column in gradient_columns]
            return value, gradient, tf.stack(rows, 1)

        specs = (
            tf.TensorSpec([None, coordinates.size], tf.float64),
            tf.TensorSpec([None, None, *coordinates.family.event_shape], self.dtype),
            tf.TensorSpec([None, None], tf.float64),
        )
        return tuple(trace(tf.function(f, autograph=False), *specs) for f in (values, derivatives))

    @functools.cached_property
    def length(self) -> int:
        """The number of operations in the graph of `values`."""
        return len(self.values.graph.get_operations())

    @functools.cached_property
    def rank(self) -> int:
        """The number of independent directions of `w` that change a density. See `num_independent_directions`."""
        return num_independent_directions(self.coordinates, self.values, self.dtype)

    def _program(self, function, *batch):
        held = self.coordinates.held_specs
        sample = tf.TensorSpec([None, *self.coordinates.family.event_shape], self.dtype)
        points = tf.TensorSpec([*batch, self.coordinates.point_size], tf.float64)
        weights = tf.TensorSpec([None], tf.float64)
        return trace(tf.function(function, autograph=False), points, held, sample, weights)

    def _log_prob(self, points, held, y):
        shapes = self.coordinates.shapes
        sizes = [shape.num_elements() for shape in shapes.values()]
        blocks = tf.split(points, sizes, axis=-1) if sizes else []
        batch = [-1] * (points.shape.rank - 1)
        parameters = {n: tf.reshape(b, [*batch, *shape]) for (n, shape), b in zip(shapes.items(), blocks, strict=True)}
        family = self.coordinates.family
        return family.build(parameters | held, tf.float64).log_prob(y)
