"""The private names of TensorFlow Probability that `nllfit` uses, and what breaks without each."""

from typing import Any

import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd
from tensorflow_probability.python.distributions.distribution import DiscreteDistributionMixin
from tensorflow_probability.python.layers import distribution_layer, util

__all__ = ["CODE_LOADERS", "DISCRETE", "forget_graph", "is_increasing", "made_by_head", "set_dtype"]

DISCRETE: type = DiscreteDistributionMixin
"""The base class of TFP's distributions of counts and labels.

Without it, a distribution of counts with a floating-point dtype would be treated as continuous.
"""

CODE_LOADERS = ((distribution_layer, "_deserialize_function"), (util, "_func_load"))
"""TFP's functions that run code from a model file, as pairs of a module and a name.

`nllfit.safety` replaces these functions to enforce Keras's safe mode. Otherwise a file that contains a TFP layer could
run code in safe mode.
"""


def is_increasing(bijector: tfb.Bijector) -> Any:
    """Returns whether a bijector of numbers increases, as a bool or a tensor of bools.

    Only TFP's private method `_internal_is_increasing` gives this answer. The CDF of an ensemble of flows needs it.
    """
    return bijector._internal_is_increasing()


def made_by_head(distribution: Any) -> tfd.Distribution:
    """Returns the distribution that a tf_keras head made, without TFP's wrapper.

    TFP wraps the distribution so that Keras can convert it to a tensor. The wrapper's attribute `tensor_distribution`
    is the distribution. We need it because `law_of` chooses formulas by the class of the distribution, and the wrapper
    has a class of its own.
    """
    return getattr(distribution, "tensor_distribution", distribution)


def set_dtype(distribution: tfd.Distribution, dtype: tf.DType) -> None:
    """Sets a distribution's dtype.

    TFP stores the dtype in the attribute `_dtype`. tf_keras casts sample weights to this dtype. The integer dtype of a
    distribution of labels would truncate the weights.
    """
    distribution._dtype = dtype


def forget_graph(graph: Any = None) -> None:
    """Makes TFP's bijectors forget the tensors of a graph.

    By default, this is the graph that is being traced; in eager mode there is none, and the function does nothing.

    A bijector keeps the input of each result until the result is freed. The input keeps the graph, and the graph keeps
    the result. Without this function, no graph would ever be freed. A bijector keeps the inputs in
    `Bijector._cache.storage`.
    """
    if graph is None and tf.executing_eagerly():
        return
    graph = tf.compat.v1.get_default_graph() if graph is None else graph
    storage = tfb.Bijector._cache.storage
    for key in list(storage):
        if any(_is_within(graph, getattr(tensor, "graph", None)) for tensor in tf.nest.flatten(key())):
            storage.pop(key, None)


def _is_within(graph, inner):
    """Whether the graph `inner` is `graph` or is nested in `graph`. A branch of a `tf.cond` is a nested graph."""
    while inner not in (graph, None):
        inner = getattr(inner, "outer_graph", None)
    return inner is graph
