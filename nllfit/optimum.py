"""The maximum of a log-likelihood over a family's coordinates, by Newton's method.

The parameters of a distribution are few and TensorFlow differentiates the log-likelihood exactly, so Newton's method
with the observed information gets to the optimum in a handful of passes over the data, and leaves that information
behind, which the standard errors need.
"""

import copy
import dataclasses
import functools

import numpy as np
import tensorflow as tf

from nllfit.parameters import Coordinates, HeldCoordinates

__all__ = ["Objective", "Optimum", "climb", "inverse_information", "maximize"]

_CHUNK = 1 << 16  # rows at once: the intermediate results of a million rows would take a gigabyte
_NOISE = 1e-13  # relative rounding error of a mean log-likelihood
_LEAST_DROP = 1e-4  # nats by which the log-likelihood must fall one standard error from a maximum, where 1/2 is usual
_LEAP = 5.0  # Newton steps at once, after which the log-likelihood has fallen unless it goes on rising for ever
_LEAPS = 5  # in a row
_UNENDING = 0.03  # standard errors, whose square is the rest of the way up to the limit, in nats
_NEAR = 1e-6  # length of the last step, in standard deviations of one outcome; it leaves about the square of that
_DIFFERENCE = 1e-5  # nats by which the mean log-likelihood changes over a central difference
_LONG = 1000  # operations, whose second derivatives take longer to write down than to approximate by differences
_FLAT = 1e-13  # an eigenvalue of the information, scaled to a unit diagonal, that counts as zero


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


@dataclasses.dataclass(frozen=True)
class Optimum:
    """Where Newton's method ended.

    Attributes:
      w: the coordinates, `[p]`.
      value: the mean log-likelihood there.
      information: the observed information of the whole sample, minus the Hessian of its log-likelihood, `[p, p]`.
      rank: the number of directions that the likelihood can tell apart.
      distance: the length of the next step, in standard errors.
      message: "converged", or why not.
    """

    w: np.ndarray
    value: float
    information: np.ndarray
    rank: int
    distance: float
    message: str

    @property
    def converged(self):
        """Whether Newton's method came to an end, and to no verdict against it."""
        return self.message == "converged"


def maximize(objective, w, steps=60):
    """Newton's method from `w`, with a verdict on what it found.

    The end is a maximum if the information is positive definite (but for directions that change no density), the
    log-likelihood falls one standard error away, to either side of each of its axes, and it did not go on rising where
    steps could have been five times as long.

    Args:
      objective: an `Objective`.
      w: the start, `[p]`.
      steps: the most steps taken.

    Returns:
      An `Optimum`.
    """
    optimum = climb(objective, w, objective.rank(), steps, unending=_UNENDING)
    return _verdict(objective, optimum) if optimum.converged else optimum


def climb(objective, w, rank, steps=60, unending=1e-3):
    """Newton's method from `w` until a step leaves an error of some 1e-12 standard deviations of an outcome.

    A step is `V |L|^-1 V' g` for the Hessian `V L V'` scaled to a unit diagonal, so that it goes uphill where the
    log-likelihood is not yet concave, and is halved until it does.

    Args:
      objective: an `Objective`.
      w: the start, `[p]`.
      rank: the number of directions that the likelihood can tell apart.
      steps: the most steps taken.
      unending: where a climb without end is broken off, in standard errors.

    Returns:
      An `Optimum`, of which only the gradient is known to vanish.
    """
    value, gradient, hessian = objective.derivatives(w)
    distance, leaps = np.inf, 0

    def stop(message):
        if leaps >= _LEAPS:
            message = _at_infinity(objective, w, step)
        return Optimum(w, value, -objective.total_weight * hessian, rank, distance, message)

    if not rank:
        distance = 0.0
        return stop("converged")
    for taken in range(steps):
        if not _all_finite(value, gradient, hessian):
            return stop("the log-likelihood or a derivative is not finite")
        axes, curvature = _principal_axes(-hessian, rank)
        slopes, bent = axes.T @ gradient, np.maximum(np.abs(curvature), _FLAT)
        step, previous = axes @ (slopes / bent), distance
        distance = np.sqrt(objective.total_weight * np.sum(slopes**2 / bent))
        near = distance < (1e-4 if objective.by_differences else _NEAR) * np.sqrt(objective.total_weight)
        if not taken and distance < 1e-5:  # a closed form is more exact than a step from it
            return stop("converged")
        scale, reached = _uphill(objective, w, step, value, gradient @ step)
        if scale is None:
            return stop("no step raises the log-likelihood")
        slow = previous / 4 < distance < 1
        leaps = leaps + 1 if slow and objective.value(w + _LEAP * step) >= objective.value(w + step) else 0
        w, value = w + scale * step, reached
        if near:
            return stop("converged")
        if leaps >= _LEAPS and distance < unending:
            return stop("no finite maximum")
        value, gradient, hessian = objective.derivatives(w)
    return stop(f"still {distance:.2g} standard errors from a maximum after {steps} steps")


def _uphill(objective, w, step, value, slope):
    """The longest of the step, its half, quarter and so on that raises the log-likelihood by enough, and its value."""
    for scale in 0.5 ** np.arange(34):
        reached = objective.value(w + scale * step)
        if reached >= value + 1e-4 * scale * slope - _NOISE * (1 + abs(value)):
            return scale, reached
    return None, value


def inverse_information(optimum):
    """The covariance of the coordinates `[p, p]`, zero in the directions that change no density."""
    axes, curvature = _principal_axes(optimum.information, optimum.rank)
    return (axes / curvature) @ axes.T


def _principal_axes(information, rank):
    """Axes `[p, rank]` and curvatures `[rank]` of an information scaled to a unit diagonal, without the flattest axes.

    `inv(information) = axes @ diag(1 / curvature) @ axes.T`, so that a step along an axis, divided by the root of its
    curvature, is one standard error.
    """
    diagonal = np.abs(np.diag(information))
    scales = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    curvature, axes = np.linalg.eigh(information / np.outer(scales, scales))
    kept = np.argsort(-np.abs(curvature))[:rank]
    return axes[:, kept] / scales[:, None], curvature[kept]


def _verdict(objective, optimum):
    if not optimum.rank:
        return optimum
    axes, curvature = _principal_axes(optimum.information, optimum.rank)
    if curvature.min() <= _FLAT:
        return dataclasses.replace(optimum, message="the information is not positive definite")
    errors = (axes / np.sqrt(curvature)).T
    around = objective.values(np.concatenate([optimum.w + errors, optimum.w - errors]))
    drops = objective.total_weight * (optimum.value - around)
    if drops.min() < _LEAST_DROP:
        message = _at_infinity(objective, optimum.w, errors[drops.argmin() % optimum.rank])
        return dataclasses.replace(optimum, message=message)
    return optimum


def _at_infinity(objective, w, direction):
    moves_most = np.where(np.arange(len(w)) == np.argmax(np.abs(direction) / (1 + np.abs(w))), 1.0, 0.0)
    before, after = (objective.coordinates.natural(tf.constant(point)) for point in (w, w + moves_most))
    name = next(name for name in before if np.any(before[name] != after[name]))
    return f"no finite maximum: the log-likelihood goes on rising as `{name}` goes to its limit"


def _all_finite(*parts):
    return all(np.all(np.isfinite(part)) for part in parts)
