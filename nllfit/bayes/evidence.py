"""The evidence (marginal likelihood) of a Normal prior, from a second-order expansion of the log-likelihood."""

import dataclasses
import functools

import numpy as np

__all__ = ["Expansion"]

_MIN_SCALE, _MAX_SCALE = 1e-5, 1e5  # the range in which `best_scale` searches
_POINTS, _ZOOMS = 201, 5  # the size and the number of the grids on which `best_scale` searches


@dataclasses.dataclass(frozen=True)
class Expansion:
    """A second-order expansion of a negative log-likelihood around given weights.

    Each weight has the prior `Normal(0, s)`. Let `w` be the given weights, and let `g` and `H` be the gradient and the
    curvature of the negative log-likelihood at `w`. The posterior has the precision `P = H + I / s^2`. The posterior is

        Normal(w - inv(P) (g + w / s^2), inv(P))

    and the evidence is the integral of likelihood times prior. Posterior and evidence are exact if the
    log-likelihood is quadratic.

    Attributes:
      value: the negative log-likelihood at `w`, in nats.
      weights, gradient: `w` and `g`, `[q]` each.
      curvature: `H`, `[q, q]`.
    """

    value: float
    weights: np.ndarray
    gradient: np.ndarray
    curvature: np.ndarray

    @functools.cached_property
    def _eigenvalues_and_axes(self):
        """The eigenvalues of the curvature, and its eigenvectors.

        Negative eigenvalues, which come from rounding, are replaced by 0.
        """
        eigenvalues, axes = np.linalg.eigh((self.curvature + self.curvature.T) / 2)
        return np.maximum(eigenvalues, 0.0), axes

    def posterior(self, scale: float) -> tuple[np.ndarray, np.ndarray]:
        """Returns the mean `[q]` and the covariance `[q, q]` of the posterior under a prior of this scale."""
        eigenvalues, axes = self._eigenvalues_and_axes
        covariance = axes / (eigenvalues + scale**-2) @ axes.T
        return self.weights - covariance @ (self.gradient + self.weights / scale**2), covariance

    def log_evidence(self, scales: np.ndarray) -> np.ndarray:
        """Returns the log evidence in nats, `[m]`, under priors with the given scales, `[m]`."""
        eigenvalues, axes = self._eigenvalues_and_axes
        precision = scales[:, None] ** -2.0
        posterior_precision = eigenvalues + precision
        gradients = self.gradient @ axes + precision * (self.weights @ axes)
        terms = (
            2 * np.log(scales[:, None])
            + precision * (self.weights @ axes) ** 2
            + np.log(posterior_precision)
            - gradients**2 / posterior_precision
        )
        return -self.value - terms.sum(1) / 2

    def best_scale(self) -> float:
        """Returns the scale of the prior that maximises the evidence, found by grids that narrow around the best scale.

        Raises:
          ValueError: if the evidence is largest at an end of the range from 1e-5 to 1e5.
        """
        logs = np.linspace(np.log(_MIN_SCALE), np.log(_MAX_SCALE), _POINTS)
        for _ in range(_ZOOMS):
            best = int(np.argmax(self.log_evidence(np.exp(logs))))
            if best in (0, _POINTS - 1):
                raise ValueError(
                    f"The evidence still rises where the prior's scale is {np.exp(logs[best]):.0e}, so that no scale "
                    f"maximises it: {'the weights are very large' if best else 'the weights are all best at 0'}. Give "
                    f"`prior_scale` a number."
                )
            logs = np.linspace(logs[best - 1], logs[best + 1], _POINTS)
        return float(np.exp(logs[_POINTS // 2]))
