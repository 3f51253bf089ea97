"""Probabilities, quantiles and modes of a head's output or any other distribution."""

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike
from tensorflow_probability import distributions as tfd

from nllfit.families.arguments import as_numbers
from nllfit.families.copies import real_dtype
from nllfit.families.law import elements_of, law_of
from nllfit.head_outputs import as_distribution

__all__ = ["cdf", "interval", "mode", "quantile", "survival"]


def cdf(distribution: tfd.Distribution, y: ArrayLike) -> tf.Tensor:
    """The probability `P(Y <= y)` of each element of an outcome.

    `cdf` accepts the output of a head in Keras 2 or Keras 3, and any `tfd.Distribution` of numbers. It returns
    one probability for each element, while TFP's own `Independent.cdf` returns the joint probability of all elements.
    If elements depend on each other, as in a `MultivariateNormalTriL`, each element has the CDF of its marginal
    distribution. If outcomes are censored (`Censored`), or truncated by a window that differs between rows
    (`Truncated`), the CDF is that of the number before censoring or truncation.

    Args:
      distribution: a distribution of batch `[*batch]` and event `[*event]`, or a head's output.
      y: one number for all elements, or numbers `[..., *batch, *event]`. Other shapes are not broadcast.

    Returns:
      Probabilities `[..., *batch, *event]`, in the dtype of the distribution's parameters.

    Raises:
      TypeError: if `distribution` is not a distribution.
      ValueError: if `y` is not numeric or has none of the shapes above.
      NotImplementedError: if TFP has no marginal distribution of the elements, as for a `VonMisesFisher`; or for
        a mixture over angles, because the CDF of each component starts at another point of the circle.

    Example:
      >>> head = nllfit.heads.Poisson()
      >>> nllfit.cdf(head(tf.constant([[0.0]])), 1).numpy().round(4)  # exp(-1) + exp(-1)
      array([[0.7358]], dtype=float32)
    """
    return _probabilities(distribution, y)[0]


def survival(distribution: tfd.Distribution, y: ArrayLike) -> tf.Tensor:
    """The probability `P(Y > y)` of each element of an outcome.

    It equals `1 - cdf(distribution, y)`, but stays accurate in the upper tail, where the difference would round to 0.
    Arguments, the shape of the result and errors are those of `cdf`. For a survival curve, call `survival` once for
    each point of time.

    Example:
      >>> nllfit.survival(tfd.Normal([0.0], 1.0), 10.0).numpy() * 1e24
      array([7.619...], dtype=float32)
      >>> d = tfd.Exponential([0.5, 0.2])  # two rows
      >>> np.stack([nllfit.survival(d, t) for t in (1.0, 3.0)]).round(3)  # their curves, one column for each row
      array([[0.607, 0.819],
             [0.223, 0.549]], dtype=float32)
    """
    return _probabilities(distribution, y)[1]


