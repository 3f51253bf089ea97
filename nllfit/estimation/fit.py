"""A fit: a problem and the end of the search for its maximum, with errors by the delta method."""

import dataclasses
import functools

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.estimation.objective import Objective
from nllfit.estimation.problem import Problem
from nllfit.estimation.verdicts import in_words
from nllfit.optimum.curvature import principal_axes
from nllfit.optimum.newton import Optimum

__all__ = ["Fit", "higher", "rise"]

_IDLE = 1e-4  # of a parameter's derivative that lies in directions which change no density, from which on it is idle
_TIE = 1e-3  # nats that two climbs to the same place, be it at infinity, may differ by


@dataclasses.dataclass(frozen=True, eq=False)
class Fit:
    """A problem and where the search for its maximum ended."""

    problem: Problem
    optimum: Optimum

    @property
    def converged(self) -> bool:
        """Whether the end is a maximum."""
        return self.optimum.converged

    @property
    def log_likelihood(self) -> float:
        """The maximum in nats, the sum over the sample."""
        return self.optimum.value * self.problem.objective.total_weight

    @functools.cached_property
    def natural(self) -> dict[str, np.ndarray]:
        """All estimated parameters by name, as a statistician names them."""
        return {name: value.numpy() for name, value in self.problem.natural(self.optimum.w).items()}

    @property
    def message(self) -> str:
        """What was found, or why it is no maximum."""
        return in_words(self.problem.objective, self.optimum) + self.optimum.note + self.problem.remark

    @property
    def distribution(self) -> tfd.Distribution:
        """The fitted distribution; it checks outcomes."""
        return self.problem.distribution(self.optimum.w)

    @functools.cached_property
    def natural_errors(self) -> np.ndarray:
        """Independent errors `[q, r]` of all numbers of the natural parameters; their product is the covariance.

        NaN where there are none: at no maximum, or where the likelihood is not smooth. Infinite where a direction that
        changes no density moves the parameter, as a shift does the cutpoints of an ordered logistic distribution, and
        its location.
        """
        if not self.converged:
            return np.full([sum(value.size for value in self.natural.values()), 1], np.nan)
        w = tf.constant(self.optimum.w)
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(w)
            values = self.problem.natural(w)
            flat = tf.concat([tf.reshape(value, [-1]) for value in values.values()], 0)
        jacobian = tape.jacobian(flat, w, unconnected_gradients="zero", experimental_use_pfor=False).numpy()
        axes, curvature = principal_axes(self.optimum.information)
        along, rank = jacobian @ axes, self.optimum.rank
        found = along[:, :rank] / np.sqrt(curvature[:rank])
        held = np.concatenate([np.full(value.size, name in self.problem.held) for name, value in self.natural.items()])
        idle = np.hypot.reduce(along[:, rank:], axis=1) > _IDLE * np.hypot.reduce(along, axis=1)
        return np.concatenate([found, np.where(held, np.nan, np.where(idle, np.inf, 0.0))[:, None]], 1)


def higher(objective: Objective, one: Optimum, other: Optimum) -> Optimum:
    """The higher of two ends of climbs; of two at one height, the one that is a maximum."""
    least = -_TIE if other.converged and not one.converged else _TIE
    return other if rise(objective, one, other) > least else one


def rise(objective: Objective, one: Optimum, other: Optimum) -> float:
    """By how many nats the other is higher; both may be -inf."""
    return 0.0 if other.value == one.value else objective.total_weight * (other.value - one.value)
