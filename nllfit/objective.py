"""The log-likelihood of a sample as a function of a family's coordinates, with its derivatives.

TensorFlow differentiates the log-likelihood exactly. Where TFP's derivatives are wrong, or would take longer to write
down than the fit takes, central differences stand in for them.
"""

import copy
import functools

import numpy as np
import tensorflow as tf

from nllfit.parameters import Coordinates, HeldCoordinates

__all__ = ["Objective"]

_CHUNK = 1 << 16  # rows at once: the intermediate results of a million rows would take a gigabyte
_DIFFERENCE = 1e-5  # nats by which the mean log-likelihood changes over a central difference
_LONG = 1000  # operations, whose second derivatives take longer to write down than to approximate by differences


class Objective:
    """The weighted log-likelihood of a sample, as a function of a family's coordinates `w` `[p]`, in float64.

    Args:
      family: a `Family` or `MixtureFamily` that does not check outcomes.
      y: the sample, `[n, *event]`, a NumPy array.
      weights: how often each observation counts, `[n]`.
      density: the `_Density` of the family, if there is one already.
    """

    def __init__(self, family, y, weights, density=None):
        self.family, self.y, self.weights = family, y, weights
        self.coordinates = Coordinates(family)
        self.total_weight = float(weights.sum())
        self._density = _Density(self.coordinates, y.shape[1:]) if density is None else density
        self.by_differences = False
        self._chunks = [
            (tf.cast(tf.constant(y[i : i + _CHUNK]), self._density.dtype), tf.constant(weights[i : i + _CHUNK]))
            for i in range(0, len(y), _CHUNK)
        ]

    def sample(self, size):
        """The objective of `size` rows at even distances in the order of the outcomes' first element."""
        if len(self.y) <= size:
            return self
        order = np.argsort(self.y.reshape(len(self.y), -1)[:, 0])
        rows = order[np.linspace(0, len(self.y) - 1, size).astype(int)]
        few = Objective(self.family, self.y[rows], self.weights[rows], self._density)
        few.by_differences = self.by_differences
        return few

    def holding(self, name, place, value):
        """The objective with one number of a natural parameter held at a value."""
        objective = copy.copy(self)
        objective.coordinates = HeldCoordinates(self.family, name, place, value)
        return objective

    def values(self, w):
        """The mean log-likelihood at each row of `w` `[s, p]`, as an array `[s]`; -inf where it is not finite."""
        points = _flat(self.coordinates.constrained(tf.constant(w)), 1)
        try:
            total = sum(self._density.values(points, *chunk).numpy() for chunk in self._chunks)
        except tf.errors.InvalidArgumentError:  # some ops check a class label whatever `validate_args` says
            return np.full(len(w), -np.inf)
        return np.where(np.isfinite(total), total / self.total_weight, -np.inf)

    def value(self, w):
        """The mean log-likelihood at `w`."""
        return float(self.values(w[None])[0])

    def derivatives(self, w):
        """The mean log-likelihood at `w`, its gradient `[p]` and its Hessian `[p, p]`.

        The links are differentiated apart from the densities: TFP's softplus has NaN for a second derivative beyond
        709, where it is 0.
        """
        if self.by_differences:
            return self._differences(w)
        w = tf.constant(w)
        point = _flat(self.coordinates.constrained(w))
        parts = [self._density.derivatives(point, *chunk) for chunk in self._chunks]
        value, slope, curvature = (sum(part) / self.total_weight for part in zip(*parts, strict=True))
        with tf.GradientTape(persistent=True) as outer:
            outer.watch(w)
            with tf.GradientTape(persistent=True) as inner:
                inner.watch(w)
                point = _flat(self.coordinates.constrained(w))
            gradient = inner.gradient(point, w, slope)
        jacobian = inner.jacobian(point, w, experimental_use_pfor=False)
        bend = outer.jacobian(gradient, w, unconnected_gradients="zero", experimental_use_pfor=False)
        hessian = tf.transpose(jacobian) @ curvature @ jacobian + tf.where(tf.math.is_nan(bend), 0.0, bend)
        return float(value), gradient.numpy(), hessian.numpy()

    def has_derivatives(self, w):
        """Whether TensorFlow's derivatives can be used: not those of a Bessel function's order, which are wrong."""
        few = self.sample(200)
        scores = few._scores(w, tf.concat([y for y, _ in few._chunks], 0))
        gradient, expected = few.weights @ scores / few.total_weight, few._differences(w)[1]
        agrees = np.all(np.abs(gradient - expected) * few._lengths(w) < 0.01 * _DIFFERENCE)
        return bool(agrees) and self._density.length < _LONG

    def _differences(self, w):
        """Central differences in place of `derivatives`."""
        lengths = self.sample(200)._lengths(w)
        steps, (rows, columns) = np.diag(lengths), np.triu_indices(len(w), 1)
        pairs = steps[rows] + steps[columns]
        moves = np.concatenate([np.zeros([1, len(w)]), steps, -steps, pairs, -pairs])
        value, up, down, pair_up, pair_down = np.split(
            self.values(w + moves), np.cumsum([1, len(w), len(w), len(pairs)])
        )
        second = up + down - 2 * value
        mixed = (pair_up + pair_down - 2 * value - second[rows] - second[columns]) / 2
        hessian = np.diag(second)
        hessian[rows, columns] = hessian[columns, rows] = mixed
        return value[0], (up - down) / (2 * lengths), hessian / np.outer(lengths, lengths)

    def _lengths(self, w):
        """The longest decimal steps `[p]` along each coordinate that change the mean log-likelihood only a little."""
        sizes = 10.0 ** np.arange(1, -15, -0.5)
        moves = (sizes[:, None, None] * np.diag(1 + np.abs(w))).reshape(-1, len(w))
        values = self.values(np.concatenate([w[None], w + moves, w - moves]))
        changes = np.abs(values[1:] - values[0]).reshape(2, len(sizes), len(w)).max(0)
        return sizes[np.argmax(changes < _DIFFERENCE, axis=0)] * (1 + np.abs(w))

    def rank(self):
        """How many directions of the coordinates change a density: the shift of a softmax does not.

        It is asked at a point of no special kind, of draws from the family: at an optimum the scores of few distinct
        outcomes are dependent, whatever the family.
        """
        w = np.random.default_rng(0).normal(scale=0.5, size=self.coordinates.size)
        draws = 20 + 10 * len(w)
        try:
            outcomes = self.coordinates.distribution(tf.constant(w)).sample(draws, seed=(0, 0))
        except (NotImplementedError, ValueError, tf.errors.InvalidArgumentError):  # some cannot in float64
            outcomes = self.sample(draws)._chunks[0][0]
        scores = np.nan_to_num(self._scores(w, outcomes), posinf=0.0, neginf=0.0)
        norms = np.linalg.norm(scores, axis=0)
        return int(np.linalg.matrix_rank(scores / np.where(norms > 0, norms, 1.0), tol=1e-8))

    def _scores(self, w, outcomes):
        """The gradient of each outcome's log-density, `[n, p]`."""
        tiled = tf.constant(np.tile(w, (len(outcomes), 1)))
        with tf.GradientTape() as tape:
            tape.watch(tiled)
            distribution = self.coordinates.distribution(tiled)
            log_prob = distribution.log_prob(tf.cast(outcomes, distribution.dtype))
        return tape.gradient(log_prob, tiled, unconnected_gradients="zero").numpy()


