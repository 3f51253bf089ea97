"""The Keras losses that are negative log-likelihoods of heads, and the Keras regularizers that are priors.

For each of these losses there are a factor and an offset, which do not depend on the prediction, such that

    negative_log_likelihood = factor * keras_loss + offset

so the two losses have the same minimum, and their gradients are proportional. `EQUIVALENCES` contains one entry for
each loss. (For `Poisson()` the equation is only approximate, because Keras's loss is `rate - y log(rate + epsilon)`.)

Each of these regularizers is the negative log-density of a prior, except for a factor and a constant:

    n * regularizer = -log prior + constant

where `n` is the number of rows of data. `PRIORS` contains one entry for each regularizer. If the loss is the mean
negative log-likelihood of the rows plus the regularizer, `fit` and `fit_lbfgs` search for the maximum of the posterior,
and `standard_errors` computes the Laplace approximation of the posterior.

The weight decay of `AdamW` is not a prior, because it changes the step and not the loss. When AdamW has converged, the
mean gradient is `-decay * w * (sqrt(v) + epsilon)`, where `v` is the mean square of the batch gradients. If a batch
contains all rows, `sqrt(v)` is `abs(g)`, where `g` is the mean gradient, so `abs(g) = decay * abs(w) * (abs(g) +
epsilon)`. If `decay * abs(w)` is well below 1, then `g` is almost 0, because `epsilon` is tiny: AdamW finds the maximum
of the likelihood. With smaller batches `v` stays positive, so the decay shrinks the weights.
"""

import dataclasses
import math
from collections.abc import Callable

import tensorflow as tf
import tf_keras
from tensorflow_probability import distributions as tfd

from nllfit import heads

__all__ = ["EQUIVALENCES", "PRIORS", "Equivalence", "PriorEquivalence", "priors_table", "table"]


@dataclasses.dataclass(frozen=True)
class Equivalence:
    """A Keras loss, and the head that gives the same loss except for a factor and an offset.

    D is the size of one outcome, or the number of classes, and s is the fixed scale of the head.

    Attributes:
      loss: the loss as text.
      keras_loss: a function `(keras=tf_keras)` that returns the Keras loss. The Keras loss maps `y` and `link(u)` to
        losses `[B]` for `B` outcomes. Each of these losses is a mean over the elements of an outcome, unless the
        outcome is a class.
      head: a function `(D, s, heads=nllfit.heads)` that returns the head.
      link: maps the input `u` of the head to the prediction that the Keras loss takes.
      scale: a function `(D, s)` that returns the factor.
      offset: a function `(D, s, y)` that returns the offset in nats, a number or `[B]`.
      head_text, scale_text, offset_text: the head, the factor and the offset as text.
    """

    loss: str
    keras_loss: Callable
    head: Callable
    link: Callable
    scale: Callable
    offset: Callable
    head_text: str
    scale_text: str
    offset_text: str = "0"


def _no_offset(size, s, y):
    return 0.0


