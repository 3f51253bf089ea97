"""Checks the arguments `as_tensor` and `activity_regularizer` of heads, and defines the base class of regularizers."""

import abc
from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.families.family_base import ParametricFamily

__all__ = ["HeadRegularizer", "as_tensor_of", "check_differentiable", "example_of", "regularizer_of"]

_AS_TENSOR = ("mean", "sample")


class HeadRegularizer(abc.ABC):
    """The base class of regularizers of heads. A regularizer computes a number from the distribution of a head.

    The head adds this number to the loss once for each batch. A regularizer has no state, so several heads may share
    it. Each head stores the number of training steps, and the vector to learn for the regularizer.

    Attributes:
      layers: the Keras layers that the regularizer calls. The head tracks them.
      num_learned: the length of the vector that each head learns for the regularizer.
      counts_steps: whether `term` depends on the number of training steps so far.
    """

    layers: tuple[Any, ...] = ()
    num_learned: int = 0
    counts_steps: bool = False

    @abc.abstractmethod
    def check(self, family: ParametricFamily, is_sampled: bool) -> None:
        """Raises a `ValueError` if the regularizer cannot be used in a head of this family.

        `is_sampled` is True if the head has `as_tensor="sample"`.
        """

    @abc.abstractmethod
    def build(self) -> None:
        """Creates the variables of `layers`."""

    @abc.abstractmethod
    def term(
        self,
        distribution: tfd.Distribution,
        mask: tf.Tensor | None,
        seed: Any,
        learned: tf.Tensor | None,
        step: tf.Tensor | None,
    ) -> tf.Tensor:
        """Returns the number that the head adds to the loss of a batch.

        Args:
          distribution: the head's distribution, of batch `[B, ...]`.
          mask: Keras's mask `[B, ...]`, which is False for the rows to ignore. None if no row is ignored.
          seed: a stateless seed `[2]` for draws by the regularizer.
          learned: the learned vector `[num_learned]`, or None.
          step: the number of training steps so far, or None.
        """


def as_tensor_of(as_tensor: Any, family: ParametricFamily) -> str:
    """Checks the argument `as_tensor` of a head and returns it.

    Raises:
      ValueError: if `as_tensor` is neither "mean" nor "sample", or is "sample" and the family's draws have no gradient.
    """
    if not isinstance(as_tensor, str) or as_tensor not in _AS_TENSOR:
        raise ValueError(f'`as_tensor` is {as_tensor!r}: give "mean", or "sample" for one draw.')
    if as_tensor == "sample":
        check_differentiable(family, '`as_tensor="sample"`')
    return as_tensor


def regularizer_of(regularizer: Any, family: ParametricFamily, is_sampled: bool) -> HeadRegularizer | None:
    """Checks the argument `activity_regularizer` of a head and returns it.

    Raises a `ValueError` if the head cannot use it.
    """
    if regularizer is None:
        return None
    if not isinstance(regularizer, HeadRegularizer):
        raise ValueError(
            f"`activity_regularizer` is {regularizer!r}, but that of a head is a function of its distribution: give "
            f"`nllfit.KLDivergence(prior)`, or regularize the layer before the head."
        )
    regularizer.check(family, is_sampled)
    return regularizer


def check_differentiable(family: ParametricFamily, argument: str) -> None:
    """Raises a `ValueError` if TFP's draws of a family have no gradient with respect to its parameters."""
    if example_of(family).reparameterization_type == tfd.FULLY_REPARAMETERIZED:
        return
    advice = "use a continuous family that TFP reparameterizes, such as Normal, Beta or Gamma"
    if family.is_discrete:
        advice = (
            "use a relaxed family, which TFP reparameterizes: RelaxedBernoulli for 0 and 1, RelaxedOneHotCategorical "
            'for classes, as in `DistributionHead("RelaxedOneHotCategorical", num_classes, temperature=0.5)`'
        )
    raise ValueError(
        f"{argument} needs draws through which a gradient flows, and those of {family.name} have none: {advice}."
    )


def example_of(family: ParametricFamily) -> tfd.Distribution:
    """Builds the family's distribution of batch shape `[1]` for a parameter vector of zeros, without assertions."""
    with tf.init_scope():
        shared = tf.zeros([family.shared_size]) if family.shared else None
        return family.holding({"validate_args": False}).distribution(tf.zeros([1, family.params_size]), shared)
