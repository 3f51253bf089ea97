"""The private names of TensorFlow that `nllfit` uses, and what breaks without each."""

import itertools
import threading
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python.eager import context
from tensorflow.python.framework.config import is_op_determinism_enabled  # TensorFlow makes only the setter public

from nllfit.adapters.tensorflow_probability import forget_graph

__all__ = [
    "as_raised",
    "call_with_captures",
    "clear_kernel_cache",
    "is_op_determinism_enabled",
    "mask_of",
    "operations_of",
    "reason_of",
    "seen_by_autograph",
    "trace",
    "untouched",
    "with_mask",
]


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
    creates the derivatives of such a function when another trace first needs them, and fails if two threads do this at
    once. After the trace, `forget_graph` makes TFP's bijectors forget the traced tensors.
    """
    with _TRACING:
        traced = function.get_concrete_function(*specs)
    forget_graph(traced.graph)
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

    If `function` passes another function to TensorFlow, for example to `strategy.run`, AutoGraph still converts the
    other function. Without `autograph_info__`, AutoGraph also converts `function` itself, and a trace takes longer. The
    public `do_not_convert` is no alternative, because AutoGraph would then not convert the other function either.
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


def mask_of(output: Any) -> tf.Tensor | None:
    """Returns Keras's mask of an output, or None if the output has no mask. The mask is True where an element counts.

    Both Keras versions attach the mask to a TensorFlow tensor. Without `_keras_mask`, the loss would silently include
    masked elements.
    """
    return getattr(output, "_keras_mask", None)


def with_mask(output: Any, mask: tf.Tensor | None) -> Any:
    """Attaches a mask, if there is one, to a tensor or a distribution, and returns this object."""
    if mask is not None:
        output._keras_mask = mask
    return output
