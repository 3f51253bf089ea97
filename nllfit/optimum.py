"""The maximum of a log-likelihood over a family's unconstrained parameters, by Newton's method.

The parameters of a distribution are few and TensorFlow differentiates the log-likelihood exactly, so Newton's method
with the observed information gets to the optimum in a handful of passes over the data, and leaves that information
behind, which the standard errors need.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from nllfit.families import MixtureFamily

__all__ = ["Objective", "Optimum", "coarse_starts", "maximize", "inverse_information"]

_CHUNK = 1 << 18  # rows at once: the intermediate results of a million rows would take a gigabyte
_NOISE = 1e-13  # relative rounding error of a mean log-likelihood
_TOLERANCE = 1e-5  # standard errors between the optimum and the last Newton step, whose own error is the square of it
_CANDIDATES = 1000
_LEAST_DROP = 1e-4  # nats by which the log-likelihood must fall one standard error from a maximum, where 1/2 is usual
_FLAT = 1e-9  # an eigenvalue of the information, scaled to a unit diagonal, that counts as zero


class Objective:
    """The weighted log-likelihood of a sample, as a function of a family's vector `u` `[params_size]`, in float64.

    Args:
      family: a `Family` or `MixtureFamily` that does not validate its arguments; an outcome without density is -inf.
      y: the sample, `[n, *event]`, a NumPy array.
      weights: how often each observation counts, `[n]`.
    """

    def __init__(self, family, y, weights):
        self.family, self.y, self.weights = family, y, weights
        self.total_weight = float(weights.sum())
        dtype = family.distribution(tf.zeros([family.params_size], tf.float64)).dtype
        chunks = range(0, len(y), _CHUNK)
        self._chunks = [
            (tf.cast(tf.convert_to_tensor(y[i : i + _CHUNK]), dtype), tf.convert_to_tensor(weights[i : i + _CHUNK]))
            for i in chunks
        ]

    def sample(self, size):
        """The objective of `size` rows at even distances in the order of the outcomes' first element."""
        if len(self.y) <= size:
            return self
        order = np.argsort(self.y.reshape(len(self.y), -1)[:, 0], kind="stable")
        rows = order[np.linspace(0, len(self.y) - 1, size).astype(int)]
        return Objective(self.family, self.y[rows], self.weights[rows])

    def values(self, u):
        """The mean log-likelihood at each row of `u` `[s, params_size]`, as an array `[s]`; NaN becomes -inf."""
        total = 0.0
        for y, weights in self._chunks:
            log_prob = self.family.distribution(u).log_prob(y[:, None])
            total += tf.linalg.matvec(log_prob, weights, transpose_a=True).numpy()
        return np.nan_to_num(total / self.total_weight, nan=-np.inf, posinf=-np.inf, neginf=-np.inf)

    def value(self, u):
        """The mean log-likelihood at `u`."""
        return float(self.values(tf.constant(u[None]))[0])

    def derivatives(self, u):
        """The mean log-likelihood at `u`, its gradient `[params_size]` and its Hessian."""
        total = [0.0, 0.0, 0.0]
        for y, weights in self._chunks:
            total = [t + d.numpy() for t, d in zip(total, _derivatives(self.family, u, y, weights), strict=True)]
        return [part / self.total_weight for part in total]

    def scores(self, u):
        """The gradient of every observation's log-likelihood, `[n, params_size]`."""
        tiled = tf.constant(np.tile(u, (len(self.y), 1)))
        with tf.GradientTape() as tape:
            tape.watch(tiled)
            log_prob = self.family.distribution(tiled).log_prob(tf.concat([y for y, _ in self._chunks], 0))
        return tape.gradient(log_prob, tiled).numpy()


