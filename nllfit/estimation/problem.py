"""A maximum-likelihood problem: a sample and a family for it, checked before anything is optimised."""

import copy
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike
from tensorflow_probability import distributions as tfd

from nllfit.estimation.density import density_of
from nllfit.estimation.objective import Objective
from nllfit.estimation.samples import as_sample, check_censored, check_sample, check_whole, counted
from nllfit.estimation.units import Units
from nllfit.families.arguments import family_class
from nllfit.families.facts import facts_of
from nllfit.families.law import elements_of
from nllfit.families.protocol import Numbers, ParametricFamily
from nllfit.families.refusal import first_refused
from nllfit.families.wrapped import as_family

__all__ = ["Problem"]

_MEETS = 1e-12  # widths of the sample between two parameters that meet, for TFP's density is NaN where they do
_MOST = 4e6  # log-densities, at places of a parameter times outcomes


class Problem:
    """A sample and the family to be fitted to it.

    Args:
      distribution: a class of `tfp.distributions` or its name, a `Family` or a `MixtureFamily`.
      y: the sample, `[n, *event]`.
      weights: how often each observation counts, `[n]`, or None.
      **fixed: parameters held at a value, and `num_classes` for class labels.

    Attributes:
      family: the `Family` or `MixtureFamily`.
      y, weights: the observations of positive weight, `[n, *event]` and `[n]`, in float64.
      held: the parameters whose estimate is a statistic of the sample, by name.
      units: the `Units` in which the objective has the sample and its parameters.
      objective: the log-likelihood as a function of the other parameters' coordinates.

    Raises:
      ValueError: for a sample that has no maximum-likelihood estimate in the family, and as `Family`.
    """

    def __init__(self, distribution: Any, y: ArrayLike, weights: ArrayLike | None = None, **fixed: Any):
        check_censored(distribution, y)
        sample, counts = as_sample(y, weights, getattr(distribution, "takes_infinity", False))
        self.family = _family_for(distribution, sample, fixed)
        facts = self.family.facts
        if facts.unfit:
            raise ValueError(
                f"{self.family.name} cannot be fitted: {facts.unfit}. Look at its likelihood on a grid, "
                f"`nllfit.log_likelihood`."
            )
        self.y, self.weights = sample[counts > 0], counts[counts > 0]
        check_sample(self.family, self.y)
        self.units = Units() if self.family.is_discrete else Units.of(self.family, self.y)
        statistics = {name: facts.statistics[name] for name in self.family.parameter_names if name in facts.statistics}
        self._hold({name: statistic(self.y, self.weights) for name, statistic in statistics.items()})
        if self.objective.density.dtype.is_integer:
            check_whole(self.family, self.y)

    def _hold(self, held: dict[str, np.ndarray]) -> None:
        y, weights = self.units.inward_sample(self.y), self.weights
        if self.family.is_discrete:
            y, weights = counted(y, weights)
        density = density_of(self.family, tuple(held))
        self.held = held
        self.objective = Objective(density, y, weights, self.units.inward(held), self.units.log_volume)

    def holding(self, name: str, place: int, value: float) -> "Problem":
        """The problem with one number of one natural parameter held at a value."""
        problem = copy.copy(self)
        if name in self.held:
            values = np.array(self.held[name])
            values.flat[place] = value
            problem._hold(self.held | {name: values})
        else:
            shape = self.objective.natural(np.zeros([self.objective.coordinates.size]))[name].shape
            inward = self.units.inward({name: np.full(shape, value)})[name]
            problem.objective = self.objective.holding(name, place, inward.flat[place])
        return problem

    def by_differences(self) -> "Problem":
        """The problem with an objective whose derivatives are differences."""
        problem = copy.copy(self)
        problem.objective = self.objective.by_differences()
        return problem

    def corner(self, w: np.ndarray) -> str | None:
        """The parameter in which the likelihood has corners near `w`, which Newton's method can only come near."""
        facts = self.family.facts
        if facts.corner not in self.family.parameter_names or not len(self.family.seen(self.y)):
            return None
        near = facts.has_corners is None or facts.has_corners({**self.family.fixed, **self.natural(w)})
        return facts.corner if near else None

    def held_at_corners(self, name: str, natural: Numbers, count: int = 50, kept: int = 3) -> list["Problem"]:
        """The problems with such a parameter held at the likeliest of some observations.

        They are those nearest to its natural value, to refine it, and others from all over the sample; at its ends a
        bound of the support may meet the parameter.
        """
        seen = self.family.seen(self.y)
        nearest = np.argsort(np.abs(seen - natural[name]), axis=0)[:count]
        all_over = np.sort(seen, axis=0)[np.linspace(0, len(seen) - 1, count).astype(int)]
        observed = np.unique(np.concatenate([np.take_along_axis(seen, nearest, 0), all_over]), axis=0)
        values = self.objective.values(self._along(name, natural, observed))
        held = [{name: observed[row]} for row in np.argsort(-values)[:kept]]
        for bound, row, outside in zip(self.family.facts.bounds, (0, -1), (-1, 1), strict=False):
            if bound in self.family.parameter_names:
                meets = observed[row] + outside * _MEETS * np.ptp(seen, axis=0)
                held.append({name: observed[row], bound: meets})
        problems = [copy.copy(self) for _ in held]
        for problem, parameters in zip(problems, held, strict=True):
            problem._hold(parameters)
        return problems

    def elsewhere(self, w: np.ndarray, kept: int = 5) -> np.ndarray:
        """The coordinates `[s, p]` of other places of a parameter that may have a maximum between any observations.

        They are the likeliest of those that are more likely than the places beside them, with the other parameters as
        they are at `w`.
        """
        name = self.family.facts.scattered
        if name not in self.family.parameter_names or self.family.event_shape:
            return np.zeros([0, len(w)])
        y = np.unique(self.y)
        places = np.sort(np.concatenate([y, (y[1:] + y[:-1]) / 2]))
        count = max(50, int(_MOST / len(self.objective.y)))
        if len(places) > count:
            places = places[np.linspace(0, len(places) - 1, count).astype(int)]
        natural = self.natural(w)
        places = np.sort(np.append(places, natural[name]))
        tried = self._along(name, natural, places)
        values = self.objective.values(tried)
        left, right = np.r_[-np.inf, values[:-1]], np.r_[values[1:], -np.inf]
        peaks = np.flatnonzero((values >= left) & (values >= right) & (places != natural[name]))
        return tried[peaks[np.argsort(-values[peaks])][:kept]]

    def _along(self, name: str, natural: Numbers, values: np.ndarray) -> np.ndarray:
        """Coordinates `[s, p]` at natural parameters of which one takes these values `[s, ...]`."""
        tried = {n: np.broadcast_to(value, [len(values), *np.shape(value)]) for n, value in natural.items()}
        return self.coordinates_of(tried | {name: values})

    def coordinates_of(self, natural: Numbers) -> np.ndarray:
        """The free parameters' coordinates `[..., p]` at natural parameters by name."""
        return self.objective.coordinates.from_natural(self.units.inward(natural))

    def natural(self, w: np.ndarray | tf.Tensor) -> dict[str, tf.Tensor]:
        """All estimated parameters by name, as a statistician names them, at the free ones' coordinates `w` `[p]`."""
        free = self.units.outward(self.objective.natural(w))
        return {name: tf.convert_to_tensor(value) for name, value in (self.held | free).items()}

    def unwound(self, w: np.ndarray) -> np.ndarray:
        """`w` with an angle between `-pi` and `pi`."""
        name = self.family.facts.circular
        if name not in self.family.parameter_names:
            return w
        natural = self.natural(w)
        return self.coordinates_of(natural | {name: tf.math.floormod(natural[name] + np.pi, 2 * np.pi) - np.pi})

    def distribution(self, w: np.ndarray) -> tfd.Distribution:
        """The distribution at `w`; it checks outcomes."""
        try:
            return self.family.build(self._constrained(w), tf.float64)
        except tf.errors.InvalidArgumentError:  # rounding has put a parameter onto the edge of its domain
            return self.family.holding({"validate_args": False}).build(self._constrained(w), tf.float64)

    def _constrained(self, w):
        return self.units.outward(self.objective.constrained(w)) | self.held

    def closed_form(self) -> np.ndarray | None:
        """The coordinates of TFP's own closed form, or None: a start, for not all of them maximise the likelihood."""
        y = tf.constant(self.units.inward_sample(self.y))
        fitted = self.family.closed_form(y) if not self.held and np.ptp(self.weights) == 0 else None
        if fitted is None:
            return None
        coordinates = self.objective.coordinates
        try:
            names = self.objective.natural(np.zeros([coordinates.size]))
            w = coordinates.from_natural({name: fitted[name] for name in names})
        except (TypeError, ValueError):  # it is of other parameters
            return None
        return w if np.all(np.isfinite(w)) and w.shape == (coordinates.size,) else None

    def check_support(self, w: np.ndarray) -> None:
        """Raises a `ValueError` for the first observation that the distribution at `w` cannot have."""
        distribution = self.distribution(w)
        if self.family.component_shape and self.family.facts.kinks:  # one component may have what another refuses
            distribution = self.family.holding({"validate_args": False}).build(self._constrained(w), tf.float64)
        outcomes = tf.cast(tf.constant(self.y), distribution.dtype)
        try:
            log_prob = distribution.log_prob(outcomes).numpy()
        except tf.errors.InvalidArgumentError:
            row, reason = first_refused(distribution, outcomes)
            raise ValueError(
                f"`y` holds {self.y[row]}, which {self.family.name} cannot have: {reason} Remove it, or choose a "
                f"family whose support it is in."
            ) from None
        if not np.all(np.isfinite(log_prob)):
            raise ValueError(
                f"`y` holds {self.y[np.argmin(np.isfinite(log_prob))]}, where the density of {self.family.name} is "
                f"zero or infinite whatever its parameters: remove it, or choose a family whose support it is in."
            )

    @property
    def remark(self) -> str:
        """What the sample may have that its user did not mean, in words; empty if nothing is known."""
        if self.family.facts.circular and np.abs(self.y).max() > 2 * np.pi:
            return f"; `y` holds {self.y[np.abs(self.y).argmax()]:.4g}, and its angles are taken for radians"
        return ""

    def _open(self):
        """Which outcomes, intervals or numbers in a window, go on to the lower end of the support, and to the upper."""
        lower, upper = self.y[..., 0], self.y[..., 1]
        if self.family.facts.corner or self.family.facts.kinks:  # whose support moves
            return np.isneginf(lower), np.isposinf(upper)
        low, high = map(
            np.asarray,
            elements_of(self.distribution(np.zeros([self.objective.coordinates.size]))).ends(),
        )
        return (lower < low) if self.family.is_discrete else (lower <= low), upper >= high

    @property
    def suspicion(self) -> str:
        """What may keep Newton's method from the maximum, in words; empty if nothing is known."""
        if self.family.takes_infinity and any(np.all(one_sided) for one_sided in self._open()):
            return (
                "; no outcome was seen, for all are censored on one side, and they are the likelier the further the "
                "distribution is on that side: there is no maximum, so give some that were seen"
            )
        if self.family.facts.kinks:
            return f"; the likelihood of a {self.family.name} is not smooth"
        others = self.y[self.y != 0] if self.family.facts.has_share else self.y  # a share of zeros is for its ties
        values, counts = np.unique(others, axis=0, return_counts=True)
        if not self.family.is_discrete and counts.max(initial=0) > 1:
            return f"; {values[counts.argmax()]} is {counts.max()} times in `y`, where the density may have no bound"
        return ""


