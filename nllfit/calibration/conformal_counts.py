"""The distribution of counts that `conformalize` returns. Its quantiles are the ends of the conformal intervals."""

import tensorflow as tf

from nllfit.calibration.calibrated_distribution import CalibratedDistribution, normal, with_knots
from nllfit.families.law import Law, has_law, law_of
from nllfit.families.tail_sums import tail_sums

__all__ = ["MovedCounts"]


class MovedCounts(CalibratedDistribution):
    """A scalar distribution of counts that moves the quantiles `at` of a base distribution to `to`.

    - Between two quantiles, the base distribution is stretched.
    - Above the last quantile, the base distribution is shifted. If the support has a largest count, this count gets the
      probability of all counts that the shift would move beyond it.
    - Below the first quantile, the base distribution is shifted if this quantile moves down. If this quantile moves up,
      the counts below it are not shifted, and their probabilities are multiplied by a constant.

    If the support has no largest count, every count of the support keeps a positive probability.

    Args:
      distribution: the base distribution of counts, of batch `[*batch]`.
      at, to: whole numbers `[*batch, k]`, in ascending order. Numbers may be equal.
      levels: the probabilities of the quantiles, `[k]`, in ascending order.
    """

    def __init__(self, distribution, at, to, levels, validate_args=False, name="Conformalized"):
        self.at, self.to, self.levels = at, to, levels
        self._begin(dict(locals()), at.dtype)

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return with_knots("at", "to", "levels")

    def _knots(self):
        return (tf.cast(values, tf.float64) for values in (self.at, self.to, self.levels))

    def _cdf_and_survival(self, y):
        """Returns `P(Y <= y)` and `P(Y > y)`."""
        at, to, levels = self._knots()
        y, cdf_and_survival = tf.math.floor(tf.cast(y, tf.float64)), law_of(self.distribution).cdf()
        moves_up = to[..., 0] > at[..., 0]  # then a shift would give the lowest counts the probability 0
        place = tf.where(moves_up, y, y + at[..., 0] - to[..., 0])
        outside = cdf_and_survival(tf.where(y < to[..., 0], place, y + at[..., -1] - to[..., -1]))
        below_at, below_to = cdf_and_survival(tf.stack([at[..., 0], to[..., 0]]) - 1)[0]
        below_at = tf.where(below_at > 0, below_at, levels[..., 0] / 2)
        below_first = outside[0] * tf.where(moves_up, below_at / tf.where(moves_up, below_to, 1.0), 1.0)
        least, most = (tf.cast(end, tf.float64) for end in law_of(self.distribution).ends())
        below_first = tf.where(y < least, 0.0, below_first)
        start = tf.reduce_sum(tf.cast(to <= y[..., None], tf.int32), -1) - 1  # index of the last knot up to `y`
        start = tf.clip_by_value(start, 0, to.shape[-1] - 2)
        (a, b), (c, d), (low, high) = (_around(values, start) for values in (at, to, levels))
        share = (y - c + 0.5) / tf.where(d > c, d - c, 1.0)
        below = cdf_and_survival(tf.stack([a - 1, b - 1, *_neighbours(a + share * (b - a))]))[0]
        place = a + share * (b - a) - tf.math.floor(a + share * (b - a))
        mass_up_to_y, mass_of_piece = (1 - place) * below[2] + place * below[3] - below[0], below[1] - below[0]
        share = tf.where(mass_of_piece > 0, mass_up_to_y / tf.where(mass_of_piece > 0, mass_of_piece, 1.0), share)
        probability = tf.where(y < to[..., 0], below_first, low + (high - low) * share)
        is_last, is_all = y >= to[..., -1], y >= most
        below, above = tf.where(is_last, outside[0], probability), tf.where(is_last, outside[1], 1 - probability)
        return tf.where(is_all, 1.0, below), tf.where(is_all, 0.0, above)

    def _cdf(self, y):
        return tf.cast(self._cdf_and_survival(y)[0], self.dtype)

    def _survival_function(self, y):
        return tf.cast(self._cdf_and_survival(y)[1], self.dtype)

    def _log_prob(self, y):
        at, to, _ = self._knots()
        y, most = tf.cast(y, tf.float64), tf.cast(law_of(self.distribution).ends()[1], tf.float64)
        below, above = self._cdf_and_survival(y - 1)
        is_above = (y > to[..., -1]) & (y < most)  # here a difference of two CDFs near 1 would lose digits
        place = tf.where(is_above, y + at[..., -1] - to[..., -1], at[..., -1])
        shifted_log_prob = tf.cast(self.distribution.log_prob(tf.cast(place, self.distribution.dtype)), tf.float64)
        log_difference = tf.math.log(
            tf.where(is_above, 1.0, tf.where(y < most, self._cdf_and_survival(y)[0] - below, above))
        )
        return tf.cast(tf.where(is_above, shifted_log_prob, log_difference), self.dtype)

    def _quantile(self, q):
        raise NotImplementedError("A conformal distribution of counts has no closed form for quantiles.")

    def _moments(self):
        law = law_of(self).elements()  # in float64
        center = law.constant().quantile(tf.constant(0.5, tf.float64))
        beyond = law.cdf()(center)[1]
        below, above = tail_sums(law, center, lambda p, _: p)
        products = tail_sums(law, center, lambda p, distance: p * distance)
        shift = beyond + above - below
        return center + shift, beyond + 2 * sum(products) + above - below - tf.square(shift)

    def _at_scores(self, scores):
        return tf.cast(law_of(self).quantile(normal().cdf(scores), normal().cdf(-scores)), tf.float64)


@has_law(MovedCounts)
class _MovedCountsLaw(Law):
    def ends(self):
        return tuple(tf.cast(end, self.distribution.dtype) for end in law_of(self.distribution.distribution).ends())


def _around(values, start):
    """Returns `values` `[*batch, k]` at the indices `start` `[..., *batch]`, and at the next indices."""
    values = tf.broadcast_to(values, tf.concat([tf.shape(start), tf.shape(values)[-1:]], 0))
    return tuple(tf.gather(values, start + step, batch_dims=start.shape.rank) for step in (0, 1))


def _neighbours(z):
    return tf.math.floor(z) - 1, tf.math.floor(z)
