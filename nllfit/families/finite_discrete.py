"""The subclass of `Law` for `tfd.FiniteDiscrete`.

The outcomes of this distribution are a given list of numbers, which may be fractions or negative.
"""

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.families.law import Law, has_law

__all__ = ["FiniteLaw"]


@has_law(tfd.FiniteDiscrete)
class FiniteLaw(Law):
    """The law of a `tfd.FiniteDiscrete`. TFP requires that `outcomes` are in ascending order."""

    def marginals(self) -> tfd.Distribution:
        d = self.distribution
        # TFP's default tolerance depends on the dtype. The copy in float64 gets the tolerance of the original dtype,
        # because outcomes that were rounded to this dtype must still match.
        default = 10 * np.finfo(d.dtype.as_numpy_dtype).eps if d.dtype.is_floating else 0.0
        given = [default if d.parameters[name] is None else d.parameters[name] for name in ("rtol", "atol")]
        outcomes, probs, rtol, atol = (tf.cast(part, tf.float64) for part in (d.outcomes, d.probs_parameter(), *given))
        return tfd.FiniteDiscrete(outcomes, probs=probs, rtol=rtol, atol=atol)

    def ends(self) -> tuple[tf.Tensor, tf.Tensor]:
        outcomes = self.distribution.outcomes
        return outcomes[0], outcomes[-1]

    def _some_outcome(self):
        return tf.fill(self.distribution.batch_shape_tensor(), self.distribution.outcomes[0])

    def cdf(self):
        d = self.distribution
        probs, outcomes = d.probs_parameter(), d.outcomes
        # As in TFP, a number is equal to an outcome if it is below this outcome by at most the tolerance.
        outcomes -= d.parameters["atol"] + d.parameters["rtol"] * tf.abs(outcomes)

        def tails(y):
            reached = outcomes <= y[..., None]
            probabilities = (tf.reduce_sum(tf.where(side, probs, 0.0), -1) for side in (reached, ~reached))
            return tuple(tf.where(tf.math.is_nan(y), y, probability) for probability in probabilities)

        return tails

    def quantile(self, levels, rests=None):
        cumulated = tf.cumsum(self.distribution.probs_parameter(), -1)
        reached = cumulated[..., :-1] >= tf.cast(levels, cumulated.dtype)[..., None]
        return tf.gather(self.distribution.outcomes, tf.reduce_sum(tf.cast(~reached, tf.int32), -1))
