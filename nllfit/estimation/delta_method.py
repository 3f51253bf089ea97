"""`Fit`: a problem and its optimum, with standard errors by the delta method."""

import dataclasses
import functools

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.estimation.objective import Objective
from nllfit.estimation.problem import Problem
from nllfit.estimation.verdicts import in_words, likely_cause, remark
from nllfit.optimum.curvature import principal_axes
from nllfit.optimum.optimum_and_verdict import Optimum

__all__ = ["Fit", "higher", "rise"]

# Some directions of the coordinates leave all densities unchanged. A parameter that changes along such a direction is
# not identified. To find these parameters, we compare the component of a parameter's gradient along these directions
# with the whole gradient. If the component is shorter than this share of the gradient, it counts as a rounding error.
_UNIDENTIFIED = 1e-4
# If the final log-likelihoods of two searches differ by less than this, in nats, the searches count as having reached
# the same maximum, or the same limit at infinity.
_TIE = 1e-3


@dataclasses.dataclass(frozen=True, eq=False)
class Fit:
    """A problem and the optimum that the search found."""

    problem: Problem
    optimum: Optimum

    @property
    def converged(self) -> bool:
        """Whether the optimum is a verified maximum."""
        return self.optimum.converged

    @property
    def log_likelihood(self) -> float:
        """The log-likelihood of the sample at the optimum, in nats."""
        return self.optimum.value * self.problem.objective.total_weight

    @functools.cached_property
    def natural(self) -> dict[str, np.ndarray]:
        """The free parameters and the parameters in `problem.held`, on the natural scale, by name."""
        return {name: value.numpy() for name, value in self.problem.natural(self.optimum.w).items()}

    @property
    def message(self) -> str:
        """The result of the search. If it did not converge, the message gives the reason."""
        cause = "" if self.converged else likely_cause(self.problem)
        return in_words(self.problem.objective, self.optimum) + self.optimum.note + remark(self.problem) + cause

    @property
    def distribution(self) -> tfd.Distribution:
        """The fitted distribution, as `Problem.distribution` returns it."""
        return self.problem.distribution(self.optimum.w)

    @functools.cached_property
    def natural_errors(self) -> np.ndarray:
        """A matrix `E` `[q, r]`: `E E^T` is the covariance of the `q` elements of all parameters in `natural`.

        All elements are NaN if the fit did not converge. The row of a parameter contains a NaN if the likelihood is not
        smooth in the parameter, and an infinite element if the parameter is not identified. For example, the cutpoints
        and the location of an ordered logistic distribution can be shifted together without changing a density.
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
        projected, rank = jacobian @ axes, self.optimum.rank
        finite_errors = projected[:, :rank] / np.sqrt(curvature[:rank])
        is_held = np.concatenate(
            [np.full(value.size, name in self.problem.held) for name, value in self.natural.items()]
        )
        is_unidentified = np.hypot.reduce(projected[:, rank:], axis=1) > _UNIDENTIFIED * np.hypot.reduce(
            projected, axis=1
        )
        return np.concatenate(
            [finite_errors, np.where(is_held, np.nan, np.where(is_unidentified, np.inf, 0.0))[:, None]], 1
        )


def higher(objective: Objective, one: Optimum, other: Optimum) -> Optimum:
    """Returns the higher of two optima. If they differ by less than 1e-3 nats, a converged one is preferred."""
    least_rise = -_TIE if other.converged and not one.converged else _TIE
    return other if rise(objective, one, other) > least_rise else one


def rise(objective: Objective, one: Optimum, other: Optimum) -> float:
    """Returns the log-likelihood of `other` minus the log-likelihood of `one`, in nats, or 0 if both are -inf."""
    return 0.0 if other.value == one.value else objective.total_weight * (other.value - one.value)
