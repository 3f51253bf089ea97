"""A maximum-likelihood problem: a sample and the family to be fitted to it, both checked."""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike
from tensorflow_probability import distributions as tfd

from nllfit.estimation.objective import Objective
from nllfit.estimation.samples import as_sample, check_censored, check_sample, check_whole, counted
from nllfit.estimation.traced_density import density_of
from nllfit.estimation.units import Units
from nllfit.families.arguments import refuse_with_family
from nllfit.families.distribution_names import family_class
from nllfit.families.facts import facts_of
from nllfit.families.family_base import ParametricFamily
from nllfit.families.parameters import Numbers
from nllfit.families.support_checks import first_refused
from nllfit.families.wrapped_family import as_family, innermost

__all__ = ["Problem", "problem_of"]


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """A sample and the family to be fitted to it.

    The docstring of the package `estimation` defines *coordinates*, the *natural scale* and *held* parameters.

    Attributes:
      family: the family object, such as a `Family` or a `Censored`.
      y: the observations of positive weight, `[n, *event]`, in float64.
      weights: the weights of these observations, `[n]`, in float64.
      units: the map that scales the sample and the parameters for `objective`.
      held: the values, by name, of the parameters that the search holds fixed, because the likelihood is not smooth in
        them. Parameters that the user holds at a value are in `family.fixed` instead.
      objective: the log-likelihood as a function of the coordinates of the free parameters.
    """

    family: ParametricFamily
    y: np.ndarray
    weights: np.ndarray
    units: Units
    held: dict[str, np.ndarray]
    objective: Objective

    def with_held(self, held: dict[str, np.ndarray]) -> "Problem":
        """Returns a copy of the problem in which only the parameters in `held` are held, at the given values."""
        objective = _objective(self.family, self.y, self.weights, self.units, held)
        objective = objective if self.objective.exact else objective.by_differences()
        return dataclasses.replace(self, held=held, objective=objective)

    def holding(self, name: str, element: int, value: float) -> "Problem":
        """Returns a copy of the problem in which one element of a parameter is held at a value on the natural scale.

        `element` is the index of the element in the flattened parameter.
        """
        if name in self.held:
            values = np.array(self.held[name])
            values.flat[element] = value
            return self.with_held(self.held | {name: values})
        shape = self.objective.natural(np.zeros([self.objective.coordinates.size]))[name].shape
        inward = self.units.inward({name: np.full(shape, value)})[name]
        return dataclasses.replace(self, objective=self.objective.holding(name, element, inward.flat[element]))

    def by_differences(self) -> "Problem":
        """Returns a copy of the problem whose derivatives are computed by finite differences."""
        return dataclasses.replace(self, objective=self.objective.by_differences())

    def coordinates_of(self, natural: Numbers) -> np.ndarray:
        """Returns the coordinates `[..., p]` of the free parameters. This method is the inverse of `natural`."""
        return self.objective.coordinates.from_natural(self.units.inward(natural))

    def natural(self, w: np.ndarray | tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the free parameters at `w` `[p]` and the parameters in `held`, on the natural scale, by name.

        Parameters in `family.fixed` are left out.
        """
        free = self.units.outward(self.objective.natural(w))
        return {name: tf.convert_to_tensor(value) for name, value in (self.held | free).items()}

    def with_principal_angle(self, w: np.ndarray) -> np.ndarray:
        """Returns the coordinates `w` after moving a circular parameter to between `-pi` and `pi`."""
        name = self.family.search.circular
        if name not in self.family.parameter_names:
            return w
        natural = self.natural(w)
        return self.coordinates_of(natural | {name: tf.math.floormod(natural[name] + np.pi, 2 * np.pi) - np.pi})

    def distribution(self, w: np.ndarray) -> tfd.Distribution:
        """Returns the distribution at `w`.

        The distribution has the `validate_args` of the family, by default True. But if rounding moved a parameter to
        the edge of the parameter's domain, `validate_args` is False.
        """
        try:
            return self.family.build(self._constrained(w), tf.float64)
        except tf.errors.InvalidArgumentError:  # rounding moved a parameter to the edge of its domain
            return self.family.holding({"validate_args": False}).build(self._constrained(w), tf.float64)

    def _constrained(self, w):
        return self.units.outward(self.objective.constrained(w)) | self.held

    def closed_form(self) -> np.ndarray | None:
        """Returns the coordinates of TFP's closed-form estimate, or None if TFP has none for this problem.

        The estimate may differ from the maximum.
        """
        y = tf.constant(self.units.inward_sample(self.y))
        fitted = self.family.closed_form(y) if not self.held and np.ptp(self.weights) == 0 else None
        if fitted is None:
            return None
        coordinates = self.objective.coordinates
        try:
            names = self.objective.natural(np.zeros([coordinates.size]))
            w = coordinates.from_natural({name: fitted[name] for name in names})
        except (TypeError, ValueError):  # TFP's estimate is in another parametrisation
            return None
        return w if np.all(np.isfinite(w)) and w.shape == (coordinates.size,) else None

    def check_support(self, w: np.ndarray) -> None:
        """Raises a `ValueError` for the first observation outside the support of the distribution at `w`."""
        fault = self.outside_support(w)
        if fault:
            raise ValueError(fault)

    def outside_support(self, w: np.ndarray) -> str | None:
        """Returns a message about the first observation outside the support at `w`, or None if all are inside."""
        distribution = self.distribution(w)
        if self.family.component_shape and self.family.search.kinks:
            # The components of a mixture may have different supports. It is enough if an outcome is in one of the
            # supports, but TFP's checks would reject each outcome that is not in all of the supports.
            distribution = self.family.holding({"validate_args": False}).build(self._constrained(w), tf.float64)
        outcomes = tf.cast(tf.constant(self.y), distribution.dtype)
        try:
            log_prob = distribution.log_prob(outcomes).numpy()
        except tf.errors.InvalidArgumentError:
            row, reason = first_refused(distribution, outcomes)
            return (
                f"`y` holds {self.y[row]}, which {self.family.name} cannot have: {reason} Remove it, or choose a "
                f"family whose support contains it."
            )
        if np.all(np.isfinite(log_prob)):
            return None
        return (
            f"`y` holds {self.y[np.argmin(np.isfinite(log_prob))]}, where the density of {self.family.name} is zero or "
            f"infinite whatever its parameters: remove it, or choose a family whose support contains it."
        )

    def degrees_of_freedom(self, name: str) -> tf.Tensor:
        """Returns the degrees of freedom of the statistic `2 (maximum - profile log-likelihood)` of a parameter.

        In large samples, the statistic has a chi-square distribution at the true value of the parameter. Usually the
        distribution has 1 degree of freedom.

        The distribution is different if the parameter is an end of the support. The estimate of this end is the
        smallest or largest observation. The error of the estimate is exponentially distributed, and the log-likelihood
        falls linearly from the estimate. So the statistic is exponentially distributed with mean 2: this is the
        chi-square distribution with 2 degrees of freedom.
        """
        at_end = name in self.held and name in innermost(self.family).search.ends
        return tf.constant(2.0 if at_end else 1.0, tf.float64)


def problem_of(distribution: Any, y: ArrayLike, weights: ArrayLike | None = None, **fixed: Any) -> Problem:
    """Checks a sample and returns the problem of fitting a family to it.

    Args:
      distribution: a class of `tfp.distributions` or its name, or a family object.
      y: the sample, `[n, *event]`.
      weights: the number of times that each observation counts, `[n]`, or None.
      **fixed: parameters held at a value, and `num_classes` for class labels.

    Raises:
      ValueError: if the sample has no maximum-likelihood estimate in the family, and whenever `Family` raises a
        `ValueError`.
    """
    check_censored(distribution, y)
    sample, counts = as_sample(y, weights, getattr(distribution, "takes_infinity", False))
    family = _family_for(distribution, sample, fixed)
    policy = family.search
    if policy.unfit:
        raise ValueError(
            f"{family.name} cannot be fitted: {policy.unfit}. Evaluate its likelihood on a grid with "
            f"`nllfit.log_likelihood`."
        )
    sample, counts = sample[counts > 0], counts[counts > 0]
    check_sample(family, sample)
    units = Units() if family.is_discrete else Units.of(family, sample)
    statistics = {name: policy.statistics[name] for name in family.parameter_names if name in policy.statistics}
    held = {name: statistic(sample, counts) for name, statistic in statistics.items()}
    objective = _objective(family, sample, counts, units, held)
    if objective.density.dtype.is_integer:
        check_whole(family, sample, objective.density.dtype)
    return Problem(family, sample, counts, units, held, objective)


def _objective(family, y, weights, units, held):
    scaled_y = units.inward_sample(y)
    if family.is_discrete:
        scaled_y, weights = counted(scaled_y, weights)
    return Objective.of(density_of(family, tuple(held)), scaled_y, weights, units.inward(held), units.log_volume)


def _family_for(distribution: Any, y: np.ndarray, fixed: dict[str, Any]) -> ParametricFamily:
    if "event_shape" in fixed:
        raise ValueError(f"`event_shape` is that of a row of `y`, {y.shape[1:]}: leave it out.")
    try:
        family = as_family(distribution, y.shape[1:], **fixed)
    except ValueError as error:
        by_row = [name for name, value in fixed.items() if np.shape(value)[:1] == (len(y),)]
        if by_row and y.ndim == 1:
            advice = facts_of(family_class(distribution)).search.by_row
            raise ValueError(
                f"`{by_row[0]}` has a value for each of the {len(y)} rows of `y`, but one distribution is fitted to "
                f"all of them: give one value, or train a head, which has a distribution for each row. {advice}".strip()
            ) from None
        if y.ndim == 1 and "`event_shape`" in str(error):
            raise ValueError(
                f"{error} `event_shape` is the shape of a row of `y`, but `y` has shape `[n]`: give vectors as rows, "
                f"`[n, d]`."
            ) from None
        raise
    if family is distribution:
        refuse_with_family(fixed)
    if family.shared:
        raise ValueError("The family shares parameters over inputs, but a sample has no inputs: drop `shared`.")
    if family.event_shape != y.shape[1:]:
        raise ValueError(
            f"`y` has shape {y.shape}, but a sample of {family.name} has shape {('n', *family.event_shape)}."
        )
    return family
