"""A maximum-likelihood problem: a sample and a family for it, checked before anything is optimised."""

import copy

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from nllfit.estimation.density import density_of
from nllfit.estimation.objective import Objective
from nllfit.estimation.units import Units
from nllfit.families.arguments import as_array
from nllfit.families.family import as_family
from nllfit.families.refusal import first_refused

tfd = tfp.distributions

__all__ = ["Problem", "as_sample"]


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
      objective: the log-likelihood of the other parameters; None if there are no others.

    Raises:
      ValueError: for a sample that has no maximum-likelihood estimate in the family, and as `Family`.
    """

    def __init__(self, distribution, y, weights=None, **fixed):
        y, weights = as_sample(y, weights)
        self.family = _family_for(distribution, y, fixed)
        self._facts = self.family.facts
        if self._facts.unfit:
            raise ValueError(
                f"{self.family.name} cannot be fitted: {self._facts.unfit}. Look at its likelihood on a grid, "
                f"`nllfit.log_likelihood`."
            )
        self.y, self.weights = y[weights > 0], weights[weights > 0]
        self._check_enough()
        self._check_labels()
        self.units = Units() if self.family.is_discrete else Units.of(self.family, self.y)
        statistics = self._facts.statistics
        self._hold({n: statistics[n](self.y, self.weights) for n in self.family.parameter_names if n in statistics})
        self._check_whole()

    def _hold(self, held):
        self.held, self.objective = held, None
        if len(held) < len(self.family.parameter_names):
            y, weights = self.units.inward_sample(self.y), self.weights
            sample = _counted(y, weights) if self.family.is_discrete else (y, weights)
            density = density_of(self.family, tuple(held))
            self.objective = Objective(density, *sample, self.units.inward(held), self.units.log_volume)

    def log_likelihood(self):
        """The log-likelihood at the held parameters in nats, the sum over the sample; -inf outside the support."""
        distribution = self.distribution(None)
        try:
            log_prob = distribution.log_prob(self._outcomes(distribution, self.y))
        except tf.errors.InvalidArgumentError:
            return -np.inf
        return float(tf.tensordot(tf.constant(self.weights), log_prob, 1))

    def holding(self, name, place, value):
        """The problem with one number of one natural parameter held at a value."""
        held = copy.copy(self)
        if name in self.held:
            values = np.array(self.held[name])
            values.flat[place] = value
            held._hold(self.held | {name: values})
        else:
            shape = self.objective.natural(tf.zeros([self.objective.coordinates.size], tf.float64))[name].shape
            inward = self.units.inward({name: np.full(shape, value)})[name]
            held.objective = self.objective.holding(name, place, inward.flat[place])
        return held

    @property
    def suspicion(self):
        """What may keep Newton's method from the maximum, in words; empty if nothing is known."""
        if self._facts.kinks:
            return f"; the likelihood of a {self.family.name} is not smooth"
        values, counts = np.unique(self.y, axis=0, return_counts=True)
        if not self.family.is_discrete and counts.max() > 1:
            return f"; {values[counts.argmax()]} is {counts.max()} times in `y`, where the density may have no bound"
        return ""

    def has_corners(self, w):
        """Whether Newton's method can only come near the maximum near `w`, at a corner of the likelihood."""
        if self._facts.corner not in self.family.parameter_names:
            return False
        return self._facts.has_corners(self.family.fixed | self.natural(tf.constant(w)))

    def corners(self, natural, count=50, kept=3):
        """The problems with such a parameter held at the likeliest of some observations.

        They are those nearest to its natural value, to refine it, and others from all over the sample.
        """
        name = self._facts.corner
        nearest = np.argsort(np.abs(self.y - natural[name]), axis=0)[:count]
        all_over = np.sort(self.y, axis=0)[np.linspace(0, len(self.y) - 1, count).astype(int)]
        observed = np.unique(np.concatenate([np.take_along_axis(self.y, nearest, 0), all_over]), axis=0)
        tried = {n: np.broadcast_to(value, [len(observed), *value.shape]) for n, value in natural.items()}
        values = self.objective.values(self.coordinates(tried | {name: observed}))
        return [self._with(name, observed[row]) for row in np.argsort(-values)[:kept]]

    def _with(self, name, value):
        held = copy.copy(self)
        held._hold({name: value})
        return held

    def coordinates(self, natural):
        """The free parameters' coordinates `[..., p]` at natural parameters by name."""
        return self.objective.coordinates.from_natural(self.units.inward(natural))

    def natural(self, w):
        """All estimated parameters by name, as a statistician names them, at the free ones' coordinates `w` `[p]`."""
        free = {} if self.objective is None else self.units.outward(self.objective.natural(w))
        return {name: tf.convert_to_tensor(value) for name, value in (self.held | free).items()}

    def distribution(self, w):
        """The distribution at `w`; it checks outcomes."""
        free = {} if self.objective is None else self.units.outward(self.objective.constrained(w))
        try:
            return self.family.build(free | self.held, tf.float64)
        except tf.errors.InvalidArgumentError:  # rounding has put a parameter onto the edge of its domain
            return self.family.holding({"validate_args": False}).build(free | self.held, tf.float64)

    def closed_form(self):
        """The coordinates of TFP's own closed form, or None: a start, for not all of them maximise the likelihood."""
        y = tf.constant(self.units.inward_sample(self.y))
        fitted = self.family.closed_form(y) if not self.held and np.ptp(self.weights) == 0 else None
        if fitted is None:
            return None
        coordinates = self.objective.coordinates
        try:
            names = self.objective.natural(tf.zeros([coordinates.size], tf.float64))
            w = coordinates.from_natural({name: fitted[name] for name in names})
        except (TypeError, ValueError):  # it is of other parameters
            return None
        return w if np.all(np.isfinite(w)) and w.shape == (coordinates.size,) else None

    def check_support(self, w):
        """Raises a `ValueError` for the first observation that the distribution at `w` cannot have."""
        distribution = self.distribution(w)
        outcomes = self._outcomes(distribution, self.y)
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

    def _check_enough(self):
        family, name = self.family, self.family.name
        if self.y.size < family.params_size:
            raise ValueError(
                f"`y` has {self.y.size} numbers, fewer than the {family.params_size} parameters of {name}: give more "
                f"observations, or hold a parameter at a value."
            )
        constant = np.all(self.y == self.y[0], axis=0)
        if np.any(constant) and family.params_size > self.y[0].size and not self.family.is_discrete:
            raise ValueError(
                f"`y` has all values equal{'' if self.y.ndim == 1 else ' in a column'}, so the likelihood of {name} "
                f"has no bound as its density concentrates there: hold a parameter at a value, or look at the sample."
            )

        if self._facts.free_covariance:
            centred = self.y - self.y.mean(0)
            if np.linalg.matrix_rank(centred) < self.y.shape[-1]:
                raise ValueError(
                    f"The columns of `y`, {self.y.shape}, are dependent, so the likelihood of {name} has no bound as "
                    f"its covariance becomes singular: give more observations, or leave out a column."
                )

    def _check_labels(self):
        """Class labels are looked at before TensorFlow sees them, for it would complain on the screen."""
        classes = self.family.num_classes
        if classes is None:
            return
        wrong = self.y[(self.y < 0) | (self.y >= classes)]
        if wrong.size:
            raise ValueError(
                f"`y` holds {wrong[0]}, which {self.family.name} cannot have: its {classes} classes are labelled 0 to "
                f"{classes - 1}. Remove it, or give another `num_classes`."
            )

    def _check_whole(self):
        """A cast to the integers that some families have for outcomes would take half a success for none."""
        if self.objective is None or not self.objective.density.dtype.is_integer:
            return
        fractions = self.y[self.y != np.round(self.y)]
        if fractions.size:
            raise ValueError(
                f"`y` holds {fractions[0]}, which {self.family.name} cannot have: its outcomes are whole numbers. "
                f"Remove it, or choose a family whose support it is in."
            )

    @staticmethod
    def _outcomes(distribution, y):
        return tf.cast(tf.constant(y), distribution.dtype)


