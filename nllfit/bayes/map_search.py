"""Finds a Normal approximation of the posterior of some weights of a network. These weights have a Normal prior.

The mean of the Normal is either the maximum of the posterior density, found by Newton's method, or the trained weights.
"""

import dataclasses

import numpy as np

from nllfit.bayes.evidence import Expansion
from nllfit.bayes.fisher_information import Fisher
from nllfit.optimum.backtracking import backtrack
from nllfit.optimum.curvature import newton_step, principal_axes

__all__ = ["Objective", "Posterior"]

_MAX_STEPS = 100
# Newton's method stops when a step is predicted to raise the log posterior by less than this, in nats.
_LEAST_RISE = 1e-12
# The search for the prior's scale moves the scale's logarithm. The moves shrink from the first value to the second.
_FIRST_MOVE, _LAST_MOVE = 0.25, 1e-6
# The search for the prior's scale accepts a move that raises the log evidence by more than this, in nats.
_LEAST_GAIN_OF_EVIDENCE = 1e-9


@dataclasses.dataclass(frozen=True)
class Posterior:
    """A Normal posterior of weights.

    Attributes:
      mean: `[q]`.
      covariance: `[q, q]`.
      prior_scale: the scale of the Normal prior of each weight.
      log_evidence: in nats.
    """

    mean: np.ndarray
    covariance: np.ndarray
    prior_scale: float
    log_evidence: float


class Objective:
    """The log posterior of some weights of a network. The other weights are constant.

    Args:
      surface: the likelihood as a function of all weights, with its derivatives.
      weights: all trainable weights, `[p]`.
      places: the indices of the trainable variables that are not constant. They have `q` elements in total.
      prior_scale: the scale of the Normal prior of each weight; None for the scale that maximises the evidence.

    Raises:
      ValueError: if the model draws random numbers, so that its likelihood is not a function of the weights.
    """

    def __init__(self, surface: Fisher, weights: np.ndarray, places: tuple[int, ...], prior_scale: float | None):
        self._surface, self._weights, self._places, self._prior_scale = surface, weights, places, prior_scale
        self._chosen = np.concatenate([np.split(np.arange(len(weights)), surface.ends[:-1])[i] for i in places])
        self._start = weights[self._chosen]
        surface.value(weights)  # raises if the model draws random numbers

    def at_the_weights(self) -> Posterior:
        """Returns the Normal posterior whose mean is the given `weights`."""
        expansion, scale, _ = self._expansion(self._start, self._prior_scale)
        return self._posterior(expansion, scale, self._start)

    def at_the_maximum(self) -> Posterior:
        """Returns the Normal posterior whose mean is the maximum of the log posterior.

        Newton's method finds the maximum, starting from the given `weights`.

        Raises:
          ValueError: if no maximum is found.
        """
        posterior = self._maximum(self._start, self._prior_scale)
        return posterior if self._prior_scale is not None else self._with_the_most_evidence(posterior)

    def _with_the_most_evidence(self, posterior):
        """Returns the posterior with the most evidence. The search for the prior's scale starts at `posterior`.

        The search moves the logarithm of the scale by smaller and smaller steps. The search is necessary because
        `Expansion.best_scale` assumes that the log-likelihood is quadratic, so that its curvature is the same
        everywhere. For any other log-likelihood, a change of the scale moves the maximum of the posterior, and the
        curvature at the new maximum is different.
        """
        move = _FIRST_MOVE
        while move > _LAST_MOVE:
            candidates = [
                self._maximum(posterior.mean, posterior.prior_scale * np.exp(sign * move)) for sign in (-1, 1)
            ]
            best = max(candidates, key=lambda candidate: candidate.log_evidence)
            if best.log_evidence > posterior.log_evidence + _LEAST_GAIN_OF_EVIDENCE:
                posterior = best
            else:
                move /= 2
        return posterior

    def _maximum(self, w, prior_scale):
        for _ in range(_MAX_STEPS):
            expansion, scale, hessian = self._expansion(w, prior_scale)
            gradient = -expansion.gradient - w / scale**2
            step, predicted_gain = newton_step(*principal_axes(hessian + np.eye(len(w)) / scale**2), gradient)
            if predicted_gain < _LEAST_RISE:
                return self._posterior(expansion, scale, w + step)
            log_posterior = lambda w, scale=scale: self._log_posterior(w, scale)  # noqa: E731
            factor, _ = backtrack(log_posterior, w, step, log_posterior(w), gradient @ step)
            if not factor:  # `w` is within a rounding error of the maximum
                return self._posterior(expansion, scale, w)
            w = w + factor * step
        raise ValueError(
            f"Newton's method found no maximum of the posterior in {_MAX_STEPS} steps: train the model further, for "
            f"example with `fit_lbfgs`, or give a smaller `prior_scale`."
        )

    def _posterior(self, expansion, scale, mean):
        (log_evidence,) = expansion.log_evidence(np.array([scale])).tolist()
        return Posterior(mean, expansion.posterior(scale)[1], scale, log_evidence)

    def _expansion(self, w, prior_scale):
        value, gradient, information, hessian = self._surface.second_order(self._all_weights(w), self._places)
        if not (np.isfinite(value) and np.all(np.isfinite(information))):
            raise ValueError("The log-likelihood or its curvature is not finite: check the weights and the outcomes.")
        expansion = Expansion(value, w, gradient, information)
        return expansion, expansion.best_scale() if prior_scale is None else prior_scale, hessian

    def _log_posterior(self, w, scale):
        value = self._surface.value(self._all_weights(w))
        return -np.inf if np.isnan(value) else -value - w @ w / (2 * scale**2)

    def _all_weights(self, w):
        weights = self._weights.copy()
        weights[self._chosen] = w
        return weights
