"""The private names of TensorFlow and TensorFlow Probability that `nllfit` uses, and what breaks without each."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python.eager import context
from tensorflow.python.framework.config import is_op_determinism_enabled  # TensorFlow makes only the setter public
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd
from tensorflow_probability.python.distributions.distribution import DiscreteDistributionMixin
from tensorflow_probability.python.layers import distribution_layer, util

__all__ = [
    "CODE_LOADERS",
    "DISCRETE",
    "as_raised",
    "call_with_captures",
    "clear_kernel_cache",
    "forget_graph",
    "is_op_determinism_enabled",
    "made_by_head",
    "mask_of",
    "seen_by_autograph",
    "set_dtype",
    "trace",
    "untouched",
    "with_mask",
]

DISCRETE: type = DiscreteDistributionMixin
"""The base of TFP's counts and labels; without it, a count whose dtype is a float is treated as a real number."""

CODE_LOADERS = ((distribution_layer, "_deserialize_function"), (util, "_func_load"))
"""Functions that run code of a file; without them, Keras's safe mode does not hold for TFP's layers."""


def call_with_captures(function: Any, tensors: Sequence[tf.Tensor], captured: Sequence[tf.Tensor]) -> Any:
    """Calls a concrete function with other variables than those of its trace.

    Without `_call_flat`, models of one architecture cannot share a program, and each model is traced and compiled
    separately.
    """
    return function._call_flat(list(tensors), list(captured))


_TRACING = threading.RLock()


def trace(function: Any, *specs: Any) -> Any:
    """`function.get_concrete_function(*specs)`, in one thread at a time.

    TFP's `lbeta` and other functions are themselves `tf.function`s, traced once in a process. TensorFlow adds the
    derivatives to them when another trace first differentiates them, and fails if two threads do so at the same time.
    """
    with _TRACING:
        traced = function.get_concrete_function(*specs)
    _forget(traced.graph)
    return traced


def clear_kernel_cache() -> None:
    """Drops the kernels of TensorFlow's eager operations, as both Keras versions do in `clear_session`.

    Without it, memory grows by 35 KiB with each variable that has a new name.
    """
    context.context().clear_kernel_cache()


def seen_by_autograph(function: Callable) -> Callable:
    """The function, marked as already converted by AutoGraph; AutoGraph still converts the functions that it calls.

    Without `autograph_info__`, AutoGraph converts the function itself, and a trace takes longer. The public
    `do_not_convert` would also leave out the user's code that the function calls.
    """
    function.autograph_info__ = {}  # type: ignore[attr-defined]
    return function


def untouched(error: Exception) -> Exception:
    """An error to which AutoGraph adds no lines; without `ag_pass_through` its lines surround our message."""
    error.ag_pass_through = True  # type: ignore[attr-defined]
    return error


def as_raised(error: BaseException) -> BaseException:
    """The `untouched` error inside the errors that Keras and AutoGraph wrapped around it, or else the error itself."""
    found: BaseException | None = error
    while found is not None and not getattr(found, "ag_pass_through", False):
        found = found.__context__
    return found or error


def mask_of(output: Any) -> tf.Tensor | None:
    """Keras's mask of an output, True where an element counts; None if all count.

    Both Keras versions attach the mask to a TensorFlow tensor. Without `_keras_mask`, masked steps silently count.
    """
    return getattr(output, "_keras_mask", None)


def with_mask(output: Any, mask: tf.Tensor | None) -> Any:
    """The output or distribution, with a mask attached if there is one."""
    if mask is not None:
        output._keras_mask = mask
    return output


def made_by_head(distribution: Any) -> tfd.Distribution:
    """The distribution that a head of tf_keras made, without TFP's wrapper, which Keras can convert to a tensor.

    Without `tensor_distribution`, the wrapper does not show what the distribution was made of.
    """
    return getattr(distribution, "tensor_distribution", distribution)


def set_dtype(distribution: tfd.Distribution, dtype: tf.DType) -> None:
    """Changes the dtype that a distribution reports; without `_dtype`, tf_keras casts weights to the labels' dtype."""
    distribution._dtype = dtype


def forget_graph() -> None:
    """Makes TFP's bijectors forget the graph that is being traced, if there is one.

    A bijector caches the input of each result as long as the result exists. A graph holds both, so without
    `Bijector._cache.storage` no graph would ever be freed.
    """
    if not tf.executing_eagerly():
        _forget(tf.compat.v1.get_default_graph())


def _forget(graph):
    storage = tfb.Bijector._cache.storage
    for key in list(storage):
        if any(_is_within(graph, getattr(tensor, "graph", None)) for tensor in tf.nest.flatten(key())):
            storage.pop(key, None)


def _is_within(graph, inner):
    """Whether a graph is `inner`, or the graph of a branch inside it."""
    while inner not in (graph, None):
        inner = getattr(inner, "outer_graph", None)
    return inner is graph
