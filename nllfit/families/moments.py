"""Computes the mean and the variance of any scalar distribution from its CDF."""

from typing import Any

import tensorflow as tf

from nllfit.families.tail_integrals import tail_integrals
from nllfit.families.tail_sums import tail_sums

__all__ = ["moments_by_tails"]


def moments_by_tails(law: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the mean and the variance `[*batch]` of a scalar distribution in float64.

    Both are computed from integrals of the CDF and of the survival function; for counts, from sums.

    `m` is the median, `F` the CDF and `S = 1 - F`. `E[Y - m]` is the integral of `S` above `m` minus the integral of
    `F` below `m`. `E[(Y - m)^2]` is the integral of `2 |y - m| S` above `m` plus that of `2 |y - m| F` below `m`.
    """
    center = tf.cast(law.median(), tf.float64)
    integrate = tail_sums if law.is_discrete else tail_integrals
    below, above = integrate(law, center, lambda probability, distance: probability)
    squares = integrate(law, center, lambda probability, distance: 2 * distance * probability)
    mean_deviation, mean_square = above - below, squares[0] + squares[1]
    if law.is_discrete:
        # For counts, `E[Y - m]` is the sum of `S(k)` over `k >= m` minus the sum of `F(k)` over `k < m`. `E[(Y - m)^2]`
        # is the sum of `(2 (k - m) + 1) S(k)` over `k >= m` plus the sum of `(2 (m - k) - 1) F(k)` over `k < m`.
        # `tail_sums` leaves out the term `S(m)` of both sums over `k >= m`, so we add it here.
        _, survival = law.cdf()(center)
        mean_deviation, mean_square = mean_deviation + survival, mean_square + survival + above - below
    return center + mean_deviation, mean_square - tf.square(mean_deviation)
