"""Probabilities and quantiles of each element of an outcome, for whatever a head returns."""

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike
from tensorflow_probability import distributions as tfd

from nllfit.families.arguments import as_numbers
from nllfit.families.copies import real_dtype
from nllfit.families.law import elements_of, law_of
from nllfit.outputs import as_distribution

__all__ = ["cdf", "interval", "quantile", "survival"]


def cdf(distribution: tfd.Distribution, y: ArrayLike) -> tf.Tensor:
    """The probability `P(Y <= y)` of each element of an outcome.

    It works on what a head returns, of either Keras, and on any `tfd.Distribution` with elements that are numbers:
    counts, mixtures and `Independent` included, of which TFP has no CDF. Elements that depend on each other, as of a
    `MultivariateNormalTriL`, have each their own: that of the marginal.

    Args:
      distribution: of batch `[*batch]` and event `[*event]`, or a head's output.
      y: one number for all, or numbers `[..., *batch, *event]`; it is never broadcast otherwise.

    Returns:
      Probabilities `[..., *batch, *event]`, in the dtype of the distribution's parameters.

    Raises:
      TypeError: if `distribution` is none.
      ValueError: if `y` is of another shape (both are named).
      NotImplementedError: if the elements have no distribution by themselves that TFP knows, as in a `VonMisesFisher`.

    Example:
      >>> head = nllfit.heads.Poisson()
      >>> nllfit.cdf(head(tf.constant([[0.0]])), 1).numpy().round(4)  # exp(-1) + exp(-1)
      array([[0.7358]], dtype=float32)
    """
    return _probabilities(distribution, y)[0]


def survival(distribution: tfd.Distribution, y: ArrayLike) -> tf.Tensor:
    """The probability `P(Y > y)` of each element of an outcome: that a threshold is exceeded.

    It is `1 - cdf(distribution, y)`, with digits where that is 0. Arguments, result and errors are those of `cdf`.

    Example:
      >>> nllfit.survival(tfd.Normal([0.0], 1.0), 10.0).numpy() * 1e24
      array([7.619...], dtype=float32)
    """
    return _probabilities(distribution, y)[1]


@tf.autograph.experimental.do_not_convert  # AutoGraph would take a second to write what is under it anew
def quantile(distribution: tfd.Distribution, q: ArrayLike) -> tf.Tensor:
    """The quantiles of each element of an outcome: the least number `y` with `P(Y <= y) >= q`.

    It works on all that `cdf` works on. Where TFP has no formula it inverts the CDF by bisection, over all numbers of
    the dtype in their order, so that no scale or starting point matters; for counts the result is a count.

    Args:
      distribution: of batch `[*batch]` and event `[*event]`, or a head's output.
      q: a probability, or several, `[num]`, each between 0 and 1 and neither of the two.

    Returns:
      `[*batch, *event]`, or `[num, *batch, *event]` as `np.quantile` has it, in the unit of the outcome. It is no
      function to differentiate.

    Raises:
      TypeError: if `distribution` is none.
      ValueError: if `q` is no probability or list of them, or is 0 or 1.
      NotImplementedError: as `cdf`.

    Example:
      >>> head = nllfit.heads.Mixture("Normal", 2)
      >>> nllfit.quantile(head(tf.constant([[0.0, 0.0, -9.0, 0.5, 9.0, 0.5]])), 0.75).numpy().round(4)
      array([[9.]], dtype=float32)
    """
    distribution = as_distribution(distribution, "`distribution`")
    levels = np.asarray(q)
    levels = levels.astype(np.float64) if levels.dtype.kind in "iuf" else np.array(np.nan)
    if levels.ndim > 1 or not np.all((levels > 0) & (levels < 1)):
        raise ValueError(f"`q` is {q!r}: give a probability above 0 and below 1, or a list of them.")
    elements = elements_of(distribution)
    found = elements.quantile(levels.reshape([*levels.shape, *[1] * elements.distribution.batch_shape.rank]))
    return tf.cast(found, real_dtype(distribution))


def interval(distribution: tfd.Distribution, level: float = 0.9) -> tuple[tf.Tensor, tf.Tensor]:
    """The central interval of each element of an outcome: the quantiles `(1 - level) / 2` and `(1 + level) / 2`.

    Args:
      distribution: of batch `[*batch]` and event `[*event]`, or a head's output.
      level: the probability that an outcome is inside, between 0 and 1; for counts it is at least that.

    Returns:
      The lower and the upper end, each `[*batch, *event]` in the unit of the outcome.

    Raises:
      TypeError, ValueError, NotImplementedError: as `quantile`.

    Example:
      >>> low, high = nllfit.interval(tfd.Normal([0.0, 10.0], 1.0), 0.95)
      >>> low.numpy().round(2), high.numpy().round(2)
      (array([-1.96,  8.04], dtype=float32), array([ 1.96, 11.96], dtype=float32))
    """
    if not (np.ndim(level) == 0 and np.asarray(level).dtype.kind in "iuf" and 0 < level < 1):
        raise ValueError(f"`level` is {level!r}: give a number between 0 and 1, such as 0.9.")
    ends = quantile(distribution, [(1 - level) / 2, (1 + level) / 2])
    return ends[0], ends[1]  # in a graph, too, where a tensor is not unpacked


def _probabilities(distribution, y):
    distribution = law_of(as_distribution(distribution, "`distribution`")).latent()
    elements = elements_of(distribution)
    dtype = real_dtype(elements.distribution)
    y = _normal_numbers(tf.cast(as_numbers("y", y, dtype), dtype))
    expected = distribution.batch_shape.concatenate(distribution.event_shape)
    rank = y.shape.rank
    if rank != 0 and not y.shape[max(0, rank - expected.rank) :].is_compatible_with(expected):
        raise ValueError(
            f"`y` has shape {tuple(y.shape)}, but the distribution's outcomes have shape {tuple(expected)}: give one "
            f"number for all, or outcomes of that shape."
        )
    return [tf.cast(part, real_dtype(distribution)) for part in elements.cdf()(y)]


def _normal_numbers(y):
    """Numbers in which the smallest normal one stands for those below it, which TensorFlow's arithmetic takes for 0."""
    if y.dtype != tf.float64:
        return y
    bits = tf.bitcast(y, tf.int64)
    size = bits & np.iinfo(np.int64).max
    tiny = tf.constant(np.finfo(np.float64).tiny, tf.float64)
    subnormal = (size > 0) & (size < tf.bitcast(tiny, tf.int64))
    return tf.where(subnormal, tf.where(bits < 0, -tiny, tiny), y)
