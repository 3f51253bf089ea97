"""Turns a formula into a `tf.function`. TensorFlow traces the formula once in a process, and graphs call the trace.

Otherwise a graph would contain a copy of the long formula or of its gradients at each use. The graph of the Hessian of
a censored likelihood has about thirty uses.
"""

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

__all__ = ["traced_once", "without_slopes"]


def traced_once(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorates an elementwise function of float64 tensors, so that TensorFlow traces it only once.

    The trace takes vectors. The arguments of the decorated function must have the same shape. They are reshaped to
    vectors, and the result is reshaped back.
    """
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    trace = tf.function(function, [tf.TensorSpec([None], tf.float64, name) for name in names], autograph=False)

    @functools.wraps(function)
    def wrapper(*values):
        def restored(vector):
            result = tf.reshape(vector, tf.shape(values[0]))
            result.set_shape(values[0].shape)
            return result

        return tf.nest.map_structure(restored, trace(*(tf.reshape(value, [-1]) for value in values)))

    return wrapper


def without_slopes(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorates a function whose derivative is missing or slow to trace. Differentiation raises a `LookupError`."""

    @tf.custom_gradient
    def wrapper(*values):
        def gradient(*_):
            raise LookupError(f"{function.__name__} has no derivative.")

        return function(*map(tf.stop_gradient, values)), gradient

    return wrapper