EQUIVALENCES = (
    Equivalence(
        loss="BinaryCrossentropy(from_logits=True)",
        keras_loss=lambda keras=tf_keras: keras.losses.BinaryCrossentropy(from_logits=True, reduction="none"),
        head=lambda size, s, heads=heads: heads.Bernoulli(size),
        link=tf.identity,
        scale=lambda size, s: size,
        offset=_no_offset,
        head_text="Bernoulli(D)",
        scale_text="D",
    ),
    Equivalence(
        loss="CategoricalCrossentropy(from_logits=True)",
        keras_loss=lambda keras=tf_keras: keras.losses.CategoricalCrossentropy(from_logits=True, reduction="none"),
        head=lambda size, s, heads=heads: heads.OneHotCategorical(size),
        link=tf.identity,
        scale=lambda size, s: 1,
        offset=_no_offset,
        head_text="OneHotCategorical(D)",
        scale_text="1",
    ),
    Equivalence(
        loss="SparseCategoricalCrossentropy(from_logits=True)",
        keras_loss=lambda keras=tf_keras: keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, reduction="none"
        ),
        head=lambda size, s, heads=heads: heads.Categorical(size),
        link=tf.identity,
        scale=lambda size, s: 1,
        offset=_no_offset,
        head_text="Categorical(D)",
        scale_text="1",
    ),
    Equivalence(
        loss="MeanSquaredError()",
        keras_loss=lambda keras=tf_keras: keras.losses.MeanSquaredError(reduction="none"),
        head=lambda size, s, heads=heads: heads.Normal(size, scale=s),
        link=tf.identity,
        scale=lambda size, s: size / (2 * s**2),
        offset=lambda size, s, y: size * math.log(2 * math.pi * s**2) / 2,
        head_text="Normal(D, scale=s)",
        scale_text="D / (2 s^2)",
        offset_text="D log(2 pi s^2) / 2",
    ),
    Equivalence(
        loss="MeanAbsoluteError()",
        keras_loss=lambda keras=tf_keras: keras.losses.MeanAbsoluteError(reduction="none"),
        head=lambda size, s, heads=heads: heads.Laplace(size, scale=s),
        link=tf.identity,
        scale=lambda size, s: size / s,
        offset=lambda size, s, y: size * math.log(2 * s),
        head_text="Laplace(D, scale=s)",
        scale_text="D / s",
        offset_text="D log(2 s)",
    ),
    Equivalence(
        loss="Poisson()",
        keras_loss=lambda keras=tf_keras: keras.losses.Poisson(reduction="none"),
        head=lambda size, s, heads=heads: heads.Poisson(size),
        link=tf.exp,
        scale=lambda size, s: size,
        offset=lambda size, s, y: tf.reduce_sum(tf.math.lgamma(y + 1), -1),
        head_text="Poisson(D)",
        scale_text="D",
        offset_text="sum log y!",
    ),
)


def table() -> str:
    """The entries of `EQUIVALENCES` as a Markdown table."""
    lines = ["| Keras loss | head | factor | offset (nats) |", "| --- | --- | --- | --- |"]
    lines += [f"| `{e.loss}` | `{e.head_text}` | {e.scale_text} | {e.offset_text} |" for e in EQUIVALENCES]
    return "\n".join(lines)


@dataclasses.dataclass(frozen=True)
class PriorEquivalence:
    """A Keras regularizer of a weight, and the prior to which the regularizer is equivalent if the data have `n` rows.

    Attributes:
      regularizer: the regularizer as text, with the factor `l`.
      keras_regularizer: a function `(factor, keras=tf_keras)` that returns the regularizer.
      prior: a function `(factor, n)` that returns the prior of a weight, a `tfd.Distribution`.
      factor: a function `(scale, n)` that returns the factor for a prior of this scale.
      prior_text, factor_text: the prior and the factor as text.
    """

    regularizer: str
    keras_regularizer: Callable
    prior: Callable
    factor: Callable
    prior_text: str
    factor_text: str


PRIORS = (
    PriorEquivalence(
        regularizer="L2(l)",
        keras_regularizer=lambda factor, keras=tf_keras: keras.regularizers.L2(factor),
        prior=lambda factor, n: tfd.Normal(tf.constant(0.0, tf.float64), 1 / math.sqrt(2 * n * factor)),
        factor=lambda scale, n: 1 / (2 * n * scale**2),
        prior_text="Normal(0, 1 / sqrt(2 n l))",
        factor_text="l = 1 / (2 n scale^2)",
    ),
    PriorEquivalence(
        regularizer="L1(l)",
        keras_regularizer=lambda factor, keras=tf_keras: keras.regularizers.L1(factor),
        prior=lambda factor, n: tfd.Laplace(tf.constant(0.0, tf.float64), 1 / (n * factor)),
        factor=lambda scale, n: 1 / (n * scale),
        prior_text="Laplace(0, 1 / (n l))",
        factor_text="l = 1 / (n scale)",
    ),
)


def priors_table() -> str:
    """The entries of `PRIORS` as a Markdown table."""
    lines = ["| Keras regularizer | prior of each weight | factor |", "| --- | --- | --- |"]
    lines += [f"| `{p.regularizer}` | `{p.prior_text}` | `{p.factor_text}` |" for p in PRIORS]
    return "\n".join(lines)
