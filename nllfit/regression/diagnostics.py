"""Diagnostics of a regression: residuals, and the influence of each row on the coefficients."""

from typing import Any

import numpy as np
import tensorflow as tf

from nllfit.cdf_and_quantiles import cdf, survival
from nllfit.families.censored import is_censored
from nllfit.families.law import elements_of, law_of
from nllfit.optimum.curvature import principal_axes
from nllfit.regression.coefficient_derivatives import by_coefficients, of_each_row
from nllfit.regression.linear_predictors import LinearPredictors
from nllfit.regression.optional_packages import pandas as pd
from nllfit.regression.optional_packages import special

__all__ = ["Diagnostics"]

_RESIDUALS = ("quantile", "response", "pearson", "deviance")
# `influence` leaves out one row, and scales coefficients so that the information of all rows is the identity matrix. If
# the smallest eigenvalue of the information of the other rows is then at most this, `dfbeta` of the row is NaN.
_FLAT = 1e-10
# A deviance needs the density of a distribution whose mean is the outcome. If the outcome is an end of the support, the
# mean is at this distance inside the support, because a family such as the Bernoulli cannot have a mean at an end.
_INSIDE = 1e-15


class Diagnostics(LinearPredictors):
    """The diagnostic methods of a regression: residuals and influence."""

    def residuals(self, kind: str = "quantile", seed: int = 0) -> Any:
        """Returns the residuals of the fitted rows. There are four kinds.

        - quantile: `Phi^-1(F(y))`, which is standard Normal for every family if the model is correct. If `F` jumps at
          an outcome (counts, the zeros of a `Hurdle`), or the outcome is only known to lie in an interval (censored
          times), `F(y)` is replaced by a uniform random number. This number lies between the values of `F` before and
          after the jump, or between the values of `F` at the two ends of the interval.
        - response: `y - mean`.
        - pearson: `(y - mean) / standard deviation`.
        - deviance: `sign(y - mean) sqrt(2 (log p(y | mean = y) - log p(y | mean)))`. The other parameters are at their
          estimates.

        Response and Pearson residuals are NaN in rows whose distribution, such as a Cauchy, has no mean.
        Pearson and deviance residuals equal those of statsmodels' GLM, divided by the square root of the dispersion.
        The dispersion is `scale^2` for a Normal and `1 / concentration` for a Gamma.

        Args:
          kind: "quantile", "response", "pearson" or "deviance". A Categorical or an OrderedLogistic has only quantile
            residuals. If there are more than two classes, the outcome must be a column of numbers or an ordered
            categorical column. Deviance residuals need a family whose main parameter is the mean, or a transformation
            of the mean such as `log_rate`.
          seed: the seed of the uniform random numbers.

        Returns:
          A `Series` with the index of the data.

        Raises:
          ValueError: if `kind` is unknown, or not defined for these outcomes.
          NotImplementedError: if TFP cannot compute the mean of the family, and `kind` is not "quantile"; or if TFP
            cannot compute the standard deviation, and `kind` is "pearson".

        Source: Dunn and Smyth, Randomized quantile residuals, 1996.
        """
        if kind not in _RESIDUALS:
            raise ValueError(f"`kind` is {kind!r}: give one of {', '.join(_RESIDUALS)}.")
        distribution = self.predict_distribution()
        if kind == "quantile" and len(self.labels) > 2 and not self.outcome.has_order:
            raise ValueError(
                f"The labels of the outcome `{self.outcome.name}` have no order, so there are no quantile residuals: "
                f"give `pd.Categorical(..., ordered=True)`, or compare the probabilities of `predict` with the labels."
            )
        if kind == "quantile":
            values = self._quantile_residuals(distribution, np.random.default_rng(seed))
        elif self.labels or is_censored(distribution):
            raise ValueError(f"Outcomes that are {'classes' if self.labels else 'censored'} have no {kind} residuals.")
        else:
            values = np.ravel(self.objective.y) - np.ravel(distribution.mean())
            values = values / np.ravel(distribution.stddev()) if kind == "pearson" else values
            values = np.sign(values) * self._deviances(distribution) if kind == "deviance" else values
        return pd.Series(values, self.outcome.index, name=f"{kind} residual")

    def _quantile_residuals(self, distribution, rng):
        y = np.reshape(self.objective.y, [len(self.objective.y), -1])
        lower, upper = (y[:, 0], y[:, -1]) if is_censored(distribution) else (y[:, 0], y[:, 0])
        if self.family.is_discrete:
            lower = np.where(lower == upper, np.ceil(lower) - 1, lower)
        atoms = elements_of(law_of(distribution).latent()).atoms
        if atoms is not None:
            is_atom = np.any([np.ravel(points) == lower for points in atoms[0]], 0)
            lower = np.where((lower == upper) & is_atom, np.nextafter(lower, -np.inf), lower)
        shape = [len(y), *distribution.event_shape[: distribution.event_shape.rank - is_censored(distribution)]]

        def tails(at):
            at = tf.constant(np.reshape(at, shape))
            return np.ravel(cdf(distribution, at)), np.ravel(survival(distribution, at))

        (cdf_low, survival_low), (cdf_high, survival_high) = tails(lower), tails(upper)
        uniform = rng.uniform(size=len(y))
        below = cdf_low + uniform * (cdf_high - cdf_low)
        above = survival_low + uniform * (survival_high - survival_low)
        return np.where(below < above, special.ndtri(below), -special.ndtri(above))

    def _deviances(self, distribution):
        """Returns the absolute deviance residuals, `sqrt(2 (log p(y | mean = y) - log p(y | mean)))`."""
        main, numbers = self.predictors[0].parameter, tf.constant(self.numbers())
        values, (natural, _) = self.family.parameters(numbers), self.family.twin(main)
        mean = self.family.natural({main: values[main]})[natural]
        if np.shape(mean) != np.shape(distribution.mean()) or not np.allclose(mean, distribution.mean()):
            raise ValueError(
                f"`{main}` of {self.family.label} is not its mean: deviance residuals need a family whose main "
                f"parameter is its mean."
            )
        low, high = elements_of(distribution).ends()
        y = tf.clip_by_value(tf.constant(self.objective.y), low + _INSIDE, high - _INSIDE)
        best = values | self.family.from_natural({natural: y}, [main])
        saturated = self.family.holding({"validate_args": False}).build(best, tf.float64).log_prob(self.objective.y)
        return np.sqrt(np.maximum(2 * (saturated - distribution.log_prob(self.objective.y)), 0.0))

    def influence(self) -> Any:
        """Returns the influence of each row on the coefficients, from one Newton step towards the fit without the row.

        Let `g_i` be the gradient and `H_i` the Hessian of a row's negative log-likelihood, and `H` the sum of the
        `H_i`. Then `dfbeta = -inv(H - H_i) g_i` is close to `b - b_without_i`. For a linear model with a fixed `scale`,
        `dfbeta` is exact. For a generalized linear model with the canonical link, `dfbeta` is Pregibon's one-step
        approximation. `H` also covers the coefficients of an estimated scale, so the leverages of a Normal exceed the
        diagonal of the hat matrix unless `scale` is fixed.

        If `H - H_i` is not positive definite, `dfbeta` and Cook's distance of the row are NaN. An example is the only
        row of a level: the other rows do not determine the coefficient of this level. If the fit did not converge, all
        results are NaN.

        Returns:
          A `DataFrame` with the index of the data. Its columns are `leverage = trace(inv(H) H_i)`, `cooks_distance =
          dfbeta' H dfbeta / q`, and `dfbeta: name` for each coefficient, in the unit of the coefficient. For a
          parameter without a formula, `dfbeta` is the change before the link, such as the change of `log(scale)`.

        Source: Pregibon, Logistic regression diagnostics, 1981.
        """
        objective, b = self.objective, self._coefficients
        designs, transform = objective.basis
        gradients, hessians = objective.derivatives(b)
        scores = objective.weights[:, None] * by_coefficients(self.predictors, designs, gradients)
        row_hessians = of_each_row(self.predictors, designs, objective.weights[:, None, None] * hessians)
        axes, curvature = principal_axes(row_hessians.sum(0))
        whiten = axes / np.sqrt(curvature) if self.converged else np.full_like(axes, np.nan)  # whiten' H whiten = I
        whitened = whiten.T @ row_hessians @ whiten
        values, vectors = np.linalg.eigh(np.nan_to_num(np.eye(len(b)) - whitened))  # the information of the other rows
        values = np.where(values[:, :1] > _FLAT, values, np.nan)
        steps = -np.einsum("npk,nk->np", vectors, np.einsum("nqk,nq->nk", vectors, scores @ whiten) / values)
        leverage, cook = np.trace(whitened, axis1=1, axis2=2), (steps**2).mean(1)
        names = ["leverage", "cooks_distance", *(f"dfbeta: {name}" for name in self.names)]
        return pd.DataFrame(
            np.column_stack([leverage, cook, steps @ whiten.T @ transform.T]), self.outcome.index, names
        )
