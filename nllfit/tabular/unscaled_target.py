"""The `Target` of families that are not location-scale families. Networks learn outcomes in their original unit."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from scipy.special import log_ndtr
from tensorflow_probability import distributions as tfd

from nllfit.calibration import Recalibrated
from nllfit.families.law import elements_of
from nllfit.families.outcome_shapes import as_outcomes
from nllfit.families.support_checks import checked, first_refused
from nllfit.initialization import initialize
from nllfit.keras3 import heads
from nllfit.losses import negative_log_likelihood
from nllfit.tabular.scoring import mean_nll, normal_scores
from nllfit.tabular.table_rows import Rows
from nllfit.tabular.targets import SPREADS, Target

__all__ = ["OwnUnit"]

# The knots, as Normal scores, of the map in `_widened`. `Recalibrated` allows scores between -40 and 40.
_KNOTS = np.linspace(-39, 39, 33)


class OwnUnit(Target):
    """The `Target` of families that are not location-scale families, such as families of amounts or counts.

    Outcomes keep their original unit. With its initial weights, a network predicts the marginal distribution of the
    outcomes for all inputs. The network's output for each parameter is multiplied by `step`, so that outputs of about 1
    change the distribution noticeably. `step` is the inverse square root of the Fisher information of one outcome about
    the parameter, clipped to between 1 and the standard deviation of the outcomes. If this standard deviation is below
    1, `step` is 1.

    Args:
      family, rows: as in `LocationScale`.
    """

    def __init__(self, family: Any, rows: Rows):
        super().__init__(family, rows.is_censored)
        self.spreads = np.ones(1)
        outcomes = self._outcomes(rows.y)
        head = heads.DistributionHead(self.trained_family)
        dense = keras.layers.Dense(family.params_size, dtype="float64")
        constant = keras.Sequential([keras.layers.Input([1]), dense, head])
        try:
            initialize(constant, np.zeros([len(rows), 1]), outcomes, rows.weights)
            self.offset = np.asarray(dense.get_weights()[1], float)
            steps = self._unclipped_steps(head.family, outcomes)
        except ValueError:
            _refuse_outside(head.family, outcomes, rows.row_numbers)
            raise
        if not self.is_discrete:
            marginal = family.distribution(tf.constant(self.offset[None]))
            self.spreads, self.has_atom = _spreads_of(marginal), elements_of(marginal).atoms is not None
        self.step = np.clip(steps, 1, max(1.0, float(rows.numbers().std())))
        self.marginal = self.offset

    def _unclipped_steps(self, family, outcomes):
        """Returns each parameter's `step` before clipping: `1 / sqrt(Fisher information)` at the marginal distribution.

        The information about a parameter is the mean of the squared derivative of the loss over at most 2000 outcomes.
        """
        sample = outcomes[:: max(1, len(outcomes) // 1000)]

        def loss(params):
            params = np.tile(params, [len(sample), 1])
            return negative_log_likelihood(sample, family.distribution(tf.constant(params))).numpy()

        steps = []
        for i, number in enumerate(self.offset):
            h = np.zeros(len(self.offset))
            h[i] = 1e-4 * max(1.0, abs(number))
            derivatives = (loss(self.offset + h) - loss(self.offset - h)) / (2 * h[i])
            information = np.mean(derivatives**2)
            steps.append(information**-0.5 if information > 0 else 1.0)
        return np.array(steps)

    def training_outcomes(self, y: np.ndarray) -> np.ndarray:
        return self._outcomes(y)

    def distribution(self, predicted: tfd.Distribution, spread: float, doubt: float) -> tfd.Distribution:
        logits = tf.nn.log_softmax(predicted.mixture_distribution.logits)
        num_components = getattr(self.family, "num_components", 1)
        num_members = logits.shape[1] // num_components  # the last member predicts the marginal distribution
        weight_ratios = np.full(num_members, (1 - doubt) * num_members / max(1, num_members - 1))
        weight_ratios[-1] = doubt * num_members
        logits += np.repeat(np.log(weight_ratios), num_components)
        mixture = tfd.MixtureSameFamily(tfd.Categorical(logits), predicted.components_distribution)
        return mixture if spread == 1 else _widened(mixture, spread)

    def losses(
        self,
        outputs: Sequence[tf.Tensor],
        doubt: float,
        y: np.ndarray,
        weights: np.ndarray | None,
    ) -> np.ndarray:
        distribution = self.distribution(self.mixture(outputs), 1.0, doubt)
        loss = mean_nll(distribution, y, weights, self.is_censored)
        if len(self.spreads) == 1:
            return np.array([loss])
        spreads, outcomes = self.spreads[:, None], y.T if self.is_censored else (y,)
        z, *others = (normal_scores(distribution, values.reshape(len(y), 1)) for values in outcomes)
        # The spread divides Normal scores: the density phi(z) becomes phi(z / spread) / spread.
        change = z**2 / 2 * (spreads**-2 - 1) + np.log(spreads)
        for upper in others:  # the scores of the intervals' upper ends; empty if outcomes are not censored
            intervals = _log_between(z, upper) - _log_between(z / spreads, upper / spreads)
            change = np.where(y[:, 0] == y[:, 1], change, intervals)
        return loss + np.average(change, axis=1, weights=weights)


def _refuse_outside(family, outcomes, row_numbers):
    """Raises a `ValueError` for the first row of the user's table whose outcome is outside the support, if any."""
    order = np.arange(len(outcomes)) if row_numbers is None else np.argsort(row_numbers)
    zeros = tf.zeros([len(outcomes), family.params_size], tf.float64)
    outcomes = as_outcomes(outcomes[order], family.distribution(zeros))
    row, reason = first_refused(checked(family.distribution(zeros[:1])), outcomes, finite=True)
    if row is not None:
        row_number = row if row_numbers is None else row_numbers[order][row]
        raise ValueError(
            f"`y` holds, at row {row_number}, {outcomes[row].numpy()}, which {family.name} cannot have: {reason} Look "
            f"for mislabelled rows, or choose a `distribution` whose support contains them."
        )


def _log_between(lower, upper):
    """Returns the log-probability of intervals under the standard Normal.

    Intervals above 0 are mirrored, because a difference of two CDFs near 1 would lose digits.
    """
    lower, upper = np.where(lower > 0, -upper, lower), np.where(lower > 0, -lower, upper)
    high, low = log_ndtr(upper), log_ndtr(lower)
    return high + np.log(-np.expm1(np.minimum(low - high, -np.finfo(float).tiny)))


def _spreads_of(distribution):
    """Returns the factors to try on the width of a distribution.

    The only factor is 1 if `_widened` does not support the distribution, for example because outcomes are angles.
    """
    if distribution.event_shape.num_elements() > 1:
        return np.ones(1)
    try:
        _widened(distribution, 2.0)
    except ValueError:
        return np.ones(1)
    return SPREADS


def _widened(distribution, spread):
    """Returns the distribution whose Normal scores `Phi^-1(F(y))` are `1 / spread` times the scores of the given one.

    For a Normal, this multiplies the scale by `spread`.
    """
    observed = _KNOTS / max(1.0, spread)
    predicted = np.broadcast_to(spread * observed, [*distribution.event_shape, len(observed)])
    return Recalibrated(None, predicted, observed).calibrate(distribution)