def _derivatives(family, u, y, weights):
    point = tf.constant(u)
    with tf.GradientTape(persistent=True) as outer:
        outer.watch(point)
        with tf.GradientTape() as inner:
            inner.watch(point)
            value = tf.tensordot(weights, family.distribution(point).log_prob(y), 1)
        gradient = inner.gradient(value, point, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    hessian = outer.jacobian(
        gradient, point, unconnected_gradients=tf.UnconnectedGradients.ZERO, experimental_use_pfor=False
    )
    return value, gradient, hessian


@dataclasses.dataclass
class Optimum:
    """Where Newton's method ended.

    Attributes:
      u: the unconstrained parameters, `[params_size]`.
      value: the mean log-likelihood there.
      information: the observed information of the whole sample, minus the Hessian of its log-likelihood.
      rank: the number of parameters that the likelihood can tell apart.
      converged: whether this is a maximum.
      message: why it is, or why not.
    """

    u: np.ndarray
    value: float
    information: np.ndarray
    rank: int
    converged: bool
    message: str


def coarse_starts(objective, seed=0):
    """Candidate parameters in order of their likelihood on a few observations, `[s, params_size]`, best first.

    A thousand parameter values around the sample's own location and spread are tried on two hundred observations.
    """
    few = objective.sample(200)
    count = int(np.clip(4e6 / few.y.size, 50, _CANDIDATES))
    u = _candidates(objective.family, few.y, count, np.random.default_rng(seed))
    values = few.values(tf.constant(u))
    order = np.argsort(-values, kind="stable")
    finite = order[np.isfinite(values[order])]
    return u[finite] if len(finite) else np.zeros([1, objective.family.params_size])


def _candidates(family, y, count, rng):
    if isinstance(family, MixtureFamily):
        logits = 0.5 * rng.standard_normal([count, family.num_components])
        components = _candidates(family.component, y, count * family.num_components, rng)
        return np.concatenate([logits, components.reshape(count, -1)], -1)
    far_down = family.parameters(tf.fill([family.params_size], tf.constant(-30.0, tf.float64)))
    drawn = family.parameters(tf.constant(rng.standard_normal([count, family.params_size])))
    for name, lowest in far_down.items():
        shape = drawn[name].shape.as_list()
        if name.startswith(("logits", "probits")):
            drawn[name] = 1.5 * rng.standard_normal(shape)
        elif name.startswith("log_"):
            drawn[name] = np.log(_pick(_sizes(y), 1.2, shape, rng))
        elif name == "peak" or np.all(np.abs(lowest + 30) < 1e-6):
            drawn[name] = _pick(_places(y), 0, shape, rng)
        elif np.all(np.abs(lowest) < 1e-6):
            drawn[name] = _pick(_sizes(y), 1.2, shape, rng)
    return family.unconstrained(drawn).numpy()


def _sizes(y):
    """For scales, rates and concentrations: the sample's spread and size, their inverses, and one."""
    size = np.abs(y).mean(0)
    size = np.where(size > 0, size, 1.0)
    spread = np.maximum(y.std(0), 1e-6 * size)
    return np.stack([np.ones_like(size), spread, size, 1 / spread, 1 / size])


def _places(y):
    """For locations and bounds: quantiles of the sample and points outside it."""
    low, high = y.min(0), y.max(0)
    outside = [low - 0.05 * (high - low), high + 0.05 * (high - low), 2 * low - high, 2 * high - low]
    return np.stack([*np.quantile(y, [0.05, 0.25, 0.5, 0.75, 0.95], axis=0), *outside])


def _pick(units, decades, shape, rng):
    """Draws of `shape` `[count, *parameter]` from `units` `[k, *event]`, each moved by up to so many decades."""
    if units.shape[1:] != tuple(shape[1:]):
        units = np.broadcast_to(
            units.reshape(len(units), -1).mean(1).reshape(-1, *[1] * (len(shape) - 1)), [len(units), *shape[1:]]
        )
    factors = 10 ** rng.uniform(-decades, decades, shape[0])
    return units[rng.integers(len(units), size=shape[0])] * factors.reshape(-1, *[1] * (len(shape) - 1))


def maximize(objective, u, steps=100):
    """Newton's method from `u`, with a verdict on what it found.

    A step is `V |L|^-1 V' g` for the Hessian `V L V'` scaled to a unit diagonal, so that it goes uphill where the
    log-likelihood is not yet concave, and is halved until it does. The end is a maximum if the next step is less than
    1e-5 standard errors, the information is positive definite (but for directions that change no density, such as the
    shift of a softmax) and the log-likelihood falls one standard error away, to either side of each of its axes.

    Args:
      objective: an `Objective`.
      u: the start, `[params_size]`.
      steps: the most steps taken.

    Returns:
      An `Optimum`.
    """
    value, gradient, hessian = objective.derivatives(u)
    rank = _rank(objective, u)
    for _ in range(steps):
        if not all(np.all(np.isfinite(part)) for part in (value, gradient, hessian)):
            return Optimum(u, value, None, rank, False, "the log-likelihood or a derivative of it is not finite")
        axes, curvature = _principal_axes(-hessian)
        slopes = axes.T @ gradient
        bent = np.maximum(np.abs(curvature), _FLAT)
        step = axes @ (slopes / bent)
        distance = np.sqrt(objective.total_weight * np.sum(slopes**2 / bent))
        information = -objective.total_weight * hessian
        if distance < _TOLERANCE:
            return _verdict(objective, u + step, information, rank)
        scale = 1.0
        while True:
            new = objective.derivatives(u + scale * step)
            least = value + 1e-4 * scale * (gradient @ step) - _NOISE * (1 + abs(value))
            if all(np.all(np.isfinite(part)) for part in new) and new[0] >= least:
                break
            scale /= 2
            if scale < 1e-10:
                return Optimum(u, value, information, rank, False, "no step raises the log-likelihood")
        u = u + scale * step
        value, gradient, hessian = new
    return Optimum(u, value, information, rank, False, f"still {distance:.2g} standard errors away after {steps} steps")


def inverse_information(optimum):
    """The covariance of `u` `[params_size, params_size]`, zero in the directions that change no density."""
    axes, curvature = _principal_axes(optimum.information)
    axes, curvature = axes[:, : optimum.rank], curvature[: optimum.rank]
    return (axes / curvature) @ axes.T


def _principal_axes(information):
    """Axes `[p, p]` (columns) and curvatures `[p]`, largest first, of an information scaled to a unit diagonal.

    `inv(information) = axes @ diag(1 / curvature) @ axes.T`, so that a step along an axis, divided by the root of its
    curvature, is one standard error.
    """
    diagonal = np.abs(np.diag(information))
    scales = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    curvature, axes = np.linalg.eigh(information / np.outer(scales, scales))
    return axes[:, ::-1] / scales[:, None], curvature[::-1]


def _rank(objective, u):
    """How many directions of `u` change any density: a softmax's shift does not."""
    scores = objective.sample(200).scores(u)
    norms = np.linalg.norm(scores, axis=0)
    return int(np.linalg.matrix_rank(scores / np.where(norms > 0, norms, 1.0), tol=1e-8))


def _verdict(objective, u, information, rank):
    value = objective.value(u)
    axes, curvature = _principal_axes(information)
    optimum = Optimum(u, value, information, rank, True, "converged")
    if curvature[rank - 1] <= _FLAT:
        return dataclasses.replace(optimum, converged=False, message="the information is not positive definite")
    errors = (axes / np.sqrt(np.maximum(curvature, _FLAT))).T[:rank]
    drops = objective.total_weight * (value - objective.values(np.concatenate([u + errors, u - errors])))
    if drops.min() < _LEAST_DROP:
        name = _name(objective.family, u, errors[drops.argmin() % rank])
        message = f"no finite maximum: the log-likelihood does not fall as `{name}` goes on to its limit"
        return dataclasses.replace(optimum, converged=False, message=message)
    return optimum


def _name(family, u, direction):
    """The parameter that moves most along `direction`, in units of `u`."""
    only = np.where(np.arange(len(u)) == np.argmax(np.abs(direction)), 1.0, 0.0)
    before, after = family.parameters(tf.constant(u)), family.parameters(tf.constant(u + only))
    return next(name for name in before if np.any(before[name] != after[name]))