@tf.autograph.experimental.do_not_convert  # AutoGraph would take a second to convert the functions called here
def quantile(distribution: tfd.Distribution, q: ArrayLike) -> tf.Tensor:
    """The quantiles of each element of an outcome: the smallest number `y` with `P(Y <= y) >= q`.

    `quantile` accepts the same distributions as `cdf`. If TFP has no formula, the CDF is inverted by Chandrupatla's
    method over the ordered list of all numbers of the dtype, so no starting point and no scale are needed. For counts
    the result is a count.

    Args:
      distribution: a distribution of batch `[*batch]` and event `[*event]`, or a head's output.
      q: a probability, or several `[num]`, each above 0 and below 1; not a symbolic tensor in a `tf.function`.

    Returns:
      Quantiles `[*batch, *event]`, or `[num, *batch, *event]` for several probabilities, in the unit of the outcome.
      They have no gradient.

    Raises:
      TypeError: if `distribution` is not a distribution.
      ValueError: if `q` is neither a probability above 0 and below 1 nor a list of them.
      NotImplementedError: in the cases in which `cdf` raises it.

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
    quantiles = elements.quantile(levels.reshape([*levels.shape, *[1] * elements.distribution.batch_shape.rank]))
    return tf.stop_gradient(tf.cast(quantiles, real_dtype(distribution)))


def interval(distribution: tfd.Distribution, level: float = 0.9) -> tuple[tf.Tensor, tf.Tensor]:
    """The central interval of each element of an outcome: the quantiles `(1 - level) / 2` and `(1 + level) / 2`.

    Args:
      distribution: a distribution of batch `[*batch]` and event `[*event]`, or a head's output.
      level: the probability that an outcome is inside the interval. It is a number between 0 and 1. For counts, it is a
        lower bound of the probability.

    Returns:
      The lower and the upper end, each `[*batch, *event]`, in the unit of the outcome.

    Raises:
      ValueError: if `level` is not a number between 0 and 1.
      TypeError, NotImplementedError: in the cases in which `quantile` raises them.

    Example:
      >>> low, high = nllfit.interval(tfd.Normal([0.0, 10.0], 1.0), 0.95)
      >>> low.numpy().round(2), high.numpy().round(2)
      (array([-1.96,  8.04], dtype=float32), array([ 1.96, 11.96], dtype=float32))
    """
    distribution = as_distribution(distribution, "`distribution`")
    if not (np.ndim(level) == 0 and np.asarray(level).dtype.kind in "iuf" and 0 < level < 1):
        raise ValueError(f"`level` is {level!r}: give a number between 0 and 1, such as 0.9.")
    ends = quantile(distribution, [(1 - level) / 2, (1 + level) / 2])
    return ends[0], ends[1]  # indexed, because a tensor in a graph cannot be iterated over


@tf.autograph.experimental.do_not_convert
def mode(distribution: tfd.Distribution) -> tf.Tensor:
    """The most likely outcome: the number with the highest density, or the count with the highest probability.

    If TFP has no formula, for example for mixtures, the density is searched on a grid of quantiles of each component,
    and its eight highest local maxima are refined. A mode that is a count is exact. A mode that is a real number has
    at most about 8 correct digits, because a density is flat at its maximum. The mode may be a narrow peak that
    contains little probability. If the density is infinite at an end of the support, the mode is that end.

    - If the elements of an outcome are independent, each element has its own mode.
    - The mode of class labels is the most likely class.
    - If 0 has a positive probability and other outcomes have a density, as under `ZeroInflated("Gamma")`, the mode is
      0. If several numbers have a positive probability, the mode is the most probable of them.
    - If outcomes are censored (`Censored`), or truncated by a window that differs between rows (`Truncated`), the mode
      is the mode of the number before censoring or truncation.

    Args:
      distribution: a distribution of batch `[*batch]` and event `[*event]`, or a head's output.

    Returns:
      Outcomes `[*batch, *event]` in the distribution's dtype. They have no gradient. If several outcomes are equally
      likely, the mode is one of them. If a parameter is NaN, the mode is NaN (but a class label is arbitrary).

    Raises:
      TypeError: if `distribution` is not a distribution.
      NotImplementedError: if the elements of an outcome depend on each other and TFP has no mode, as for a mixture of
        vectors; and in the cases in which `quantile` raises it.

    Example:
      >>> wide_and_narrow = tfd.MixtureSameFamily(tfd.Categorical(probs=[0.6, 0.4]), tfd.Normal([0.0, 9.0], [2.0, 1.0]))
      >>> print(nllfit.mode(wide_and_narrow).numpy().round(3), wide_and_narrow.mean().numpy().round(3))
      9.0 3.6
    """
    law = law_of(law_of(as_distribution(distribution, "`distribution`")).latent())
    return tf.stop_gradient(law.mode())


def _probabilities(distribution, y):
    distribution = law_of(as_distribution(distribution, "`distribution`")).latent()
    elements = elements_of(distribution)
    dtype = real_dtype(elements.distribution)
    y = _without_subnormals(tf.cast(as_numbers("y", y, dtype), dtype))
    expected = distribution.batch_shape.concatenate(distribution.event_shape)
    rank = y.shape.rank
    if rank != 0 and not y.shape[max(0, rank - expected.rank) :].is_compatible_with(expected):
        raise ValueError(
            f"`y` has shape {tuple(y.shape)}, but the distribution's outcomes have shape {tuple(expected)}: give one "
            f"number for all, or outcomes of that shape."
        )
    return [tf.cast(part, real_dtype(distribution)) for part in elements.cdf()(y)]


def _without_subnormals(y):
    """Replaces subnormal numbers by the smallest normal number of their sign. TensorFlow would flush them to 0."""
    if y.dtype != tf.float64:
        return y
    bits = tf.bitcast(y, tf.int64)
    size = bits & np.iinfo(np.int64).max
    tiny = tf.constant(np.finfo(np.float64).tiny, tf.float64)
    subnormal = (size > 0) & (size < tf.bitcast(tiny, tf.int64))
    return tf.where(subnormal, tf.where(bits < 0, -tiny, tiny), y)