class _Density:
    """Sums of log-densities over outcomes, and their derivatives, each one program for samples of any size.

    Parameters come as one vector of numbers, in the order of `Coordinates.constrained`.
    """

    def __init__(self, coordinates, event_shape):
        parameters = coordinates.constrained(tf.zeros([coordinates.size], tf.float64))
        self._build = coordinates.build
        self._shapes = {name: value.shape for name, value in parameters.items()}
        self.dtype = self._build(parameters).dtype
        self._size = sum(shape.num_elements() for shape in self._shapes.values())
        self._sample = [tf.TensorSpec([None, *event_shape], self.dtype), tf.TensorSpec([None], tf.float64)]

    # Concrete functions: TensorFlow warns of retracing where several families are fitted, each with its own programs.
    @functools.cached_property
    def values(self):
        points = tf.TensorSpec([None, self._size], tf.float64)
        return tf.function(self._values).get_concrete_function(points, *self._sample)

    @functools.cached_property
    def derivatives(self):
        point = tf.TensorSpec([self._size], tf.float64)
        return tf.function(self._derivatives).get_concrete_function(point, *self._sample)

    @property
    def length(self):
        """The number of operations in the program of `values`."""
        return len(self.values.graph.get_operations())

    def _distribution(self, point):
        blocks = tf.split(point, [shape.num_elements() for shape in self._shapes.values()], axis=-1)
        batch = [-1] * (point.shape.rank - 1)
        return self._build(
            {n: tf.reshape(b, [*batch, *shape]) for (n, shape), b in zip(self._shapes.items(), blocks, strict=True)}
        )

    def _values(self, points, y, weights):
        return tf.linalg.matvec(self._distribution(points).log_prob(y[:, None]), weights, transpose_a=True)

    def _derivatives(self, point, y, weights):
        with tf.GradientTape(persistent=True) as outer:
            outer.watch(point)
            with tf.GradientTape() as inner:
                inner.watch(point)
                value = tf.tensordot(weights, self._distribution(point).log_prob(y), 1)
            gradient = inner.gradient(value, point, unconnected_gradients="zero")
        hessian = outer.jacobian(gradient, point, unconnected_gradients="zero", experimental_use_pfor=False)
        return value, gradient, hessian


def _flat(parameters, batch_rank=0):
    """The parameters as one vector of numbers."""
    return tf.concat([tf.reshape(v, [*v.shape[:batch_rank], -1]) for v in parameters.values()], -1)
