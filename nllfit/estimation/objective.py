"""The log-likelihood of a sample as a function of a family's coordinates, with its derivatives.

TensorFlow computes exact derivatives of the log-likelihood. We use central differences instead if TFP's derivatives are
wrong, or if tracing them would take longer than a fit with differences.
"""

import dataclasses
import functools
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from nllfit.estimation.coordinates import Coordinates
from nllfit.estimation.traced_density import Density
from nllfit.optimum.optimum_and_verdict import Derivatives

__all__ = ["Objective"]

# To limit memory, `y` is processed in chunks of at most this number of elements.
_CHUNK_SIZE = 1 << 18
# To limit memory, a call that evaluates several points computes at most this number of log-densities. A log-density
# that is computed by quadrature takes the memory of 340 numbers.
_LOG_DENSITIES_AT_ONCE = 1 << 14
# A subsample of this size suffices to check derivatives and to choose the step sizes of finite differences.
_FEW_OBSERVATIONS = 200
# A step of a finite difference is so short that it changes the mean log-likelihood by less than this, in nats.
_DIFFERENCE = 1e-5
# If the graph of the log-likelihood has more operations than this, a trace of its second derivatives would take longer
# than finite differences.
_MOST_OPERATIONS = 1000


@dataclasses.dataclass(frozen=True, eq=False)
class Objective:
    """The mean weighted log-likelihood of a sample, as a function of a family's coordinates `w` `[p]`, in float64.

    The sample and all parameters are in the scaled units of `Units`.

    Attributes:
      density: the family's `Density`.
      coordinates: the `Coordinates` that map `w` to parameters.
      y: the sample, `[n, *event]`. For a discrete family, these are the distinct outcomes.
      weights: the number of times that each outcome in `y` counts, `[n]`.
      held: the values, by name, of the parameters that are held fixed.
      profiled: the value at which a profile likelihood holds one element, as `{HeldCoordinates.VALUE: value}`. It is
        empty if no element is held fixed.
      log_volume: the log-density of an outcome in scaled units minus its log-density in the user's units. It is
        subtracted from the mean log-likelihood, which therefore refers to the user's units.
      exact: whether TensorFlow computes the derivatives; otherwise they are finite differences.
      chunks: the sample and its weights as tensors, in parts that fit into memory.
    """

    density: Density
    coordinates: Coordinates
    y: np.ndarray
    weights: np.ndarray
    held: dict[str, tf.Tensor]
    log_volume: float
    chunks: list[tuple[tf.Tensor, tf.Tensor]]
    profiled: dict[str, tf.Tensor] = dataclasses.field(default_factory=dict)
    exact: bool = True

    @classmethod
    def of(
        cls,
        density: Density,
        y: np.ndarray,
        weights: np.ndarray,
        held: Mapping[str, np.ndarray],
        log_volume: float = 0.0,
    ) -> "Objective":
        """Returns the objective of a sample, with exact derivatives."""
        values = {name: tf.constant(value, tf.float64) for name, value in held.items()}
        return cls(density, density.coordinates, y, weights, values, log_volume, _chunks(density, y, weights))

    @functools.cached_property
    def total_weight(self) -> float:
        """The sum of the weights. The log-likelihood is this sum times the mean log-likelihood."""
        return float(self.weights.sum())

    @property
    def are_logarithms(self) -> np.ndarray:
        """Whether each coordinate is the logarithm of a positive parameter, `[p]`."""
        return self.coordinates.are_logarithms

    @property
    def rank(self) -> int:
        """The number of independent directions of `w` that change a density."""
        return self.density.rank

    def sample(self, size: int) -> "Objective":
        """Returns the objective of a subsample of `size` rows.

        All rows are sorted by their first elements. The rows of the subsample are evenly spaced in this order.
        """
        if len(self.y) <= size:
            return self
        order = np.argsort(self.y.reshape(len(self.y), -1)[:, 0])
        rows = order[np.linspace(0, len(self.y) - 1, size).astype(int)]
        y, weights = self.y[rows], self.weights[rows]
        return dataclasses.replace(self, y=y, weights=weights, chunks=_chunks(self.density, y, weights))

    def holding(self, name: str, element: int, value: float) -> "Objective":
        """Returns the objective with one element of a parameter held at a value on the natural scale.

        `element` is the index of the element in the flattened parameter.
        """
        coordinates = self.density.profiled(name, element)
        profiled = {coordinates.VALUE: tf.constant(value, tf.float64)}
        return dataclasses.replace(self, coordinates=coordinates, profiled=profiled)

    def by_differences(self) -> "Objective":
        """Returns the objective with derivatives by finite differences."""
        return dataclasses.replace(self, exact=False)

    @property
    def _arguments(self):
        return self.held | self.profiled

    def constrained(self, w: np.ndarray) -> dict[str, tf.Tensor]:
        """Returns the free parameters at `w` `[p]` as a dict of arguments of `Family.build`."""
        return self.coordinates.constrained(w, self._arguments)

    def natural(self, w: np.ndarray | tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns a dict of the free parameters at `w` `[p]` on the natural scale: `rate` instead of `log_rate`."""
        return self.coordinates.natural(w, self._arguments)

    def values(self, w: np.ndarray) -> np.ndarray:
        """Returns the mean log-likelihood at each row of `w` `[s, p]`, as an array `[s]`.

        The value is -inf at a row where the log-likelihood is not finite.
        """
        points = self.coordinates.points(tf.constant(w), self._arguments)
        try:
            total = sum(self._totals(points, *chunk) for chunk in self.chunks)
        except tf.errors.InvalidArgumentError:  # raised for invalid class labels, even without checks
            return np.full(len(w), -np.inf)
        return np.where(np.isfinite(total), total / self.total_weight - self.log_volume, -np.inf)

    def _totals(self, points, y, weights):
        """Returns the log-likelihood of a chunk at each point. The points are split into batches, to save memory."""
        batch_size = max(1, _LOG_DENSITIES_AT_ONCE // len(y))
        batches = [points[i : i + batch_size] for i in range(0, max(len(points), 1), batch_size)]
        return np.concatenate([self.density.values(batch, self.held, y, weights).numpy() for batch in batches])

    def value(self, w: np.ndarray) -> float:
        """Returns the mean log-likelihood at `w`."""
        return float(self.values(w[None])[0])

    def derivatives(self, w: np.ndarray) -> Derivatives:
        """Returns the mean log-likelihood at `w`, its gradient `[p]` and its Hessian `[p, p]`."""
        if self.exact:
            derivatives = self._by_tensorflow(w)
            if derivatives.finite or not np.isfinite(derivatives.value):
                return derivatives
            # The value is finite, but a derivative is not. For example, the unused branch of a `tf.where` can make a
            # derivative NaN.
        return self._by_differences(w, self.sample(_FEW_OBSERVATIONS)._step_sizes(w))

    def is_differentiable(self, w: np.ndarray) -> bool:
        """Returns whether TensorFlow's derivatives exist, agree with finite differences, and are traced quickly.

        For example, TensorFlow's derivative with respect to the order of a Bessel function is wrong.
        """
        if self.density.length > _MOST_OPERATIONS or not self.density.has_derivatives:
            return False
        subsample = self.sample(_FEW_OBSERVATIONS)
        step_sizes = subsample._step_sizes(w)
        exact, approximate = subsample._by_tensorflow(w), subsample._by_differences(w, step_sizes)
        errors = np.abs(exact.gradient - approximate.gradient) * step_sizes
        return exact.finite and bool(np.all(errors < 0.01 * _DIFFERENCE))

    def _by_tensorflow(self, w: np.ndarray) -> Derivatives:
        point = self.coordinates.points(tf.constant(w[None]), self._arguments)[0]
        chunk_derivatives = [self.density.derivatives(point, self.held, *chunk) for chunk in self.chunks]
        value, point_gradient, point_hessian = (
            sum(terms) / self.total_weight for terms in zip(*chunk_derivatives, strict=True)
        )
        gradient, jacobian, link_hessian = self.coordinates.pullback(tf.constant(w), self._arguments, point_gradient)
        hessian = tf.transpose(jacobian) @ point_hessian @ jacobian + link_hessian
        value = float(value) - self.log_volume if np.isfinite(value) else -np.inf
        return Derivatives(value, gradient.numpy(), hessian.numpy(), True)

    def _by_differences(self, w: np.ndarray, step_sizes: np.ndarray) -> Derivatives:
        steps, (rows, columns) = np.diag(step_sizes), np.triu_indices(len(w), 1)
        pairs = steps[rows] + steps[columns]
        moves = np.concatenate([np.zeros([1, len(w)]), steps, -steps, pairs, -pairs])
        value, up, down, pair_up, pair_down = np.split(
            self.values(w + moves), np.cumsum([1, len(w), len(w), len(pairs)])
        )
        with np.errstate(invalid="ignore"):  # -inf minus -inf, outside the support
            second = up + down - 2 * value
            mixed = (pair_up + pair_down - 2 * value - second[rows] - second[columns]) / 2
            hessian = np.diag(second)
            hessian[rows, columns] = hessian[columns, rows] = mixed
            return Derivatives(
                value[0], (up - down) / (2 * step_sizes), hessian / np.outer(step_sizes, step_sizes), False
            )

    def _step_sizes(self, w: np.ndarray) -> np.ndarray:
        """Returns the step size of the finite differences in each coordinate, `[p]`.

        We try a grid of step sizes, and take the largest that changes the mean log-likelihood by less than
        `_DIFFERENCE`.
        """
        sizes = 10.0 ** np.arange(1, -15, -0.5)
        moves = (sizes[:, None, None] * np.diag(1 + np.abs(w))).reshape(-1, len(w))
        values = self.values(np.concatenate([w[None], w + moves, w - moves]))
        with np.errstate(invalid="ignore"):
            changes = np.abs(values[1:] - values[0]).reshape(2, len(sizes), len(w)).max(0)
        return sizes[np.argmax(changes < _DIFFERENCE, axis=0)] * (1 + np.abs(w))


def _chunks(density, y, weights):
    rows = max(1, _CHUNK_SIZE // (y[0].size * max(1, density.copies)))
    return [
        (tf.cast(tf.constant(y[i : i + rows]), density.dtype), tf.constant(weights[i : i + rows]))
        for i in range(0, len(y), rows)
    ]