def as_sample(y, weights=None):
    """The sample `[n, *event]` and its weights `[n]` in float64, or a `ValueError` that says why it is none."""
    sample = as_array(y, np.float64)
    if np.ma.is_masked(y):
        raise ValueError(f"`y` has {np.sum(y.mask)} masked values: give those that are not, as `y.compressed()` does.")
    if sample.ndim == 0 or sample.size == 0:
        raise ValueError(f"`y` has shape {sample.shape}: give at least one observation, `[n, *event]`.")
    if not np.all(np.isfinite(sample)):
        raise ValueError(f"`y` holds {np.sum(~np.isfinite(sample))} NaN or infinite values: remove them.")
    try:
        counts = np.ones(len(sample)) if weights is None else np.asarray(weights, np.float64)
    except (TypeError, ValueError):
        raise ValueError("`weights` is not an array of numbers: give one for each observation.") from None
    if counts.shape != (len(sample),):
        raise ValueError(
            f"`weights` has shape {counts.shape}, but `y` has {len(sample)} observations: give one for each."
        )
    if not np.all(np.isfinite(counts)) or np.any(counts < 0):
        raise ValueError("`weights` holds a negative, NaN or infinite weight: give numbers >= 0.")
    if not np.any(counts > 0):
        raise ValueError("`weights` are all zero, so there is no sample: give a positive weight.")
    return sample, counts


def _family_for(distribution, y, fixed):
    try:
        family = as_family(distribution, y.shape[1:], **fixed)
    except ValueError as error:
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


def _counted(y, weights):
    """The distinct outcomes, and how often each of them was observed."""
    values, places = np.unique(y, axis=0, return_inverse=True)
    return values, np.bincount(places.reshape(-1), weights)
