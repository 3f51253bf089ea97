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
"""The base class of TFP's distributions of counts and labels; without it, counts in floats pass for real numbers."""

CODE_LOADERS = ((distribution_layer, "_deserialize_function"), (util, "_func_load"))
"""TFP's functions that run code from a model file, which `nllfit.safety` replaces to enforce Keras's safe mode.

Without these names, a file with a layer of TFP can run code in safe mode.
"""


def call_with_captures(function: Any, tensors: Sequence[tf.Tensor], captured: Sequence[tf.Tensor]) -> Any:
    """Calls a concrete function with the variables `captured` in place of those that its trace captured.

    Without `_call_flat`, models of one architecture cannot share a program, and each model is traced and compiled
    separately.
    """
    return function._call_flat(list(tensors), list(captured))


_TRACING = threading.RLock()


def trace(function: Any, *specs: Any) -> Any:
    """`function.get_concrete_function(*specs)`, in one thread at a time.

    Some functions of TFP, such as `lbeta`, are `tf.function`s, which TensorFlow traces once in a process. When another
    trace first needs their derivatives, TensorFlow adds these. If two threads do this at the same time, it fails.
    """
    with _TRACING:
        traced = function.get_concrete_function(*specs)
    _forget(traced.graph)
    return traced


def clear_kernel_cache() -> None:
    """Drops the kernels of TensorFlow's eager operations, as both Keras versions do in `clear_session`.

    Without `clear_kernel_cache`, memory grows by 35 KiB with each variable that has a new name.
    """
    context.context().clear_kernel_cache()


def seen_by_autograph(function: Callable) -> Callable:
    """The function, marked as already converted by AutoGraph; AutoGraph still converts the functions that it calls.

    Without `autograph_info__`, AutoGraph also converts the function itself, and a trace takes longer. The public
    `do_not_convert` is no alternative, because AutoGraph would not convert the user's code that the function calls.
    """
    function.autograph_info__ = {}  # type: ignore[attr-defined]
    return function


def untouched(error: Exception) -> Exception:
    """The error, marked so that AutoGraph does not change it; without `ag_pass_through`, its message gets longer."""
    error.ag_pass_through = True  # type: ignore[attr-defined]
    return error


def as_raised(error: BaseException) -> BaseException:
    """The error marked by `untouched`, if Keras or AutoGraph raised `error` while handling it; else `error` itself."""
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
    """The distribution inside the output of a tf_keras head, which TFP wraps so that Keras can convert it to a tensor.

    Without `tensor_distribution`, the `origin` of the distribution, its family and parameters, is not found.
    """
    return getattr(distribution, "tensor_distribution", distribution)


def set_dtype(distribution: tfd.Distribution, dtype: tf.DType) -> None:
    """Changes a distribution's dtype; without `_dtype`, tf_keras casts sample weights to the labels' integer dtype."""
    distribution._dtype = dtype


def forget_graph() -> None:
    """Makes TFP's bijectors forget the tensors of the graph that is being traced, if there is one.

    A bijector keeps the input of each result until the result is freed. The input keeps the graph, which keeps the
    result, so without `Bijector._cache.storage` no graph is ever freed.
    """
    if not tf.executing_eagerly():
        _forget(tf.compat.v1.get_default_graph())


def _forget(graph):
    storage = tfb.Bijector._cache.storage
    for key in list(storage):
        if any(_is_within(graph, getattr(tensor, "graph", None)) for tensor in tf.nest.flatten(key())):
            storage.pop(key, None)


def _is_within(graph, inner):
    """Whether the graph `inner` is `graph`, or is nested in it, like the graph of a branch of a `tf.cond`."""
    while inner not in (graph, None):
        inner = getattr(inner, "outer_graph", None)
    return inner is graph
