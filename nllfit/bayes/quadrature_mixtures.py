"""Averages the distributions of a head over Normally distributed inputs, by quadrature."""

import functools
import itertools
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.families.family_base import ParametricFamily
from nllfit.families.mixture import mixture_of

__all__ = ["mixture_over"]

_MAX_POINTS = 100
_MAX_PER_AXIS = 32


def mixture_over(family: ParametricFamily, shared: Any, means: tf.Tensor, roots: tf.Tensor) -> tfd.Distribution:
    """Averages the distributions of a family over Normally distributed inputs. Returns the average, a mixture.

    Args:
      family: a family with `d` inputs.
      shared: the inputs that are the same for all rows, `[shared_size]`, or None.
      means: the means of each row's inputs, `[*batch, d]`.
      roots: square roots `R` of the covariances `R R'` of each row's inputs, `[*batch, d, d]`.
    """
    points, weights = _points(means.shape[-1])
    vectors = [means + tf.linalg.matvec(roots, tf.constant(point, means.dtype)) for point in points]
    return mixture_of(family, vectors, [shared] * len(vectors), weights)


@functools.cache
def _points(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns points `[m, size]` and their weights `[m]`, which sum to 1.

    The weighted sum of a function over the points approximates its expectation under a standard Normal. For a `size` of
    at most 4, the points are a grid: the tensor product of Gauss-Hermite points. For a larger `size`, a grid of at most
    `_MAX_POINTS` points would have fewer than three points per axis. Then we use random points and their negatives. The
    mean of all these points is exactly 0. If `size` is at most `_MAX_POINTS / 2`, the covariance of the points is
    exactly the identity.
    """
    per_axis = min(_MAX_PER_AXIS, int(_MAX_POINTS ** (1 / size) + 1e-9))
    if per_axis >= 3:
        nodes, weights = np.polynomial.hermite_e.hermegauss(per_axis)
        points = np.array(list(itertools.product(nodes, repeat=size)))
        return points, np.prod(list(itertools.product(weights / weights.sum(), repeat=size)), axis=1)
    half = np.random.default_rng(0).normal(size=[_MAX_POINTS // 2, size])
    if size <= len(half):  # with orthogonal columns, the covariance of the points is the identity
        half = np.linalg.qr(half)[0] * np.sqrt(len(half))
    return np.concatenate([half, -half]), np.full(_MAX_POINTS, 1 / _MAX_POINTS)
