"""The private names of TensorFlow and TensorFlow Probability that `nllfit` uses, and what breaks without each."""

import itertools
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
    "is_increasing",
    "is_op_determinism_enabled",
    "made_by_head",
    "mask_of",
    "operations_of",
    "reason_of",
    "seen_by_autograph",
    "set_dtype",
    "trace",
    "untouched",
    "with_mask",
]

DISCRETE: type = DiscreteDistributionMixin
"""The base class of TFP's distributions of counts and labels.

Without it, a distribution of counts with a floating-point dtype would be treated as continuous.
"""

CODE_LOADERS = ((distribution_layer, "_deserialize_function"), (util, "_func_load"))
"""TFP's functions that run code from a model file, as pairs of a module and a name.

`nllfit.safety` replaces these functions to enforce Keras's safe mode. Otherwise a file that contains a TFP layer could
run code in safe mode.
"""


def call_with_captures(function: Any, tensors: Sequence[tf.Tensor], captured: Sequence[tf.Tensor]) -> Any:
    """Calls a concrete function with the handles `captured` in place of those that the function captured in its trace.

    Without `_call_flat`, models of one architecture cannot share a program, and each model is traced and compiled
    separately.
    """
    return function._call_flat(list(tensors), list(captured))


_TRACING = threading.RLock()


def trace(function: Any, *specs: Any) -> Any:
    """Returns `function.get_concrete_function(*specs)`. A lock lets only one thread trace at a time.

    Some functions of TFP, such as `lbeta`, are `tf.function`s, which TensorFlow traces once in a process. TensorFlow
    adds their derivatives when another trace first needs them. TensorFlow fails if two threads add them at once. After
    the trace, TFP's bijectors forget the traced tensors, as in `forget_graph`.
    """
    with _TRACING:
        traced = function.get_concrete_function(*specs)
    _forget(traced.graph)
    return traced


def operations_of(function: Any) -> set[str]:
    """Returns the types of operations in a concrete function and in the functions that it calls."""
    graph = function.graph.as_graph_def()
    nodes = [graph.node, *(inner.node_def for inner in graph.library.function)]
    return {node.op for node in itertools.chain(*nodes)}


def clear_kernel_cache() -> None:
    """Drops the kernels of TensorFlow's eager operations. `clear_session` of both Keras versions does the same.

    Without `clear_kernel_cache`, each variable with a new name takes 35 KiB that are never freed.
    """
    context.context().clear_kernel_cache()


def seen_by_autograph(function: Callable) -> Callable:
    """Marks a function as already converted by AutoGraph, and returns it.

    AutoGraph still converts the functions that `function` calls. Without `autograph_info__`, AutoGraph also converts
    `function` itself, and a trace takes longer. The public `do_not_convert` is no alternative, because AutoGraph would
    then not convert the user's code that `function` calls.
    """
    function.autograph_info__ = {}  # type: ignore[attr-defined]
    return function


def untouched(error: Exception) -> Exception:
    """Marks an error so that AutoGraph does not change it, and returns it.

    Without `ag_pass_through`, AutoGraph adds a traceback to the message.
    """
    error.ag_pass_through = True  # type: ignore[attr-defined]
    return error


def as_raised(error: BaseException) -> BaseException:
    """Finds the error that `untouched` marked, in case Keras or AutoGraph raised another error while handling it.

    Returns the first marked error among `error` and its contexts, or `error` if none of them is marked.
    """
    current: BaseException | None = error
    while current is not None and not getattr(current, "ag_pass_through", False):
        current = current.__context__
    return current or error


def reason_of(error: tf.errors.OpError) -> str:
    """Returns the reason in TensorFlow's message, without the names of operations and stack frames.

    The function relies on the layout of the message, which differs between an eager operation and a graph. If
    TensorFlow changes the layout, the reason gets longer.
    """
    text = error.message.partition("\n\t [[")[0].partition("\n\nStack trace")[0]
    text = text.rpartition("}} ")[2].partition(" [Op:")[0].strip()
    return (text or type(error).__name__).rpartition("\n")[2].rstrip(".")


def is_increasing(bijector: tfb.Bijector) -> Any:
    """Returns whether a bijector of numbers increases, as a bool or a tensor of bools.

    Without `_internal_is_increasing`, the components of an ensemble of flows have no CDF.
    """
    return bijector._internal_is_increasing()


def mask_of(output: Any) -> tf.Tensor | None:
    """Returns Keras's mask of an output, or None if the output has no mask. The mask is True where an element counts.

    Both Keras versions attach the mask to a TensorFlow tensor. Without `_keras_mask`, the loss would silently include
    masked elements.
    """
    return getattr(output, "_keras_mask", None)


def with_mask(output: Any, mask: tf.Tensor | None) -> Any:
    """Attaches a mask, if there is one, to an output or a distribution, and returns the output."""
    if mask is not None:
        output._keras_mask = mask
    return output


def made_by_head(distribution: Any) -> tfd.Distribution:
    """Returns the distribution that a tf_keras head made, without TFP's wrapper.

    TFP wraps the distribution so that Keras can convert it to a tensor. The wrapper lacks `origin`, the attribute
    that contains the family and the parameters. Without `tensor_distribution`, we cannot read `origin`.
    """
    return getattr(distribution, "tensor_distribution", distribution)


def set_dtype(distribution: tfd.Distribution, dtype: tf.DType) -> None:
    """Sets a distribution's dtype. Without `_dtype`, tf_keras casts sample weights to the integer dtype of labels."""
    distribution._dtype = dtype


def forget_graph() -> None:
    """Makes TFP's bijectors forget the tensors of the graph that is being traced. In eager mode it does nothing.

    A bijector keeps the input of each result until the result is freed. The input keeps the graph, and the graph keeps
    the result. Without this function, no graph would ever be freed. A bijector keeps the inputs in
    `Bijector._cache.storage`.
    """
    if not tf.executing_eagerly():
        _forget(tf.compat.v1.get_default_graph())


def _forget(graph):
    storage = tfb.Bijector._cache.storage
    for key in list(storage):
        if any(_is_within(graph, getattr(tensor, "graph", None)) for tensor in tf.nest.flatten(key())):
            storage.pop(key, None)


def _is_within(graph, inner):
    """Whether the graph `inner` is `graph` or is nested in `graph`. A branch of a `tf.cond` is a nested graph."""
    while inner not in (graph, None):
        inner = getattr(inner, "outer_graph", None)
    return inner is graph
