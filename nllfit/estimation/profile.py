"""The profile likelihood of one parameter: the maximum of the likelihood over all other parameters."""

import math

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from nllfit.estimation.delta_method import Fit
from nllfit.optimum.newton import climb

tfb = tfp.bijectors
tfd = tfp.distributions

__all__ = ["Profile"]

# The shortest step towards a value, relative to the distance of the value from the estimate.
_SHORTEST_STEP = 1e-2
# If an interval extends farther from the estimate than 64 half-widths of the Wald interval, its end is set to infinity
# or to the bound of the domain. In a bounded domain, this is also done if the unconstrained coordinate (for example
# the logarithm) changes by more than 64.
_FAR = 64


class Profile:
    """The profile log-likelihood `l_p(value)`: the maximum of the log-likelihood while one element is held at `value`.

    Args:
      fit: a converged fit.
      name: the name of a parameter on the natural scale, such as `rate`.
      element: the index of the element in the flattened parameter.
      standard_error: the standard error of the element. It is NaN if the likelihood is not smooth in the element, 0 for
        a constant, such as an element above the diagonal of a `scale_tril`, and infinite if the element is not
        identified.
    """

    def __init__(self, fit: Fit, name: str, element: int, standard_error: float):
        self.problem, self.name, self.element, self.maximum = fit.problem, name, element, fit.log_likelihood
        smooth = name not in self.problem.held
        self._rank = fit.optimum.rank - (smooth and not math.isinf(standard_error))
        self.estimate = float(np.ravel(fit.natural[name])[element])
        self._coordinates = {self.estimate: fit.optimum.w}
        self._domain = self.problem.objective.coordinates.domain(name) if smooth else tfb.Identity()
        # `y` may be infinite, but `representatives` are finite.
        spread = self.problem.family.representatives(self.problem.y).std()
        self._error_scale = standard_error if smooth else spread / math.sqrt(self.problem.weights.sum())

    def __call__(self, value: float) -> float:
        """Returns the profile log-likelihood at `value`. It is a sum over the sample, in nats.

        Outside the domain it is -inf.
        """
        if value == self.estimate:
            return self.maximum
        if not self._error_scale or np.isnan(self._domain.inverse(tf.constant(value, tf.float64))):
            return -math.inf
        origin, target = min(self._coordinates, key=lambda known: abs(known - value)), value
        while abs(target - origin) > _SHORTEST_STEP * abs(value - self.estimate):
            log_likelihood, converged = self._climb(target, origin)
            if converged and target == value:
                return log_likelihood
            # After a failed search we halve the step from `origin` to `target`. For example, a search fails if a long
            # step moves an end of the support past an observation, because the search then starts at a likelihood of 0.
            origin, target = (target, value) if converged else (origin, (origin + target) / 2)
        return self._climb(value, origin)[0]

    def _climb(self, value: float, origin: float) -> tuple[float, bool]:
        """Holds the element at `value` and runs Newton's method from the optimum that was found for the value `origin`.

        Returns the maximum, and whether Newton's method converged.
        """
        problem = self.problem.holding(self.name, self.element, value)
        start = self._coordinates[origin]
        if not math.isfinite(problem.objective.value(start)):
            return -math.inf, False
        optimum = climb(problem.objective, start, self._rank)
        if optimum.converged:
            self._coordinates[value] = optimum.w
        return optimum.value * problem.objective.total_weight, optimum.converged

    def interval(self, level: float) -> np.ndarray:
        """Returns the ends `[2]` of the interval `{value: 2 (maximum - l_p(value)) <= chi-square quantile}`."""
        if not self._error_scale:
            return np.full(2, self.estimate)
        if math.isinf(self._error_scale):
            return self._domain.forward(np.array([-np.inf, np.inf])).numpy()
        root_quantile = math.sqrt(tfd.Chi2(self.problem.degrees_of_freedom(self.name)).quantile(level))
        return np.array([self._end(-1.0, root_quantile), self._end(1.0, root_quantile)])

    def _end(self, side: float, root_quantile: float) -> float:
        center = self._domain.inverse(tf.constant(self.estimate, tf.float64))
        unit = side * self._error_scale / tf.exp(self._domain.forward_log_det_jacobian(center, 0))

        def value(t):
            return float(self._domain.forward(center + t * unit))

        def excess(t):
            """Returns a number that is negative inside the interval, 0 at its end and positive outside.

            The number is nearly linear in `t`, because the profile log-likelihood falls nearly quadratically and we
            take the square root of the fall.
            """
            fall = max(self.maximum - self(value(float(t))), 0.0)
            return tf.constant(min(math.sqrt(2 * fall), 1e6) - root_quantile, tf.float64)

        bounded = not isinstance(self._domain, tfb.Identity)
        low, high = 0.0, root_quantile
        while excess(high) < 0:
            low, high = high, 2 * high
            if high > _FAR * root_quantile or (bounded and abs(high * unit) > _FAR):
                return value(math.inf)
        root = tfp.math.find_root_chandrupatla(
            excess,
            tf.constant(low, tf.float64),
            tf.constant(high, tf.float64),
            position_tolerance=1e-12,
            value_tolerance=1e-8,
        )
        return value(root.estimated_root)