def _family_for(distribution: Any, y: np.ndarray, fixed: dict[str, Any]) -> ParametricFamily:
    try:
        family = as_family(distribution, y.shape[1:], **fixed)
    except ValueError as error:
        by_row = [name for name, value in fixed.items() if len(y) > 1 and np.shape(value)[:1] == (len(y),)]
        if by_row and y.ndim == 1:
            advice = facts_of(family_class(distribution)).by_row
            raise ValueError(
                f"`{by_row[0]}` has a value for each of the {len(y)} rows of `y`, but one distribution is fitted to "
                f"all of them: give one value, or train a head, which has a distribution for each row. {advice}".strip()
            ) from None
        if y.ndim == 1 and "`event_shape`" in str(error):
            raise ValueError(f"{error} Here it is that of a row of `y`, `[n]`; vectors are rows, `[n, d]`.") from None
        raise
    if family is distribution and fixed:
        raise ValueError(f"`{next(iter(fixed))}` is given beside a family: hold it in the family itself.")
    if family.shared:
        raise ValueError("The family shares parameters over inputs, but a sample has no inputs: drop `shared`.")
    if family.event_shape != y.shape[1:]:
        raise ValueError(
            f"`y` has shape {y.shape}, but a sample of {family.name} has shape {('n', *family.event_shape)}."
        )
    return family
