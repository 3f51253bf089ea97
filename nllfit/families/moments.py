"""The mean and the variance of any scalar distribution, computed from its CDF."""

from typing import Any

import tensorflow as tf

from nllfit.families.tail_integrals import tail_integrals
from nllfit.families.tail_sums import tail_sums

__all__ = ["moments_by_tails"]


def moments_by_tails(law: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """The mean and the variance `[*batch]` of a scalar distribution in float64, from integrals over its tails.

    `E[Y - m] = integral of S above m - integral of F below m` and `E[(Y - m)^2] = 2 integral of |y - m| S above m, and
    of |y - m| F below m`, with the CDF `F`, the survival function `S` and the median `m`.
    """
    center = tf.cast(law.median(), tf.float64)
    sums = tail_sums if law.is_discrete else tail_integrals
    below, above = sums(law, center, lambda probability, distance: probability)
    squares = sums(law, center, lambda probability, distance: 2 * distance * probability)
    mean, square = above - below, squares[0] + squares[1]
    if law.is_discrete:
        # The sums over counts need a term at the median, and the factor of a probability at the distance `d` in a
        # square is `2 d + 1` above the median and `2 d - 1` below, instead of `2 d`.
        _, beyond = law.cdf()(center)
        mean, square = mean + beyond, square + beyond + above - below
    return center + mean, square - tf.square(mean)
