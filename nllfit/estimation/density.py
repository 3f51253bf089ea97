"""The density of a family in its coordinates, with its derivatives, as programs for samples of any size.

TensorFlow takes some tenths of a second to write a density and its derivatives down. They depend on the family alone,
so they are written once, and the thousand samples of a bootstrap are fitted by the same programs.
"""

import functools
from typing import Any

import numpy as np
import tensorflow as tf

from nllfit.estimation.coordinates import Coordinates, HeldCoordinates
from nllfit.families.inflated import Hurdle, ZeroInflated
from nllfit.families.protocol import ParametricFamily
from nllfit.families.truncated import Truncated

__all__ = ["Density", "density_of"]

_KEPT = 64  # families
_FEW = 10  # numbers of a point, of which there are as many copies; of more, the rows of the Hessian are a loop
_STEP = 1e-2  # by which `rank` moves a coordinate
_RANK = 1e-6  # least singular value of scores, of a largest around 1, that no error of a difference makes


@functools.lru_cache(_KEPT)
def density_of(family: ParametricFamily, held: tuple[str, ...] = ()) -> "Density":
    """The `Density` of a family some of whose parameters are held, made once."""
    return Density(family, held)


class Density:
    """Weighted sums of a family's log-densities over outcomes, and their derivatives.

    Args:
      family: a `Family` or `MixtureFamily`.
      held: names of parameters that are not free.

    Attributes:
      coordinates: the `Coordinates` of the free ones.
      dtype: of outcomes.
      copies: of a point that `derivatives` takes, one for each row of the Hessian: one gradient of a diagonal holds all
        rows, which takes half the time to write down that a gradient for each row takes.
    """

    def __init__(self, family: ParametricFamily, held: tuple[str, ...] = ()):
        self.coordinates = Coordinates(family, held)
        self._profiled: dict[tuple[str, int], HeldCoordinates] = {}
        w = tf.zeros([self.coordinates.size], tf.float64)
        self.dtype = self.coordinates.distribution(w, self.coordinates.held).dtype
        self.copies = self.coordinates.point_size if self.coordinates.point_size <= _FEW else 1

    def profiled(self, name: str, place: int) -> HeldCoordinates:
        """The coordinates with one number of a natural parameter held."""
        key = name, place
        if key not in self._profiled:
            coordinates = self.coordinates
            self._profiled[key] = HeldCoordinates(coordinates.family, tuple(coordinates.held), name, place)
        return self._profiled[key]

    # Concrete functions: TensorFlow warns of retracing where several families are fitted, each with its own programs.
    @functools.cached_property
    def values(self) -> Any:
        """`f(points [s, q], held, y [n, *event], weights [n])`: the sums `[s]`."""

        def values(points, held, y, weights):
            return tf.linalg.matvec(self._log_prob(points, held, y[:, None]), weights, transpose_a=True)

        return self._program(values, None)

    @functools.cached_property
    def derivatives(self) -> Any:
        """`f(point [q], held, y [n, *event], weights [n])`: the sum, its gradient `[q]` and its Hessian `[q, q]`."""

        def derivatives(point, held, y, weights):
            copies = tf.tile(point[None], [self.copies, 1])
            with tf.GradientTape(persistent=True) as outer:
                outer.watch(copies)
                with tf.GradientTape() as inner:
                    inner.watch(copies)
                    value = tf.linalg.matvec(self._log_prob(copies, held, y[:, None]), weights, transpose_a=True)
                gradient = inner.gradient(value, copies, unconnected_gradients="zero")
                slopes = tf.linalg.diag_part(gradient) if self.copies > 1 else gradient[0]
            zero = {"unconnected_gradients": "zero"}
            if self.copies == self.coordinates.point_size:
                hessian = outer.gradient(slopes, copies, **zero)
            else:
                hessian = outer.jacobian(slopes, copies, experimental_use_pfor=False, **zero)[:, 0]
            return value[0], gradient[0], hessian

        return self._program(derivatives)

    @functools.cached_property
    def of_samples(self) -> tuple[Any, Any]:
        """`f(w [b, p], y [n, b, *event], weights [n, b])`, the sums `[b]` of many samples; and these with derivatives.

        The derivatives are by the coordinates `w`, because each sample has a point of its own.
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
                slopes = tf.unstack(gradient, axis=1)
            rows = [outer.gradient(slope, w, unconnected_gradients="zero") for slope in slopes]
            return value, gradient, tf.stack(rows, 1)

        specs = (
            tf.TensorSpec([None, coordinates.size], tf.float64),
            tf.TensorSpec([None, None, *coordinates.family.event_shape], self.dtype),
            tf.TensorSpec([None, None], tf.float64),
        )
        return tuple(tf.function(f, autograph=False).get_concrete_function(*specs) for f in (values, derivatives))

    @functools.cached_property
    def length(self) -> int:
        """The number of operations in the program of `values`."""
        return len(self.values.graph.get_operations())

    @functools.cached_property
    def rank(self) -> int:
        """How many directions of the coordinates change a density: the shift of a softmax does not.

        It is asked at parameters and outcomes of no special kind: at an optimum the scores of few distinct outcomes are
        dependent, whatever the family.
        """
        coordinates, size, rank = self.coordinates, self.coordinates.size, 0
        if not size:
            return 0
        w = 0.5 * np.random.default_rng(0).standard_normal(size)
        # Differences of fourth order: they need no program of their own, and are exact to some ten digits.
        moves = _STEP * np.array([1, -1, 2, -2])[:, None, None] * np.eye(size)
        points = coordinates.points(tf.constant((w + moves).reshape(-1, size)), coordinates.held)
        scores = np.zeros([0, size])
        for y in self._outcomes(w, 20 + 10 * size):
            values = self.values(points, coordinates.held, y[None], tf.ones([1], tf.float64)).numpy()
            up, down, far_up, far_down = values.reshape(4, size)
            with np.errstate(invalid="ignore"):  # -inf - -inf, beyond the support
                score = (8 * (up - down) - (far_up - far_down)) / (12 * _STEP)
            scores = np.append(scores, np.where(np.isfinite(score), score, 0.0)[None], 0)
            norms = np.linalg.norm(scores, axis=0)
            rank = int(np.linalg.matrix_rank(scores / np.where(norms > 0, norms, 1.0), tol=_RANK))
            if rank == size:
                break
        return rank

    def _outcomes(self, w, count):
        """So many outcomes `[count, *event]` of no special kind, each of positive density at `w`."""
        tiled = tf.constant(np.tile(w, (count, 1)))

        def outcomes():
            coordinates = self.coordinates
            return self._drawn(coordinates.constrained(tiled, coordinates.held) | coordinates.held)

        if _is_drawn_by_cdf(self.coordinates.family):  # step by step, which takes less time to do than to write down
            return tf.cast(outcomes(), self.dtype)
        # A program, for TFP has some of its own, and TensorFlow warns where they are called with many shapes.
        return tf.cast(tf.function(outcomes, autograph=False).get_concrete_function()(), self.dtype)

    def _drawn(self, parameters):
        distribution = self.coordinates.family.build(parameters, tf.float64)
        family = self.coordinates.family
        try:
            # A location that is held may be far from 0, and a window is not where the bijector of the family inside is.
            if "loc" in family.fixed or isinstance(family, (Truncated, ZeroInflated)):
                return distribution.sample(seed=(0, 0))
            bijector = distribution.experimental_default_event_space_bijector()
            shape = distribution.batch_shape + bijector.inverse_event_shape(distribution.event_shape)
            return bijector.forward(tf.constant(np.random.default_rng(0).standard_normal(shape)))
        except (AttributeError, NotImplementedError, TypeError, ValueError):  # none for counts; some fail in TFP 0.25
            # Draws in float32: some families cannot be sampled in float64.
            low = {name: tf.cast(value, tf.float32) for name, value in parameters.items()}
            return family.build(low, tf.float32).sample(seed=(0, 0))

    def _program(self, function, *batch):
        held = self.coordinates.held_specs
        sample = tf.TensorSpec([None, *self.coordinates.family.event_shape], self.dtype)
        points = tf.TensorSpec([*batch, self.coordinates.point_size], tf.float64)
        weights = tf.TensorSpec([None], tf.float64)
        return tf.function(function, autograph=False).get_concrete_function(points, held, sample, weights)

    def _log_prob(self, points, held, y):
        shapes = self.coordinates.shapes
        sizes = [shape.num_elements() for shape in shapes.values()]
        blocks = tf.split(points, sizes, axis=-1) if sizes else []
        batch = [-1] * (points.shape.rank - 1)
        parameters = {n: tf.reshape(b, [*batch, *shape]) for (n, shape), b in zip(shapes.items(), blocks, strict=True)}
        family = self.coordinates.family
        return family.build(parameters | held, tf.float64).log_prob(y)


def _is_drawn_by_cdf(family):
    """Whether draws are quantiles: those of a window, as the counts above 0 of a hurdle are."""
    return family.is_discrete if isinstance(family, Hurdle) else isinstance(family, Truncated) and not family.columns
